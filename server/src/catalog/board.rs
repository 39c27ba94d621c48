//! Figures of one event for its photographer's board: small queries over the newest rows, whatever the event's size.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use findme_common::protocol::{MachineItem, metadata};
use findme_common::{EventId, GuestId};

use super::db::{Row, query};
use super::{Catalog, Result, id_column};
use crate::clock::{DAY_MS, now_ms, rfc3339};

/// Photos that figures are taken from.
const NEWEST: i64 = 100;

/// What counts as lately, in milliseconds.
const LATELY_MS: i64 = 600_000;

/// A file that was closed longer ago was not on its way to guests all the time.
const MOST_AGE_MS: i64 = 7 * DAY_MS;

/// Photos that are looked through for those of lately.
const LATELY_MOST: i64 = 5_000;

/// How long a photo took until guests could find it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ToGuests {
    /// From the beginning of its first upload, in milliseconds.
    pub(crate) since_begun_ms: i64,
    /// From the file's close, where the client told how long ago that was.
    pub(crate) since_closed_ms: Option<i64>,
}

/// How an event stands.
#[derive(Debug)]
pub(crate) struct BoardFigures {
    /// Photos that were accepted in the last ten minutes; [`LATELY_MOST`] at most.
    pub(crate) received_lately: u64,
    /// Until the newest photos could be found.
    pub(crate) to_guests: Vec<ToGuests>,
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
            "SELECT newest.indexed_at - uploads.created_at AS took, uploads.metadata FROM (
                 SELECT indexed_at, (SELECT id FROM uploads WHERE uploads.event = photos.event AND uploads.photo = photos.id
                     ORDER BY created_at LIMIT 1) AS upload
                 FROM photos WHERE event = ? AND indexed_at IS NOT NULL ORDER BY seq DESC LIMIT ?) AS newest
             JOIN uploads ON uploads.id = newest.upload",
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
            to_guests: delays.iter().map(to_guests).collect::<Result<_>>()?,
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

fn to_guests(row: &Row) -> Result<ToGuests> {
    let since_begun_ms: i64 = row.try_get("took")?;
    let age = age_ms(&row.try_get::<String, _>("metadata")?);
    Ok(ToGuests { since_begun_ms, since_closed_ms: age.map(|age| since_begun_ms + age) })
}

/// How old the file was when its upload was created, as the client told it (see [`metadata::AGE`]); `None` where it did
/// not, or no sensible time.
fn age_ms(said: &str) -> Option<i64> {
    let value = said.split(',').find_map(|pair| pair.trim().strip_prefix(metadata::AGE)?.strip_prefix(' '))?;
    let digits = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
    let age = digits.parse().ok()?;
    (0..=MOST_AGE_MS).contains(&age).then_some(age)
}

fn count(row: &Row) -> Result<u64> {
    Ok(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_as_clients_tell_them() {
        let said = |age: &str| format!("filename YS5qcGc=,age {},kind b3JpZ2luYWw=", STANDARD.encode(age));
        assert_eq!(age_ms(&said("0")), Some(0));
        assert_eq!(age_ms(&said("1234")), Some(1234));
        for wrong in ["", "-1", "x", "99999999999999999999", "604800001"] {
            assert_eq!(age_ms(&said(wrong)), None, "{wrong}");
        }
        assert_eq!(age_ms("filename YS5qcGc="), None);
        assert_eq!(age_ms("agenda MTI=, age MTI="), Some(12));
        assert_eq!(age_ms("age $$"), None);
    }
}
