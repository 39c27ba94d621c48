//! What guests send and hear: joining, searching, what is held about them, and reports.

use serde::{Deserialize, Serialize};

use crate::id::PhotoId;

/// Body of `POST /api/join`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JoinRequest {
    /// Ten characters; forgiving, see [`crate::JoinCode`].
    pub code: String,
}

/// Answer of `POST /api/join`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Joined {
    /// Name of the event, for the page's title.
    pub event: String,
}

/// One photo that a selfie found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Match {
    /// The photo.
    pub photo: PhotoId,
    /// Cosine of the two embeddings, −1 to 1, of the best face in the photo.
    pub similarity: f32,
}

/// Answer of `POST /api/selfie`, best first in each band.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SelfieResult {
    /// At or above the pack's threshold.
    pub you: Vec<Match>,
    /// Below it, but more alike than strangers usually are.
    pub maybe: Vec<Match>,
}

/// Body of `POST /api/my-photos/{id}`: what a guest says about a photo in which they were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Verdict {
    /// Whether they are in it; null takes back what was said.
    pub mine: Option<bool>,
}

/// Answer of `DELETE /api/selfie`: what was erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErasureReceipt {
    /// Face vectors that were held for the guest.
    pub enrolments: u64,
    /// Photos that were connected with the guest.
    pub matches: u64,
    /// Consents that were recorded (the record of the consent ends with it).
    pub consents: u64,
    /// Whether «never match me» stays in force, with the measurement that it takes: it ends when it is lifted.
    #[serde(default)]
    pub never_matched: bool,
    /// Whether the wish for it still waits for the organiser.
    #[serde(default)]
    pub never_match_held: bool,
    /// Whether a link back was there; it leads nowhere any more, and the browsers that came by it are out.
    #[serde(default)]
    pub return_link: bool,
    /// When, RFC 3339 in UTC.
    pub erased_at: String,
}

/// Answer of `GET /api/me`: what is held about the guest who asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Held {
    /// Name of the event.
    pub event: String,
    /// When the guest joined, RFC 3339 in UTC.
    pub joined_at: String,
    /// Face vectors that are held (never the selfie itself).
    pub enrolments: u64,
    /// Which people of this session they are of: 0 is the guest, the others were added.
    #[serde(default)]
    pub people: Vec<u8>,
    /// Consents, newest first.
    pub consents: Vec<Consent>,
    /// Photos that are connected with the guest.
    pub matches: Vec<Match>,
    /// Whether faces like the guest's are dropped as soon as they are found.
    #[serde(default)]
    pub never_matched: bool,
    /// Whether the guest asked for that and the organiser has to look at it first.
    #[serde(default)]
    pub never_match_held: bool,
    /// Whether there is a link back, see `POST /api/me/link`.
    #[serde(default)]
    pub return_link: bool,
    /// When the server itself erases all faces, RFC 3339 in UTC; null: not before the event is deleted.
    #[serde(default)]
    pub faces_until: Option<String>,
    /// When the server itself deletes the event, RFC 3339 in UTC; null: never by itself.
    #[serde(default)]
    pub photos_until: Option<String>,
}

/// Answer of `POST /api/never-match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NeverMatched {
    /// Whether it is in force. Nothing is told of what was found.
    pub state: SuppressionState,
}

/// What became of the wish never to be matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum SuppressionState {
    /// In force.
    Active,
    /// The organiser looks at it before it takes effect.
    Held,
}

impl SuppressionState {
    /// The word on the wire and in the catalogue.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Held => "held",
        }
    }
}

impl std::str::FromStr for SuppressionState {
    type Err = crate::token::Malformed;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = [Self::Active, Self::Held].into_iter().find(|word| word.as_str() == text);
        found.ok_or(crate::token::Malformed("state (active or held)"))
    }
}

/// Answer of `POST /api/photo/{id}/report`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReportTaken {
    /// Whether guests do not see the photo until its photographer has looked. Otherwise it stays until they have.
    pub hidden: bool,
}

/// One open report in `GET /api/photos/reports`: a guest wants this photo taken down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Report {
    /// The photo.
    pub photo: PhotoId,
    /// Whether guests do not see it until the photographer shows it again. Not when it was looked at and shown before,
    /// nor when many photos of the event are down already.
    #[serde(default)]
    pub hidden: bool,
    /// File name of the photo.
    pub name: String,
    /// When, RFC 3339 in UTC.
    pub reported_at: String,
}

/// One recorded consent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Consent {
    /// Version of the text that was agreed to.
    pub text: String,
    /// When, RFC 3339 in UTC.
    pub given_at: String,
    /// Language of the text (BCP 47).
    pub language: String,
}
