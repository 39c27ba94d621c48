//! Rows of resumable uploads. The offset in a row is the truth: those bytes are on stable storage.

use findme_common::protocol::{Kind, LiveKind};
use findme_common::{Digest, EventId, PhotoId, UploadId};

use super::db::{Row, Tx, query};
use super::{Audience, Catalog, CatalogError, Result, Scope, digest, id_column, versions, word};
use crate::clock::now_ms;

/// What an upload begins with.
#[derive(Debug, Clone)]
pub(crate) struct NewUpload {
    /// Event of the token.
    pub event: EventId,
    /// The photo it belongs to.
    pub photo: PhotoId,
    /// Original or preview.
    pub kind: Kind,
    /// Bytes in all.
    pub length: u64,
    /// What the client announced.
    pub digest: Option<Digest>,
    /// `Upload-Metadata` as it came; echoed.
    pub metadata: String,
    /// File name for people.
    pub name: String,
    /// The token that created it, whose quota it takes from.
    pub token: Option<i64>,
    /// An earlier photo that this one replaces.
    pub replaces: Option<PhotoId>,
    /// Whether guests do not see it until it is released.
    pub held: bool,
}

/// One upload as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct UploadRow {
    /// Its id, the last segment of its URL.
    pub id: UploadId,
    /// What it began with; after completion `digest` is what was stored.
    pub new: NewUpload,
    /// Bytes on stable storage.
    pub offset: u64,
    /// Whether it has become a photo.
    pub complete: bool,
    /// Last time that something arrived.
    pub touched_at: i64,
    /// The node that has the bytes; `None`: the only one there is.
    pub node: Option<Node>,
    /// Grows whenever another node starts the upload over. Whoever writes under an earlier one is too late.
    pub epoch: i64,
}

/// One of several machines that take uploads: what it stages, the others do not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Node([u8; 16]);

impl Node {
    /// The node of this id.
    pub(crate) const fn from_bytes(id: [u8; 16]) -> Self {
        Self(id)
    }
}

/// What creating an upload came to.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// The upload, new or as it stood.
    Upload(Box<UploadRow>),
    /// The key is taken by an upload of another length.
    OtherLength,
    /// The photographer deleted this photo.
    Deleted,
    /// The token has uploaded as much as it may.
    QuotaExceeded,
}

fn node(id: Vec<u8>) -> Result<Node> {
    id.try_into().map(Node).map_err(|_| CatalogError::Damaged("the id of a node is not 16 bytes long"))
}

fn upload_of(row: &Row) -> Result<UploadRow> {
    let new = NewUpload {
        event: id_column!(row, "event", EventId)?,
        photo: id_column!(row, "photo", PhotoId)?,
        kind: word(row, "kind")?,
        length: row.try_get::<i64, _>("length")? as u64,
        digest: row.try_get::<Option<Vec<u8>>, _>("digest")?.map(digest).transpose()?,
        metadata: row.try_get("metadata")?,
        name: row.try_get("name")?,
        token: row.try_get("token")?,
        replaces: match row.try_get::<Option<Vec<u8>>, _>("replaces")? {
            Some(_) => Some(id_column!(row, "replaces", PhotoId)?),
            None => None,
        },
        held: row.try_get("held")?,
    };
    Ok(UploadRow {
        id: id_column!(row, "id", UploadId)?,
        new,
        offset: row.try_get::<i64, _>("offset")? as u64,
        complete: row.try_get("complete")?,
        touched_at: row.try_get("touched_at")?,
        node: row.try_get::<Option<Vec<u8>>, _>("node")?.map(node).transpose()?,
        epoch: row.try_get("epoch")?,
    })
}

impl Catalog {
    /// Creates an upload on a node, or finds the one of the same (event, photo, kind).
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn create_upload(&self, id: UploadId, new: &NewUpload, node: Option<Node>) -> Result<Accepted> {
        let new = new.clone();
        self.writer_task
            .write(Scope::Event(new.event), move |tx| Box::pin(async move { create(tx, id, &new, node).await }))
            .await
    }

    /// One upload of an event.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn upload(&self, event: EventId, id: UploadId) -> Result<Option<UploadRow>> {
        let row = query("SELECT * FROM uploads WHERE id = ? AND event = ?")
            .bind(id.as_bytes().as_slice())
            .bind(event.as_bytes().as_slice())
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(upload_of).transpose()
    }

    /// All unfinished uploads, for recovery at start and for expiry.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn unfinished_uploads(&self) -> Result<Vec<UploadRow>> {
        let rows = query("SELECT * FROM uploads WHERE complete = 0").fetch_all(&self.readers).await?;
        rows.iter().map(upload_of).collect()
    }

    /// Records how many bytes are on stable storage; whether the upload is still the caller's. The caller has synced the
    /// file before.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn set_offset(&self, upload: &UploadRow, offset: u64) -> Result<bool> {
        let (id, epoch) = (upload.id, upload.epoch);
        let set = async move |tx: &mut Tx| {
            let sql = "UPDATE uploads SET \"offset\" = ?, touched_at = ? WHERE id = ? AND complete = 0 AND epoch = ?";
            let done = query(sql)
                .bind(offset as i64)
                .bind(now_ms())
                .bind(id.as_bytes().as_slice())
                .bind(epoch)
                .execute(&mut *tx)
                .await?;
            Ok(done.rows_affected() == 1)
        };
        self.writer_task.write(Scope::Nothing, move |tx| Box::pin(async move { set(tx).await })).await
    }

    /// Starts an upload over on another node, unless somebody else did meanwhile: from here on, whatever the node before
    /// still writes is too late. The row as it is then.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn take_upload(&self, upload: &UploadRow, node: Node) -> Result<Option<UploadRow>> {
        let sql = "UPDATE uploads SET node = ?, epoch = epoch + 1, \"offset\" = 0, touched_at = ?
                   WHERE id = ? AND epoch = ? AND complete = 0 RETURNING *";
        let row = query(sql)
            .bind(node.0.as_slice())
            .bind(now_ms())
            .bind(upload.id.as_bytes().as_slice())
            .bind(upload.epoch)
            .fetch_optional(&self.writer)
            .await?;
        row.as_ref().map(upload_of).transpose()
    }

    /// Forgets an upload. Its photo, if it became one, stays.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn delete_upload(&self, id: UploadId) -> Result<()> {
        let forget = async move |tx: &mut Tx| {
            super::quota::give_back(tx, id).await?;
            query("DELETE FROM uploads WHERE id = ?").bind(id.as_bytes().as_slice()).execute(&mut *tx).await?;
            Ok(())
        };
        self.writer_task.write(Scope::Nothing, move |tx| Box::pin(async move { forget(tx).await })).await
    }

    /// Makes the upload a photo: upload complete, photo row, index job, all in one transaction. The caller has verified
    /// the digest and has the file durably under its final name. Doing it again changes nothing, and so does a caller from
    /// whom another node has taken the upload.
    ///
    /// # Errors
    /// When the catalogue cannot be written; then nothing is.
    pub(crate) async fn finish_upload(&self, upload: &UploadRow, stored: &Digest) -> Result<()> {
        let (upload, stored) = (upload.clone(), *stored);
        self.writer_task
            .write(Scope::Event(upload.new.event), move |tx| {
                Box::pin(async move { finish(tx, &upload, &stored).await })
            })
            .await
    }
}

async fn create(tx: &mut Tx, id: UploadId, new: &NewUpload, node: Option<Node>) -> Result<Accepted> {
    let deleted = query("SELECT 1 FROM tombstones WHERE event = ? AND photo = ?")
        .bind(new.event.as_bytes().as_slice())
        .bind(new.photo.as_bytes().as_slice())
        .fetch_optional(&mut *tx)
        .await?;
    if deleted.is_some() {
        return Ok(Accepted::Deleted);
    }
    let now = now_ms();
    let inserted = query(
        "INSERT INTO uploads (id, event, photo, kind, length, digest, metadata, name, replaces, held, token, node, created_at, touched_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (event, photo, kind) DO NOTHING",
    )
    .bind(id.as_bytes().as_slice())
    .bind(new.event.as_bytes().as_slice())
    .bind(new.photo.as_bytes().as_slice())
    .bind(new.kind.as_str())
    .bind(new.length as i64)
    .bind(new.digest.as_ref().map(|d| d.as_bytes().as_slice()))
    .bind(&new.metadata)
    .bind(&new.name)
    .bind(new.replaces.as_ref().map(|id| id.as_bytes().as_slice()))
    .bind(new.held)
    .bind(new.token)
    .bind(node.as_ref().map(|node| node.0.as_slice()))
    .bind(now)
    .bind(now)
    .execute(&mut *tx)
    .await?;
    if let Some(token) = new.token.filter(|_| inserted.rows_affected() == 1)
        && !super::quota::take(tx, token, new.length).await?
    {
        query("DELETE FROM uploads WHERE id = ?").bind(id.as_bytes().as_slice()).execute(&mut *tx).await?;
        return Ok(Accepted::QuotaExceeded);
    }
    let row = query("SELECT * FROM uploads WHERE event = ? AND photo = ? AND kind = ?")
        .bind(new.event.as_bytes().as_slice())
        .bind(new.photo.as_bytes().as_slice())
        .bind(new.kind.as_str())
        .fetch_one(&mut *tx)
        .await?;
    let upload = upload_of(&row)?;
    if upload.new.length != new.length {
        return Ok(Accepted::OtherLength);
    }
    match new.replaces {
        Some(old) => Ok(Accepted::Upload(Box::new(declare_again(tx, upload, old).await?))),
        None => Ok(Accepted::Upload(Box::new(upload))),
    }
}

/// An upload that exists is told which photo it replaces: that counts at once when it has become a photo, else when it
/// does.
async fn declare_again(tx: &mut Tx, upload: UploadRow, old: PhotoId) -> Result<UploadRow> {
    let (event, photo) = (upload.new.event, upload.new.photo);
    if upload.new.replaces != Some(old) {
        query("UPDATE uploads SET replaces = ? WHERE id = ?")
            .bind(old.as_bytes().as_slice())
            .bind(upload.id.as_bytes().as_slice())
            .execute(&mut *tx)
            .await?;
    }
    if upload.complete {
        declare(tx, event, photo, old).await?;
    }
    Ok(UploadRow { new: NewUpload { replaces: Some(old), ..upload.new }, ..upload })
}

/// Records which photo another one replaces, and tells of what guests see otherwise than before.
async fn declare(tx: &mut Tx, event: EventId, new: PhotoId, old: PhotoId) -> Result<()> {
    let all = versions::with_shots(tx, event, &[new, old]).await?;
    let before = versions::seen(tx, event, &all).await?;
    if versions::declare(tx, event, new, old).await? {
        let after = versions::seen(tx, event, &all).await?;
        versions::tell(tx, event, &before, &after, None).await?;
        super::photos::bump(tx, event).await?;
    }
    Ok(())
}

async fn finish(tx: &mut Tx, upload: &UploadRow, stored: &Digest) -> Result<()> {
    let new = &upload.new;
    let done = query(
        "UPDATE uploads SET complete = 1, \"offset\" = length, digest = ?, touched_at = ? WHERE id = ? AND complete = 0 AND epoch = ?",
    )
    .bind(stored.as_bytes().as_slice())
    .bind(now_ms())
    .bind(upload.id.as_bytes().as_slice())
    .bind(upload.epoch)
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(());
    }
    let known = super::curation::visibility(tx, new.event, new.photo).await?.is_some();
    if let Some(seq) = upsert_photo(tx, new, stored).await? {
        super::jobs::enqueue(tx, new.event, seq).await?;
    }
    // What it replaces may have been told after this request had read its row.
    let row = query("SELECT * FROM uploads WHERE id = ?").bind(upload.id.as_bytes().as_slice());
    if let Some(old) = upload_of(&row.fetch_one(&mut *tx).await?)?.new.replaces {
        declare(tx, new.event, new.photo, old).await?;
    }
    if !known {
        super::live::append(tx, new.event, LiveKind::Received, new.photo, Audience::Photographers).await?;
    }
    super::photos::bump(tx, new.event).await
}

/// Adds the original or the preview to its photo, creating the photo when the other one has not come yet. `None` when
/// that tells the photo nothing new (its upload was freed and sent again): then there is nothing to index either.
async fn upsert_photo(tx: &mut Tx, new: &NewUpload, stored: &Digest) -> Result<Option<i64>> {
    let sql = match new.kind {
        Kind::Original => {
            "INSERT INTO photos (event, id, name, accepted_at, visibility, digest, bytes) VALUES (?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (event, id) DO UPDATE SET digest = excluded.digest, bytes = excluded.bytes, name = excluded.name, private_ranges = NULL,
                 state = CASE photos.state WHEN 'failed' THEN 'received' ELSE photos.state END, reason = NULL
             WHERE photos.digest IS DISTINCT FROM excluded.digest
             RETURNING seq"
        }
        Kind::Preview => {
            "INSERT INTO photos (event, id, name, accepted_at, visibility, has_preview) VALUES (?, ?, ?, ?, ?, 1)
             ON CONFLICT (event, id) DO UPDATE SET has_preview = 1 WHERE photos.digest IS NULL AND photos.has_preview = 0
             RETURNING seq"
        }
    };
    let mut query = query(sql)
        .bind(new.event.as_bytes().as_slice())
        .bind(new.photo.as_bytes().as_slice())
        .bind(&new.name)
        .bind(now_ms())
        .bind(if new.held { "held" } else { "shown" });
    if new.kind == Kind::Original {
        query = query.bind(stored.as_bytes().as_slice()).bind(new.length as i64);
    }
    Ok(query.fetch_optional(&mut *tx).await?.map(|row| row.try_get(0)).transpose()?)
}
