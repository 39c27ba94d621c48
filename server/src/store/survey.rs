//! All files of the store, for checks; putting aside what belongs nowhere; copies for backups.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
#[cfg(feature = "postgres")]
use std::sync::{Mutex, PoisonError};

use findme_common::{EventId, PhotoId};

use super::{PhotoStore, Rendition, private_dir, sync_dir, sync_parent};

/// Files that are copied to another store at the same time.
#[cfg(feature = "postgres")]
const COPIERS: usize = 8;

/// A file in the folders of photos and derivatives.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// Where it is.
    pub path: PathBuf,
    /// Whose it is by its name; `None` when it is named like no file of a photo.
    pub name: Option<(EventId, PhotoId, Rendition)>,
}

impl PhotoStore {
    /// All published files and derivatives; of an object store with the place that they would have in the folder.
    ///
    /// # Errors
    /// When a folder cannot be read, or the store does not answer.
    pub(crate) fn files(&self) -> io::Result<Vec<Stored>> {
        let mut found = Vec::new();
        #[cfg(feature = "s3")]
        if let Some(bucket) = &self.bucket {
            for folder in ["photos", "derived"] {
                let paths = bucket.wait(bucket.keys(folder))?.into_iter().map(|key| self.root.join(key));
                found.extend(paths.map(|path| Stored { name: self.name_of(&path), path }));
            }
            return Ok(found);
        }
        for folder in ["photos", "derived"] {
            for event in fs::read_dir(self.root.join(folder))? {
                let event = event?;
                if !event.file_type()?.is_dir() {
                    found.push(Stored { path: event.path(), name: None });
                    continue;
                }
                for file in fs::read_dir(event.path())? {
                    let path = file?.path();
                    // A derivative that was being written when the process died, or is being written now.
                    if path.extension().is_some_and(|end| end == "part") {
                        continue;
                    }
                    let name = self.name_of(&path);
                    found.push(Stored { path, name });
                }
            }
        }
        Ok(found)
    }

    /// Bytes of a published file or derivative; `None` when there is none.
    ///
    /// # Errors
    /// When that cannot be told.
    pub(crate) fn length(&self, event: EventId, photo: PhotoId, rendition: Rendition) -> io::Result<Option<u64>> {
        #[cfg(feature = "s3")]
        let length = match &self.bucket {
            Some(bucket) => bucket.wait(bucket.length(&super::key(event, photo, rendition))),
            None => fs::metadata(self.path(event, photo, rendition)).map(|file| file.len()),
        };
        #[cfg(not(feature = "s3"))]
        let length = fs::metadata(self.path(event, photo, rendition)).map(|file| file.len());
        match length {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            length => length.map(Some),
        }
    }

    /// Whether a file that was found is still there.
    ///
    /// # Errors
    /// When that cannot be told.
    pub(crate) fn is_there(&self, file: &Stored) -> io::Result<bool> {
        match file.name {
            Some((event, photo, rendition)) => Ok(self.length(event, photo, rendition)?.is_some()),
            None if self.has_folders() => file.path.try_exists(),
            None => Ok(true),
        }
    }

    /// Whether published files are in folders of this machine.
    pub(crate) const fn has_folders(&self) -> bool {
        #[cfg(feature = "s3")]
        return self.bucket.is_none();
        #[cfg(not(feature = "s3"))]
        true
    }

    /// Copies all files to another store, with folders for all events; how many files.
    ///
    /// # Errors
    /// When one cannot be copied; it may be tried again.
    #[cfg(feature = "postgres")]
    pub(crate) fn copy_to(&self, other: &Self) -> io::Result<u64> {
        for event in fs::read_dir(self.root.join("photos"))? {
            if let Some(event) = event?.file_name().to_str().and_then(|name| name.parse().ok()) {
                other.create_event(event)?;
            }
        }
        let files: Vec<_> = self.files()?.into_iter().filter_map(|file| Some((file.name?, file.path))).collect();
        let count = files.len() as u64;
        // Several on their way: a store that is far away is waited for most of the time.
        let left = Mutex::new(files.into_iter());
        std::thread::scope(|scope| {
            let copy = || loop {
                let next = left.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(((event, photo, rendition), path)) = next else { return Ok(()) };
                other.put_file(event, photo, rendition, &path)?;
            };
            let threads: Vec<_> = (0..COPIERS).map(|_| scope.spawn(copy)).collect();
            threads.into_iter().try_for_each(|thread| {
                thread.join().unwrap_or_else(|_| Err(io::Error::other("copying a file panicked")))
            })
        })?;
        Ok(count)
    }

    /// Which file of which photo a path is; `None` when it is none of them.
    pub(crate) fn name_of(&self, path: &Path) -> Option<(EventId, PhotoId, Rendition)> {
        let name = path.file_name()?.to_str()?;
        let event: EventId = path.parent()?.file_name()?.to_str()?.parse().ok()?;
        let (photo, _) = name.split_at_checked(32)?;
        let photo: PhotoId = photo.parse().ok()?;
        let rendition = Rendition::ALL.into_iter().find(|of| self.path(event, photo, *of) == path)?;
        Some((event, photo, rendition))
    }

    /// Moves a file to `lost/`, keeping its name and what is there already; where it is now.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub(crate) fn put_aside(&self, path: &Path) -> io::Result<PathBuf> {
        let relative = path.strip_prefix(&self.root).unwrap_or(path);
        let flat = relative.to_string_lossy().replace(['/', '\\'], "_");
        let lost = self.root.join("lost");
        private_dir(&lost)?;
        let target = (0_u32..)
            .map(|n| lost.join(if n == 0 { flat.clone() } else { format!("{flat}.{n}") }))
            .find(|target| !target.exists())
            .ok_or(io::ErrorKind::AlreadyExists)?;
        fs::rename(path, &target)?;
        sync_dir(&lost)?;
        sync_parent(path)?;
        Ok(target)
    }
}

/// Puts a file at another place without changing it: a further name for the same bytes where the file system can, else a
/// copy. Published files are never written to again, so both are equally good. Durable with the next sync of the folder.
///
/// # Errors
/// When it cannot be linked nor copied.
pub(crate) fn place(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    let part = to.with_extension("part");
    fs::copy(from, &part)?;
    File::open(&part)?.sync_all()?;
    fs::rename(&part, to)
}
