//! What a manifest knows, without the files that hold it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::hash::{BuildHasherDefault, Hasher};
use std::io;

use findme_common::manifest::{
    self as published, FileState, ImageKey, Look, PhotoState, PreviewState, Replaces, Shot, ShotKey,
};
use findme_common::{Digest, EventId};

use foldhash::fast::RandomState as QuickHash;

use crate::fingerprint::Fingerprint;
use crate::journal::{Record, WriteError};

/// How far one content has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PhotoRecord {
    pub(crate) bytes: u64,
    pub(crate) image: Option<ImageKey>,
    /// Boxed: most photos of most cameras have none.
    pub(crate) shot: Option<Box<Shot>>,
    pub(crate) replaces: Option<Replaces>,
    pub(crate) preview: Option<PreviewState>,
    pub(crate) look: Option<Look>,
    pub(crate) state: PhotoState,
}

impl PhotoRecord {
    /// A content that is to be sent, of which nothing else is known.
    pub(crate) const fn announced(bytes: u64) -> Self {
        let state = PhotoState::Announced { upload: None };
        Self { bytes, image: None, shot: None, replaces: None, preview: None, look: None, state }
    }

    /// Whether the server has the photo, but not the word which other one it replaces.
    pub(crate) fn is_untold(&self) -> bool {
        let there = matches!(self.state, PhotoState::Received { .. } | PhotoState::PreviewOnly { .. });
        there && self.replaces.is_some_and(|of| !of.told)
    }

    /// Whether it is a camera's RAW file.
    pub(crate) fn is_raw(&self) -> bool {
        self.shot.as_ref().is_some_and(|shot| shot.raw)
    }

    /// The published form.
    pub(crate) fn published(&self, digest: Digest) -> published::Photo {
        published::Photo {
            digest,
            bytes: self.bytes,
            image: self.image,
            shot: self.shot.as_deref().cloned(),
            replaces: self.replaces,
            preview: self.preview.clone(),
            look: self.look,
            state: self.state.clone(),
        }
    }
}

/// A [`PhotoRecord`] as it is kept: of a hundred thousand photos most have nothing but their receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(super) image: Option<ImageKey>,
    pub(super) state: PhotoState,
    bytes: u64,
    shot: Option<Box<Shot>>,
    pub(super) rare: Option<Box<Rare>>,
}

/// What is known of few photos.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rare {
    replaces: Option<Replaces>,
    preview: Option<PreviewState>,
    pub(super) look: Option<Look>,
}

impl From<PhotoRecord> for Kept {
    fn from(record: PhotoRecord) -> Self {
        let PhotoRecord { bytes, image, shot, replaces, preview, look, state } = record;
        let rare = Rare { replaces, preview, look };
        let is_any = rare.replaces.is_some() || rare.preview.is_some() || rare.look.is_some();
        Self { image, state, bytes, shot, rare: is_any.then(|| Box::new(rare)) }
    }
}

impl Kept {
    /// See [`PhotoRecord::is_untold`].
    pub(super) fn is_untold(&self) -> bool {
        self.rare.is_some() && self.record().is_untold()
    }

    /// As it was put in.
    pub(crate) fn record(&self) -> PhotoRecord {
        let Self { image, state, bytes, shot, rare } = self.clone();
        let (replaces, preview, look) =
            rare.map_or((None, None, None), |rare| (rare.replaces, rare.preview, rare.look));
        PhotoRecord { bytes, image, shot, replaces, preview, look, state }
    }
}

/// One path, as it was when it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileRecord {
    pub(crate) fingerprint: Fingerprint,
    /// The modification time was too fresh to prove anything.
    pub(crate) racy: bool,
    pub(crate) state: FileState,
    /// Whether this run has counted the file; not recorded.
    pub(crate) seen: bool,
}

/// A digest is its own hash: its first bytes are as good as any.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OfDigest(u64);

impl Hasher for OfDigest {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 ^= u64::from_le_bytes(*first);
        }
    }

    /// The length of the bytes says nothing.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Everything known, without the files that hold it.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) event: EventId,
    pub(crate) generation: u64,
    pub(crate) photos: HashMap<Digest, Kept, BuildHasherDefault<OfDigest>>,
    pub(crate) files: HashMap<Box<OsStr>, FileRecord, QuickHash>,
    /// Pictures that the server has, or had until they were deleted.
    pub(super) images: HashSet<ImageKey, QuickHash>,
    /// Some of them by the keys of earlier programs.
    pub(super) earlier_images: bool,
    /// Contents by their shot.
    pub(super) shots: BTreeSet<(ShotKey, Digest)>,
    /// Contents whose look is known, by the time at which they were made.
    pub(super) looks: BTreeSet<(i64, Digest)>,
    /// Lines in the journal of this generation.
    pub(super) lines: u64,
    /// A snapshot may or may not have taken its place: what is appended now might be ignored later, so nothing is.
    pub(super) broken: Option<WriteError>,
}

impl State {
    pub(crate) fn empty(event: EventId) -> Self {
        Self {
            event,
            generation: 1,
            photos: HashMap::default(),
            files: HashMap::default(),
            images: HashSet::default(),
            earlier_images: false,
            shots: BTreeSet::new(),
            looks: BTreeSet::new(),
            lines: 0,
            broken: None,
        }
    }

    pub(crate) fn add_photo(&mut self, photo: published::Photo) {
        let published::Photo { digest, bytes, image, shot, replaces, preview, look, state } = photo;
        self.insert(digest, PhotoRecord { bytes, image, shot: shot.map(Box::new), replaces, preview, look, state });
    }

    pub(crate) fn insert(&mut self, digest: Digest, record: PhotoRecord) {
        if let (Some(image), PhotoState::Received { .. } | PhotoState::Deleted) = (record.image, &record.state) {
            self.images.insert(image);
            self.earlier_images |= matches!(image, ImageKey::Sha256(_));
        }
        if let Some(shot) = &record.shot {
            self.shots.insert((shot.key, digest));
        }
        if let Some(look) = record.look {
            self.looks.insert((look.made, digest));
        }
        self.photos.insert(digest, record.into());
    }

    pub(crate) fn add_file(&mut self, file: published::File) -> Result<(), published::NotAPath> {
        let fingerprint = Fingerprint { bytes: file.bytes, mtime_ns: file.mtime_ns, inode: file.inode };
        let record = FileRecord { fingerprint, racy: file.racy, state: file.state, seen: false };
        self.files.insert(file.into_path()?.into_os_string().into_boxed_os_str(), record);
        Ok(())
    }

    pub(super) fn apply(&mut self, record: Record) -> io::Result<()> {
        match record {
            Record::Photo(photo) => self.add_photo(photo),
            Record::File(file) => self.add_file(file).map_err(io::Error::other)?,
        }
        self.lines += 1;
        Ok(())
    }
}

/// A manifest in numbers: contents by their state, and paths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) received: u64,
    /// RAW files of which only the picture inside was to be sent, and was.
    pub(crate) previews: u64,
    pub(crate) announced: u64,
    pub(crate) refused: u64,
    /// Paths that hold a photo.
    pub(crate) files: u64,
    pub(crate) skipped: u64,
    pub(crate) failed: u64,
}
