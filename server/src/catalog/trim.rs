//! The live log does not grow for ever: old entries go, and who would have needed them is told to begin anew.

use findme_common::EventId;

use super::db::query;
use super::{Catalog, CatalogError, Result, Scope};

/// Entries that go in one transaction: uploads do not wait for longer.
const BATCH: i64 = 5_000;

/// What the live log of one event holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LiveBounds {
    /// Everything after this id is there, but for what was erased.
    pub(crate) start: i64,
    /// Id of the newest entry that was ever written.
    pub(crate) end: i64,
}

impl LiveBounds {
    /// Whether somebody who has heard everything up to `after` can hear the rest. Not after the log was cut, and not
    /// from before a backup was put back.
    pub(crate) const fn continues(&self, after: i64) -> bool {
        self.start <= after && after <= self.end
    }
}

impl Catalog {
    /// From where to where the log of an event goes.
    ///
    /// # Errors
    /// When the catalogue cannot be read or the event is gone.
    pub(crate) async fn live_bounds(&self, event: EventId) -> Result<LiveBounds> {
        let row = query("SELECT live_start, live_end FROM events WHERE id = ?")
            .bind(event.as_bytes().as_slice())
            .fetch_optional(&self.readers)
            .await?
            .ok_or(CatalogError::Gone)?;
        Ok(LiveBounds { start: row.try_get(0)?, end: row.try_get(1)? })
    }

    /// Drops entries from before `before` (milliseconds since the epoch), some thousands at most; whether there are more.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn trim_live(&self, before: i64) -> Result<bool> {
        let oldest = query("SELECT seq, at FROM live ORDER BY seq LIMIT ?").bind(BATCH);
        let oldest = oldest.fetch_all(&self.readers).await?;
        let mut last = None;
        for row in &oldest {
            // Entries are in the order of time; a clock that was set back ends the batch early, and that is all.
            if row.try_get::<i64, _>("at")? >= before {
                break;
            }
            last = Some(row.try_get::<i64, _>("seq")?);
        }
        let Some(last) = last else { return Ok(false) };
        let mut tx = self.begin(Scope::Everything).await?;
        for sql in [
            "UPDATE events SET live_start = dropped.number
             FROM (SELECT event, MAX(number) AS number FROM live WHERE seq <= ? GROUP BY event) AS dropped
             WHERE id = dropped.event",
            "DELETE FROM live WHERE seq <= ?",
        ] {
            query(sql).bind(last).execute(&mut tx).await?;
        }
        tx.commit().await?;
        Ok(oldest.len() as i64 == BATCH)
    }
}
