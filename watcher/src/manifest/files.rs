//! The paths that a manifest knows, in little memory. A path's content is told by its number where it is known.

use std::ffi::OsStr;

use findme_common::Digest;
use findme_common::manifest::{FailReason, FileState, SkipReason};
use foldhash::fast::RandomState as QuickHash;
use indexmap::IndexMap;

use super::photos::{Kept, PhotoNo, Photos};
use crate::fingerprint::Fingerprint;

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

/// A [`FileRecord`] as it is kept.
#[derive(Debug)]
struct KeptFile {
    fingerprint: Fingerprint,
    state: KeptState,
    racy: bool,
    seen: bool,
}

#[derive(Debug)]
enum KeptState {
    Photo {
        of: PhotoNo,
        duplicate: bool,
    },
    /// A photo of which nothing was known when the path was recorded.
    Unknown {
        digest: Box<Digest>,
        duplicate: bool,
    },
    Skipped(SkipReason),
    Failed(FailReason),
}

impl KeptState {
    fn of(state: FileState, photos: &Photos) -> Self {
        match state {
            FileState::Photo { digest, duplicate } => match photos.number_of(&digest) {
                Some(of) => Self::Photo { of, duplicate },
                None => Self::Unknown { digest: Box::new(digest), duplicate },
            },
            FileState::Skipped(reason) => Self::Skipped(reason),
            FileState::Failed(reason) => Self::Failed(reason),
        }
    }

    /// The state as it was put in, and what is known of the content.
    fn told<'a>(&self, photos: &'a Photos) -> (FileState, Option<&'a Kept>) {
        match self {
            Self::Photo { of, duplicate } => {
                let (digest, kept) = photos.at(*of);
                (FileState::Photo { digest, duplicate: *duplicate }, Some(kept))
            }
            Self::Unknown { digest, duplicate } => {
                (FileState::Photo { digest: **digest, duplicate: *duplicate }, photos.get(digest))
            }
            Self::Skipped(reason) => (FileState::Skipped(*reason), None),
            Self::Failed(reason) => (FileState::Failed(*reason), None),
        }
    }
}

impl KeptFile {
    fn record<'a>(&self, photos: &'a Photos) -> (FileRecord, Option<&'a Kept>) {
        let (state, photo) = self.state.told(photos);
        (FileRecord { fingerprint: self.fingerprint, racy: self.racy, state, seen: self.seen }, photo)
    }
}

/// All paths, in the order in which they became known.
#[derive(Debug, Default)]
pub(crate) struct Files(IndexMap<Box<OsStr>, KeptFile, QuickHash>);

impl Files {
    /// Makes room for so many more.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.0.reserve(more);
    }

    /// Adds a path, or says anew what is known of it.
    pub(crate) fn insert(&mut self, path: Box<OsStr>, record: FileRecord, photos: &Photos) {
        let FileRecord { fingerprint, racy, state, seen } = record;
        self.0.insert(path, KeptFile { fingerprint, state: KeptState::of(state, photos), racy, seen });
    }

    pub(crate) fn get(&self, path: &OsStr, photos: &Photos) -> Option<FileRecord> {
        self.0.get(path).map(|file| file.record(photos).0)
    }

    /// What `look` makes of a path that is known, and of its content where that is known. Of the record nothing may be
    /// changed but whether it was seen.
    pub(crate) fn look_at<T>(
        &mut self,
        path: &OsStr,
        photos: &Photos,
        look: impl FnOnce(&mut FileRecord, Option<&Kept>) -> T,
    ) -> Option<T> {
        let file = self.0.get_mut(path)?;
        let (mut record, photo) = file.record(photos);
        let seen = look(&mut record, photo);
        file.seen = record.seen;
        Some(seen)
    }

    pub(crate) fn iter<'a>(&'a self, photos: &'a Photos) -> impl Iterator<Item = (&'a OsStr, FileRecord)> {
        self.0.iter().map(|(path, file)| (&**path, file.record(photos).0))
    }
}
