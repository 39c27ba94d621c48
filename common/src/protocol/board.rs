//! What the photographer's board shows: one answer, read every few seconds.

use serde::{Deserialize, Serialize};

use super::Counts;

/// Body of `GET /api/board`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Board {
    /// Name of the event.
    pub name: String,
    /// Whether it takes no more photos.
    pub closed: bool,
    /// What guests open to join.
    pub guest_link: String,
    /// Whether faces wait until the operator has installed models.
    pub faces_wait: bool,
    /// Photos by state, and those that wait for the photographer.
    pub counts: Counts,
    /// Photos that were accepted in the last ten minutes.
    pub received_lately: u64,
    /// Until guests could find a photo; of the last 100 photos. Left out before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_guests: Option<Delay>,
    /// Who is there for the photos.
    pub guests: GuestCounts,
    /// Machines that may upload.
    pub machines: Vec<MachineItem>,
}

/// From when on a delay is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum DelayFrom {
    /// The file's close, as the client saw it.
    FileClosed,
    /// The beginning of the upload: the client tells no more.
    UploadBegun,
}

/// How long something takes, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Delay {
    /// Half are faster.
    pub p50_ms: u64,
    /// 19 of 20 are faster.
    pub p95_ms: u64,
    /// From when on.
    pub from: DelayFrom,
}

/// How many guests have come how far. Never who.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GuestCounts {
    /// Sessions that joined.
    pub joined: u64,
    /// Those of them that took a selfie.
    pub enrolled: u64,
    /// Those of them who are in no photo yet: whom to look for.
    pub without_photo: u64,
}

/// A machine that holds a photographer token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MachineItem {
    /// What the operator called it.
    pub label: String,
    /// When it was last heard of (RFC 3339), to the minute; `None`: never.
    pub last_seen: Option<String>,
    /// When its last upload was complete (RFC 3339).
    pub last_photo: Option<String>,
    /// Uploads that it began in all.
    pub uploads: u64,
}
