//! People who are never matched: faces like theirs are dropped as soon as they are found, and those that are there go.

use findme_common::{EventId, GuestId};
use sqlx::{Row, Sqlite, Transaction};

use super::audit::{self, Actor};
use super::{Catalog, CatalogError, Result, id_column, photos};
use crate::clock::now_ms;

/// Consent to which text was given, in which language.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Agreed<'a> {
    /// Version of the text.
    pub(crate) text: &'a str,
    /// Its language (BCP 47).
    pub(crate) language: &'a str,
}

/// The sealed vectors of an event's people who are never matched, as they stand in this transaction.
pub(super) async fn of_event(
    tx: &mut Transaction<'static, Sqlite>,
    event: EventId,
    pack: &str,
) -> Result<Vec<Vec<u8>>> {
    let rows = sqlx::query("SELECT vector FROM suppressions WHERE event = ? AND pack = ?")
        .bind(event.as_bytes().as_slice())
        .bind(pack)
        .fetch_all(&mut **tx)
        .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

impl Catalog {
    /// Puts this vector in the place of the guest's earlier one, and forgets what was held to find them. From here on no
    /// face like it is stored. `false` when the guest was erased meanwhile, or no faces are looked for any more.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn suppress(&self, guest: GuestId, pack: &str, vector: &[u8], agreed: Agreed<'_>) -> Result<bool> {
        let mut tx = self.begin().await?;
        let event = sqlx::query(
            "SELECT event FROM consents JOIN guests ON guests.id = guest JOIN events ON events.id = event
             WHERE guest = ? AND purpose = 'never' AND policy <> 'off' LIMIT 1",
        )
        .bind(guest.as_bytes().as_slice())
        .fetch_optional(&mut *tx)
        .await?;
        let Some(event) = event else { return Ok(false) };
        let event = id_column!(&event, "event", EventId)?;
        for sql in [
            "DELETE FROM suppressions WHERE guest = ?",
            "DELETE FROM enrolments WHERE guest = ?",
            "DELETE FROM live WHERE guest = ?",
        ] {
            sqlx::query(sql).bind(guest.as_bytes().as_slice()).execute(&mut *tx).await?;
        }
        sqlx::query(
            "INSERT INTO suppressions (event, guest, pack, vector, text, language, given_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(event.as_bytes().as_slice())
        .bind(guest.as_bytes().as_slice())
        .bind(pack)
        .bind(vector)
        .bind(agreed.text)
        .bind(agreed.language)
        .bind(now_ms())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Removes faces that a guest wants never matched; how many were there.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn remove_faces(&self, event: EventId, faces: &[i64]) -> Result<u64> {
        let list = serde_json::to_string(faces).map_err(|_| CatalogError::Damaged("faces cannot be listed"))?;
        let mut tx = self.begin().await?;
        let gone = sqlx::query("DELETE FROM faces WHERE event = ? AND id IN (SELECT value FROM json_each(?))")
            .bind(event.as_bytes().as_slice())
            .bind(list)
            .execute(&mut *tx)
            .await?
            .rows_affected();
        sqlx::query("UPDATE events SET face_epoch = face_epoch + 1 WHERE id = ?")
            .bind(event.as_bytes().as_slice())
            .execute(&mut *tx)
            .await?;
        photos::bump(&mut tx, event).await?;
        audit::record(&mut tx, event, Actor::Guest, "never-match", gone).await?;
        tx.commit().await?;
        self.truncate_log().await?;
        Ok(gone)
    }

    /// Lifts «never match me»; whether it was set. Faces that were dropped meanwhile come back when photos are indexed
    /// again.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn lift_suppression(&self, event: EventId, guest: GuestId) -> Result<bool> {
        let mut tx = self.begin().await?;
        let gone = sqlx::query("DELETE FROM suppressions WHERE guest = ?")
            .bind(guest.as_bytes().as_slice())
            .execute(&mut *tx)
            .await?
            .rows_affected();
        if gone > 0 {
            audit::record(&mut tx, event, Actor::Guest, "never-match-lifted", gone).await?;
        }
        tx.commit().await?;
        self.truncate_log().await?;
        Ok(gone > 0)
    }

    /// Whether a guest is never matched.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn is_suppressed(&self, guest: GuestId) -> Result<bool> {
        let query = sqlx::query("SELECT 1 FROM suppressions WHERE guest = ? LIMIT 1").bind(guest.as_bytes().as_slice());
        Ok(query.fetch_optional(&self.readers).await?.is_some())
    }
}
