//! From similarities to what a guest sees: «you», «maybe you?», or nothing.
//!
//! «you» is fixed. «maybe» asks for more the more faces there are, because each further face is a further chance to take
//! somebody else for the guest: it is set so that one search in five is expected to show a stranger there. Then more
//! than half of what «maybe» shows is right; at one stranger a search it was a quarter.

use findme_common::protocol::Band;
use serde::Deserialize;

use super::embedding::Similarity;

/// Strangers that a search may be expected to show in «maybe».
const STRANGERS: f64 = 0.2;

/// A similarity from which on something counts.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Deserialize)]
#[serde(transparent)]
pub struct Threshold(f32);

impl Threshold {
    /// A cosine, −1 to 1.
    pub const fn new(cosine: f32) -> Self {
        Self(cosine)
    }

    /// The cosine.
    pub const fn get(self) -> f32 {
        self.0
    }

    /// Whether a similarity counts.
    pub fn admits(self, similarity: Similarity) -> bool {
        similarity.get() >= self.0
    }
}

/// A point of the measured curve of false matches.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Impostors {
    /// A cosine.
    pub similarity: f32,
    /// The share of pairs of different people that reach it.
    pub rate: f64,
}

/// What a pack's similarities mean, as measured on labelled photos.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// From here on a photo is shown as «you».
    pub you: Threshold,
    /// «maybe you?» never reaches lower than this.
    pub maybe_floor: Threshold,
    /// So much more likeness it takes for «you» where the face in the photo is poor.
    #[serde(default)]
    pub poor_margin: f32,
    /// Measured false matches, by rising similarity and falling rate.
    pub impostors: Vec<Impostors>,
}

/// Where the two bands of one search begin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bands {
    /// «you» from here on.
    pub you: Threshold,
    /// «maybe you?» from here up to `you`; never above it.
    pub maybe: Threshold,
    /// «you» of poor faces.
    pub you_poor: Threshold,
}

impl Bands {
    /// The band of a similarity to a good face; `None` when it is not shown.
    pub fn of(&self, similarity: Similarity) -> Option<Band> {
        self.of_face(similarity, false)
    }

    /// The band of a similarity to a face that may be poor.
    pub fn of_face(&self, similarity: Similarity, poor: bool) -> Option<Band> {
        let you = if poor { self.you_poor } else { self.you };
        match similarity {
            s if you.admits(s) => Some(Band::You),
            s if self.maybe.admits(s) => Some(Band::Maybe),
            _ => None,
        }
    }
}

impl Thresholds {
    /// The bands of a search in an event with this many faces.
    pub fn bands(&self, faces_in_event: usize) -> Bands {
        let rate = STRANGERS / faces_in_event.max(1) as f64;
        let maybe = self.similarity_at(rate).clamp(self.maybe_floor.0, self.you.0);
        Bands { you: self.you, maybe: Threshold(maybe), you_poor: Threshold(self.you.0 + self.poor_margin) }
    }

    /// The cosine that this share of strangers reaches, between the measured points on a logarithmic scale.
    fn similarity_at(&self, rate: f64) -> f32 {
        let after = self.impostors.partition_point(|point| point.rate > rate);
        let (Some(above), Some(below)) =
            (after.checked_sub(1).and_then(|i| self.impostors.get(i)), self.impostors.get(after))
        else {
            // Rarer than anything measured: nothing below «you». More frequent than anything measured: the floor.
            return if after == 0 { self.maybe_floor.0 } else { self.you.0 };
        };
        let part = (above.rate.ln() - rate.ln()) / (above.rate.ln() - below.rate.ln());
        above.similarity + (below.similarity - above.similarity) * part as f32
    }

    /// Whether the numbers are in order: for the test of the embedded description.
    pub fn are_sound(&self) -> bool {
        let falling = self.impostors.windows(2).all(|p| p[0].similarity < p[1].similarity && p[0].rate > p[1].rate);
        let rates = self.impostors.iter().all(|p| p.rate > 0.0 && p.rate < 1.0);
        let margin = self.poor_margin >= 0.0 && self.you.0 + self.poor_margin <= 1.0;
        falling && rates && self.impostors.len() >= 2 && self.maybe_floor <= self.you && margin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thresholds() -> Thresholds {
        let point = |similarity, rate| Impostors { similarity, rate };
        Thresholds {
            you: Threshold(0.5),
            maybe_floor: Threshold(0.32),
            poor_margin: 0.04,
            impostors: vec![point(0.2, 1e-2), point(0.4, 1e-4), point(0.45, 1e-5)],
        }
    }

    #[test]
    fn maybe_rises_with_the_faces_and_never_passes_you() {
        let t = thresholds();
        let maybe = |faces| t.bands(faces).maybe.get();
        assert!((maybe(2_000) - 0.4).abs() < 1e-6, "one stranger in 10,000 reaches .4");
        assert!((maybe(6_325) - 0.425).abs() < 1e-3, "halfway on the logarithmic scale");
        assert_eq!(maybe(0), 0.32);
        assert_eq!(maybe(10), 0.32);
        assert_eq!(maybe(10_000_000), 0.5);
        let all: Vec<f32> = (0..24).map(|n| maybe(1 << n)).collect();
        assert!(all.is_sorted() && all.iter().all(|m| (0.32..=0.5).contains(m)), "{all:?}");
        assert_eq!(t.bands(100).you, Threshold(0.5));
    }

    #[test]
    fn a_similarity_falls_into_one_band() {
        let bands = Bands { you: Threshold(0.5), maybe: Threshold(0.4), you_poor: Threshold(0.54) };
        let band = |cosine| bands.of(Similarity::new(cosine));
        assert_eq!(
            [band(0.5), band(0.499), band(0.4), band(0.399)],
            [Some(Band::You), Some(Band::Maybe), Some(Band::Maybe), None]
        );
        let poor = |cosine| bands.of_face(Similarity::new(cosine), true);
        assert_eq!([poor(0.54), poor(0.53), poor(0.39)], [Some(Band::You), Some(Band::Maybe), None]);
    }
}
