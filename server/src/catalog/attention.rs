//! Photos that somebody should look at: those that failed, and those that are put off again and again. What is asked for
//! once more goes back into the queue.

use findme_common::protocol::{AttentionItem, AttentionList};
use findme_common::{EventId, PhotoId};

use super::db::{Row, query};
use super::{Catalog, CatalogError, Result, Scope, id_column};
use crate::clock::{now_ms, rfc3339};

/// Put off this often, a job needs somebody: half a minute of trouble is over by then.
const MANY_DELAYS: i64 = 3;

/// Which photos are put into the queue again.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Requeue<'a> {
    /// All that were accepted; those that were indexed stay searchable meanwhile.
    All,
    /// Those that failed or are put off.
    Failed,
    /// Those of these that failed or are put off.
    These(&'a [PhotoId]),
}

fn item(row: &Row) -> Result<AttentionItem> {
    let accepted: i64 = row.try_get("accepted_at")?;
    Ok(AttentionItem {
        event: id_column!(row, "event", EventId)?,
        photo: id_column!(row, "id", PhotoId)?,
        name: row.try_get("name")?,
        state: super::photos::state(row)?,
        reason: row.try_get("reason")?,
        trouble: row.try_get("trouble")?,
        delays: row.try_get::<i64, _>("delays")?.try_into().unwrap_or(u32::MAX),
        accepted_at: rfc3339(accepted),
        age_s: (now_ms() - accepted).max(0).unsigned_abs() / 1000,
    })
}

impl Catalog {
    /// One page of the photos that need attention, newest first: of one event, or of all.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn attention(
        &self,
        event: Option<EventId>,
        after: Option<i64>,
        limit: u32,
    ) -> Result<AttentionList> {
        let rows = query(
            "SELECT seq, photos.event AS event, id, name, state, reason, accepted_at, trouble, COALESCE(delays, 0) AS delays
             FROM photos LEFT JOIN jobs ON jobs.photo = photos.seq
             WHERE seq IN (SELECT seq FROM photos WHERE state = 'failed' UNION SELECT photo FROM jobs WHERE delays >= ?1)
               AND (?2 IS NULL OR photos.event = ?2) AND seq < ?3
             ORDER BY seq DESC LIMIT ?4",
        )
        .bind(MANY_DELAYS)
        .bind(event.as_ref().map(|event| event.as_bytes().as_slice()))
        .bind(after.unwrap_or(i64::MAX))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        let next = match rows.last() {
            Some(last) if rows.len() == limit as usize => Some(last.try_get::<i64, _>("seq")?.to_string()),
            _ => None,
        };
        Ok(AttentionList { photos: rows.iter().map(item).collect::<Result<_>>()?, next })
    }

    /// Jobs that are not done, of one event or of all: (those that do not wait for models, those of them that are put
    /// off).
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn open_jobs(&self, event: Option<EventId>) -> Result<(u64, u64)> {
        let row = query(
            "SELECT COUNT(*), COUNT(*) FILTER (WHERE delays > 0) FROM jobs WHERE waiting = 0 AND (?1 IS NULL OR event = ?1)",
        )
        .bind(event.as_ref().map(|event| event.as_bytes().as_slice()))
        .fetch_one(&self.readers)
        .await?;
        Ok((row.try_get::<i64, _>(0)?.unsigned_abs(), row.try_get::<i64, _>(1)?.unsigned_abs()))
    }

    /// Puts photos into the queue again, of one event or of all; how many. Failed ones are «received» again. A photo
    /// that is being worked on stays with its worker, one that waits for models waits on.
    ///
    /// # Errors
    /// When the catalogue cannot be written; then nothing is.
    pub(crate) async fn requeue(&self, event: Option<EventId>, which: Requeue<'_>) -> Result<u64> {
        let troubled = "(state = 'failed' OR seq IN (SELECT photo FROM jobs WHERE delays > 0))";
        let (condition, ids) = match which {
            Requeue::All => ("TRUE".to_owned(), "[]".to_owned()),
            Requeue::Failed => (troubled.to_owned(), "[]".to_owned()),
            Requeue::These(ids) => {
                let hex: Vec<String> = ids.iter().map(PhotoId::to_simple).collect();
                let list = serde_json::to_string(&hex).map_err(|_| CatalogError::Damaged("ids cannot be listed"))?;
                (format!("{troubled} AND id IN (SELECT unhex(value) FROM json_each(?3))"), list)
            }
        };
        let mut tx = self.begin(event.map_or(Scope::Everything, Scope::Event)).await?;
        let event = event.as_ref().map(|event| event.as_bytes().as_slice());
        let queued = format!(
            "INSERT INTO jobs (photo, event, queued_at) SELECT seq, event, ?1 FROM photos
             WHERE (?2 IS NULL OR event = ?2) AND ?3 IS NOT NULL AND {condition}
             ON CONFLICT (photo) DO UPDATE SET run_after = 0, delays = 0, trouble = NULL, attempts = 0,
                 queued_at = excluded.queued_at
             WHERE jobs.lease IS NULL AND jobs.waiting = 0 RETURNING event"
        );
        let rows = query(sqlx::AssertSqlSafe(queued)).bind(now_ms()).bind(event).bind(ids).fetch_all(&mut tx).await?;
        query(
            "UPDATE photos SET state = 'received', reason = NULL
             WHERE state = 'failed' AND (?1 IS NULL OR event = ?1) AND seq IN (SELECT photo FROM jobs)",
        )
        .bind(event)
        .execute(&mut tx)
        .await?;
        let mut events = rows.iter().map(|row| id_column!(row, "event", EventId)).collect::<Result<Vec<_>>>()?;
        events.sort_unstable();
        events.dedup();
        for event in events {
            super::photos::bump(&mut tx, event).await?;
        }
        tx.commit().await?;
        Ok(rows.len() as u64)
    }

    /// Queues the photos whose faces were measured by another pack alone; how many. They come after all new ones.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn requeue_for(&self, pack: &str) -> Result<u64> {
        let queued = query(
            "INSERT INTO jobs (photo, event, queued_at) SELECT DISTINCT photo, event, ?1 FROM faces
             WHERE pack <> ?2 AND photo NOT IN (SELECT photo FROM faces WHERE pack = ?2)
             ON CONFLICT (photo) DO NOTHING",
        );
        Ok(queued.bind(now_ms()).bind(pack).execute(&self.writer).await?.rows_affected())
    }
}
