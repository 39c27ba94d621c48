//! The files of the server: staged uploads, published photos, derivatives. A published file is whole, verified and
//! durable: it is renamed into place only after its bytes were synced, and its folder is synced after that.
//!
//! ```text
//! DATA/staging/<upload>                     bytes of an unfinished upload; derivatives while they are written
//! DATA/photos/<event>/<photo>               the original, byte for byte
//! DATA/photos/<event>/<photo>.sent-preview  what a client sent ahead of it
//! DATA/derived/<event>/<photo>.preview.jpg  2048 px, made here
//! DATA/derived/<event>/<photo>.thumb.jpg    480 px, made here
//! DATA/derived/<event>/<photo>.small.jpg    320 px, made here
//! ```
//!
//! Where many machines share them, photos and derivatives lie under the same names in an object store (see `bucket`).

pub(crate) mod at_once;
#[cfg(feature = "s3")]
mod bucket;
mod signed;
mod staged;
mod survey;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use findme_common::protocol::Kind;
use findme_common::{Digest, EventId, PhotoId, UploadId};

#[cfg(feature = "s3")]
pub(crate) use bucket::Bucket;
pub(crate) use signed::Presented;
pub(crate) use staged::Staged;
pub(crate) use survey::{Stored, place};

/// Pieces in which files are read back, in bytes.
const PIECE: usize = 256 * 1024;

/// Which file of a photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rendition {
    /// What was uploaded, byte for byte.
    Original,
    /// A preview that a client sent ahead of the original.
    SentPreview,
    /// Long side 2048 px at most, made here.
    Preview,
    /// Long side 480 px at most, made here.
    Thumb,
    /// Long side 320 px at most, made here; from the thumbnail when it is first asked for, where a photo has none yet.
    Small,
}

impl Rendition {
    /// Every file that a photo may have; the original goes last.
    pub(crate) const ALL: [Self; 5] = [Self::Small, Self::Thumb, Self::Preview, Self::SentPreview, Self::Original];
}

impl From<Kind> for Rendition {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Original => Self::Original,
            Kind::Preview => Self::SentPreview,
        }
    }
}

/// The folder of all files. All methods block; call them on the blocking pool.
#[derive(Debug, Clone)]
pub(crate) struct PhotoStore {
    root: PathBuf,
    /// Where published files and derivatives are instead.
    #[cfg(feature = "s3")]
    bucket: Option<Bucket>,
    /// What gives pages addresses there.
    #[cfg(feature = "s3")]
    signing: Option<signed::Signing>,
}

/// A published file that can be read as one of this machine's; a copy is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Local {
    path: PathBuf,
    _copy: Option<tempfile::TempPath>,
}

impl std::ops::Deref for Local {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl PhotoStore {
    /// The data folder that it lies in.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Opens the store in `root`, creating its folders durably.
    ///
    /// # Errors
    /// When a folder cannot be created or synced.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        private_dir_if_new(root)?;
        for folder in ["staging", "photos", "derived"] {
            fs::create_dir_all(root.join(folder))?;
        }
        sync_dir(root)?;
        Ok(Self {
            root: root.to_owned(),
            #[cfg(feature = "s3")]
            bucket: None,
            #[cfg(feature = "s3")]
            signing: None,
        })
    }

    /// The store with its published files at `url`, `s3://bucket/prefix`, which must answer.
    ///
    /// # Errors
    /// When it does not, or this program knows no object stores.
    #[cfg(feature = "s3")]
    pub(crate) async fn with_files_at(self, url: &str) -> io::Result<Self> {
        let bucket = Bucket::open(url)?;
        bucket.answers().await?;
        Ok(Self { bucket: Some(bucket), ..self })
    }

    /// The store with its published files at `url`, of which this program knows nothing.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(feature = "s3"))]
    pub(crate) async fn with_files_at(self, _url: &str) -> io::Result<Self> {
        Err(io::Error::other("this program was built without object stores; build it with `--features s3`"))
    }

    /// The object store that published files are in, if they are in one.
    #[cfg(feature = "s3")]
    pub(crate) const fn bucket(&self) -> Option<&Bucket> {
        self.bucket.as_ref()
    }

    /// Whether published files can be reached.
    ///
    /// # Errors
    /// When they cannot.
    pub(crate) fn answers(&self) -> io::Result<()> {
        #[cfg(feature = "s3")]
        if let Some(bucket) = &self.bucket {
            return bucket.wait(bucket.answers());
        }
        Ok(())
    }

    /// A published file or derivative, to be read from this machine's disk.
    ///
    /// # Errors
    /// When it cannot be fetched; whether a file of the folder is there is not looked at.
    pub(crate) fn local(&self, event: EventId, photo: PhotoId, rendition: Rendition) -> io::Result<Local> {
        #[cfg(feature = "s3")]
        if let Some(bucket) = &self.bucket {
            let mut copy = tempfile::Builder::new().prefix("copy-").tempfile_in(self.root.join("staging"))?;
            bucket.wait(bucket.fetch(&key(event, photo, rendition), copy.as_file_mut()))?;
            let copy = copy.into_temp_path();
            return Ok(Local { path: copy.to_path_buf(), _copy: Some(copy) });
        }
        Ok(Local { path: self.path(event, photo, rendition), _copy: None })
    }

    /// Digest of a published file of this length; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn published(
        &self,
        event: EventId,
        photo: PhotoId,
        kind: Kind,
        length: u64,
    ) -> io::Result<Option<Digest>> {
        #[cfg(feature = "s3")]
        if let Some(bucket) = &self.bucket {
            let found = bucket.wait(bucket.digest(&key(event, photo, kind.into())))?;
            return Ok(found.filter(|(_, found)| *found == length).map(|(digest, _)| digest));
        }
        let mut file = match File::open(self.path(event, photo, kind.into())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        if file.metadata()?.len() != length {
            return Ok(None);
        }
        Ok(Some(staged::hash_prefix(&mut file, length)?.finish()))
    }

    /// Whether any event has a folder here. It is made before its row, so this may also be what a crash left.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(crate) fn knows_events(&self) -> io::Result<bool> {
        Ok(fs::read_dir(self.root.join("photos"))?.next().transpose()?.is_some())
    }

    /// Makes the folders of an event, durably: a file synced in an unsynced folder would be lost with the folder.
    ///
    /// # Errors
    /// When a folder cannot be created or synced.
    pub(crate) fn create_event(&self, event: EventId) -> io::Result<()> {
        for parent in ["photos", "derived"] {
            let parent = self.root.join(parent);
            fs::create_dir_all(parent.join(event.to_simple()))?;
            sync_dir(&parent)?;
        }
        Ok(())
    }

    /// Whether an event has its folders.
    ///
    /// # Errors
    /// When that cannot be told.
    pub(crate) fn has_event(&self, event: EventId) -> io::Result<bool> {
        let there = |parent: &str| self.root.join(parent).join(event.to_simple()).try_exists();
        Ok(there("photos")? && there("derived")?)
    }

    /// Where the bytes of an unfinished upload are.
    pub(crate) fn staged(&self, upload: UploadId) -> PathBuf {
        self.root.join("staging").join(upload.to_simple())
    }

    /// Where a file of a photo is, or will be.
    pub(crate) fn path(&self, event: EventId, photo: PhotoId, rendition: Rendition) -> PathBuf {
        self.root.join(key(event, photo, rendition))
    }

    /// Publishes a staged file whose bytes were synced: rename, then sync of the folder.
    ///
    /// # Errors
    /// When it cannot be renamed or the folder cannot be synced.
    pub(crate) fn publish(&self, upload: UploadId, event: EventId, photo: PhotoId, kind: Kind) -> io::Result<()> {
        #[cfg(feature = "s3")]
        if let Some(bucket) = &self.bucket {
            let staged = self.staged(upload);
            bucket.wait(bucket.publish(&key(event, photo, kind.into()), &staged))?;
            return self.discard(upload);
        }
        let target = self.path(event, photo, kind.into());
        fs::rename(self.staged(upload), &target)?;
        sync_parent(&target)
    }

    /// Makes sure that a published file survives a power cut: a crash may have come between its renaming and the sync of
    /// its folder.
    ///
    /// # Errors
    /// When it cannot be synced.
    pub(crate) fn confirm(&self, event: EventId, photo: PhotoId, kind: Kind) -> io::Result<()> {
        #[cfg(feature = "s3")]
        if self.bucket.is_some() {
            return Ok(()); // whoever reads it there was told of nothing that is not durable
        }
        sync_parent(&self.path(event, photo, kind.into()))
    }

    /// Bytes in a staged file; `None` when there is none.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(crate) fn staged_length(&self, upload: UploadId) -> io::Result<Option<u64>> {
        match fs::metadata(self.staged(upload)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => Ok(Some(other?.len())),
        }
    }

    /// Removes a staged file; one that is not there is no error.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(crate) fn discard(&self, upload: UploadId) -> io::Result<()> {
        match fs::remove_file(self.staged(upload)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Names of all staged files, for recovery. Files that are not named like an upload are left alone.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(crate) fn staged_uploads(&self) -> io::Result<Vec<UploadId>> {
        let entries = fs::read_dir(self.root.join("staging"))?;
        let mut found = Vec::new();
        for entry in entries {
            if let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
                found.push(id);
            }
        }
        Ok(found)
    }

    /// Removes what was left of derivatives whose writing a crash cut short, a while ago; how many.
    ///
    /// # Errors
    /// When the folder cannot be read or a file not be removed.
    pub(crate) fn remove_parts(&self, age: Duration) -> io::Result<usize> {
        let mut removed = 0;
        for entry in fs::read_dir(self.root.join("staging"))? {
            let path = entry?.path();
            if path.extension().is_none_or(|end| end != "part") {
                continue;
            }
            match fs::metadata(&path).and_then(|of| of.modified()) {
                Ok(written) if written.elapsed().is_ok_and(|since| since >= age) => fs::remove_file(&path)?,
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => continue,
            }
            removed += 1;
        }
        Ok(removed)
    }

    /// Writes a derivative whole or not at all, durably: the row that says that it is there is committed after this.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn put_derived(
        &self,
        event: EventId,
        photo: PhotoId,
        rendition: Rendition,
        bytes: &[u8],
    ) -> io::Result<()> {
        #[cfg(feature = "s3")]
        if let Some(bucket) = &self.bucket {
            return bucket.wait(bucket.put(&key(event, photo, rendition), bytes));
        }
        let target = self.path(event, photo, rendition);
        // Two who make the same one at once must not write into each other's file. What a crash leaves of one is found in
        // the folder of unfinished files: it may show a photo that was deleted since.
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let temporary = self.root.join("staging").join(format!("{name}.{}-{number}.part", std::process::id()));
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(bytes)?;
            file.sync_data()?;
            fs::rename(&temporary, &target)
        };
        write().inspect_err(|_| drop(fs::remove_file(&temporary)))?;
        sync_parent(&target)
    }

    /// Puts a file of another store where it belongs, durably.
    ///
    /// # Errors
    /// When it cannot be written.
    #[cfg(feature = "postgres")]
    pub(crate) fn put_file(&self, event: EventId, photo: PhotoId, rendition: Rendition, from: &Path) -> io::Result<()> {
        #[cfg(feature = "s3")]
        if let Some(bucket) = &self.bucket {
            return bucket.wait(bucket.publish(&key(event, photo, rendition), from));
        }
        let target = self.path(event, photo, rendition);
        let temporary = target.with_extension("part");
        fs::copy(from, &temporary)?;
        File::open(&temporary)?.sync_all()?;
        fs::rename(&temporary, &target)?;
        sync_parent(&target)
    }

    /// Removes all files of a photo; those that are not there are no error.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub(crate) fn remove_photo(&self, event: EventId, photo: PhotoId) -> io::Result<()> {
        for rendition in Rendition::ALL {
            #[cfg(feature = "s3")]
            if let Some(bucket) = &self.bucket {
                bucket.wait(bucket.remove(&key(event, photo, rendition)))?;
                continue;
            }
            match fs::remove_file(self.path(event, photo, rendition)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the folders of an event with everything in them.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub(crate) fn remove_event(&self, event: EventId) -> io::Result<()> {
        for parent in ["derived", "photos"] {
            #[cfg(feature = "s3")]
            if let Some(bucket) = &self.bucket {
                bucket.wait(bucket.remove_folder(&format!("{parent}/{}", event.to_simple())))?;
            }
            let parent = self.root.join(parent);
            let folder = parent.join(event.to_simple());
            // What was already being written may land while its folder is emptied.
            let mut tries = 0;
            loop {
                match fs::remove_dir_all(&folder) {
                    Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && tries < 20 => tries += 1,
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => break,
                }
            }
            sync_dir(&parent)?;
        }
        Ok(())
    }

    /// Bytes that are free for further photos on the store's disk; `None` where that cannot be told.
    pub(crate) fn free_bytes(&self) -> Option<u64> {
        free_bytes(&self.root)
    }
}

/// Name of a file of a photo, below the root of the store.
pub(crate) fn key(event: EventId, photo: PhotoId, rendition: Rendition) -> String {
    let (folder, suffix) = match rendition {
        Rendition::Original => ("photos", ""),
        Rendition::SentPreview => ("photos", ".sent-preview"),
        Rendition::Preview => ("derived", ".preview.jpg"),
        Rendition::Thumb => ("derived", ".thumb.jpg"),
        Rendition::Small => ("derived", ".small.jpg"),
    };
    format!("{folder}/{}/{}{suffix}", event.to_simple(), photo.to_simple())
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_dir)
}

/// Makes a folder that only its owner can enter: photos and guests are nobody else's business.
pub(crate) fn private_dir(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    #[cfg(unix)]
    fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    Ok(())
}

/// The data folder: private when it is made here, as its owner set it when it was there.
pub(crate) fn private_dir_if_new(folder: &Path) -> io::Result<()> {
    if folder.exists() { Ok(()) } else { private_dir(folder) }
}

/// Makes names in a folder survive a power cut. Windows has no such call and orders names by its own journal.
#[cfg(unix)]
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(not(unix))]
pub(crate) fn sync_dir(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn free_bytes(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(not(unix))]
fn free_bytes(_path: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
pub(crate) mod tests;
