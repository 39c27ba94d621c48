//! What a network does, as steps over maps: read from its file once. A file that asks for anything else than these few
//! steps gives `None`, and another runtime runs it.

use std::collections::HashMap;

use super::graph::{Constant, Graph, Node};
use super::kernels::{Dense, Filter, LANES};

/// Number of a map: the input is none.
pub(super) type Slot = usize;

/// One step. Maps are counted from 0 in the order in which steps make them.
#[derive(Debug)]
pub(super) enum Step {
    /// Each pixel by itself, then each channel by itself.
    Unit {
        /// What it works on; `None`: what [`Plan::stem`] makes of the picture.
        from: Option<Slot>,
        /// Applied first.
        dense: Dense,
        /// Applied to what that gave.
        filter: Filter,
        /// Whether only the largest of each four pixels is kept.
        halved: bool,
    },
    /// Halves both sides, keeping the largest of four.
    Pool(Slot),
    /// Adds a map of half the size, each of its pixels to four.
    AddDoubled {
        /// The larger.
        large: Slot,
        /// The smaller.
        small: Slot,
    },
}

impl Step {
    /// What it works on.
    pub(super) fn reads(&self) -> impl Iterator<Item = Slot> {
        let (one, other) = match *self {
            Self::Unit { from, .. } => (from, None),
            Self::Pool(from) => (Some(from), None),
            Self::AddDoubled { large, small } => (Some(large), Some(small)),
        };
        one.into_iter().chain(other)
    }
}

/// Where an output is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) slot: Slot,
    /// Its channels; the map's others are padding.
    pub(super) channels: usize,
    pub(super) sigmoid: bool,
}

/// A network.
#[derive(Debug)]
pub(super) struct Plan {
    /// The first look at the picture: squares of 3 × 3 at every second pixel.
    pub(super) stem: Dense,
    pub(super) steps: Vec<Step>,
    pub(super) outputs: Vec<Output>,
}

/// What a name in the file stands for.
#[derive(Debug, Clone, Copy)]
enum Meaning {
    Input,
    Stem,
    Map(Output),
    /// The first half of a [`Step::Unit`]: its source and the number of the convolution's node.
    Half(Option<Slot>, usize),
    /// A map at twice its size.
    Doubled(Slot),
}

impl Plan {
    /// Reads a model; `None` when it is not made of these steps, or has not these outputs.
    pub(super) fn read(model: &[u8], outputs: &[&str]) -> Option<Self> {
        let graph = Graph::read(model)?;
        let mut uses: HashMap<&str, usize> = HashMap::new();
        for name in graph.nodes.iter().flat_map(|node| &node.inputs) {
            *uses.entry(name).or_default() += 1;
        }
        let mut reading = Reading { graph: &graph, uses, names: HashMap::new(), stem: None, steps: Vec::new() };
        reading.names.insert("input", Meaning::Input);
        for number in 0..graph.nodes.len() {
            reading.node(number)?;
        }
        let output = |name: &&str| match reading.names.get(name) {
            Some(Meaning::Map(output)) => Some(*output),
            _ => None,
        };
        let outputs = outputs.iter().map(output).collect::<Option<_>>()?;
        Some(Self { stem: reading.stem?, steps: reading.steps, outputs })
    }
}

struct Reading<'a> {
    graph: &'a Graph,
    /// How often each name is read.
    uses: HashMap<&'a str, usize>,
    names: HashMap<&'a str, Meaning>,
    stem: Option<Dense>,
    steps: Vec<Step>,
}

impl<'a> Reading<'a> {
    fn node(&mut self, number: usize) -> Option<()> {
        let node: &'a Node = &self.graph.nodes[number];
        let [output] = node.outputs.as_slice() else { return None };
        let input = *self.names.get(node.inputs.first()?.as_str())?;
        // Nobody else reads it as it was before.
        let alone = self.uses.get(node.inputs[0].as_str()) == Some(&1);
        let meaning = match (node.operator.as_str(), input) {
            ("Conv", input) => self.convolution(number, node, input)?,
            ("Relu", Meaning::Stem) if alone => {
                self.stem.as_mut()?.relu = true;
                Meaning::Stem
            }
            ("Relu", Meaning::Map(map)) if alone => {
                let Step::Unit { filter, halved: false, .. } = self.steps.get_mut(map.slot)? else { return None };
                filter.relu = true;
                Meaning::Map(map)
            }
            ("MaxPool", Meaning::Map(map)) => {
                let halves = node.numbers("kernel_shape") == [2, 2] && node.numbers("strides") == [2, 2];
                let plain = node.numbers("pads").iter().chain(node.numbers("ceil_mode")).all(|&number| number == 0);
                (halves && plain).then_some(())?;
                match self.steps.get_mut(map.slot)? {
                    Step::Unit { halved: halved @ false, .. } if alone => {
                        *halved = true;
                        Meaning::Map(map)
                    }
                    _ => self.step(Step::Pool(map.slot), map.channels),
                }
            }
            ("Resize", Meaning::Map(map)) => {
                let scales = &self.constant(node, 2)?.values;
                let nearest = node.text("mode") == "nearest"
                    && node.text("coordinate_transformation_mode") == "asymmetric"
                    && node.text("nearest_mode") == "floor";
                (nearest && scales == &[1.0, 1.0, 2.0, 2.0]).then_some(Meaning::Doubled(map.slot))?
            }
            ("Add", Meaning::Map(map)) => {
                let Some(Meaning::Doubled(small)) = self.names.get(node.inputs.get(1)?.as_str()) else { return None };
                self.step(Step::AddDoubled { large: map.slot, small: *small }, map.channels)
            }
            // Channels are last here already, and a list of pixels is what an output is.
            ("Transpose", input @ Meaning::Map(_)) if node.numbers("perm") == [0, 2, 3, 1] => input,
            ("Reshape", input @ Meaning::Map(_)) => input,
            ("Sigmoid", Meaning::Map(map)) => Meaning::Map(Output { sigmoid: true, ..map }),
            _ => return None,
        };
        self.names.insert(output, meaning);
        Some(())
    }

    fn step(&mut self, step: Step, channels: usize) -> Meaning {
        self.steps.push(step);
        Meaning::Map(Output { slot: self.steps.len() - 1, channels, sigmoid: false })
    }

    fn constant(&self, node: &Node, input: usize) -> Option<&'a Constant> {
        self.graph.constants.get(node.inputs.get(input)?)
    }

    fn convolution(&mut self, number: usize, node: &Node, input: Meaning) -> Option<Meaning> {
        let weights = self.constant(node, 1)?;
        let &[channels, depth, height, width] = weights.shape.as_slice() else { return None };
        let (strides, pads) = (node.numbers("strides"), node.numbers("pads"));
        let group = *node.numbers("group").first().unwrap_or(&1);
        let plain = node.numbers("dilations").iter().all(|&dilation| dilation == 1);
        (plain && (1..=1024).contains(&channels)).then_some(())?;
        match (input, (height, width)) {
            (Meaning::Input, (3, 3)) if depth == 3 && group == 1 && strides == [2, 2] && pads == [1; 4] => {
                self.stem = Some(self.dense(node, 3 * 9, 3 * 9)?);
                Some(Meaning::Stem)
            }
            (Meaning::Stem | Meaning::Map(_), (1, 1)) if group == 1 && strides == [1, 1] && pads == [0; 4] => {
                let (from, known) = match input {
                    Meaning::Map(map) => (Some(map.slot), padded(map.channels)),
                    _ => (None, self.stem.as_ref()?.outputs),
                };
                (padded(depth) == known).then_some(Meaning::Half(from, number))
            }
            (Meaning::Half(from, half), (3, 3))
                if depth == 1 && usize::try_from(group) == Ok(channels) && strides == [1, 1] && pads == [1; 4] =>
            {
                let half = &self.graph.nodes[half];
                let dense = {
                    let depth = *self.constant(half, 1)?.shape.get(1)?;
                    self.dense(half, depth, padded(depth))?
                };
                (self.constant(half, 1)?.shape[0] == channels).then_some(())?;
                let filter = self.filter(node)?;
                Some(self.step(Step::Unit { from, dense, filter, halved: false }, channels))
            }
            _ => None,
        }
    }

    /// Weights and bias of a convolution, by output channel as in the file.
    fn weights(&self, node: &Node, each: usize) -> Option<(usize, &'a [f32], &'a [f32])> {
        let (weights, bias) = (self.constant(node, 1)?, self.constant(node, 2)?);
        let channels = *weights.shape.first()?;
        (weights.values.len() == channels * each && bias.values.len() == channels).then_some(())?;
        Some((channels, &weights.values, &bias.values))
    }

    /// `inputs`: as many as `depth`, or with their padding.
    fn dense(&self, node: &Node, depth: usize, inputs: usize) -> Option<Dense> {
        let (channels, from, bias) = self.weights(node, depth)?;
        let outputs = padded(channels);
        let mut weights = vec![0.0; inputs * outputs];
        for (output, row) in from.chunks_exact(depth).enumerate() {
            row.iter().enumerate().for_each(|(input, &weight)| weights[input * outputs + output] = weight);
        }
        Some(Dense { inputs, outputs, weights, bias: lengthened(bias), relu: false })
    }

    fn filter(&self, node: &Node) -> Option<Filter> {
        let (channels, from, bias) = self.weights(node, 9)?;
        let padded = padded(channels);
        let mut weights = vec![0.0; 9 * padded];
        for (channel, square) in from.as_chunks::<9>().0.iter().enumerate() {
            square.iter().enumerate().for_each(|(place, &weight)| weights[place * padded + channel] = weight);
        }
        Some(Filter { channels: padded, weights, bias: lengthened(bias), relu: false })
    }
}

/// Channels with their padding.
fn padded(channels: usize) -> usize {
    channels.next_multiple_of(LANES)
}

fn lengthened(values: &[f32]) -> Vec<f32> {
    let mut values = values.to_vec();
    values.resize(padded(values.len()), 0.0);
    values
}
