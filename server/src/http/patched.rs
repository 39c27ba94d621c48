//! A part of a file in pieces, with what guests do not get replaced on the way. What the system has in its cache is read at
//! once; the rest on the blocking pool.
//!
//! Invariant: no more of a file than one piece is in memory, and a file that is shorter than promised is an error.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use findme_common::{EventId, PhotoId};
use futures_util::{Stream, stream};

use crate::picture::location::Patches;
#[cfg(feature = "s3")]
use crate::store::Bucket;
use crate::store::{PhotoStore, Rendition, at_once};
use crate::uploads::blocking;

/// Pieces in which files are sent, in bytes.
const PIECE: usize = 64 * 1024;

/// An open file.
#[derive(Debug)]
pub(crate) struct Opened {
    source: Source,
    length: u64,
}

/// Where bytes come from.
#[derive(Debug)]
enum Source {
    /// A file of this machine.
    File(Arc<File>),
    /// An object store, by the name there.
    #[cfg(feature = "s3")]
    Bucket(Bucket, String),
    /// An answer of an object store that has begun.
    #[cfg(feature = "s3")]
    Answer(Answer),
}

/// Bytes as an object store sends them, and what came of them beyond the last piece.
#[cfg(feature = "s3")]
struct Answer(stream::BoxStream<'static, io::Result<Bytes>>, bytes::BytesMut);

#[cfg(feature = "s3")]
impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer(…)")
    }
}

impl Opened {
    /// A file of a photo, wherever the store has it.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) async fn of(
        store: &PhotoStore,
        event: EventId,
        photo: PhotoId,
        rendition: Rendition,
    ) -> io::Result<Self> {
        #[cfg(feature = "s3")]
        if let Some(bucket) = store.bucket() {
            let key = crate::store::key(event, photo, rendition);
            let length = bucket.length(&key).await?;
            return Ok(Self { source: Source::Bucket(bucket.clone(), key), length });
        }
        Self::at(store.path(event, photo, rendition)).await
    }

    /// # Errors
    /// When it cannot be opened.
    pub(crate) async fn at(path: PathBuf) -> io::Result<Self> {
        let (file, length) = match at_once::open(&path) {
            Some(file) => with_length(file)?,
            None => blocking(move || with_length(File::open(path)?)).await?,
        };
        Ok(Self { source: Source::File(Arc::new(file)), length })
    }

    /// Its length when it was opened, in bytes.
    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    /// The `length` bytes from `first` on.
    pub(crate) fn part(self, first: u64, length: u64, patches: Patches) -> Part {
        Part { source: self.source, at: first, end: first.saturating_add(length), patches }
    }
}

fn with_length(file: File) -> io::Result<(File, u64)> {
    let length = file.metadata()?.len();
    Ok((file, length))
}

/// What of a file was not read yet.
#[derive(Debug)]
pub(crate) struct Part {
    source: Source,
    at: u64,
    end: u64,
    patches: Patches,
}

impl Part {
    /// Whether [`Part::next`] gives all of it at once.
    pub(crate) const fn is_small(&self) -> bool {
        self.end - self.at <= PIECE as u64
    }

    /// The next piece; `None` after the last one.
    ///
    /// # Errors
    /// When the file cannot be read, or is shorter than promised.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let wanted = usize::try_from(self.end - self.at).unwrap_or(PIECE).min(PIECE);
        if wanted == 0 {
            return Ok(None);
        }
        #[cfg(feature = "s3")]
        let begun =
            if let Source::Bucket(bucket, key) = &self.source { Some((bucket.clone(), key.clone())) } else { None };
        #[cfg(feature = "s3")]
        if let Some((bucket, key)) = begun {
            let answer = bucket.read(&key, self.at..self.end).await?;
            self.source = Source::Answer(Answer(answer, bytes::BytesMut::new()));
        }
        let mut piece = match &mut self.source {
            Source::File(file) => read(file, self.at, wanted).await?,
            #[cfg(feature = "s3")]
            Source::Answer(answer) => answer.take(wanted).await?,
            #[cfg(feature = "s3")]
            Source::Bucket(..) => return Err(io::ErrorKind::NotConnected.into()),
        };
        self.patches.apply(self.at, &mut piece);
        self.at += wanted as u64;
        Ok(Some(piece.into()))
    }

    /// All of it, piece by piece.
    pub(crate) fn stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        stream::try_unfold(self, async |mut part| Ok(part.next().await?.map(|piece| (piece, part))))
    }
}

/// Bytes of a file of this machine.
async fn read(file: &Arc<File>, at: u64, wanted: usize) -> io::Result<Vec<u8>> {
    let mut piece = vec![0; wanted];
    if at_once::read(file, &mut piece, at) == Some(wanted) {
        return Ok(piece);
    }
    let file = file.clone();
    blocking(move || read_exactly(&file, &mut piece, at).map(|()| piece)).await
}

#[cfg(feature = "s3")]
impl Answer {
    /// Exactly so many bytes.
    async fn take(&mut self, wanted: usize) -> io::Result<Vec<u8>> {
        while self.1.len() < wanted {
            let more = futures_util::TryStreamExt::try_next(&mut self.0).await?;
            self.1.extend_from_slice(&more.ok_or(io::ErrorKind::UnexpectedEof)?);
        }
        Ok(self.1.split_to(wanted).to_vec())
    }
}

#[cfg(unix)]
fn read_exactly(file: &File, piece: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, piece, at)
}

#[cfg(windows)]
fn read_exactly(file: &File, mut piece: &mut [u8], mut at: u64) -> io::Result<()> {
    while !piece.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, piece, at)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => (piece, at) = (&mut std::mem::take(&mut piece)[read..], at + read as u64),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn parts_are_the_files_bytes_and_a_file_that_shrank_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let bytes: Vec<u8> = (0..3 * PIECE as u32 + 7).map(|n| (n % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let whole = bytes.len() as u64;
        for (first, length) in [(0, whole), (0, 0), (5, 1), (PIECE as u64 - 1, PIECE as u64 + 2), (whole - 1, 1)] {
            let mut part = Opened::at(path.clone()).await.unwrap().part(first, length, Patches::default());
            let mut read = Vec::new();
            while let Some(piece) = part.next().await.unwrap() {
                assert!(piece.len() <= PIECE);
                read.extend(piece);
            }
            assert_eq!(read, bytes[first as usize..(first + length) as usize], "{first} {length}");
        }
        let mut part = Opened::at(path.clone()).await.unwrap().part(0, whole, Patches::default());
        File::options().write(true).open(&path).unwrap().set_len(PIECE as u64 + 1).unwrap();
        assert_eq!(part.next().await.unwrap().unwrap().len(), PIECE);
        assert_eq!(part.next().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(Opened::at(folder.path().join("none")).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
