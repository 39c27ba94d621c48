//! What has to go because its time has come, and that it goes.

use findme_common::EventId;

use super::audit::{self, Actor};
use super::db::query;
use super::{Catalog, Result, Scope, id_column};

/// Events of which something is due.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// Their faces are to be erased.
    pub(crate) faces: Vec<EventId>,
    /// They are to be deleted as a whole.
    pub(crate) events: Vec<EventId>,
}

impl Catalog {
    /// What is due at `now` (milliseconds since the epoch).
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn due(&self, now: i64) -> Result<Due> {
        let list = async |sql: &'static str| {
            let rows = query(sql).bind(now).fetch_all(&self.readers).await?;
            rows.iter().map(|row| id_column!(row, "id", EventId)).collect::<Result<Vec<_>>>()
        };
        Ok(Due {
            faces: list("SELECT id FROM events WHERE faces_until <= ? AND faces_erased_at IS NULL").await?,
            events: list("SELECT id FROM events WHERE photos_until <= ?").await?,
        })
    }

    /// How much should be erased at `now` (milliseconds since the epoch) and is not: faces and events that had their time,
    /// deletions that stopped on their way, files of deleted photos, faces that an engine elsewhere still keeps.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn erasures_pending(&self, now: i64) -> Result<u64> {
        let row = query(
            "SELECT (SELECT COUNT(*) FROM events WHERE photos_until <= ?1 OR faces_until <= ?1 AND faces_erased_at IS NULL)
                  + (SELECT COUNT(*) FROM tombstones WHERE swept = 0) + (SELECT COUNT(*) FROM remote_erasures)",
        )
        .bind(now)
        .fetch_one(&self.readers)
        .await?;
        Ok(row.try_get::<i64, _>(0)?.unsigned_abs())
    }

    /// Looks for no more faces at an event: from here on none is stored.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn switch_faces_off(&self, event: EventId) -> Result<()> {
        query("UPDATE events SET policy = 'off', version = version + 1 WHERE id = ?")
            .bind(event.as_bytes().as_slice())
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Erases every vector of an event, and what was found with them; how many vectors there were. Afterwards no byte of
    /// them is in the database or its log.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn erase_faces(&self, event: EventId, now: i64) -> Result<u64> {
        let mut tx = self.begin(Scope::Event(event)).await?;
        let mut vectors = 0;
        for sql in [
            "DELETE FROM faces WHERE event = ?",
            "DELETE FROM suppressions WHERE event = ?",
            "DELETE FROM enrolments WHERE guest IN (SELECT id FROM guests WHERE event = ?)",
        ] {
            vectors += query(sql).bind(event.as_bytes().as_slice()).execute(&mut tx).await?.rows_affected();
        }
        for sql in [
            "DELETE FROM verdicts WHERE guest IN (SELECT id FROM guests WHERE event = ?)",
            "DELETE FROM live WHERE event = ? AND guest IS NOT NULL",
            "DELETE FROM remote_collections WHERE event = ?",
        ] {
            query(sql).bind(event.as_bytes().as_slice()).execute(&mut tx).await?;
        }
        query(
            "UPDATE events SET policy = 'off', faces_erased_at = ?, face_epoch = face_epoch + 1, version = version + 1
             WHERE id = ?",
        )
        .bind(now)
        .bind(event.as_bytes().as_slice())
        .execute(&mut tx)
        .await?;
        // Photos that waited for models wait no more: they are indexed without faces.
        query("UPDATE jobs SET waiting = 0 WHERE event = ? AND waiting = 1")
            .bind(event.as_bytes().as_slice())
            .execute(&mut tx)
            .await?;
        audit::record(&mut tx, event, Actor::Server, "faces-erased", vectors).await?;
        tx.commit().await?;
        self.truncate_log().await?;
        Ok(vectors)
    }

    /// Actions that were written down about an event, oldest first.
    #[cfg(test)]
    pub(crate) async fn audited(&self, event: EventId) -> Result<Vec<(String, String, i64)>> {
        let rows = query("SELECT actor, action, count FROM audit WHERE event = ? ORDER BY id")
            .bind(event.as_bytes().as_slice())
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).collect()
    }
}
