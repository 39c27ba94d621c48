//! Small networks, run row by row with the channels of a pixel side by side, so that the two kernels that they mostly
//! consist of use the processor's full width: the detector and the embedder of the default pack. rten and onnxruntime,
//! made for larger networks, take longer for these.
//!
//! Invariant: values are those of rten within rounding; a network that is not made of the few steps known here is rten's.

mod kernels;
mod reading;
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

    fn of_sides(&self, [height, width]: [usize; 2]) -> Result<&Self, String> {
        let fits = [self.height, self.width] == [height, width];
        fits.then_some(self).ok_or_else(misfit)
    }

    /// The mean of all pixels.
    fn mean(&self) -> Self {
        let mut map = Self::black(1, 1, self.channels);
        for pixel in self.values.chunks_exact(self.channels) {
            map.values.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += value);
        }
        let share = 1.0 / (self.width * self.height) as f32;
        map.values.iter_mut().for_each(|sum| *sum *= share);
        map
    }

    /// What a filter of the map's own size makes of it.
    fn through(&self, filter: &Filter) -> Self {
        let mut values = filter.end.bias.clone();
        for (pixel, weights) in self.values.chunks_exact(self.channels).zip(filter.weights.chunks_exact(self.channels))
        {
            values.iter_mut().zip(pixel).zip(weights).for_each(|((sum, value), weight)| *sum += value * weight);
        }
        values.iter_mut().filter(|value| **value < 0.0).for_each(|value| *value *= filter.end.slope);
        Self { width: 1, height: 1, channels: self.channels, values }
    }
}

fn misfit() -> String {
    "the picture is not of the network's size".to_owned()
}

fn sigmoid(value: f32) -> f32 {
    1.0 / (1.0 + (-value).exp())
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
        let network = Self { plan, over };
        // Sizes that do not fit each other show when it runs.
        let [height, width] = network.plan.sides.unwrap_or([64; 2]);
        network.run(Planes::black(width, height)).is_ok().then_some(network)
    }

    fn scaled(&self, mut planes: Planes) -> Planes {
        for (plane, [scale, shift]) in planes.split().into_iter().zip(self.plan.input) {
            if (scale, shift) != (1.0, 0.0) {
                plane.iter_mut().for_each(|value| *value = *value * scale + shift);
            }
        }
        planes
    }
}

impl Network for Loaded {
    fn run(&self, planes: Planes) -> Result<Vec<Vec<f32>>, String> {
        let fits = |side: usize| side > 0 && side.is_multiple_of(32);
        if !fits(planes.width) || !fits(planes.height) {
            return Err("a picture's sides are multiples of 32".to_owned());
        }
        let planes = self.scaled(planes);
        let mut maps: Vec<Map> = Vec::with_capacity(self.plan.steps.len());
        for (step, over) in self.plan.steps.iter().zip(&self.over) {
            let map = match step {
                Step::Unit { from: None, dense, filter, halved } => {
                    let (mut squares, mut row) = (Vec::new(), Vec::new());
                    let mut stem = |y: usize, row: &mut [f32]| stem(&planes, &self.plan.stem, y, &mut squares, row);
                    unit((planes.width / 2, planes.height / 2), filter, *halved, |y, output| match dense {
                        None => stem(y, output),
                        Some(dense) => {
                            row.resize(planes.width / 2 * dense.inputs, 0.0);
                            stem(y, &mut row);
                            DenseRow { dense, input: &row, output }.dispatch();
                        }
                    })?
                }
                Step::Unit { from: Some(from), dense, filter, halved } => {
                    let from = &maps[*from];
                    unit((from.width, from.height), filter, *halved, |y, output| match dense {
                        None => output.copy_from_slice(from.row(y)),
                        Some(dense) => DenseRow { dense, input: from.row(y), output }.dispatch(),
                    })?
                }
                Step::Dense { from, dense } => {
                    let from = &maps[*from];
                    let mut map = Map::black(from.width, from.height, dense.outputs);
                    for (y, output) in map.rows_mut().enumerate() {
                        DenseRow { dense, input: from.row(y), output }.dispatch();
                    }
                    map
                }
                Step::Pool(from) => pool(&maps[*from])?,
                Step::Mean { from, sides } => maps[*from].of_sides(*sides)?.mean(),
                Step::Whole { from, sides, filter } => maps[*from].of_sides(*sides)?.through(filter),
                Step::Gate { from, gate, plus } => gated(&maps[*from], &maps[*gate], plus.map(|plus| &maps[plus]))?,
                Step::AddDoubled { large, small } => add_doubled(&maps[*large], &maps[*small])?,
            };
            maps.push(map);
            over.iter().for_each(|&slot| maps[slot] = Map::default());
        }
        let outputs = self.plan.outputs.iter().map(|output| {
            let map = &maps[output.slot];
            if !output.listed {
                map.of_sides([1, 1])?;
            }
            let pixels = map.values.chunks_exact(map.channels);
            let values = pixels.flat_map(|pixel| &pixel[..output.channels]).copied();
            Ok(if output.sigmoid { values.map(sigmoid).collect() } else { values.collect() })
        });
        outputs.collect()
    }
}

/// A row of every second pixel of the picture, out of the nine around it in all three planes; black outside.
fn stem(planes: &Planes, dense: &Dense, y: usize, squares: &mut Vec<f32>, output: &mut [f32]) {
    squares.resize(planes.width / 2 * dense.inputs, 0.0);
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
) -> Result<Map, String> {
    let channels = filter.channels;
    let row = || vec![0.0; (width + 2) * channels];
    let (mut above, mut middle, mut below) = (row(), row(), row());
    let mut next = |y: usize, row: &mut [f32]| {
        // Beyond the picture it is black; so are the pixels at either end.
        let inside = channels..channels * (width + 1);
        if y < height { first(y, &mut row[inside]) } else { row.fill(0.0) }
    };
    next(0, &mut below);
    let mut known = 0;
    let mut second = |y: usize, output: &mut [f32]| {
        while known <= y * filter.stride {
            known += 1;
            std::mem::swap(&mut above, &mut middle);
            std::mem::swap(&mut middle, &mut below);
            next(known, &mut below);
        }
        FilterRow { filter, above: &above, middle: &middle, below: &below, output }.dispatch();
    };
    let fits = |side: usize| side.is_multiple_of(filter.stride) && side / filter.stride > usize::from(halved);
    if !(fits(width) && fits(height)) {
        return Err(misfit());
    }
    let (width, height) = (width / filter.stride, height / filter.stride);
    if !halved {
        let mut map = Map::black(width, height, channels);
        map.rows_mut().enumerate().for_each(|(y, output)| second(y, output));
        return Ok(map);
    }
    let mut map = Map::black(width / 2, height / 2, channels);
    let (mut upper, mut lower) = (vec![0.0; width * channels], vec![0.0; width * channels]);
    for (y, output) in map.rows_mut().enumerate() {
        second(2 * y, &mut upper);
        second(2 * y + 1, &mut lower);
        PoolRow { channels, upper: &upper, lower: &lower, output }.dispatch();
    }
    Ok(map)
}

fn gated(from: &Map, gate: &Map, plus: Option<&Map>) -> Result<Map, String> {
    gate.of_sides([1, 1])?;
    plus.map(|plus| plus.of_sides([from.height, from.width])).transpose()?;
    let gate: Vec<f32> = gate.values.iter().copied().map(sigmoid).collect();
    let mut map =
        Map { values: plus.map_or_else(|| vec![0.0; from.values.len()], |plus| plus.values.clone()), ..*from };
    let pixels = map.values.chunks_exact_mut(gate.len()).zip(from.values.chunks_exact(gate.len()));
    for (sums, pixel) in pixels {
        sums.iter_mut().zip(pixel).zip(&gate).for_each(|((sum, value), gate)| *sum += value * gate);
    }
    Ok(map)
}

fn pool(from: &Map) -> Result<Map, String> {
    if from.width < 2 || from.height < 2 {
        return Err(misfit());
    }
    let mut map = Map::black(from.width / 2, from.height / 2, from.channels);
    for (y, output) in map.rows_mut().enumerate() {
        PoolRow { channels: from.channels, upper: from.row(2 * y), lower: from.row(2 * y + 1), output }.dispatch();
    }
    Ok(map)
}

fn add_doubled(large: &Map, small: &Map) -> Result<Map, String> {
    large.of_sides([small.height * 2, small.width * 2])?;
    let mut map = Map { values: large.values.clone(), ..*large };
    for (y, row) in map.rows_mut().enumerate() {
        let pairs = row.chunks_exact_mut(2 * large.channels).zip(small.row(y / 2).chunks_exact(large.channels));
        for (pair, value) in pairs {
            for pixel in pair.chunks_exact_mut(large.channels) {
                pixel.iter_mut().zip(value).for_each(|(sum, value)| *sum += value);
            }
        }
    }
    Ok(map)
}

impl Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Loaded({} steps)", self.plan.steps.len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use proptest::sample::select;

    use super::super::{graph, rten};
    use super::*;
    use crate::face::detect::OUTPUTS;
    use crate::face::{Embedding, default_pack};
    use crate::picture::tests::shared;

    const DETECTOR: &str = "face_detection_yunet_2026may.onnx";
    const EMBEDDER: &str = "face-reidentification-retail-0095.onnx";

    /// Soft shapes with some noise, as a picture is.
    fn picture(width: usize, height: usize) -> Planes {
        let mut state = 1_u32;
        let values = (0..3 * width * height).map(|at| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((at as f32 / 40.0).sin() * 90.0 + 128.0 + (state >> 27) as f32).round()
        });
        Planes { width, height, values: values.collect() }
    }

    fn model(file: &str) -> Option<Vec<u8>> {
        Some(std::fs::read(shared()?.join("models").join(file)).unwrap())
    }

    /// Ours and theirs, of a file that both can run.
    fn both(bytes: Vec<u8>, outputs: &[&str]) -> [Box<dyn Network>; 2] {
        let ours = Loaded::new(&bytes, outputs).expect("the default pack is made of these steps");
        [Box::new(ours), Box::new(rten::Loaded::new(bytes, outputs, Arc::default()).unwrap())]
    }

    #[test]
    fn the_detector_gives_the_values_of_rten() {
        let Some(bytes) = model(DETECTOR) else { return };
        let networks = both(bytes, &OUTPUTS);
        for (width, height) in [(32, 32), (96, 64), (160, 224)] {
            let [ours, theirs] = networks.each_ref().map(|network| network.run(picture(width, height)).unwrap());
            assert_eq!(ours.len(), theirs.len());
            for ((name, a), b) in OUTPUTS.iter().zip(&ours).zip(&theirs) {
                assert_eq!(a.len(), b.len(), "{name}");
                let near = |(x, y): (&f32, &f32)| (x - y).abs() / y.abs().max(1.0) < 1e-4;
                assert!(a.iter().zip(b).all(near), "{name} at {width} × {height}");
            }
        }
    }

    #[test]
    fn the_embedder_gives_the_direction_of_rten() {
        let Some(converted) = model(EMBEDDER) else { return };
        let parts =
            [EMBEDDER.replace("onnx", "xml"), EMBEDDER.replace("onnx", "bin")].map(|file| model(&file).unwrap());
        let imported = crate::models::import(&default_pack().embedder.model, &parts).unwrap();
        for bytes in [converted, imported] {
            let [ours, theirs] = both(bytes, &[]).map(|network| {
                let outputs = network.run(picture(128, 128)).unwrap();
                Embedding::new(&outputs[0]).unwrap()
            });
            let worst = ours.values().iter().zip(theirs.values()).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-4, "{worst}");
        }
    }

    #[test]
    fn a_picture_of_another_size_than_the_networks_is_refused() {
        let Some(bytes) = model(EMBEDDER) else { return };
        let ours = Loaded::new(&bytes, &[]).unwrap();
        for (width, height) in [(96, 128), (128, 160), (130, 128), (0, 128)] {
            assert!(ours.run(picture(width, height)).is_err(), "{width} × {height}");
        }
    }

    #[test]
    fn a_network_of_other_steps_is_left_to_rten() {
        assert!(Loaded::new(b"no model", &OUTPUTS).is_none());
        for (file, outputs, operators) in [
            (DETECTOR, &OUTPUTS[..], &["Conv", "Relu", "MaxPool", "Resize", "Add"][..]),
            (EMBEDDER, &[], &["PRelu", "Mul", "AveragePool", "Sigmoid"]),
        ] {
            let Some(bytes) = model(file) else { return };
            assert!(Loaded::new(&bytes, &["nothing of this name"]).is_none(), "{file}");
            for operator in operators {
                // One of them is called otherwise. Before it are the number of the field and its length.
                let field = [&[0x22, operator.len() as u8], operator.as_bytes()].concat();
                let mut bytes = bytes.clone();
                let place = bytes.windows(field.len()).position(|window| window == field);
                bytes[place.unwrap() + 2] = b'X';
                assert!(Loaded::new(&bytes, outputs).is_none(), "{file} without {operator}");
            }
        }
    }

    /// Changes bytes near the words that say what is done, and runs what is still a network.
    fn with_a_wrong_byte(file: &str, outputs: &[&str], told: &[&str], side: usize, cases: u32) {
        let Some(bytes) = model(file) else { return };
        let told = |at: &usize| told.iter().any(|word| bytes[*at..].starts_with(word.as_bytes()));
        let places: Vec<usize> = (0..bytes.len()).filter(told).collect();
        proptest!(ProptestConfig::with_cases(cases), |(place in select(places), after in 0_usize..60, byte: u8)| {
            let mut bytes = bytes.clone();
            let at = (place + after).min(bytes.len() - 1);
            bytes[at] = byte;
            let _ = graph::with_leaky_slopes(&bytes);
            if let Some(network) = Loaded::new(&bytes, outputs) {
                let _ = network.run(picture(side, side));
            }
        });
    }

    #[test]
    fn a_file_with_a_wrong_byte_does_no_harm() {
        let words = ["Conv", "kernel_shape", "pads", "strides", "group", "MaxPool", "Resize", "Add", "perm"];
        with_a_wrong_byte(DETECTOR, &OUTPUTS, &words, 32, 300);
        let words =
            ["Conv", "kernel_shape", "pads", "strides", "group", "AveragePool", "Mul", "Add", "PRelu", "Sigmoid"];
        with_a_wrong_byte(EMBEDDER, &[], &words, 128, 16);
    }
}
