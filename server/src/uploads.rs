//! The resumable upload, without HTTP in it: create, append, finish, take over, forget, recover.
//!
//! Invariants: an offset that is reported is on stable storage; a broken stream is never the end of a file; a photo
//! exists only after its digest was verified and its file synced, renamed and its folder synced; one request at a time
//! writes an upload, and the newest wins.
//!
//! Order before a final answer: sync of the bytes → digest verified → rename → sync of the folder → one transaction
//! (upload complete, photo, job) with `synchronous=FULL` → answer.

mod files;
mod slots;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use findme_common::digest::Hasher;
use findme_common::{Digest, EventId, PhotoId, UploadId};
use futures_util::{Stream, StreamExt};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::catalog::{Accepted, Catalog, CatalogError, NewUpload, UploadRow};
use crate::store::{PhotoStore, Staged};
pub(crate) use files::blocking;
use files::{published_digest, sync, write};
use slots::{Kept, Slots};

/// Bytes that are collected before they are written: few calls, little memory (times the number of clients).
const BATCH: usize = 256 * 1024;

/// Unwritten progress is made durable at least this often, so that a kill costs little of a large file.
const CHECKPOINT: u64 = 16 * 1024 * 1024;

/// What an upload cannot do, as a decision for the caller.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    /// No such upload in this event.
    #[error("no such upload")]
    NotFound,
    /// The photo is known with another length.
    #[error("the upload exists with another length")]
    OtherLength,
    /// The photographer deleted this photo.
    #[error("the photo was deleted")]
    Deleted,
    /// The request does not continue where the upload stands.
    #[error("the upload stands at {expected}")]
    OffsetMismatch {
        /// Where it stands.
        expected: u64,
    },
    /// More bytes than announced; none of the surplus was kept.
    #[error("more bytes than announced")]
    TooLong,
    /// The bytes are not those of the announced digest; the upload starts over.
    #[error("the bytes do not have the announced digest")]
    DigestMismatch,
    /// A newer request writes this upload now.
    #[error("taken over by a newer request")]
    TakenOver,
    /// The connection broke; what arrived is kept.
    #[error("the connection broke")]
    Cut,
    /// The disk is full; what arrived is kept.
    #[error("the disk is full")]
    NoSpace,
    /// Acknowledged bytes are gone: the upload cannot be continued and must be created anew.
    #[error("staged bytes are gone")]
    Lost,
    /// The disk failed.
    #[error("storage: {0}")]
    Io(io::Error),
    /// The catalogue failed.
    #[error(transparent)]
    Catalog(CatalogError),
}

impl From<io::Error> for UploadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            _ => Self::Io(error),
        }
    }
}

impl From<CatalogError> for UploadError {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Full => Self::NoSpace,
            other => Self::Catalog(other),
        }
    }
}

/// Where an upload stands.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    /// Its id.
    pub id: UploadId,
    /// Bytes on stable storage.
    pub offset: u64,
    /// Bytes in all.
    pub length: u64,
    /// `Upload-Metadata` as it came.
    pub metadata: String,
    /// What a complete upload became.
    pub receipt: Option<Receipt>,
    /// Last time that something arrived, in milliseconds since the epoch.
    pub touched_at: i64,
}

/// Proof that an upload is a photo, on stable storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// The photo.
    pub photo: PhotoId,
    /// Digest of what is stored.
    pub digest: Digest,
}

impl From<UploadRow> for Standing {
    fn from(row: UploadRow) -> Self {
        let receipt = match (row.complete, row.new.digest) {
            (true, Some(digest)) => Some(Receipt { photo: row.new.photo, digest }),
            _ => None,
        };
        Self {
            id: row.id,
            offset: row.offset,
            length: row.new.length,
            metadata: row.new.metadata,
            receipt,
            touched_at: row.touched_at,
        }
    }
}

/// The state machine over all uploads.
#[derive(Debug, Clone)]
pub(crate) struct Uploads {
    catalog: Catalog,
    store: PhotoStore,
    slots: Slots,
    /// Told about each new job, so that indexing begins at once.
    work: Arc<Notify>,
}

impl Uploads {
    /// The machine over a catalogue and a store; `work` is notified when a photo is ready to be indexed.
    pub(crate) fn new(catalog: Catalog, store: PhotoStore, work: Arc<Notify>) -> Self {
        Self { catalog, store, slots: Slots::default(), work }
    }

    /// Finishes or rolls back what a crash left: staged files without a row are removed, rows whose file was already
    /// renamed are finished by their next request, rows whose bytes are gone are forgotten.
    ///
    /// # Errors
    /// When catalogue or disk cannot be read.
    pub(crate) async fn recover(&self) -> Result<(), UploadError> {
        let rows = self.catalog.unfinished_uploads().await?;
        let store = self.store.clone();
        let staged = blocking(move || store.staged_uploads()).await?;
        for orphan in staged.into_iter().filter(|id| rows.iter().all(|row| row.id != *id)) {
            let store = self.store.clone();
            blocking(move || store.discard(orphan)).await?;
        }
        for row in rows {
            if row.offset == row.new.length {
                // Whoever asks is told «all bytes are here» and may never come back: it is finished now.
                match self.stand(row.new.event, row.id).await {
                    Ok(_) | Err(UploadError::Lost) => continue,
                    Err(other) => return Err(other),
                }
            }
            let (store, id) = (self.store.clone(), row.id);
            let there = blocking(move || store.staged_length(id)).await?;
            let bytes_gone = there.is_none_or(|length| length < row.offset);
            if bytes_gone && !self.republish(&row).await? && row.offset > 0 {
                self.forget(&row).await?;
            }
        }
        Ok(())
    }

    /// Creates an upload; one that exists is found, with its true offset.
    ///
    /// # Errors
    /// [`UploadError::OtherLength`], [`UploadError::Deleted`], or storage.
    pub(crate) async fn create(&self, new: NewUpload) -> Result<Standing, UploadError> {
        let id = UploadId::random().map_err(|error| UploadError::Io(error.into()))?;
        let row = match self.catalog.create_upload(id, &new).await? {
            Accepted::Upload(row) => row,
            Accepted::OtherLength => return Err(UploadError::OtherLength),
            Accepted::Deleted => return Err(UploadError::Deleted),
        };
        if row.new.length == 0 && !row.complete {
            // Nothing will ever be sent, so nothing would ever finish it.
            return self.append(row.new.event, row.id, 0, nothing()).await;
        }
        if row.id != id {
            return self.stand(row.new.event, row.id).await;
        }
        Ok(row.into())
    }

    /// Where an upload stands. A request that writes it is stopped first, so that the answer stays true; an upload whose
    /// bytes are all here is finished first, so that «offset = length» always means a photo.
    ///
    /// # Errors
    /// [`UploadError::NotFound`], [`UploadError::Lost`] or storage.
    pub(crate) async fn stand(&self, event: EventId, id: UploadId) -> Result<Standing, UploadError> {
        let row = self.row(event, id).await?;
        if row.complete {
            return Ok(row.into());
        }
        let this = self.clone();
        to_its_end(async move {
            let slot = this.slots.of(id);
            let mut turn = slot.take_over().await;
            let result = this.stand_in_turn(event, id, &mut turn).await;
            drop(turn);
            this.slots.release(id, &slot);
            result
        })
        .await
    }

    async fn stand_in_turn(&self, event: EventId, id: UploadId, kept: &mut Kept) -> Result<Standing, UploadError> {
        let row = self.row(event, id).await?;
        if row.complete || row.offset < row.new.length {
            return Ok(row.into());
        }
        let unstoppable = CancellationToken::new();
        match self.append_in_turn(event, id, row.offset, nothing(), kept, &unstoppable).await {
            Err(UploadError::DigestMismatch) => Ok(self.row(event, id).await?.into()),
            other => other,
        }
    }

    /// Adds bytes at `offset`; at the end the upload becomes a photo. A stream that breaks ([`UploadError::Cut`]) leaves
    /// what arrived.
    ///
    /// # Errors
    /// Any of [`UploadError`]; after each of them [`Uploads::stand`] tells the truth.
    pub(crate) async fn append<S, E>(
        &self,
        event: EventId,
        id: UploadId,
        offset: u64,
        body: S,
    ) -> Result<Standing, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin + Send + 'static,
        E: Send + 'static,
    {
        let this = self.clone();
        to_its_end(async move {
            let slot = this.slots.of(id);
            let (mut turn, stop) = slot.take_turn().await;
            let result = this.append_in_turn(event, id, offset, body, &mut turn, &stop).await;
            drop(turn);
            this.slots.release(id, &slot);
            result
        })
        .await
    }

    async fn append_in_turn<S, E>(
        &self,
        event: EventId,
        id: UploadId,
        offset: u64,
        mut body: S,
        kept: &mut Kept,
        stop: &CancellationToken,
    ) -> Result<Standing, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
    {
        let mut row = self.row(event, id).await?;
        if offset != row.offset {
            return Err(UploadError::OffsetMismatch { expected: row.offset });
        }
        if row.complete {
            // A repeat of the last, empty request is harmless; bytes beyond the end are not.
            return match body.next().await {
                None => Ok(row.into()),
                Some(_) => Err(UploadError::TooLong),
            };
        }
        let hasher = kept.take().filter(|(at, _)| *at == offset).map(|(_, hasher)| hasher);
        let staged = match self.open_staged(&row, hasher).await {
            Err(UploadError::Lost) if self.republish(&row).await? => return Ok(self.row(event, id).await?.into()),
            Err(UploadError::Lost) => {
                self.forget(&row).await?;
                return Err(UploadError::Lost);
            }
            other => other?,
        };
        let (staged, ended) = self.receive(&row, staged, &mut body, stop).await?;
        let hasher = staged.hasher().clone();
        let before = std::mem::replace(&mut row.offset, staged.offset());
        drop(staged);
        match ended {
            // The row's offset stays behind: the transaction that makes it a photo sets it, one commit for both.
            Ended::Whole if row.offset == row.new.length => self.finish(row, hasher.finish()).await,
            ended => {
                if row.offset > before {
                    self.catalog.set_offset(id, row.offset).await?;
                }
                *kept = Some((row.offset, hasher));
                match ended {
                    Ended::Whole => Ok(row.into()),
                    Ended::Failed(error) => Err(error),
                }
            }
        }
    }

    /// Takes the body in, batch by batch, until it ends, breaks, runs over or is taken over. What is returned as the
    /// staged file's offset is synced.
    async fn receive<S, E>(
        &self,
        row: &UploadRow,
        mut staged: Staged,
        body: &mut S,
        stop: &CancellationToken,
    ) -> Result<(Staged, Ended), UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
    {
        let mut batch = BytesMut::new();
        let mut synced = staged.offset();
        let mut ended = None;
        while ended.is_none() {
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => Some(Err(UploadError::TakenOver)),
                piece = body.next() => piece.map(|piece| piece.map_err(|_| UploadError::Cut)),
            };
            match next {
                None => ended = Some(Ended::Whole),
                Some(Err(error)) => ended = Some(Ended::Failed(error)),
                Some(Ok(piece)) => {
                    let room = row.new.length - staged.offset() - batch.len() as u64;
                    if piece.len() as u64 > room {
                        // The surplus is refused, and so is the request: what came before it is kept.
                        ended = Some(Ended::Failed(UploadError::TooLong));
                    } else {
                        batch.extend_from_slice(&piece);
                    }
                }
            }
            if batch.len() >= BATCH || (ended.is_some() && !batch.is_empty()) {
                let full = batch.split().freeze();
                staged = write(staged, full).await?;
            }
            if staged.offset() - synced >= CHECKPOINT && ended.is_none() {
                staged = sync(staged).await?;
                synced = staged.offset();
                self.catalog.set_offset(row.id, synced).await?;
            }
        }
        let staged = if staged.offset() > synced || row.new.length == 0 { sync(staged).await? } else { staged };
        Ok((staged, ended.unwrap_or(Ended::Whole)))
    }

    /// Publishes a whole, synced upload.
    async fn finish(&self, row: UploadRow, digest: Digest) -> Result<Standing, UploadError> {
        if row.new.digest.is_some_and(|announced| announced != digest) {
            // The offset goes back before the bytes do: a crash between the two only sends them again.
            self.catalog.set_offset(row.id, 0).await?;
            let (store, id) = (self.store.clone(), row.id);
            blocking(move || store.discard(id)).await?;
            return Err(UploadError::DigestMismatch);
        }
        let (store, id, new) = (self.store.clone(), row.id, row.new.clone());
        blocking(move || store.publish(id, new.event, new.photo, new.kind)).await?;
        self.commit(row, digest).await
    }

    async fn commit(&self, row: UploadRow, digest: Digest) -> Result<Standing, UploadError> {
        self.catalog.finish_upload(&row, &digest).await?;
        self.work.notify_one();
        let standing = self.row(row.new.event, row.id).await;
        if matches!(standing, Err(UploadError::NotFound))
            && self.catalog.is_deleted(row.new.event, row.new.photo).await?
        {
            // Deleted while these bytes were on their way: its files were removed before this one was published.
            let (store, new) = (self.store.clone(), row.new);
            blocking(move || store.remove_photo(new.event, new.photo)).await?;
            return Err(UploadError::Deleted);
        }
        Ok(standing?.into())
    }

    /// Finishes an upload whose file a crash left renamed but not recorded; whether there was such a file.
    async fn republish(&self, row: &UploadRow) -> Result<bool, UploadError> {
        let path = self.store.path(row.new.event, row.new.photo, row.new.kind.into());
        let length = row.new.length;
        let digest = blocking(move || published_digest(&path, length)).await?;
        match digest {
            Some(digest) if row.new.digest.is_none_or(|announced| announced == digest) => {
                self.commit(row.clone(), digest).await?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Forgets an upload and its staged bytes; a request that writes it is stopped. The photo it became stays.
    ///
    /// # Errors
    /// [`UploadError::NotFound`] or storage.
    pub(crate) async fn terminate(&self, event: EventId, id: UploadId) -> Result<(), UploadError> {
        let slot = self.slots.of(id);
        let mut turn = slot.take_over().await;
        let result = match self.row(event, id).await {
            Ok(row) => self.forget(&row).await,
            Err(error) => Err(error),
        };
        *turn = None;
        drop(turn);
        self.slots.release(id, &slot);
        result
    }

    /// Forgets unfinished uploads to which nothing was added since `before` (milliseconds since the epoch); how many.
    ///
    /// # Errors
    /// When catalogue or disk fail.
    pub(crate) async fn expire(&self, before: i64) -> Result<usize, UploadError> {
        let mut expired = 0;
        for row in self.catalog.unfinished_uploads().await?.into_iter().filter(|row| row.touched_at < before) {
            let slot = self.slots.of(row.id);
            // Whoever writes it now is alive, so it is not abandoned.
            let Some(mut turn) = slot.idle_turn() else { continue };
            // It may have gone on, or become a photo, since the list was read.
            let now = self.catalog.upload(row.new.event, row.id).await?;
            if now.is_some_and(|now| !now.complete && now.touched_at < before) {
                self.forget(&row).await?;
                *turn = None;
                expired += 1;
            }
            drop(turn);
            self.slots.release(row.id, &slot);
        }
        Ok(expired)
    }

    async fn forget(&self, row: &UploadRow) -> Result<(), UploadError> {
        self.catalog.delete_upload(row.id).await?;
        let (store, id) = (self.store.clone(), row.id);
        blocking(move || store.discard(id)).await?;
        Ok(())
    }

    async fn row(&self, event: EventId, id: UploadId) -> Result<UploadRow, UploadError> {
        self.catalog.upload(event, id).await?.ok_or(UploadError::NotFound)
    }

    async fn open_staged(&self, row: &UploadRow, hasher: Option<Hasher>) -> Result<Staged, UploadError> {
        let (store, id, offset) = (self.store.clone(), row.id, row.offset);
        let opened = blocking(move || store.open_staged(id, offset, hasher)).await;
        opened.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound => UploadError::Lost,
            _ => error.into(),
        })
    }
}

/// How a request's body ended.
enum Ended {
    /// The client said that it was the end.
    Whole,
    /// Anything else; what arrived before is kept.
    Failed(UploadError),
}

/// A body without bytes.
fn nothing() -> impl Stream<Item = Result<Bytes, io::Error>> + Unpin + Send {
    futures_util::stream::empty()
}

/// Runs work on a task of its own. The server drops the request of a client that goes away; what had arrived must still
/// be made durable, and file work that is half done must not overlap that of the next request.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, UploadError>> + Send + 'static,
) -> Result<T, UploadError> {
    tokio::spawn(work).await.unwrap_or_else(|died| Err(UploadError::Io(io::Error::other(died))))
}

/// Unfinished uploads are forgotten after this long without a byte.
pub(crate) const EXPIRES_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

#[cfg(test)]
mod tests;
