//! Bodies of what an operator looks at: room, face search and how sure it is here, and what was erased.

use serde::{Deserialize, Serialize};

use crate::id::EventId;

/// Body of `GET /api/admin/system`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SystemFacts {
    /// Version of the program.
    pub version: String,
    /// Bytes that are free where photos are stored; null: not known.
    pub free_bytes: Option<u64>,
    /// What the events take, the largest first.
    pub events: Vec<EventSize>,
    /// How faces are found.
    pub faces: FaceFacts,
    /// The figures of the last `evaluate` on this data folder; null: not measured here.
    pub accuracy: Option<Accuracy>,
}

/// What one event takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EventSize {
    /// The event.
    pub event: EventId,
    /// Name that guests see.
    pub name: String,
    /// Photos.
    pub photos: u64,
    /// Bytes of their originals.
    pub bytes: u64,
    /// Faces that are kept of them, sealed.
    pub faces: u64,
    /// Wishes never to be matched that an operator has to look at.
    pub suppressions_held: u64,
}

/// Whether faces can be looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum FaceSearch {
    /// Models are loaded.
    Ready,
    /// Models are missing; jobs wait.
    Waiting,
    /// Switched off.
    Off,
}

/// How faces are found and compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FaceFacts {
    /// Whether they can be.
    pub state: FaceSearch,
    /// Why not, with the way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The face pack; null where a service elsewhere finds faces.
    pub pack: Option<String>,
    /// Under which licences its models are.
    pub licence: Option<String>,
    /// What runs its networks; null while they are not loaded.
    pub engine: Option<String>,
    /// Cosine from which a photo is shown as «you».
    pub you_from: Option<f32>,
    /// Cosine below which «maybe you?» never reaches.
    pub maybe_floor: Option<f32>,
}

/// What `evaluate` measured. Shares are 0 to 1, null where there was nothing to share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Accuracy {
    /// When, RFC 3339 in UTC.
    pub made_at: String,
    /// Name of the labelled set.
    pub set: String,
    /// The face pack that was measured.
    pub pack: String,
    /// Photos in it.
    pub photos: u64,
    /// Searches by people who are in photos of the set.
    pub searches: u64,
    /// Searches by people who are in none.
    pub strangers: u64,
    /// Of the photos shown as «you», those that were right.
    pub you_precision: Option<f64>,
    /// Of the photos of the searchers, those shown as «you».
    pub you_recall: Option<f64>,
    /// The same of both bands together.
    pub both_recall: Option<f64>,
    /// Of the strangers, those who were shown anything as «you».
    pub strangers_shown: Option<f64>,
}

/// Body of `GET /api/admin/audit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditList {
    /// Newest first.
    pub entries: Vec<AuditEntry>,
    /// What to pass as `?after=` for the next page; null on the last.
    pub next: Option<String>,
}

/// Something that was erased or reported: who did it and how much it was, never whose or what it showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditEntry {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// The event; it may be gone.
    pub event: EventId,
    /// Its name, while it is there.
    pub name: Option<String>,
    /// `operator`, `photographer`, `guest`, or `server` for what it does by itself when the time has come.
    pub actor: String,
    /// What was done, for example `guest-erased`, `photo-reported`, `photo-deleted`.
    pub action: String,
    /// How much of it.
    pub count: u64,
}
