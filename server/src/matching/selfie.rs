//! From a selfie to an enrolment: the face that counts in it.

use bytes::Bytes;
use findme_common::protocol::{FaceBox, SelfieResult};
use findme_common::{EventId, GuestId};

use super::{FaceState, MatchError, Matching, SelfieError, area, area_of};
use crate::cpu::GivenUp;
use crate::face::{Embedding, Engine, Pack, Purpose};
use crate::picture::{self, Limits, Picture, PictureError};

/// A second face counts when it is at least this much of the largest one's height: two people in one picture, not
/// somebody in the background.
const SECOND_FACE: f32 = 0.6;

/// People that one session finds: a family.
pub(crate) const MOST_PEOPLE: u8 = 5;

impl Matching {
    /// Looks at a selfie, keeps the face as the enrolment of one of the session's people in place of their earlier ones,
    /// and finds the photos of all of them. `choice` picks a face (0 is the largest) where there are several.
    ///
    /// # Errors
    /// See [`SelfieError`].
    pub(crate) async fn enrol_selfie(
        &self,
        (event, guest, person): (EventId, GuestId, u8),
        picture: Bytes,
        choice: Option<usize>,
    ) -> Result<SelfieResult, SelfieError> {
        if let FaceState::Remote(remote) = &self.faces {
            return self.enrol_elsewhere(remote, (event, guest, person), picture, choice).await;
        }
        let (_, sealed, pack) = self.looked_at(event, picture, choice).await?;
        if !self.catalog.enrol(guest, person, &pack.name, &sealed).await.map_err(MatchError::from)? {
            return Err(SelfieError::Erased);
        }
        Ok(self.find_guest(event, guest).await?)
    }

    /// Where faces are in a picture, largest first. Nothing is measured or kept.
    ///
    /// # Errors
    /// See [`SelfieError`].
    pub(crate) async fn faces_in(&self, picture: Bytes) -> Result<Vec<FaceBox>, SelfieError> {
        let FaceState::Ready(engine, _) = &self.faces else { return Err(SelfieError::NoModels) };
        let (engine, limits) = (engine.clone(), self.limits);
        let fault = |error: GivenUp| SelfieError::Fault(error.to_string());
        let turn = self.cpu.turn().await.map_err(fault)?;
        self.cpu.run(turn, move || places(&engine, &picture, &limits)).await.map_err(fault)?
    }

    /// The face that counts in a selfie, in the clear and sealed, and the pack that measured it.
    pub(super) async fn looked_at(
        &self,
        event: EventId,
        picture: Bytes,
        choice: Option<usize>,
    ) -> Result<(Embedding, Vec<u8>, &'static Pack), SelfieError> {
        let FaceState::Ready(engine, pack) = &self.faces else { return Err(SelfieError::NoModels) };
        let (engine, limits) = (engine.clone(), self.limits);
        let fault = |error: GivenUp| SelfieError::Fault(error.to_string());
        let turn = self.cpu.turn().await.map_err(fault)?;
        let start = std::time::Instant::now();
        let looked = self.cpu.run(turn, move || look(&engine, &picture, &limits, choice)).await;
        let outcome = if matches!(looked, Ok(Ok(_))) { "done" } else { "failed" };
        crate::metrics::get().stage("selfie", outcome, start.elapsed());
        let embedding = looked.map_err(fault)??;
        let key = self.vault.key(event).map_err(MatchError::from)?;
        let sealed = key.seal(&embedding.to_bytes()).map_err(MatchError::from)?;
        Ok((embedding, sealed, pack))
    }
}

fn decoded(picture: &[u8], limits: &Limits) -> Result<Picture, SelfieError> {
    picture::from_bytes(picture, limits).map_err(|error| match error {
        PictureError::Io(cause) => SelfieError::Fault(cause.to_string()),
        _ => SelfieError::NotAPicture,
    })
}

/// Where the faces of a picture are.
fn places(engine: &Engine, picture: &[u8], limits: &Limits) -> Result<Vec<FaceBox>, SelfieError> {
    let pixels = decoded(picture, limits)?.pixels;
    let mut found = engine.detect(&pixels, Purpose::Selfie).map_err(|error| SelfieError::Fault(error.to_string()))?;
    found.sort_by(|a, b| b.rect.height.total_cmp(&a.rect.height));
    Ok(found.iter().map(|face| area_of(&face.rect, &pixels)).collect())
}

/// The embedding of the face that counts in a selfie.
fn look(engine: &Engine, picture: &[u8], limits: &Limits, choice: Option<usize>) -> Result<Embedding, SelfieError> {
    let picture = decoded(picture, limits)?;
    let faces =
        engine.faces(&picture.pixels, Purpose::Selfie).map_err(|error| SelfieError::Fault(error.to_string()))?;
    let areas: Vec<_> = faces.iter().map(|face| area(face, &picture.pixels)).collect();
    let chosen = faces.into_iter().nth(which(&areas, choice)?);
    Ok(chosen.ok_or(SelfieError::NoFace)?.embedding)
}

/// Which of the faces of a selfie counts, of their places, largest first.
pub(super) fn which(areas: &[FaceBox], choice: Option<usize>) -> Result<usize, SelfieError> {
    match (choice, areas) {
        (_, []) => Err(SelfieError::NoFace),
        (Some(n), areas) if n < areas.len() => Ok(n),
        (Some(_), areas) => Err(SelfieError::NoSuchFace(areas.len())),
        (None, [first, second, ..]) if second.height >= SECOND_FACE * first.height => {
            Err(SelfieError::ManyFaces(areas.to_vec()))
        }
        (None, _) => Ok(0),
    }
}
