//! Shrinking by area: each pixel of the result is the mean of exactly the part of the picture that it covers.
//!
//! This is what OpenCV calls `INTER_AREA`. Detection and embedding use it because their reference values were measured
//! with it; previews and thumbnails, which people look at, use sharper filters.

use rten_simd::{Isa, SimdOp};

use super::Pixels;

/// How much each source pixel adds to one pixel of the result: a run of weights from `start` on, which sum to 1.
struct Span {
    start: usize,
    weights: Vec<f32>,
}

/// The spans of `to` pixels over `from` pixels, where `to ≤ from`.
fn spans(from: u32, to: u32) -> Vec<Span> {
    let ratio = f64::from(from) / f64::from(to);
    (0..to)
        .map(|index| {
            let (begin, end) = (f64::from(index) * ratio, f64::from(index + 1) * ratio);
            let start = begin.floor();
            // A sliver below a thousandth of a pixel is rounding, not picture.
            let stop = (end - 1e-3).ceil().max(start + 1.0).min(f64::from(from));
            let covered = |pixel: f64| (end.min(pixel + 1.0) - begin.max(pixel)) / ratio;
            let weights = (start as u32..stop as u32).map(|pixel| covered(f64::from(pixel)) as f32).collect();
            Span { start: start as usize, weights }
        })
        .collect()
}

/// Shrinks to `width × height`, rounded to 8 bits. A side that would grow is not shrunk at all: the caller asks for less.
pub(crate) fn to_size(pixels: &Pixels, width: u32, height: u32) -> Pixels {
    let (width, height) = (width.clamp(1, pixels.width), height.clamp(1, pixels.height));
    let mut rgb = Vec::with_capacity(width as usize * height as usize * 3);
    by_area(pixels.rgb(), (pixels.width, pixels.height), (width, height), |_, row| {
        rgb.extend(row.iter().map(|&value| (value + 0.5) as u8));
    });
    Pixels { width, height, reduced: pixels.reduced, rgb }
}

/// Runs over the rows of the shrunk picture; `emit` gets each row's number and its interleaved values, 0 to 255.
pub(crate) fn by_area(rgb: &[u8], from: (u32, u32), to: (u32, u32), mut emit: impl FnMut(usize, &[f32])) {
    let stride = from.0 as usize * 3;
    let across = spans(from.0, to.0);
    // Columns first would touch every pixel with the slow loop; rows first leaves it a picture that is already lower.
    let mut sum = vec![0.0_f32; stride];
    let mut line = vec![0.0_f32; to.0 as usize * 3];
    for (y, down) in spans(from.1, to.1).iter().enumerate() {
        sum.fill(0.0);
        for (source, &weight) in rgb[down.start * stride..].chunks_exact(stride).zip(&down.weights) {
            AddRow { sum: &mut sum, source, weight }.dispatch();
        }
        for (pixel, span) in line.as_chunks_mut::<3>().0.iter_mut().zip(&across) {
            let mut mean = [0.0; 3];
            for (source, &weight) in sum.as_chunks::<3>().0[span.start..].iter().zip(&span.weights) {
                mean[0] += weight * source[0];
                mean[1] += weight * source[1];
                mean[2] += weight * source[2];
            }
            *pixel = mean;
        }
        emit(y, &line);
    }
}

/// Adds a weighted row of bytes, with the widest instructions of the processor.
struct AddRow<'a> {
    sum: &'a mut [f32],
    source: &'a [u8],
    weight: f32,
}

impl SimdOp for AddRow<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, _: I) {
        for (total, &value) in self.sum.iter_mut().zip(self.source) {
            *total += self.weight * f32::from(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn halves_by_the_mean_of_four() {
        let rgb = [[10, 0, 0], [20, 0, 0], [30, 0, 0], [41, 0, 255]].concat();
        let small = to_size(&Pixels::new(2, 2, rgb).unwrap(), 1, 1);
        assert_eq!(small.rgb(), [25, 0, 64]);
    }

    #[test]
    fn a_pixel_on_the_border_is_shared_by_area() {
        // Three pixels onto two: each takes one whole and half of the middle one.
        let small = to_size(&Pixels::new(3, 1, [[0; 3], [90; 3], [30; 3]].concat()).unwrap(), 2, 1);
        assert_eq!(small.rgb(), [30, 30, 30, 50, 50, 50]);
    }

    proptest! {
        #[test]
        fn weights_of_a_span_sum_to_one_and_stay_inside((from, to) in (1_u32..5000).prop_flat_map(|n| (Just(n), 1..=n))) {
            let all = spans(from, to);
            prop_assert_eq!(all.len(), to as usize);
            for span in all {
                let sum: f32 = span.weights.iter().sum();
                prop_assert!((sum - 1.0).abs() < 2e-3, "sum {}", sum);
                prop_assert!(span.start + span.weights.len() <= from as usize);
                prop_assert!(span.weights.iter().all(|&w| w >= 0.0));
            }
        }
    }
}
