//! Faces of photos. Vectors come in and go out sealed; this file never sees one in the clear.

use findme_common::protocol::FaceBox;
use findme_common::{EventId, PhotoId};

use super::db::{Row, Tx, query};
use super::{Catalog, Claim, Result, id_column};
use crate::face::Quality;

/// A face that indexing found.
#[derive(Debug, Clone)]
pub(crate) struct NewFace {
    /// Where, in fractions of the upright photo.
    pub area: FaceBox,
    /// The detector's score, 0 to 1.
    pub score: f32,
    /// How good it is for comparing.
    pub quality: Quality,
    /// Pack that made the vector.
    pub pack: String,
    /// The sealed vector.
    pub vector: Vec<u8>,
}

/// A face as galleries load it.
#[derive(Debug, Clone)]
pub(crate) struct StoredFace {
    /// Grows with every face of the server.
    pub id: i64,
    /// Its photo.
    pub photo: PhotoId,
    /// Its vector.
    pub sealed: SealedFace,
}

/// A face's vector, sealed, and whether the face is a poor one.
#[derive(Debug, Clone)]
pub(crate) struct SealedFace {
    /// The vector.
    pub vector: Vec<u8>,
    /// See [`Quality::is_poor`].
    pub poor: bool,
}

/// Reads one from a row with `vector` and the columns of the quality.
pub(super) fn sealed(row: &Row) -> Result<SealedFace> {
    let poor = quality(row)?.is_some_and(|quality| quality.is_poor());
    Ok(SealedFace { vector: row.try_get("vector")?, poor })
}

/// Where a face is.
pub(super) fn area(row: &Row) -> Result<FaceBox> {
    let [x, y, width, height] = [row.try_get("x")?, row.try_get("y")?, row.try_get("width")?, row.try_get("height")?];
    Ok(FaceBox { x, y, width, height })
}

/// Faces of an event that a gallery has not seen.
#[derive(Debug)]
pub(crate) struct EventFaces {
    /// Differs from the last time when faces went away: load anew from face 0.
    pub epoch: i64,
    /// In order of their ids.
    pub faces: Vec<StoredFace>,
}

/// What was measured of a face; `None` when that was before it was stored.
fn quality(row: &Row) -> Result<Option<Quality>> {
    let [pixels, sharpness, turned] =
        [row.try_get::<Option<f32>, _>("pixels")?, row.try_get("sharpness")?, row.try_get("turned")?];
    Ok(pixels.zip(sharpness).zip(turned).map(|((pixels, sharpness), turned)| Quality { pixels, sharpness, turned }))
}

/// Puts these faces, but for the unwanted, in the place of all earlier ones of the photo.
pub(super) async fn replace(tx: &mut Tx, claim: &Claim, faces: &[NewFace], unwanted: &[bool]) -> Result<()> {
    // Those of an earlier pack serve for as long as somebody is enrolled with it.
    let pack = faces.first().map_or("", |face| face.pack.as_str());
    let gone = query(
        "DELETE FROM faces WHERE photo = ?1 AND (pack = ?2 OR ?2 = '' OR pack NOT IN
         (SELECT e.pack FROM enrolments e JOIN guests ON guests.id = guest WHERE event = ?3))",
    );
    let gone = gone.bind(claim.seq).bind(pack).bind(claim.event.as_bytes().as_slice()).execute(&mut *tx).await?;
    if gone.rows_affected() > 0 {
        query("UPDATE events SET face_epoch = face_epoch + 1 WHERE id = ?")
            .bind(claim.event.as_bytes().as_slice())
            .execute(&mut *tx)
            .await?;
    }
    // Whatever the worker knew when it began: faces that may not be kept any more are not stored.
    let wanted = query("SELECT 1 FROM events WHERE id = ? AND policy <> 'off'")
        .bind(claim.event.as_bytes().as_slice())
        .fetch_optional(&mut *tx)
        .await?
        .is_some();
    let kept = faces.iter().enumerate().filter(|(n, _)| wanted && !unwanted.get(*n).copied().unwrap_or_default());
    for (_, face) in kept {
        query(
            "INSERT INTO faces (event, photo, x, y, width, height, score, pack, vector, pixels, sharpness, turned)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(claim.event.as_bytes().as_slice())
        .bind(claim.seq)
        .bind(face.area.x)
        .bind(face.area.y)
        .bind(face.area.width)
        .bind(face.area.height)
        .bind(face.score)
        .bind(&face.pack)
        .bind(&face.vector)
        .bind(face.quality.pixels)
        .bind(face.quality.sharpness)
        .bind(face.quality.turned)
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

impl Catalog {
    /// Number that changes when faces of the event went away.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn face_epoch(&self, event: EventId) -> Result<i64> {
        let row = query("SELECT face_epoch FROM events WHERE id = ?")
            .bind(event.as_bytes().as_slice())
            .fetch_optional(&self.readers)
            .await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?.unwrap_or(0))
    }

    /// Where the faces of an event are and how good they are, by photo.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn face_qualities(&self, event: EventId) -> Result<Vec<(PhotoId, FaceBox, Option<Quality>)>> {
        let rows = query(
            "SELECT photos.id AS photo, x, y, faces.width AS width, faces.height AS height, pixels, sharpness, turned
             FROM faces JOIN photos ON photos.seq = faces.photo WHERE faces.event = ? ORDER BY faces.id",
        )
        .bind(event.as_bytes().as_slice())
        .fetch_all(&self.readers)
        .await?;
        let face = |row: &Row| Ok((id_column!(row, "photo", PhotoId)?, area(row)?, quality(row)?));
        rows.iter().map(face).collect()
    }

    /// The photo that a face is in, and where; `None` when the event has no such face (any more).
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn face_place(&self, event: EventId, face: i64) -> Result<Option<(PhotoId, FaceBox)>> {
        let row = query(
            "SELECT photos.id AS photo, x, y, faces.width AS width, faces.height AS height
             FROM faces JOIN photos ON photos.seq = faces.photo WHERE faces.event = ? AND faces.id = ?",
        )
        .bind(event.as_bytes().as_slice())
        .bind(face)
        .fetch_optional(&self.readers)
        .await?;
        row.map(|row| Ok((id_column!(&row, "photo", PhotoId)?, area(&row)?))).transpose()
    }

    /// How many faces an event has.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn count_faces(&self, event: EventId) -> Result<usize> {
        let row = query("SELECT COUNT(*) FROM faces WHERE event = ?")
            .bind(event.as_bytes().as_slice())
            .fetch_one(&self.readers)
            .await?;
        Ok(row.try_get::<i64, _>(0)?.unsigned_abs() as usize)
    }

    /// Faces of an event with ids above `after`, made by `pack`.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn faces_after(&self, event: EventId, pack: &str, after: i64) -> Result<EventFaces> {
        // One read transaction, so that epoch and faces belong together.
        let mut tx = self.begin_reading().await?;
        let epoch = query("SELECT face_epoch FROM events WHERE id = ?")
            .bind(event.as_bytes().as_slice())
            .fetch_optional(&mut tx)
            .await?;
        let rows = query(
            "SELECT faces.id AS face, photos.id AS photo, vector, pixels, sharpness, turned FROM faces JOIN photos ON photos.seq = faces.photo
             WHERE faces.event = ? AND faces.id > ? AND pack = ? ORDER BY faces.id",
        )
        .bind(event.as_bytes().as_slice())
        .bind(after)
        .bind(pack)
        .fetch_all(&mut tx)
        .await?;
        let faces = rows.iter().map(|row| {
            Ok(StoredFace { id: row.try_get("face")?, photo: id_column!(row, "photo", PhotoId)?, sealed: sealed(row)? })
        });
        Ok(EventFaces {
            epoch: epoch.map(|row| row.try_get(0)).transpose()?.unwrap_or(0),
            faces: faces.collect::<Result<_>>()?,
        })
    }
}
