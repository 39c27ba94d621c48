//! Figures of one event for its photographer's board: small queries over the newest rows, whatever the event's size.

use findme_common::protocol::MachineItem;
use findme_common::{EventId, GuestId};

use super::db::{Row, query};
use super::{Catalog, Result, id_column};
use crate::clock::{now_ms, rfc3339};

/// Photos that figures are taken from.
const NEWEST: i64 = 100;

/// What counts as lately, in milliseconds.
const LATELY_MS: i64 = 600_000;

/// Photos that are looked through for those of lately.
const LATELY_MOST: i64 = 5_000;

/// How an event stands.
#[derive(Debug)]
pub(crate) struct BoardFigures {
    /// Photos that were accepted in the last ten minutes; [`LATELY_MOST`] at most.
    pub(crate) received_lately: u64,
    /// From the beginning of the upload until the photo could be found; the newest photos.
    pub(crate) to_guests_ms: Vec<i64>,
    /// Guests who joined.
    pub(crate) joined: u64,
    /// Guests with an enrolment.
    pub(crate) enrolled: Vec<GuestId>,
    /// Who may upload, in the order in which they were let in.
    pub(crate) machines: Vec<MachineItem>,
}

impl Catalog {
    /// How an event stands.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn board(&self, event: EventId) -> Result<BoardFigures> {
        let id = event.as_bytes().as_slice();
        let lately = query(
            "SELECT COUNT(*) FROM (SELECT accepted_at FROM photos WHERE event = ? ORDER BY seq DESC LIMIT ?) AS newest
             WHERE accepted_at > ?",
        )
        .bind(id)
        .bind(LATELY_MOST)
        .bind(now_ms() - LATELY_MS)
        .fetch_one(&self.readers)
        .await?;
        let delays = query(
            "SELECT indexed_at - begun FROM (
                 SELECT indexed_at, (SELECT MIN(created_at) FROM uploads WHERE uploads.event = photos.event AND uploads.photo = photos.id) AS begun
                 FROM photos WHERE event = ? AND indexed_at IS NOT NULL ORDER BY seq DESC LIMIT ?) AS newest
             WHERE begun IS NOT NULL",
        )
        .bind(id)
        .bind(NEWEST)
        .fetch_all(&self.readers)
        .await?;
        let joined = query("SELECT COUNT(*) FROM guests WHERE event = ?").bind(id).fetch_one(&self.readers).await?;
        let enrolled = query(
            "SELECT id FROM guests WHERE event = ? AND EXISTS (SELECT 1 FROM enrolments WHERE guest = guests.id)",
        )
        .bind(id)
        .fetch_all(&self.readers)
        .await?;
        Ok(BoardFigures {
            received_lately: count(&lately)?,
            to_guests_ms: delays.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<_>>()?,
            joined: count(&joined)?,
            enrolled: enrolled.iter().map(|row| id_column!(row, "id", GuestId)).collect::<Result<_>>()?,
            machines: self.machines(event).await?,
        })
    }

    async fn machines(&self, event: EventId) -> Result<Vec<MachineItem>> {
        let rows = query(
            "SELECT label, last_seen, uploads, (SELECT touched_at FROM uploads AS newest
                 WHERE token = photographer_tokens.id AND complete = 1 ORDER BY newest.rowid DESC LIMIT 1) AS last_photo
             FROM photographer_tokens WHERE event = ? AND revoked_at IS NULL ORDER BY id",
        )
        .bind(event.as_bytes().as_slice())
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(MachineItem {
                    label: row.try_get("label")?,
                    last_seen: row.try_get::<Option<i64>, _>("last_seen")?.map(rfc3339),
                    last_photo: row.try_get::<Option<i64>, _>("last_photo")?.map(rfc3339),
                    uploads: u64::try_from(row.try_get::<i64, _>("uploads")?).unwrap_or(0),
                })
            })
            .collect()
    }
}

fn count(row: &Row) -> Result<u64> {
    Ok(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0))
}
