//! What was erased, by whom and how much: no names, no faces, nothing that could keep something alive.

use findme_common::EventId;

use super::Result;
use super::db::{Tx, query};
use crate::clock::now_ms;

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
