//! What was erased, by whom and how much: no names, no faces, nothing that could keep something alive.

use findme_common::EventId;
use findme_common::protocol::{AuditEntry, AuditList, EventSize};

use super::db::{Row, Tx, query};
use super::{Catalog, Result, id_column};
use crate::clock::{now_ms, rfc3339};

/// Who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Actor {
    /// Whoever runs the server.
    Operator,
    /// A machine that uploads.
    Photographer,
    /// A guest.
    Guest,
    /// The server itself, because the time had come.
    Server,
}

impl Actor {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Photographer => "photographer",
            Self::Guest => "guest",
            Self::Server => "server",
        }
    }
}

/// Writes down an erasure in its own transaction.
pub(super) async fn record(tx: &mut Tx, event: EventId, actor: Actor, action: &'static str, count: u64) -> Result<()> {
    query("INSERT INTO audit (at, event, actor, action, count) VALUES (?, ?, ?, ?, ?)")
        .bind(now_ms())
        .bind(event.as_bytes().as_slice())
        .bind(actor.as_str())
        .bind(action)
        .bind(count as i64)
        .execute(&mut *tx)
        .await?;
    Ok(())
}

impl Catalog {
    /// One page of the log, newest first: what comes before `after`.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn audit(&self, after: Option<i64>, limit: u32) -> Result<AuditList> {
        let rows = query(
            "SELECT a.id AS number, a.at, a.event, e.name, a.actor, a.action, a.count FROM audit a
             LEFT JOIN events e ON e.id = a.event WHERE a.id < ? ORDER BY a.id DESC LIMIT ?",
        )
        .bind(after.unwrap_or(i64::MAX))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        let next = match rows.last() {
            Some(last) if rows.len() == limit as usize => Some(last.try_get::<i64, _>("number")?.to_string()),
            _ => None,
        };
        let entries = rows.iter().map(|row| {
            Ok(AuditEntry {
                at: rfc3339(row.try_get("at")?),
                event: id_column!(row, "event", EventId)?,
                name: row.try_get("name")?,
                actor: row.try_get("actor")?,
                action: row.try_get("action")?,
                count: u64::try_from(row.try_get::<i64, _>("count")?).unwrap_or(0),
            })
        });
        Ok(AuditList { entries: entries.collect::<Result<_>>()?, next })
    }

    /// What each event takes, the largest first. Reads every row of every photo: for people who look now and then.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn sizes(&self) -> Result<Vec<EventSize>> {
        let rows = query(
            "SELECT id, name,
                 (SELECT COUNT(*) FROM photos p WHERE p.event = e.id) AS photos,
                 (SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM photos p WHERE p.event = e.id) AS bytes,
                 (SELECT COUNT(*) FROM faces f WHERE f.event = e.id) AS faces,
                 (SELECT COUNT(*) FROM suppressions s WHERE s.event = e.id AND s.state = 'held') AS held
             FROM events e WHERE deleting_at IS NULL ORDER BY bytes DESC",
        )
        .fetch_all(&self.readers)
        .await?;
        let number =
            |row: &Row, column: &str| -> Result<u64> { Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0)) };
        rows.iter()
            .map(|row| {
                Ok(EventSize {
                    event: id_column!(row, "id", EventId)?,
                    name: row.try_get("name")?,
                    photos: number(row, "photos")?,
                    bytes: number(row, "bytes")?,
                    faces: number(row, "faces")?,
                    suppressions_held: number(row, "held")?,
                })
            })
            .collect()
    }
}
