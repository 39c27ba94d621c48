//! Building a manifest anew from what of its files is good. Every snapshot and every line has a checksum of its own, so
//! that what is believed here was written by this program and by nobody else.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use findme_common::EventId;
use findme_common::manifest::PhotoState;

use super::disk::{place_snapshot, sync_folder};
use super::{Location, Manifest, OpenError, State};
use crate::{journal, snapshot};

/// What came of it.
#[derive(Debug)]
pub(crate) struct Salvaged {
    /// The manifest, good again.
    pub(crate) manifest: Manifest,
    /// Folder with the files as they were.
    pub(crate) kept: PathBuf,
    /// Contents that were received, as far as the files say.
    pub(crate) photos: usize,
}

impl Manifest {
    /// Makes the best of the files of a manifest that cannot be opened. They are copied away before anything is changed;
    /// a crash in between leaves either the old files or the new ones.
    ///
    /// # Errors
    /// When the disk does not take it, or the manifest belongs to another event.
    pub(crate) fn salvage(location: Location, event: EventId) -> io::Result<Salvaged> {
        let lock = File::create(location.lock())?;
        lock.try_lock().map_err(io::Error::from)?;
        let kept = keep(&location)?;
        let mut state = [location.snapshot.clone(), location.previous()]
            .iter()
            .filter_map(|file| snapshot::read(file).ok())
            .find(|state| state.event == event)
            .unwrap_or_else(|| State::empty(event));
        let mut generation = state.generation;
        if let Ok(file) = File::open(location.journal()) {
            for (of, record) in journal::salvage(file)? {
                generation = generation.max(of);
                // What an older journal says is in the snapshot, and may have changed since.
                if of >= state.generation {
                    state.apply(record)?;
                }
            }
        }
        let received = |state: &PhotoState| matches!(state, PhotoState::Received { .. });
        let photos = state.photos.iter().filter(|(_, photo)| received(photo.state())).count();
        state.generation = generation + 1;
        snapshot::write(&location.temp(), &state)?;
        place_snapshot(&location)?;
        File::create(location.journal())?.sync_all()?;
        sync_folder(&location.snapshot)?;
        drop(lock);
        let manifest = Self::open(location, event).map_err(|error: OpenError| io::Error::other(error))?;
        Ok(Salvaged { manifest, kept, photos })
    }
}

/// Copies the files into a folder beside them.
fn keep(location: &Location) -> io::Result<PathBuf> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let folder = location.snapshot.with_extension(format!("broken-{}", now.as_secs()));
    fs::create_dir_all(&folder)?;
    for file in [location.snapshot.clone(), location.journal(), location.previous()] {
        let Some(name) = file.file_name() else { continue };
        let copy: &Path = &folder.join(name);
        match fs::copy(&file, copy) {
            Ok(_) => File::open(copy)?.sync_all()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    sync_folder(&folder.join("."))?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use findme_common::{Digest, PhotoId};

    #[tokio::test]
    async fn what_is_good_is_kept_whatever_is_damaged() {
        for damage in ["snapshot", "journal", "both", "missing"] {
            let dir = tempfile::tempdir().unwrap();
            let location = Location::new(dir.path().join("manifest.json"));
            let event = EventId::from_bytes([7; 16]);
            let manifest = Manifest::open(location.clone(), event).unwrap();
            let receive = async |n: u8| {
                let photo = PhotoId::from_bytes([n; 16]);
                manifest.put_received(Digest::of(&[n]), 1, photo).wait().await.unwrap();
            };
            receive(1).await;
            manifest.compact().unwrap();
            receive(2).await;
            manifest.compact().unwrap();
            receive(3).await;
            receive(4).await;
            receive(5).await;
            drop(manifest);
            let spoil = |file: PathBuf| {
                let mut bytes = fs::read(&file).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0x10;
                fs::write(&file, bytes).unwrap();
            };
            match damage {
                "snapshot" => spoil(location.snapshot.clone()),
                "journal" => spoil(location.journal()),
                "both" => [location.snapshot.clone(), location.journal()].into_iter().for_each(spoil),
                _ => fs::remove_file(&location.snapshot).unwrap(),
            }
            assert!(matches!(Manifest::open(location.clone(), event), Err(OpenError::Unreadable { .. })), "{damage}");
            let salvaged = Manifest::salvage(location.clone(), event).unwrap();
            let good: Vec<u8> = (1..=5).filter(|n| salvaged.manifest.is_received(&Digest::of(&[*n]))).collect();
            let expected: &[u8] = match damage {
                // The second content was in the damaged snapshot alone: the server knows it.
                "snapshot" | "missing" => &[1, 3, 4, 5],
                "journal" => &[1, 2, 3, 5],
                _ => &[1, 3, 5],
            };
            assert_eq!(good, expected, "{damage}");
            assert_eq!(salvaged.photos, expected.len());
            assert!(salvaged.kept.join("manifest.journal").exists());
            drop(salvaged);
            let reopened = Manifest::open(location, event).unwrap();
            assert!(expected.iter().all(|n| reopened.is_received(&Digest::of(&[*n]))), "{damage}");
        }
    }
}
