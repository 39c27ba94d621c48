//! Which photos a guest is in, remembered for as long as nothing changed: a page of thumbnails asks a hundred times.
//!
//! Invariant: an answer is used only for the event's version and the enrolment that it was found with.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use findme_common::{GuestId, PhotoId};

use super::{MatchError, Matching};
use crate::catalog::Guest;

/// Guests that are remembered. Each costs 16 bytes a photo; more than this many at once begin anew.
const GUESTS: usize = 2000;

/// What an answer depends on: the event's version, and which enrolment.
type Basis = (i64, String);

type Answer = (Basis, Arc<HashSet<PhotoId>>);

/// Answers by guest.
#[derive(Debug, Clone, Default)]
pub(super) struct Remembered(Arc<Mutex<HashMap<GuestId, Answer>>>);

impl Remembered {
    fn get(&self, guest: GuestId, basis: &Basis) -> Option<Arc<HashSet<PhotoId>>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&guest).filter(|(of, _)| of == basis).map(|(_, photos)| photos.clone())
    }

    fn put(&self, guest: GuestId, basis: Basis, photos: Arc<HashSet<PhotoId>>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= GUESTS && !known.contains_key(&guest) {
            known.clear();
        }
        known.insert(guest, (basis, photos));
    }
}

impl Matching {
    /// The photos that a guest may see because they are, or may be, in them.
    ///
    /// # Errors
    /// When catalogue or key fail.
    pub(crate) async fn photos_of(&self, guest: &Guest) -> Result<Arc<HashSet<PhotoId>>, MatchError> {
        // The basis is read first: what changes meanwhile makes the next question differ, never this answer stale.
        let basis = (self.catalog.version(guest.event).await?, self.enrolment_tag(guest.id).await?);
        if let Some(photos) = self.remembered.get(guest.id, &basis) {
            return Ok(photos);
        }
        let found = self.find_guest(guest.event, guest.id).await?;
        let photos: HashSet<_> = found.you.iter().chain(&found.maybe).map(|found| found.photo).collect();
        let photos = Arc::new(photos);
        self.remembered.put(guest.id, basis, photos.clone());
        Ok(photos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_only_for_what_it_was_found_with_and_their_number_is_bounded() {
        let remembered = Remembered::default();
        let guest = |n: usize| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&n.to_le_bytes());
            GuestId::from_bytes(bytes)
        };
        let basis = |version| (version, "tag".to_owned());
        for n in 0..3 * GUESTS {
            remembered.put(guest(n), basis(1), Arc::default());
            assert!(remembered.get(guest(n), &basis(1)).is_some());
            assert!(remembered.0.lock().unwrap().len() <= GUESTS);
        }
        let last = guest(3 * GUESTS - 1);
        assert!(remembered.get(last, &basis(2)).is_none(), "the event changed");
        assert!(remembered.get(last, &(1, "other".into())).is_none(), "another selfie");
    }
}
