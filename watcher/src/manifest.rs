//! What the watcher knows about the photos of one event: in memory compact, on disk a snapshot and a journal.
//!
//! Nothing is promised to anybody before its line is on stable storage. Unreadable state stops the program; it is never
//! replaced by an empty one. One process per manifest, by a lock of the operating system that dies with the process.

pub(crate) use salvage::Salvaged;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use findme_common::manifest::{
    self as published, FileState, ImageKey, PhotoState, PreviewState, Replaces, Shot, ShotKey,
};
use findme_common::{Digest, EventId, PhotoId};

use crate::fingerprint::Fingerprint;
use crate::journal::{self, Durable, Journal, Record, Replayed, WriteError};
use crate::snapshot;

/// How far one content has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PhotoRecord {
    pub(crate) bytes: u64,
    pub(crate) image: Option<ImageKey>,
    /// Boxed: most photos of most cameras have none.
    pub(crate) shot: Option<Box<Shot>>,
    pub(crate) replaces: Option<Replaces>,
    pub(crate) preview: Option<PreviewState>,
    pub(crate) state: PhotoState,
}

impl PhotoRecord {
    /// A content that is to be sent, of which nothing else is known.
    pub(crate) const fn announced(bytes: u64) -> Self {
        let state = PhotoState::Announced { upload: None };
        Self { bytes, image: None, shot: None, replaces: None, preview: None, state }
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

/// Everything known, without the files that hold it.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) event: EventId,
    pub(crate) generation: u64,
    pub(crate) photos: HashMap<Digest, PhotoRecord>,
    pub(crate) files: HashMap<Box<OsStr>, FileRecord>,
    /// Pictures that the server has, or had until they were deleted.
    images: HashSet<ImageKey>,
    /// Contents by their shot.
    shots: BTreeSet<(ShotKey, Digest)>,
    /// Lines in the journal of this generation.
    lines: u64,
    /// A snapshot may or may not have taken its place: what is appended now might be ignored later, so nothing is.
    broken: Option<WriteError>,
}

impl State {
    pub(crate) fn empty(event: EventId) -> Self {
        Self {
            event,
            generation: 1,
            photos: HashMap::new(),
            files: HashMap::new(),
            images: HashSet::new(),
            shots: BTreeSet::new(),
            lines: 0,
            broken: None,
        }
    }

    pub(crate) fn add_photo(&mut self, photo: published::Photo) {
        let published::Photo { digest, bytes, image, shot, replaces, preview, state } = photo;
        self.insert(digest, PhotoRecord { bytes, image, shot: shot.map(Box::new), replaces, preview, state });
    }

    fn insert(&mut self, digest: Digest, record: PhotoRecord) {
        if let (Some(image), PhotoState::Received { .. } | PhotoState::Deleted) = (record.image, &record.state) {
            self.images.insert(image);
        }
        if let Some(shot) = &record.shot {
            self.shots.insert((shot.key, digest));
        }
        self.photos.insert(digest, record);
    }

    pub(crate) fn add_file(&mut self, file: published::File) -> Result<(), published::NotAPath> {
        let path = file.to_path()?.as_os_str().into();
        let fingerprint = Fingerprint { bytes: file.bytes, mtime_ns: file.mtime_ns, inode: file.inode };
        let record = FileRecord { fingerprint, racy: file.racy, state: file.state, seen: false };
        self.files.insert(path, record);
        Ok(())
    }

    fn apply(&mut self, record: Record) -> io::Result<()> {
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

/// The files of one manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    snapshot: PathBuf,
}

impl Location {
    /// The manifest whose snapshot is this file; the others lie beside it and bear its name.
    pub(crate) fn new(snapshot: PathBuf) -> Self {
        Self { snapshot }
    }

    fn journal(&self) -> PathBuf {
        self.snapshot.with_extension("journal")
    }

    fn previous(&self) -> PathBuf {
        self.snapshot.with_extension("previous.json")
    }

    fn temp(&self) -> PathBuf {
        self.snapshot.with_extension("json.tmp")
    }

    fn lock(&self) -> PathBuf {
        self.snapshot.with_extension("lock")
    }
}

/// Why a manifest could not be opened. Each is another exit code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// Another process has it.
    #[error("the manifest {0} is in use by another findme-watch; stop that one, or give this one its own --manifest")]
    InUse(PathBuf),
    /// It is there, but it cannot be believed.
    #[error(
        "the manifest {path} cannot be read: {why}. Nothing was changed and nothing was sent. \
         `findme-watch repair` makes it good again from what can be read and from the server's list"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// It belongs to another event than the token.
    #[error("the manifest {path} belongs to event {of}, but the token is for event {wanted}; give another --manifest")]
    OtherEvent {
        /// The file.
        path: PathBuf,
        /// The manifest's event.
        of: EventId,
        /// The token's event.
        wanted: EventId,
    },
    /// A new one cannot be made.
    #[error("the manifest {path} cannot be written: {error}")]
    Unwritable {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
}

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
        self.state().files.get(path.as_os_str()).copied()
    }

    /// Marks a path as counted in this run; answers whether it was already.
    pub(crate) fn mark_seen(&self, path: &Path) -> bool {
        self.state().files.get_mut(path.as_os_str()).is_some_and(|file| std::mem::replace(&mut file.seen, true))
    }

    /// What is known about a content.
    pub(crate) fn photo(&self, digest: &Digest) -> Option<PhotoRecord> {
        self.state().photos.get(digest).cloned()
    }

    /// Another path that holds the same content, as far as is known.
    pub(crate) fn other_path(&self, digest: &Digest, not: &Path) -> Option<PathBuf> {
        let state = self.state();
        let same = |file: &FileRecord| matches!(file.state, FileState::Photo { digest: of, .. } if of == *digest);
        state
            .files
            .iter()
            .find(|(path, file)| same(file) && path.as_ref() != not.as_os_str() && Path::new(path).exists())
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
        state.files.insert(path.as_os_str().into(), record);
    }

    /// Records how far a content has come; the answer resolves when that is on stable storage.
    pub(crate) fn put_photo(&self, digest: Digest, record: PhotoRecord) -> Durable {
        let mut state = self.state();
        let durable = match (&self.journal, &state.broken) {
            (Some(journal), None) => {
                state.lines += 1;
                let photo = Record::Photo(record.published(digest));
                journal.append_durably(journal::encode(state.generation, state.lines, &photo))
            }
            (_, Some(error)) => Durable::Done(Err(error.clone())),
            (None, None) => Durable::Done(Ok(())),
        };
        state.insert(digest, record);
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
        let state = self.state();
        let all = state.shots.range((key, Digest::from_bytes([0; 32]))..=(key, Digest::from_bytes([0xFF; 32])));
        all.filter_map(|(_, digest)| state.photos.get(digest).map(|record| (*digest, record.clone()))).collect()
    }

    /// The received content with this picture.
    pub(crate) fn with_image(&self, image: &ImageKey) -> Option<Digest> {
        let state = self.state();
        let is_it = |record: &PhotoRecord| {
            record.image.as_ref() == Some(image) && matches!(record.state, PhotoState::Received { .. })
        };
        state.photos.iter().find(|(_, record)| is_it(record)).map(|(digest, _)| *digest)
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
        state.photos.iter().filter(|(_, record)| record.is_untold()).map(|(digest, _)| *digest).collect()
    }

    /// Whether the server has a photo with the same picture and other metadata, or had one until it was deleted.
    pub(crate) fn has_image(&self, image: &ImageKey) -> bool {
        self.state().images.contains(image)
    }

    /// Whether the server gave its receipt for a content.
    pub(crate) fn is_received(&self, digest: &Digest) -> bool {
        matches!(self.photo(digest), Some(PhotoRecord { state: PhotoState::Received { .. }, .. }))
    }

    /// Everything in numbers.
    pub(crate) fn counts(&self) -> Counts {
        let state = self.state();
        let mut counts = Counts::default();
        for photo in state.photos.values() {
            match photo.state {
                PhotoState::Received { .. } => counts.received += 1,
                PhotoState::PreviewOnly { .. } => counts.previews += 1,
                PhotoState::Announced { .. } => counts.announced += 1,
                PhotoState::Refused(_) => counts.refused += 1,
                PhotoState::Deleted => {}
            }
        }
        for file in state.files.values() {
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

/// Milliseconds since 1970 (UTC).
pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// Reads snapshot and journal; `None` when there never was a manifest here. Also: how much of the journal is good.
fn load(location: &Location, event: EventId) -> Result<Option<(State, u64)>, OpenError> {
    let unreadable = |path: PathBuf, why: String| OpenError::Unreadable { path, why };
    let is_there = |path: &Path| path.try_exists().map_err(|error| unreadable(path.to_owned(), error.to_string()));
    let journal = location.journal();
    if !is_there(&location.snapshot)? {
        // A crash while the first one was made leaves an empty journal at most.
        let begun = is_there(&location.previous())? || fs::metadata(&journal).is_ok_and(|file| file.len() > 0);
        return if begun { Err(unreadable(location.snapshot.clone(), "it is missing".into())) } else { Ok(None) };
    }
    let mut state =
        snapshot::read(&location.snapshot).map_err(|why| unreadable(location.snapshot.clone(), why.to_string()))?;
    if state.event != event {
        return Err(OpenError::OtherEvent { path: location.snapshot.clone(), of: state.event, wanted: event });
    }
    let generation = state.generation;
    let replayed = File::open(&journal).and_then(|file| journal::replay(file, generation, |r| state.apply(r)));
    match replayed {
        Ok(Replayed::Good { bytes, .. }) => Ok(Some((state, bytes))),
        Ok(Replayed::Stale) => Ok(Some((state, 0))),
        Ok(Replayed::Damaged { line }) => Err(unreadable(journal, format!("line {line} is damaged"))),
        Err(error) => Err(unreadable(journal, error.to_string())),
    }
}

/// Makes an empty manifest. The journal comes first, so that a snapshot without a journal is always damage.
fn begin(location: &Location, event: EventId) -> io::Result<State> {
    let state = State::empty(event);
    File::create(location.journal())?.sync_all()?;
    sync_folder(&location.snapshot)?;
    snapshot::write(&location.temp(), &state)?;
    fs::rename(location.temp(), &location.snapshot)?;
    sync_folder(&location.snapshot)?;
    Ok(state)
}

/// Writes the new snapshot under another name and keeps the present one under a second name.
fn prepare_snapshot(location: &Location, state: &State) -> io::Result<()> {
    let previous = location.previous();
    snapshot::write(&location.temp(), state)?;
    let keep = previous.with_extension("json.tmp");
    let _ = fs::remove_file(&keep);
    // Not every file system has hard links.
    if fs::hard_link(&location.snapshot, &keep).is_err() {
        fs::copy(&location.snapshot, &keep)?;
        File::open(&keep)?.sync_all()?;
    }
    fs::rename(&keep, &previous)
}

/// Puts the new snapshot in place. At every moment there is a whole one under the name.
fn place_snapshot(location: &Location) -> io::Result<()> {
    fs::rename(location.temp(), &location.snapshot)?;
    sync_folder(&location.snapshot)
}

/// Makes a rename durable.
#[cfg(unix)]
fn sync_folder(file: &Path) -> io::Result<()> {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// Windows has no such call; its renames are journalled.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

mod salvage;
#[cfg(test)]
mod tests;
