//! Bodies of the operator's API: events, and the tokens of the machines that upload to them.

use serde::{Deserialize, Serialize};

use super::{Counts, SuppressionState};
use crate::id::EventId;

/// Body of `POST /api/admin/events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EventRequest {
    /// Name that guests see.
    pub name: String,
    /// Whether and on what ground faces are looked for; `attested` when left out.
    #[serde(default)]
    pub policy: Policy,
    /// That everyone at the event was told that faces are found in photos: what the policy `attested` stands on. Without
    /// `true` it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attested: Option<bool>,
    /// After how many days the server itself erases the faces; 30 when left out, 0: not before the event is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faces_days: Option<u32>,
    /// After how many days the server itself deletes the event; 90 when left out, 0: never by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub photos_days: Option<u32>,
}

/// Whether and on what ground faces are looked for at an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// The operator states that everyone was told.
    #[default]
    Attested,
    /// Not at all.
    Off,
}

impl Policy {
    /// The word on the wire and in the catalogue.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attested => "attested",
            Self::Off => "off",
        }
    }
}

impl std::str::FromStr for Policy {
    type Err = crate::token::Malformed;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Attested, Self::Off]
            .into_iter()
            .find(|word| word.as_str() == text)
            .ok_or(crate::token::Malformed("policy (attested or off)"))
    }
}

/// Until when something is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum Until {
    /// Days from now; 0: until the event is deleted by hand.
    Days(u32),
    /// A moment, RFC 3339.
    At(String),
}

/// Answer of `POST /api/admin/events`; its secrets are never shown again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EventCreated {
    /// The event.
    pub id: EventId,
    /// Guests join with it.
    pub join_code: String,
    /// What the poster's QR code says.
    pub guest_link: String,
    /// A first machine's token.
    pub photographer_token: String,
}

/// One event in `GET /api/admin/events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EventItem {
    /// The event.
    pub id: EventId,
    /// Name that guests see.
    pub name: String,
    /// Guests join with it.
    pub join_code: String,
    /// When it was created, RFC 3339 in UTC.
    pub created_at: String,
    /// When it was closed, RFC 3339 in UTC; it takes no photos since.
    pub closed_at: Option<String>,
    /// Whether guests may be found by their faces.
    pub faces: bool,
    /// Whether guests may see all photos, not only their own.
    pub gallery_open: bool,
    /// Its photos by state.
    pub counts: Counts,
    /// When the server itself erases the faces, RFC 3339 in UTC; `None`: not before the event is deleted.
    pub faces_until: Option<String>,
    /// When the server itself deletes the event, RFC 3339 in UTC; `None`: never by itself.
    pub photos_until: Option<String>,
    /// When the server erased the faces, RFC 3339 in UTC; it finds none since.
    pub faces_erased_at: Option<String>,
    /// When the operator stated that everyone was told, RFC 3339 in UTC.
    pub attested_at: Option<String>,
}

/// Body of `PATCH /api/admin/events/{id}`; what is left out stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct EventChange {
    /// A new name.
    pub name: Option<String>,
    /// Whether it takes photos no more.
    pub closed: Option<bool>,
    /// Whether guests may see all photos, not only their own.
    pub gallery_open: Option<bool>,
    /// Whether guests may be found by their faces. Not after the faces were erased.
    pub faces: Option<bool>,
    /// That everyone at the event was told that faces are found in photos: without `true`, faces are not switched on.
    pub attested: Option<bool>,
    /// When the server itself erases the faces.
    pub faces_until: Option<Until>,
    /// When the server itself deletes the event.
    pub photos_until: Option<Until>,
}

/// One entry of `GET /api/admin/events/{id}/suppressions`: somebody is never to be matched. Never the picture, what was
/// measured, or who it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SuppressionItem {
    /// Names it when it is lifted or confirmed.
    pub id: i64,
    /// When it was asked for, RFC 3339 in UTC.
    pub given_at: String,
    /// Whether the session that asked for it is still there: its guest can lift it too.
    pub by_session: bool,
    /// Whether it is in force.
    pub state: SuppressionState,
}

/// One machine in `GET /api/admin/events/{id}/tokens`. The token itself is never shown again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenItem {
    /// Names the token when it is revoked.
    pub id: i64,
    /// Which machine has it.
    pub label: String,
    /// RFC 3339 in UTC.
    pub created_at: String,
    /// RFC 3339 in UTC, to the minute; `None` while it was never used.
    pub last_seen: Option<String>,
    /// RFC 3339 in UTC.
    pub revoked_at: Option<String>,
}

/// Body of `POST /api/admin/events/{id}/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenRequest {
    /// Which machine it is for.
    pub label: String,
}

/// Answer of `POST /api/admin/events/{id}/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenCreated {
    /// Shown only now.
    pub photographer_token: String,
}
