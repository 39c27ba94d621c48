//! The resumable upload, without HTTP in it: create, append, finish, take over, forget, recover.
//!
//! Invariants: an offset that is reported is on stable storage; a broken stream is never the end of a file; a photo
//! exists only after its digest was verified and its file synced, renamed and its folder synced; one request at a time
//! writes an upload, and the newest wins.
//!
//! Order before a final answer: checksum of the request verified, where it has one → sync of the bytes → digest verified →
//! rename → sync of the folder → one transaction (upload complete, photo, job) with `synchronous=FULL` → answer.

mod checksum;
mod files;
mod finishing;
mod receiving;
mod recovery;
mod slots;

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use findme_common::digest::Hasher;
use findme_common::{Digest, EventId, PhotoId, UploadId};
use futures_util::{Stream, StreamExt};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::catalog::{Accepted, Catalog, CatalogError, NewUpload, Node, UploadRow};
use crate::store::{PhotoStore, Staged};
pub(crate) use checksum::{Checksum, NotAChecksum, SUM_ALGORITHMS};
pub(crate) use files::blocking;
use receiving::{Ended, Received, Writing};
use slots::{Kept, Slot, Slots};

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
    /// The token has uploaded as much as it may.
    #[error("the token has uploaded as much as it may")]
    QuotaExceeded,
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
    /// The request's bytes do not have the checksum that it announced; none of them counts.
    #[error("the bytes do not have the announced checksum")]
    ChecksumMismatch {
        /// Where the upload stands, as before the request.
        offset: u64,
    },
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
    /// Who this is, where several nodes take uploads; `None` where there is only this one.
    node: Option<Node>,
}

impl Uploads {
    /// The machine over a catalogue and a store; `work` is notified when a photo is ready to be indexed.
    pub(crate) fn new(catalog: Catalog, store: PhotoStore, work: Arc<Notify>) -> Self {
        Self { catalog, store, slots: Slots::default(), work, node: None }
    }

    /// As one of several nodes. An upload whose bytes another one has stands at 0 here, and is started over when bytes
    /// come: two nodes' bytes are never mixed.
    pub(crate) fn on_node(self, node: Option<Node>) -> Self {
        Self { node, ..self }
    }

    /// Whether the bytes of an upload are, or will be, on this node.
    fn is_here(&self, row: &UploadRow) -> bool {
        row.complete || row.node == self.node
    }

    /// Where an upload stands as far as this node knows: it promises no bytes that it does not have.
    fn as_seen_here(&self, row: UploadRow) -> Standing {
        if self.is_here(&row) { row.into() } else { UploadRow { offset: 0, ..row }.into() }
    }

    /// Creates an upload; one that exists is found, with its true offset.
    ///
    /// # Errors
    /// [`UploadError::OtherLength`], [`UploadError::Deleted`], or storage.
    pub(crate) async fn create(&self, new: NewUpload) -> Result<Standing, UploadError> {
        let id = UploadId::random().map_err(|error| UploadError::Io(error.into()))?;
        let row = match self.catalog.create_upload(id, &new, self.node).await? {
            Accepted::Upload(row) => *row,
            Accepted::OtherLength => return Err(UploadError::OtherLength),
            Accepted::Deleted => return Err(UploadError::Deleted),
            Accepted::QuotaExceeded => return Err(UploadError::QuotaExceeded),
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

    /// Where an upload stands: bytes that are on stable storage. A request that writes it and from which nothing comes
    /// is taken for dead and stopped, so that what it had sent counts; one that is alive goes on. An upload whose bytes
    /// are all here is finished first, so that «offset = length» always means a photo.
    ///
    /// # Errors
    /// [`UploadError::NotFound`], [`UploadError::Lost`] or storage.
    pub(crate) async fn stand(&self, event: EventId, id: UploadId) -> Result<Standing, UploadError> {
        let row = self.row(event, id).await?;
        if row.complete || !self.is_here(&row) {
            return Ok(self.as_seen_here(row));
        }
        let this = self.clone();
        to_its_end(async move {
            let slot = this.slots.of(id);
            let result = match slot.turn_unless_alive().await {
                Some(mut turn) => this.stand_in_turn(event, id, &slot, &mut turn).await,
                None => this.row(event, id).await.map(|row| this.as_seen_here(row)),
            };
            this.slots.release(id, &slot);
            result
        })
        .await
    }

    async fn stand_in_turn(
        &self,
        event: EventId,
        id: UploadId,
        slot: &Slot,
        kept: &mut Kept,
    ) -> Result<Standing, UploadError> {
        let row = self.row(event, id).await?;
        if row.complete || !self.is_here(&row) || row.offset < row.new.length {
            return Ok(self.as_seen_here(row));
        }
        let writing = Writing { slot, stop: CancellationToken::new(), checksum: None };
        match self.append_in_turn(&row, row.offset, nothing(), kept, writing).await {
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
        self.append_checked(event, id, offset, body, None).await
    }

    /// Like [`Uploads::append`], for a request that announced a checksum of its bytes: they all count, or none of them.
    ///
    /// # Errors
    /// As there, and [`UploadError::ChecksumMismatch`].
    pub(crate) async fn append_checked<S, E>(
        &self,
        event: EventId,
        id: UploadId,
        offset: u64,
        body: S,
        checksum: Option<Checksum>,
    ) -> Result<Standing, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin + Send + 'static,
        E: Send + 'static,
    {
        let this = self.clone();
        to_its_end(async move {
            let slot = this.slots.of(id);
            let (mut turn, stop) = slot.take_turn().await;
            let writing = Writing { slot: &slot, stop, checksum };
            let result = match this.row(event, id).await {
                Ok(row) => this.append_in_turn(&row, offset, body, &mut turn, writing).await,
                Err(error) => Err(error),
            };
            drop(turn);
            this.slots.release(id, &slot);
            result
        })
        .await
    }

    async fn append_in_turn<S, E>(
        &self,
        row: &UploadRow,
        offset: u64,
        mut body: S,
        kept: &mut Kept,
        writing: Writing<'_>,
    ) -> Result<Standing, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
    {
        let taken;
        let row = match self.taken_over(row, offset).await? {
            Some(mine) => {
                taken = mine;
                &taken
            }
            None => row,
        };
        if offset != row.offset {
            return Err(UploadError::OffsetMismatch { expected: row.offset });
        }
        if row.complete {
            // A repeat of the last, empty request is harmless; bytes beyond the end are not.
            return match body.next().await {
                None => Ok(row.clone().into()),
                Some(_) => Err(UploadError::TooLong),
            };
        }
        let hasher = kept.take().filter(|(at, _)| *at == offset).map(|(_, hasher)| hasher);
        let staged = match self.open_staged(row, hasher).await {
            Err(UploadError::Lost) if self.republish(row).await? => {
                return Ok(self.row(row.new.event, row.id).await?.into());
            }
            Err(UploadError::Lost) => {
                self.forget(row).await?;
                return Err(UploadError::Lost);
            }
            other => other?,
        };
        let Received { staged, ended } = self.receive(row, staged, &mut body, writing).await?;
        let hasher = staged.hasher().clone();
        let now = UploadRow { offset: staged.offset(), ..row.clone() };
        drop(staged);
        match ended {
            // The row's offset stays behind: the transaction that makes it a photo sets it, one commit for both.
            Ended::Whole if now.offset == now.new.length => self.finish(now, hasher.finish()).await,
            ended => {
                if now.offset > row.offset && !self.catalog.set_offset(row, now.offset).await? {
                    return Err(self.too_late(row.id).await?);
                }
                *kept = Some((now.offset, hasher));
                match ended {
                    Ended::Whole => Ok(now.into()),
                    Ended::Failed(error) => Err(error),
                }
            }
        }
    }

    /// The row of an upload that this node takes over, because its first bytes come here; `None`: it is here already.
    async fn taken_over(&self, row: &UploadRow, offset: u64) -> Result<Option<UploadRow>, UploadError> {
        let Some(node) = self.node.filter(|_| !self.is_here(row)) else { return Ok(None) };
        if offset != 0 {
            return Err(UploadError::OffsetMismatch { expected: 0 });
        }
        match self.catalog.take_upload(row, node).await? {
            Some(mine) => Ok(Some(mine)),
            // A third node was quicker, or the one before has finished it.
            None => Err(UploadError::TakenOver),
        }
    }

    /// Another node has started the upload over: what is here counts no more.
    async fn too_late(&self, id: UploadId) -> Result<UploadError, UploadError> {
        let store = self.store.clone();
        blocking(move || store.discard(id)).await?;
        Ok(UploadError::TakenOver)
    }

    /// Forgets an upload and its staged bytes; a request that writes it is stopped. The photo it became stays.
    ///
    /// # Errors
    /// [`UploadError::NotFound`] or storage.
    pub(crate) async fn terminate(&self, event: EventId, id: UploadId) -> Result<(), UploadError> {
        let this = self.clone();
        to_its_end(async move {
            let slot = this.slots.of(id);
            let mut turn = slot.take_over().await;
            let result = match this.row(event, id).await {
                Ok(row) => this.forget(&row).await,
                Err(error) => Err(error),
            };
            *turn = None;
            drop(turn);
            this.slots.release(id, &slot);
            result
        })
        .await
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

/// A body without bytes.
fn nothing() -> impl Stream<Item = Result<Bytes, io::Error>> + Unpin + Send {
    futures_util::stream::empty()
}

/// Runs work on a task of its own. The server drops the request of a client that goes away; what had arrived must still
/// be made durable, and file work that is half done must not overlap that of the next request.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, UploadError>> + Send + 'static,
) -> Result<T, UploadError> {
    tokio::spawn(work.in_current_span()).await.unwrap_or_else(|died| Err(UploadError::Io(io::Error::other(died))))
}

#[cfg(test)]
mod tests;
