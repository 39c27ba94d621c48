//! Face vectors at rest: sealed with a key per event that lies in `DATA/keys/`, outside the database and outside every
//! backup, so that removing the key destroys the event's vectors wherever copies of the database are.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use findme_common::EventId;

use crate::store::{private_dir, sync_dir};

const NONCE: usize = 24;

/// Why a vector cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VaultError {
    /// The event's key is not there: its vectors are gone for good, the photos must be indexed again.
    #[error("the key of the event is not in {}; its faces must be indexed again", .0.display())]
    NoKey(PathBuf),
    /// The sealed bytes are not what was sealed with this key.
    #[error("a sealed vector is damaged")]
    Damaged,
    /// The key file cannot be read or written.
    #[error("key file: {0}")]
    Io(#[from] io::Error),
}

/// The keys of all events.
#[derive(Debug, Clone)]
pub(crate) struct Vault {
    folder: PathBuf,
    keys: Arc<Mutex<HashMap<EventId, Arc<EventKey>>>>,
}

/// The key of one event. XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha): 192-bit nonces may be random.
pub(crate) struct EventKey(XChaCha20Poly1305);

impl std::fmt::Debug for EventKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EventKey(…)")
    }
}

impl Vault {
    /// The vault in `folder`, created readable by its owner alone.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        private_dir(folder)?;
        Ok(Self { folder: folder.to_owned(), keys: Arc::default() })
    }

    /// Whether any event has a key here.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(crate) fn knows_events(&self) -> io::Result<bool> {
        Ok(fs::read_dir(&self.folder)?.next().transpose()?.is_some())
    }

    fn path(&self, event: EventId) -> PathBuf {
        self.folder.join(event.to_simple())
    }

    /// Makes the key of a new event, durably, before anything is sealed with it.
    ///
    /// # Errors
    /// When the file exists already or cannot be written.
    pub(crate) fn create(&self, event: EventId) -> Result<(), VaultError> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(io::Error::from)?;
        self.create_as(event, &key)
    }

    fn create_as(&self, event: EventId, key: &[u8]) -> Result<(), VaultError> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(self.path(event))?;
        file.write_all(key)?;
        file.sync_all()?;
        sync_dir(&self.folder)?;
        Ok(())
    }

    /// Copies the key of an event to another vault, durably; whether there was one. One that is there already stays.
    ///
    /// # Errors
    /// When it cannot be read or written, or another key is there.
    #[cfg(feature = "postgres")]
    pub(crate) fn copy_to(&self, other: &Self, event: EventId) -> Result<bool, VaultError> {
        let key = match fs::read(self.path(event)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        match fs::read(other.path(event)) {
            Ok(there) if there == key => return Ok(true),
            Ok(_) => return Err(VaultError::Damaged),
            Err(_) => {}
        }
        other.create_as(event, &key)?;
        Ok(true)
    }

    /// Destroys the key of an event, and with it the event's vectors wherever copies of the database are.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub(crate) fn destroy(&self, event: EventId) -> Result<(), VaultError> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).remove(&event);
        match fs::remove_file(self.path(event)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(sync_dir(&self.folder)?),
        }
    }

    /// Forgets the keys that are not there any more (another process deleted their events); of which events.
    pub(crate) fn forget_destroyed(&self) -> Vec<EventId> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = |event: &EventId| matches!(self.path(*event).try_exists(), Ok(false));
        let gone: Vec<EventId> = keys.keys().filter(|event| gone(event)).copied().collect();
        gone.iter().for_each(|event| drop(keys.remove(event)));
        gone
    }

    /// The key of an event.
    ///
    /// # Errors
    /// When there is none, or it cannot be read. A missing key is never replaced by a new one.
    pub(crate) fn key(&self, event: EventId) -> Result<Arc<EventKey>, VaultError> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = keys.get(&event) {
            return Ok(key.clone());
        }
        let path = self.path(event);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(VaultError::NoKey(path)),
            other => other?,
        };
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| VaultError::Damaged)?;
        let key = Arc::new(EventKey(XChaCha20Poly1305::new(&Key::from(bytes))));
        keys.insert(event, key.clone());
        Ok(key)
    }
}

impl EventKey {
    /// Seals some bytes: nonce, then ciphertext with its tag.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub(crate) fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(io::Error::from)?;
        let sealed = self.0.encrypt(&XNonce::from(nonce), plain).map_err(|_| VaultError::Damaged)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what [`EventKey::seal`] made.
    ///
    /// # Errors
    /// [`VaultError::Damaged`] when it was not made with this key.
    pub(crate) fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>().ok_or(VaultError::Damaged)?;
        self.0.decrypt(&XNonce::from(*nonce), sealed).map_err(|_| VaultError::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_events_own_key_opens() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(&dir.path().join("keys")).unwrap();
        let (a, b) = (EventId::random().unwrap(), EventId::random().unwrap());
        vault.create(a).unwrap();
        vault.create(b).unwrap();
        let sealed = vault.key(a).unwrap().seal(b"vector").unwrap();
        assert_eq!(vault.key(a).unwrap().open(&sealed).unwrap(), b"vector");
        assert!(matches!(vault.key(b).unwrap().open(&sealed), Err(VaultError::Damaged)));
        for length in 0..sealed.len() {
            assert!(vault.key(a).unwrap().open(&sealed[..length]).is_err());
        }
    }

    #[test]
    fn a_missing_key_is_an_error_and_an_existing_one_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(dir.path()).unwrap();
        let event = EventId::random().unwrap();
        assert!(matches!(vault.key(event), Err(VaultError::NoKey(_))));
        vault.create(event).unwrap();
        assert!(vault.create(event).is_err());
    }
}
