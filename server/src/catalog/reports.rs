//! «Take this photo down»: a guest's report hides a photo until its photographer has looked; what they have looked at is
//! theirs to decide. Sessions cost nothing, so what reports can hide is bounded by event, too.

use findme_common::protocol::{Report, Visibility};
use findme_common::{EventId, GuestId, PhotoId};

use super::audit::{self, Actor};
use super::curation::{set_visibility, visibility, withdraw};
use super::db::{Row, query};
use super::{Catalog, Result, Scope, id_column, photos};
use crate::clock::{now_ms, rfc3339};

/// Reports that one guest may have open: enough for everybody who is in earnest, too few to empty a gallery.
const MOST_OPEN: i64 = 20;

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reported {
    /// Guests see the photo no more, from now on or already.
    Down,
    /// The photographer is told; guests see the photo until then.
    Queued,
    /// This guest has too many open reports.
    TooMany,
}

impl Catalog {
    /// Takes a photo down until its photographer has looked. One that they have looked at and shown stays, and so does
    /// every further one when `most_hidden` photos of the event are down unseen: those reports only wait. Whether the
    /// guest may see it is the caller's question.
    ///
    /// # Errors
    /// When the catalogue cannot be written; then nothing is.
    pub(crate) async fn report(
        &self,
        event: EventId,
        photo: PhotoId,
        guest: GuestId,
        most_hidden: u32,
    ) -> Result<Reported> {
        let mut tx = self.begin(Scope::Event(event)).await?;
        let Some((seq, Visibility::Shown)) = visibility(&mut tx, event, photo).await? else {
            return Ok(Reported::Down);
        };
        let row = query(
            "SELECT (SELECT COUNT(*) FROM reports WHERE event = ?1 AND guest = ?2 AND resolved_at IS NULL) AS open,
                    (SELECT COUNT(*) FROM reports WHERE photo = ?3 AND guest = ?2 AND resolved_at IS NULL) AS mine,
                    (SELECT COUNT(*) FROM reports WHERE photo = ?3 AND outcome = 'shown') AS looked_at,
                    (SELECT COUNT(*) FROM photos WHERE event = ?1 AND visibility = 'reported') AS hidden",
        )
        .bind(event.as_bytes().as_slice())
        .bind(guest.as_bytes().as_slice())
        .bind(seq)
        .fetch_one(&mut tx)
        .await?;
        if row.try_get::<i64, _>("mine")? > 0 {
            return Ok(Reported::Queued);
        }
        if row.try_get::<i64, _>("open")? >= MOST_OPEN {
            return Ok(Reported::TooMany);
        }
        query("INSERT INTO reports (event, photo, guest, reported_at) VALUES (?, ?, ?, ?)")
            .bind(event.as_bytes().as_slice())
            .bind(seq)
            .bind(guest.as_bytes().as_slice())
            .bind(now_ms())
            .execute(&mut tx)
            .await?;
        let down =
            row.try_get::<i64, _>("looked_at")? == 0 && row.try_get::<i64, _>("hidden")? < i64::from(most_hidden);
        if down {
            set_visibility(&mut tx, seq, Visibility::Reported).await?;
            withdraw(&mut tx, event, photo).await?;
            photos::bump(&mut tx, event).await?;
        }
        audit::record(&mut tx, event, Actor::Guest, "photo-reported", 1).await?;
        tx.commit().await?;
        Ok(if down { Reported::Down } else { Reported::Queued })
    }

    /// Reports of an event that nobody has looked at, oldest first.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn reports(&self, event: EventId) -> Result<Vec<Report>> {
        let rows = query(
            "SELECT photos.id, name, reported_at, visibility = 'reported' AS hidden FROM reports JOIN photos ON photos.seq = reports.photo
             WHERE reports.event = ? AND resolved_at IS NULL ORDER BY reports.id LIMIT 1000",
        )
        .bind(event.as_bytes().as_slice())
        .fetch_all(&self.readers)
        .await?;
        let report = |row: &Row| {
            Ok(Report {
                photo: id_column!(row, "id", PhotoId)?,
                name: row.try_get("name")?,
                reported_at: rfc3339(row.try_get("reported_at")?),
                hidden: row.try_get("hidden")?,
            })
        };
        rows.iter().map(report).collect()
    }
}
