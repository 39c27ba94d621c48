//! Writes an ONNX model: the few messages of `onnx.proto` (IR version 8, operator set 13) that a feed-forward network
//! needs, as protocol-buffer bytes. Nothing is read here, and the same network always gives the same bytes.

/// Wire types of protocol buffers.
const VARINT: u64 = 0;
const LENGTH: u64 = 2;
/// `TensorProto.DataType.FLOAT`.
const FLOAT: i64 = 1;

/// One message under construction.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        loop {
            let low = (value & 0x7F) as u8;
            value >>= 7;
            if value == 0 {
                self.0.push(low);
                return;
            }
            self.0.push(low | 0x80);
        }
    }

    fn int(mut self, field: u64, value: i64) -> Self {
        self.varint(field << 3 | VARINT);
        self.varint(value as u64);
        self
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | LENGTH);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    fn message(self, field: u64, message: Self) -> Self {
        self.bytes(field, &message.0)
    }

    fn each<T>(self, items: impl IntoIterator<Item = T>, add: impl Fn(Self, T) -> Self) -> Self {
        items.into_iter().fold(self, add)
    }
}

/// Constant values of a network.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tensor {
    /// Its name.
    pub(super) name: String,
    /// Its shape.
    pub(super) shape: Vec<i64>,
    /// Row by row.
    pub(super) values: Vec<f32>,
}

/// A property of a node.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Attribute {
    /// One integer.
    Int(&'static str, i64),
    /// Several.
    Ints(&'static str, Vec<i64>),
}

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// Operator of ONNX.
    pub(super) operator: &'static str,
    /// Names of what goes in.
    pub(super) inputs: Vec<String>,
    /// Name of what comes out.
    pub(super) output: String,
    /// Its properties.
    pub(super) attributes: Vec<Attribute>,
}

/// A value that goes into or comes out of the network.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Port {
    /// Its name.
    pub(super) name: String,
    /// Its shape.
    pub(super) shape: Vec<i64>,
}

/// A network, operations in an order in which they can run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Graph {
    /// Its name.
    pub(super) name: String,
    /// What goes in.
    pub(super) input: Port,
    /// What comes out.
    pub(super) output: Port,
    /// The constants.
    pub(super) constants: Vec<Tensor>,
    /// The operations.
    pub(super) nodes: Vec<Node>,
}

impl Graph {
    /// The bytes of an ONNX file.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let graph = Message::default()
            .each(&self.nodes, |graph, node| graph.message(1, node.message()))
            .text(2, &self.name)
            .each(&self.constants, |graph, tensor| graph.message(5, tensor.message()))
            .message(11, self.input.message())
            .message(12, self.output.message());
        let operators = Message::default().text(1, "").int(2, 13);
        Message::default().int(1, 8).text(2, "findme").message(7, graph).message(8, operators).0
    }
}

impl Tensor {
    fn message(&self) -> Message {
        let raw: Vec<u8> = self.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Message::default()
            .each(&self.shape, |tensor, dimension| tensor.int(1, *dimension))
            .int(2, FLOAT)
            .text(8, &self.name)
            .bytes(9, &raw)
    }
}

impl Node {
    fn message(&self) -> Message {
        Message::default()
            .each(&self.inputs, |node, input| node.text(1, input))
            .text(2, &self.output)
            .text(3, &self.output)
            .text(4, self.operator)
            .each(&self.attributes, |node, attribute| node.message(5, attribute.message()))
    }
}

impl Attribute {
    fn message(&self) -> Message {
        // `AttributeProto.type`: 2 is INT, 7 is INTS.
        match self {
            Self::Int(name, value) => Message::default().text(1, name).int(3, *value).int(20, 2),
            Self::Ints(name, values) => {
                Message::default().text(1, name).each(values, |message, value| message.int(8, *value)).int(20, 7)
            }
        }
    }
}

impl Port {
    fn message(&self) -> Message {
        let shape = Message::default()
            .each(&self.shape, |shape, dimension| shape.message(1, Message::default().int(1, *dimension)));
        let tensor = Message::default().int(1, FLOAT).message(2, shape);
        Message::default().text(1, &self.name).message(2, Message::default().message(1, tensor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lengths_as_protocol_buffers_have_them() {
        assert_eq!(Message::default().int(1, 150).0, [0x08, 0x96, 0x01]);
        assert_eq!(Message::default().text(2, "testing").0, b"\x12\x07testing");
        assert_eq!(Message::default().int(1, -1).0.len(), 11);
    }
}
