//! File work of uploads, off the async threads.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use findme_common::Digest;
use findme_common::digest::Hasher;

use super::checksum::Sum;
use crate::store::Staged;

/// Pieces in which a published file is read back, in bytes.
const PIECE: usize = 256 * 1024;

/// Runs file work on the blocking pool.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Writes the next bytes and adds them to the request's checksum.
pub(super) async fn write(mut staged: Staged, mut sum: Option<Sum>, bytes: Bytes) -> io::Result<(Staged, Option<Sum>)> {
    blocking(move || {
        if let Some(sum) = &mut sum {
            sum.update(&bytes);
        }
        staged.write(&bytes).map(|()| (staged, sum))
    })
    .await
}

/// Throws away what was written behind `offset`; the hasher is that of the bytes before it.
pub(super) async fn rewind(mut staged: Staged, offset: u64, hasher: Hasher) -> io::Result<Staged> {
    blocking(move || staged.rewind(offset, hasher).map(|()| staged)).await
}

pub(super) async fn sync(staged: Staged) -> io::Result<Staged> {
    blocking(move || staged.sync().map(|()| staged)).await
}

/// Digest of a published file of that length; `None` when there is none.
pub(super) fn published_digest(path: &Path, length: u64) -> io::Result<Option<Digest>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    if file.metadata()?.len() != length {
        return Ok(None);
    }
    let (mut hasher, mut piece) = (Hasher::new(), vec![0; PIECE]);
    loop {
        let n = file.read(&mut piece)?;
        if n == 0 {
            return Ok(Some(hasher.finish()));
        }
        hasher.update(&piece[..n]);
    }
}
