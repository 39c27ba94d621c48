//! «Never match me»: a selfie whose like is found no more, in no photo that is there and in none that comes.

use bytes::Bytes;
use findme_common::protocol::Band;
use findme_common::{EventId, GuestId};

use super::{FaceState, MatchError, Matching, SelfieError, open};
use crate::catalog::Agreed;
use crate::face::Embedding;

impl Matching {
    /// Looks at a guest's selfie, keeps it to know the face again, forgets their enrolments, and removes the faces in the
    /// event's photos that are surely theirs; how many these were.
    ///
    /// # Errors
    /// See [`SelfieError`].
    pub(crate) async fn never_match(
        &self,
        (event, guest): (EventId, GuestId),
        picture: Bytes,
        choice: Option<usize>,
        agreed: Agreed<'_>,
    ) -> Result<u64, SelfieError> {
        let (embedding, sealed, pack) = self.looked_at(event, picture, choice).await?;
        if !self.catalog.suppress(guest, &pack.name, &sealed, agreed).await.map_err(MatchError::from)? {
            return Err(SelfieError::Erased);
        }
        // Faces that were stored before the line above are in this gallery; those after it met the suppression.
        let loaded = self.refreshed(event, pack).await?;
        let faces = {
            let loaded = loaded.read().await;
            let bands = pack.thresholds.bands(loaded.gallery.len());
            loaded.gallery.faces_like(&embedding, bands.you)
        };
        Ok(self.catalog.remove_faces(event, &faces).await.map_err(MatchError::from)?)
    }

    /// For each face whether it surely is one of people who are never matched. What cannot be compared, because the key
    /// cannot be read, counts as theirs: no face is the worse for not being found.
    pub(crate) fn unwanted(&self, event: EventId, faces: &[Embedding], suppressed: &[Vec<u8>]) -> Vec<bool> {
        if suppressed.is_empty() {
            return Vec::new();
        }
        let (FaceState::Ready(_, pack), Ok(key)) = (&self.faces, self.vault.key(event)) else {
            return vec![true; faces.len()];
        };
        let bands = pack.thresholds.bands(faces.len());
        let theirs: Vec<_> = suppressed.iter().filter_map(|vector| open(&key, vector)).collect();
        let is_theirs =
            |face: &Embedding| theirs.iter().any(|their| bands.of(their.similarity(face)) == Some(Band::You));
        faces.iter().map(is_theirs).collect()
    }
}
