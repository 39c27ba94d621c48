//! Small detectors, run row by row with the channels of a pixel side by side, so that the two kernels that they consist
//! of use the processor's full width. rten, made for larger networks, takes several times as long for these.
//!
//! Invariant: values are those of rten within rounding; a network that is not made of the few steps known here is rten's.

mod graph;
mod kernels;
mod steps;

use std::fmt::Debug;

use rten_simd::SimdOp;

use super::{Network, Planes};
use kernels::{Dense, DenseRow, Filter, FilterRow, PoolRow};
use steps::{Plan, Slot, Step};

/// A loaded network.
pub(super) struct Loaded {
    plan: Plan,
    /// For each step the maps that nobody reads after it.
    over: Vec<Vec<Slot>>,
}

/// Pixels with their channels side by side.
#[derive(Debug, Default)]
struct Map {
    width: usize,
    height: usize,
    channels: usize,
    values: Vec<f32>,
}

impl Map {
    fn black(width: usize, height: usize, channels: usize) -> Self {
        Self { width, height, channels, values: vec![0.0; width * height * channels] }
    }

    fn row(&self, y: usize) -> &[f32] {
        let stride = self.width * self.channels;
        &self.values[y * stride..][..stride]
    }

    fn rows_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.values.chunks_exact_mut(self.width * self.channels)
    }
}

impl Loaded {
    /// Reads an ONNX file; `None` when it is not one for this.
    pub(super) fn new(bytes: &[u8], outputs: &[&str]) -> Option<Self> {
        let plan = Plan::read(bytes, outputs)?;
        let mut last: Vec<usize> = (0..plan.steps.len()).collect();
        for (number, step) in plan.steps.iter().enumerate() {
            step.reads().for_each(|slot| last[slot] = number);
        }
        let mut over = vec![Vec::new(); plan.steps.len()];
        for (slot, last) in last.into_iter().enumerate() {
            if plan.outputs.iter().all(|output| output.slot != slot) {
                over[last].push(slot);
            }
        }
        Some(Self { plan, over })
    }
}

impl Network for Loaded {
    fn run(&self, planes: Planes) -> Result<Vec<Vec<f32>>, String> {
        let fits = |side: usize| side > 0 && side.is_multiple_of(32);
        if !fits(planes.width) || !fits(planes.height) {
            return Err("a picture's sides are multiples of 32".to_owned());
        }
        let mut maps: Vec<Map> = Vec::with_capacity(self.plan.steps.len());
        for (step, over) in self.plan.steps.iter().zip(&self.over) {
            let map = match step {
                Step::Unit { from: None, dense, filter, halved } => {
                    let (mut squares, mut row) = (Vec::new(), Vec::new());
                    unit((planes.width / 2, planes.height / 2), filter, *halved, |y, output| {
                        stem(&planes, &self.plan.stem, y, &mut squares, &mut row);
                        DenseRow { dense, input: &row, output }.dispatch();
                    })
                }
                Step::Unit { from: Some(from), dense, filter, halved } => {
                    let from = &maps[*from];
                    unit((from.width, from.height), filter, *halved, |y, output| {
                        DenseRow { dense, input: from.row(y), output }.dispatch();
                    })
                }
                Step::Pool(from) => pool(&maps[*from]),
                Step::AddDoubled { large, small } => add_doubled(&maps[*large], &maps[*small]),
            };
            maps.push(map);
            over.iter().for_each(|&slot| maps[slot] = Map::default());
        }
        let outputs = self.plan.outputs.iter().map(|output| {
            let map = &maps[output.slot];
            let pixels = map.values.chunks_exact(map.channels);
            let values = pixels.flat_map(|pixel| &pixel[..output.channels]).copied();
            if output.sigmoid { values.map(|value| 1.0 / (1.0 + (-value).exp())).collect() } else { values.collect() }
        });
        Ok(outputs.collect())
    }
}

/// A row of every second pixel of the picture, out of the nine around it in all three planes; black outside.
fn stem(planes: &Planes, dense: &Dense, y: usize, squares: &mut Vec<f32>, output: &mut Vec<f32>) {
    squares.resize(planes.width / 2 * dense.inputs, 0.0);
    output.resize(planes.width / 2 * dense.outputs, 0.0);
    // By pixel, plane, row of the square and column, as the weights are.
    for (plane, values) in planes.values.chunks_exact(planes.width * planes.height).enumerate() {
        for line in 0..3 {
            let place = plane * 9 + line * 3;
            let inside = (2 * y + line).checked_sub(1).and_then(|y| values.chunks_exact(planes.width).nth(y));
            let Some(row) = inside else {
                squares.chunks_exact_mut(dense.inputs).for_each(|square| square[place..place + 3].fill(0.0));
                continue;
            };
            let mut left = 0.0;
            for (square, &[middle, right]) in squares.chunks_exact_mut(dense.inputs).zip(row.as_chunks::<2>().0) {
                square[place..place + 3].copy_from_slice(&[left, middle, right]);
                left = right;
            }
        }
    }
    DenseRow { dense, input: squares, output }.dispatch();
}

/// Both halves of a unit. `first` gives a row of what the first half makes; only three of them are ever there.
fn unit(
    (width, height): (usize, usize),
    filter: &Filter,
    halved: bool,
    mut first: impl FnMut(usize, &mut [f32]),
) -> Map {
    let channels = filter.channels;
    let row = || vec![0.0; (width + 2) * channels];
    let (mut above, mut middle, mut below) = (row(), row(), row());
    let mut next = |y: usize, row: &mut [f32]| {
        // Beyond the picture it is black; so are the pixels at either end.
        let inside = channels..channels * (width + 1);
        if y < height { first(y, &mut row[inside]) } else { row.fill(0.0) }
    };
    next(0, &mut below);
    let mut second = |y: usize, output: &mut [f32]| {
        std::mem::swap(&mut above, &mut middle);
        std::mem::swap(&mut middle, &mut below);
        next(y + 1, &mut below);
        FilterRow { filter, above: &above, middle: &middle, below: &below, output }.dispatch();
    };
    if !halved {
        let mut map = Map::black(width, height, channels);
        map.rows_mut().enumerate().for_each(|(y, output)| second(y, output));
        return map;
    }
    let mut map = Map::black(width / 2, height / 2, channels);
    let (mut upper, mut lower) = (vec![0.0; width * channels], vec![0.0; width * channels]);
    for (y, output) in map.rows_mut().enumerate() {
        second(2 * y, &mut upper);
        second(2 * y + 1, &mut lower);
        PoolRow { channels, upper: &upper, lower: &lower, output }.dispatch();
    }
    map
}

fn pool(from: &Map) -> Map {
    let mut map = Map::black(from.width / 2, from.height / 2, from.channels);
    for (y, output) in map.rows_mut().enumerate() {
        PoolRow { channels: from.channels, upper: from.row(2 * y), lower: from.row(2 * y + 1), output }.dispatch();
    }
    map
}

fn add_doubled(large: &Map, small: &Map) -> Map {
    let mut map = Map { values: large.values.clone(), ..*large };
    for (y, row) in map.rows_mut().enumerate() {
        let pairs = row.chunks_exact_mut(2 * large.channels).zip(small.row(y / 2).chunks_exact(large.channels));
        for (pair, value) in pairs {
            for pixel in pair.chunks_exact_mut(large.channels) {
                pixel.iter_mut().zip(value).for_each(|(sum, value)| *sum += value);
            }
        }
    }
    map
}

impl Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Loaded({} steps)", self.plan.steps.len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::rten;
    use super::*;
    use crate::face::detect::OUTPUTS;
    use crate::picture::tests::shared;

    #[test]
    fn the_values_are_those_of_rten() {
        let Some(shared) = shared() else { return };
        let bytes = std::fs::read(shared.join("models/face_detection_yunet_2026may.onnx")).unwrap();
        let ours = Loaded::new(&bytes, &OUTPUTS).expect("the default detector is made of these steps");
        let theirs = rten::Loaded::new(bytes, &OUTPUTS, Arc::default()).unwrap();
        for (width, height) in [(32, 32), (96, 64), (160, 224)] {
            let mut state = 1_u32;
            let values = (0..3 * width * height).map(|at| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Soft shapes with some noise, as a picture is.
                ((at as f32 / 40.0).sin() * 90.0 + 128.0 + (state >> 27) as f32).round()
            });
            let values: Vec<f32> = values.collect();
            let planes = || Planes { width, height, values: values.clone() };
            let (ours, theirs) = (ours.run(planes()).unwrap(), theirs.run(planes()).unwrap());
            assert_eq!(ours.len(), theirs.len());
            for ((name, a), b) in OUTPUTS.iter().zip(&ours).zip(&theirs) {
                assert_eq!(a.len(), b.len(), "{name}");
                let worst = a.iter().zip(b).map(|(x, y)| (x - y).abs() / y.abs().max(1.0)).fold(0.0, f32::max);
                assert!(worst < 1e-4, "{name} at {width} × {height}: {worst}");
            }
        }
    }

    #[test]
    fn another_network_is_left_to_rten() {
        let Some(shared) = shared() else { return };
        let embedder = std::fs::read(shared.join("models/face-reidentification-retail-0095.onnx")).unwrap();
        assert!(Loaded::new(&embedder, &[]).is_none());
        assert!(Loaded::new(b"no model", &OUTPUTS).is_none());
    }
}
