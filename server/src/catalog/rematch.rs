//! Telling a guest of photos that were found for them later than they were indexed.

use findme_common::protocol::{LiveKind, SelfieResult};
use findme_common::{EventId, GuestId, PhotoId};
use sqlx::Row;

use super::{Catalog, Result, id_column, live, photos};

impl Catalog {
    /// Guests of an event who can be found by their faces.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn enrolled_guests(&self, event: EventId) -> Result<Vec<GuestId>> {
        let rows = sqlx::query(
            "SELECT id FROM guests WHERE event = ? AND EXISTS (SELECT 1 FROM enrolments WHERE guest = guests.id)",
        )
        .bind(event.as_bytes().as_slice())
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| id_column!(row, "id", GuestId)).collect()
    }

    /// Tells a guest of those of the found photos that they were not told of; how many. Nothing when the guest was erased
    /// meanwhile, and nothing of photos that are not shown any more.
    ///
    /// # Errors
    /// When the catalogue cannot be written; then nothing is.
    pub(crate) async fn tell_guest(&self, event: EventId, guest: GuestId, found: &SelfieResult) -> Result<u64> {
        let of = |kind| move |found: &findme_common::protocol::Match| (found.photo, kind);
        let all: Vec<(PhotoId, LiveKind)> =
            found.you.iter().map(of(LiveKind::You)).chain(found.maybe.iter().map(of(LiveKind::Maybe))).collect();
        if all.is_empty() {
            return Ok(0);
        }
        let mut tx = self.begin().await?;
        let enrolled = sqlx::query("SELECT 1 FROM enrolments WHERE guest = ? LIMIT 1")
            .bind(guest.as_bytes().as_slice())
            .fetch_optional(&mut *tx)
            .await?;
        if enrolled.is_none() {
            return Ok(0);
        }
        let mut told = 0;
        for (photo, kind) in all {
            let row = sqlx::query("SELECT seq FROM photos WHERE event = ? AND id = ?")
                .bind(event.as_bytes().as_slice())
                .bind(photo.as_bytes().as_slice())
                .fetch_optional(&mut *tx)
                .await?;
            let Some(row) = row else { continue };
            if photos::is_shown(&mut tx, row.try_get("seq")?).await? {
                told += u64::from(live::tell_once(&mut tx, event, kind, photo, guest).await?);
            }
        }
        tx.commit().await?;
        Ok(told)
    }
}
