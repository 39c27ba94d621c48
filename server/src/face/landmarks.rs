//! A second look at each face, upright and large, for its landmarks alone: those of the first look are read from a picture
//! in which the face may be small or turned, and where they are a pixel off the embedder is shown another part of the face.
//!
//! Measured with the same steps in Python on Labeled Faces in the Wild (1,627 faces of about 70 px, all pairs, five wrong
//! labels corrected): true matches at one false match in 10,000 and in 100,000 go from .967 and .917 to .974 and .933. A
//! side of 320 gives .975 and .941 for half as much time again.

use crate::picture::Pixels;

use super::align::{self, Aligned};
use super::detect::Detection;
use super::pack::EmbedderSpec;

/// Side of the view, in pixels.
pub(super) const SIDE: u32 = 256;
/// Distance of the eyes in it, in pixels: the face is then about 240 px high.
const EYES_APART: f64 = 94.0;
/// What is seen farther from the expected middle than this share of the eyes' distance is another face.
const NEAR: f32 = 0.5;

/// Points to a grid of so many lines a pixel. What two runtimes see differs by a hundred thousandth of one, and would
/// otherwise round a few pixels differently, after which the next network sees another picture.
fn on_grid(points: &[[f32; 2]; 5], lines: f32) -> [[f32; 2]; 5] {
    points.map(|point| point.map(|at| (at * lines).round() / lines))
}

/// The place of the landmarks in a view, in pixels: the embedder's template, smaller and in the middle.
fn template(spec: &EmbedderSpec) -> [[f64; 2]; 5] {
    let zoom = EYES_APART / (spec.template[1][0] - spec.template[0][0]);
    spec.template.map(|point| point.map(|at| (at - 0.5) * zoom + f64::from(SIDE) / 2.0))
}

/// A face as it is looked at again.
pub(super) struct View {
    aligned: Aligned,
    middle: [f32; 2],
}

impl View {
    /// `None` when the landmarks make no face.
    pub(super) fn of(pixels: &Pixels, landmarks: &[[f32; 2]; 5], spec: &EmbedderSpec) -> Option<Self> {
        let template = template(spec);
        let aligned = align::align(pixels, &on_grid(landmarks, 64.0), &template, SIDE)?;
        Some(Self { aligned, middle: middle(&template.map(|point| point.map(|at| at as f32))) })
    }

    /// What the detector is given.
    pub(super) fn pixels(&mut self) -> Option<Pixels> {
        Pixels::new(SIDE, SIDE, std::mem::take(&mut self.aligned.crop.rgb))
    }

    /// The landmarks of the face that was to be seen, in the picture; `None` when it was not seen again.
    pub(super) fn landmarks(&self, seen: &[Detection]) -> Option<[[f32; 2]; 5]> {
        let far = |face: &Detection| {
            let at = middle(&face.landmarks);
            (at[0] - self.middle[0]).hypot(at[1] - self.middle[1])
        };
        let face = seen.iter().find(|face| far(face) < NEAR * EYES_APART as f32)?;
        Some(on_grid(&face.landmarks, 16.0).map(|point| self.aligned.source_of(point)))
    }
}

fn middle(points: &[[f32; 2]; 5]) -> [f32; 2] {
    [0, 1].map(|axis| points.iter().map(|point| point[axis]).sum::<f32>() / 5.0)
}

#[cfg(test)]
mod tests {
    use super::super::{Rect, default_pack};
    use super::*;

    #[test]
    fn what_is_seen_in_the_view_is_told_in_the_picture_and_another_face_is_not_taken() {
        let grey = Pixels::new(600, 400, vec![128; 600 * 400 * 3]).unwrap();
        // Eyes below each other: a head that lies on its side.
        let landmarks = [[310.0, 200.0], [310.0, 220.0], [300.0, 210.0], [292.0, 202.0], [292.0, 218.0]];
        let spec = &default_pack().embedder;
        let view = View::of(&grey, &landmarks, spec).unwrap();
        let rect = Rect { x: 0.0, y: 0.0, width: 1.0, height: 1.0 };
        let face = |by: f64| {
            let landmarks = template(spec).map(|[x, y]| [(x + by) as f32, y as f32]);
            Detection { rect, score: 0.9, landmarks }
        };
        assert_eq!(view.landmarks(&[face(60.0)]), None);
        let expected = view.landmarks(&[face(0.0)]).unwrap();
        let moved = view.landmarks(&[face(60.0), face(4.7)]).unwrap();
        for (point, other) in expected.iter().zip(&moved) {
            // A twentieth of the distance of the eyes, to the right in the view, is downwards in the picture.
            let (right, down) = (other[0] - point[0], other[1] - point[1]);
            assert!(right.abs() < 0.05 && (0.7..1.3).contains(&down), "{point:?} {other:?}");
        }
        let near = |(a, b): (&[f32; 2], &[f32; 2])| (a[0] - b[0]).hypot(a[1] - b[1]) < 5.0;
        assert!(expected.iter().zip(&landmarks).all(near), "{expected:?}");
    }
}
