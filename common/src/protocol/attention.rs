//! Photos that need somebody: bodies of `GET /api/photos/attention`, `GET /api/admin/jobs` and the retries.

use serde::{Deserialize, Serialize};

use super::PhotoState;
use crate::id::{EventId, PhotoId};

/// A photo that failed, or that is put off again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AttentionItem {
    /// Its event.
    pub event: EventId,
    /// Its id.
    pub photo: PhotoId,
    /// File name as the photographer's disk had it.
    pub name: String,
    /// `failed`, or how far it had come when it was put off.
    pub state: PhotoState,
    /// Why it failed: a stable word (`not-a-photo`, `gave-up`, …).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What put it off the last time: a stable word (`disk`, `files`, `key`, `engine`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Times that it was put off.
    pub delays: u32,
    /// When the server accepted it, RFC 3339 in UTC.
    pub accepted_at: String,
    /// Seconds since then.
    pub age_s: u64,
}

/// Answer of `GET /api/photos/attention` and `GET /api/admin/jobs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AttentionList {
    /// One page, newest acceptance first.
    pub photos: Vec<AttentionItem>,
    /// What to pass as `?after=` for the next page; `None` on the last.
    pub next: Option<String>,
}

/// Body of `POST /api/photos/retry` and `POST /api/admin/jobs/retry`: these photos, or all that failed or are put off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct RetryRequest {
    /// At most 1000.
    pub photos: Vec<PhotoId>,
    /// All of them.
    pub all: bool,
}

/// Body of `POST /api/admin/events/{id}/reindex`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct ReindexRequest {
    /// Only photos that failed or are put off; else all.
    pub failed: bool,
}
