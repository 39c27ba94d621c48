//! Faces that an engine elsewhere keeps: references to them, how like an enrolment they are, what was asked and what it
//! cost, and what is to be erased there.
//!
//! Invariant: a reference that leaves the catalogue, by whatever way, stands in the list of erasures from the same
//! transaction on (triggers see to it), and stays there until the engine has erased the face.

use findme_common::{EventId, GuestId, PhotoId};

use super::db::{At, Row, Tx, query};
use super::{Catalog, CatalogError, Result, Scope, id_column};
use crate::clock::{now_ms, rfc3339};

/// What rows of such faces have as their pack. One word also in the schema's triggers and indexes.
pub(crate) const REMOTE_PACK: &str = "rekognition";

/// Whoever makes a collection is left alone for so long, in milliseconds.
const MAKING_MS: i64 = 30_000;

/// Who makes an event's collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Collection {
    /// It is there.
    Made,
    /// Whoever asked.
    Yours,
    /// Somebody is at it.
    Others,
}

/// A call that may cost something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Priced<'a> {
    /// For which event.
    pub(crate) event: EventId,
    /// The engine's word for it.
    pub(crate) operation: &'static str,
    /// In millionths of a dollar.
    pub(crate) price: i64,
    /// Whose faces it makes the engine keep.
    pub(crate) keeps: Option<&'a str>,
}

/// Something that the engine is to erase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Erasure {
    /// Its place in the list.
    pub(crate) id: i64,
    /// The event.
    pub(crate) event: EventId,
    /// The engine's name of the face; `None`: the whole collection.
    pub(crate) face: Option<String>,
}

/// An enrolment, or a wish never to be matched, that is to be searched for again.
#[derive(Debug, Clone)]
pub(crate) struct Unsearched {
    /// Row of the enrolment, or of the vector of the wish.
    pub(crate) id: i64,
    /// The reference.
    pub(crate) reference: Vec<u8>,
    /// Up to which face it was searched for before; below 0: not at all.
    pub(crate) searched_to: i64,
}

/// A face of a photo that is like an enrolment's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RemoteMatch {
    pub(crate) photo: PhotoId,
    pub(crate) face: i64,
    /// 0 to 1.
    pub(crate) similarity: f32,
    /// Which person of the session.
    pub(crate) person: u8,
    /// See [`super::guests::StoredEnrolment::confirmed`].
    pub(crate) confirmed: bool,
}

/// The month of now, of UTC, as in 2026-11.
fn month() -> String {
    rfc3339(now_ms()).chars().take(7).collect()
}

fn unsearched(row: &Row) -> Result<Unsearched> {
    Ok(Unsearched {
        id: row.try_get("id")?,
        reference: row.try_get("vector")?,
        searched_to: row.try_get("searched_to")?,
    })
}

/// Lists what of these references nothing refers to.
async fn list_unreferred(tx: &mut Tx, event: EventId, references: &[Vec<u8>]) -> Result<()> {
    for reference in references {
        query(
            "INSERT INTO remote_erasures (event, face) SELECT ?1, substr(?2, 17)
             WHERE NOT EXISTS (SELECT 1 FROM faces WHERE pack = 'rekognition' AND vector = ?2)
               AND NOT EXISTS (SELECT 1 FROM enrolments WHERE pack = 'rekognition' AND vector = ?2)
               AND NOT EXISTS (SELECT 1 FROM suppression_vectors WHERE pack = 'rekognition' AND vector = ?2)",
        )
        .bind(event.as_bytes().as_slice())
        .bind(reference)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

impl Catalog {
    /// Asks for the right to make an event's collection.
    ///
    /// # Errors
    /// [`CatalogError::Gone`] when the event has no use for one any more; otherwise when the catalogue fails.
    pub(crate) async fn claim_collection(&self, event: EventId) -> Result<Collection> {
        let id = event.as_bytes().as_slice();
        let made = query("SELECT made FROM remote_collections WHERE event = ?").bind(id);
        if let Some(row) = made.fetch_optional(&self.readers).await?
            && row.try_get(0)?
        {
            return Ok(Collection::Made);
        }
        let now = now_ms();
        let claimed = query(
            "INSERT INTO remote_collections (event, making_until)
             SELECT id, ?2 FROM events WHERE id = ?1 AND deleting_at IS NULL AND policy <> 'off'
             ON CONFLICT (event) DO UPDATE SET making_until = excluded.making_until
             WHERE remote_collections.made = 0 AND remote_collections.making_until <= ?3",
        )
        .bind(id)
        .bind(now + MAKING_MS)
        .bind(now)
        .execute(&self.writer)
        .await?;
        if claimed.rows_affected() == 1 {
            return Ok(Collection::Yours);
        }
        let row = query("SELECT made FROM remote_collections WHERE event = ?").bind(id);
        match row.fetch_optional(&self.writer).await? {
            Some(row) if row.try_get(0)? => Ok(Collection::Made),
            Some(_) => Ok(Collection::Others),
            None => Err(CatalogError::Gone),
        }
    }

    /// Ends the making of a collection: it is there, or the next one may try.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn end_making(&self, event: EventId, made: bool) -> Result<()> {
        query("UPDATE remote_collections SET made = ?, making_until = 0 WHERE event = ? AND made = 0")
            .bind(made)
            .bind(event.as_bytes().as_slice())
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Counts a call before it is made; `false`, and nothing is counted, when this month's calls would cost more than
    /// `ceiling` (millionths of a dollar) with it. One transaction, so that processes cannot pass the ceiling together.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn begin_call(&self, call: Priced<'_>, ceiling: Option<i64>) -> Result<bool> {
        let event = call.event.as_bytes().as_slice();
        let mut tx = self.begin(Scope::Everything).await?;
        if let Some(ceiling) = ceiling.filter(|_| call.price > 0)
            && spent(&mut tx).await? + call.price > ceiling
        {
            return Ok(false);
        }
        let sql = "INSERT INTO remote_calls (month, event, operation, calls, price) VALUES (?, ?, ?, 1, ?)
                   ON CONFLICT (month, event, operation)
                   DO UPDATE SET calls = remote_calls.calls + 1, price = remote_calls.price + excluded.price";
        query(sql).bind(month()).bind(event).bind(call.operation).bind(call.price).execute(&mut tx).await?;
        if let Some(name) = call.keeps {
            let sql = "INSERT INTO remote_open (event, name, since) VALUES (?, ?, ?)
                       ON CONFLICT (event, name) DO UPDATE SET since = excluded.since";
            query(sql).bind(event).bind(name).bind(now_ms()).execute(&mut tx).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// A call that the engine refused costs nothing.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn undo_call(&self, call: Priced<'_>) -> Result<()> {
        let sql = "UPDATE remote_calls SET calls = calls - 1, price = price - ?
                   WHERE month = ? AND event = ? AND operation = ? AND calls > 0";
        query(sql)
            .bind(call.price)
            .bind(month())
            .bind(call.event.as_bytes().as_slice())
            .bind(call.operation)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// What this month's calls cost, in millionths of a dollar.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn spent_remotely(&self) -> Result<i64> {
        spent(&self.readers).await
    }

    /// The answer about somebody's faces is on record: those that nothing refers to are to be erased.
    ///
    /// # Errors
    /// When the catalogue cannot be written; then it is made good later.
    pub(crate) async fn settle(&self, event: EventId, name: &str, references: &[Vec<u8>]) -> Result<()> {
        let id = event.as_bytes().as_slice();
        let mut tx = self.begin(Scope::Event(event)).await?;
        list_unreferred(&mut tx, event, references).await?;
        if !references.is_empty() {
            // The event went while the engine was asked: what was made for it since goes as a whole.
            let sql = "INSERT INTO remote_erasures (event, face) SELECT ?1, NULL
                       WHERE NOT EXISTS (SELECT 1 FROM remote_collections WHERE event = ?1)";
            query(sql).bind(id).execute(&mut tx).await?;
        }
        query("DELETE FROM remote_open WHERE event = ? AND name = ?").bind(id).bind(name).execute(&mut tx).await?;
        Ok(tx.commit().await?)
    }

    /// Whose faces were asked to be kept before `before` (milliseconds since the epoch), with no answer on record: the
    /// process that asked is gone.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn unsettled(&self, before: i64) -> Result<Vec<(EventId, String)>> {
        let rows = query("SELECT event, name FROM remote_open WHERE since < ? ORDER BY event").bind(before);
        let rows = rows.fetch_all(&self.readers).await?;
        rows.iter().map(|row| Ok((id_column!(row, "event", EventId)?, row.try_get("name")?))).collect()
    }

    /// What the engine is to erase, oldest first, a thousand at a time.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn remote_erasures(&self) -> Result<Vec<Erasure>> {
        let rows = query("SELECT id, event, face FROM remote_erasures ORDER BY face IS NOT NULL, id LIMIT 1000")
            .fetch_all(&self.readers)
            .await?;
        let erasure = |row: &Row| {
            let face =
                row.try_get::<Option<Vec<u8>>, _>("face")?.map(|face| String::from_utf8_lossy(&face).into_owned());
            Ok(Erasure { id: row.try_get("id")?, event: id_column!(row, "event", EventId)?, face })
        };
        rows.iter().map(erasure).collect()
    }

    /// The engine has erased these. With a whole collection everything that was to go from it before has gone.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn remotely_erased(&self, done: &[Erasure]) -> Result<()> {
        let mut tx = self.begin(Scope::Everything).await?;
        for erasure in done {
            let sql = match erasure.face {
                Some(_) => "DELETE FROM remote_erasures WHERE id = ?1 AND event = ?2",
                None => "DELETE FROM remote_erasures WHERE id <= ?1 AND event = ?2",
            };
            query(sql).bind(erasure.id).bind(erasure.event.as_bytes().as_slice()).execute(&mut tx).await?;
        }
        Ok(tx.commit().await?)
    }

    /// The newest face of an event that the engine keeps; 0 where there is none.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn newest_remote_face(&self, event: EventId) -> Result<i64> {
        let row = query("SELECT COALESCE(MAX(id), 0) FROM faces WHERE event = ? AND pack = 'rekognition'")
            .bind(event.as_bytes().as_slice())
            .fetch_one(&self.readers)
            .await?;
        Ok(row.try_get(0)?)
    }

    /// Wishes never to be matched that are in force and were not compared with faces up to `newest`.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn unsearched_suppressions(&self, event: EventId, newest: i64) -> Result<Vec<Unsearched>> {
        let rows = query(
            "SELECT v.id, v.vector, v.searched_to FROM suppression_vectors v JOIN suppressions s ON s.id = suppression
             WHERE event = ? AND state = 'active' AND pack = 'rekognition' AND searched_to < ?",
        )
        .bind(event.as_bytes().as_slice())
        .bind(newest)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(unsearched).collect()
    }

    /// Takes a guest's enrolments that were not searched for up to `newest`, nor since `since`, and notes that they are
    /// searched for now: of several who ask at once, one searches.
    ///
    /// # Errors
    /// When the catalogue fails.
    pub(crate) async fn claim_searches(&self, guest: GuestId, newest: i64, since: i64) -> Result<Vec<Unsearched>> {
        let stale = "guest = ? AND pack = 'rekognition' AND searched_to < ? AND (searched_to < 0 OR searched_at < ?)";
        let idle = query(sqlx::AssertSqlSafe(format!("SELECT 1 FROM enrolments WHERE {stale} LIMIT 1")))
            .bind(guest.as_bytes().as_slice())
            .bind(newest)
            .bind(since)
            .fetch_optional(&self.readers)
            .await?
            .is_none();
        if idle {
            return Ok(Vec::new());
        }
        let sql = format!("UPDATE enrolments SET searched_at = ? WHERE {stale} RETURNING id, vector, searched_to");
        let rows = query(sqlx::AssertSqlSafe(sql))
            .bind(now_ms())
            .bind(guest.as_bytes().as_slice())
            .bind(newest)
            .bind(since)
            .fetch_all(&self.writer)
            .await?;
        rows.iter().map(unsearched).collect()
    }

    /// Records which faces are like an enrolment's, and that it was searched for up to the face `newest`.
    ///
    /// # Errors
    /// When the catalogue cannot be written; then nothing is.
    pub(crate) async fn set_matches(&self, enrolment: i64, found: &[(Vec<u8>, f32)], newest: i64) -> Result<()> {
        let mut tx = self.begin(Scope::Nothing).await?;
        for (reference, similarity) in found {
            // Not of an enrolment or a face that went meanwhile. Faces beyond `newest` come with the next search: who
            // asked never to be matched was not compared with them yet.
            query(
                "INSERT INTO remote_matches (enrolment, face, similarity)
                 SELECT enrolments.id, faces.id, ?3 FROM enrolments, faces
                 WHERE enrolments.id = ?1 AND faces.pack = 'rekognition' AND faces.vector = ?2 AND faces.id <= ?4
                 ON CONFLICT (enrolment, face) DO UPDATE SET similarity = excluded.similarity",
            )
            .bind(enrolment)
            .bind(reference)
            .bind(*similarity)
            .bind(newest)
            .execute(&mut tx)
            .await?;
        }
        query("UPDATE enrolments SET searched_to = ?1 WHERE id = ?2 AND searched_to < ?1")
            .bind(newest)
            .bind(enrolment)
            .execute(&mut tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Faces of photos that are like a guest's enrolments.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn remote_matches(&self, guest: GuestId) -> Result<Vec<RemoteMatch>> {
        let rows = query(
            "SELECT photos.id AS photo, face, similarity, person, e.photo IS NOT NULL AS confirmed FROM enrolments e
             JOIN remote_matches m ON m.enrolment = e.id JOIN faces ON faces.id = face
             JOIN photos ON photos.seq = faces.photo WHERE guest = ?",
        )
        .bind(guest.as_bytes().as_slice())
        .fetch_all(&self.readers)
        .await?;
        let found = |row: &Row| {
            Ok(RemoteMatch {
                photo: id_column!(row, "photo", PhotoId)?,
                face: row.try_get("face")?,
                similarity: row.try_get("similarity")?,
                person: row.try_get("person")?,
                confirmed: row.try_get("confirmed")?,
            })
        };
        rows.iter().map(found).collect()
    }

    /// The faces of photos that these references are of.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn faces_of_references(&self, references: &[Vec<u8>]) -> Result<Vec<i64>> {
        let mut faces = Vec::new();
        for reference in references {
            let sql = "SELECT id FROM faces WHERE pack = 'rekognition' AND vector = ?";
            let row = query(sql).bind(reference).fetch_optional(&self.readers).await?;
            faces.extend(row.map(|row| row.try_get::<i64, _>(0)).transpose()?);
        }
        Ok(faces)
    }
}

async fn spent<'a>(at: impl Into<At<'a>>) -> Result<i64> {
    let sql = "SELECT CAST(COALESCE(SUM(price), 0) AS BIGINT) FROM remote_calls WHERE month = ?";
    Ok(query(sql).bind(month()).fetch_one(at).await?.try_get(0)?)
}
