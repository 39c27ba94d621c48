//! What a photographer does with photos that are there: hide, show, delete.

use findme_common::protocol::LiveKind;
use findme_common::{EventId, PhotoId};

use super::{Catalog, Result, id_column, live, photos};
use crate::clock::now_ms;

impl Catalog {
    /// Hides photos from guests or shows them again; how many are otherwise than before.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn set_hidden(&self, event: EventId, ids: &[PhotoId], hidden: bool) -> Result<u64> {
        let mut tx = self.begin().await?;
        let mut changed = 0;
        for id in ids {
            let visibility = if hidden { "hidden" } else { "shown" };
            let done = sqlx::query("UPDATE photos SET visibility = ? WHERE event = ? AND id = ? AND visibility <> ?")
                .bind(visibility)
                .bind(event.as_bytes().as_slice())
                .bind(id.as_bytes().as_slice())
                .bind(visibility)
                .execute(&mut *tx)
                .await?;
            if done.rows_affected() == 1 {
                let kind = if hidden { LiveKind::Removed } else { LiveKind::Indexed };
                live::append(&mut tx, event, kind, *id, None).await?;
                changed += 1;
            }
        }
        photos::bump(&mut tx, event).await?;
        tx.commit().await?;
        Ok(changed)
    }

    /// Deletes a photo with everything derived from it, and leaves a tombstone, so that it is not taken again; whether
    /// there was one. Its files are the caller's to remove, and then [`Catalog::set_swept`].
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn delete_photo(&self, event: EventId, id: PhotoId) -> Result<bool> {
        let mut tx = self.begin().await?;
        let mut there = false;
        for sql in [
            "DELETE FROM uploads WHERE event = ? AND photo = ?",
            "DELETE FROM live WHERE event = ? AND photo = ?",
            "DELETE FROM photos WHERE event = ? AND id = ?",
        ] {
            let query = sqlx::query(sql).bind(event.as_bytes().as_slice()).bind(id.as_bytes().as_slice());
            there = query.execute(&mut *tx).await?.rows_affected() > 0;
        }
        if !there {
            return Ok(false); // dropping the transaction brings a mere upload back
        }
        sqlx::query("INSERT INTO tombstones (event, photo, deleted_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
            .bind(event.as_bytes().as_slice())
            .bind(id.as_bytes().as_slice())
            .bind(now_ms())
            .execute(&mut *tx)
            .await?;
        sqlx::query("UPDATE events SET face_epoch = face_epoch + 1 WHERE id = ?")
            .bind(event.as_bytes().as_slice())
            .execute(&mut *tx)
            .await?;
        live::append(&mut tx, event, LiveKind::Removed, id, None).await?;
        photos::bump(&mut tx, event).await?;
        tx.commit().await?;
        self.truncate_log().await?;
        Ok(true)
    }

    /// Whether the photographer deleted this photo.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn is_deleted(&self, event: EventId, id: PhotoId) -> Result<bool> {
        let query = sqlx::query("SELECT 1 FROM tombstones WHERE event = ? AND photo = ?")
            .bind(event.as_bytes().as_slice())
            .bind(id.as_bytes().as_slice());
        Ok(query.fetch_optional(&self.readers).await?.is_some())
    }

    /// Deleted photos whose files may still be there.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn unswept(&self) -> Result<Vec<(EventId, PhotoId)>> {
        let rows = sqlx::query("SELECT event, photo FROM tombstones WHERE swept = 0").fetch_all(&self.readers).await?;
        rows.iter().map(|row| Ok((id_column!(row, "event", EventId)?, id_column!(row, "photo", PhotoId)?))).collect()
    }

    /// Records that the files of a deleted photo are gone.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn set_swept(&self, event: EventId, id: PhotoId) -> Result<()> {
        sqlx::query("UPDATE tombstones SET swept = 1 WHERE event = ? AND photo = ?")
            .bind(event.as_bytes().as_slice())
            .bind(id.as_bytes().as_slice())
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}
