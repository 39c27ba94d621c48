//! The live log: what happened, in order, durable. Entries are written in the transaction of what they tell about, so
//! that a listener who replays from an id misses nothing and hears of nothing that did not happen.

#[cfg(feature = "postgres")]
use std::collections::HashMap;

use findme_common::protocol::LiveKind;
use findme_common::{EventId, GuestId, PhotoId};

use super::db::{Pool, Row, Tx, query};
use super::{Catalog, CatalogError, Result, id_column};
use crate::clock::now_ms;

/// Entries that are read at once.
const BATCH: u32 = 500;

/// One entry of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LiveEntry {
    /// Grows over all events of the server; told to nobody.
    pub(crate) seq: i64,
    /// Its id in its event: what listeners are told, so that they learn nothing of other events.
    pub(crate) number: i64,
    /// The event it happened in.
    pub(crate) event: EventId,
    /// What happened.
    pub(crate) kind: LiveKind,
    /// To which photo.
    pub(crate) photo: PhotoId,
    /// For whom.
    pub(crate) audience: Audience,
}

/// Who hears of something. Settled when it is written, so that replaying the log tells nobody more than was meant, and
/// an open connection costs no question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// The photographers and every guest of the event.
    Everyone,
    /// The photographers alone: photos that guests may not see, and what only concerns them.
    Photographers,
    /// One guest alone.
    Guest(GuestId),
}

impl Audience {
    /// Who hears about a photo that is, or was, to be seen or not: the guests only where they may see all photos.
    pub(super) async fn of_photo(tx: &mut Tx, event: EventId, shown: bool) -> Result<Self> {
        if !shown {
            return Ok(Self::Photographers);
        }
        let open = query("SELECT 1 FROM events WHERE id = ? AND gallery_open = 1")
            .bind(event.as_bytes().as_slice())
            .fetch_optional(&mut *tx)
            .await?;
        Ok(if open.is_some() { Self::Everyone } else { Self::Photographers })
    }
}

pub(super) async fn append(
    tx: &mut Tx,
    event: EventId,
    kind: LiveKind,
    photo: PhotoId,
    audience: Audience,
) -> Result<()> {
    let guest = match audience {
        Audience::Guest(guest) => Some(guest),
        Audience::Everyone | Audience::Photographers => None,
    };
    let number = query("UPDATE events SET live_end = live_end + 1 WHERE id = ? RETURNING live_end")
        .bind(event.as_bytes().as_slice())
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(CatalogError::Gone)?
        .try_get::<i64, _>(0)?;
    query("INSERT INTO live (event, number, kind, photo, guest, private, at) VALUES (?, ?, ?, ?, ?, ?, ?)")
        .bind(event.as_bytes().as_slice())
        .bind(number)
        .bind(kind.as_str())
        .bind(photo.as_bytes().as_slice())
        .bind(guest.as_ref().map(|guest| guest.as_bytes().as_slice()))
        .bind(audience == Audience::Photographers)
        .bind(now_ms())
        .execute(&mut *tx)
        .await?;
    Ok(())
}

/// Tells a guest that they are (or may be) in a photo, unless they know already: a photo may be indexed again. Whether
/// they were told.
pub(super) async fn tell_once(
    tx: &mut Tx,
    event: EventId,
    kind: LiveKind,
    photo: PhotoId,
    guest: GuestId,
) -> Result<bool> {
    // Who was told «you» knows more than «maybe»; who said «not me» is not asked again.
    let told = query(
        "SELECT 1 FROM live WHERE event = ?1 AND photo = ?2 AND guest = ?3 AND kind IN ('you', ?4)
         UNION ALL SELECT 1 FROM verdicts JOIN photos ON photos.seq = verdicts.photo
         WHERE event = ?1 AND id = ?2 AND guest = ?3 AND mine = 0",
    )
    .bind(event.as_bytes().as_slice())
    .bind(photo.as_bytes().as_slice())
    .bind(guest.as_bytes().as_slice())
    .bind(kind.as_str())
    .fetch_optional(&mut *tx)
    .await?
    .is_some();
    if !told {
        append(tx, event, kind, photo, Audience::Guest(guest)).await?;
    }
    Ok(!told)
}

fn entry(row: &Row) -> Result<LiveEntry> {
    let kind = LiveKind::of_word(row.try_get("kind")?).ok_or(CatalogError::Damaged("an unknown kind of live entry"))?;
    let audience = match row.try_get::<Option<Vec<u8>>, _>("guest")? {
        Some(_) => Audience::Guest(id_column!(row, "guest", GuestId)?),
        None if row.try_get("private")? => Audience::Photographers,
        None => Audience::Everyone,
    };
    Ok(LiveEntry {
        seq: row.try_get("seq")?,
        number: row.try_get("number")?,
        event: id_column!(row, "event", EventId)?,
        kind,
        photo: id_column!(row, "photo", PhotoId)?,
        audience,
    })
}

/// How far the log of all events was read.
#[derive(Debug, Clone)]
pub(crate) enum LiveTail {
    /// SQLite has one writer: entries can be seen in the order of their places.
    Place(i64),
    /// With many writers that is so only within an event: the last number of each.
    #[cfg(feature = "postgres")]
    Numbers(HashMap<EventId, i64>),
}

impl Catalog {
    /// The end of the log of all events, as it is now.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn live_tail(&self) -> Result<LiveTail> {
        match &self.readers {
            Pool::Sqlite(_) => Ok(LiveTail::Place(self.live_end().await?)),
            #[cfg(feature = "postgres")]
            Pool::Postgres(_) => Ok(LiveTail::Numbers(self.live_ends().await?.into_iter().collect())),
        }
    }

    /// Entries of all events behind `tail`, some hundreds at once, and where the tail is behind them. None: that is all.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn live_more(&self, tail: &LiveTail) -> Result<(Vec<LiveEntry>, LiveTail)> {
        match tail {
            LiveTail::Place(after) => {
                let entries = self.live_after(*after, BATCH).await?;
                let last = entries.last().map_or(*after, |entry| entry.seq);
                Ok((entries, LiveTail::Place(last)))
            }
            #[cfg(feature = "postgres")]
            LiveTail::Numbers(known) => self.live_more_by_event(known.clone()).await,
        }
    }

    #[cfg(feature = "postgres")]
    async fn live_ends(&self) -> Result<Vec<(EventId, i64)>> {
        let rows = query("SELECT id, live_end FROM events").fetch_all(&self.readers).await?;
        rows.iter().map(|row| Ok((id_column!(row, "id", EventId)?, row.try_get("live_end")?))).collect()
    }

    #[cfg(feature = "postgres")]
    async fn live_more_by_event(&self, mut known: HashMap<EventId, i64>) -> Result<(Vec<LiveEntry>, LiveTail)> {
        let mut all = Vec::new();
        for (event, end) in self.live_ends().await? {
            let last = known.entry(event).or_default();
            while *last < end && all.len() < BATCH as usize {
                let entries = self.live_of_event_after(event, *last, BATCH).await?;
                // What is missing before the end was erased. What came behind it since is read already.
                let whole = entries.len() < BATCH as usize;
                let newest = entries.last().map_or(*last, |entry| entry.number);
                *last = if whole { newest.max(end) } else { newest };
                all.extend(entries);
            }
        }
        Ok((all, LiveTail::Numbers(known)))
    }

    /// Place of the newest entry that was ever written, over all events.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn live_end(&self) -> Result<i64> {
        // The newest row may have been erased since it was told; its place is not given again.
        let sql = match &self.readers {
            Pool::Sqlite(_) => "SELECT seq FROM sqlite_sequence WHERE name = 'live'",
            #[cfg(feature = "postgres")]
            Pool::Postgres(_) => "SELECT MAX(seq) FROM live HAVING COUNT(*) > 0",
        };
        query(sql).fetch_optional(&self.readers).await?.map_or(Ok(0), |row| Ok(row.try_get(0)?))
    }

    /// Entries of all events behind the place `after`, oldest first, `limit` at most.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn live_after(&self, after: i64, limit: u32) -> Result<Vec<LiveEntry>> {
        let rows = query("SELECT * FROM live WHERE seq > ? ORDER BY seq LIMIT ?").bind(after).bind(i64::from(limit));
        rows.fetch_all(&self.readers).await?.iter().map(entry).collect()
    }

    /// Entries of one event after the number `after`, oldest first, `limit` at most.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn live_of_event_after(&self, event: EventId, after: i64, limit: u32) -> Result<Vec<LiveEntry>> {
        let rows = query("SELECT * FROM live WHERE event = ? AND number > ? ORDER BY number LIMIT ?")
            .bind(event.as_bytes().as_slice())
            .bind(after)
            .bind(i64::from(limit));
        rows.fetch_all(&self.readers).await?.iter().map(entry).collect()
    }
}
