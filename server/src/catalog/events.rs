//! Events and the machines that may upload to them.

use findme_common::protocol::{EventChange, Policy, TokenItem, Until};
use findme_common::{Digest, EventId, JoinCode};
use subtle::ConstantTimeEq;

use super::audit::{self, Actor};
use super::db::{Row, query};
use super::{Catalog, CatalogError, Quota, Result, Scope, digest, id_column};
use crate::clock::{DAY_MS, now_ms, parse_rfc3339, rfc3339};
use crate::retention::LONGEST_DAYS;

/// One occasion.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// Its id.
    pub id: EventId,
    /// Name that people see.
    pub name: String,
    /// Guests join with it.
    pub join: JoinCode,
    /// Whether guests may be found by their faces.
    pub faces: bool,
    /// Whether guests may see all photos, not only their own.
    pub gallery_open: bool,
    /// When it was created.
    pub created_at: i64,
    /// When it was closed; it takes no photos since.
    pub closed_at: Option<i64>,
    /// When its faces are erased; `None`: not before it is deleted.
    pub faces_until: Option<i64>,
    /// When it is deleted; `None`: never by itself.
    pub photos_until: Option<i64>,
    /// When its faces were erased; none are found since.
    pub faces_erased_at: Option<i64>,
    /// When the operator stated that everyone was told.
    pub attested_at: Option<i64>,
}

/// Under which terms an event is held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Whether faces are looked for.
    pub(crate) policy: Policy,
    /// Version of the line that the operator agreed to.
    pub(crate) attested: Option<&'static str>,
    /// When the faces are erased, in milliseconds since the epoch.
    pub(crate) faces_until: Option<i64>,
    /// When the event is deleted, in milliseconds since the epoch.
    pub(crate) photos_until: Option<i64>,
}

/// The moment that somebody asked for: `None` when it is none, has passed or is further away than anything may be kept,
/// `Some(None)` for «never».
fn moment(until: &Until) -> Option<Option<i64>> {
    let now = now_ms();
    let at = match until {
        Until::Days(0) => return Some(None),
        Until::Days(days) => now + i64::from(*days) * DAY_MS,
        Until::At(text) => parse_rfc3339(text)?,
    };
    let latest = now + i64::from(LONGEST_DAYS) * DAY_MS;
    (now..=latest).contains(&at).then_some(Some(at))
}

/// Whether [`Catalog::change_event`] understands a change.
pub(crate) fn is_understood(change: &EventChange) -> bool {
    [&change.faces_until, &change.photos_until].into_iter().flatten().all(|until| moment(until).is_some())
}

/// A machine that holds a photographer token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Machine {
    /// Row of its token.
    pub token: i64,
    /// The event it may upload to.
    pub event: EventId,
    /// When it was last noted as used, in milliseconds since the epoch.
    pub last_seen: Option<i64>,
}

fn event_of(row: &Row) -> Result<Event> {
    Ok(Event {
        id: id_column!(row, "id", EventId)?,
        name: row.try_get("name")?,
        join: super::word(row, "join_code")?,
        faces: row.try_get::<String, _>("policy")? != "off",
        gallery_open: row.try_get("gallery_open")?,
        created_at: row.try_get("created_at")?,
        closed_at: row.try_get("closed_at")?,
        faces_until: row.try_get("faces_until")?,
        photos_until: row.try_get("photos_until")?,
        faces_erased_at: row.try_get("faces_erased_at")?,
        attested_at: row.try_get("attested_at")?,
    })
}

impl Catalog {
    #[cfg(test)]
    pub(crate) async fn create_event(&self, id: EventId, name: &str, join: &JoinCode) -> Result<()> {
        self.create_event_under(id, name, join, &Terms::default()).await
    }

    /// Creates an event.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn create_event_under(
        &self,
        id: EventId,
        name: &str,
        join: &JoinCode,
        terms: &Terms,
    ) -> Result<()> {
        let now = now_ms();
        query(
            "INSERT INTO events (id, name, join_code, created_at, policy, attested_text, attested_at, faces_until, photos_until)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(id.as_bytes().as_slice())
        .bind(name)
        .bind(join.as_str())
        .bind(now)
        .bind(terms.policy.as_str())
        .bind(terms.attested)
        .bind(terms.attested.map(|_| now))
        .bind(terms.faces_until)
        .bind(terms.photos_until)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// All events, newest first.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn events(&self) -> Result<Vec<Event>> {
        let rows = query("SELECT * FROM events ORDER BY created_at DESC").fetch_all(&self.readers).await?;
        rows.iter().map(event_of).collect()
    }

    /// One event.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn event(&self, id: EventId) -> Result<Option<Event>> {
        let row = query("SELECT * FROM events WHERE id = ?")
            .bind(id.as_bytes().as_slice())
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(event_of).transpose()
    }

    /// The event that a code belongs to.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn event_by_code(&self, code: &JoinCode) -> Result<Option<Event>> {
        let row = query("SELECT * FROM events WHERE join_code = ? AND deleting_at IS NULL")
            .bind(code.as_str())
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(event_of).transpose()
    }

    /// Gives a machine a token for an event; only the hash of its secret is kept.
    ///
    /// # Errors
    /// [`CatalogError::Gone`] when the event is being deleted; otherwise when the catalogue cannot be written.
    pub(crate) async fn create_token(&self, event: EventId, hash: &Digest, label: &str, quota: Quota) -> Result<()> {
        let sql = "INSERT INTO photographer_tokens (event, hash, label, created_at, max_uploads, max_bytes)
                   SELECT id, ?, ?, ?, ?, ? FROM events WHERE id = ? AND deleting_at IS NULL";
        let done = query(sql)
            .bind(hash.as_bytes().as_slice())
            .bind(label)
            .bind(now_ms())
            .bind(quota.uploads)
            .bind(quota.bytes)
            .bind(event.as_bytes().as_slice())
            .execute(&self.writer)
            .await?;
        if done.rows_affected() == 1 { Ok(()) } else { Err(CatalogError::Gone) }
    }

    /// The machine that a token belongs to; `None` when it is unknown or revoked.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn machine(&self, event: EventId, hash: &Digest) -> Result<Option<Machine>> {
        let rows = query(
            "SELECT t.id, hash, last_seen FROM photographer_tokens t JOIN events e ON e.id = t.event
                 WHERE t.event = ? AND revoked_at IS NULL AND deleting_at IS NULL",
        )
        .bind(event.as_bytes().as_slice())
        .fetch_all(&self.readers)
        .await?;
        let mut found = None;
        for row in &rows {
            // Every row is compared, and each in constant time.
            if bool::from(digest(row.try_get("hash")?)?.as_bytes().ct_eq(hash.as_bytes())) {
                found = Some(Machine { token: row.try_get("id")?, event, last_seen: row.try_get("last_seen")? });
            }
        }
        Ok(found)
    }

    /// A number that changes whenever a list of the event may have changed.
    ///
    /// # Errors
    /// When the catalogue cannot be read or the event is gone.
    pub(crate) async fn version(&self, event: EventId) -> Result<i64> {
        let row = query("SELECT version FROM events WHERE id = ?")
            .bind(event.as_bytes().as_slice())
            .fetch_optional(&self.readers)
            .await?;
        row.map_or(Err(CatalogError::Gone), |row| Ok(row.try_get(0)?))
    }

    /// Changes what an operator may change about an event (see [`is_understood`]); whether there is such an event, and it
    /// is not being deleted. Who switches faces on states `attested`.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn change_event(
        &self,
        id: EventId,
        change: &EventChange,
        attested: Option<&'static str>,
    ) -> Result<bool> {
        let until = |asked: &Option<Until>| asked.as_ref().and_then(moment);
        let (faces_until, photos_until) = (until(&change.faces_until), until(&change.photos_until));
        let mut tx = self.begin(Scope::Event(id)).await?;
        let done = query(
            "UPDATE events SET
                 name = COALESCE(?, name),
                 gallery_open = COALESCE(?, gallery_open),
                 policy = CASE ? WHEN 1 THEN 'attested' WHEN 0 THEN 'off' ELSE policy END,
                 attested_text = COALESCE(?, attested_text),
                 attested_at = CASE WHEN ? IS NULL THEN attested_at ELSE ? END,
                 closed_at = CASE ? WHEN 1 THEN COALESCE(closed_at, ?) WHEN 0 THEN NULL ELSE closed_at END,
                 faces_until = CASE ? WHEN 1 THEN ? ELSE faces_until END,
                 photos_until = CASE ? WHEN 1 THEN ? ELSE photos_until END,
                 version = version + 1
             WHERE id = ? AND deleting_at IS NULL",
        )
        .bind(change.name.as_deref())
        .bind(change.gallery_open)
        .bind(change.faces)
        .bind(attested)
        .bind(attested)
        .bind(now_ms())
        .bind(change.closed)
        .bind(now_ms())
        .bind(faces_until.is_some())
        .bind(faces_until.flatten())
        .bind(photos_until.is_some())
        .bind(photos_until.flatten())
        .bind(id.as_bytes().as_slice())
        .execute(&mut tx)
        .await?;
        if change.gallery_open == Some(false) {
            // What all guests were told while they saw all photos is not told to them again.
            query("UPDATE live SET private = 1 WHERE event = ? AND guest IS NULL")
                .bind(id.as_bytes().as_slice())
                .execute(&mut tx)
                .await?;
        }
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// Deletes an event with its uploads, photos, jobs, faces, guests and log; whether there was one. Key and files are
    /// the caller's to remove, the key first.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn delete_event(&self, id: EventId, actor: Actor) -> Result<bool> {
        let mut tx = self.begin(Scope::Event(id)).await?;
        let photos: i64 = query("SELECT COUNT(*) FROM photos WHERE event = ?")
            .bind(id.as_bytes().as_slice())
            .fetch_one(&mut tx)
            .await?
            .try_get(0)?;
        let delete = query("DELETE FROM events WHERE id = ?").bind(id.as_bytes().as_slice());
        let there = delete.execute(&mut tx).await?.rows_affected() == 1;
        if there {
            audit::record(&mut tx, id, actor, "event-deleted", photos as u64).await?;
        }
        tx.commit().await?;
        self.truncate_log().await?;
        Ok(there)
    }

    /// Tokens of an event, oldest first.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn tokens(&self, event: EventId) -> Result<Vec<TokenItem>> {
        let rows = query("SELECT * FROM photographer_tokens WHERE event = ? ORDER BY id")
            .bind(event.as_bytes().as_slice())
            .fetch_all(&self.readers)
            .await?;
        let item = |row: &Row| {
            Ok(TokenItem {
                id: row.try_get("id")?,
                label: row.try_get("label")?,
                created_at: rfc3339(row.try_get("created_at")?),
                last_seen: row.try_get::<Option<i64>, _>("last_seen")?.map(rfc3339),
                revoked_at: row.try_get::<Option<i64>, _>("revoked_at")?.map(rfc3339),
            })
        };
        rows.iter().map(item).collect()
    }

    /// Revokes a token; whether it was valid until now.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn revoke_token(&self, event: EventId, token: i64) -> Result<bool> {
        let sql = "UPDATE photographer_tokens SET revoked_at = ? WHERE event = ? AND id = ? AND revoked_at IS NULL";
        let query = query(sql).bind(now_ms()).bind(event.as_bytes().as_slice()).bind(token);
        Ok(query.execute(&self.writer).await?.rows_affected() == 1)
    }

    /// Notes that a token was used.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn saw_token(&self, token: i64) -> Result<()> {
        let query = query("UPDATE photographer_tokens SET last_seen = ? WHERE id = ?").bind(now_ms()).bind(token);
        query.execute(&self.writer).await?;
        Ok(())
    }
}
