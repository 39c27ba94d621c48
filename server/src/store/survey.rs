//! All files of the store, for checks; putting aside what belongs nowhere; copies for backups.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use findme_common::{EventId, PhotoId};

use super::{PhotoStore, Rendition, private_dir, sync_dir, sync_parent};

/// A file in the folders of photos and derivatives.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// Where it is.
    pub path: PathBuf,
    /// Whose it is by its name; `None` when it is named like no file of a photo.
    pub name: Option<(EventId, PhotoId, Rendition)>,
}

impl PhotoStore {
    /// All published files and derivatives.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub(crate) fn files(&self) -> io::Result<Vec<Stored>> {
        let mut found = Vec::new();
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
        let mut copied = 0;
        for file in self.files()? {
            let Some((event, photo, rendition)) = file.name else { continue };
            other.put_file(event, photo, rendition, &file.path)?;
            copied += 1;
        }
        Ok(copied)
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
