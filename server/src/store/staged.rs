//! The file of an unfinished upload. What was acknowledged of it is never shorter than its row says.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};

use findme_common::UploadId;
use findme_common::digest::Hasher;

use super::{PIECE, PhotoStore};

impl PhotoStore {
    /// Opens the staged file of an upload at `offset`, cut to exactly that length, and the hasher of what is before it
    /// (`None`: the caller still has it, the prefix is not read).
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the file is shorter than `offset`: bytes that were acknowledged are gone.
    pub(crate) fn open_staged(&self, upload: UploadId, offset: u64, hasher: Option<Hasher>) -> io::Result<Staged> {
        let path = self.staged(upload);
        let mut file = OpenOptions::new().read(true).write(true).create(offset == 0).truncate(false).open(path)?;
        if file.metadata()?.len() < offset {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.set_len(offset)?;
        let hasher = match hasher {
            Some(hasher) => hasher,
            None => hash_prefix(&mut file, offset)?,
        };
        file.seek(SeekFrom::Start(offset))?;
        Ok(Staged { file, hasher, offset })
    }
}

/// An unfinished upload's file, open at its end.
#[derive(Debug)]
pub(crate) struct Staged {
    file: File,
    hasher: Hasher,
    offset: u64,
}

impl Staged {
    /// Writes the next bytes and adds them to the digest.
    ///
    /// # Errors
    /// When they cannot be written; what the file then holds beyond the last sync does not count.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Throws away what is behind `offset`; `hasher` is that of the bytes before it.
    ///
    /// # Errors
    /// When the file cannot be cut.
    pub(crate) fn rewind(&mut self, offset: u64, hasher: Hasher) -> io::Result<()> {
        self.file.set_len(offset)?;
        self.file.seek(SeekFrom::Start(offset))?;
        (self.offset, self.hasher) = (offset, hasher);
        Ok(())
    }

    /// Makes everything written so far survive a power cut.
    ///
    /// # Errors
    /// A sync that failed is final: the kernel may have dropped the bytes, and a second sync would lie.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Bytes in the file.
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Digest state of the bytes in the file.
    pub(crate) const fn hasher(&self) -> &Hasher {
        &self.hasher
    }
}

/// Reads the first `length` bytes in pieces.
///
/// # Errors
/// When there are not so many, or they cannot be read.
pub(super) fn hash_prefix(file: &mut File, length: u64) -> io::Result<Hasher> {
    let mut hasher = Hasher::new();
    let mut left = length;
    let mut piece = vec![0; PIECE.min(usize::try_from(length).unwrap_or(PIECE))];
    while left > 0 {
        let want = piece.len().min(usize::try_from(left).unwrap_or(PIECE));
        file.read_exact(&mut piece[..want])?;
        hasher.update(&piece[..want]);
        left -= want as u64;
    }
    Ok(hasher)
}
