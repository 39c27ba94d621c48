//! Reads a network's file into [`Step`]s. A file that asks for anything else than these few gives `None`, and another
//! runtime runs it.

use std::collections::HashMap;

use super::super::graph::{Constant, Graph, Node};
use super::kernels::{Dense, End, Filter, LANES, LINEAR, RELU};
use super::steps::{Output, Plan, Slot, Step};

/// What a name in the file stands for.
#[derive(Debug, Clone, Copy)]
enum Meaning {
    Input,
    Stem,
    Map(Output),
    /// What may become the first half of a [`Step::Unit`], or a [`Step::Dense`]: its number.
    Half(usize),
    /// A map at twice its size.
    Doubled(Output),
}

/// See [`Meaning::Half`].
struct Half {
    /// What it works on; `None`: the stem.
    from: Option<Slot>,
    /// Until it is one of the two.
    dense: Option<Dense>,
    /// That are no padding.
    channels: usize,
}

/// The first look at the picture.
struct Stem {
    dense: Dense,
    /// That are no padding.
    channels: usize,
}

impl Plan {
    /// Reads a model; `None` when it is not made of these steps, or has not these outputs. None asked for: all it has.
    pub(super) fn read(model: &[u8], outputs: &[&str]) -> Option<Self> {
        let graph = Graph::read(model)?;
        let all: Vec<&str> = graph.outputs.iter().map(String::as_str).collect();
        let outputs = if outputs.is_empty() { &all } else { outputs };
        let mut uses: HashMap<&str, usize> = HashMap::new();
        for name in graph.nodes.iter().flat_map(|node| &node.inputs).map(String::as_str).chain(outputs.iter().copied())
        {
            *uses.entry(name).or_default() += 1;
        }
        let mut reading = Reading {
            graph: &graph,
            uses,
            names: HashMap::new(),
            input: [[1.0, 0.0]; 3],
            stem: None,
            halves: Vec::new(),
            steps: Vec::new(),
        };
        reading.names.insert("input", Meaning::Input);
        for number in 0..graph.nodes.len() {
            reading.node(number)?;
        }
        let outputs = outputs.iter().map(|name| reading.map(name)).collect::<Option<Vec<_>>>()?;
        (!outputs.is_empty()).then_some(())?;
        let sides = match graph.inputs.get("input").map(Vec::as_slice) {
            Some(&[_, _, Some(height), Some(width)]) => Some([height, width]),
            _ => None,
        };
        Some(Self { sides, input: reading.input, stem: reading.stem?.dense, steps: reading.steps, outputs })
    }
}

struct Reading<'a> {
    graph: &'a Graph,
    /// How often each name is read.
    uses: HashMap<&'a str, usize>,
    names: HashMap<&'a str, Meaning>,
    input: [[f32; 2]; 3],
    stem: Option<Stem>,
    halves: Vec<Half>,
    steps: Vec<Step>,
}

impl<'a> Reading<'a> {
    fn node(&mut self, number: usize) -> Option<()> {
        let node: &'a Node = &self.graph.nodes[number];
        let [output] = node.outputs.as_slice() else { return None };
        let name = node.inputs.first()?.as_str();
        let input = *self.names.get(name)?;
        // Nobody else reads it as it was before.
        let alone = self.uses.get(name) == Some(&1);
        let plain =
            matches!(node.text("auto_pad"), "" | "NOTSET") && node.numbers("dilations").iter().all(|&by| by == 1);
        plain.then_some(())?;
        let meaning = match (node.operator.as_str(), input) {
            ("Identity", input) if alone => input,
            ("Conv", input) => self.convolution(node, input)?,
            ("Mul" | "Add", Meaning::Input) if alone => {
                let constant = self.constant(node, 1)?;
                let [channels @ .., 1, 1] = constant.shape.as_slice() else { return None };
                let (&values, true) = (constant.values.first_chunk::<3>()?, matches!(channels, [1, 3] | [3])) else {
                    return None;
                };
                for ([scale, shift], value) in self.input.iter_mut().zip(values) {
                    if node.operator == "Add" {
                        *shift += value;
                    } else {
                        (*scale, *shift) = (*scale * value, *shift * value);
                    }
                }
                input
            }
            ("Add", input) if alone && self.constant(node, 1).is_some() => {
                let (constant, (channels, end)) = (self.constant(node, 1)?, self.end(input)?);
                let by_channel = matches!(constant.shape.as_slice(), [1, _, 1, 1] | [_, 1, 1]);
                // Once it is bent, it is too late to add something before.
                (by_channel && constant.values.len() == channels && end.slope == LINEAR).then_some(())?;
                end.bias.iter_mut().zip(&constant.values).for_each(|(bias, value)| *bias += value);
                input
            }
            ("Relu" | "PRelu", input) if alone => {
                let slope = match self.constant(node, 1) {
                    None if node.operator == "Relu" => RELU,
                    Some(Constant { values, .. }) if values.len() == 1 => values[0],
                    _ => return None,
                };
                let (_, end) = self.end(input)?;
                (end.slope == LINEAR).then_some(())?;
                end.slope = slope;
                input
            }
            ("MaxPool", Meaning::Map(map)) if map.is_map() => {
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
            ("AveragePool", Meaning::Map(_) | Meaning::Half(_)) => {
                let map = self.plain(name)?;
                let sides = sides(node.numbers("kernel_shape"))?;
                node.numbers("pads").iter().all(|&pad| pad == 0).then_some(())?;
                self.step(Step::Mean { from: map.slot, sides }, map.channels)
            }
            ("Resize", Meaning::Map(map)) if map.is_map() => {
                let scales = &self.constant(node, 2)?.values;
                let nearest = node.text("mode") == "nearest"
                    && node.text("coordinate_transformation_mode") == "asymmetric"
                    && node.text("nearest_mode") == "floor";
                (nearest && scales == &[1.0, 1.0, 2.0, 2.0]).then_some(Meaning::Doubled(map))?
            }
            ("Add", Meaning::Map(map)) if map.is_map() => {
                let other = node.inputs.get(1)?;
                match *self.names.get(other.as_str())? {
                    Meaning::Doubled(small) if small.channels == map.channels => {
                        self.step(Step::AddDoubled { large: map.slot, small: small.slot }, map.channels)
                    }
                    Meaning::Map(gated) if gated.is_map() && self.uses.get(other.as_str()) == Some(&1) => {
                        let Step::Gate { plus: plus @ None, .. } = self.steps.get_mut(gated.slot)? else { return None };
                        (map.slot < gated.slot && map.channels == gated.channels).then_some(())?;
                        *plus = Some(map.slot);
                        Meaning::Map(gated)
                    }
                    _ => return None,
                }
            }
            ("Mul", Meaning::Map(_) | Meaning::Half(_)) => {
                let (map, gate) = (self.plain(name)?, self.map(node.inputs.get(1)?)?);
                (gate.sigmoid && !gate.listed && map.channels == gate.channels).then_some(())?;
                self.step(Step::Gate { from: map.slot, gate: gate.slot, plus: None }, map.channels)
            }
            // Channels are last here already, and a list of pixels is what an output is.
            ("Transpose", Meaning::Map(map)) if alone && node.numbers("perm") == [0, 2, 3, 1] => {
                Meaning::Map(Output { listed: true, ..map })
            }
            ("Reshape", Meaning::Map(Output { listed: true, .. })) if alone => input,
            ("Sigmoid", Meaning::Map(_) | Meaning::Half(_)) => {
                let map = self.map(name)?;
                (!map.sigmoid).then_some(Meaning::Map(Output { sigmoid: true, ..map }))?
            }
            _ => return None,
        };
        self.names.insert(output, meaning);
        Some(())
    }

    fn step(&mut self, step: Step, channels: usize) -> Meaning {
        Meaning::Map(self.made(step, channels))
    }

    fn made(&mut self, step: Step, channels: usize) -> Output {
        self.steps.push(step);
        Output { slot: self.steps.len() - 1, channels, sigmoid: false, listed: false }
    }

    /// As [`Reading::map`]; `None` for what only outputs and gates are.
    fn plain(&mut self, name: &str) -> Option<Output> {
        self.map(name).filter(Output::is_map)
    }

    /// The map of this name; what was only half of a step until now becomes one.
    fn map(&mut self, name: &str) -> Option<Output> {
        let (&name, &meaning) = self.names.get_key_value(name)?;
        match meaning {
            Meaning::Map(map) => Some(map),
            Meaning::Half(number) => {
                let half = self.halves.get_mut(number)?;
                let (from, channels) = (half.from?, half.channels);
                let step = Step::Dense { from, dense: half.dense.take()? };
                let map = self.made(step, channels);
                self.names.insert(name, Meaning::Map(map));
                Some(map)
            }
            _ => None,
        }
    }

    /// How what has this meaning was finished, and its channels.
    fn end(&mut self, meaning: Meaning) -> Option<(usize, &mut End)> {
        match meaning {
            Meaning::Stem => self.stem.as_mut().map(|stem| (stem.channels, &mut stem.dense.end)),
            Meaning::Half(number) => {
                let half = self.halves.get_mut(number)?;
                Some((half.channels, &mut half.dense.as_mut()?.end))
            }
            Meaning::Map(map) if map.is_map() => match self.steps.get_mut(map.slot)? {
                Step::Unit { filter, halved: false, .. } | Step::Whole { filter, .. } => {
                    Some((map.channels, &mut filter.end))
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn constant(&self, node: &Node, input: usize) -> Option<&'a Constant> {
        self.graph.constants.get(node.inputs.get(input)?)
    }

    fn convolution(&mut self, node: &'a Node, input: Meaning) -> Option<Meaning> {
        let weights = self.constant(node, 1)?;
        let &[channels, depth, height, width] = weights.shape.as_slice() else { return None };
        let (strides, pads) = (node.numbers("strides"), node.numbers("pads"));
        let group = *node.numbers("group").first().unwrap_or(&1);
        (1..=1024).contains(&channels).then_some(())?;
        let each = depth == 1 && usize::try_from(group) == Ok(channels);
        match (input, (height, width)) {
            (Meaning::Input, (3, 3)) if depth == 3 && group == 1 && strides == [2, 2] && pads == [1; 4] => {
                self.stem.is_none().then_some(())?;
                self.stem = Some(Stem { dense: self.dense(node, 3 * 9, 3 * 9)?, channels });
                Some(Meaning::Stem)
            }
            (Meaning::Stem | Meaning::Map(_) | Meaning::Half(_), (1, 1))
                if group == 1 && strides == [1, 1] && pads == [0; 4] =>
            {
                let (from, known) = match input {
                    Meaning::Stem => (None, self.stem.as_ref()?.channels),
                    _ => {
                        let map = self.plain(&node.inputs[0])?;
                        (Some(map.slot), map.channels)
                    }
                };
                (depth == known).then_some(())?;
                let dense = Some(self.dense(node, depth, padded(depth))?);
                self.halves.push(Half { from, dense, channels });
                Some(Meaning::Half(self.halves.len() - 1))
            }
            (Meaning::Stem | Meaning::Half(_), (3, 3)) if each && pads == [1; 4] => {
                let stride = match strides {
                    [1, 1] => 1,
                    [2, 2] => 2,
                    _ => return None,
                };
                // What is read by others too, they must find.
                (self.uses.get(node.inputs[0].as_str()) == Some(&1)).then_some(())?;
                let filter = Filter { stride, ..self.filter(node, 9)? };
                let (from, dense, known) = match input {
                    Meaning::Half(number) => {
                        let half = self.halves.get_mut(number)?;
                        (half.from, Some(half.dense.take()?), half.channels)
                    }
                    _ => (None, None, self.stem.as_ref()?.channels),
                };
                (known == channels).then_some(())?;
                Some(self.step(Step::Unit { from, dense, filter, halved: false }, channels))
            }
            (Meaning::Map(_) | Meaning::Half(_), _) if each && strides == [1, 1] && pads == [0; 4] => {
                let map = self.plain(&node.inputs[0])?;
                let sizes = 1..=32;
                (map.channels == channels && sizes.contains(&height) && sizes.contains(&width)).then_some(())?;
                let filter = self.filter(node, height * width)?;
                Some(self.step(Step::Whole { from: map.slot, sides: [height, width], filter }, channels))
            }
            _ => None,
        }
    }

    /// Weights and bias of a convolution, by output channel as in the file.
    fn weights(&self, node: &Node, each: usize) -> Option<(usize, &'a [f32], Vec<f32>)> {
        let weights = self.constant(node, 1)?;
        let channels = *weights.shape.first()?;
        let mut bias = match node.inputs.get(2) {
            Some(_) => self.constant(node, 2)?.values.clone(),
            None => vec![0.0; channels],
        };
        (weights.values.len() == channels * each && bias.len() == channels).then_some(())?;
        bias.resize(padded(channels), 0.0);
        Some((channels, &weights.values, bias))
    }

    /// `inputs`: as many as `depth`, or with their padding.
    fn dense(&self, node: &Node, depth: usize, inputs: usize) -> Option<Dense> {
        let (channels, from, bias) = self.weights(node, depth)?;
        let mut dense = Dense::new(inputs, padded(channels), bias);
        for (output, row) in from.chunks_exact(depth).enumerate() {
            row.iter().enumerate().for_each(|(input, &weight)| dense.set(input, output, weight));
        }
        Some(dense)
    }

    /// A filter over so many places.
    fn filter(&self, node: &Node, places: usize) -> Option<Filter> {
        let (channels, from, bias) = self.weights(node, places)?;
        let padded = padded(channels);
        let mut weights = vec![0.0; places * padded];
        for (channel, square) in from.chunks_exact(places).enumerate() {
            square.iter().enumerate().for_each(|(place, &weight)| weights[place * padded + channel] = weight);
        }
        Some(Filter { channels: padded, weights, stride: 1, end: End { bias, slope: LINEAR } })
    }
}

impl Output {
    /// Whether it is a map like any other, which further steps can work on.
    fn is_map(&self) -> bool {
        !self.sigmoid && !self.listed
    }
}

/// Rows and columns.
fn sides(numbers: &[i64]) -> Option<[usize; 2]> {
    let &[height, width] = numbers else { return None };
    Some([usize::try_from(height).ok()?, usize::try_from(width).ok()?])
}

/// Channels with their padding.
fn padded(channels: usize) -> usize {
    channels.next_multiple_of(LANES)
}
