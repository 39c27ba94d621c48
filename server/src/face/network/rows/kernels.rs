//! The arithmetic, with the widest vectors of the processor. A row is its pixels one after the other, each with all its
//! channels; the number of channels is a multiple of [`LANES`], which every width of vectors divides.

use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdOp};

/// Channels are padded to a multiple of this.
pub(super) const LANES: usize = 16;

/// Every pixel by itself: `outputs[o] = bias[o] + Σ weights[c][o] · input[c]`.
#[derive(Debug, Clone, Default)]
pub(super) struct Dense {
    /// Channels of a pixel that comes in; any number.
    pub(super) inputs: usize,
    /// Channels of a pixel that goes out.
    pub(super) outputs: usize,
    /// By input, then output.
    pub(super) weights: Vec<f32>,
    pub(super) bias: Vec<f32>,
    /// Whether nothing below zero goes out.
    pub(super) relu: bool,
}

/// Every channel by itself: each pixel out of the nine around it.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    pub(super) channels: usize,
    /// By place, row by row, then channel.
    pub(super) weights: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) relu: bool,
}

/// Runs [`Dense`] over a row.
pub(super) struct DenseRow<'a> {
    pub(super) dense: &'a Dense,
    pub(super) input: &'a [f32],
    pub(super) output: &'a mut [f32],
}

impl SimdOp for DenseRow<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let Self { dense, input, output } = self;
        // Registers are filled without spilling: two vectors of six pixels, or one of eight.
        if dense.outputs >= 2 * ops.len() {
            row::<2, 6, _>(ops, dense, input, output);
        } else {
            row::<1, 8, _>(ops, dense, input, output);
        }
    }
}

#[inline(always)]
fn row<const V: usize, const P: usize, O: NumOps<f32>>(ops: O, dense: &Dense, input: &[f32], output: &mut [f32]) {
    let (mut from, mut to) = (input.chunks_exact(P * dense.inputs), output.chunks_exact_mut(P * dense.outputs));
    for (input, output) in from.by_ref().zip(to.by_ref()) {
        pixels::<V, P, O>(ops, dense, input, output);
    }
    let (from, to) = (from.remainder().chunks_exact(dense.inputs), to.into_remainder().chunks_exact_mut(dense.outputs));
    for (input, output) in from.zip(to) {
        pixels::<V, 1, O>(ops, dense, input, output);
    }
}

/// `P` pixels, `V` vectors of their outputs at a time.
#[inline(always)]
fn pixels<const V: usize, const P: usize, O: NumOps<f32>>(ops: O, dense: &Dense, input: &[f32], output: &mut [f32]) {
    let (inputs, outputs, lanes) = (dense.inputs, dense.outputs, ops.len());
    let rows: [&[f32]; P] = std::array::from_fn(|p| &input[p * inputs..][..inputs]);
    for at in (0..outputs).step_by(V * lanes) {
        let bias: [O::Simd; V] = std::array::from_fn(|v| ops.load(&dense.bias[at + v * lanes..]));
        let mut sums = [bias; P];
        for (c, weights) in dense.weights.chunks_exact(outputs).enumerate().take(inputs) {
            let weights = &weights[at..][..V * lanes];
            let weights: [O::Simd; V] = std::array::from_fn(|v| ops.load(&weights[v * lanes..]));
            for (sums, row) in sums.iter_mut().zip(&rows) {
                let value = ops.splat(row[c]);
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum = ops.mul_add(value, weight, *sum);
                }
            }
        }
        for (p, sums) in sums.into_iter().enumerate() {
            for (v, sum) in sums.into_iter().enumerate() {
                let sum = if dense.relu { ops.max(sum, ops.zero()) } else { sum };
                ops.store(sum, &mut output[p * outputs + at + v * lanes..][..lanes]);
            }
        }
    }
}

/// Runs [`Filter`] over a row. The rows that come in have a pixel more at either end.
pub(super) struct FilterRow<'a> {
    pub(super) filter: &'a Filter,
    pub(super) above: &'a [f32],
    pub(super) middle: &'a [f32],
    pub(super) below: &'a [f32],
    pub(super) output: &'a mut [f32],
}

impl SimdOp for FilterRow<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let Filter { channels, weights, bias, relu } = self.filter;
        let (channels, lanes) = (*channels, ops.len());
        for at in (0..channels).step_by(lanes) {
            let weights: [_; 9] = std::array::from_fn(|place| ops.load(&weights[place * channels + at..][..lanes]));
            let bias = ops.load(&bias[at..][..lanes]);
            let three = |row| windows(row, channels);
            let rows = three(self.above).zip(three(self.middle)).zip(three(self.below));
            for (((above, middle), below), out) in rows.zip(self.output.chunks_exact_mut(channels)) {
                let mut sum = bias;
                for (row, weights) in [above, middle, below].into_iter().zip(weights.as_chunks::<3>().0) {
                    for (column, weight) in weights.iter().enumerate() {
                        sum = ops.mul_add(ops.load(&row[column * channels + at..][..lanes]), *weight, sum);
                    }
                }
                let sum = if *relu { ops.max(sum, ops.zero()) } else { sum };
                ops.store(sum, &mut out[at..][..lanes]);
            }
        }
    }
}

/// Each three pixels beside each other.
#[inline(always)]
fn windows(row: &[f32], channels: usize) -> impl Iterator<Item = &[f32]> {
    row.windows(3 * channels).step_by(channels)
}

/// The larger of two rows' values, and of each two pixels beside each other in them.
pub(super) struct PoolRow<'a> {
    pub(super) channels: usize,
    pub(super) upper: &'a [f32],
    pub(super) lower: &'a [f32],
    pub(super) output: &'a mut [f32],
}

impl SimdOp for PoolRow<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let (ops, channels) = (isa.f32(), self.channels);
        let lanes = ops.len();
        let pairs = self.upper.chunks_exact(2 * channels).zip(self.lower.chunks_exact(2 * channels));
        for ((upper, lower), out) in pairs.zip(self.output.chunks_exact_mut(channels)) {
            for at in (0..channels).step_by(lanes) {
                let best =
                    |row: &[f32]| ops.max(ops.load(&row[at..][..lanes]), ops.load(&row[channels + at..][..lanes]));
                ops.store(ops.max(best(upper), best(lower)), &mut out[at..][..lanes]);
            }
        }
    }
}
