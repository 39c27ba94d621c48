//! Reads what an ONNX file says of a feed-forward network: its nodes and its constants of floats. Protocol buffers are
//! simple enough to be read here; a file that is none gives `None`.

use std::collections::HashMap;

/// `TensorProto.DataType.FLOAT`.
const FLOAT: u64 = 1;

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
    /// The names of what comes out.
    pub(super) outputs: Vec<String>,
}

impl Graph {
    /// Reads a model.
    pub(super) fn read(model: &[u8]) -> Option<Self> {
        let graph = Fields(model).find_map(|(field, value)| (field == 7).then(|| value.bytes()).flatten())?;
        let mut read = Self::default();
        for (field, value) in Fields(graph) {
            match field {
                1 => read.nodes.push(node(value.bytes()?)?),
                5 => {
                    let (name, constant) = constant(value.bytes()?)?;
                    read.constants.insert(name, constant);
                }
                12 => {
                    let name = Fields(value.bytes()?).find_map(|(field, value)| (field == 1).then(|| value.text()));
                    read.outputs.push(name??);
                }
                _ => {}
            }
        }
        Some(read)
    }
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
    use super::*;
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn bytes_that_are_no_model_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let graph = [vec![0x3A, 0xFF, 0x01], bytes].concat();
            let _ = Graph::read(&graph);
        }
    }
}
