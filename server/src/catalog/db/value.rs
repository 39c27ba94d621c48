//! Values on their way into a statement. Both databases keep whole numbers of 64 bits, floating-point numbers of 64,
//! text and bytes; a yes or no is 1 or 0. «Nothing» keeps its kind: PostgreSQL wants to know it.

/// One value.
#[derive(Debug, Clone)]
pub(in super::super) enum Value {
    /// A whole number, a yes (1) or a no (0).
    Int(Option<i64>),
    /// A floating-point number.
    Real(Option<f64>),
    /// Text.
    Text(Option<String>),
    /// Bytes.
    Bytes(Option<Vec<u8>>),
}

/// Makes a value of a type, of a reference to it, and of one that may be missing.
macro_rules! value {
    ($kind:ident, $as:ty: $($type:ty),+) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$kind(Some(<$as>::from(value)))
            }
        }

        impl From<Option<$type>> for Value {
            fn from(value: Option<$type>) -> Self {
                Self::$kind(value.map(<$as>::from))
            }
        }
    )+};
}

value!(Int, i64: i64, u32, u8, bool);
value!(Real, f64: f64, f32);
value!(Text, String: String, &str, &String);
value!(Bytes, Vec<u8>: Vec<u8>, &[u8]);

impl From<&i64> for Value {
    fn from(value: &i64) -> Self {
        Self::Int(Some(*value))
    }
}

impl From<&Vec<u8>> for Value {
    fn from(value: &Vec<u8>) -> Self {
        Self::Bytes(Some(value.clone()))
    }
}
