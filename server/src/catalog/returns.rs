//! Coming back without a password: a link that only its guest was shown, and the browsers that came by it. Kept as
//! hashes; ended by the guest, by erasing themselves, and with the guest.

use findme_common::{Digest, EventId, GuestId};

use super::db::{Tx, query};
use super::{Catalog, Guest, Result, SESSION_MS, Scope, id_column};
use crate::clock::now_ms;

/// Browsers that one link lets in; the one that came first goes when there is another.
const MOST_BROWSERS: i64 = 10;

impl Catalog {
    /// Puts a new link in the place of a guest's earlier one, which ends.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn set_return_link(&self, guest: GuestId, hash: &Digest) -> Result<()> {
        let mut tx = self.begin(Scope::EventOf(guest)).await?;
        end_link(&mut tx, guest).await?;
        query("INSERT INTO return_links (guest, hash, created_at) VALUES (?, ?, ?)")
            .bind(guest.as_bytes().as_slice())
            .bind(hash.as_bytes().as_slice())
            .bind(now_ms())
            .execute(&mut tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Whether a guest has a link back.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn has_return_link(&self, guest: GuestId) -> Result<bool> {
        let found = query("SELECT 1 FROM return_links WHERE guest = ?").bind(guest.as_bytes().as_slice());
        Ok(found.fetch_optional(&self.readers).await?.is_some())
    }

    /// Ends a guest's link, and the sessions of those who came by it; whether there was one.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn end_return_link(&self, guest: GuestId) -> Result<bool> {
        let mut tx = self.begin(Scope::EventOf(guest)).await?;
        let ended = end_link(&mut tx, guest).await?;
        tx.commit().await?;
        Ok(ended)
    }

    /// A session for a browser that came by a link; `None` when the link leads nowhere.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn come_back(&self, link: &Digest, session: &Digest) -> Result<Option<Guest>> {
        // The same rules as for the first session: its time, and an event that stays.
        let found = query(
            "SELECT g.id, g.event, g.created_at FROM return_links l
             JOIN guests g ON g.id = l.guest JOIN events e ON e.id = g.event
             WHERE l.hash = ? AND g.created_at > ? AND deleting_at IS NULL",
        )
        .bind(link.as_bytes().as_slice())
        .bind(now_ms() - SESSION_MS)
        .fetch_optional(&self.readers)
        .await?;
        let Some(row) = found else { return Ok(None) };
        let guest = Guest {
            id: id_column!(&row, "id", GuestId)?,
            event: id_column!(&row, "event", EventId)?,
            joined_at: row.try_get("created_at")?,
        };
        let mut tx = self.begin(Scope::EventOf(guest.id)).await?;
        let done = query(
            "INSERT INTO return_sessions (session, guest, created_at)
             SELECT ?, guest, ? FROM return_links WHERE hash = ?",
        )
        .bind(session.as_bytes().as_slice())
        .bind(now_ms())
        .bind(link.as_bytes().as_slice())
        .execute(&mut tx)
        .await?;
        query(
            "DELETE FROM return_sessions WHERE guest = ?1 AND session NOT IN
             (SELECT session FROM return_sessions WHERE guest = ?1 ORDER BY created_at DESC LIMIT ?2)",
        )
        .bind(guest.id.as_bytes().as_slice())
        .bind(MOST_BROWSERS)
        .execute(&mut tx)
        .await?;
        tx.commit().await?;
        Ok((done.rows_affected() == 1).then_some(guest))
    }
}

/// Ends a link in this transaction; whether there was one.
pub(super) async fn end_link(tx: &mut Tx, guest: GuestId) -> Result<bool> {
    let id = guest.as_bytes().as_slice();
    query("DELETE FROM return_sessions WHERE guest = ?").bind(id).execute(&mut *tx).await?;
    let done = query("DELETE FROM return_links WHERE guest = ?").bind(id).execute(&mut *tx).await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    query("UPDATE guests SET link_ended_at = ? WHERE id = ?").bind(now_ms()).bind(id).execute(&mut *tx).await?;
    query("UPDATE standing SET changes = changes + 1").execute(&mut *tx).await?;
    Ok(true)
}
