//! Alignment: a face turned, moved and scaled until its landmarks lie where the embedder expects them.

use rten_simd::{Isa, SimdOp};

use crate::picture::{Pixels, shrink};

/// Below this scale sampling four neighbours skips pixels, so the surroundings are shrunk by area first.
const SHRINK_BELOW: f64 = 0.5;

/// What is outside the picture.
const BLACK: [u8; 3] = [0; 3];

/// A square of aligned pixels, RGB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crop {
    /// Side in pixels.
    pub size: u32,
    /// Row by row, three bytes a pixel.
    pub rgb: Vec<u8>,
}

/// Turns and scales by `(a, b)`, read as a complex number, then moves by `(x, y)`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Similarity {
    a: f64,
    b: f64,
    x: f64,
    y: f64,
}

impl Similarity {
    /// The least-squares fit of `from` onto `onto`, without reflection (Umeyama 1991; in the plane it is one complex
    /// division). `None` when all points of `from` coincide.
    fn fit(from: &[[f64; 2]; 5], onto: &[[f64; 2]; 5]) -> Option<Self> {
        let mean = |points: &[[f64; 2]; 5], axis: usize| points.iter().map(|p| p[axis]).sum::<f64>() / 5.0;
        let (fx, fy, ox, oy) = (mean(from, 0), mean(from, 1), mean(onto, 0), mean(onto, 1));
        let (mut a, mut b, mut spread) = (0.0, 0.0, 0.0);
        for ([px, py], [qx, qy]) in from.iter().zip(onto) {
            let (px, py, qx, qy) = (px - fx, py - fy, qx - ox, qy - oy);
            a += px * qx + py * qy;
            b += px * qy - py * qx;
            spread += px * px + py * py;
        }
        let (a, b) = (a / spread, b / spread);
        let usable = a.is_finite() && b.is_finite() && a.hypot(b) > 0.0;
        usable.then_some(Self { a, b, x: ox - a * fx + b * fy, y: oy - b * fx - a * fy })
    }

    fn scale(&self) -> f64 {
        self.a.hypot(self.b)
    }

    /// The point that ends up at `(u, v)`.
    fn source_of(&self, u: f64, v: f64) -> (f64, f64) {
        let (u, v) = (u - self.x, v - self.y);
        let square = self.a * self.a + self.b * self.b;
        ((self.a * u + self.b * v) / square, (self.a * v - self.b * u) / square)
    }
}

/// An aligned crop, and the way back from it.
#[derive(Debug)]
pub(super) struct Aligned {
    pub(super) crop: Crop,
    fit: Similarity,
    /// Of the pixels that were sampled: where they begin in the picture, and their size in those of the picture.
    origin: [f64; 2],
    pixel: [f64; 2],
}

impl Aligned {
    /// Where a point of the crop is in the picture.
    pub(super) fn source_of(&self, [u, v]: [f32; 2]) -> [f32; 2] {
        let (x, y) = self.fit.source_of(f64::from(u), f64::from(v));
        [(x * self.pixel[0] + self.origin[0]) as f32, (y * self.pixel[1] + self.origin[1]) as f32]
    }
}

/// The crop of a face whose landmarks are to lie at `template`, in pixels of the crop; `None` when they make no face.
pub(super) fn align(
    pixels: &Pixels,
    landmarks: &[[f32; 2]; 5],
    template: &[[f64; 2]; 5],
    size: u32,
) -> Option<Aligned> {
    let landmarks = landmarks.map(|point| point.map(f64::from));
    let fit = Similarity::fit(&landmarks, template)?;
    if fit.scale() >= SHRINK_BELOW {
        return Some(Aligned { crop: warp(pixels, &fit, size), fit, origin: [0.0; 2], pixel: [1.0; 2] });
    }
    let Shrunk { pixels, landmarks, origin, pixel } = shrink_around(pixels, &landmarks, 2.0 * fit.scale())?;
    let fit = Similarity::fit(&landmarks, template)?;
    Some(Aligned { crop: warp(&pixels, &fit, size), fit, origin, pixel })
}

/// The surroundings of a face shrunk by area, and where its landmarks are in them.
struct Shrunk {
    pixels: Pixels,
    landmarks: [[f64; 2]; 5],
    origin: [f64; 2],
    pixel: [f64; 2],
}

fn shrink_around(pixels: &Pixels, landmarks: &[[f64; 2]; 5], scale: f64) -> Option<Shrunk> {
    let bounds = |axis: usize| {
        let values = landmarks.map(|point| point[axis]);
        values.iter().fold((f64::MAX, f64::MIN), |(least, most), &v| (least.min(v), most.max(v)))
    };
    let ((left, right), (top, bottom)) = (bounds(0), bounds(1));
    // Wide enough for the whole template at any turn, as the reference has it.
    let margin = 3.0 * (0.6 * (right - left).max(bottom - top) + 10.0);
    let span = |from: f64, to: f64, length: u32| {
        let start = (from - margin).floor().clamp(0.0, f64::from(length)) as u32;
        let end = (to + margin).ceil().clamp(0.0, f64::from(length)) as u32;
        (start < end).then_some((start, end - start))
    };
    let (x, width) = span(left, right, pixels.width())?;
    let (y, height) = span(top, bottom, pixels.height())?;
    let part = pixels.part(x, y, width, height);
    let fit = |length: u32| ((f64::from(length) * scale).round_ties_even() as u32).max(1);
    let small = shrink::to_size(&part, fit(width), fit(height));
    let origin = [f64::from(x), f64::from(y)];
    let pixel = [f64::from(width) / f64::from(small.width()), f64::from(height) / f64::from(small.height())];
    let moved = landmarks.map(|[px, py]| [(px - origin[0]) / pixel[0], (py - origin[1]) / pixel[1]]);
    Some(Shrunk { pixels: small, landmarks: moved, origin, pixel })
}

/// Samples `size × size` pixels, each from its four neighbours; black outside the picture.
fn warp(pixels: &Pixels, fit: &Similarity, size: u32) -> Crop {
    let mut rgb = vec![0; (size * size * 3) as usize];
    let across = {
        let ((x, y), (next_x, next_y)) = (fit.source_of(0.0, 0.0), fit.source_of(1.0, 0.0));
        [next_x - x, next_y - y]
    };
    for (v, row) in rgb.as_chunks_mut::<3>().0.chunks_exact_mut(size.max(1) as usize).enumerate() {
        let (x, y) = fit.source_of(0.0, v as f64);
        SampleRow { pixels, from: [x, y], across, row }.dispatch();
    }
    Crop { size, rgb }
}

/// Samples a row, with the processor's own instruction for rounding down.
struct SampleRow<'a> {
    pixels: &'a Pixels,
    from: [f64; 2],
    /// From one pixel to the next.
    across: [f64; 2],
    row: &'a mut [[u8; 3]],
}

impl SimdOp for SampleRow<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, _: I) {
        let Self { pixels, from: [x, y], across, row } = self;
        for (u, pixel) in row.iter_mut().enumerate() {
            let u = u as f64;
            *pixel = sample(pixels, x + u * across[0], y + u * across[1]);
        }
    }
}

#[inline(always)]
fn sample(pixels: &Pixels, x: f64, y: f64) -> [u8; 3] {
    let (left, top) = (x.floor(), y.floor());
    let (dx, dy) = ((x - left) as f32, (y - top) as f32);
    // Saturates far outside, where every pixel is black anyway.
    let (left, top) = (left as i64, top as i64);
    let weights = [(1.0 - dx) * (1.0 - dy), dx * (1.0 - dy), (1.0 - dx) * dy, dx * dy];
    let [a, b, c, d] = pixels.square(left, top).unwrap_or_else(|| {
        let (right, bottom) = (left.saturating_add(1), top.saturating_add(1));
        let at = |x, y| pixels.at(x, y).unwrap_or(&BLACK);
        [at(left, top), at(right, top), at(left, bottom), at(right, bottom)]
    });
    std::array::from_fn(|channel| {
        let values = [a, b, c, d].map(|pixel| f32::from(pixel[channel]));
        values.iter().zip(weights).fold(0.5, |sum, (value, weight)| sum + weight * value) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POINTS: [[f64; 2]; 5] = [[30.0, 40.0], [70.0, 41.0], [50.0, 60.0], [35.0, 80.0], [66.0, 79.0]];

    proptest! {
        #[test]
        fn a_turned_moved_and_scaled_face_is_fitted_back(turn in -3.1_f64..3.1, scale in 0.1_f64..8.0, x in -500.0..500.0_f64) {
            let (a, b) = (scale * turn.cos(), scale * turn.sin());
            let moved = POINTS.map(|[px, py]| [a * px - b * py + x, b * px + a * py - x]);
            let fit = Similarity::fit(&moved, &POINTS).unwrap();
            prop_assert!((fit.scale() - 1.0 / scale).abs() < 1e-9);
            for (point, place) in moved.iter().zip(&POINTS) {
                let (px, py) = fit.source_of(place[0], place[1]);
                prop_assert!((px - point[0]).abs() < 1e-6 && (py - point[1]).abs() < 1e-6);
            }
        }
    }

    proptest! {
        #[test]
        fn a_point_of_a_crop_is_found_in_the_picture(turn in -3.1_f64..3.1, scale in 0.2_f64..2.5, x in 0.0..50.0_f64) {
            let (a, b) = (scale * turn.cos(), scale * turn.sin());
            let moved = POINTS.map(|[px, py]| [(a * px - b * py + 350.0 + x) as f32, (b * px + a * py + 350.0 - x) as f32]);
            let grey = Pixels::new(700, 700, vec![128; 700 * 700 * 3]).unwrap();
            let aligned = align(&grey, &moved, &POINTS, 128).unwrap();
            for (point, place) in moved.iter().zip(&POINTS) {
                let [px, py] = aligned.source_of(place.map(|at| at as f32));
                // Shrinking goes to whole pixels, in each direction on its own: a tenth of a pixel of the crop.
                let near = 0.1 * scale.max(1.0) as f32;
                prop_assert!((px - point[0]).abs() < near && (py - point[1]).abs() < near, "{px} {py} {point:?}");
            }
        }
    }

    #[test]
    fn points_in_one_place_are_no_face() {
        assert_eq!(Similarity::fit(&[[3.0, 3.0]; 5], &POINTS), None);
    }

    #[test]
    fn outside_the_picture_is_black() {
        let white = Pixels::new(2, 2, vec![255; 12]).unwrap();
        assert_eq!(sample(&white, 0.5, 0.5), [255; 3]);
        assert_eq!(sample(&white, -0.5, 0.0), [128; 3]);
        assert_eq!(sample(&white, 9e30, -9e30), [0; 3]);
    }
}
