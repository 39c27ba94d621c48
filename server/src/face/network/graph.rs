//! Reads what an ONNX file says of a feed-forward network: its nodes and its constants of floats; and writes it with
//! simpler nodes. Protocol buffers are simple enough to be read here; a file that is none gives `None`.

use std::collections::{HashMap, HashSet};

/// `TensorProto.DataType.FLOAT`.
const FLOAT: u64 = 1;

/// Rows or columns of a picture that a file may ask for.
const MOST: u64 = 4096;

/// One operation.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) operator: String,
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    /// Attributes of whole numbers; a single one is a list of one.
    numbers: HashMap<String, Vec<i64>>,
    texts: HashMap<String, String>,
}

impl Node {
    /// The whole numbers of an attribute; none where the file leaves it to its default.
    pub(super) fn numbers(&self, name: &str) -> &[i64] {
        self.numbers.get(name).map_or(&[], Vec::as_slice)
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.texts.get(name).map_or("", String::as_str)
    }
}

/// Values that the file holds.
#[derive(Debug, Default)]
pub(super) struct Constant {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<f32>,
}

/// All of it, nodes in an order in which they can run.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    pub(super) constants: HashMap<String, Constant>,
    /// What goes in, by name, and its sides as far as they are fixed.
    pub(super) inputs: HashMap<String, Vec<Option<usize>>>,
    /// The names of what comes out.
    pub(super) outputs: Vec<String>,
}

impl Graph {
    /// Reads a model.
    pub(super) fn read(model: &[u8]) -> Option<Self> {
        let mut read = Self::default();
        for (field, value) in Fields(graph(model)?) {
            match field {
                1 => read.nodes.push(node(value.bytes()?)?),
                5 => {
                    let (name, constant) = constant(value.bytes()?)?;
                    read.constants.insert(name, constant);
                }
                11 => {
                    read.inputs.insert(name(value.bytes()?)?, sides(value.bytes()?));
                }
                12 => read.outputs.push(name(value.bytes()?)?),
                _ => {}
            }
        }
        Some(read)
    }
}

/// The name of a `ValueInfoProto`.
fn name(bytes: &[u8]) -> Option<String> {
    within(bytes, 1).next()?.text()
}

/// The sides of a `ValueInfoProto`: type, tensor, shape, and in each of its dimensions a number where it is fixed.
fn sides(bytes: &[u8]) -> Vec<Option<usize>> {
    let inside = |bytes, field| within(bytes, field).find_map(Value::bytes).unwrap_or_default();
    let dimensions = within(inside(inside(inside(bytes, 2), 1), 2), 1);
    dimensions
        .map(|dimension| match within(dimension.bytes()?, 1).next()? {
            Value::Number(side @ 1..=MOST) => usize::try_from(side).ok(),
            _ => None,
        })
        .collect()
}

/// The values of one field of a message.
fn within(bytes: &[u8], field: u64) -> impl Iterator<Item = Value<'_>> {
    Fields(bytes).filter_map(move |(number, value)| (number == field).then_some(value))
}

/// The same network with `LeakyRelu` for each `PRelu` of one slope; `None` where there is none. onnxruntime makes the
/// former part of the convolution before it, and runs the default embedder in a third of the time.
pub(super) fn with_leaky_slopes(model: &[u8]) -> Option<Vec<u8>> {
    let read = Graph::read(model)?;
    let slope = |node: &Node| -> Option<f32> {
        let [_, name] = node.inputs.as_slice() else { return None };
        let constant = read.constants.get(name).filter(|constant| constant.values.len() == 1)?;
        // What is an input as well may be given another value.
        let simple = node.operator == "PRelu" && !read.inputs.contains_key(name);
        simple.then_some(constant.values[0])
    };
    // What is inside these reads names of the outside.
    let nested = read.nodes.iter().any(|node| matches!(node.operator.as_str(), "If" | "Loop" | "Scan"));
    let slopes: HashSet<&String> = read.nodes.iter().filter_map(|node| slope(node).and(node.inputs.get(1))).collect();
    if nested || slopes.is_empty() {
        return None;
    }
    let kept =
        read.nodes.iter().flat_map(|node| &node.inputs[..if slope(node).is_some() { 1 } else { node.inputs.len() }]);
    let kept: HashSet<&String> = kept.chain(&read.outputs).collect();
    let graph = rewritten(graph(model)?, |number, value| match number {
        1 => {
            let node = node(value.bytes()?)?;
            let alpha = slope(&node)?;
            // `AttributeProto`: its name, its value, and that this is a float.
            let attribute = [&b"\x0a\x05alpha\x15"[..], &alpha.to_le_bytes(), b"\xa0\x01\x01"].concat();
            let names = [field(1, node.inputs[0].as_bytes()), field(2, node.outputs.first()?.as_bytes())].concat();
            Some(field(1, &[names, field(4, b"LeakyRelu"), field(5, &attribute)].concat()))
        }
        5 => {
            let (name, _) = constant(value.bytes()?)?;
            (slopes.contains(&name) && !kept.contains(&name)).then(Vec::new)
        }
        _ => None,
    })?;
    rewritten(model, |number, _| (number == 7).then(|| field(7, &graph)))
}

/// A message with what `instead` gives for some of its fields; `None` where it breaks off.
fn rewritten(message: &[u8], instead: impl Fn(u64, Value<'_>) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let (mut fields, mut written) = (Fields(message), Vec::with_capacity(message.len()));
    loop {
        let before = fields.0;
        let Some((number, value)) = fields.next() else { return before.is_empty().then_some(written) };
        match instead(number, value) {
            Some(other) => written.extend(other),
            None => written.extend(&before[..before.len() - fields.0.len()]),
        }
    }
}

/// A field of bytes as it is written.
fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    let mut written = Vec::with_capacity(bytes.len() + 8);
    for mut value in [number << 3 | 2, bytes.len() as u64] {
        while value >= 0x80 {
            written.push(value as u8 | 0x80);
            value >>= 7;
        }
        written.push(value as u8);
    }
    written.extend(bytes);
    written
}

fn graph(model: &[u8]) -> Option<&[u8]> {
    Fields(model).find_map(|(field, value)| (field == 7).then(|| value.bytes()).flatten())
}

fn node(bytes: &[u8]) -> Option<Node> {
    let mut node = Node::default();
    for (field, value) in Fields(bytes) {
        match field {
            1 => node.inputs.push(value.text()?),
            2 => node.outputs.push(value.text()?),
            4 => node.operator = value.text()?,
            5 => attribute(value.bytes()?, &mut node)?,
            _ => {}
        }
    }
    Some(node)
}

fn attribute(bytes: &[u8], node: &mut Node) -> Option<()> {
    let (mut name, mut numbers, mut text) = (String::new(), Vec::new(), None);
    for (field, value) in Fields(bytes) {
        match field {
            1 => name = value.text()?,
            3 | 8 => value.numbers(&mut numbers)?,
            4 => text = value.text(),
            _ => {}
        }
    }
    if let Some(text) = text {
        node.texts.insert(name.clone(), text);
    }
    node.numbers.insert(name, numbers.into_iter().map(|number| number as i64).collect());
    Some(())
}

fn constant(bytes: &[u8]) -> Option<(String, Constant)> {
    let (mut name, mut shape, mut kind, mut values) = (String::new(), Vec::new(), 0, Vec::new());
    for (field, value) in Fields(bytes) {
        match (field, value) {
            (1, value) => value.numbers(&mut shape)?,
            (2, Value::Number(number)) => kind = number,
            // One by one, packed, or as they lie in memory: always four little-endian bytes each.
            (4, Value::Word(word)) => values.push(f32::from_le_bytes(word)),
            (4 | 9, Value::Bytes(raw)) => {
                values.extend(raw.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)))
            }
            (8, value) => name = value.text()?,
            _ => {}
        }
    }
    if kind != FLOAT {
        values.clear();
    }
    let shape = shape.into_iter().map(|side| usize::try_from(side).ok()).collect::<Option<_>>()?;
    Some((name, Constant { shape, values }))
}

/// The value of a field.
#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Word([u8; 4]),
    /// Eight bytes, which nothing here asks for.
    Long,
}

impl<'a> Value<'a> {
    fn bytes(self) -> Option<&'a [u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    fn text(self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    /// Adds a number, or a packed run of them.
    fn numbers(self, to: &mut Vec<u64>) -> Option<()> {
        match self {
            Self::Number(number) => to.push(number),
            Self::Bytes(mut packed) => {
                while !packed.is_empty() {
                    to.push(varint(&mut packed)?);
                }
            }
            Self::Word(_) | Self::Long => return None,
        }
        Some(())
    }
}

/// The fields of a message, until its end or the first that makes no sense.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = varint(&mut self.0)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut self.0)?),
            1 => {
                self.0.split_off(..8)?;
                Value::Long
            }
            2 => {
                let length = usize::try_from(varint(&mut self.0)?).ok()?;
                Value::Bytes(self.0.split_off(..length)?)
            }
            5 => Value::Word(self.0.split_off(..4)?.try_into().ok()?),
            _ => return None,
        };
        Some((key >> 3, value))
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes.split_off_first()?;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::{Network, Planes, rten};
    use super::*;
    use crate::picture::tests::shared;

    #[test]
    fn a_node_is_read_with_its_attributes() {
        // Node { input "a", output "b", operator "Conv", attribute { name "pads", ints 1, 300 } }
        let attribute = [&b"\x0a\x04pads\x40\x01\x40"[..], &[0xAC, 0x02]].concat();
        let inner = [&b"\x0a\x01a\x12\x01b\x22\x04Conv\x2a"[..], &[attribute.len() as u8], &attribute].concat();
        let graph = [&[0x0A, inner.len() as u8][..], &inner].concat();
        let model = [&[0x3A, graph.len() as u8][..], &graph].concat();
        let read = Graph::read(&model).unwrap();
        let node = &read.nodes[0];
        assert_eq!(
            (&*node.operator, &node.inputs[..], &node.outputs[..]),
            ("Conv", &["a".to_owned()][..], &["b".to_owned()][..])
        );
        assert_eq!((node.numbers("pads"), node.numbers("group"), node.text("mode")), (&[1, 300][..], &[][..], ""));
    }

    #[test]
    fn slopes_become_leaky_and_nothing_else_changes() {
        let Some(shared) = shared() else { return };
        let model = |file: &str| std::fs::read(shared.join("models").join(file)).unwrap();
        assert_eq!(with_leaky_slopes(&model("face_detection_yunet_2026may.onnx")), None);
        let bytes = model("face-reidentification-retail-0095.onnx");
        let leaky = with_leaky_slopes(&bytes).unwrap();
        let (before, after) = (Graph::read(&bytes).unwrap(), Graph::read(&leaky).unwrap());
        let slopes = before.nodes.iter().filter(|node| node.operator == "PRelu").count();
        assert_eq!(after.nodes.iter().filter(|node| node.operator == "LeakyRelu").count(), slopes);
        assert_eq!(before.constants.len() - after.constants.len(), slopes, "what nobody reads is not kept");
        let [before, after] = [bytes, leaky].map(|bytes| {
            let network = rten::Loaded::new(bytes, &[], Arc::default()).unwrap();
            let values = (0..3 * 128 * 128).map(|at| ((at as f32 / 40.0).sin() * 90.0 + 128.0).round()).collect();
            network.run(Planes { width: 128, height: 128, values }).unwrap()
        });
        assert_eq!(before, after);
    }

    /// `z = PRelu(x, s)` after `operator` made `y` of `x` and `s`, where `z` and `others` come out.
    fn one_slope(operator: &[u8], others: &[&[u8]]) -> Vec<u8> {
        let node = |operator: &[u8], output: &[u8]| {
            field(1, &[field(1, b"x"), field(1, b"s"), field(2, output), field(4, operator)].concat())
        };
        // `TensorProto`: one dimension of 1, floats, the value, the name.
        let slope = [&b"\x08\x01\x10\x01"[..], &field(9, &0.25_f32.to_le_bytes()), &field(8, b"s")].concat();
        let outputs = [&b"z"[..]].iter().chain(others).flat_map(|name| field(12, &field(1, name))).collect();
        field(7, &[node(operator, b"y"), node(b"PRelu", b"z"), field(5, &slope), outputs].concat())
    }

    #[test]
    fn a_slope_that_somebody_else_reads_is_kept() {
        let left = |model: &[u8]| {
            let graph = Graph::read(&with_leaky_slopes(model).unwrap()).unwrap();
            let operators: Vec<_> = graph.nodes.iter().map(|node| node.operator.clone()).collect();
            (operators.join(" "), graph.nodes.iter().all(|node| node.inputs[0] == "x"), graph.constants.len())
        };
        assert_eq!(left(&one_slope(b"PRelu", &[])), ("LeakyRelu LeakyRelu".to_owned(), true, 0));
        assert_eq!(left(&one_slope(b"Mul", &[])), ("Mul LeakyRelu".to_owned(), true, 1));
        assert_eq!(left(&one_slope(b"PRelu", &[b"s"])), ("LeakyRelu LeakyRelu".to_owned(), true, 1));
        assert_eq!(with_leaky_slopes(&one_slope(b"Loop", &[])), None);
    }

    #[test]
    fn a_file_that_breaks_off_stays_as_it_is() {
        let whole = one_slope(b"PRelu", &[]);
        for length in 0..whole.len() {
            assert_eq!(with_leaky_slopes(&whole[..length]), None, "{length} bytes");
        }
        assert_eq!(with_leaky_slopes(&[&whole[..], &[0x3A, 9]].concat()), None);
    }

    proptest! {
        #[test]
        fn bytes_that_are_no_model_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let graph = [vec![0x3A, 0xFF, 0x01], bytes].concat();
            let _ = (Graph::read(&graph), with_leaky_slopes(&graph));
        }
    }
}
