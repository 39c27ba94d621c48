//! The live log does not grow for ever: old entries go, and who would have needed them is told to begin anew.

use sqlx::Row;

use super::{Catalog, CatalogError, Result};

/// Key of the setting that holds the id of the newest entry that was dropped for its age (8 bytes, big endian).
const START: &str = "live-start";

/// Entries that go in one transaction: uploads do not wait for longer.
const BATCH: i64 = 5_000;

/// What the live log holds.
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
    /// From where to where the log goes.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn live_bounds(&self) -> Result<LiveBounds> {
        // The newest row may have been erased since it was told; its id is not given again.
        let end = sqlx::query("SELECT seq FROM sqlite_sequence WHERE name = 'live'").fetch_optional(&self.readers);
        let end = end.await?.map_or(Ok(0), |row| row.try_get(0))?;
        let start = match self.setting(START).await? {
            None => 0,
            Some(bytes) => i64::from_be_bytes(
                bytes.try_into().map_err(|_| CatalogError::Damaged("the start of the live log is not 8 bytes long"))?,
            ),
        };
        Ok(LiveBounds { start, end })
    }

    /// Drops entries from before `before` (milliseconds since the epoch), some thousands at most; whether there are more.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn trim_live(&self, before: i64) -> Result<bool> {
        let oldest = sqlx::query("SELECT seq, at FROM live ORDER BY seq LIMIT ?").bind(BATCH);
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
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM live WHERE seq <= ?").bind(last).execute(&mut *tx).await?;
        sqlx::query(
            "INSERT INTO settings (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )
        .bind(START)
        .bind(last.to_be_bytes().as_slice())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(oldest.len() as i64 == BATCH)
    }
}
