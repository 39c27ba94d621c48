//! «Never match me»: a selfie whose like is found no more, in no photo that is there and in none that comes.

use bytes::Bytes;
use findme_common::protocol::{Band, SuppressionState};
use findme_common::{EventId, GuestId};

use super::guests::open;
use super::{FaceState, MatchError, Matching, Seen, SelfieError};
use crate::catalog::{Agreed, DueVector, Likeness, Suppressed};
use crate::face::{Embedding, Pack};

/// A wish is held when its picture is like another guest's beyond a bound that so many times fewer strangers reach than
/// that of «maybe»: of honest wishes at most one in twenty is looked at by the operator for nothing, not one in five. The other side
/// is that a wish made with another guest's picture must not slip through. Up to 110 guests the bound is «maybe»'s lowest,
/// which .979 of the pictures of one person reach; up to 300 it is below .42, which .971 reach. The bound of «you» would
/// let one in seven through.
const STRICTER: usize = 4;

impl Matching {
    /// Looks at a guest's selfie, keeps it to know the face again, forgets their enrolments, and removes the faces in the
    /// event's photos that are surely theirs. When the picture may be another guest's, somebody has to look at it first.
    ///
    /// # Errors
    /// See [`SelfieError`].
    pub(crate) async fn never_match(
        &self,
        (event, guest): (EventId, GuestId),
        picture: Bytes,
        choice: Option<usize>,
        agreed: Agreed<'_>,
    ) -> Result<SuppressionState, SelfieError> {
        if let FaceState::Remote(remote) = &self.faces {
            return self.never_match_elsewhere(remote, (event, guest), picture, choice, agreed).await;
        }
        let (embedding, sealed, pack) = self.looked_at(event, picture, choice).await?;
        let state = match self.is_another_guest(event, guest, &embedding, pack).await? {
            true => SuppressionState::Held,
            false => SuppressionState::Active,
        };
        if !self.catalog.suppress(guest, &pack.name, &sealed, agreed, state).await.map_err(MatchError::from)? {
            return Err(SelfieError::Erased);
        }
        match state {
            SuppressionState::Active => self.apply_suppressions().await?,
            SuppressionState::Held => tracing::warn!(%event, "a wish never to be matched waits for the operator"),
        }
        Ok(state)
    }

    /// Whether a face may be that of somebody else who wants to be found here.
    async fn is_another_guest(
        &self,
        event: EventId,
        guest: GuestId,
        face: &Embedding,
        pack: &Pack,
    ) -> Result<bool, MatchError> {
        let others = self.catalog.enrolments_of_others(event, guest, &pack.name).await?;
        if others.is_empty() {
            return Ok(false);
        }
        let (key, bands) = (self.vault.key(event)?, pack.thresholds.bands(STRICTER * others.len()));
        let alike =
            |sealed: &Vec<u8>| open(&key, sealed).is_some_and(|other| bands.of(other.similarity(face)).is_some());
        Ok(others.iter().any(alike))
    }

    /// Removes the stored faces that are like suppressed ones and were stored before these were known: of new
    /// suppressions, of confirmed ones, and of those that were carried over to this pack. Begun again after a crash, it
    /// goes on. One event that cannot be read does not keep the others waiting.
    ///
    /// # Errors
    /// When the catalogue cannot be read, and the last trouble of an event.
    pub(crate) async fn apply_suppressions(&self) -> Result<(), MatchError> {
        if let FaceState::Remote(remote) = &self.faces {
            return self.apply_elsewhere(remote).await;
        }
        let Some(pack) = self.faces.pack() else { return Ok(()) };
        let mut last = Ok(());
        for due in self.catalog.due_vectors(&pack.name).await? {
            // Faces that were stored before the vector are in this gallery; those after it met the suppression.
            if let Err(error) = self.apply(&due, pack).await {
                last = Err(error);
            }
        }
        last
    }

    async fn apply(&self, due: &DueVector, pack: &Pack) -> Result<(), MatchError> {
        let key = self.vault.key(due.event)?;
        let faces = match open(&key, &due.vector) {
            None => Vec::new(),
            Some(embedding) => {
                let loaded = self.refreshed(due.event, pack).await?;
                let loaded = loaded.read().await;
                loaded.gallery.faces_like(&embedding, pack.thresholds.bands(loaded.gallery.len()).you)
            }
        };
        Ok(self.catalog.apply_vector(due, &faces).await?)
    }

    /// For each face whether it surely is one of people who are never matched. What cannot be compared, because the key
    /// cannot be read, is not known: no face is the worse for not being found.
    pub(crate) fn likeness(&self, event: EventId, faces: &[Seen], suppressed: &[Suppressed]) -> Vec<Likeness> {
        // A service elsewhere compares later, before anybody can find them.
        if suppressed.is_empty() || matches!(self.faces, FaceState::Remote(_)) {
            return Vec::new();
        }
        let (FaceState::Ready(_, pack), Ok(key)) = (&self.faces, self.vault.key(event)) else {
            return vec![Likeness::Unknown; faces.len()];
        };
        let bands = pack.thresholds.bands(faces.len());
        let opened = |person: &Suppressed| person.vectors.iter().filter_map(|vector| open(&key, vector)).collect();
        let known: Vec<(i64, Vec<Embedding>)> = suppressed.iter().map(|person| (person.id, opened(person))).collect();
        let of = |face: &Seen| {
            let best = known
                .iter()
                .flat_map(|(id, theirs)| theirs.iter().map(|their| (*id, their.similarity(&face.embedding))));
            let best = best.max_by(|a, b| a.1.get().total_cmp(&b.1.get()));
            match best {
                Some((id, similarity)) if bands.of(similarity) == Some(Band::You) => Likeness::Of(id),
                _ => Likeness::Nobody,
            }
        };
        faces.iter().map(of).collect()
    }
}
