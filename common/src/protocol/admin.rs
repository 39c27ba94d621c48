//! Bodies of the operator's API: events, and the tokens of the machines that upload to them.

use serde::{Deserialize, Serialize};

use super::Counts;
use crate::id::EventId;

/// Body of `POST /api/admin/events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EventRequest {
    /// Name that guests see.
    pub name: String,
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
    /// Whether guests may be found by their faces.
    pub faces: Option<bool>,
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
