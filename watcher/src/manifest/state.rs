//! What a manifest knows, without the files that hold it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::hash::{BuildHasherDefault, Hasher};
use std::io;

use findme_common::manifest::{
    self as published, FileState, ImageKey, Look, PhotoState, PreviewState, Replaces, Shot, ShotKey,
};
use findme_common::{Digest, EventId};

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
    pub(crate) photos: HashMap<Digest, PhotoRecord, BuildHasherDefault<OfDigest>>,
    pub(crate) files: HashMap<Box<OsStr>, FileRecord>,
    /// Pictures that the server has, or had until they were deleted.
    pub(super) images: HashSet<ImageKey>,
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
            files: HashMap::new(),
            images: HashSet::new(),
            shots: BTreeSet::new(),
            looks: BTreeSet::new(),
            lines: 0,
            broken: None,
        }
    }

    /// Makes room for so many photos and files.
    pub(crate) fn make_room(&mut self, photos: usize) {
        self.photos.reserve(photos);
        self.files.reserve(photos);
    }

    pub(crate) fn add_photo(&mut self, photo: published::Photo) {
        let published::Photo { digest, bytes, image, shot, replaces, preview, look, state } = photo;
        self.insert(digest, PhotoRecord { bytes, image, shot: shot.map(Box::new), replaces, preview, look, state });
    }

    pub(super) fn insert(&mut self, digest: Digest, record: PhotoRecord) {
        if let (Some(image), PhotoState::Received { .. } | PhotoState::Deleted) = (record.image, &record.state) {
            self.images.insert(image);
        }
        if let Some(shot) = &record.shot {
            self.shots.insert((shot.key, digest));
        }
        if let Some(look) = record.look {
            self.looks.insert((look.made, digest));
        }
        self.photos.insert(digest, record);
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
