//! The arithmetic of error rates: searches with their answers in, rates over thresholds out. Knows no files and no faces.
//!
//! Terms are NIST's for open-set identification: a *mated* search is one by somebody who is in the gallery. FNIR is the
//! share of mated searches that show none of the right photos, FPIR the share of other searches that show anything.

use serde::{Deserialize, Serialize};

use crate::face::Bands;

/// A photo that a search found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Hit {
    pub(crate) photo: usize,
    pub(crate) similarity: f32,
    /// Whether the server put it into «you».
    pub(crate) you: bool,
}

/// One search with everything it found down to a low floor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Search {
    /// Photos of the gallery that the searcher is in, rising; none: a search by a stranger.
    pub(crate) mates: Vec<usize>,
    /// Photos found, once each.
    pub(crate) hits: Vec<Hit>,
}

impl Search {
    fn is_right(&self, photo: usize) -> bool {
        self.mates.binary_search(&photo).is_ok()
    }

    /// The same search in a gallery of some of the photos.
    pub(crate) fn within(&self, keep: &[bool]) -> Self {
        let kept = |photo: usize| keep.get(photo).copied().unwrap_or_default();
        Self {
            mates: self.mates.iter().copied().filter(|&photo| kept(photo)).collect(),
            hits: self.hits.iter().copied().filter(|hit| kept(hit.photo)).collect(),
        }
    }
}

/// Rates at one threshold. A rate of nothing is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// Similarity from which on photos are shown.
    pub(crate) threshold: f32,
    /// Photos shown that the searcher is in.
    pub(crate) right: usize,
    /// Photos shown that the searcher is not in.
    pub(crate) wrong: usize,
    /// Of the photos shown, those that the searcher is in.
    pub(crate) precision: Option<f64>,
    /// Of the photos that the searchers are in, those shown.
    pub(crate) recall: Option<f64>,
    /// Harmonic mean of both.
    pub(crate) f1: Option<f64>,
    /// Of the mated searches, those that show no right photo.
    pub(crate) fnir: Option<f64>,
    /// Of the searches by strangers, those that show anything.
    pub(crate) fpir: Option<f64>,
    /// Of the pairs of a searcher and a photo they are not in, those shown.
    pub(crate) false_match: Option<f64>,
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Adds up searches, of one gallery or of several.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    right: usize,
    wrong: usize,
    there: usize,
    pairs: usize,
    mated: usize,
    missed: usize,
    strangers: usize,
    shown_something: usize,
}

impl Tally {
    fn add(&mut self, search: &Search, photos: usize, counts: impl Fn(&Hit) -> bool) {
        let (mut right, mut wrong) = (0, 0);
        for hit in search.hits.iter().filter(|hit| counts(hit)) {
            *(if search.is_right(hit.photo) { &mut right } else { &mut wrong }) += 1;
        }
        self.right += right;
        self.wrong += wrong;
        self.there += search.mates.len();
        self.pairs += photos - search.mates.len();
        if search.mates.is_empty() {
            self.strangers += 1;
            self.shown_something += usize::from(wrong > 0);
        } else {
            self.mated += 1;
            self.missed += usize::from(right == 0);
        }
    }

    fn point(&self, threshold: f32) -> Point {
        let (precision, recall) = (share(self.right, self.right + self.wrong), share(self.right, self.there));
        let f1 = match (precision, recall) {
            (Some(p), Some(r)) if p + r > 0.0 => Some(2.0 * p * r / (p + r)),
            _ => None,
        };
        let (fnir, fpir) = (share(self.missed, self.mated), share(self.shown_something, self.strangers));
        let (right, wrong, false_match) = (self.right, self.wrong, share(self.wrong, self.pairs));
        Point { threshold, right, wrong, precision, recall, f1, fnir, fpir, false_match }
    }
}

/// Searches in galleries of their own: (searches, photos of the gallery).
pub(crate) type Galleries = [(Vec<Search>, usize)];

/// The rates of all these searches together at one threshold.
pub(crate) fn point(galleries: &Galleries, threshold: f32) -> Point {
    tally(galleries, |hit| hit.similarity >= threshold).point(threshold)
}

fn tally(galleries: &Galleries, counts: impl Fn(&Hit) -> bool) -> Tally {
    let mut tally = Tally::default();
    for (searches, photos) in galleries {
        searches.iter().for_each(|search| tally.add(search, *photos, &counts));
    }
    tally
}

/// The rates at every hundredth from `from` to `to` hundredths.
pub(crate) fn curve(galleries: &Galleries, from: u8, to: u8) -> Vec<Point> {
    (from..=to).map(|at| point(galleries, f32::from(at) / 100.0)).collect()
}

/// The most of their photos that searchers can be shown while this share of what is shown is right: (recall, threshold).
pub(crate) fn recall_at(curve: &[Point], precision: f64) -> Option<(f64, f32)> {
    let good = curve.iter().filter(|point| point.precision.is_some_and(|p| p >= precision));
    good.filter_map(|point| Some((point.recall?, point.threshold))).max_by(|a, b| a.0.total_cmp(&b.0))
}

/// What guests see: the two bands as the product draws them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Banded {
    /// What the server put into «you».
    pub(crate) you: Point,
    /// At that of «maybe you?»: both bands together.
    pub(crate) both: Point,
    /// Of the photos in «maybe you?» alone that guests who are in the event are shown, those that they are in. What
    /// strangers are shown there is in the rates of `both`: how many of them search says nothing of this.
    pub(crate) maybe_precision: Option<f64>,
}

/// The rates of both bands.
pub(crate) fn banded(galleries: &Galleries, bands: Bands) -> Banded {
    let you = tally(galleries, |hit| hit.you).point(bands.you.get());
    let both = tally(galleries, |hit| hit.you || hit.similarity >= bands.maybe.get()).point(bands.maybe.get());
    let guests = |(searches, photos): &(Vec<Search>, usize)| {
        (searches.iter().filter(|search| !search.mates.is_empty()).cloned().collect(), *photos)
    };
    let guests: Vec<_> = galleries.iter().map(guests).collect();
    let maybe = tally(&guests, |hit| !hit.you && hit.similarity >= bands.maybe.get());
    Banded { you, both, maybe_precision: share(maybe.right, maybe.right + maybe.wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::Threshold;

    fn hit(&(photo, similarity): &(usize, f32)) -> Hit {
        Hit { photo, similarity, you: similarity >= 0.58 }
    }

    fn searches() -> Vec<(Vec<Search>, usize)> {
        let of = |mates: &[usize], hits: &[(usize, f32)]| Search {
            mates: mates.to_vec(),
            hits: hits.iter().map(hit).collect(),
        };
        // Ten photos. One searcher is in 0 and 1, one in 2 whose photo is found weakly, one in 3 and never found; two
        // strangers, one of whom looks like 4.
        vec![(
            vec![
                of(&[0, 1], &[(0, 0.9), (1, 0.5), (7, 0.45)]),
                of(&[2], &[(2, 0.3), (5, 0.6)]),
                of(&[3], &[]),
                of(&[], &[(4, 0.55)]),
                of(&[], &[]),
            ],
            10,
        )]
    }

    #[test]
    fn rates_are_counted_by_hand() {
        let at = point(&searches(), 0.5);
        assert_eq!((at.right, at.wrong), (2, 2));
        assert_eq!((at.precision, at.recall, at.f1), (Some(0.5), Some(0.5), Some(0.5)));
        assert_eq!(at.fnir, Some(2.0 / 3.0), "one is found, one below the threshold, one not at all");
        assert_eq!(at.fpir, Some(0.5), "one of two strangers is shown something");
        assert_eq!(at.false_match, Some(2.0 / 46.0), "8 + 9 + 9 + 10 + 10 pairs of different people");
        let low = point(&searches(), 0.2);
        assert_eq!((low.right, low.wrong, low.fnir), (3, 3, Some(1.0 / 3.0)));
        let high = point(&searches(), 0.95);
        assert_eq!((high.precision, high.recall, high.f1, high.fpir), (None, Some(0.0), None, Some(0.0)));
    }

    #[test]
    fn nothing_has_no_rate() {
        let none = point(&[(Vec::new(), 0)], 0.5);
        assert_eq!(
            (none.precision, none.recall, none.fnir, none.fpir, none.false_match),
            (None, None, None, None, None)
        );
    }

    #[test]
    fn a_smaller_gallery_knows_less() {
        let (all, _) = &searches()[0];
        let keep: Vec<bool> = (0..10).map(|photo| photo == 1 || photo == 7).collect();
        let first = all[0].within(&keep);
        assert_eq!(first, Search { mates: vec![1], hits: [(1, 0.5), (7, 0.45)].iter().map(hit).collect() });
        assert!(all[1].within(&keep).mates.is_empty(), "whoever is not in it searches as a stranger");
    }

    #[test]
    fn bands_share_what_is_shown() {
        let bands = Bands { you: Threshold::new(0.58), maybe: Threshold::new(0.4), you_poor: Threshold::new(0.7) };
        let both = banded(&searches(), bands);
        assert_eq!((both.you.right, both.you.wrong, both.both.right, both.both.wrong), (1, 1, 2, 3));
        assert_eq!(both.maybe_precision, Some(0.5), "what the stranger is shown is counted apart");
    }

    #[test]
    fn the_most_recall_at_a_precision() {
        let curve = curve(&searches(), 20, 99);
        assert_eq!(curve.len(), 80);
        let (recall, threshold) = recall_at(&curve, 0.99).unwrap();
        assert_eq!(recall, 0.25);
        assert!(threshold > 0.6, "{threshold}");
        assert!(curve.windows(2).all(|pair| pair[0].recall >= pair[1].recall && pair[0].fnir <= pair[1].fnir));
    }
}
