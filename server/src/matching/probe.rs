//! One search: what is looked for, and what is found for whom in which band.

use std::collections::HashMap;

use findme_common::PhotoId;
use findme_common::protocol::{Band, Match, SelfieResult};

use crate::face::{Bands, Embedding, Similarity};
use crate::gallery::{Candidate, Gallery};

/// Somebody's face, to look for.
#[derive(Debug, Clone)]
pub(super) struct Probe {
    pub(super) embedding: Embedding,
    /// Which person of the session.
    pub(super) person: u8,
    /// From a photo that they said they are in. What only such a face finds is never more than «maybe»: whoever confirms
    /// somebody else's photo must not be given all of theirs as their own.
    pub(super) confirmed: bool,
}

/// A photo that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Found {
    pub(super) photo: PhotoId,
    pub(super) similarity: Similarity,
    pub(super) band: Band,
    /// The face in it.
    pub(super) face: i64,
    /// Whom it resembles.
    pub(super) person: u8,
}

impl FromIterator<Found> for SelfieResult {
    fn from_iter<T: IntoIterator<Item = Found>>(found: T) -> Self {
        let mut result = Self::default();
        for Found { photo, similarity, band, .. } in found {
            let band = if band == Band::You { &mut result.you } else { &mut result.maybe };
            band.push(Match { photo, similarity: similarity.get() });
        }
        result
    }
}

/// Looks for everybody; each photo once, in the better band and then with the greater likeness; best first.
pub(super) fn search(gallery: &Gallery, probes: &[Probe], bands: &Bands) -> Vec<Found> {
    let of_probe = |probe: &Probe| {
        let (person, confirmed) = (probe.person, probe.confirmed);
        let candidates = gallery.search(std::slice::from_ref(&probe.embedding), bands.maybe);
        candidates.into_iter().filter_map(move |Candidate { photo, face, similarity, poor }| {
            let band = band(bands.of_face(similarity, poor)?, confirmed);
            Some(Found { photo, similarity, band, face, person })
        })
    };
    best(probes.iter().flat_map(of_probe))
}

/// What a likeness to somebody counts for, see [`Probe::confirmed`].
pub(super) const fn band(band: Band, confirmed: bool) -> Band {
    if confirmed { Band::Maybe } else { band }
}

/// Each photo once, in the better band and then with the greater likeness; best first.
pub(super) fn best(all: impl IntoIterator<Item = Found>) -> Vec<Found> {
    let mut best: HashMap<PhotoId, Found> = HashMap::new();
    for found in all {
        let known = best.entry(found.photo).or_insert(found);
        let rank = |found: &Found| (found.band == Band::You, found.similarity);
        if rank(known) < rank(&found) {
            *known = found;
        }
    }
    let mut found: Vec<Found> = best.into_values().collect();
    found.sort_by(|a, b| b.similarity.get().total_cmp(&a.similarity.get()).then(a.photo.cmp(&b.photo)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::Threshold;

    #[test]
    fn each_photo_is_found_once_in_its_better_band() {
        let towards = |x: f32, y: f32| Embedding::new(&[x, y, 0.2]).unwrap();
        let photo = |n: u8| PhotoId::from_bytes([n; 16]);
        let mut gallery = Gallery::new();
        gallery.insert(photo(1), 1, &towards(1.0, 0.0), false);
        gallery.insert(photo(1), 2, &towards(0.0, 1.0), false);
        gallery.insert(photo(2), 3, &towards(1.0, 0.1), true);
        gallery.insert(photo(3), 4, &towards(1.0, 0.8), false);
        let bands = Bands { you: Threshold::new(0.9), maybe: Threshold::new(0.5), you_poor: Threshold::new(0.999) };
        let probe = |x, y, person, confirmed| Probe { embedding: towards(x, y), person, confirmed };
        let all =
            search(&gallery, &[probe(1.0, 0.0, 0, false), probe(0.0, 1.0, 1, false), probe(1.0, 0.8, 0, true)], &bands);
        let told: Vec<_> = all.iter().map(|found| (found.photo, found.band)).collect();
        assert_eq!(told.len(), 3);
        for expected in [(photo(1), Band::You), (photo(2), Band::Maybe), (photo(3), Band::Maybe)] {
            assert!(told.contains(&expected), "{expected:?} in {told:?}");
        }
        let result: SelfieResult = all.into_iter().collect();
        assert_eq!((result.you.len(), result.maybe.len()), (1, 2));
    }
}
