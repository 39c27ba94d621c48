//! Who is at an event: its faces in groups that are taken to be one person's each, for operators. Found anew each time,
//! nothing is kept.
//!
//! Each face joins the group whose middle it is most like, from the bound of «you» on, good faces first; then groups
//! whose middles are that alike become one. A person is in a photo once, so faces of one photo are never in one group.

use std::collections::BTreeSet;

use findme_common::{EventId, PhotoId};

use super::guests::open;
use super::{MatchError, Matching};
use crate::catalog::StoredFace;
use crate::face::{Embedding, Threshold};

/// Faces that are looked at: the work grows with them times the people.
const MOST_FACES: usize = 20_000;

/// Faces that are taken to be one person's.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// Ids of the faces, the one that stands for them first.
    pub(crate) faces: Vec<i64>,
    /// All photos.
    pub(crate) photos: BTreeSet<PhotoId>,
    /// Sum of the faces' embeddings.
    sum: Vec<f32>,
}

/// The people of an event.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    /// Those in the most photos first.
    pub(crate) groups: Vec<Group>,
    /// Faces that were looked at.
    pub(crate) faces: usize,
}

impl Group {
    fn of(face: i64, photo: PhotoId, embedding: &Embedding) -> Self {
        Self { faces: vec![face], photos: BTreeSet::from([photo]), sum: embedding.values().to_vec() }
    }

    fn middle(&self) -> Option<Embedding> {
        Embedding::new(&self.sum)
    }

    fn join(&mut self, other: Self) {
        self.faces.extend(other.faces);
        self.photos.extend(other.photos);
        self.sum.iter_mut().zip(other.sum).for_each(|(sum, value)| *sum += value);
    }
}

impl Matching {
    /// The people of an event; `None` where faces are not compared here.
    ///
    /// # Errors
    /// When catalogue or key fail.
    pub(crate) async fn people(&self, event: EventId) -> Result<Option<Gathering>, MatchError> {
        let Some(pack) = self.faces.pack() else { return Ok(None) };
        let mut stored = self.catalog.faces_after(event, &pack.name, 0).await?.faces;
        stored.drain(..stored.len().saturating_sub(MOST_FACES));
        if stored.is_empty() {
            return Ok(Some(Gathering::default()));
        }
        let key = self.vault.key(event)?;
        let you = pack.thresholds.you;
        let gathered = tokio::task::spawn_blocking(move || {
            stored.sort_by_key(|face| face.sealed.poor);
            let opened = |face: &StoredFace| Some((face.id, face.photo, open(&key, &face.sealed.vector)?));
            let faces: Vec<_> = stored.iter().filter_map(opened).collect();
            Gathering { faces: faces.len(), groups: gather(&faces, you) }
        });
        Ok(Some(gathered.await.unwrap_or_default()))
    }
}

fn gather(faces: &[(i64, PhotoId, Embedding)], alike: Threshold) -> Vec<Group> {
    let (mut groups, mut middles): (Vec<Group>, Vec<Embedding>) = (Vec::new(), Vec::new());
    for (face, photo, embedding) in faces {
        let new = Group::of(*face, *photo, embedding);
        match most_alike(&groups, &middles, embedding, &new.photos, alike) {
            None => {
                groups.push(new);
                middles.push(embedding.clone());
            }
            Some(n) => {
                groups[n].join(new);
                middles[n] = groups[n].middle().unwrap_or_else(|| embedding.clone());
            }
        }
    }
    // The first faces of somebody may have begun several groups.
    let mut parts: Vec<_> = groups.into_iter().zip(middles).collect();
    parts.sort_by_key(|(group, _)| std::cmp::Reverse(group.faces.len()));
    let (mut groups, mut middles): (Vec<Group>, Vec<Embedding>) = (Vec::new(), Vec::new());
    for (part, middle) in parts {
        match most_alike(&groups, &middles, &middle, &part.photos, alike) {
            None => {
                groups.push(part);
                middles.push(middle);
            }
            Some(n) => {
                groups[n].join(part);
                middles[n] = groups[n].middle().unwrap_or(middle);
            }
        }
    }
    groups.sort_by_key(|group| (std::cmp::Reverse(group.photos.len()), group.faces.first().copied()));
    groups
}

/// The group whose middle is most like a face, among those that share no photo with it.
fn most_alike(
    groups: &[Group],
    middles: &[Embedding],
    to: &Embedding,
    photos: &BTreeSet<PhotoId>,
    alike: Threshold,
) -> Option<usize> {
    let near = middles.iter().map(|middle| middle.similarity(to)).enumerate();
    let near = near.filter(|(_, similarity)| alike.admits(*similarity));
    let free = near.filter(|(n, _)| groups[*n].photos.is_disjoint(photos));
    free.max_by(|(_, a), (_, b)| a.get().total_cmp(&b.get())).map(|(n, _)| n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::DIMENSIONS;

    fn photo(n: u8) -> PhotoId {
        PhotoId::from_bytes([n; 16])
    }

    #[test]
    fn faces_are_gathered_by_likeness_and_never_two_of_one_photo() {
        let towards = |axis: usize, aside: f32| {
            let mut values = [0.0; DIMENSIONS];
            (values[axis], values[200 + axis]) = (1.0, aside);
            Embedding::new(&values).unwrap()
        };
        let faces = [
            (1, photo(1), towards(0, 0.3)),
            (2, photo(1), towards(0, 0.35)), // as like as can be, but beside them in the photo
            (3, photo(2), towards(0, -0.3)),
            (4, photo(3), towards(0, 0.0)),
            (5, photo(3), towards(1, 0.1)),
            (6, photo(4), towards(1, 0.0)),
            (7, photo(5), towards(2, 0.0)),
        ];
        let groups = gather(&faces, Threshold::new(0.54));
        let faces: Vec<_> = groups.iter().map(|group| group.faces.clone()).collect();
        assert_eq!(faces, [vec![1, 3, 4], vec![5, 6], vec![2], vec![7]]);
        assert_eq!(groups[0].photos.len(), 3);
        assert!(gather(&[], Threshold::new(0.5)).is_empty());
    }
}
