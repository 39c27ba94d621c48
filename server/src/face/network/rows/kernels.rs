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
    /// [`LANES`] outputs after the other, in them by input, then output: what is read one after the other lies so.
    weights: Vec<f32>,
    pub(super) end: End,
}

impl Dense {
    /// All weights zero.
    pub(super) fn new(inputs: usize, outputs: usize, bias: Vec<f32>) -> Self {
        Self { inputs, outputs, weights: vec![0.0; inputs * outputs], end: End { bias, slope: LINEAR } }
    }

    /// Sets a weight.
    pub(super) fn set(&mut self, input: usize, output: usize, weight: f32) {
        let panel = output / LANES * LANES;
        self.weights[panel * self.inputs + input * LANES + output - panel] = weight;
    }
}

/// Every channel by itself: each pixel out of those around it.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    pub(super) channels: usize,
    /// By place, row by row, then channel.
    pub(super) weights: Vec<f32>,
    /// Pixels from one that is made to the next.
    pub(super) stride: usize,
    pub(super) end: End,
}

/// What is done with a sum at last.
#[derive(Debug, Clone, Default)]
pub(super) struct End {
    /// Added, by channel.
    pub(super) bias: Vec<f32>,
    /// What is below zero is multiplied by this.
    pub(super) slope: f32,
}

/// The slope of what is left as it is.
pub(super) const LINEAR: f32 = 1.0;
/// The slope of what never goes below zero.
pub(super) const RELU: f32 = 0.0;

#[inline(always)]
fn bend<O: NumOps<f32>>(ops: O, value: O::Simd, slope: f32) -> O::Simd {
    if slope == LINEAR {
        return value;
    }
    let above = ops.max(value, ops.zero());
    if slope == RELU { above } else { ops.mul_add(ops.min(value, ops.zero()), ops.splat(slope), above) }
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
        let (lanes, outputs) = (ops.len(), self.dense.outputs);
        let Self { dense, input, output } = self;
        // As many sums as there are registers for: 32 where a vector has 16 numbers, elsewhere 16.
        let pairs = outputs / (2 * lanes) * 2 * lanes;
        for at in (0..pairs).step_by(2 * lanes) {
            if lanes == LANES {
                row::<2, 8, _>(ops, dense, at, input, output);
            } else {
                row::<2, 6, _>(ops, dense, at, input, output);
            }
        }
        for at in (pairs..outputs).step_by(lanes) {
            row::<1, 8, _>(ops, dense, at, input, output);
        }
    }
}

/// `V` vectors of outputs from `at` on, of all pixels, `P` at a time: their weights stay in the first-level cache.
#[inline(always)]
fn row<const V: usize, const P: usize, O: NumOps<f32>>(
    ops: O,
    dense: &Dense,
    at: usize,
    input: &[f32],
    output: &mut [f32],
) {
    let (mut from, mut to) = (input.chunks_exact(P * dense.inputs), output.chunks_exact_mut(P * dense.outputs));
    for (input, output) in from.by_ref().zip(to.by_ref()) {
        pixels::<V, P, O>(ops, dense, at, input, output);
    }
    let (mut from, mut to) =
        (from.remainder().chunks_exact(2 * dense.inputs), to.into_remainder().chunks_exact_mut(2 * dense.outputs));
    for (input, output) in from.by_ref().zip(to.by_ref()) {
        pixels::<V, 2, O>(ops, dense, at, input, output);
    }
    let (from, to) = (from.remainder().chunks_exact(dense.inputs), to.into_remainder().chunks_exact_mut(dense.outputs));
    for (input, output) in from.zip(to) {
        pixels::<V, 1, O>(ops, dense, at, input, output);
    }
}

#[inline(always)]
fn pixels<const V: usize, const P: usize, O: NumOps<f32>>(
    ops: O,
    dense: &Dense,
    at: usize,
    input: &[f32],
    output: &mut [f32],
) {
    let (inputs, outputs, lanes) = (dense.inputs, dense.outputs, ops.len());
    let rows: [&[f32]; P] = std::array::from_fn(|p| &input[p * inputs..][..inputs]);
    let places: [usize; V] = std::array::from_fn(|v| at + v * lanes);
    let panels = places.map(|at| &dense.weights.as_chunks::<LANES>().0[at / LANES * inputs..][..inputs]);
    let mut sums = [places.map(|at| ops.load(&dense.end.bias[at..])); P];
    for c in 0..inputs {
        let weights: [O::Simd; V] = std::array::from_fn(|v| ops.load(&panels[v][c][places[v] % LANES..]));
        for (sums, row) in sums.iter_mut().zip(&rows) {
            let value = ops.splat(row[c]);
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum = ops.mul_add(value, weight, *sum);
            }
        }
    }
    for (p, sums) in sums.into_iter().enumerate() {
        for (sum, at) in sums.into_iter().zip(places) {
            ops.store(bend(ops, sum, dense.end.slope), &mut output[p * outputs + at..][..lanes]);
        }
    }
}

/// Runs a [`Filter`] of 3 × 3 over a row. The rows that come in have a pixel more at either end.
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
        let Filter { channels, weights, stride, end: End { bias, slope } } = self.filter;
        let (channels, lanes) = (*channels, ops.len());
        for at in (0..channels).step_by(lanes) {
            let weights: [[_; 3]; 3] = std::array::from_fn(|row| {
                std::array::from_fn(|column| ops.load(&weights[(row * 3 + column) * channels + at..][..lanes]))
            });
            let bias = ops.load(&bias[at..][..lanes]);
            let column = |x: usize| {
                [self.above, self.middle, self.below].map(|row| ops.load(&row[x * channels + at..][..lanes]))
            };
            // Three sums, because each addition waits for the one before.
            let sum = |columns: [[_; 3]; 3]| {
                let sums: [_; 3] = std::array::from_fn(|row| {
                    let [left, middle, right] = weights[row];
                    let sum = if row == 0 {
                        ops.mul_add(columns[0][row], left, bias)
                    } else {
                        ops.mul(columns[0][row], left)
                    };
                    ops.mul_add(columns[2][row], right, ops.mul_add(columns[1][row], middle, sum))
                });
                bend(ops, ops.add(ops.add(sums[0], sums[1]), sums[2]), *slope)
            };
            // Each column is loaded once.
            let (mut left, mut middle) = (column(0), column(1));
            for (x, out) in self.output.chunks_exact_mut(channels).enumerate() {
                let right = column(x * stride + 2);
                ops.store(sum([left, middle, right]), &mut out[at..][..lanes]);
                (left, middle) = if *stride == 1 { (middle, right) } else { (right, column(x * stride + 3)) };
            }
        }
    }
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
