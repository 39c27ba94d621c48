//! A request's body on its way into the staged file. What is returned as the file's offset is synced; a request with a
//! checksum counts whole or not at all.

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;

use super::checksum::{Checksum, Sum};
use super::files::{self, sync};
use super::slots::Slot;
use super::{UploadError, Uploads};
use crate::catalog::UploadRow;
use crate::store::Staged;

/// Bytes that are collected before they are written: few calls, little memory (times the number of clients).
const BATCH: usize = 256 * 1024;

/// Unwritten progress is made durable at least this often, so that a kill costs little of a large file.
const CHECKPOINT: u64 = 16 * 1024 * 1024;

/// A request that has its turn to write.
pub(super) struct Writing<'a> {
    /// Heard here: whether it is alive.
    pub(super) slot: &'a Slot,
    /// Cancelled when a newer request takes over.
    pub(super) stop: CancellationToken,
    /// What it announced about its bytes.
    pub(super) checksum: Option<Checksum>,
}

/// What a request came to: a file whose bytes are synced, and how its body ended.
pub(super) struct Received {
    pub(super) staged: Staged,
    pub(super) ended: Ended,
}

/// How a request's body ended.
pub(super) enum Ended {
    /// The client said that it was the end.
    Whole,
    /// Anything else; what arrived before is kept.
    Failed(UploadError),
}

impl Uploads {
    /// Takes the body in, batch by batch, until it ends, breaks, runs over or is taken over.
    pub(super) async fn receive<S, E>(
        &self,
        row: &UploadRow,
        mut staged: Staged,
        body: &mut S,
        writing: Writing<'_>,
    ) -> Result<Received, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
    {
        let before = (staged.offset(), staged.hasher().clone());
        let mut sum = writing.checksum.clone().map(Sum::new);
        let mut synced = staged.offset();
        let mut batch = BytesMut::new();
        let mut ended = None;
        while ended.is_none() {
            let room = row.new.length - staged.offset() - batch.len() as u64;
            match next_piece(body, &writing, room).await {
                Piece::Bytes(piece) => batch.extend_from_slice(&piece),
                Piece::End(end) => ended = Some(end),
            }
            if batch.len() >= BATCH || (ended.is_some() && !batch.is_empty()) {
                (staged, sum) = files::write(staged, sum, batch.split().freeze()).await?;
            }
            // Bytes that may still turn out to be wrong are never recorded.
            if staged.offset() - synced >= CHECKPOINT && ended.is_none() && sum.is_none() {
                staged = sync(staged).await?;
                synced = staged.offset();
                if !self.catalog.set_offset(row, synced).await? {
                    return Err(self.too_late(row.id).await?);
                }
            }
        }
        let mut ended = ended.unwrap_or(Ended::Whole);
        if let Some(sum) = sum {
            if matches!(ended, Ended::Whole) && !sum.met() {
                ended = Ended::Failed(UploadError::ChecksumMismatch { offset: before.0 });
            }
            if matches!(ended, Ended::Failed(_)) {
                let staged = files::rewind(staged, before.0, before.1).await?;
                return Ok(Received { staged, ended });
            }
        }
        let staged = if staged.offset() > synced || row.new.length == 0 { sync(staged).await? } else { staged };
        Ok(Received { staged, ended })
    }
}

/// One step of a body.
enum Piece {
    Bytes(Bytes),
    End(Ended),
}

/// The next piece, if it fits into `room` bytes. A surplus is refused, and so is its request: what came before is kept.
async fn next_piece<S, E>(body: &mut S, writing: &Writing<'_>, room: u64) -> Piece
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let next = tokio::select! {
        biased;
        () = writing.stop.cancelled() => return Piece::End(Ended::Failed(UploadError::TakenOver)),
        next = body.next() => next,
    };
    writing.slot.heard();
    match next {
        None => Piece::End(Ended::Whole),
        Some(Err(_)) => Piece::End(Ended::Failed(UploadError::Cut)),
        Some(Ok(piece)) if piece.len() as u64 > room => Piece::End(Ended::Failed(UploadError::TooLong)),
        Some(Ok(piece)) => Piece::Bytes(piece),
    }
}
