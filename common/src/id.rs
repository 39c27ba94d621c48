//! Typed identifiers. Each is parsed once at the edge and never travels as text again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid};

use crate::digest::Digest;

/// The text was not an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is a UUID, for example 6e1f6811-9d4b-85d8-9c01-562ac5f530e5")]
pub struct NotAnId;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String, format = "uuid"))]
        pub struct $name(Uuid);

        impl $name {
            /// Takes over the 16 raw bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// Takes over raw bytes of unknown length; `None` unless there are 16.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                Uuid::from_slice(bytes).ok().map(Self)
            }

            /// The 16 raw bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// An unguessable id (RFC 9562 version 4, 122 random bits).
            ///
            /// # Errors
            /// When the operating system has no randomness to give.
            pub fn random() -> Result<Self, getrandom::Error> {
                let mut bytes = [0; 16];
                getrandom::fill(&mut bytes)?;
                Ok(Self(Builder::from_random_bytes(bytes).into_uuid()))
            }

            /// 32 hexadecimal digits without hyphens.
            pub fn to_simple(&self) -> String {
                self.0.simple().to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                // Only the two plain forms; braces and urn: would give one id several names.
                if text.len() != 36 && text.len() != 32 {
                    return Err(NotAnId);
                }
                Uuid::try_parse(text).map(Self).map_err(|_| NotAnId)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let wanted = "an id is a UUID, for example 6e1f6811-9d4b-85d8-9c01-562ac5f530e5";
                crate::text::parsed(deserializer, wanted, |text| text.parse().ok())
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "format": "uuid" })
            }
        }
    };
}

id!(
    /// One occasion: one gallery, one set of keys. Random.
    EventId
);
id!(
    /// One accepted, immutable photo of one event. See [`PhotoId::of`].
    PhotoId
);
id!(
    /// One resumable transfer; the last segment of its URL. Random.
    UploadId
);
id!(
    /// One guest of one event, known only by their session. Random.
    GuestId
);

impl PhotoId {
    /// Names a photo from its content, so that sending it again is the same request again.
    ///
    /// The first 16 bytes of SHA-256(16 raw event-id bytes ‖ 32 raw digest bytes), with version 8 and the variant of
    /// RFC 9562 section 5.8. Scoped by event, so that it tells nothing across events.
    pub fn of(event: EventId, digest: &Digest) -> Self {
        let hash = Sha256::new_with_prefix(event.as_bytes()).chain_update(digest.as_bytes()).finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        Self(Builder::from_custom_bytes(bytes).into_uuid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_vector() {
        let event: EventId = "00112233-4455-6677-8899-aabbccddeeff".parse().unwrap();
        let photo = PhotoId::of(event, &Digest::of(b"hello"));
        assert_eq!(photo.to_string(), "6e1f6811-9d4b-85d8-9c01-562ac5f530e5");
    }

    #[test]
    fn same_bytes_in_another_event_are_another_photo() {
        let digest = Digest::of(b"hello");
        let (a, b) = (EventId::random().unwrap(), EventId::random().unwrap());
        assert_ne!(PhotoId::of(a, &digest), PhotoId::of(b, &digest));
    }

    #[test]
    fn reads_both_plain_forms_and_nothing_else() {
        let id: EventId = "00112233-4455-6677-8899-aabbccddeeff".parse().unwrap();
        assert_eq!(id.to_simple().parse::<EventId>().unwrap(), id);
        for text in ["", "x", "{00112233-4455-6677-8899-aabbccddeeff}", "urn:uuid:00112233-4455-6677-8899-aabbccddeeff"]
        {
            assert_eq!(text.parse::<EventId>(), Err(NotAnId), "{text}");
        }
    }
}
