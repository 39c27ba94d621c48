//! Photos as lists and answers tell of them.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::PhotoId;

/// What an upload carries. An upload is keyed by (event, photo, kind).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The photo itself, byte for byte.
    #[default]
    Original,
    /// A smaller JPEG sent ahead of the original.
    Preview,
}

impl Kind {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::Preview => "preview",
        }
    }
}

impl std::str::FromStr for Kind {
    type Err = crate::token::Malformed;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "original" => Ok(Self::Original),
            "preview" => Ok(Self::Preview),
            _ => Err(crate::token::Malformed("upload kind")),
        }
    }
}

/// How far a photo has come. Received, indexed and failed are different words on every surface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum PhotoState {
    /// Durably stored; its faces are not searchable yet.
    Received,
    /// Its faces are searchable (also when it has none).
    Indexed,
    /// Stored, but it could not be indexed.
    Failed,
}

/// Who may see a photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// Guests too.
    #[default]
    Shown,
    /// The photographer alone, until it is released.
    Held,
    /// The photographer alone, until they have looked at what a guest reported.
    Reported,
    /// The photographer alone.
    Hidden,
}

impl Visibility {
    /// The word on the wire and in the catalogue.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shown => "shown",
            Self::Held => "held",
            Self::Reported => "reported",
            Self::Hidden => "hidden",
        }
    }
}

impl std::str::FromStr for Visibility {
    type Err = crate::token::Malformed;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Shown, Self::Held, Self::Reported, Self::Hidden];
        all.into_iter().find(|word| word.as_str() == text).ok_or(crate::token::Malformed("visibility"))
    }
}

/// One photo of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PhotoItem {
    /// Id, also of its URLs.
    pub id: PhotoId,
    /// File name as the photographer's disk had it; data, never a path.
    pub name: String,
    /// Capture time as the camera wrote it, with an offset only if the camera wrote one.
    pub taken_at: Option<String>,
    /// Pixels of the upright photo; `None` until it was decoded.
    pub width: Option<u32>,
    /// Pixels of the upright photo; `None` until it was decoded.
    pub height: Option<u32>,
    /// How far it has come.
    pub state: PhotoState,
    /// Why it failed, for the photographer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How surely the asking guest is in it (`GET /api/my-photos` only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub band: Option<Band>,
    /// Whether its photographer starred it (left out when not).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub featured: bool,
    /// Who may see it (for photographers only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility: Option<Visibility>,
    /// The version of the same shot that guests see in its place (for photographers only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub replaced_by: Option<PhotoId>,
}

/// How sure a match is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Band {
    /// «you»: at or above the pack's threshold.
    You,
    /// «maybe you?»: below it, but more alike than strangers usually are.
    Maybe,
}

/// Photos of an event by state. Every photo is in exactly one of the first three.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Counts {
    /// Stored, not indexed yet.
    pub received: u64,
    /// Searchable.
    pub indexed: u64,
    /// Stored, could not be indexed.
    pub failed: u64,
    /// Jobs of the event that a worker runs now or may run without anybody's help. Jobs that wait for models do not
    /// count; the event is at rest when this is 0.
    #[serde(default)]
    pub runnable: u64,
    /// Photos that wait until they are released (for photographers only; left out when there are none).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held: u64,
    /// Photos that a guest reported and nobody has looked at (for photographers only; left out when there are none).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reported: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for a reference
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Body of `GET /api/all-photos` and `GET /api/my-photos`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PhotoList {
    /// One page, newest acceptance first.
    pub photos: Vec<PhotoItem>,
    /// What to pass as `?after=` for the next page; `None` on the last.
    pub next: Option<String>,
    /// Counts of the whole list, not of the page.
    pub counts: Counts,
}

/// Body of `GET /api/names`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NameList {
    /// Originals on the server, oldest acceptance first.
    pub photos: Vec<Name>,
    /// What to pass as `?after=` for the next page; `None` on the last.
    pub next: Option<String>,
}

/// One original on the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Name {
    /// The photo.
    pub id: PhotoId,
    /// Digest of what is stored, computed by the server while it arrived.
    pub digest: Digest,
    /// Bytes.
    pub bytes: u64,
    /// File name.
    pub name: String,
}

/// Body of `POST /api/photos/show`, `/hide` and `/release`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PhotoSelection {
    /// At most 1000.
    pub photos: Vec<PhotoId>,
}

/// Answer of show, hide, release and delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Changed {
    /// Photos that are now otherwise than before.
    pub changed: u64,
}
