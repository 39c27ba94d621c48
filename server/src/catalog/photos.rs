//! Photos and the lists of them: keyset by order of acceptance, never an offset, never a picture byte.

use std::collections::HashSet;

use findme_common::protocol::{Counts, Name, PhotoItem, PhotoState, Visibility};
use findme_common::{Digest, EventId, PhotoId};

use super::db::{Row, Tx, query};
use super::{Catalog, CatalogError, Result, digest, id_column};
use crate::picture::location::Patches;

/// Who looks at a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum PhotoFilter {
    /// The photographer: everything that was accepted.
    All,
    /// A guest: what can be shown and may be shown.
    Shown,
}

/// One page of a list.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Newest acceptance first.
    pub photos: Vec<PhotoItem>,
    /// Key of the next page.
    pub next: Option<i64>,
}

/// What serving a photo's bytes needs.
#[derive(Debug, Clone)]
pub(crate) struct Photo {
    /// Name for people.
    pub name: String,
    /// Digest of the original, once it is there.
    pub digest: Option<Digest>,
    /// Whether the derivatives are there.
    pub ready: bool,
    /// Media type of the original, once it was decoded.
    pub media: Option<String>,
    /// What of the original is not for guests; `None` when it was not looked for yet.
    pub private: Option<Patches>,
    /// Whether guests may see it.
    pub shown: bool,
    /// Whether nobody has hidden, held or reported it: guests may see it once it is ready, unless another version is.
    pub unhidden: bool,
    /// Whether guests may see also photos that they are not in.
    pub gallery_open: bool,
}

impl Photo {
    /// Whether it may be remembered: a crafted file can have thousands of private ranges.
    pub(super) fn is_light(&self) -> bool {
        self.name.len() <= 1024 && self.private.as_ref().is_none_or(|private| private.len() <= 64)
    }
}

/// What sending an original in an archive needs.
#[derive(Debug, Clone)]
pub(crate) struct Original {
    /// The photo.
    pub(crate) id: PhotoId,
    /// Name for people.
    pub(crate) name: String,
    /// Length of the file.
    pub(crate) bytes: u64,
    /// Capture time as the camera wrote it.
    pub(crate) taken_at: Option<String>,
    /// What of it is not for guests; `None` when it was not looked for yet.
    pub(crate) private: Option<Patches>,
}

/// Guests see what has derivatives, is neither held, reported nor hidden, and is the version of its shot that stands for
/// the others (see [`super::versions`]).
pub(super) const SHOWN: &str = "width IS NOT NULL AND visibility = 'shown' AND NOT EXISTS (
    SELECT 1 FROM versions v JOIN versions w ON w.event = v.event AND w.shot = v.shot AND w.photo <> v.photo
    JOIN photos q ON q.event = w.event AND q.id = w.photo
    WHERE v.event = photos.event AND v.photo = photos.id AND (q.visibility = 'reported'
        OR q.width IS NOT NULL AND q.visibility = 'shown' AND (q.state = 'indexed', w.rank) > (photos.state = 'indexed', v.rank)))";

/// The version of the same shot that stands for a photo.
const REPLACED_BY: &str = "(SELECT w.photo FROM versions v
    JOIN versions w ON w.event = v.event AND w.shot = v.shot AND w.photo <> v.photo
    JOIN photos q ON q.event = w.event AND q.id = w.photo
    WHERE v.event = photos.event AND v.photo = photos.id AND q.width IS NOT NULL AND q.visibility = 'shown'
        AND (q.state = 'indexed', w.rank) > (photos.state = 'indexed', v.rank)
    ORDER BY q.state = 'indexed' DESC, w.rank DESC LIMIT 1)";

/// Grows the event's version: every list may have changed.
pub(super) async fn bump(tx: &mut Tx, event: EventId) -> Result<()> {
    query("UPDATE events SET version = version + 1 WHERE id = ?")
        .bind(event.as_bytes().as_slice())
        .execute(&mut *tx)
        .await?;
    Ok(())
}

/// Whether guests may see a photo, in this transaction.
pub(super) async fn is_shown(tx: &mut Tx, seq: i64) -> Result<bool> {
    let sql = format!("SELECT 1 FROM photos WHERE seq = ? AND {SHOWN}");
    Ok(query(sqlx::AssertSqlSafe(sql)).bind(seq).fetch_optional(&mut *tx).await?.is_some())
}

/// One statement for any number of ids: SQLite's table-valued json_each avoids a list of placeholders.
pub(super) fn listed(ids: &[PhotoId]) -> Result<String> {
    let hex: Vec<String> = ids.iter().map(PhotoId::to_simple).collect();
    serde_json::to_string(&hex).map_err(|_| CatalogError::Damaged("ids cannot be listed"))
}

fn private(row: &Row) -> Result<Option<Patches>> {
    let stored: Option<Vec<u8>> = row.try_get("private_ranges")?;
    let read = |bytes: Vec<u8>| Patches::from_bytes(&bytes).ok_or(CatalogError::Damaged("byte ranges of a photo"));
    stored.map(read).transpose()
}

pub(super) fn state(row: &Row) -> Result<PhotoState> {
    Ok(match row.try_get::<&str, _>("state")? {
        "received" => PhotoState::Received,
        "indexed" => PhotoState::Indexed,
        "failed" => PhotoState::Failed,
        _ => return Err(CatalogError::Damaged("an unknown photo state")),
    })
}

pub(super) fn item(row: &Row) -> Result<PhotoItem> {
    Ok(PhotoItem {
        id: id_column!(row, "id", PhotoId)?,
        name: row.try_get("name")?,
        taken_at: row.try_get("taken_at")?,
        width: row.try_get("width")?,
        height: row.try_get("height")?,
        state: state(row)?,
        reason: row.try_get("reason")?,
        band: None,
        featured: row.try_get("featured")?,
        visibility: None,
        replaced_by: None,
    })
}

/// A page of rows, of which one more than fit tells that there is a next page.
pub(super) fn page(rows: &[Row], limit: usize, item: fn(&Row) -> Result<PhotoItem>) -> Result<Page> {
    let photos = rows.iter().take(limit).map(item).collect::<Result<_>>()?;
    let next = match (rows.len() > limit, limit.checked_sub(1).and_then(|last| rows.get(last))) {
        (true, Some(last)) => Some(last.try_get("seq")?),
        _ => None,
    };
    Ok(Page { photos, next })
}

/// An item as photographers see it.
fn item_in_full(row: &Row) -> Result<PhotoItem> {
    let replaced_by = match row.try_get::<Option<Vec<u8>>, _>("replaced_by")? {
        Some(_) => Some(id_column!(row, "replaced_by", PhotoId)?),
        None => None,
    };
    Ok(PhotoItem { visibility: Some(super::word(row, "visibility")?), replaced_by, ..item(row)? })
}

impl Catalog {
    /// One page of the event's photos: those accepted before `after`, newest first, `limit` at most.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn photos(
        &self,
        event: EventId,
        filter: PhotoFilter,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Page> {
        let sql = match filter {
            PhotoFilter::All => format!(
                "SELECT *, {REPLACED_BY} AS replaced_by FROM photos WHERE event = ? AND seq < ? ORDER BY seq DESC LIMIT ?"
            ),
            PhotoFilter::Shown => {
                format!("SELECT * FROM photos WHERE event = ? AND seq < ? AND {SHOWN} ORDER BY seq DESC LIMIT ?")
            }
        };
        let rows = query(sqlx::AssertSqlSafe(sql))
            .bind(event.as_bytes().as_slice())
            .bind(after.unwrap_or(i64::MAX))
            .bind(i64::from(limit) + 1)
            .fetch_all(&self.readers)
            .await?;
        let item = match filter {
            PhotoFilter::All => item_in_full,
            PhotoFilter::Shown => item,
        };
        page(&rows, limit as usize, item)
    }

    /// The given photos that guests may see, in no order; what is gone or hidden is left out.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn shown_photos(&self, event: EventId, ids: &[PhotoId]) -> Result<Vec<(i64, PhotoItem)>> {
        let sql = format!(
            "SELECT * FROM photos WHERE event = ? AND id IN (SELECT unhex(value) FROM json_each(?)) AND {SHOWN}"
        );
        let rows = query(sqlx::AssertSqlSafe(sql))
            .bind(event.as_bytes().as_slice())
            .bind(listed(ids)?)
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(|row| Ok((row.try_get("seq")?, item(row)?))).collect()
    }

    /// All photos of an event that guests may see.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn all_shown(&self, event: EventId) -> Result<HashSet<PhotoId>> {
        let sql = format!("SELECT id FROM photos WHERE event = ? AND {SHOWN}");
        let rows = query(sqlx::AssertSqlSafe(sql)).bind(event.as_bytes().as_slice());
        rows.fetch_all(&self.readers).await?.iter().map(|row| id_column!(row, "id", PhotoId)).collect()
    }

    /// The originals among the given photos that guests may see, in the order of their acceptance.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn originals(&self, event: EventId, ids: &[PhotoId]) -> Result<Vec<Original>> {
        let sql = format!(
            "SELECT id, name, bytes, taken_at, private_ranges FROM photos WHERE event = ?
             AND id IN (SELECT unhex(value) FROM json_each(?)) AND digest IS NOT NULL AND {SHOWN} ORDER BY seq"
        );
        let rows = query(sqlx::AssertSqlSafe(sql))
            .bind(event.as_bytes().as_slice())
            .bind(listed(ids)?)
            .fetch_all(&self.readers)
            .await?;
        let original = |row: &Row| {
            Ok(Original {
                id: id_column!(row, "id", PhotoId)?,
                name: row.try_get("name")?,
                bytes: row.try_get::<i64, _>("bytes")? as u64,
                taken_at: row.try_get("taken_at")?,
                private: private(row)?,
            })
        };
        rows.iter().map(original).collect()
    }

    /// Photos of an event by state, and the jobs that a worker may run.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn counts(&self, event: EventId, filter: PhotoFilter) -> Result<Counts> {
        // Jobs before photos: whoever is told that nothing is left to do is told of all that was done.
        let row = query("SELECT COUNT(*) FROM jobs WHERE event = ? AND waiting = 0")
            .bind(event.as_bytes().as_slice())
            .fetch_one(&self.readers)
            .await?;
        // Read first: what changes while it is counted makes the next version, and is counted again.
        let version = self.version(event).await?;
        let known = self.counted.lock().expect("nobody panics with it").get(&(event, filter)).copied();
        let mut counts = match known {
            Some((of, counts)) if of == version => counts,
            _ => self.count(event, filter).await?,
        };
        self.counted.lock().expect("nobody panics with it").insert((event, filter), (version, counts));
        counts.runnable = row.try_get::<i64, _>(0)? as u64;
        Ok(counts)
    }

    /// Counts anew: linear in the photos of the event.
    async fn count(&self, event: EventId, filter: PhotoFilter) -> Result<Counts> {
        let mut counts = Counts::default();
        let sql = match filter {
            PhotoFilter::All => "SELECT state, COUNT(*) AS n FROM photos WHERE event = ? GROUP BY state".to_owned(),
            PhotoFilter::Shown => {
                format!("SELECT state, COUNT(*) AS n FROM photos WHERE event = ? AND {SHOWN} GROUP BY state")
            }
        };
        for row in query(sqlx::AssertSqlSafe(sql)).bind(event.as_bytes().as_slice()).fetch_all(&self.readers).await? {
            let n = row.try_get::<i64, _>("n")? as u64;
            match state(&row)? {
                PhotoState::Received => counts.received = n,
                PhotoState::Indexed => counts.indexed = n,
                PhotoState::Failed => counts.failed = n,
            }
        }
        if filter == PhotoFilter::All {
            self.count_unseen(event, &mut counts).await?;
        }
        Ok(counts)
    }

    async fn count_unseen(&self, event: EventId, counts: &mut Counts) -> Result<()> {
        let sql = "SELECT visibility, COUNT(*) AS n FROM photos WHERE event = ? AND visibility <> 'shown' GROUP BY visibility";
        for row in query(sql).bind(event.as_bytes().as_slice()).fetch_all(&self.readers).await? {
            let n = row.try_get::<i64, _>("n")? as u64;
            match super::word(&row, "visibility")? {
                Visibility::Held => counts.held = n,
                Visibility::Reported => counts.reported = n,
                Visibility::Shown | Visibility::Hidden => {}
            }
        }
        Ok(())
    }

    /// What serving one photo's bytes needs; `None` when the event has no such photo.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(super) async fn photo_of(&self, event: EventId, id: PhotoId) -> Result<Option<Photo>> {
        let sql = format!(
            "SELECT name, digest, width, media, private_ranges, ({SHOWN}) AS shown, visibility = 'shown' AS unhidden, (SELECT gallery_open FROM events e WHERE e.id = event) AS gallery_open FROM photos WHERE event = ? AND id = ?"
        );
        let row = query(sqlx::AssertSqlSafe(sql))
            .bind(event.as_bytes().as_slice())
            .bind(id.as_bytes().as_slice())
            .fetch_optional(&self.readers)
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Photo {
            name: row.try_get("name")?,
            digest: row.try_get::<Option<Vec<u8>>, _>("digest")?.map(digest).transpose()?,
            ready: row.try_get::<Option<i64>, _>("width")?.is_some(),
            media: row.try_get("media")?,
            private: private(&row)?,
            shown: row.try_get("shown")?,
            unhidden: row.try_get("unhidden")?,
            gallery_open: row.try_get("gallery_open")?,
        }))
    }

    /// Remembers what of an original is not for guests, as long as it still is that original.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn set_private(&self, event: EventId, id: PhotoId, of: &Digest, private: &Patches) -> Result<()> {
        query("UPDATE photos SET private_ranges = ? WHERE event = ? AND id = ? AND digest = ?")
            .bind(private.to_bytes())
            .bind(event.as_bytes().as_slice())
            .bind(id.as_bytes().as_slice())
            .bind(of.as_bytes().as_slice())
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// One page of the originals on the server, oldest first: names and digests for `verify` and `repair`.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn names(&self, event: EventId, after: i64, limit: u32) -> Result<(Vec<Name>, Option<i64>)> {
        let rows = query("SELECT seq, id, name, digest, bytes FROM photos WHERE event = ? AND seq > ? AND digest IS NOT NULL ORDER BY seq LIMIT ?")
            .bind(event.as_bytes().as_slice())
            .bind(after)
            .bind(i64::from(limit))
            .fetch_all(&self.readers)
            .await?;
        let names = rows.iter().map(|row| {
            Ok(Name {
                id: id_column!(row, "id", PhotoId)?,
                digest: digest(row.try_get("digest")?)?,
                bytes: row.try_get::<i64, _>("bytes")? as u64,
                name: row.try_get("name")?,
            })
        });
        let names = names.collect::<Result<Vec<_>>>()?;
        let next = match rows.last() {
            Some(last) if rows.len() == limit as usize => Some(last.try_get("seq")?),
            _ => None,
        };
        Ok((names, next))
    }
}
