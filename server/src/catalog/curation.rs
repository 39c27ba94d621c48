//! What a photographer does with photos that are there: hide, show, release, delete.

use findme_common::protocol::{LiveKind, Visibility};
use findme_common::{EventId, GuestId, PhotoId};

use super::audit::{self, Actor};
use super::db::{Tx, query};
use super::faces::{SealedFace, sealed};
use super::{Audience, Catalog, GuestEnrolment, Result, Scope, id_column, live, photos, versions};
use crate::clock::now_ms;

/// What a photographer decides about photos.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Guests see them, whatever stood in the way.
    Show,
    /// Guests see them no more.
    Hide,
    /// Guests see those that were only held back until now.
    Release,
}

/// A photo with its sealed faces.
pub(crate) type SealedFaces = (PhotoId, Vec<SealedFace>);

/// From sealed faces of photos and the enrolments of their event to who is in which.
pub(crate) type FindInPhotos<'a> =
    dyn Fn(&[SealedFaces], &[GuestEnrolment]) -> Vec<(PhotoId, GuestId, LiveKind)> + Sync + 'a;

/// Finds the guests who are in photos that become visible.
pub(crate) struct Recogniser<'a> {
    /// Pack whose faces and enrolments are compared.
    pub(crate) pack: &'a str,
    /// Who is in which of the photos.
    pub(crate) find: &'a FindInPhotos<'a>,
}

impl Catalog {
    /// Carries out a decision about photos; how many are otherwise than before. What becomes visible is announced in
    /// the same transaction, to the guests in it too: whoever enrols later finds it in the gallery.
    ///
    /// # Errors
    /// When the catalogue cannot be written; then nothing is.
    pub(crate) async fn decide(
        &self,
        event: EventId,
        ids: &[PhotoId],
        decision: Decision,
        recogniser: &Recogniser<'_>,
    ) -> Result<u64> {
        let mut tx = self.begin(Scope::Event(event)).await?;
        let mut changed = 0;
        let all = versions::with_shots(&mut tx, event, ids).await?;
        let seen = versions::seen(&mut tx, event, &all).await?;
        for id in ids {
            let Some((seq, before)) = visibility(&mut tx, event, *id).await? else { continue };
            let after = match (decision, before) {
                (Decision::Hide, _) => Visibility::Hidden,
                (Decision::Show, _) | (Decision::Release, Visibility::Held) => Visibility::Shown,
                (Decision::Release, other) => other,
            };
            if after == before {
                // Nothing changes but that somebody has looked: reports that only wait are settled, too.
                if decision != Decision::Release {
                    resolve_reports(&mut tx, seq, after).await?;
                }
                continue;
            }
            changed += 1;
            set_visibility(&mut tx, seq, after).await?;
            resolve_reports(&mut tx, seq, after).await?;
            if (before, after) == (Visibility::Reported, Visibility::Hidden) {
                versions::hide_others(&mut tx, event, *id).await?;
            }
        }
        let now = versions::seen(&mut tx, event, &all).await?;
        let appeared: Vec<_> =
            now.iter().filter(|(id, _)| !seen.contains_key(id)).map(|(id, seq)| (*seq, *id)).collect();
        // What comes before what goes: of a shot there is always one.
        announce(&mut tx, event, &appeared, recogniser).await?;
        for id in seen.keys().filter(|id| !now.contains_key(id)) {
            withdraw(&mut tx, event, *id).await?;
        }
        if changed > 0 {
            photos::bump(&mut tx, event).await?;
        }
        tx.commit().await?;
        Ok(changed)
    }

    /// Deletes a photo with everything derived from it, and leaves a tombstone, so that it is not taken again; whether
    /// there was one. Its files are the caller's to remove, and then [`Catalog::set_swept`].
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn delete_photo(&self, event: EventId, id: PhotoId) -> Result<bool> {
        let mut tx = self.begin(Scope::Event(event)).await?;
        let Some((_, was)) = visibility(&mut tx, event, id).await? else { return Ok(false) };
        if was == Visibility::Reported {
            versions::hide_others(&mut tx, event, id).await?;
        }
        let shot = versions::with_shots(&mut tx, event, &[id]).await?;
        let seen = versions::seen(&mut tx, event, &shot).await?;
        let both = |sql| query(sql).bind(event.as_bytes().as_slice()).bind(id.as_bytes().as_slice());
        for sql in
            ["DELETE FROM uploads WHERE event = ? AND photo = ?", "DELETE FROM photos WHERE event = ? AND id = ?"]
        {
            both(sql).execute(&mut tx).await?;
        }
        // An earlier version may stand for the shot again; who is in it is found by its job.
        let now = versions::seen(&mut tx, event, &shot).await?;
        versions::tell(&mut tx, event, &seen, &now, None).await?;
        if !seen.contains_key(&id) {
            live::append(&mut tx, event, LiveKind::Removed, id, Audience::Photographers).await?;
        }
        both("DELETE FROM live WHERE event = ? AND photo = ? AND kind <> 'removed'").execute(&mut tx).await?;
        query("INSERT INTO tombstones (event, photo, deleted_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
            .bind(event.as_bytes().as_slice())
            .bind(id.as_bytes().as_slice())
            .bind(now_ms())
            .execute(&mut tx)
            .await?;
        query("UPDATE events SET face_epoch = face_epoch + 1 WHERE id = ?")
            .bind(event.as_bytes().as_slice())
            .execute(&mut tx)
            .await?;
        photos::bump(&mut tx, event).await?;
        audit::record(&mut tx, event, Actor::Photographer, "photo-deleted", 1).await?;
        tx.commit().await?;
        self.truncate_log().await?;
        Ok(true)
    }

    #[cfg(test)]
    pub(crate) async fn force_visibility(&self, id: PhotoId, to: Visibility) -> Result<()> {
        let set = query("UPDATE photos SET visibility = ? WHERE id = ?").bind(to.as_str());
        set.bind(id.as_bytes().as_slice()).execute(&self.writer).await?;
        // As every change that a list shows.
        query("UPDATE events SET version = version + 1").execute(&self.writer).await?;
        Ok(())
    }

    #[cfg(test)]
    pub(crate) async fn force_taken_at(&self, id: PhotoId, to: &str) -> Result<()> {
        let update = query("UPDATE photos SET taken_at = ? WHERE id = ?").bind(to);
        update.bind(id.as_bytes().as_slice()).execute(&self.writer).await?;
        query("UPDATE events SET version = version + 1").execute(&self.writer).await?;
        Ok(())
    }

    /// Whether the photographer deleted this photo.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn is_deleted(&self, event: EventId, id: PhotoId) -> Result<bool> {
        let query = query("SELECT 1 FROM tombstones WHERE event = ? AND photo = ?")
            .bind(event.as_bytes().as_slice())
            .bind(id.as_bytes().as_slice());
        Ok(query.fetch_optional(&self.readers).await?.is_some())
    }

    /// Deleted photos whose files may still be there.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn unswept(&self) -> Result<Vec<(EventId, PhotoId)>> {
        let rows = query("SELECT event, photo FROM tombstones WHERE swept = 0").fetch_all(&self.readers).await?;
        rows.iter().map(|row| Ok((id_column!(row, "event", EventId)?, id_column!(row, "photo", PhotoId)?))).collect()
    }

    /// Records that the files of a deleted photo are gone.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn set_swept(&self, event: EventId, id: PhotoId) -> Result<()> {
        query("UPDATE tombstones SET swept = 1 WHERE event = ? AND photo = ?")
            .bind(event.as_bytes().as_slice())
            .bind(id.as_bytes().as_slice())
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}

/// Key and visibility of a photo; `None` when there is no such photo.
pub(super) async fn visibility(tx: &mut Tx, event: EventId, id: PhotoId) -> Result<Option<(i64, Visibility)>> {
    let row = query("SELECT seq, visibility FROM photos WHERE event = ? AND id = ?")
        .bind(event.as_bytes().as_slice())
        .bind(id.as_bytes().as_slice())
        .fetch_optional(&mut *tx)
        .await?;
    row.map(|row| Ok((row.try_get("seq")?, super::word(&row, "visibility")?))).transpose()
}

pub(super) async fn set_visibility(tx: &mut Tx, seq: i64, to: Visibility) -> Result<()> {
    query("UPDATE photos SET visibility = ? WHERE seq = ?").bind(to.as_str()).bind(seq).execute(&mut *tx).await?;
    Ok(())
}

/// A photographer who shows or hides a photo has looked at it.
async fn resolve_reports(tx: &mut Tx, seq: i64, outcome: Visibility) -> Result<()> {
    query("UPDATE reports SET resolved_at = ?, outcome = ? WHERE photo = ? AND resolved_at IS NULL")
        .bind(now_ms())
        .bind(outcome.as_str())
        .bind(seq)
        .execute(&mut *tx)
        .await?;
    Ok(())
}

/// Tells those who may have seen a photo that it is there no more, and takes back what the log would tell of it again.
pub(super) async fn withdraw(tx: &mut Tx, event: EventId, id: PhotoId) -> Result<()> {
    let told = query("DELETE FROM live WHERE event = ? AND photo = ? AND kind IN ('you', 'maybe') RETURNING guest")
        .bind(event.as_bytes().as_slice())
        .bind(id.as_bytes().as_slice())
        .fetch_all(&mut *tx)
        .await?;
    query("UPDATE live SET private = 1 WHERE event = ? AND photo = ? AND kind = 'indexed'")
        .bind(event.as_bytes().as_slice())
        .bind(id.as_bytes().as_slice())
        .execute(&mut *tx)
        .await?;
    let audience = Audience::of_photo(tx, event, true).await?;
    live::append(tx, event, LiveKind::Removed, id, audience).await?;
    if audience != Audience::Everyone {
        let mut guests = told.iter().map(|row| id_column!(row, "guest", GuestId)).collect::<Result<Vec<_>>>()?;
        guests.sort_unstable();
        guests.dedup();
        for guest in guests {
            live::append(tx, event, LiveKind::Removed, id, Audience::Guest(guest)).await?;
        }
    }
    Ok(())
}

/// Tells everybody of photos that became visible, and the guests in them that they are theirs.
async fn announce(tx: &mut Tx, event: EventId, appeared: &[(i64, PhotoId)], recogniser: &Recogniser<'_>) -> Result<()> {
    if appeared.is_empty() {
        return Ok(());
    }
    let audience = Audience::of_photo(tx, event, true).await?;
    let mut faces: Vec<SealedFaces> = Vec::with_capacity(appeared.len());
    for (seq, id) in appeared {
        live::append(tx, event, LiveKind::Indexed, *id, audience).await?;
        let rows = query("SELECT vector, pixels, sharpness, turned FROM faces WHERE photo = ? AND pack = ?")
            .bind(seq)
            .bind(recogniser.pack)
            .fetch_all(&mut *tx)
            .await?;
        faces.push((*id, rows.iter().map(sealed).collect::<Result<_>>()?));
    }
    let enrolments = super::guests::enrolments_of_event(tx, event, recogniser.pack).await?;
    for (photo, guest, kind) in (recogniser.find)(&faces, &enrolments) {
        live::tell_once(tx, event, kind, photo, guest).await?;
    }
    Ok(())
}
