//! The files of a manifest on disk: snapshot, journal, the previous snapshot; how they are read, begun and replaced.
//!
//! Invariant: at every moment there is a whole snapshot under its name, once there was one.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use findme_common::EventId;

use super::State;
use crate::journal::{self, Replayed};
use crate::snapshot;

/// The files of one manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    pub(super) snapshot: PathBuf,
}

impl Location {
    /// The manifest whose snapshot is this file; the others lie beside it and bear its name.
    pub(crate) fn new(snapshot: PathBuf) -> Self {
        Self { snapshot }
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.snapshot.with_extension("journal")
    }

    pub(super) fn previous(&self) -> PathBuf {
        self.snapshot.with_extension("previous.json")
    }

    pub(super) fn temp(&self) -> PathBuf {
        self.snapshot.with_extension("json.tmp")
    }

    pub(super) fn lock(&self) -> PathBuf {
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
    #[error("the manifest {path} cannot be written: {error}; give --manifest a file where you may write")]
    Unwritable {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
}

/// Reads snapshot and journal; `None` when there never was a manifest here. Also: how much of the journal is good.
pub(super) fn load(location: &Location, event: EventId) -> Result<Option<(State, u64)>, OpenError> {
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
pub(super) fn begin(location: &Location, event: EventId) -> io::Result<State> {
    let state = State::empty(event);
    File::create(location.journal())?.sync_all()?;
    sync_folder(&location.snapshot)?;
    snapshot::write(&location.temp(), &state)?;
    fs::rename(location.temp(), &location.snapshot)?;
    sync_folder(&location.snapshot)?;
    Ok(state)
}

/// Writes the new snapshot under another name and keeps the present one under a second name.
pub(super) fn prepare_snapshot(location: &Location, state: &State) -> io::Result<()> {
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
pub(super) fn place_snapshot(location: &Location) -> io::Result<()> {
    fs::rename(location.temp(), &location.snapshot)?;
    sync_folder(&location.snapshot)
}

/// Makes a rename durable.
#[cfg(unix)]
pub(super) fn sync_folder(file: &Path) -> io::Result<()> {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// Windows has no such call; its renames are journalled.
#[cfg(not(unix))]
pub(super) fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}
