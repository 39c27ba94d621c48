//! Which processes use a data folder together: one that serves, and any number that index. Locks say who lives; the
//! operating system frees them with their process, so a stale lock is no lock.
//!
//! `serve.lock` is exclusive to the one that serves. `work.lock` is shared by all that index: whoever gets it exclusively
//! knows that no lease in the catalogue has a living owner. `open.lock` is held while the schema is brought up to date.

use std::fs::{File, TryLockError};
use std::path::Path;

use anyhow::Context;
use findme_common::digest::{from_hex, to_hex};

use crate::catalog::{Catalog, Node};
use crate::store::sync_dir;

/// What a process does for its data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Role {
    /// Serves, and indexes in the same process.
    #[default]
    All,
    /// Serves; photos are indexed by worker processes.
    Web,
    /// Indexes; listens to nobody.
    Worker,
}

impl Role {
    /// Whether it answers requests.
    pub const fn serves(self) -> bool {
        matches!(self, Self::All | Self::Web)
    }

    /// Whether it indexes photos.
    pub const fn works(self) -> bool {
        matches!(self, Self::All | Self::Worker)
    }
}

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    _file: File,
}

fn open(data: &Path, name: &str) -> anyhow::Result<File> {
    let path = data.join(name);
    let file = File::options().create(true).write(true).truncate(false).open(&path);
    file.with_context(|| format!("cannot open {}", path.display()))
}

/// Who this folder's server is among several: it has the bytes of the uploads that lie here. Made once.
///
/// # Errors
/// When the file cannot be read or written, or is damaged.
pub(crate) fn node(data: &Path) -> anyhow::Result<Node> {
    let path = data.join("node");
    let cannot = || format!("cannot use {}", path.display());
    if !path.try_exists().with_context(cannot)? {
        let mut id = [0; 16];
        getrandom::fill(&mut id)?;
        let part = data.join("node.part");
        let write = || {
            std::fs::write(&part, to_hex(&id))?;
            File::open(&part)?.sync_all()?;
            std::fs::rename(&part, &path)?;
            sync_dir(data)
        };
        write().with_context(cannot)?;
    }
    let text = std::fs::read_to_string(&path).with_context(cannot)?;
    let id = from_hex(text.trim())
        .with_context(|| format!("{} is damaged; remove it, and unfinished uploads start over", path.display()))?;
    Ok(Node::from_bytes(id))
}

/// Becomes the one that serves this folder.
///
/// # Errors
/// When another does, or the lock cannot be used.
pub(crate) fn serving(data: &Path) -> anyhow::Result<Held> {
    let file = open(data, "serve.lock")?;
    match file.try_lock() {
        Ok(()) => Ok(Held { _file: file }),
        Err(TryLockError::WouldBlock) => anyhow::bail!(
            "another findme-server or findme-watch --serve uses the data folder {}; stop that one, or give this one its \
             own with --data",
            data.display()
        ),
        Err(TryLockError::Error(error)) => Err(error).context("cannot lock the data folder"),
    }
}

/// Becomes one of those that index. The first of them takes back the leases of the dead; where others index the same
/// catalogue from other folders (`shared`), nobody knows who is dead, and leases run out by time.
///
/// # Errors
/// When the lock cannot be used or the catalogue cannot be written.
pub(crate) async fn working(data: &Path, catalog: &Catalog, shared: bool) -> anyhow::Result<Held> {
    let file = open(data, "work.lock")?;
    let file = match file.try_lock() {
        Ok(()) => {
            if !shared {
                // Nobody else can begin to work before this is done.
                catalog.release_leases().await?;
            }
            file.unlock().context("cannot unlock work.lock")?;
            file
        }
        Err(TryLockError::WouldBlock) => file,
        Err(TryLockError::Error(error)) => return Err(error).context("cannot lock work.lock"),
    };
    let shared = tokio::task::spawn_blocking(move || file.lock_shared().map(|()| file)).await?;
    Ok(Held { _file: shared.context("cannot lock work.lock")? })
}

/// Whether a process indexes photos of this folder now.
///
/// # Errors
/// When the lock cannot be used.
pub(crate) fn somebody_works(data: &Path) -> anyhow::Result<bool> {
    match open(data, "work.lock")?.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error).context("cannot lock work.lock"),
    }
}

/// Waits until no other process opens the catalogue: of two that start at once, one brings the schema up to date.
///
/// # Errors
/// When the lock cannot be used.
pub(crate) async fn opening(data: &Path) -> anyhow::Result<Held> {
    let file = open(data, "open.lock")?;
    let held = tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await?;
    Ok(Held { _file: held.context("cannot lock open.lock")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn leases_are_taken_back_only_when_nobody_works() {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&dir.path().join("findme.sqlite")).await.unwrap();
        assert!(!somebody_works(dir.path()).unwrap());
        let first = working(dir.path(), &catalog, false).await.unwrap();
        assert!(somebody_works(dir.path()).unwrap());
        let second = working(dir.path(), &catalog, false).await.unwrap();
        drop(first);
        assert!(somebody_works(dir.path()).unwrap(), "one is left");
        drop(second);
        assert!(!somebody_works(dir.path()).unwrap());
    }

    #[test]
    fn one_serves() {
        let dir = tempfile::tempdir().unwrap();
        let held = serving(dir.path()).unwrap();
        assert!(serving(dir.path()).unwrap_err().to_string().contains("another findme-server"));
        drop(held);
        serving(dir.path()).unwrap();
    }
}
