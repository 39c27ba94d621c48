//! What tells that two files show the same shot, and which of them stands for it.

use std::borrow::Cow;
use std::str::FromStr;

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, from_hex, to_hex};

/// Names a press of the shutter: the first 8 bytes of a SHA-256 over the camera's serial number and the capture time with
/// its sub-seconds. Without one of the two there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShotKey([u8; 8]);

impl ShotKey {
    /// From serial number, capture time and sub-seconds as the camera wrote them.
    pub fn of(serial: &str, taken_at: &str, sub_seconds: &str) -> Self {
        let text = format!("{serial}\0{taken_at}\0{sub_seconds}");
        let mut key = [0; 8];
        key.copy_from_slice(&Digest::of(text.as_bytes()).as_bytes()[..8]);
        Self(key)
    }

    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0
    }

    /// Before all others.
    pub const FIRST: Self = Self([0; 8]);
}

/// The text was no shot key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a shot key is 16 hexadecimal digits")]
pub struct NotAShotKey;

impl FromStr for ShotKey {
    type Err = NotAShotKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        from_hex(text).map(Self).ok_or(NotAShotKey)
    }
}

impl Serialize for ShotKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&to_hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for ShotKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::parsed(deserializer, "a shot key is 16 hexadecimal digits", |text| text.parse().ok())
    }
}

impl JsonSchema for ShotKey {
    fn schema_name() -> Cow<'static, str> {
        "ShotKey".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9a-f]{16}$" })
    }
}

/// What is known of a content that may be a version of a shot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shot {
    /// Which shot.
    pub key: ShotKey,
    /// Pixels of the longer side; 0 where it is not known.
    pub long: u32,
    /// Pixels of the shorter side; 0 where it is not known.
    pub short: u32,
    /// Whether it is a camera's RAW file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub raw: bool,
    /// Whether a program has left its mark in it: the camera did not write it so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub edited: bool,
    /// When it was made: the time of its last change by its own data, else by the file system. Seconds since 1970; only
    /// compared with times of the same shot.
    pub made: i64,
    /// Its file's name without the ending, in lower case, as it was first seen.
    pub name: Box<str>,
}

/// Which photo of the same shot a photo replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replaces {
    /// Digest of the earlier photo; its own: it is a version of no other photo any more.
    pub photo: Digest,
    /// Whether the server has been told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub told: bool,
}

/// How far the preview of a photo has come, which goes ahead of the original.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PreviewState {
    /// The server named its upload.
    Announced {
        /// Path and query of the upload on the server.
        upload: Box<str>,
    },
    /// The server gave its receipt for the preview. That is no receipt for the photo.
    Received {
        /// When it came, in milliseconds since 1970 (UTC).
        at_ms: u64,
    },
}
