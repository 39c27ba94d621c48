//! «Take this photo down»: a guest's report hides a photo until its photographer has looked.

use findme_common::protocol::{Report, Visibility};
use findme_common::{EventId, GuestId, PhotoId};
use sqlx::Row;

use super::audit::{self, Actor};
use super::curation::{set_visibility, visibility, withdraw};
use super::{Catalog, Result, id_column, photos};
use crate::clock::{now_ms, rfc3339};

/// Reports that one guest may have open: enough for everybody who is in earnest, too few to empty a gallery.
const MOST_OPEN: i64 = 20;

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reported {
    /// Guests see the photo no more.
    Taken,
    /// Nothing changed: they did not see it anyway, or the photographer has looked at this guest's report before.
    Already,
    /// This guest has too many open reports.
    TooMany,
}

impl Catalog {
    /// Takes a photo down until its photographer has looked. Whether the guest may see it is the caller's question.
    ///
    /// # Errors
    /// When the catalogue cannot be written; then nothing is.
    pub(crate) async fn report(&self, event: EventId, photo: PhotoId, guest: GuestId) -> Result<Reported> {
        let mut tx = self.begin().await?;
        let Some((seq, before)) = visibility(&mut tx, event, photo).await? else { return Ok(Reported::Already) };
        let looked_at = sqlx::query("SELECT 1 FROM reports WHERE photo = ? AND guest = ? AND outcome = 'shown'")
            .bind(seq)
            .bind(guest.as_bytes().as_slice())
            .fetch_optional(&mut *tx)
            .await?;
        if before != Visibility::Shown || looked_at.is_some() {
            return Ok(Reported::Already);
        }
        let open = sqlx::query("SELECT COUNT(*) FROM reports WHERE event = ? AND guest = ? AND resolved_at IS NULL")
            .bind(event.as_bytes().as_slice())
            .bind(guest.as_bytes().as_slice())
            .fetch_one(&mut *tx)
            .await?;
        if open.try_get::<i64, _>(0)? >= MOST_OPEN {
            return Ok(Reported::TooMany);
        }
        sqlx::query("INSERT INTO reports (event, photo, guest, reported_at) VALUES (?, ?, ?, ?)")
            .bind(event.as_bytes().as_slice())
            .bind(seq)
            .bind(guest.as_bytes().as_slice())
            .bind(now_ms())
            .execute(&mut *tx)
            .await?;
        set_visibility(&mut tx, seq, Visibility::Reported).await?;
        withdraw(&mut tx, event, photo).await?;
        photos::bump(&mut tx, event).await?;
        audit::record(&mut tx, event, Actor::Guest, "photo-reported", 1).await?;
        tx.commit().await?;
        Ok(Reported::Taken)
    }

    /// Reports of an event that nobody has looked at, oldest first.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn reports(&self, event: EventId) -> Result<Vec<Report>> {
        let rows = sqlx::query(
            "SELECT photos.id, name, reported_at FROM reports JOIN photos ON photos.seq = reports.photo
             WHERE reports.event = ? AND resolved_at IS NULL ORDER BY reports.id LIMIT 1000",
        )
        .bind(event.as_bytes().as_slice())
        .fetch_all(&self.readers)
        .await?;
        let report = |row: &sqlx::sqlite::SqliteRow| {
            Ok(Report {
                photo: id_column!(row, "id", PhotoId)?,
                name: row.try_get("name")?,
                reported_at: rfc3339(row.try_get("reported_at")?),
            })
        };
        rows.iter().map(report).collect()
    }
}
