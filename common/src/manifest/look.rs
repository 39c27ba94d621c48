//! What a picture looks like, so that the frames of a burst are known for what they are.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use crate::digest::{from_hex, to_hex};

/// What a picture looks like, and when its file was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Look {
    /// Its rough pattern of light.
    pub pattern: Pattern,
    /// Modification time of its file, in seconds since 1970 (UTC).
    pub made: i64,
}

/// Which of two neighbours is the brighter one, for each of 8 × 8 pairs in a picture of 9 × 8 pixels (a difference hash,
/// «dHash»): row by row, the first pair in the highest bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pattern(u64);

impl Pattern {
    /// From the brightness of 9 × 8 pixels, row by row.
    pub fn of(light: &[[u8; 9]; 8]) -> Self {
        let pairs = light.iter().flat_map(|row| row.windows(2).map(|pair| u64::from(pair[0] < pair[1])));
        Self(pairs.fold(0, |bits, bit| bits << 1 | bit))
    }

    /// How many of the 64 pairs differ.
    pub const fn differs_in(self, other: Self) -> u32 {
        (self.0 ^ other.0).count_ones()
    }
}

impl Serialize for Pattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&to_hex(&self.0.to_be_bytes()))
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = |text: &str| from_hex(text).map(|bytes| Self(u64::from_be_bytes(bytes)));
        crate::text::parsed(deserializer, "a pattern is 16 hexadecimal digits", read)
    }
}

impl JsonSchema for Pattern {
    fn schema_name() -> Cow<'static, str> {
        "Pattern".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9a-f]{16}$" })
    }
}
