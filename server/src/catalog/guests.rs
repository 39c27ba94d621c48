//! Guests: a session, recorded consents, enrolments. Everything about a guest hangs on one row and goes with it.

use findme_common::protocol::Consent;
use findme_common::{Digest, EventId, GuestId};

use super::audit::{self, Actor};
use super::db::{Tx, query};
use super::{Catalog, CatalogError, Result, Scope, id_column};
use crate::clock::{DAY_MS, now_ms, rfc3339};

/// How long a session lasts, in milliseconds: 90 days, as its cookie.
pub(crate) const SESSION_MS: i64 = 90 * DAY_MS;

/// A guest of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Guest {
    /// Known only by this.
    pub id: GuestId,
    /// The event they joined.
    pub event: EventId,
    /// When, in milliseconds since the epoch.
    pub joined_at: i64,
}

/// What a guest agrees to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be found.
    Search,
    /// Never to be found.
    Never,
}

impl Purpose {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::Never => "never",
        }
    }
}

/// A face vector of some guest of an event, sealed.
#[derive(Debug, Clone)]
pub(crate) struct GuestEnrolment {
    /// Whose it is.
    pub(crate) guest: GuestId,
    /// Whether it comes from a photo that they said they are in, not from a selfie.
    pub(crate) confirmed: bool,
    /// The sealed vector.
    pub(crate) vector: Vec<u8>,
}

/// All enrolments of an event that `pack` made, as they stand in this transaction.
pub(super) async fn enrolments_of_event(tx: &mut Tx, event: EventId, pack: &str) -> Result<Vec<GuestEnrolment>> {
    let rows = query(
        "SELECT guest, vector, photo IS NOT NULL AS confirmed FROM enrolments JOIN guests ON guests.id = guest WHERE event = ? AND pack = ?",
    )
    .bind(event.as_bytes().as_slice())
    .bind(pack)
    .fetch_all(&mut *tx)
    .await?;
    rows.iter()
        .map(|row| {
            let (vector, confirmed) = (row.try_get("vector")?, row.try_get("confirmed")?);
            Ok(GuestEnrolment { guest: id_column!(row, "guest", GuestId)?, confirmed, vector })
        })
        .collect()
}

/// A guest's face vector, sealed.
#[derive(Debug, Clone)]
pub(crate) struct StoredEnrolment {
    /// Pack that made the vector.
    pub pack: String,
    /// Which person of the session: 0 is the guest.
    pub person: u8,
    /// Whether it comes from a photo that they said they are in, not from a selfie.
    pub confirmed: bool,
    /// The sealed vector; a reference where an engine elsewhere compares.
    pub vector: Vec<u8>,
    /// Up to which face an engine elsewhere searched for it.
    pub searched_to: i64,
}

impl Catalog {
    /// A new guest with a session, of which only the hash is kept.
    ///
    /// # Errors
    /// [`CatalogError::Gone`] when the event is being deleted; otherwise when the catalogue cannot be written.
    pub(crate) async fn create_guest(&self, id: GuestId, event: EventId, session: &Digest) -> Result<()> {
        let sql = "INSERT INTO guests (id, event, session, created_at)
                   SELECT ?, id, ?, ? FROM events WHERE id = ? AND deleting_at IS NULL";
        let done = query(sql)
            .bind(id.as_bytes().as_slice())
            .bind(session.as_bytes().as_slice())
            .bind(now_ms())
            .bind(event.as_bytes().as_slice())
            .execute(&self.writer)
            .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(CatalogError::Gone) }
    }

    /// The guest of a session that has not run out, of an event that stays. Looked up by the hash of 256 random bits: timing tells nothing about them.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(super) async fn guest_of(&self, session: &Digest) -> Result<Option<Guest>> {
        let sql = "SELECT g.id, g.event, g.created_at FROM guests g JOIN events e ON e.id = g.event
                   WHERE (session = ? OR g.id = (SELECT guest FROM return_sessions r WHERE r.session = ?))
                   AND g.created_at > ? AND deleting_at IS NULL";
        let row = query(sql)
            .bind(session.as_bytes().as_slice())
            .bind(session.as_bytes().as_slice())
            .bind(now_ms() - SESSION_MS)
            .fetch_optional(&self.readers)
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Guest {
            id: id_column!(&row, "id", GuestId)?,
            event: id_column!(&row, "event", EventId)?,
            joined_at: row.try_get("created_at")?,
        }))
    }

    /// As if all guests had joined so much earlier.
    #[cfg(test)]
    pub(crate) async fn age_guests(&self, by_ms: i64) -> Result<()> {
        query("UPDATE guests SET created_at = created_at - ?").bind(by_ms).execute(&self.writer).await?;
        Ok(())
    }

    #[cfg(test)]
    pub(crate) async fn record_consent(&self, guest: GuestId, text: &str, language: &str) -> Result<()> {
        self.record_consent_to(Purpose::Search, guest, text, language).await
    }

    /// Records that a guest agreed to a text: once, with the first time and its language.
    ///
    /// # Errors
    /// When the catalogue cannot be written; then no face may be processed.
    pub(crate) async fn record_consent_to(
        &self,
        purpose: Purpose,
        guest: GuestId,
        text: &str,
        language: &str,
    ) -> Result<()> {
        let sql = "INSERT INTO consents (guest, text, language, given_at, purpose) VALUES (?, ?, ?, ?, ?)
                   ON CONFLICT (guest, purpose, text) DO NOTHING";
        query(sql)
            .bind(guest.as_bytes().as_slice())
            .bind(text)
            .bind(language)
            .bind(now_ms())
            .bind(purpose.as_str())
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Consents of a guest, newest first.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn consents(&self, guest: GuestId) -> Result<Vec<Consent>> {
        let rows = query("SELECT text, language, given_at FROM consents WHERE guest = ? ORDER BY id DESC")
            .bind(guest.as_bytes().as_slice())
            .fetch_all(&self.readers)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Consent {
                    text: row.try_get("text")?,
                    language: row.try_get("language")?,
                    given_at: rfc3339(row.try_get("given_at")?),
                })
            })
            .collect()
    }

    /// Puts this enrolment in the place of the person's earlier ones, also of those that they confirmed: a new selfie
    /// replaces the old. `false` when the guest was erased meanwhile and nothing was stored.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn enrol(&self, guest: GuestId, person: u8, pack: &str, vector: &[u8]) -> Result<bool> {
        let mut tx = self.begin(Scope::EventOf(guest)).await?;
        // The selfie was computed while no lock was held: an erasure that came in between must win.
        let consented = query(
            "SELECT 1 FROM consents JOIN guests ON guests.id = guest JOIN events ON events.id = event
             WHERE guest = ? AND purpose = 'search' AND policy <> 'off' LIMIT 1",
        )
        .bind(guest.as_bytes().as_slice())
        .fetch_optional(&mut tx)
        .await?;
        if consented.is_none() {
            return Ok(false);
        }
        query("DELETE FROM enrolments WHERE guest = ? AND person = ?")
            .bind(guest.as_bytes().as_slice())
            .bind(person)
            .execute(&mut tx)
            .await?;
        query("INSERT INTO enrolments (guest, person, pack, vector, created_at) VALUES (?, ?, ?, ?, ?)")
            .bind(guest.as_bytes().as_slice())
            .bind(person)
            .bind(pack)
            .bind(vector)
            .bind(now_ms())
            .execute(&mut tx)
            .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Enrolments of a guest.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn enrolments(&self, guest: GuestId) -> Result<Vec<StoredEnrolment>> {
        let rows = query(
            "SELECT pack, person, photo IS NOT NULL AS confirmed, vector, searched_to FROM enrolments WHERE guest = ? ORDER BY id",
        )
        .bind(guest.as_bytes().as_slice())
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(StoredEnrolment {
                    pack: row.try_get("pack")?,
                    person: row.try_get("person")?,
                    confirmed: row.try_get("confirmed")?,
                    vector: row.try_get("vector")?,
                    searched_to: row.try_get("searched_to")?,
                })
            })
            .collect()
    }

    /// Erases what is held about a guest's face: (vectors, consents) that were there. The link back ends with it; the
    /// session stays.
    ///
    /// # Errors
    /// When the catalogue cannot be written; then nothing is erased.
    pub(crate) async fn erase_guest(&self, guest: GuestId) -> Result<(u64, u64)> {
        let mut tx = self.begin(Scope::EventOf(guest)).await?;
        super::returns::end_link(&mut tx, guest).await?;
        let vectors =
            query("DELETE FROM enrolments WHERE guest = ?").bind(guest.as_bytes().as_slice()).execute(&mut tx).await?;
        query("DELETE FROM verdicts WHERE guest = ?").bind(guest.as_bytes().as_slice()).execute(&mut tx).await?;
        query("DELETE FROM live WHERE guest = ?").bind(guest.as_bytes().as_slice()).execute(&mut tx).await?;
        let consents =
            query("DELETE FROM consents WHERE guest = ?").bind(guest.as_bytes().as_slice()).execute(&mut tx).await?;
        // Ends open streams, in which copies of what was erased may be on their way.
        let event = query("UPDATE guests SET erased_at = ? WHERE id = ? RETURNING event")
            .bind(now_ms())
            .bind(guest.as_bytes().as_slice())
            .fetch_optional(&mut tx)
            .await?;
        if let Some(row) = event {
            let event = id_column!(&row, "event", EventId)?;
            audit::record(&mut tx, event, Actor::Guest, "guest-erased", vectors.rows_affected()).await?;
        }
        tx.commit().await?;
        self.truncate_log().await?;
        Ok((vectors.rows_affected(), consents.rows_affected()))
    }
}
