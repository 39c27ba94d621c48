//! People who are never matched: faces like theirs are dropped as soon as they are found, and those that are there go.
//!
//! A suppression holds sealed vectors, by which faces are known, and the places where faces were dropped, which hold no
//! measurement. By its place a face is known again when another pack measures its photo anew; its vector of that pack then
//! serves for the photos that come. Invariant: what a suppression dropped is looked at again when it ends.

use findme_common::protocol::{FaceBox, SuppressionItem, SuppressionState};
use findme_common::{EventId, GuestId};

use super::audit::{self, Actor};
use super::db::{Row, Tx, query};
use super::dropped::remove_faces;
use super::faces::area;
use super::{Catalog, Claim, FindUnwanted, NewFace, Result, Scope, id_column, jobs, photos};
use crate::clock::{now_ms, rfc3339};

/// Vectors that one suppression carries over to a pack: more say little more of one face, and each is compared with every
/// face that comes.
pub(super) const MOST_CARRIED: i64 = 3;

/// Consent to which text was given, in which language.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Agreed<'a> {
    /// Version of the text.
    pub(crate) text: &'a str,
    /// Its language (BCP 47).
    pub(crate) language: &'a str,
}

/// One person who is never matched, as far as a pack knows them.
#[derive(Debug, Clone)]
pub(crate) struct Suppressed {
    /// Names the suppression.
    pub(crate) id: i64,
    /// Sealed vectors of the pack that was asked for; none when only places are known to it yet.
    pub(crate) vectors: Vec<Vec<u8>>,
}

/// How a face stands to the suppressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Likeness {
    /// None of them.
    Nobody,
    /// Surely this suppression's.
    Of(i64),
    /// It cannot be compared.
    Unknown,
}

/// A vector of a suppression whose like may still be stored.
#[derive(Debug, Clone)]
pub(crate) struct DueVector {
    /// Row of the vector.
    pub(crate) id: i64,
    /// The suppression that it belongs to.
    pub(crate) suppression: i64,
    /// Its event.
    pub(crate) event: EventId,
    /// The sealed vector.
    pub(crate) vector: Vec<u8>,
}

/// The event's active suppressions with their vectors of a pack, as they stand in this transaction.
async fn of_event(tx: &mut Tx, event: EventId, pack: &str) -> Result<Vec<Suppressed>> {
    let rows = query(
        "SELECT s.id, v.vector FROM suppressions s LEFT JOIN suppression_vectors v ON v.suppression = s.id AND v.pack = ?
         WHERE s.event = ? AND s.state = 'active' ORDER BY s.id",
    )
    .bind(pack)
    .bind(event.as_bytes().as_slice())
    .fetch_all(&mut *tx)
    .await?;
    let mut all: Vec<Suppressed> = Vec::new();
    for row in &rows {
        let id = row.try_get("id")?;
        if all.last().is_none_or(|last| last.id != id) {
            all.push(Suppressed { id, vectors: Vec::new() });
        }
        if let (Some(last), Some(vector)) = (all.last_mut(), row.try_get("vector")?) {
            last.vectors.push(vector);
        }
    }
    Ok(all)
}

/// Which of a photo's faces nobody may find: those like a suppressed person's, and those in a place where one was dropped
/// before. Remembers the places, and carries suppressions over to a pack that does not know them yet.
pub(super) async fn drop_unwanted(
    tx: &mut Tx,
    claim: &Claim,
    faces: &[NewFace],
    unwanted: &FindUnwanted<'_>,
) -> Result<Vec<bool>> {
    let Some(first) = faces.first() else { return Ok(Vec::new()) };
    let suppressed = of_event(tx, claim.event, &first.pack).await?;
    if suppressed.is_empty() {
        return Ok(Vec::new());
    }
    let likeness = unwanted(&suppressed);
    let places = places(tx, claim.seq).await?;
    let mut drop = Vec::with_capacity(faces.len());
    for (n, face) in faces.iter().enumerate() {
        let here = places.iter().filter(|(_, area)| same_place(area, &face.area)).map(|(id, _)| *id);
        let like = likeness.get(n).copied().unwrap_or(Likeness::Nobody);
        if let Likeness::Of(id) = like
            && !here.clone().any(|place| place == id)
        {
            remember(tx, id, claim.seq, &face.area).await?;
        }
        for id in here.clone().filter(|id| like != Likeness::Of(*id)) {
            carry_over(tx, id, face).await?;
        }
        drop.push(like != Likeness::Nobody || here.count() > 0);
    }
    Ok(drop)
}

/// Where active suppressions have dropped faces of a photo.
async fn places(tx: &mut Tx, photo: i64) -> Result<Vec<(i64, FaceBox)>> {
    let rows = query(
        "SELECT suppression, x, y, width, height FROM suppressed_faces f JOIN suppressions s ON s.id = f.suppression
         WHERE photo = ? AND state = 'active'",
    )
    .bind(photo)
    .fetch_all(&mut *tx)
    .await?;
    rows.iter().map(|row| Ok((row.try_get("suppression")?, area(row)?))).collect()
}

/// Whether two boxes are of one face: the middle of each lies in the other. Detectors differ in how much of a head they
/// take; the middles of two heads side by side lie in their own.
fn same_place(one: &FaceBox, other: &FaceBox) -> bool {
    let holds = |outer: &FaceBox, inner: &FaceBox| {
        let (x, y) = (inner.x + inner.width / 2.0, inner.y + inner.height / 2.0);
        (outer.x..=outer.x + outer.width).contains(&x) && (outer.y..=outer.y + outer.height).contains(&y)
    };
    holds(one, other) && holds(other, one)
}

/// Takes down where a face was dropped.
pub(super) async fn remember(tx: &mut Tx, suppression: i64, photo: i64, area: &FaceBox) -> Result<()> {
    query("INSERT INTO suppressed_faces (suppression, photo, x, y, width, height) VALUES (?, ?, ?, ?, ?, ?)")
        .bind(suppression)
        .bind(photo)
        .bind(area.x)
        .bind(area.y)
        .bind(area.width)
        .bind(area.height)
        .execute(&mut *tx)
        .await?;
    Ok(())
}

/// Keeps the vector of a face that was known by its place, where its pack has none of the guest's own picture.
async fn carry_over(tx: &mut Tx, suppression: i64, face: &NewFace) -> Result<()> {
    query(
        "INSERT INTO suppression_vectors (suppression, pack, vector, carried) SELECT ?1, ?2, ?3, 1
         WHERE NOT EXISTS (SELECT 1 FROM suppression_vectors WHERE suppression = ?1 AND pack = ?2 AND carried = 0)
           AND (SELECT COUNT(*) FROM suppression_vectors WHERE suppression = ?1 AND pack = ?2) < ?4",
    )
    .bind(suppression)
    .bind(&face.pack)
    .bind(&face.vector)
    .bind(MOST_CARRIED)
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Ends suppressions: the photos in which they dropped faces are looked at again.
async fn end(tx: &mut Tx, event: EventId, ids: &[i64]) -> Result<()> {
    for id in ids {
        let rows = query(
            "SELECT DISTINCT photo FROM suppressed_faces f JOIN photos p ON p.seq = f.photo
             WHERE suppression = ? AND (digest IS NOT NULL OR has_preview = 1)",
        )
        .bind(id)
        .fetch_all(&mut *tx)
        .await?;
        for row in &rows {
            jobs::enqueue(tx, event, row.try_get(0)?).await?;
        }
        query("DELETE FROM suppressions WHERE id = ?").bind(id).execute(&mut *tx).await?;
    }
    Ok(())
}

/// Forgets what was held to find a guest.
async fn forget_enrolments(tx: &mut Tx, guest: GuestId) -> Result<()> {
    for sql in [
        "DELETE FROM enrolments WHERE guest = ?",
        "DELETE FROM verdicts WHERE guest = ?",
        "DELETE FROM live WHERE guest = ?",
    ] {
        query(sql).bind(guest.as_bytes().as_slice()).execute(&mut *tx).await?;
    }
    Ok(())
}

async fn ids_of(tx: &mut Tx, guest: GuestId, held_only: bool) -> Result<Vec<i64>> {
    let rows = query("SELECT id FROM suppressions WHERE guest = ? AND (state = 'held' OR ? = 0)")
        .bind(guest.as_bytes().as_slice())
        .bind(held_only)
        .fetch_all(&mut *tx)
        .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

impl Catalog {
    /// Takes down that somebody is never to be matched, in the place of what the guest asked for earlier. An active one
    /// counts from here on: no face like it is stored, and what was held to find the guest is forgotten. A held one does
    /// nothing before it is confirmed. `false` when the guest was erased meanwhile, or no faces are looked for any more.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn suppress(
        &self,
        guest: GuestId,
        pack: &str,
        vector: &[u8],
        agreed: Agreed<'_>,
        state: SuppressionState,
    ) -> Result<bool> {
        let mut tx = self.begin(Scope::EventOf(guest)).await?;
        let event = query(
            "SELECT event FROM consents JOIN guests ON guests.id = guest JOIN events ON events.id = event
             WHERE guest = ? AND purpose = 'never' AND policy <> 'off' LIMIT 1",
        )
        .bind(guest.as_bytes().as_slice())
        .fetch_optional(&mut tx)
        .await?;
        let Some(event) = event else { return Ok(false) };
        let event = id_column!(&event, "event", EventId)?;
        // One that waits does not take the place of one that is in force.
        let held = state == SuppressionState::Held;
        let earlier = ids_of(&mut tx, guest, held).await?;
        end(&mut tx, event, &earlier).await?;
        if !held {
            forget_enrolments(&mut tx, guest).await?;
        }
        let row = query(
            "INSERT INTO suppressions (event, guest, state, text, language, given_at) VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
        )
        .bind(event.as_bytes().as_slice())
        .bind(guest.as_bytes().as_slice())
        .bind(state.as_str())
        .bind(agreed.text)
        .bind(agreed.language)
        .bind(now_ms())
        .fetch_one(&mut tx)
        .await?;
        query("INSERT INTO suppression_vectors (suppression, pack, vector) VALUES (?, ?, ?)")
            .bind(row.try_get::<i64, _>(0)?)
            .bind(pack)
            .bind(vector)
            .execute(&mut tx)
            .await?;
        let action = if held { "never-match-held" } else { "never-match" };
        audit::record(&mut tx, event, Actor::Guest, action, 1).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Enrolments of other guests of an event, sealed: is a picture that somebody sends theirs?
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn enrolments_of_others(
        &self,
        event: EventId,
        guest: GuestId,
        pack: &str,
    ) -> Result<Vec<Vec<u8>>> {
        let rows = query(
            "SELECT vector FROM enrolments JOIN guests ON guests.id = guest WHERE event = ? AND guest <> ? AND pack = ?",
        )
        .bind(event.as_bytes().as_slice())
        .bind(guest.as_bytes().as_slice())
        .bind(pack)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// Vectors of a pack whose like may still be stored: of new suppressions, of confirmed ones, and carried over.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn due_vectors(&self, pack: &str) -> Result<Vec<DueVector>> {
        let rows = query(
            "SELECT v.id, suppression, event, vector FROM suppression_vectors v JOIN suppressions s ON s.id = suppression
             WHERE applied = 0 AND state = 'active' AND pack = ? LIMIT 100",
        )
        .bind(pack)
        .fetch_all(&self.readers)
        .await?;
        let due = |row: &Row| {
            Ok(DueVector {
                id: row.try_get("id")?,
                suppression: row.try_get("suppression")?,
                event: id_column!(row, "event", EventId)?,
                vector: row.try_get("vector")?,
            })
        };
        rows.iter().map(due).collect()
    }

    /// Removes the stored faces that are like a vector, and remembers where they were.
    ///
    /// # Errors
    /// When the catalogue cannot be written; then nothing is.
    pub(crate) async fn apply_vector(&self, due: &DueVector, faces: &[i64]) -> Result<()> {
        let mut tx = self.begin(Scope::Event(due.event)).await?;
        let applied = query("UPDATE suppression_vectors SET applied = 1 WHERE id = ? AND applied = 0")
            .bind(due.id)
            .execute(&mut tx)
            .await?;
        if applied.rows_affected() == 0 {
            return Ok(()); // another process did it, or it was lifted
        }
        remove_faces(&mut tx, due.event, due.suppression, faces).await?;
        tx.commit().await?;
        self.truncate_log().await?;
        Ok(())
    }

    /// Lifts «never match me»; whether there was one, in force or held. The photos that lost faces to it are indexed
    /// again.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn lift_suppression(&self, event: EventId, guest: GuestId) -> Result<bool> {
        let mut tx = self.begin(Scope::Event(event)).await?;
        let all = ids_of(&mut tx, guest, false).await?;
        self.lift(tx, event, &all, Actor::Guest).await
    }

    /// Lifts one suppression of an event; whether there was one. The photos that lost faces to it are indexed again.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn lift_suppression_of(&self, event: EventId, id: i64) -> Result<bool> {
        let mut tx = self.begin(Scope::Event(event)).await?;
        let found = query("SELECT id FROM suppressions WHERE event = ? AND id = ?")
            .bind(event.as_bytes().as_slice())
            .bind(id)
            .fetch_optional(&mut tx)
            .await?;
        self.lift(tx, event, found.map(|_| id).as_slice(), Actor::Operator).await
    }

    async fn lift(&self, mut tx: Tx, event: EventId, ids: &[i64], actor: Actor) -> Result<bool> {
        if ids.is_empty() {
            return Ok(false);
        }
        end(&mut tx, event, ids).await?;
        photos::bump(&mut tx, event).await?;
        audit::record(&mut tx, event, actor, "never-match-lifted", ids.len() as u64).await?;
        tx.commit().await?;
        self.truncate_log().await?;
        Ok(true)
    }

    /// Puts a held suppression into force; whether it was held. Its vectors are to be applied then.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn confirm_suppression(&self, event: EventId, id: i64) -> Result<bool> {
        let mut tx = self.begin(Scope::Event(event)).await?;
        let sql =
            "UPDATE suppressions SET state = 'active' WHERE event = ? AND id = ? AND state = 'held' RETURNING guest";
        let row = query(sql).bind(event.as_bytes().as_slice()).bind(id).fetch_optional(&mut tx).await?;
        let Some(row) = row else { return Ok(false) };
        if row.try_get::<Option<Vec<u8>>, _>("guest")?.is_some() {
            forget_enrolments(&mut tx, id_column!(&row, "guest", GuestId)?).await?;
        }
        audit::record(&mut tx, event, Actor::Operator, "never-match-confirmed", 1).await?;
        tx.commit().await?;
        self.truncate_log().await?;
        Ok(true)
    }

    /// The suppressions of an event, oldest first: never a picture, a vector or who it was.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn suppressions(&self, event: EventId) -> Result<Vec<SuppressionItem>> {
        let rows = query(
            "SELECT id, state, given_at, guest IS NOT NULL AS by_session FROM suppressions WHERE event = ? ORDER BY id",
        )
        .bind(event.as_bytes().as_slice())
        .fetch_all(&self.readers)
        .await?;
        let item = |row: &Row| {
            Ok(SuppressionItem {
                id: row.try_get("id")?,
                given_at: rfc3339(row.try_get("given_at")?),
                by_session: row.try_get("by_session")?,
                state: super::word(row, "state")?,
            })
        };
        rows.iter().map(item).collect()
    }

    /// What became of a guest's wish never to be matched; `None` when there is none. One in force counts for more.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn suppression_of(&self, guest: GuestId) -> Result<Option<SuppressionState>> {
        let row = query("SELECT state FROM suppressions WHERE guest = ? ORDER BY state LIMIT 1")
            .bind(guest.as_bytes().as_slice())
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(|row| super::word(row, "state")).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_of_one_face_are_told_from_those_of_neighbours() {
        let face = |x, y, width, height| FaceBox { x, y, width, height };
        let known = face(0.40, 0.40, 0.10, 0.12);
        for same in [known, face(0.42, 0.41, 0.10, 0.12), face(0.37, 0.35, 0.16, 0.22), face(0.42, 0.43, 0.06, 0.06)] {
            assert!(same_place(&known, &same) && same_place(&same, &known), "{same:?}");
        }
        for other in [face(0.50, 0.40, 0.10, 0.12), face(0.46, 0.40, 0.10, 0.12), face(0.1, 0.1, 0.8, 0.8)] {
            let middles = known.x + known.width / 2.0 - (other.x + other.width / 2.0);
            assert!(!same_place(&known, &other) || middles.abs() < 0.05, "{other:?}");
        }
        assert!(!same_place(&known, &face(0.46, 0.40, 0.10, 0.12)), "a head that is half behind another");
    }
}
