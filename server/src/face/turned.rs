//! A picture turned for a second look, and the way back for what is found in it.

use crate::picture::{Orientation, Pixels, shrink};

use super::detect::{Detection, Rect};

/// A camera held upright, either way.
pub(super) const TURNS: [Orientation; 2] = [Orientation::Turned90, Orientation::Turned270];

/// A small turned copy of a picture.
pub(super) struct Turned {
    small: Pixels,
    turn: Orientation,
    /// Sides of the picture that was turned.
    width: f32,
    height: f32,
    /// Pixels of that picture for one of the copy.
    ratio: f32,
}

impl Turned {
    /// Shrinks to at most `long_side` pixels and turns.
    pub(super) fn new(pixels: &Pixels, turn: Orientation, long_side: u32) -> Self {
        let ratio = (f64::from(pixels.long_side()) / f64::from(long_side)).max(1.0);
        let fit = |length: u32| ((f64::from(length) / ratio).round() as u32).max(1);
        let small = turn.apply(shrink::to_size(pixels, fit(pixels.width()), fit(pixels.height())));
        let (width, height) = (pixels.width() as f32, pixels.height() as f32);
        Self { small, turn, width, height, ratio: ratio as f32 }
    }

    pub(super) fn pixels(&self) -> &Pixels {
        &self.small
    }

    /// A face found in the copy, in the coordinates of the picture. Its landmarks keep their order, so alignment turns
    /// the face by itself.
    pub(super) fn undo(&self, face: Detection) -> Detection {
        let Rect { x, y, width, height } = face.rect;
        let [a, b] = [self.point([x, y]), self.point([x + width, y + height])];
        let rect =
            Rect { x: a[0].min(b[0]), y: a[1].min(b[1]), width: (a[0] - b[0]).abs(), height: (a[1] - b[1]).abs() };
        Detection { rect, score: face.score, landmarks: face.landmarks.map(|landmark| self.point(landmark)) }
    }

    fn point(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let (x, y) = (x * self.ratio, y * self.ratio);
        match self.turn {
            Orientation::Turned90 => [y, self.height - x],
            Orientation::Turned270 => [self.width - y, x],
            _ => [x, y],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_of_the_copy_is_found_again_in_the_picture() {
        // One white square in a black picture, seen from every side.
        let (width, height) = (120_u32, 80_u32);
        let inside = |x: u32, y: u32| (20..28).contains(&x) && (52..56).contains(&y);
        let value = |x: u32, y: u32| if inside(x, y) { [255; 3] } else { [0; 3] };
        let rgb = (0..height).flat_map(|y| (0..width).flat_map(move |x| value(x, y))).collect();
        let picture = Pixels::new(width, height, rgb).unwrap();
        for turn in TURNS {
            let view = Turned::new(&picture, turn, 60);
            let stride = view.small.width() as usize;
            let white: Vec<usize> =
                view.small.rgb().chunks(3).enumerate().filter(|(_, p)| p[0] == 255).map(|(i, _)| i).collect();
            assert_eq!(white.len(), 8, "{turn:?}: halved along both sides");
            let (first, last) = (white[0], white[7]);
            let rect = Rect {
                x: (first % stride) as f32,
                y: (first / stride) as f32,
                width: (last % stride - first % stride + 1) as f32,
                height: (last / stride - first / stride + 1) as f32,
            };
            let back = view.undo(Detection { rect, score: 1.0, landmarks: [[rect.x, rect.y]; 5] });
            assert_eq!(back.rect, Rect { x: 20.0, y: 52.0, width: 8.0, height: 4.0 }, "{turn:?}");
        }
    }
}
