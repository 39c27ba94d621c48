//! Imports OpenVINO IR (a network as XML, its weights as one binary file) into ONNX: exactly the operators that the
//! packs' networks have, with the attributes that they have. Anything else is refused, never guessed.

use std::collections::HashMap;
use std::ops::Range;

use roxmltree::{Document, Node as Xml};

use super::onnx::{Attribute, Graph, Node, Port, Tensor};

/// Why a network cannot be imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum IrError {
    /// The XML is none.
    #[error("the network's description is no XML: {0}")]
    Xml(String),
    /// Something that every layer must have is not there.
    #[error("layer {layer}: {what} is missing or malformed")]
    Malformed {
        /// Its id.
        layer: String,
        /// What.
        what: &'static str,
    },
    /// An operator or a property that this importer does not know.
    #[error("layer {layer}: {what} is not known here")]
    Unknown {
        /// Its id.
        layer: String,
        /// What.
        what: String,
    },
}

/// What a layer's output is, as far as the import has come.
enum Value {
    /// A constant, still to be named.
    Constant { shape: Vec<i64>, values: Vec<f32> },
    /// The output of an operation.
    Named(String),
}

/// The ONNX bytes of a network.
///
/// # Errors
/// See [`IrError`].
pub(super) fn to_onnx(xml: &str, weights: &[u8]) -> Result<Vec<u8>, IrError> {
    let document = Document::parse(xml).map_err(|error| IrError::Xml(error.to_string()))?;
    let root = document.root_element();
    let missing = |what| IrError::Malformed { layer: "net".to_owned(), what };
    let layers = child(root, "layers").ok_or_else(|| missing("layers"))?;
    let edges = child(root, "edges").ok_or_else(|| missing("edges"))?;
    let mut import = Import {
        weights,
        sources: edges.children().filter(|node| node.has_tag_name("edge")).filter_map(edge).collect(),
        values: HashMap::new(),
        constants: Vec::new(),
        nodes: Vec::new(),
        shapes: HashMap::new(),
        input: None,
        output: None,
    };
    // The file lists layers in an order in which they can run.
    for layer in layers.children().filter(|node| node.has_tag_name("layer")) {
        import.layer(&Layer::of(layer)?)?;
    }
    let graph = Graph {
        name: root.attribute("name").unwrap_or("network").to_owned(),
        input: import.input.ok_or_else(|| missing("a Parameter"))?,
        output: import.output.ok_or_else(|| missing("a Result"))?,
        constants: import.constants,
        nodes: import.nodes,
    };
    Ok(graph.to_bytes())
}

fn child<'a>(node: Xml<'a, 'a>, name: &str) -> Option<Xml<'a, 'a>> {
    node.children().find(|child| child.has_tag_name(name))
}

/// ((layer, input port), layer that feeds it).
fn edge(edge: Xml<'_, '_>) -> Option<((String, String), String)> {
    let of = |name| edge.attribute(name).map(str::to_owned);
    Some(((of("to-layer")?, of("to-port")?), of("from-layer")?))
}

/// One `<layer>`.
struct Layer<'a> {
    id: String,
    kind: &'a str,
    data: Option<Xml<'a, 'a>>,
    /// Ports in their order, and the shape of the only output.
    inputs: Vec<String>,
    shape: Option<Vec<i64>>,
}

impl<'a> Layer<'a> {
    fn of(xml: Xml<'a, 'a>) -> Result<Self, IrError> {
        let id = xml.attribute("id").unwrap_or("?").to_owned();
        let missing = |what| IrError::Malformed { layer: id.clone(), what };
        let kind = xml.attribute("type").ok_or_else(|| missing("type"))?;
        let ports = |name| {
            let group = child(xml, name);
            group.into_iter().flat_map(|group| group.children().filter(|port| port.has_tag_name("port")))
        };
        let inputs = ports("input").map(|port| port.attribute("id").map(str::to_owned));
        let inputs = inputs.collect::<Option<_>>().ok_or_else(|| missing("port id"))?;
        let shape = ports("output").next().map(|port| {
            port.children().filter(|dim| dim.has_tag_name("dim")).map(|dim| dim.text()?.trim().parse().ok()).collect()
        });
        let shape = shape.map(|shape: Option<Vec<i64>>| shape.ok_or_else(|| missing("dim"))).transpose()?;
        Ok(Self { data: child(xml, "data"), id, kind, inputs, shape })
    }

    fn missing(&self, what: &'static str) -> IrError {
        IrError::Malformed { layer: self.id.clone(), what }
    }

    fn text(&self, name: &'static str) -> Result<&'a str, IrError> {
        self.data.and_then(|data| data.attribute(name)).ok_or_else(|| self.missing(name))
    }

    fn numbers(&self, name: &'static str) -> Result<Vec<i64>, IrError> {
        let numbers = self.text(name)?.split(',').map(|number| number.trim().parse().ok());
        numbers.collect::<Option<_>>().ok_or_else(|| self.missing(name))
    }

    /// A property of which only one value can be carried over.
    fn only(&self, name: &'static str, value: &str) -> Result<(), IrError> {
        match self.text(name)? {
            found if found == value => Ok(()),
            found => Err(IrError::Unknown { layer: self.id.clone(), what: format!("{name}=\"{found}\"") }),
        }
    }

    fn pads(&self) -> Result<Attribute, IrError> {
        self.only("auto_pad", "explicit")?;
        Ok(Attribute::Ints("pads", [self.numbers("pads_begin")?, self.numbers("pads_end")?].concat()))
    }
}

struct Import<'w> {
    weights: &'w [u8],
    sources: HashMap<(String, String), String>,
    values: HashMap<String, Value>,
    constants: Vec<Tensor>,
    nodes: Vec<Node>,
    /// Shape of each operation's output, by its name.
    shapes: HashMap<String, Vec<i64>>,
    input: Option<Port>,
    output: Option<Port>,
}

impl Import<'_> {
    fn layer(&mut self, layer: &Layer<'_>) -> Result<(), IrError> {
        match layer.kind {
            "Parameter" => {
                let port = Port { name: "input".to_owned(), shape: layer.numbers("shape")? };
                self.values.insert(layer.id.clone(), Value::Named(port.name.clone()));
                self.input = Some(port);
                Ok(())
            }
            "Const" => {
                let value = self.constant(layer)?;
                self.values.insert(layer.id.clone(), value);
                Ok(())
            }
            // Constants are widened when they are read, so this has nothing left to do.
            "Convert" => {
                layer.only("destination_type", "f32")?;
                let value = self.take(layer, 0)?;
                self.values.insert(layer.id.clone(), value);
                Ok(())
            }
            "Convolution" => self.convolution(layer, 1),
            "GroupConvolution" => self.grouped_convolution(layer),
            "Add" => self.operation(layer, "Add", Vec::new()),
            "Multiply" => self.operation(layer, "Mul", Vec::new()),
            "PReLU" => self.prelu(layer),
            "Sigmoid" => self.operation(layer, "Sigmoid", Vec::new()),
            "AvgPool" => {
                layer.only("rounding_type", "floor")?;
                let counts_pads = i64::from(layer.text("exclude-pad")? != "true");
                let attributes = vec![
                    Attribute::Ints("kernel_shape", layer.numbers("kernel")?),
                    Attribute::Ints("strides", layer.numbers("strides")?),
                    layer.pads()?,
                    Attribute::Int("count_include_pad", counts_pads),
                ];
                self.operation(layer, "AveragePool", attributes)
            }
            "Result" => {
                let name = self.name(layer, 0)?;
                let shape = self.shapes.remove(&name).ok_or_else(|| layer.missing("input"))?;
                self.output = Some(Port { name, shape });
                Ok(())
            }
            other => Err(IrError::Unknown { layer: layer.id.clone(), what: format!("operator {other}") }),
        }
    }

    /// Reads a constant: half or single precision, little-endian.
    fn constant(&self, layer: &Layer<'_>) -> Result<Value, IrError> {
        let shape = layer.numbers("shape")?;
        let number = |name| layer.text(name)?.parse::<usize>().map_err(|_| layer.missing(name));
        let (offset, size) = (number("offset")?, number("size")?);
        let range: Range<usize> = offset..offset.checked_add(size).ok_or_else(|| layer.missing("size"))?;
        let bytes = self.weights.get(range).ok_or_else(|| layer.missing("offset"))?;
        let values: Vec<f32> = match layer.text("element_type")? {
            "f16" => bytes.as_chunks::<2>().0.iter().map(|half| widen(u16::from_le_bytes(*half))).collect(),
            "f32" => bytes.as_chunks::<4>().0.iter().map(|single| f32::from_le_bytes(*single)).collect(),
            other => return Err(IrError::Unknown { layer: layer.id.clone(), what: format!("type {other}") }),
        };
        let count = shape.iter().try_fold(1_i64, |count, dim| count.checked_mul(*dim));
        if count != i64::try_from(values.len()).ok() {
            return Err(layer.missing("shape"));
        }
        Ok(Value::Constant { shape, values })
    }

    /// The layer that feeds a port.
    fn source(&self, layer: &Layer<'_>, port: usize) -> Result<&str, IrError> {
        let port = layer.inputs.get(port).ok_or_else(|| layer.missing("port"))?;
        let found = self.sources.get(&(layer.id.clone(), port.clone()));
        found.map(String::as_str).ok_or_else(|| layer.missing("edge"))
    }

    /// What feeds a port; a constant is handed over, because each has one reader.
    fn take(&mut self, layer: &Layer<'_>, port: usize) -> Result<Value, IrError> {
        let source = self.source(layer, port)?.to_owned();
        match self.values.get(&source) {
            Some(Value::Named(name)) => Ok(Value::Named(name.clone())),
            _ => self.values.remove(&source).ok_or_else(|| layer.missing("input")),
        }
    }

    /// Name of what feeds a port; a constant gets one.
    fn name(&mut self, layer: &Layer<'_>, port: usize) -> Result<String, IrError> {
        match self.take(layer, port)? {
            Value::Named(name) => Ok(name),
            Value::Constant { shape, values } => Ok(self.add(layer, port, shape, values)),
        }
    }

    fn add(&mut self, layer: &Layer<'_>, port: usize, shape: Vec<i64>, values: Vec<f32>) -> String {
        let name = format!("constant_{}_{port}", layer.id);
        self.constants.push(Tensor { name: name.clone(), shape, values });
        name
    }

    fn push(&mut self, layer: &Layer<'_>, operator: &'static str, inputs: Vec<String>, attributes: Vec<Attribute>) {
        let output = format!("{}_{}", operator.to_lowercase(), layer.id);
        self.values.insert(layer.id.clone(), Value::Named(output.clone()));
        self.shapes.insert(output.clone(), layer.shape.clone().unwrap_or_default());
        self.nodes.push(Node { operator, inputs, output, attributes });
    }

    fn operation(
        &mut self,
        layer: &Layer<'_>,
        operator: &'static str,
        attributes: Vec<Attribute>,
    ) -> Result<(), IrError> {
        let inputs = (0..layer.inputs.len()).map(|port| self.name(layer, port)).collect::<Result<_, _>>()?;
        self.push(layer, operator, inputs, attributes);
        Ok(())
    }

    fn convolution(&mut self, layer: &Layer<'_>, groups: i64) -> Result<(), IrError> {
        let attributes = vec![
            Attribute::Int("group", groups),
            Attribute::Ints("strides", layer.numbers("strides")?),
            Attribute::Ints("dilations", layer.numbers("dilations")?),
            layer.pads()?,
        ];
        self.operation(layer, "Conv", attributes)
    }

    /// IR keeps the group as a dimension of its own; ONNX folds it into the output channels.
    fn grouped_convolution(&mut self, layer: &Layer<'_>) -> Result<(), IrError> {
        let source = self.source(layer, 1)?.to_owned();
        let Some(Value::Constant { shape, .. }) = self.values.get_mut(&source) else {
            return Err(layer.missing("weights"));
        };
        let &[groups, outputs, inputs, height, width] = shape.as_slice() else {
            return Err(layer.missing("weights' shape"));
        };
        *shape = vec![groups * outputs, inputs, height, width];
        self.convolution(layer, groups)
    }

    /// A slope per channel runs along the second dimension; ONNX aligns dimensions from the last.
    fn prelu(&mut self, layer: &Layer<'_>) -> Result<(), IrError> {
        let source = self.source(layer, 1)?.to_owned();
        let rank = layer.shape.as_ref().map_or(4, Vec::len);
        if let Some(Value::Constant { shape, values }) = self.values.get_mut(&source)
            && shape.len() == 1
            && values.len() > 1
        {
            shape.extend(std::iter::repeat_n(1, rank.saturating_sub(2)));
        }
        self.operation(layer, "PRelu", Vec::new())
    }
}

/// Half precision (IEEE 754 binary16) to single; exact.
fn widen(half: u16) -> f32 {
    let sign = if half & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(half >> 10 & 0x1F), f32::from(half & 0x3FF));
    sign * match exponent {
        0 => fraction * 2.0_f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction / 1024.0) * 2.0_f32.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn halves_are_widened_exactly() {
        for (half, single) in [
            (0x0000, 0.0),
            (0x3C00, 1.0),
            (0xC000, -2.0),
            (0x7BFF, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x0400, 6.103_515_6e-5),
            (0x3555, 0.333_251_95),
            (0x7C00, f32::INFINITY),
        ] {
            assert_eq!(widen(half), single, "{half:04x}");
        }
        assert!(widen(0x7E00).is_nan());
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let net = |layer: &str| format!("<net name=\"n\"><layers>{layer}</layers><edges/></net>");
        let unknown = to_onnx(&net("<layer id=\"0\" type=\"LSTMCell\"/>"), &[]).unwrap_err();
        assert!(unknown.to_string().contains("LSTMCell"), "{unknown}");
        let constant =
            "<layer id=\"0\" type=\"Const\"><data element_type=\"f16\" shape=\"9\" offset=\"0\" size=\"18\"/></layer>";
        assert!(matches!(to_onnx(&net(constant), &[0; 4]), Err(IrError::Malformed { what: "offset", .. })));
        assert!(matches!(to_onnx("no xml", &[]), Err(IrError::Xml(_))));
    }

    proptest! {
        #[test]
        fn damaged_descriptions_never_panic(cut in 0usize..400, weights in proptest::collection::vec(any::<u8>(), 0..16)) {
            let xml = "<net><layers><layer id=\"0\" type=\"Const\"><data element_type=\"f16\" shape=\"1, 2\" offset=\"0\" size=\"4\"/>\
                <output><port id=\"0\"><dim>1</dim></port></output></layer><layer id=\"1\" type=\"Result\"><input><port id=\"0\"/></input>\
                </layer></layers><edges><edge from-layer=\"0\" from-port=\"0\" to-layer=\"1\" to-port=\"0\"/></edges></net>";
            let _ = to_onnx(&xml[..cut.min(xml.len())], &weights);
            let _ = to_onnx(xml, &weights);
        }
    }
}
