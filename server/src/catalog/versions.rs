//! Versions of a shot: which photo stands in for which. Kept as one order for each shot, so that cycles cannot be written
//! down, and resolved when somebody looks.
//!
//! Invariant: of the versions of a shot that guests could see, they see one: the newest that is indexed, or the newest
//! of all as long as none is. So a replacement takes effect in the moment in which it can be found, and no longer than
//! that; there is no moment with neither. While a guest's report of one version is open, guests see none of them.
//!
//! Replaced is another thing than hidden, held or reported: those are said about a photo by people, and stay.

use std::collections::BTreeMap;

use findme_common::protocol::{LiveKind, Visibility};
use findme_common::{EventId, PhotoId};

use super::db::{Tx, query};
use super::{Audience, Result, curation, id_column, jobs, live, photos};

/// Photos that guests see, each with its order of acceptance.
pub(super) type Seen = BTreeMap<PhotoId, i64>;

struct Place {
    shot: PhotoId,
    rank: i64,
}

async fn place(tx: &mut Tx, event: EventId, photo: PhotoId) -> Result<Option<Place>> {
    let row = query("SELECT shot, rank FROM versions WHERE event = ? AND photo = ?")
        .bind(event.as_bytes().as_slice())
        .bind(photo.as_bytes().as_slice())
        .fetch_optional(&mut *tx)
        .await?;
    row.map(|row| Ok(Place { shot: id_column!(&row, "shot", PhotoId)?, rank: row.try_get("rank")? })).transpose()
}

/// The photos of a shot, oldest version first.
async fn members(tx: &mut Tx, event: EventId, shot: PhotoId) -> Result<Vec<PhotoId>> {
    let rows = query("SELECT photo FROM versions WHERE event = ? AND shot = ? ORDER BY rank")
        .bind(event.as_bytes().as_slice())
        .bind(shot.as_bytes().as_slice())
        .fetch_all(&mut *tx)
        .await?;
    rows.iter().map(|row| id_column!(row, "photo", PhotoId)).collect()
}

async fn put(tx: &mut Tx, event: EventId, photo: PhotoId, shot: PhotoId, rank: i64) -> Result<()> {
    query(
        "INSERT INTO versions (event, photo, shot, rank) VALUES (?, ?, ?, ?)
         ON CONFLICT (event, photo) DO UPDATE SET shot = excluded.shot, rank = excluded.rank",
    )
    .bind(event.as_bytes().as_slice())
    .bind(photo.as_bytes().as_slice())
    .bind(shot.as_bytes().as_slice())
    .bind(rank)
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Versions of one shot at most: nobody has more, and each declaration writes the order anew.
const MOST: usize = 500;

/// Records that `new` replaces `old`, of which either may arrive later; whether that is news. Where it contradicts what
/// was declared before, the newest declaration wins: `new` comes right after `old`. With a photo come the versions of it
/// that are known already. A photo that «replaces» itself is no version of anything any more.
pub(super) async fn declare(tx: &mut Tx, event: EventId, new: PhotoId, old: PhotoId) -> Result<bool> {
    if new == old {
        let left = query("DELETE FROM versions WHERE event = ? AND photo = ?")
            .bind(event.as_bytes().as_slice())
            .bind(new.as_bytes().as_slice())
            .execute(&mut *tx)
            .await?;
        // The name of a shot may be one that left it: it is only a name.
        return Ok(left.rows_affected() > 0);
    }
    let (newer, older) = (place(tx, event, new).await?, place(tx, event, old).await?);
    let (shot, mut order) = match &older {
        Some(older) => (older.shot, members(tx, event, older.shot).await?),
        None => (unused_name(tx, event, old).await?, vec![old]),
    };
    match (&newer, &older) {
        (Some(newer), Some(older)) if newer.shot == older.shot && newer.rank > older.rank => return Ok(false),
        (Some(newer), Some(older)) if newer.shot == older.shot => {
            order.retain(|photo| *photo != new);
            let after = order.iter().position(|photo| *photo == old).map_or(order.len(), |at| at + 1);
            order.insert(after, new);
        }
        (Some(newer), _) => order.extend(members(tx, event, newer.shot).await?),
        (None, _) => order.push(new),
    }
    if order.len() > MOST {
        return Ok(false);
    }
    for (rank, photo) in (1..).zip(order) {
        put(tx, event, photo, shot, rank).await?;
    }
    Ok(true)
}

/// A name for the shot that begins with this photo: its id, unless a shot that it left bears it still.
async fn unused_name(tx: &mut Tx, event: EventId, photo: PhotoId) -> Result<PhotoId> {
    if members(tx, event, photo).await?.is_empty() {
        return Ok(photo);
    }
    PhotoId::random().map_err(|error| sqlx::Error::Io(error.into()).into())
}

/// The given photos and all versions of their shots.
pub(super) async fn with_shots(tx: &mut Tx, event: EventId, photos: &[PhotoId]) -> Result<Vec<PhotoId>> {
    let rows = query(
        "SELECT unhex(value) AS photo FROM json_each(?2)
         UNION SELECT w.photo FROM versions v JOIN versions w ON w.event = v.event AND w.shot = v.shot
         WHERE v.event = ?1 AND v.photo IN (SELECT unhex(value) FROM json_each(?2))",
    )
    .bind(event.as_bytes().as_slice())
    .bind(photos::listed(photos)?)
    .fetch_all(&mut *tx)
    .await?;
    rows.iter().map(|row| id_column!(row, "photo", PhotoId)).collect()
}

/// Which of these photos guests see.
pub(super) async fn seen(tx: &mut Tx, event: EventId, of: &[PhotoId]) -> Result<Seen> {
    let sql = format!(
        "SELECT seq, id FROM photos WHERE event = ? AND id IN (SELECT unhex(value) FROM json_each(?)) AND {}",
        photos::SHOWN
    );
    let rows = query(sqlx::AssertSqlSafe(sql))
        .bind(event.as_bytes().as_slice())
        .bind(photos::listed(of)?)
        .fetch_all(&mut *tx)
        .await?;
    rows.iter().map(|row| Ok((id_column!(row, "id", PhotoId)?, row.try_get("seq")?))).collect()
}

/// Tells what became of the photos that guests saw before a change: first of those that came, then of those that went.
/// Who is in a photo that came again is found by its job. `indexed` was announced when its job ended.
pub(super) async fn tell(
    tx: &mut Tx,
    event: EventId,
    before: &Seen,
    after: &Seen,
    indexed: Option<PhotoId>,
) -> Result<()> {
    for (id, seq) in after.iter().filter(|(id, _)| !before.contains_key(id) && Some(**id) != indexed) {
        let audience = Audience::of_photo(tx, event, true).await?;
        live::append(tx, event, LiveKind::Indexed, *id, audience).await?;
        jobs::enqueue(tx, event, *seq).await?;
    }
    for id in before.keys().filter(|id| !after.contains_key(id)) {
        curation::withdraw(tx, event, *id).await?;
    }
    Ok(())
}

/// Hides the other versions of a photo's shot: a photographer who follows a guest's report means the shot.
pub(super) async fn hide_others(tx: &mut Tx, event: EventId, photo: PhotoId) -> Result<()> {
    query(
        "UPDATE photos SET visibility = ?1 WHERE event = ?2 AND id <> ?3 AND visibility = ?4 AND id IN (
             SELECT w.photo FROM versions v JOIN versions w ON w.event = v.event AND w.shot = v.shot
             WHERE v.event = ?2 AND v.photo = ?3)",
    )
    .bind(Visibility::Hidden.as_str())
    .bind(event.as_bytes().as_slice())
    .bind(photo.as_bytes().as_slice())
    .bind(Visibility::Shown.as_str())
    .execute(&mut *tx)
    .await?;
    Ok(())
}
