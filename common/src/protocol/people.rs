//! Bodies of the operator's API about the people of an event: groups of faces, never names.

use serde::{Deserialize, Serialize};

use super::{FaceBox, GuestCounts};
use crate::id::PhotoId;

/// Answer of `GET /api/admin/events/{id}/people`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct People {
    /// Who is in the most photos first.
    pub people: Vec<Person>,
    /// Groups in all, also those that were not asked for.
    pub groups: u64,
    /// Faces that were looked at: of the newest photos, when there are more than fit.
    pub faces: u64,
    /// How far the event's guests have come.
    pub guests: GuestCounts,
}

/// Faces that are taken to be one person's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Person {
    /// The face that stands for them. Good until its photo is indexed again.
    pub face: i64,
    /// The photo that it is in.
    pub photo: PhotoId,
    /// Where in it.
    pub area: FaceBox,
    /// Photos that they are in.
    pub photos: u64,
}

/// Body of `POST /api/admin/events/{id}/people/{face}/hide`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HidePerson {
    /// Whether guests are to see the photos no more that they are in; they stay otherwise, and the person is found in none.
    #[serde(default)]
    pub photos: bool,
}

/// A person who is found no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PersonHidden {
    /// The suppression that keeps it so; lifting it undoes it, but for the photos.
    pub suppression: i64,
    /// Photos that they were found in.
    pub photos: Vec<PhotoId>,
    /// How many of them guests see no more.
    pub hidden: u64,
}
