//! What a manifest knows, without the files that hold it.

use std::ffi::OsStr;
use std::io;

use findme_common::EventId;
use findme_common::manifest as published;

use super::files::{FileRecord, Files};
use super::photos::{PhotoRecord, Photos};
use crate::fingerprint::Fingerprint;
use crate::journal::{Record, WriteError};

/// Everything known, without the files that hold it.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) event: EventId,
    pub(crate) generation: u64,
    pub(crate) photos: Photos,
    files: Files,
    /// Lines in the journal of this generation.
    pub(super) lines: u64,
    /// A snapshot may or may not have taken its place: what is appended now might be ignored later, so nothing is.
    pub(super) broken: Option<WriteError>,
}

impl State {
    pub(crate) fn empty(event: EventId) -> Self {
        let (photos, files) = (Photos::default(), Files::default());
        Self { event, generation: 1, photos, files, lines: 0, broken: None }
    }

    pub(crate) fn add_photo(&mut self, photo: published::Photo) {
        let published::Photo { digest, bytes, image, shot, replaces, preview, look, state } = photo;
        let record = PhotoRecord { bytes, image, shot: shot.map(Box::new), replaces, preview, look, state };
        self.photos.insert(digest, record.into());
    }

    pub(crate) fn add_file(&mut self, file: published::File) -> Result<(), published::NotAPath> {
        let fingerprint = Fingerprint { bytes: file.bytes, mtime_ns: file.mtime_ns, inode: file.inode };
        let record = FileRecord { fingerprint, racy: file.racy, state: file.state, seen: false };
        self.put_file(file.into_path()?.into_os_string().into_boxed_os_str(), record);
        Ok(())
    }

    /// Adds a path, or says anew what is known of it.
    pub(crate) fn put_file(&mut self, path: Box<OsStr>, record: FileRecord) {
        self.files.insert(path, record, &self.photos);
    }

    /// Makes room for so many more paths.
    pub(crate) fn reserve_files(&mut self, more: usize) {
        self.files.reserve(more);
    }

    pub(crate) fn file(&self, path: &OsStr) -> Option<FileRecord> {
        self.files.get(path, &self.photos)
    }

    /// See [`Files::look_at`].
    pub(super) fn look_at<T>(
        &mut self,
        path: &OsStr,
        look: impl FnOnce(&mut FileRecord, Option<&published::PhotoState>) -> T,
    ) -> Option<T> {
        self.files.look_at(path, &self.photos, |file, photo| look(file, photo.map(super::Kept::state)))
    }

    /// All paths, in the order in which they became known.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&OsStr, FileRecord)> {
        self.files.iter(&self.photos)
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
