//! What the watcher knows about the photos of one event: in memory compact, on disk a snapshot and a journal.
//!
//! Nothing is promised to anybody before its line is on stable storage. Unreadable state stops the program; it is never
//! replaced by an empty one. One process per manifest, by a lock of the operating system that dies with the process.

mod disk;
mod files;
mod photos;
mod salvage;
mod state;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use findme_common::manifest::{FileState, ImageKey, Look, PhotoState, PreviewState, Replaces, ShotKey};
use findme_common::{Digest, EventId, PhotoId};

pub(crate) use self::disk::{Location, OpenError};
use self::disk::{begin, load, place_snapshot, prepare_snapshot};
pub(crate) use self::files::FileRecord;
pub(crate) use self::photos::{Kept, PackedShot, PhotoRecord};
pub(crate) use self::salvage::Salvaged;
pub(crate) use self::state::{Counts, State};
use crate::journal::{self, Durable, Journal, Record, WriteError};
use crate::look::{NEAR, are_alike};
use crate::pixels::ImageKeys;

/// The opened manifest. Shared by the loop and the uploads; each call holds its lock for microseconds.
#[derive(Debug)]
pub(crate) struct Manifest {
    location: Location,
    state: Mutex<State>,
    /// `None`: nothing is recorded (`--dry-run`).
    journal: Option<Journal>,
    /// Held open for its lock. The file is never deleted: a deleted lock file can be locked twice.
    _lock: Option<File>,
}

impl Manifest {
    /// Opens or begins the manifest of `event`, alone.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub(crate) fn open(location: Location, event: EventId) -> Result<Self, OpenError> {
        let unwritable = |error| OpenError::Unwritable { path: location.snapshot.clone(), error };
        if let Some(folder) = location.snapshot.parent() {
            fs::create_dir_all(folder).map_err(unwritable)?;
        }
        let lock = File::create(location.lock()).map_err(unwritable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(OpenError::InUse(location.snapshot)),
            Err(fs::TryLockError::Error(error)) => return Err(unwritable(error)),
        }
        let (state, good_bytes) = match load(&location, event)? {
            Some(loaded) => loaded,
            None => (begin(&location, event).map_err(unwritable)?, 0),
        };
        let journal = Journal::open(&location.journal(), good_bytes).map_err(unwritable)?;
        Ok(Self { location, state: Mutex::new(state), journal: Some(journal), _lock: Some(lock) })
    }

    /// Reads the manifest without taking it; what is recorded afterwards stays in memory.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub(crate) fn peek(location: Location, event: EventId) -> Result<Self, OpenError> {
        let state = load(&location, event)?.map_or_else(|| State::empty(event), |(state, _)| state);
        Ok(Self { location, state: Mutex::new(state), journal: None, _lock: None })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while it was held cannot have left an entry half written: each is replaced whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known about a path.
    pub(crate) fn file(&self, path: &Path) -> Option<FileRecord> {
        self.state().file(path.as_os_str())
    }

    /// Marks a path as counted in this run; answers whether it was already.
    pub(crate) fn mark_seen(&self, path: &Path) -> bool {
        self.look_at(path, |file, _| std::mem::replace(&mut file.seen, true)).unwrap_or(false)
    }

    /// What is known about a path, and how far its content has come, where it has one.
    pub(crate) fn known(&self, path: &Path) -> (Option<FileRecord>, Option<PhotoState>) {
        self.look_at(path, |file, photo| (Some(*file), photo.cloned())).unwrap_or_default()
    }

    /// What `look` makes of a path that is known, and of how far its content has come, where it has one.
    pub(crate) fn look_at<T>(
        &self,
        path: &Path,
        look: impl FnOnce(&mut FileRecord, Option<&PhotoState>) -> T,
    ) -> Option<T> {
        self.state().look_at(path.as_os_str(), look)
    }

    /// What is known about a content.
    pub(crate) fn photo(&self, digest: &Digest) -> Option<PhotoRecord> {
        self.state().photos.get(digest).map(Kept::record)
    }

    /// Another path that holds the same content, as far as is known.
    pub(crate) fn other_path(&self, digest: &Digest, not: &Path) -> Option<PathBuf> {
        let state = self.state();
        let same = |file: &FileRecord| matches!(file.state, FileState::Photo { digest: of, .. } if of == *digest);
        state
            .files()
            .find(|(path, file)| same(file) && *path != not.as_os_str() && Path::new(path).exists())
            .map(|(path, _)| PathBuf::from(path))
    }

    /// Records a path; synced soon.
    pub(crate) fn put_file(&self, path: &Path, record: FileRecord) {
        let mut state = self.state();
        if let (Some(journal), None) = (&self.journal, &state.broken) {
            state.lines += 1;
            let file = Record::File(record.published(path.as_os_str()));
            journal.append(journal::encode(state.generation, state.lines, &file));
        }
        state.put_file(path.as_os_str().into(), record);
    }

    /// Records how far a content has come; the answer resolves when that is on stable storage.
    pub(crate) fn put_photo(&self, digest: Digest, record: PhotoRecord) -> Durable {
        let mut state = self.state();
        let durable = match (&self.journal, &state.broken) {
            (Some(journal), None) => {
                state.lines += 1;
                let photo = Record::Photo(record.clone().published(digest));
                journal.append_durably(journal::encode(state.generation, state.lines, &photo))
            }
            (_, Some(error)) => Durable::Done(Err(error.clone())),
            (None, None) => Durable::Done(Ok(())),
        };
        state.photos.insert(digest, record.into());
        durable
    }

    /// Records how far a content has come that is known already; what else is known of it stays.
    pub(crate) fn put_state(&self, digest: Digest, bytes: u64, state: PhotoState) -> Durable {
        let known = self.photo(&digest).unwrap_or_else(|| PhotoRecord::announced(bytes));
        self.put_photo(digest, PhotoRecord { bytes, state, ..known })
    }

    /// Records how far the preview of a content has come; the answer resolves when that is on stable storage.
    pub(crate) fn put_preview(&self, digest: Digest, bytes: u64, preview: PreviewState) -> Durable {
        let known = self.photo(&digest).unwrap_or_else(|| PhotoRecord::announced(bytes));
        self.put_photo(digest, PhotoRecord { preview: Some(preview), ..known })
    }

    /// All contents of a shot.
    pub(crate) fn of_shot(&self, key: ShotKey) -> Vec<(Digest, PhotoRecord)> {
        self.state().photos.of_shot(key)
    }

    /// A content that goes, or has gone, whose picture is nearly the same.
    pub(crate) fn similar(&self, look: &Look) -> Option<Digest> {
        let goes = |kept: &Kept| matches!(kept.state(), PhotoState::Announced { .. } | PhotoState::Received { .. });
        let is_it = |kept: &Kept| goes(kept) && kept.look().is_some_and(|of| are_alike(&of, look));
        let state = self.state();
        let mut near = state.photos.made_between(look.made - NEAR, look.made + NEAR);
        near.find(|(_, kept)| is_it(kept)).map(|(digest, _)| digest)
    }

    /// The received content with this picture.
    pub(crate) fn with_image(&self, image: &ImageKey) -> Option<Digest> {
        let state = self.state();
        let mut all = state.photos.with_image(*image);
        all.find(|(_, kept)| matches!(kept.state(), PhotoState::Received { .. })).map(|(digest, _)| digest)
    }

    /// Records that a content replaces another one, which the server is to be told. What was said the other way round,
    /// and not told yet, is not said any more. A word about a third one that would be lost by this is the other's now.
    pub(crate) fn put_replaces(&self, new: Digest, old: Digest) {
        let Some(known) = self.photo(&new) else { return };
        if let Some(other) = self.photo(&old).filter(|_| new != old) {
            let third = known.replaces.filter(|of| !of.told && of.photo != old && of.photo != new);
            let kept = other.replaces.filter(|of| of.photo != new);
            let replaces = if kept.is_none_or(|of| of.told) { third.or(kept) } else { kept };
            if replaces != other.replaces {
                drop(self.put_photo(old, PhotoRecord { replaces, ..other }));
            }
        }
        let replaces = Some(Replaces { photo: old, told: false });
        drop(self.put_photo(new, PhotoRecord { replaces, ..known }));
    }

    /// Records that the server was told what a content replaces, if it is that still.
    pub(crate) fn put_told(&self, new: Digest, old: Digest) -> Durable {
        match self.photo(&new) {
            Some(known) if known.replaces.is_some_and(|of| of.photo == old) => {
                self.put_photo(new, PhotoRecord { replaces: Some(Replaces { photo: old, told: true }), ..known })
            }
            _ => Durable::Done(Ok(())),
        }
    }

    /// Contents that the server has, but not the word which others they replace.
    pub(crate) fn untold(&self) -> Vec<Digest> {
        let state = self.state();
        state.photos.iter().filter(|(_, kept)| kept.is_untold()).map(|(digest, _)| digest).collect()
    }

    /// The key, of the two, by which the server is known to have a photo with the same picture and other metadata, or to
    /// have had one until it was deleted.
    pub(crate) fn known_image(&self, image: &ImageKeys) -> Option<ImageKey> {
        let state = self.state();
        [Some(image.now), image.earlier]
            .into_iter()
            .flatten()
            .find(|key| state.photos.with_image(*key).next().is_some())
    }

    /// Whether pictures are known by the keys of earlier programs.
    pub(crate) fn has_earlier_images(&self) -> bool {
        self.state().photos.has_earlier_images()
    }

    /// Whether the server gave its receipt for a content.
    pub(crate) fn is_received(&self, digest: &Digest) -> bool {
        matches!(self.photo(digest), Some(PhotoRecord { state: PhotoState::Received { .. }, .. }))
    }

    /// Everything in numbers.
    pub(crate) fn counts(&self) -> Counts {
        let state = self.state();
        let mut counts = Counts::default();
        for (_, photo) in state.photos.iter() {
            match photo.state() {
                PhotoState::Received { .. } => counts.received += 1,
                PhotoState::PreviewOnly { .. } => counts.previews += 1,
                PhotoState::Announced { .. } => counts.announced += 1,
                PhotoState::Refused(_) => counts.refused += 1,
                PhotoState::Deleted => {}
            }
        }
        for (_, file) in state.files() {
            match file.state {
                FileState::Photo { .. } => counts.files += 1,
                FileState::Skipped(_) => counts.skipped += 1,
                FileState::Failed(_) => counts.failed += 1,
            }
        }
        counts
    }

    /// Records the server's receipt.
    pub(crate) fn put_received(&self, digest: Digest, bytes: u64, photo: PhotoId) -> Durable {
        self.put_state(digest, bytes, PhotoState::Received { photo, at_ms: now_ms() })
    }

    /// Writes a snapshot of everything and empties the journal. Does nothing when the journal is empty. Blocks, and
    /// holds everybody up while it does: for moments of rest.
    ///
    /// # Errors
    /// When the disk does not take it; what was recorded before is still safe.
    pub(crate) fn compact(&self) -> Result<(), WriteError> {
        let Some(journal) = &self.journal else { return Ok(()) };
        let mut state = self.state();
        if state.lines == 0 {
            return Ok(());
        }
        state.generation += 1;
        if let Err(error) = prepare_snapshot(&self.location, &state) {
            state.generation -= 1;
            return Err(WriteError::new(error));
        }
        let placed = place_snapshot(&self.location).map_err(WriteError::new).and_then(|()| journal.reset());
        state.broken = placed.clone().err();
        state.lines = 0;
        placed
    }
}

impl Drop for Manifest {
    /// The program is about to end, and gives its memory back at once; entry by entry that would be a part of the time
    /// that a restart over many known photos takes.
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        std::mem::forget(std::mem::replace(state, State::empty(state.event)));
    }
}

/// Milliseconds since 1970 (UTC).
pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
