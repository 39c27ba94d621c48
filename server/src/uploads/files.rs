//! File work of uploads, off the async threads.

use std::io;

use bytes::Bytes;
use findme_common::digest::Hasher;

use super::checksum::Sum;
use crate::store::Staged;

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
