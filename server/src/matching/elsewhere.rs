//! Guests and photos where a service elsewhere compares their faces (see [`crate::remote`]).
//!
//! What the service said is kept in the catalogue, so that showing somebody their photos asks it nothing. It is asked
//! when a guest comes with a selfie, and again while they look on and there are new photos. Invariant: before a guest is
//! searched for, the faces of those who are never to be matched are gone up to the same face.

use bytes::Bytes;
use findme_common::protocol::{Band, LiveKind, SelfieResult, SuppressionState};
use findme_common::{EventId, GuestId};

use super::probe::{self, Found};
use super::selfie::which;
use super::{FaceState, MatchError, Matching, SelfieError};
use crate::catalog::{Agreed, REMOTE_PACK};
use crate::clock::now_ms;
use crate::face::Similarity;
use crate::picture::{self, PictureError};
use crate::remote::{BANDS, FaceRef, Remote, RemoteError, RemoteFace, ServiceError, to_send};

/// A guest who looks on is not searched for more often, in milliseconds: each search has its price.
const SEARCH_EVERY_MS: i64 = 10_000;

/// A selfie as the service knows it now.
struct Kept {
    /// Under which name.
    name: String,
    /// All faces in it.
    faces: Vec<RemoteFace>,
    /// The one that counts.
    chosen: FaceRef,
}

impl Matching {
    /// Has the service keep the face of a selfie as the enrolment of one of a session's people, and searches for them.
    ///
    /// # Errors
    /// See [`SelfieError`].
    pub(super) async fn enrol_elsewhere(
        &self,
        remote: &Remote,
        (event, guest, person): (EventId, GuestId, u8),
        selfie: Bytes,
        choice: Option<usize>,
    ) -> Result<SelfieResult, SelfieError> {
        let kept = self.keep_selfie(remote, event, guest, selfie, choice).await?;
        let enrolled = self.catalog.enrol(guest, person, REMOTE_PACK, &kept.chosen.to_bytes()).await;
        remote.settle(event, &kept.name, &kept.faces).await;
        if !enrolled.map_err(MatchError::from)? {
            return Err(SelfieError::Erased);
        }
        self.search_again(remote, event, guest).await?;
        Ok(self.find_guest(event, guest).await?)
    }

    /// Sends a selfie to the service. What comes of it has to be settled by the caller; when it is of no use, it is.
    async fn keep_selfie(
        &self,
        remote: &Remote,
        event: EventId,
        guest: GuestId,
        selfie: Bytes,
        choice: Option<usize>,
    ) -> Result<Kept, SelfieError> {
        let limits = self.limits;
        let fault = |error: &dyn std::fmt::Display| SelfieError::Fault(error.to_string());
        let turn = self.cpu.turn().await.map_err(|error| fault(&error))?;
        let made = move || {
            let picture = picture::from_bytes(&selfie, &limits).map_err(|error| match error {
                PictureError::Io(cause) => SelfieError::Fault(cause.to_string()),
                _ => SelfieError::NotAPicture,
            })?;
            to_send(&picture.pixels, None).map_err(|error| SelfieError::Fault(error.to_string()))
        };
        let jpeg = self.cpu.run(turn, made).await.map_err(|error| fault(&error))??;
        let mut dice = [0; 8];
        getrandom::fill(&mut dice).map_err(|error| fault(&error))?;
        // Each selfie has a name of its own: of two at once, one must not settle the other.
        let name = format!("guest-{}-{}", guest.to_simple(), findme_common::digest::to_hex(&dice));
        let jpeg = jpeg.ok_or(SelfieError::NoFace)?;
        let faces = match remote.index(event, &name, jpeg).await {
            Ok(faces) => faces,
            Err(error) => {
                remote.settle(event, &name, &[]).await;
                return Err(match error {
                    RemoteError::Service(ServiceError::Picture(_)) => SelfieError::NoFace,
                    error => MatchError::from(error).into(),
                });
            }
        };
        let areas: Vec<_> = faces.iter().map(|face| face.area).collect();
        let chosen = which(&areas, choice).and_then(|n| faces.get(n).ok_or(SelfieError::NoFace));
        match chosen.map(|face| face.reference.clone()) {
            Ok(chosen) => Ok(Kept { name, faces, chosen }),
            Err(error) => {
                remote.settle(event, &name, &faces).await;
                Err(error)
            }
        }
    }

    /// The photos that the service found a guest in, best first, as far as guests may see them.
    pub(super) async fn found_elsewhere(&self, event: EventId, guest: GuestId) -> Result<Vec<Found>, MatchError> {
        let found = self.catalog.remote_matches(guest).await?.into_iter().filter_map(|found| {
            let similarity = Similarity::new(found.similarity);
            let band = probe::band(BANDS.of(similarity)?, found.confirmed);
            Some(Found { photo: found.photo, similarity, band, face: found.face, person: found.person })
        });
        self.shown(event, probe::best(found)).await
    }

    /// Searches again for a guest who looks on, when a service elsewhere compares, there are new photos, and the last
    /// search was a while ago; tells them what is new. What goes wrong is tried again the next time.
    pub(crate) async fn catch_up(&self, event: EventId, guest: GuestId) {
        let FaceState::Remote(remote) = &self.faces else { return };
        if let Err(error) = self.search_again(remote, event, guest).await {
            tracing::warn!(%error, "a guest cannot be searched for now");
        }
    }

    async fn search_again(&self, remote: &Remote, event: EventId, guest: GuestId) -> Result<(), MatchError> {
        let newest = self.catalog.newest_remote_face(event).await?;
        let due = self.catalog.claim_searches(guest, newest, now_ms() - SEARCH_EVERY_MS).await?;
        if due.is_empty() {
            return Ok(());
        }
        self.remove_unwanted(remote, event, newest).await?;
        for enrolment in &due {
            let Some(face) = FaceRef::from_bytes(&enrolment.reference) else { continue };
            let found = remote.search(&face).await?;
            let found: Vec<_> = found.iter().map(|(face, likeness)| (face.to_bytes(), likeness.get())).collect();
            self.catalog.set_matches(enrolment.id, &found, newest).await?;
        }
        // What the first search finds is the answer to the selfie; later ones find what came since.
        let known = due.iter().map(|enrolment| enrolment.searched_to).filter(|to| *to >= 0).min();
        let Some(known) = known else { return Ok(()) };
        let kind = |band| if band == Band::You { LiveKind::You } else { LiveKind::Maybe };
        let found = self.found_for(event, guest).await?;
        let news: Vec<_> = found
            .iter()
            .filter(|found| found.face > known)
            .map(|found| (found.photo, guest, kind(found.band)))
            .collect();
        self.catalog.tell_all(event, &news).await?;
        Ok(())
    }

    /// Removes the faces up to `newest` that are surely those of people who are never to be matched.
    async fn remove_unwanted(&self, remote: &Remote, event: EventId, newest: i64) -> Result<(), MatchError> {
        for wish in self.catalog.unsearched_suppressions(event, newest).await? {
            let Some(face) = FaceRef::from_bytes(&wish.reference) else { continue };
            let found = remote.search(&face).await?.into_iter();
            let surely = found.filter(|(_, likeness)| BANDS.you.admits(*likeness)).map(|(face, _)| face.to_bytes());
            let faces = self.catalog.faces_of_references(&surely.collect::<Vec<_>>()).await?;
            self.catalog.drop_like(event, wish.id, &faces, newest).await?;
        }
        Ok(())
    }

    /// Wishes that came into force meanwhile.
    pub(super) async fn apply_elsewhere(&self, remote: &Remote) -> Result<(), MatchError> {
        let mut last = Ok(());
        for due in self.catalog.due_vectors(REMOTE_PACK).await? {
            let newest = self.catalog.newest_remote_face(due.event).await?;
            // Also where there is no face yet: then the wish is in force with the first one.
            if newest == 0 {
                continue;
            }
            if let Err(error) = self.remove_unwanted(remote, due.event, newest).await {
                last = Err(error);
            }
        }
        last
    }

    /// See [`Matching::never_match`].
    pub(super) async fn never_match_elsewhere(
        &self,
        remote: &Remote,
        (event, guest): (EventId, GuestId),
        selfie: Bytes,
        choice: Option<usize>,
        agreed: Agreed<'_>,
    ) -> Result<SuppressionState, SelfieError> {
        let kept = self.keep_selfie(remote, event, guest, selfie, choice).await?;
        let wished = async {
            let others = self.catalog.enrolments_of_others(event, guest, REMOTE_PACK).await?;
            let alike = remote.search(&kept.chosen).await?;
            let state = match alike.iter().any(|(face, _)| others.contains(&face.to_bytes())) {
                true => SuppressionState::Held,
                false => SuppressionState::Active,
            };
            let wished = self.catalog.suppress(guest, REMOTE_PACK, &kept.chosen.to_bytes(), agreed, state).await?;
            Ok::<_, MatchError>(wished.then_some(state))
        };
        let wished = wished.await;
        remote.settle(event, &kept.name, &kept.faces).await;
        let state = wished?.ok_or(SelfieError::Erased)?;
        match state {
            SuppressionState::Active => self.apply_elsewhere(remote).await?,
            SuppressionState::Held => tracing::warn!(%event, "a wish never to be matched waits for the operator"),
        }
        Ok(state)
    }
}
