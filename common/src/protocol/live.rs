//! What the live stream tells.

use serde::{Deserialize, Serialize};

use crate::id::PhotoId;

/// What happened to a photo, in `GET /api/live`: the name of the server-sent event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum LiveKind {
    /// Durably stored (photographers only).
    Received,
    /// Searchable and, for guests, in the gallery.
    Indexed,
    /// Stored, could not be indexed (photographers only).
    Failed,
    /// The asking guest is in it.
    You,
    /// The asking guest may be in it.
    Maybe,
    /// Hidden or deleted: to be shown no more.
    Removed,
}

impl LiveKind {
    /// The word on the wire and in the catalogue.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Indexed => "indexed",
            Self::Failed => "failed",
            Self::You => "you",
            Self::Maybe => "maybe",
            Self::Removed => "removed",
        }
    }

    /// Reads [`LiveKind::as_str`].
    pub fn of_word(word: &str) -> Option<Self> {
        let all = [Self::Received, Self::Indexed, Self::Failed, Self::You, Self::Maybe, Self::Removed];
        all.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Names of server-sent events of `GET /api/live` that tell of no photo.
pub mod live_event {
    /// The first of every connection.
    pub const HELLO: &str = "hello";
    /// What came after the `Last-Event-ID` is not known any more: load the lists anew.
    pub const RESET: &str = "reset";
}

/// Data of one server-sent event of `GET /api/live`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LiveEvent {
    /// What happened; also the name of the event.
    pub kind: LiveKind,
    /// To which photo.
    pub photo: PhotoId,
}
