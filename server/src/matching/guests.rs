//! From faces to the guests who are told: of a photo as it is indexed, and of photos whose faces are stored.
//!
//! The same thresholds and the same rules as in a guest's own search, so that the order of arrival cannot matter. Nobody
//! is left out because somebody else is more alike: two guests who resemble each other both hear of a photo.

use std::collections::HashMap;
use std::sync::Arc;

use findme_common::protocol::{Band, LiveKind};
use findme_common::{EventId, GuestId, PhotoId};

use super::{FaceState, MatchError, Matching};
use crate::catalog::{GuestEnrolment, SealedFace, SealedFaces};
use crate::face::{Bands, Embedding};
use crate::vault::EventKey;

/// A face of a photo.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) embedding: Embedding,
    /// See [`crate::face::Quality::is_poor`].
    pub(crate) poor: bool,
}

/// An enrolment of somebody, in the clear.
struct Enrolled {
    guest: GuestId,
    embedding: Embedding,
    /// See [`super::probe::Probe::confirmed`].
    confirmed: bool,
}

impl Matching {
    /// What it takes to tell which guests are in a photo with these faces. Without models, or when the gallery cannot be
    /// read now, it tells nothing: guests still find the photo in their list.
    pub(crate) async fn guests_in<'a>(&self, event: EventId, faces: &'a [Seen]) -> GuestsIn<'a> {
        let FaceState::Ready(_, pack) = &self.faces else { return GuestsIn::nobody() };
        if faces.is_empty() {
            return GuestsIn::nobody();
        }
        let known = async {
            // Counted, not loaded: workers that answer nobody need no gallery in memory.
            let count = self.catalog.count_faces(event).await?;
            Ok::<_, MatchError>((self.vault.key(event)?, pack.thresholds.bands(count + faces.len())))
        };
        match known.await {
            Ok((key, bands)) => GuestsIn { pack: &pack.name, faces, known: Some((key, bands)) },
            Err(error) => {
                tracing::warn!(%error, "guests are not told about a photo");
                GuestsIn::nobody()
            }
        }
    }

    /// What it takes to tell which guests are in photos whose faces are stored. Without models, or without the event's
    /// key, it tells nothing.
    pub(crate) async fn seen_again(&self, event: EventId) -> SeenAgain {
        let FaceState::Ready(_, pack) = &self.faces else { return SeenAgain { pack: "", known: None } };
        let known = async {
            let count = self.refreshed(event, pack).await?.read().await.gallery.len();
            Ok::<_, MatchError>((self.vault.key(event)?, pack.thresholds.bands(count)))
        };
        let known = known.await.inspect_err(|error| tracing::warn!(%error, "guests are not told about photos")).ok();
        SeenAgain { pack: &pack.name, known }
    }
}

/// The faces of a photo, ready to be compared with enrolments.
#[derive(Debug)]
pub(crate) struct GuestsIn<'a> {
    pack: &'a str,
    faces: &'a [Seen],
    known: Option<(Arc<EventKey>, Bands)>,
}

impl GuestsIn<'_> {
    const fn nobody() -> Self {
        Self { pack: "", faces: &[], known: None }
    }

    /// Pack of the faces.
    pub(crate) const fn pack(&self) -> &str {
        self.pack
    }

    /// The guests whose enrolments these faces match, each once, in their better band. Faces that are marked as unwanted
    /// do not count.
    pub(crate) fn find(&self, enrolments: &[GuestEnrolment], unwanted: &[bool]) -> Vec<(GuestId, LiveKind)> {
        let Some((key, bands)) = &self.known else { return Vec::new() };
        let counts = |n: usize| !unwanted.get(n).copied().unwrap_or_default();
        let faces: Vec<_> =
            self.faces.iter().enumerate().filter(|(n, _)| counts(*n)).map(|(_, face)| face.clone()).collect();
        guests_among(&faces, &opened(key, enrolments), bands)
    }
}

/// Stored faces, ready to be compared with enrolments.
#[derive(Debug)]
pub(crate) struct SeenAgain {
    pack: &'static str,
    known: Option<(Arc<EventKey>, Bands)>,
}

impl SeenAgain {
    /// Pack of the faces.
    pub(crate) const fn pack(&self) -> &'static str {
        self.pack
    }

    /// The guests whose enrolments match these photos' faces, each once a photo, in their better band.
    pub(crate) fn find(
        &self,
        photos: &[SealedFaces],
        enrolments: &[GuestEnrolment],
    ) -> Vec<(PhotoId, GuestId, LiveKind)> {
        let Some((key, bands)) = &self.known else { return Vec::new() };
        let enrolments = opened(key, enrolments);
        let of_photo = |(photo, sealed): &SealedFaces| {
            let faces: Vec<_> = sealed.iter().filter_map(|face| seen(key, face)).collect();
            let found = guests_among(&faces, &enrolments, bands);
            found.into_iter().map(|(guest, kind)| (*photo, guest, kind)).collect::<Vec<_>>()
        };
        photos.iter().flat_map(of_photo).collect()
    }
}

pub(super) fn open(key: &EventKey, sealed: &[u8]) -> Option<Embedding> {
    key.open(sealed).ok().and_then(|bytes| Embedding::from_bytes(&bytes))
}

fn seen(key: &EventKey, face: &SealedFace) -> Option<Seen> {
    Some(Seen { embedding: open(key, &face.vector)?, poor: face.poor })
}

fn opened(key: &EventKey, enrolments: &[GuestEnrolment]) -> Vec<Enrolled> {
    let open = |enrolment: &GuestEnrolment| {
        let embedding = open(key, &enrolment.vector)?;
        Some(Enrolled { guest: enrolment.guest, embedding, confirmed: enrolment.confirmed })
    };
    enrolments.iter().filter_map(open).collect()
}

/// The guests whose enrolments these faces match, each once, in their better band.
fn guests_among(faces: &[Seen], enrolments: &[Enrolled], bands: &Bands) -> Vec<(GuestId, LiveKind)> {
    let mut found: HashMap<GuestId, Band> = HashMap::new();
    for enrolled in enrolments {
        let of = |face: &Seen| (enrolled.embedding.similarity(&face.embedding), face.poor);
        let best = faces.iter().map(of).max_by(|(a, _), (b, _)| a.get().total_cmp(&b.get()));
        let band = best.and_then(|(similarity, poor)| bands.of_face(similarity, poor));
        match band {
            Some(Band::You) if !enrolled.confirmed => drop(found.insert(enrolled.guest, Band::You)),
            Some(_) => drop(found.entry(enrolled.guest).or_insert(Band::Maybe)),
            None => {}
        }
    }
    let kind = |band| if band == Band::You { LiveKind::You } else { LiveKind::Maybe };
    found.into_iter().map(|(guest, band)| (guest, kind(band))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::Threshold;

    fn towards(aside: f32) -> Embedding {
        Embedding::new(&[1.0, aside]).unwrap()
    }

    fn guest(n: u8) -> GuestId {
        GuestId::from_bytes([n; 16])
    }

    const BANDS: Bands = Bands { you: Threshold::new(0.8), maybe: Threshold::new(0.5), you_poor: Threshold::new(0.9) };

    fn kinds(faces: &[(f32, bool)], enrolled: &[(u8, f32, bool)]) -> Vec<(GuestId, LiveKind)> {
        let faces: Vec<_> = faces.iter().map(|&(aside, poor)| Seen { embedding: towards(aside), poor }).collect();
        let enrolled: Vec<_> = enrolled
            .iter()
            .map(|&(n, aside, confirmed)| Enrolled { guest: guest(n), embedding: towards(aside), confirmed })
            .collect();
        let mut found = guests_among(&faces, &enrolled, &BANDS);
        found.sort_by_key(|(guest, _)| *guest);
        found
    }

    #[test]
    fn guests_who_look_alike_both_hear_of_it() {
        // A cosine of .71 with the one, .62 with the other: neither takes the face from the other.
        let both = kinds(&[(0.0, false)], &[(1, 1.0, false), (2, 1.25, false)]);
        assert_eq!(both, [(guest(1), LiveKind::Maybe), (guest(2), LiveKind::Maybe)]);
    }

    #[test]
    fn more_is_asked_of_a_poor_face_and_of_a_confirmed_one() {
        let one = |poor, confirmed| kinds(&[(0.0, poor)], &[(1, 0.6, confirmed)]);
        assert_eq!(one(false, false), [(guest(1), LiveKind::You)], "a cosine of .86");
        assert_eq!(one(true, false), [(guest(1), LiveKind::Maybe)]);
        assert_eq!(
            one(false, true),
            [(guest(1), LiveKind::Maybe)],
            "a photo that they chose proves less than a selfie"
        );
        let both = kinds(&[(0.0, false)], &[(1, 0.0, true), (1, 0.6, false)]);
        assert_eq!(both, [(guest(1), LiveKind::You)], "the selfie still counts");
    }
}
