//! A closer look at group photos: overlapping parts of the picture, each at the full size of the decoded pixels, so that
//! faces are found that shrinking the whole made too small. Decided by what the first look found: ordinary photos do not
//! pay for it.

use crate::picture::Pixels;

use super::detect::{Detection, Rect};

/// So many faces make a group.
const MANY: usize = 8;
/// Faces lower than this, in pixels of what the network was given, are small; others like them were missed.
const SMALL: f32 = 28.0;
/// Fewer small faces than this are people in the background.
const SMALL_AT_LEAST: usize = 3;
/// Longer side of a part at most, in decoded pixels.
const SIDE: u32 = 1280;
/// Two neighbours share this much: a face that one of them cuts is whole in the other, and larger ones were found in the
/// whole picture.
const SHARED: u32 = 192;
/// A box this near to the cut is a part of a face.
const NEAR_CUT: f32 = 4.0;
/// What a face that only a part shows has to score: each look is a further chance to err.
const SURE: f32 = 0.7;
/// Two boxes of which the smaller lies so far inside the other are one face.
const INSIDE: f32 = 0.6;

/// A part of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// The parts that a picture is looked at in after this first look at the whole, shrunk to `long_side`; none when that was
/// enough.
pub(super) fn wanted(found: &[Detection], pixels: &Pixels, long_side: u32) -> Vec<Tile> {
    let ratio = f64::from(pixels.long_side()) / f64::from(long_side);
    let small = found.iter().filter(|face| f64::from(face.rect.height) / ratio < f64::from(SMALL)).count();
    // A picture that was hardly shrunk shows nothing more in parts.
    let group = found.len() >= MANY || (small >= SMALL_AT_LEAST && 2 * small >= found.len());
    if ratio < 1.25 || !group {
        return Vec::new();
    }
    let (columns, rows) = (spans(pixels.width()), spans(pixels.height()));
    let row = |(y, height): (u32, u32)| columns.iter().map(move |&(x, width)| Tile { x, y, width, height });
    rows.into_iter().flat_map(row).collect()
}

/// Equal spans over a length, as few as [`SIDE`] and [`SHARED`] allow: (start, length).
fn spans(length: u32) -> Vec<(u32, u32)> {
    let count = length.saturating_sub(SHARED).div_ceil(SIDE - SHARED).max(1);
    let span = (length + (count - 1) * SHARED).div_ceil(count).min(length);
    (0..count).map(|n| (if count == 1 { 0 } else { n * (length - span) / (count - 1) }, span)).collect()
}

/// What a part showed, in the coordinates of the whole, without faces that the part cuts.
pub(super) fn place(tile: Tile, faces: Vec<Detection>, whole: &Pixels) -> Vec<Detection> {
    let (width, height) = (tile.width as f32, tile.height as f32);
    let cut = |rect: &Rect| {
        (tile.x > 0 && rect.x < NEAR_CUT)
            || (tile.y > 0 && rect.y < NEAR_CUT)
            || (tile.x + tile.width < whole.width() && rect.x + rect.width > width - NEAR_CUT)
            || (tile.y + tile.height < whole.height() && rect.y + rect.height > height - NEAR_CUT)
    };
    let (x, y) = (tile.x as f32, tile.y as f32);
    let moved = |face: Detection| Detection {
        rect: Rect { x: face.rect.x + x, y: face.rect.y + y, ..face.rect },
        score: face.score,
        landmarks: face.landmarks.map(|[px, py]| [px + x, py + y]),
    };
    faces.into_iter().filter(|face| face.score >= SURE && !cut(&face.rect)).map(moved).collect()
}

/// Adds to the faces of the whole those that only parts showed; surest first.
pub(super) fn merge(whole: Vec<Detection>, mut parts: Vec<Detection>, overlap: f32) -> Vec<Detection> {
    parts.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut all = whole;
    for face in parts {
        if all.iter().all(|known| known.rect.overlap(&face.rect) <= overlap && known.rect.covers(&face.rect) <= INSIDE)
        {
            all.push(face);
        }
    }
    all.sort_by(|a, b| b.score.total_cmp(&a.score));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn face(x: f32, y: f32, height: f32, score: f32) -> Detection {
        Detection { rect: Rect { x, y, width: height * 0.8, height }, score, landmarks: [[x, y]; 5] }
    }

    fn grey(width: u32, height: u32) -> Pixels {
        Pixels::new(width, height, vec![128; (width * height * 3) as usize]).unwrap()
    }

    #[test]
    fn ordinary_photos_are_not_looked_at_twice() {
        let photo = grey(3000, 2000);
        assert!(wanted(&[], &photo, 1280).is_empty());
        assert!(wanted(&[face(0.0, 0.0, 300.0, 0.9), face(900.0, 0.0, 40.0, 0.9)], &photo, 1280).is_empty());
        assert!(wanted(&vec![face(0.0, 0.0, 30.0, 0.9); 20], &grey(1300, 900), 1280).is_empty(), "hardly shrunk");
        assert_eq!(wanted(&vec![face(0.0, 0.0, 200.0, 0.9); 8], &photo, 1280).len(), 6, "a group");
        assert_eq!(wanted(&vec![face(0.0, 0.0, 50.0, 0.9); 3], &photo, 1280).len(), 6, "small ones");
    }

    #[test]
    fn a_face_on_a_cut_counts_once() {
        let photo = grey(3000, 2000);
        let tile = Tile { x: 900, y: 0, width: 1128, height: 1096 };
        let seen = vec![face(1.0, 50.0, 40.0, 0.9), face(500.0, 0.0, 40.0, 0.9), face(500.0, 500.0, 40.0, 0.65)];
        let placed = place(tile, seen, &photo);
        assert_eq!(placed.len(), 1, "cut by the left edge; above the upper there is nothing; not sure enough");
        assert_eq!((placed[0].rect.x, placed[0].landmarks[0]), (1400.0, [1400.0, 0.0]));
        let known = vec![face(1402.0, 1.0, 41.0, 0.8)];
        assert_eq!(merge(known.clone(), placed.clone(), 0.3), known);
        let mouth = face(1405.0, 12.0, 15.0, 0.75);
        assert_eq!(merge(known.clone(), vec![mouth], 0.3).len(), 1, "a part of a face is no face");
        assert_eq!(merge(known, vec![face(1500.0, 0.0, 40.0, 0.95)], 0.3)[0].score, 0.95);
    }

    proptest! {
        #[test]
        fn spans_cover_everything_and_share_enough(length in 1_u32..20_000) {
            let spans = spans(length);
            prop_assert_eq!(spans[0].0, 0);
            prop_assert_eq!(spans.last().map(|(start, span)| start + span), Some(length));
            for pair in spans.windows(2) {
                prop_assert!(pair[0].0 + pair[0].1 >= pair[1].0 + SHARED, "{:?}", spans);
            }
            prop_assert!(spans.iter().all(|(_, span)| *span <= SIDE + 1), "{:?}", spans);
        }
    }
}
