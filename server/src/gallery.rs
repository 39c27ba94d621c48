//! The embeddings of one event, searchable: exact, in memory, 260 bytes a face.
//!
//! Invariant: nothing is left out of a search. Vectors are kept as 8-bit integers with a scale each, which moves a
//! similarity by .0005 in the mean square; the probe keeps 16 bits.

use std::collections::HashMap;

use findme_common::PhotoId;
use rten_simd::{Isa, SimdOp};

use crate::face::{DIMENSIONS, Embedding, Similarity, Threshold, WIDE};

/// A photo that a search found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The photo.
    pub photo: PhotoId,
    /// Its face that is most like a probe.
    pub face: i64,
    /// How much alike they are.
    pub similarity: Similarity,
    /// Whether that face is a poor one, see [`crate::face::Quality::is_poor`].
    pub poor: bool,
}

/// All embeddings of one event, of one pack.
#[derive(Debug, Clone)]
pub struct Gallery {
    faces: Vec<Entry>,
    /// The vector of `faces[i]` at `i × width`: apart, so that a search runs through memory in one line.
    vectors: Vec<i8>,
    /// Values of each vector: [`DIMENSIONS`], or [`WIDE`].
    width: usize,
}

impl Default for Gallery {
    fn default() -> Self {
        Self { faces: Vec::new(), vectors: Vec::new(), width: DIMENSIONS }
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    photo: PhotoId,
    face: i64,
    /// What one step of the 8-bit values is worth.
    step: f32,
    poor: bool,
}

impl Gallery {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a face. Faces of a photo that is indexed again are removed first, by the caller.
    pub fn insert(&mut self, photo: PhotoId, face: i64, embedding: &Embedding, poor: bool) {
        if self.faces.is_empty() {
            self.width = embedding.values().len();
        }
        // Of another network it cannot be, and would not be comparable.
        if self.width != embedding.values().len() {
            return;
        }
        let step = step::<127>(embedding);
        self.vectors.extend(embedding.values().iter().map(|value| (value / step).round() as i8));
        self.faces.push(Entry { photo, face, step, poor });
    }

    /// Removes all faces of a photo.
    pub fn remove_photo(&mut self, photo: PhotoId) {
        let mut at = 0;
        while at < self.faces.len() {
            if self.faces[at].photo != photo {
                at += 1;
                continue;
            }
            self.faces.swap_remove(at);
            let last = self.vectors.len() - self.width;
            self.vectors.copy_within(last.., at * self.width);
            self.vectors.truncate(last);
        }
    }

    /// How many faces there are.
    pub fn len(&self) -> usize {
        self.faces.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.faces.is_empty()
    }

    /// Memory that it takes, in bytes.
    pub fn bytes(&self) -> u64 {
        (self.vectors.capacity() + self.faces.capacity() * size_of::<Entry>()) as u64
    }

    /// Every face that is like the probe, several of one photo too.
    pub fn faces_like(&self, probe: &Embedding, floor: Threshold) -> Vec<i64> {
        let mut found = Vec::new();
        self.scan(probe, floor, |entry, _| found.push(entry.face));
        found
    }

    /// Photos with a face that is like one of the probes, best first: each photo once, with its best face, because a
    /// person is in a photo once.
    pub fn search(&self, probes: &[Embedding], floor: Threshold) -> Vec<Candidate> {
        let mut best: HashMap<PhotoId, Candidate> = HashMap::new();
        for probe in probes {
            self.scan(probe, floor, |entry, similarity| {
                let candidate = Candidate { photo: entry.photo, face: entry.face, similarity, poor: entry.poor };
                let known = best.entry(entry.photo).or_insert(candidate);
                if known.similarity < similarity {
                    *known = candidate;
                }
            });
        }
        let mut found: Vec<Candidate> = best.into_values().collect();
        found.sort_by(|a, b| b.similarity.get().total_cmp(&a.similarity.get()).then(a.photo.cmp(&b.photo)));
        found
    }

    /// Compares every face with the probe, and tells of those that are like it.
    fn scan(&self, probe: &Embedding, floor: Threshold, found: impl FnMut(&Entry, Similarity)) {
        match self.width {
            WIDE => self.scan_of::<WIDE>(probe, floor, found),
            _ => self.scan_of::<DIMENSIONS>(probe, floor, found),
        }
    }

    fn scan_of<const N: usize>(&self, probe: &Embedding, floor: Threshold, found: impl FnMut(&Entry, Similarity)) {
        let probe_step = step::<32767>(probe);
        // One of another network is like nobody.
        let Ok(values) = <&[f32; N]>::try_from(probe.values()) else { return };
        let probe = values.map(|value| (value / probe_step).round() as i16);
        Scan { gallery: self, probe, probe_step, floor, found }.dispatch();
    }
}

/// One run through all vectors. What `eval` inlines is compiled for each width of the processor's vector instructions and
/// the widest is taken when it runs: as fast as memory can be read, where the instructions every x86-64 has take five
/// times as long.
struct Scan<'a, F, const N: usize> {
    gallery: &'a Gallery,
    probe: [i16; N],
    probe_step: f32,
    floor: Threshold,
    found: F,
}

impl<F: FnMut(&Entry, Similarity), const N: usize> SimdOp for Scan<'_, F, N> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(mut self, _: I) {
        let vectors = self.gallery.vectors.as_chunks::<N>().0;
        for (entry, vector) in self.gallery.faces.iter().zip(vectors) {
            let similarity = Similarity::new(dot(vector, &self.probe) as f32 * entry.step * self.probe_step);
            if self.floor.admits(similarity) {
                (self.found)(entry, similarity);
            }
        }
    }
}

/// What a step is worth when values are kept in whole steps of which the largest has `TOP`.
fn step<const TOP: i16>(embedding: &Embedding) -> f32 {
    let largest = embedding.values().iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    largest / f32::from(TOP)
}

/// At most 512 · 127 · 32767, which an `i32` just holds.
#[inline(always)]
fn dot<const N: usize>(vector: &[i8; N], probe: &[i16; N]) -> i32 {
    vector.iter().zip(probe).map(|(&a, &b)| i32::from(i16::from(a)) * i32::from(b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn photo(n: u8) -> PhotoId {
        PhotoId::from_bytes([n; 16])
    }

    fn towards(axis: usize, aside: f32) -> Embedding {
        let mut values = [0.0; DIMENSIONS];
        values[axis] = 1.0;
        values[DIMENSIONS - 1] = aside;
        Embedding::new(&values).unwrap()
    }

    #[test]
    fn each_photo_once_with_its_best_face_best_first() {
        let mut gallery = Gallery::new();
        gallery.insert(photo(1), 10, &towards(0, 0.9), false);
        gallery.insert(photo(1), 11, &towards(0, 0.3), true);
        gallery.insert(photo(2), 20, &towards(0, 0.0), false);
        gallery.insert(photo(3), 30, &towards(5, 0.0), false);
        let found = gallery.search(&[towards(0, 0.0)], Threshold::new(0.5));
        assert_eq!(found.iter().map(|c| (c.photo, c.face)).collect::<Vec<_>>(), [(photo(2), 20), (photo(1), 11)]);
        assert!((found[0].similarity.get() - 1.0).abs() < 1e-3);
        assert_eq!([found[0].poor, found[1].poor], [false, true], "of the face that was found");
        let both = gallery.search(&[towards(0, 0.0), towards(5, 0.0)], Threshold::new(0.5));
        assert_eq!(both.len(), 3, "several probes find what either finds");
        assert!(Gallery::new().search(&[towards(0, 0.0)], Threshold::new(-1.0)).is_empty());
    }

    #[test]
    fn a_removed_photo_is_found_no_more_and_all_others_are() {
        let mut gallery = Gallery::new();
        for n in 0..20 {
            gallery.insert(photo(n % 5), n.into(), &towards(n.into(), 0.0), false);
        }
        gallery.remove_photo(photo(4));
        assert_eq!(gallery.len(), 16);
        for n in 0..20 {
            let found = gallery.search(&[towards(n.into(), 0.0)], Threshold::new(0.9));
            let expected = if n % 5 == 4 { None } else { Some((photo(n % 5), i64::from(n))) };
            assert_eq!(found.first().map(|c| (c.photo, c.face)), expected, "face {n}");
        }
    }

    #[test]
    fn embeddings_of_wider_networks_are_searched_and_never_mixed_with_others() {
        let wide = |axis: usize, aside: f32| {
            let mut values = [0.0; 500];
            (values[axis], values[499]) = (1.0, aside);
            Embedding::new(&values).unwrap()
        };
        let mut gallery = Gallery::new();
        gallery.insert(photo(1), 1, &wide(400, 0.5), false);
        gallery.insert(photo(2), 2, &wide(3, 0.0), false);
        gallery.insert(photo(3), 3, &towards(3, 0.0), false);
        assert_eq!(gallery.len(), 2, "of another network");
        let found = gallery.search(&[wide(400, 0.0)], Threshold::new(0.5));
        assert_eq!(found.iter().map(|found| found.face).collect::<Vec<_>>(), [1]);
        assert!((found[0].similarity.get() - 0.894).abs() < 3e-3);
        assert!(gallery.search(&[towards(3, 0.0)], Threshold::new(-1.0)).is_empty());
        let stored = Embedding::from_bytes(&wide(400, 0.5).to_bytes()).unwrap();
        assert!(stored.similarity(&wide(400, 0.5)).get() > 0.999);
        gallery.remove_photo(photo(1));
        assert_eq!(gallery.faces_like(&wide(3, 0.0), Threshold::new(0.5)), [2]);
    }

    proptest! {
        #[test]
        fn similarities_are_those_of_the_floats(
            a in proptest::collection::vec(-1.0_f32..1.0, DIMENSIONS),
            b in proptest::collection::vec(-1.0_f32..1.0, DIMENSIONS),
        ) {
            let (a, b) = (Embedding::new(&a).unwrap(), Embedding::new(&b).unwrap());
            let mut gallery = Gallery::new();
            gallery.insert(photo(1), 1, &a, false);
            let found = gallery.search(std::slice::from_ref(&b), Threshold::new(-1.0));
            prop_assert!((found[0].similarity.get() - a.similarity(&b).get()).abs() < 3e-3);
        }
    }
}
