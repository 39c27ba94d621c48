//! What `check`, `backup` and `restore` ask of the catalogue, and how it is put right.

use findme_common::{Digest, EventId, PhotoId};

use super::db::{Row, Tx, query};
use super::{Catalog, Result, Scope, digest, id_column};
use crate::clock::now_ms;
use crate::store::Rendition;

/// What the catalogue promises about the files of a photo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Promised {
    /// Order of acceptance.
    pub seq: i64,
    /// Its event.
    pub event: EventId,
    /// Its id.
    pub photo: PhotoId,
    /// Digest and bytes of the original, once it is there.
    pub original: Option<(Digest, u64)>,
    /// Digest and bytes of the preview that a client sent; the upload that brought it may have been freed.
    pub preview: Option<Option<(Digest, u64)>>,
    /// Whether its derivatives are there.
    pub derived: bool,
}

const PROMISED: &str = "SELECT p.seq, p.event, p.id, p.digest, p.bytes, p.has_preview, p.width IS NOT NULL AS derived,
        u.digest AS preview_digest, u.length AS preview_length
    FROM photos p LEFT JOIN uploads u ON u.event = p.event AND u.photo = p.id AND u.kind = 'preview' AND u.complete = 1";

fn promised(row: &Row) -> Result<Promised> {
    let pair = |digests: &str, lengths: &str| -> Result<Option<(Digest, u64)>> {
        let sum = row.try_get::<Option<Vec<u8>>, _>(digests)?.map(digest).transpose()?;
        let length = row.try_get::<Option<i64>, _>(lengths)?;
        Ok(sum.zip(length.map(i64::unsigned_abs)))
    };
    Ok(Promised {
        seq: row.try_get("seq")?,
        event: id_column!(row, "event", EventId)?,
        photo: id_column!(row, "id", PhotoId)?,
        original: pair("digest", "bytes")?,
        preview: if row.try_get("has_preview")? { Some(pair("preview_digest", "preview_length")?) } else { None },
        derived: row.try_get("derived")?,
    })
}

/// Facts about an event without anything that tells which it is.
#[derive(Debug, serde::Serialize)]
pub(crate) struct EventFacts {
    received: i64,
    indexed: i64,
    failed: i64,
    unfinished_uploads: i64,
    jobs: i64,
    faces: i64,
    guests: i64,
    tokens: i64,
    closed: bool,
}

impl Catalog {
    /// What SQLite itself finds wrong with the file; empty when nothing. A database server looks after itself.
    ///
    /// # Errors
    /// When the catalogue cannot be read at all.
    pub(crate) async fn damages(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        if self.readers.sqlite().is_none() {
            return Ok(found);
        }
        for row in query("PRAGMA integrity_check(20)").fetch_all(&self.readers).await? {
            let line: String = row.try_get(0)?;
            if line != "ok" {
                found.push(line);
            }
        }
        for row in query("PRAGMA foreign_key_check").fetch_all(&self.readers).await?.iter().take(20) {
            let table: String = row.try_get(0)?;
            found.push(format!("a row of {table} refers to nothing"));
        }
        Ok(found)
    }

    /// Events whose faces can be searched: each must have its key.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn keyed_events(&self) -> Result<Vec<EventId>> {
        let rows = query("SELECT id FROM events WHERE policy <> 'off' AND faces_erased_at IS NULL")
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(|row| id_column!(row, "id", EventId)).collect()
    }

    /// Records that an event is being deleted, before anything of it goes: it takes no photos and lets nobody in, whether
    /// they were there or come new; no faces are looked for; a key that is missing from here on is no damage; and its time has come, so that the server
    /// itself goes on where a deletion stopped.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn begin_deletion(&self, event: EventId) -> Result<()> {
        let now = now_ms();
        query(
            "UPDATE events SET policy = 'off', gallery_open = 0, closed_at = COALESCE(closed_at, ?),
                 faces_erased_at = COALESCE(faces_erased_at, ?), photos_until = MIN(COALESCE(photos_until, ?), ?),
                 deleting_at = COALESCE(deleting_at, ?), version = version + 1
             WHERE id = ?",
        )
        .bind(now)
        .bind(now)
        .bind(now)
        .bind(now)
        .bind(now)
        .bind(event.as_bytes().as_slice())
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// A page of all photos of all events, oldest first, with what is promised about their files.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn promises(&self, after: i64, limit: i64) -> Result<Vec<Promised>> {
        let sql = format!("{PROMISED} WHERE p.seq > ? ORDER BY p.seq LIMIT ?");
        let rows = query(sqlx::AssertSqlSafe(sql)).bind(after).bind(limit).fetch_all(&self.readers).await?;
        rows.iter().map(promised).collect()
    }

    /// What is promised about one photo now.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn promise(&self, event: EventId, photo: PhotoId) -> Result<Option<Promised>> {
        let row = query(sqlx::AssertSqlSafe(format!("{PROMISED} WHERE p.event = ? AND p.id = ?")))
            .bind(event.as_bytes().as_slice())
            .bind(photo.as_bytes().as_slice())
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(promised).transpose()
    }

    /// Photos and bytes of originals, of all events.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn totals(&self) -> Result<(u64, u64)> {
        let row = query("SELECT COUNT(*), CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM photos")
            .fetch_one(&self.readers)
            .await?;
        Ok((row.try_get::<i64, _>(0)?.unsigned_abs(), row.try_get::<i64, _>(1)?.unsigned_abs()))
    }

    /// Takes a file without a row as the photo that it is named after, with a job.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn adopt(&self, event: EventId, photo: PhotoId, stored: Digest, bytes: u64) -> Result<()> {
        let adopt = async move |tx: &mut Tx| {
            let row = query(
                "INSERT INTO photos (event, id, name, accepted_at, digest, bytes, visibility)
                 VALUES (?, ?, ?, ?, ?, ?, 'held') ON CONFLICT (event, id) DO UPDATE SET digest = excluded.digest,
                     bytes = excluded.bytes, state = 'received', reason = NULL WHERE photos.digest IS NULL RETURNING seq",
            )
            .bind(event.as_bytes().as_slice())
            .bind(photo.as_bytes().as_slice())
            .bind(format!("recovered-{}", &photo.to_simple()[..8]))
            .bind(now_ms())
            .bind(stored.as_bytes().as_slice())
            .bind(bytes as i64)
            .fetch_optional(&mut *tx)
            .await?;
            if let Some(row) = row {
                super::jobs::enqueue(tx, event, row.try_get(0)?).await?;
            }
            super::photos::bump(tx, event).await
        };
        self.writer_task.write(Scope::Event(event), move |tx| Box::pin(async move { adopt(tx).await })).await
    }

    /// Records that a file of a photo is lost: its upload is free and its photo waits for it again, so that it is taken
    /// and indexed when it is sent once more.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn lose(&self, event: EventId, photo: PhotoId, file: Rendition) -> Result<()> {
        let (kind, forget) = match file {
            Rendition::SentPreview => ("preview", "has_preview = 0"),
            _ => ("original", "digest = NULL, bytes = NULL"),
        };
        let lose = async move |tx: &mut Tx| {
            let forgotten = format!("UPDATE photos SET {forget} WHERE event = ?1 AND id = ?2");
            for sql in [
                "DELETE FROM uploads WHERE event = ?1 AND photo = ?2 AND kind = ?3",
                &forgotten,
                "UPDATE photos SET state = 'failed', reason = 'file-lost' WHERE event = ?1 AND id = ?2 AND digest IS NULL",
                "DELETE FROM jobs WHERE photo = (SELECT seq FROM photos WHERE event = ?1 AND id = ?2 AND digest IS NULL
                                                   AND has_preview = 0)",
            ] {
                let query = query(sqlx::AssertSqlSafe(sql.to_owned()));
                let query = query.bind(event.as_bytes().as_slice()).bind(photo.as_bytes().as_slice());
                let query = if sql.contains("?3") { query.bind(kind) } else { query };
                query.execute(&mut *tx).await?;
            }
            super::photos::bump(tx, event).await
        };
        self.writer_task.write(Scope::Event(event), move |tx| Box::pin(async move { lose(tx).await })).await
    }

    /// Makes a job for one photo.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn index_again(&self, event: EventId, seq: i64) -> Result<()> {
        self.writer_task
            .write(Scope::Event(event), move |tx| Box::pin(async move { super::jobs::enqueue(tx, event, seq).await }))
            .await
    }

    /// Drops everything that was sealed with a key that is gone, and makes a job for every photo of the event. How many
    /// guests must take a new selfie.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn begin_faces_anew(&self, event: EventId) -> Result<u64> {
        let anew = async move |tx: &mut Tx| {
            let mut enrolled = 0;
            for sql in [
                "DELETE FROM enrolments WHERE guest IN (SELECT id FROM guests WHERE event = ?)",
                "DELETE FROM faces WHERE event = ?",
                "DELETE FROM suppression_vectors WHERE suppression IN (SELECT id FROM suppressions WHERE event = ?)",
                // By the places where they dropped faces, suppressions know these again.
                "DELETE FROM suppressions WHERE event = ? AND id NOT IN (SELECT suppression FROM suppressed_faces)",
                "UPDATE events SET face_epoch = face_epoch + 1, version = version + 1 WHERE id = ?",
                "DELETE FROM jobs WHERE event = ?",
                "INSERT INTO jobs (photo, event) SELECT seq, event FROM photos
                 WHERE event = ? AND (digest IS NOT NULL OR has_preview = 1)",
            ] {
                let done = query(sql).bind(event.as_bytes().as_slice()).execute(&mut *tx).await?;
                if sql.contains("enrolments") {
                    enrolled = done.rows_affected();
                }
            }
            Ok(enrolled)
        };
        self.writer_task.write(Scope::Event(event), move |tx| Box::pin(async move { anew(tx).await })).await
    }

    /// Records that no photo has derivatives: a restored folder begins without them.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn forget_derivatives(&self) -> Result<()> {
        query(
            "UPDATE photos SET width = NULL, height = NULL, state = 'received', reason = NULL
             WHERE digest IS NOT NULL OR has_preview = 1",
        )
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Number of the newest migration that this file has seen.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn schema(&self) -> Result<i64> {
        let row = query("SELECT MAX(version) FROM _sqlx_migrations").fetch_one(&self.readers).await?;
        Ok(row.try_get(0)?)
    }

    /// Counts of each event, oldest first, and the reasons of failed photos with theirs.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn facts(&self) -> Result<(Vec<EventFacts>, Vec<(String, i64)>)> {
        let rows = query(
            "SELECT e.closed_at IS NOT NULL AS closed,
                (SELECT COUNT(*) FROM photos WHERE event = e.id AND state = 'received') AS received,
                (SELECT COUNT(*) FROM photos WHERE event = e.id AND state = 'indexed') AS indexed,
                (SELECT COUNT(*) FROM photos WHERE event = e.id AND state = 'failed') AS failed,
                (SELECT COUNT(*) FROM uploads WHERE event = e.id AND complete = 0) AS unfinished,
                (SELECT COUNT(*) FROM jobs WHERE event = e.id) AS jobs,
                (SELECT COUNT(*) FROM faces WHERE event = e.id) AS faces,
                (SELECT COUNT(*) FROM guests WHERE event = e.id) AS guests,
                (SELECT COUNT(*) FROM photographer_tokens WHERE event = e.id) AS tokens
             FROM events e ORDER BY e.created_at",
        )
        .fetch_all(&self.readers)
        .await?;
        let events = rows.iter().map(|row| {
            Ok(EventFacts {
                received: row.try_get("received")?,
                indexed: row.try_get("indexed")?,
                failed: row.try_get("failed")?,
                unfinished_uploads: row.try_get("unfinished")?,
                jobs: row.try_get("jobs")?,
                faces: row.try_get("faces")?,
                guests: row.try_get("guests")?,
                tokens: row.try_get("tokens")?,
                closed: row.try_get("closed")?,
            })
        });
        let events = events.collect::<Result<_>>()?;
        let reasons = query(
            "SELECT word, COUNT(*) AS n FROM (SELECT reason AS word FROM photos WHERE state = 'failed'
             UNION ALL SELECT trouble FROM jobs) AS words WHERE word IS NOT NULL GROUP BY word ORDER BY word",
        )
        .fetch_all(&self.readers)
        .await?;
        let reasons = reasons.iter().map(|row| Ok((row.try_get("word")?, row.try_get("n")?)));
        Ok((events, reasons.collect::<Result<_>>()?))
    }
}
