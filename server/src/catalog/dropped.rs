//! Faces that go because their person is never matched: what an engine elsewhere found to be theirs, and what an operator
//! pointed at. Invariant: where a face was dropped is remembered, so that it stays away and can be looked at again.

use findme_common::EventId;

use super::audit::{self, Actor};
use super::db::{Tx, query};
use super::faces::area;
use super::suppressions::{MOST_CARRIED, remember};
use super::{Catalog, CatalogError, Result, Scope, photos};
use crate::clock::now_ms;

/// In the place of a text: nobody agreed, an operator decided.
const BY_OPERATOR: &str = "operator";

/// Removes stored faces for a suppression, and remembers where they were.
pub(super) async fn remove_faces(tx: &mut Tx, event: EventId, suppression: i64, faces: &[i64]) -> Result<()> {
    let list = serde_json::to_string(faces).map_err(|_| CatalogError::Damaged("faces cannot be listed"))?;
    let gone = query(
        "DELETE FROM faces WHERE event = ? AND id IN (SELECT CAST(value AS BIGINT) FROM json_each(?))
         RETURNING photo, x, y, width, height",
    )
    .bind(event.as_bytes().as_slice())
    .bind(list)
    .fetch_all(&mut *tx)
    .await?;
    for row in &gone {
        remember(tx, suppression, row.try_get("photo")?, &area(row)?).await?;
    }
    if !gone.is_empty() {
        query("UPDATE events SET face_epoch = face_epoch + 1 WHERE id = ?")
            .bind(event.as_bytes().as_slice())
            .execute(&mut *tx)
            .await?;
        photos::bump(tx, event).await?;
    }
    Ok(())
}

impl Catalog {
    /// Removes the stored faces of which an engine elsewhere says that they are like a suppression's, and remembers where
    /// they were. Every face up to `newest` was compared with it then.
    ///
    /// # Errors
    /// When the catalogue cannot be written; then nothing is.
    pub(crate) async fn drop_like(&self, event: EventId, vector: i64, faces: &[i64], newest: i64) -> Result<()> {
        let mut tx = self.begin(Scope::Event(event)).await?;
        let sql = "UPDATE suppression_vectors SET applied = 1, searched_to = ? WHERE id = ?
                   RETURNING suppression";
        // Without a row it was lifted meanwhile.
        let row = query(sql).bind(newest).bind(vector).fetch_optional(&mut tx).await?;
        if let Some(row) = row {
            remove_faces(&mut tx, event, row.try_get(0)?, faces).await?;
        }
        tx.commit().await?;
        self.truncate_log().await
    }

    /// Has a person never matched whose faces an operator pointed at: those go, and by some of them the others are known
    /// that are there or come. The suppression; `None` when none of the faces is there any more.
    ///
    /// # Errors
    /// When the catalogue cannot be written; then nothing is.
    pub(crate) async fn suppress_faces(&self, event: EventId, faces: &[i64]) -> Result<Option<i64>> {
        let mut tx = self.begin(Scope::Event(event)).await?;
        let row = query(
            "INSERT INTO suppressions (event, state, text, language, given_at) VALUES (?, 'active', ?, 'und', ?) RETURNING id",
        )
        .bind(event.as_bytes().as_slice())
        .bind(BY_OPERATOR)
        .bind(now_ms())
        .fetch_one(&mut tx)
        .await?;
        let id: i64 = row.try_get(0)?;
        let mut known = 0;
        // The faces that stand for the person come first.
        for face in faces {
            let copied = query(
                "INSERT INTO suppression_vectors (suppression, pack, vector)
                 SELECT ?, pack, vector FROM faces WHERE id = ? AND event = ?",
            );
            let copied = copied.bind(id).bind(face).bind(event.as_bytes().as_slice()).execute(&mut tx).await?;
            known += copied.rows_affected() as i64;
            if known == MOST_CARRIED {
                break;
            }
        }
        if known == 0 {
            return Ok(None);
        }
        remove_faces(&mut tx, event, id, faces).await?;
        audit::record(&mut tx, event, Actor::Operator, "person-hidden", faces.len() as u64).await?;
        tx.commit().await?;
        self.truncate_log().await?;
        Ok(Some(id))
    }
}
