//! A part of a file as a stream of pieces, with what guests do not get replaced on the way.

use std::io::{self, SeekFrom};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use crate::picture::location::Patches;

/// Pieces in which files are sent, in bytes.
const PIECE: usize = 64 * 1024;

/// The `length` bytes of a file from `first` on.
///
/// # Errors
/// When the file cannot be positioned.
pub(crate) async fn stream(
    mut file: File,
    first: u64,
    length: u64,
    patches: Patches,
) -> io::Result<impl Stream<Item = io::Result<Bytes>> + Send + 'static> {
    if first > 0 {
        file.seek(SeekFrom::Start(first)).await?;
    }
    let mut at = first;
    Ok(ReaderStream::with_capacity(file.take(length), PIECE).map(move |piece| {
        let piece = piece?;
        let begin = at;
        at += piece.len() as u64;
        if !patches.touch(begin, piece.len()) {
            return Ok(piece);
        }
        let mut changed = Vec::from(piece);
        patches.apply(begin, &mut changed);
        Ok(changed.into())
    }))
}
