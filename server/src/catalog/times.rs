//! Leafing without a selfie: how many photos were taken when, and those of a span of time or with a star.

use super::db::query;
use super::photos::{Page, SHOWN, item, page};
use super::{Catalog, Result, Scope};
use findme_common::EventId;
use findme_common::PhotoId;
use findme_common::protocol::HourCount;

/// Hours that are told at most; an event has some dozen.
const MOST_HOURS: i64 = 500;

/// What of an event's photos is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Narrow {
    /// Taken then or later, as the camera wrote it.
    pub(crate) from: Option<String>,
    /// Taken before then.
    pub(crate) to: Option<String>,
    /// Only with a star.
    pub(crate) featured: bool,
}

impl Catalog {
    /// How many of the photos that guests may see were taken in which hour, by the cameras' clocks, in their order.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn hours(&self, event: EventId) -> Result<Vec<HourCount>> {
        let sql = format!(
            "SELECT substr(taken_at, 1, 13) AS hour, COUNT(*) AS n FROM photos
             WHERE event = ? AND taken_at IS NOT NULL AND {SHOWN} GROUP BY hour ORDER BY hour LIMIT ?"
        );
        let rows = query(sqlx::AssertSqlSafe(sql))
            .bind(event.as_bytes().as_slice())
            .bind(MOST_HOURS)
            .fetch_all(&self.readers)
            .await?;
        rows.iter()
            .map(|row| Ok(HourCount { hour: row.try_get("hour")?, photos: row.try_get::<i64, _>("n")? as u64 }))
            .collect()
    }

    /// One page of the photos that guests may see and that were asked for, newest acceptance first.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn shown_page(
        &self,
        event: EventId,
        narrow: &Narrow,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Page> {
        let sql = format!(
            "SELECT * FROM photos WHERE event = ? AND seq < ? AND (? = 0 OR featured = 1)
             AND (? IS NULL OR taken_at >= ?) AND (? IS NULL OR taken_at < ?) AND {SHOWN} ORDER BY seq DESC LIMIT ?"
        );
        let rows = query(sqlx::AssertSqlSafe(sql))
            .bind(event.as_bytes().as_slice())
            .bind(after.unwrap_or(i64::MAX))
            .bind(i64::from(narrow.featured))
            .bind(narrow.from.as_deref())
            .bind(narrow.from.as_deref())
            .bind(narrow.to.as_deref())
            .bind(narrow.to.as_deref())
            .bind(i64::from(limit) + 1)
            .fetch_all(&self.readers)
            .await?;
        page(&rows, limit as usize, item)
    }

    /// Stars photos, or takes their stars away; how many are otherwise than before.
    ///
    /// # Errors
    /// When the catalogue cannot be written; then nothing is.
    pub(crate) async fn feature(&self, event: EventId, ids: &[PhotoId], starred: bool) -> Result<u64> {
        let mut tx = self.begin(Scope::Event(event)).await?;
        let done = query(
            "UPDATE photos SET featured = ? WHERE event = ? AND featured <> ?
             AND id IN (SELECT unhex(value) FROM json_each(?))",
        )
        .bind(i64::from(starred))
        .bind(event.as_bytes().as_slice())
        .bind(i64::from(starred))
        .bind(super::photos::listed(ids)?)
        .execute(&mut tx)
        .await?;
        if done.rows_affected() > 0 {
            super::photos::bump(&mut tx, event).await?;
        }
        tx.commit().await?;
        Ok(done.rows_affected())
    }
}
