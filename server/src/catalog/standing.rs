//! Whether somebody who was let in may stay: sessions and tokens end, events close and go, whoever does it.

use findme_common::GuestId;

use super::db::query;
use super::guests::SESSION_MS;
use super::{Catalog, Result};
use crate::clock::now_ms;

/// Somebody with an open stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Listens {
    /// A machine, by the row of its token.
    Machine(i64),
    /// A guest.
    Guest(GuestId),
}

/// What somebody was let in under. When it differs from before, they have to ask anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    closed: bool,
    gallery_open: bool,
    /// Grows when the guest erases themselves, or ends their link back.
    ended_at: Option<i64>,
}

impl Catalog {
    /// A number that grows whenever somebody may have lost their standing, by whichever process. The schema's triggers
    /// count, so that nobody who revokes, erases, closes or deletes has to think of it.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn standing(&self) -> Result<i64> {
        Ok(query("SELECT changes FROM standing").fetch_one(&self.readers).await?.try_get(0)?)
    }

    /// What somebody is let in under now; `None` when they are not any more.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn standing_of(&self, who: Listens) -> Result<Option<Standing>> {
        let row = match who {
            Listens::Machine(token) => query(
                "SELECT closed_at IS NOT NULL AS closed, gallery_open, CAST(NULL AS BIGINT) AS ended_at
                 FROM photographer_tokens t JOIN events e ON e.id = t.event
                 WHERE t.id = ? AND revoked_at IS NULL AND deleting_at IS NULL",
            )
            .bind(token),
            Listens::Guest(guest) => query(
                "SELECT closed_at IS NOT NULL AS closed, gallery_open, COALESCE(erased_at, 0) + COALESCE(link_ended_at, 0) AS ended_at
                 FROM guests g JOIN events e ON e.id = g.event
                 WHERE g.id = ? AND deleting_at IS NULL AND g.created_at > ?",
            )
            .bind(guest.as_bytes().to_vec())
            .bind(now_ms() - SESSION_MS),
        };
        let Some(row) = row.fetch_optional(&self.readers).await? else { return Ok(None) };
        Ok(Some(Standing {
            closed: row.try_get("closed")?,
            gallery_open: row.try_get("gallery_open")?,
            ended_at: row.try_get("ended_at")?,
        }))
    }
}
