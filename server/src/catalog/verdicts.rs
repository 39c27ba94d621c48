//! What guests said about photos, «yes, me» and «not me», and the faces that are known from it.

use std::collections::HashMap;

use findme_common::{EventId, GuestId, PhotoId};

use super::db::query;
use super::{Catalog, Result, Scope, id_column};
use crate::clock::now_ms;

/// Faces that are kept from photos, for each person of a session: more add little and cost a search each.
const MOST_CONFIRMED: i64 = 10;

impl Catalog {
    /// What a guest said about photos: whether it is them.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn verdicts(&self, guest: GuestId) -> Result<HashMap<PhotoId, bool>> {
        let rows = query("SELECT id, mine FROM verdicts JOIN photos ON photos.seq = verdicts.photo WHERE guest = ?")
            .bind(guest.as_bytes().as_slice())
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(|row| Ok((id_column!(row, "id", PhotoId)?, row.try_get("mine")?))).collect()
    }

    /// Grows or falls with everything that a guest says.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn verdict_tag(&self, guest: GuestId) -> Result<(i64, i64)> {
        let sql = "SELECT COUNT(*), CAST(COALESCE(SUM(given_at % 1000003 * (1 + mine)), 0) AS BIGINT) FROM verdicts WHERE guest = ?";
        let row = query(sql).bind(guest.as_bytes().as_slice()).fetch_one(&self.readers).await?;
        Ok((row.try_get(0)?, row.try_get(1)?))
    }

    /// Records what a guest says about a photo, in the place of what they said before; `None` takes it back. `face` is
    /// the face that is theirs, and whose of the session's people: its vector is kept beside the selfie's. Whether
    /// anything is otherwise than before.
    ///
    /// # Errors
    /// When the catalogue cannot be written; then nothing is.
    pub(crate) async fn set_verdict(
        &self,
        (event, guest): (EventId, GuestId),
        photo: PhotoId,
        mine: Option<bool>,
        face: Option<(i64, u8)>,
    ) -> Result<bool> {
        let mut tx = self.begin(Scope::Event(event)).await?;
        let (event, id, photo) =
            (event.as_bytes().as_slice(), guest.as_bytes().as_slice(), photo.as_bytes().as_slice());
        let seq = query("SELECT seq FROM photos WHERE event = ? AND id = ?").bind(event).bind(photo);
        let Some(row) = seq.fetch_optional(&mut tx).await? else { return Ok(false) };
        let seq: i64 = row.try_get(0)?;
        let before = query("SELECT mine FROM verdicts WHERE guest = ? AND photo = ?").bind(id).bind(seq);
        let before: Option<bool> = before.fetch_optional(&mut tx).await?.map(|row| row.try_get(0)).transpose()?;
        if before == mine {
            return Ok(false);
        }
        for sql in [
            "DELETE FROM verdicts WHERE guest = ? AND photo = ?",
            "DELETE FROM enrolments WHERE guest = ? AND photo = ?",
        ] {
            let key =
                if sql.contains("verdicts") { query(sql).bind(id).bind(seq) } else { query(sql).bind(id).bind(photo) };
            key.execute(&mut tx).await?;
        }
        if let Some(mine) = mine {
            query("INSERT INTO verdicts (guest, photo, mine, given_at) VALUES (?, ?, ?, ?)")
                .bind(id)
                .bind(seq)
                .bind(mine)
                .bind(now_ms())
                .execute(&mut tx)
                .await?;
        }
        if let (Some(true), Some((face, person))) = (mine, face) {
            // Only beside a selfie: whoever erased it meanwhile is not enrolled again by this.
            query(
                "INSERT INTO enrolments (guest, person, pack, vector, photo, created_at)
                 SELECT ?1, ?2, pack, vector, ?3, ?4 FROM faces WHERE id = ?5 AND event = ?6
                 AND EXISTS (SELECT 1 FROM enrolments WHERE guest = ?1 AND person = ?2 AND photo IS NULL)
                 AND (SELECT COUNT(*) FROM enrolments WHERE guest = ?1 AND person = ?2 AND photo IS NOT NULL) < ?7",
            )
            .bind(id)
            .bind(person)
            .bind(photo)
            .bind(now_ms())
            .bind(face)
            .bind(event)
            .bind(MOST_CONFIRMED)
            .execute(&mut tx)
            .await?;
        }
        tx.commit().await?;
        Ok(true)
    }
}
