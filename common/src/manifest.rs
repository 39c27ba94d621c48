//! The manifest: what the watcher knows about the photos of one event, in its published form.
//!
//! `manifest-schema.json` is generated from these types. The watcher keeps a compact form in memory; these are the
//! words in which it writes snapshot and journal, so that any other program can read them.

mod look;
mod shot;

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{EventId, PhotoId};

pub use look::{Look, Pattern};
pub use shot::{PreviewState, Replaces, Shot, ShotKey};

/// Version of the form that is written. A later one is refused, an earlier one is upgraded.
pub const SCHEMA: u32 = 5;

/// A snapshot: everything known at one moment. `manifest.journal` holds what came after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this form.
    pub schema: u32,
    /// The event whose photos these are. One manifest per event, wherever its server lives.
    pub event: EventId,
    /// Counts snapshots, from 1. Journal lines of an earlier generation are already contained.
    pub generation: u64,
    /// Contents, one for each digest.
    pub photos: Vec<Photo>,
    /// Files, one for each path that was looked at.
    pub files: Vec<File>,
    /// CRC-32 (IEEE) of all bytes of the snapshot before the comma in front of this member, as 8 hexadecimal digits.
    #[schemars(regex(pattern = "^[0-9a-f]{8}$"))]
    pub checksum: String,
}

/// One content and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Photo {
    /// SHA-256 of the whole content.
    pub digest: Digest,
    /// Length of the content, in bytes.
    pub bytes: u64,
    /// What its picture is without its metadata; since version 2 (another digest since version 5), and only where the
    /// format says what is metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageKey>,
    /// Which shot it is of; since version 3, and only where its data say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shot: Option<Shot>,
    /// The earlier version of the same shot that it replaces; since version 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Replaces>,
    /// What went ahead of it; since version 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<PreviewState>,
    /// What it looks like; since version 4, and only where photos that are nearly the same are looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look: Option<Look>,
    /// How far it has come.
    pub state: PhotoState,
}

/// What a picture is without its metadata: a rating or a caption that is written into a file does not change it. The
/// first 16 bytes of a digest over everything that a decoder turns into pixels, and over the orientation. Keys of two
/// kinds are never equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ImageKey {
    /// Of a SHA-256; written until version 4.
    Sha256([u8; 16]),
    /// Of a BLAKE3, which costs a quarter of it; since version 5.
    Blake3([u8; 16]),
}

impl ImageKey {
    /// In front of the digits of a [`ImageKey::Blake3`].
    const BLAKE3: &str = "b3:";

    /// The earlier kind, from the digest of what is not metadata.
    pub fn sha256(digest: &Digest) -> Self {
        Self::Sha256(first_half(digest.as_bytes()))
    }

    /// The present kind, from the 32 bytes of the digest of what is not metadata.
    pub fn blake3(digest: &[u8; 32]) -> Self {
        Self::Blake3(first_half(digest))
    }
}

fn first_half(digest: &[u8; 32]) -> [u8; 16] {
    std::array::from_fn(|at| digest[at])
}

/// The text was no image key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an image key is 32 hexadecimal digits, or `b3:` and 32 of them")]
pub struct NotAnImageKey;

impl FromStr for ImageKey {
    type Err = NotAnImageKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = |digits| crate::digest::from_hex(digits).ok_or(NotAnImageKey);
        match text.strip_prefix(Self::BLAKE3) {
            Some(digits) => read(digits).map(Self::Blake3),
            None => read(text).map(Self::Sha256),
        }
    }
}

impl fmt::Display for ImageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(bytes) => f.write_str(&crate::digest::to_hex(bytes)),
            Self::Blake3(bytes) => write!(f, "{}{}", Self::BLAKE3, crate::digest::to_hex(bytes)),
        }
    }
}

impl Serialize for ImageKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ImageKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wanted = "an image key is 32 hexadecimal digits, or `b3:` and 32 of them";
        crate::text::parsed(deserializer, wanted, |text| text.parse().ok())
    }
}

impl JsonSchema for ImageKey {
    fn schema_name() -> Cow<'static, str> {
        "ImageKey".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^(b3:)?[0-9a-f]{32}$" })
    }
}

/// How far a content has come on its way to the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PhotoState {
    /// Its digest is known and it is to be sent. Written before the first byte leaves, with the upload's address as
    /// soon as the server has named it: after a crash the same upload goes on.
    Announced {
        /// Path and query of the upload on the server.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        upload: Option<Box<str>>,
    },
    /// The server gave its receipt: same digest, durably stored.
    Received {
        /// What the server calls it.
        photo: PhotoId,
        /// When the receipt came, in milliseconds since 1970 (UTC).
        at_ms: u64,
    },
    /// The server gave its receipt for the picture inside a RAW file, and that is all that is to be sent of it.
    PreviewOnly {
        /// What the server calls it.
        photo: PhotoId,
        /// When the receipt came, in milliseconds since 1970 (UTC).
        at_ms: u64,
    },
    /// The photographer deleted it on the server; it is not sent again.
    Deleted,
    /// The server does not take it.
    Refused(FailReason),
}

/// One path, as it was when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = exactly_one_path)]
pub struct File {
    /// Absolute path, when it is Unicode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Absolute path otherwise: base64 of its bytes (Unix) or of its UTF-16 code units, little-endian (Windows).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_b64: Option<String>,
    /// Length, in bytes.
    pub bytes: u64,
    /// Modification time before it was read, in nanoseconds since 1970 (UTC).
    pub mtime_ns: i64,
    /// File number of the file system; 0 where there is none.
    pub inode: u64,
    /// Whether it is to be read once more: it was read so soon after its modification time that the time proves nothing,
    /// or what follows from its rating is not done yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub racy: bool,
    /// What became of it.
    pub state: FileState,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FileState {
    /// It is a photo; its content's entry says how far it has come.
    Photo {
        /// Which content.
        digest: Digest,
        /// Whether the content was known from another path before, so that this one was never sent.
        duplicate: bool,
    },
    /// It is not sent, and that is right.
    Skipped(SkipReason),
    /// It should have been sent and could not be.
    Failed(FailReason),
}

/// Why a file is not sent although nothing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SkipReason {
    /// Its name or its bytes are no photo's.
    NotAPhoto,
    /// It has no bytes and gets none.
    Empty,
    /// Its name begins with a dot.
    Hidden,
    /// Its name is one that programs give to files they have not finished.
    TemporaryName,
    /// It describes a photo (XMP and the like).
    Sidecar,
    /// It is a symbolic link.
    Symlink,
    /// It is neither file nor folder.
    SpecialFile,
    /// `--include` or `--exclude` say so.
    Excluded,
    /// A RAW file beside a picture of the same shot; the picture goes.
    RawOfPair,
    /// A RAW file without a picture beside it; `--raw` sends it.
    Raw,
    /// The photographer deleted this photo on the server.
    DeletedOnServer,
    /// Only its metadata differ (a rating, a caption) from a photo that the server has.
    MetadataOnly,
    /// Its rating is below `--min-rating`, so far.
    BelowRating,
    /// A RAW file in which no picture is found that is large enough to be shown.
    RawWithoutPreview,
    /// Nearly the same picture as one that goes; since version 4.
    Similar,
}

/// Why a file that should have been sent was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FailReason {
    /// It does not end as its format demands, and nobody is writing it any more.
    Truncated,
    /// It could not be opened or read.
    CannotBeRead,
    /// It kept changing until the run ended.
    StillBeingWritten,
    /// It went away after it was read and before it was sent.
    Vanished,
    /// Larger than the server takes.
    TooLarge,
    /// The server does not take this kind of file.
    UnsupportedMediaType,
    /// The event takes no more photos.
    EventClosed,
    /// The server stored something else than was sent.
    ReceiptDiffers,
    /// The server refused it for another reason.
    Rejected,
}

impl SkipReason {
    /// The reason in plain words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NotAPhoto => "not a photo",
            Self::Empty => "empty",
            Self::Hidden => "hidden",
            Self::TemporaryName => "unfinished by its name",
            Self::Sidecar => "sidecar",
            Self::Symlink => "symbolic link",
            Self::SpecialFile => "neither file nor folder",
            Self::Excluded => "excluded",
            Self::RawOfPair => "RAW of a pair, the picture goes",
            Self::Raw => "RAW (--raw sends it)",
            Self::DeletedOnServer => "deleted on the server",
            Self::MetadataOnly => "only its metadata changed",
            Self::BelowRating => "rated below --min-rating",
            Self::RawWithoutPreview => "RAW without a picture inside (--raw sends it)",
            Self::Similar => "nearly the same as another photo",
        }
    }
}

impl FailReason {
    /// The reason in plain words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::CannotBeRead => "cannot be read",
            Self::StillBeingWritten => "still being written",
            Self::Vanished => "vanished before it was sent",
            Self::TooLarge => "larger than the server takes",
            Self::UnsupportedMediaType => "the server does not take this kind of file",
            Self::EventClosed => "the event takes no more photos",
            Self::ReceiptDiffers => "the server stored something else",
            Self::Rejected => "refused by the server",
        }
    }
}

/// The text gave no path, or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a file needs either `path` or `path_b64`")]
pub struct NotAPath;

/// A path as JSON carries it: `path` when it is Unicode, else `path_b64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathText {
    /// Value of `path`.
    Unicode(String),
    /// Value of `path_b64`.
    Base64(String),
}

impl PathText {
    /// The form for a path of this machine.
    pub fn of(path: &Path) -> Self {
        match path.to_str() {
            Some(text) => Self::Unicode(text.to_owned()),
            None => Self::Base64(STANDARD.encode(raw_bytes(path))),
        }
    }

    /// `path` and `path_b64`, of which exactly one is there.
    pub fn into_members(self) -> (Option<String>, Option<String>) {
        match self {
            Self::Unicode(text) => (Some(text), None),
            Self::Base64(text) => (None, Some(text)),
        }
    }
}

impl File {
    /// The path on this machine.
    ///
    /// # Errors
    /// When not exactly one of the two members is there, or the base64 is none.
    pub fn to_path(&self) -> Result<Cow<'_, Path>, NotAPath> {
        match (&self.path, &self.path_b64) {
            (Some(text), None) => Ok(Cow::Borrowed(Path::new(text))),
            (None, Some(text)) => decoded(text).map(Cow::Owned),
            _ => Err(NotAPath),
        }
    }

    /// The same without a copy.
    ///
    /// # Errors
    /// As [`File::to_path`].
    pub fn into_path(self) -> Result<PathBuf, NotAPath> {
        match (self.path, self.path_b64) {
            (Some(text), None) => Ok(PathBuf::from(text)),
            (None, Some(text)) => decoded(&text),
            _ => Err(NotAPath),
        }
    }
}

fn decoded(base64: &str) -> Result<PathBuf, NotAPath> {
    let bytes = STANDARD.decode(base64).map_err(|_| NotAPath)?;
    from_raw_bytes(bytes).ok_or(NotAPath)
}

#[cfg(unix)]
fn raw_bytes(path: &Path) -> Vec<u8> {
    std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).to_vec()
}

#[cfg(unix)]
fn from_raw_bytes(bytes: Vec<u8>) -> Option<PathBuf> {
    Some(PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes)))
}

#[cfg(windows)]
fn raw_bytes(path: &Path) -> Vec<u8> {
    std::os::windows::ffi::OsStrExt::encode_wide(path.as_os_str()).flat_map(u16::to_le_bytes).collect()
}

#[cfg(windows)]
fn from_raw_bytes(bytes: Vec<u8>) -> Option<PathBuf> {
    let (units, rest) = bytes.as_chunks::<2>();
    let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
    let path = <std::ffi::OsString as std::os::windows::ffi::OsStringExt>::from_wide(&units);
    rest.is_empty().then(|| PathBuf::from(path))
}

/// Says in the schema what the two optional members of [`File`] cannot: exactly one of them is there.
fn exactly_one_path(schema: &mut Schema) {
    schema.insert("oneOf".into(), serde_json::json!([{ "required": ["path"] }, { "required": ["path_b64"] }]));
}

/// The JSON Schema (2020-12) of [`Manifest`], as `manifest-schema.json` holds it.
pub fn schema_json() -> String {
    let schema = schemars::schema_for!(Manifest);
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is plain JSON with text keys");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_schema_is_the_one_of_the_types() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifest-schema.json");
        if std::env::var_os("FINDME_WRITE_SCHEMA").is_some() {
            std::fs::write(&path, schema_json()).unwrap();
        }
        let published = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            published == schema_json(),
            "manifest-schema.json differs from the types; write it anew with\n  \
             FINDME_WRITE_SCHEMA=1 cargo test -p findme-common schema"
        );
    }

    #[test]
    fn a_file_needs_exactly_one_path() {
        let mut file = File {
            path: Some("/a b\n.jpg".into()),
            path_b64: None,
            bytes: 1,
            mtime_ns: 2,
            inode: 3,
            racy: false,
            state: FileState::Skipped(SkipReason::Empty),
        };
        assert_eq!(file.to_path().unwrap(), Path::new("/a b\n.jpg"));
        file.path_b64 = Some("AA==".into());
        assert_eq!(file.to_path(), Err(NotAPath));
        (file.path, file.path_b64) = (None, Some("not base64!".into()));
        assert_eq!(file.to_path(), Err(NotAPath));
    }

    #[cfg(unix)]
    #[test]
    fn a_name_that_is_not_unicode_survives() {
        let path = from_raw_bytes(b"/x/\xff\xfe.jpg".to_vec()).unwrap();
        let text = PathText::of(&path);
        assert!(matches!(text, PathText::Base64(_)));
        let (path_text, path_b64) = text.into_members();
        let file = File {
            path: path_text,
            path_b64,
            bytes: 0,
            mtime_ns: -1,
            inode: 0,
            racy: true,
            state: FileState::Failed(FailReason::Truncated),
        };
        let json = serde_json::to_string(&file).unwrap();
        let back: File = serde_json::from_str(&json).unwrap();
        assert_eq!(back.to_path().unwrap(), path);
    }

    #[test]
    fn states_have_the_published_words() {
        let received = PhotoState::Received { photo: PhotoId::from_bytes([1; 16]), at_ms: 5 };
        assert_eq!(
            serde_json::to_string(&received).unwrap(),
            r#"{"received":{"photo":"01010101-0101-0101-0101-010101010101","at_ms":5}}"#
        );
        assert_eq!(serde_json::to_string(&PhotoState::Announced { upload: None }).unwrap(), r#"{"announced":{}}"#);
        assert_eq!(serde_json::to_string(&PhotoState::Deleted).unwrap(), r#""deleted""#);
    }
}
