//! The snapshot: everything known at one moment, as `manifest.json`. It validates against `manifest-schema.json` and
//! ends with a checksum of itself, so that damage is noticed before anything is believed.
//!
//! It is written and read entry by entry; the whole is never in memory as text. Each entry is written on a line of its
//! own, which `lines` reads in one pass; however else the same JSON is laid out, it is read here.

mod entries;
mod lines;

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

use findme_common::EventId;
use findme_common::manifest::{self, SCHEMA};
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::manifest::{FileRecord, State};

/// `,"checksum":"` + 8 digits + `"}` and a line end.
const TRAILER_LEN: u64 = 13 + 8 + 3;

fn trailer(crc: u32) -> String {
    format!(",\"checksum\":\"{crc:08x}\"}}\n")
}

/// Counts the checksum of what passes through.
struct Summed<W> {
    inner: W,
    crc: crc32fast::Hasher,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.crc.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Writes the snapshot to `path` and syncs it. The caller renames it into place.
///
/// # Errors
/// When the disk does not take it.
pub(crate) fn write(path: &Path, state: &State) -> io::Result<()> {
    let mut out = Summed { inner: BufWriter::with_capacity(256 * 1024, File::create(path)?), crc: Default::default() };
    let head = format!("{{\"schema\":{SCHEMA},\"event\":\"{}\",\"generation\":{}", state.event, state.generation);
    out.write_all(head.as_bytes())?;
    out.write_all(b",\"photos\":[")?;
    for (n, (digest, kept)) in state.photos.iter().enumerate() {
        out.write_all(if n == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut out, &kept.record().published(digest))?;
    }
    out.write_all(b"],\"files\":[")?;
    for (n, (path, record)) in state.files().enumerate() {
        out.write_all(if n == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut out, &record.published(path))?;
    }
    out.write_all(b"]")?;
    let crc = out.crc.finalize();
    out.inner.write_all(trailer(crc).as_bytes())?;
    out.inner.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// Why a snapshot is not believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    /// The disk does not give it.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The checksum at its end is missing or wrong.
    #[error("its checksum is wrong")]
    Checksum,
    /// The checksum is right, but the content is not a manifest.
    #[error("{0}")]
    Form(#[from] serde_json::Error),
    /// A later program wrote it.
    #[error("a later version of findme-watch wrote it")]
    Later,
}

/// Reads and checks the snapshot.
///
/// # Errors
/// When anything about it is not as it was written.
pub(crate) fn read(path: &Path) -> Result<State, Unreadable> {
    let mut file = File::open(path)?;
    if let Some(state) = lines::read(&file)? {
        return Ok(state);
    }
    file.rewind()?;
    check(&mut file)?;
    file.rewind()?;
    let mut state = State::empty(EventId::from_bytes([0; 16]));
    let mut reader = serde_json::Deserializer::from_reader(BufReader::with_capacity(256 * 1024, file));
    let schema = Into(&mut state).deserialize(&mut reader)?;
    reader.end()?;
    if schema <= SCHEMA { Ok(state) } else { Err(Unreadable::Later) }
}

fn check(file: &mut File) -> Result<(), Unreadable> {
    let body = file.metadata()?.len().checked_sub(TRAILER_LEN).ok_or(Unreadable::Checksum)?;
    let mut crc = crc32fast::Hasher::new();
    let mut rest = body;
    let mut buffer = vec![0; 256 * 1024];
    while rest > 0 {
        let want = usize::try_from(rest).unwrap_or(usize::MAX).min(buffer.len());
        file.read_exact(&mut buffer[..want])?;
        crc.update(&buffer[..want]);
        rest -= want as u64;
    }
    let mut end = String::new();
    file.read_to_string(&mut end).map_err(|_| Unreadable::Checksum)?;
    if end == trailer(crc.finalize()) { Ok(()) } else { Err(Unreadable::Checksum) }
}

/// Reads the snapshot's object straight into the compact state; answers its schema version.
struct Into<'a>(&'a mut State);

impl<'de> DeserializeSeed<'de> for Into<'_> {
    type Value = u32;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<u32, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Into<'_> {
    type Value = u32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a manifest")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<u32, A::Error> {
        let (mut schema, mut event) = (None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "schema" => schema = Some(map.next_value()?),
                "event" => event = Some(map.next_value()?),
                "generation" => self.0.generation = map.next_value()?,
                "photos" => map.next_value_seed(Photos(self.0))?,
                "files" => map.next_value_seed(Files(self.0))?,
                // A later schema may have more members; its version is what refuses it, with a clear message.
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        self.0.event = event.ok_or_else(|| A::Error::missing_field("event"))?;
        schema.ok_or_else(|| A::Error::missing_field("schema"))
    }
}

macro_rules! sequence {
    ($name:ident, $item:ty, $add:expr) => {
        struct $name<'a>(&'a mut State);

        impl<'de> DeserializeSeed<'de> for $name<'_> {
            type Value = ();

            fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
                deserializer.deserialize_seq(self)
            }
        }

        impl<'de> Visitor<'de> for $name<'_> {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of entries")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
                while let Some(item) = list.next_element::<$item>()? {
                    $add(self.0, item).map_err(A::Error::custom)?;
                }
                Ok(())
            }
        }
    };
}

sequence!(Photos, manifest::Photo, |state: &mut State, photo| {
    state.add_photo(photo);
    Ok::<_, manifest::NotAPath>(())
});
sequence!(Files, manifest::File, State::add_file);

impl FileRecord {
    /// The published form.
    pub(crate) fn published(&self, path: &OsStr) -> manifest::File {
        let (path, path_b64) = manifest::PathText::of(Path::new(path)).into_members();
        manifest::File {
            path,
            path_b64,
            bytes: self.fingerprint.bytes,
            mtime_ns: self.fingerprint.mtime_ns,
            inode: self.fingerprint.inode,
            racy: self.racy,
            state: self.state,
        }
    }
}
