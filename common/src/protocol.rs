//! The words on the wire: header names, paths, bodies and problem codes. Both ends use these and nothing else, so that
//! neither matches on text.

mod admin;
mod attention;
mod board;

pub use admin::{
    EventChange, EventCreated, EventItem, EventRequest, Policy, SuppressionItem, TokenCreated, TokenItem, TokenRequest,
    Until,
};
pub use attention::{AttentionItem, AttentionList, ReindexRequest, RetryRequest};
pub use board::{Board, Delay, GuestCounts, MachineItem};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::PhotoId;

/// Version of tus that is spoken (the resumable upload protocol, 1.0, 2016-03-25).
pub const TUS_VERSION: &str = "1.0.0";

/// Version of this protocol. Every answer names it; a client that knows only earlier ones stops and says so. It grows
/// when an old client would do harm, not with every addition.
pub const PROTOCOL_VERSION: u32 = 1;

/// Media type of the body of a tus `PATCH`.
pub const OFFSET_OCTET_STREAM: &str = "application/offset+octet-stream";

/// Media type of an error body (RFC 9457).
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Status of a failed checksum (tus, checksum extension).
pub const STATUS_CHECKSUM_MISMATCH: u16 = 460;

/// Header names, in the lower case that HTTP libraries want.
pub mod header {
    /// tus: protocol version of a request or answer.
    pub const TUS_RESUMABLE: &str = "tus-resumable";
    /// tus: versions that a server speaks, preferred first.
    pub const TUS_VERSION: &str = "tus-version";
    /// tus: extensions that a server offers.
    pub const TUS_EXTENSION: &str = "tus-extension";
    /// tus: largest upload that is taken, in bytes.
    pub const TUS_MAX_SIZE: &str = "tus-max-size";
    /// tus: checksums that a server verifies.
    pub const TUS_CHECKSUM_ALGORITHM: &str = "tus-checksum-algorithm";
    /// tus: digest of the bytes of one request.
    pub const UPLOAD_CHECKSUM: &str = "upload-checksum";
    /// tus: bytes that are stored.
    pub const UPLOAD_OFFSET: &str = "upload-offset";
    /// tus: bytes of the whole upload.
    pub const UPLOAD_LENGTH: &str = "upload-length";
    /// tus: key and base64 value pairs.
    pub const UPLOAD_METADATA: &str = "upload-metadata";
    /// tus: when an unfinished upload will be forgotten.
    pub const UPLOAD_EXPIRES: &str = "upload-expires";
    /// RFC 9530: digest of what is stored.
    pub const REPR_DIGEST: &str = "repr-digest";
    /// The photo that a complete upload became.
    pub const FINDME_PHOTO: &str = "findme-photo";
    /// Version of this protocol that the server speaks, see [`super::PROTOCOL_VERSION`].
    pub const FINDME_PROTOCOL: &str = "findme-protocol";
    /// Names a request in the logs of both sides.
    pub const REQUEST_ID: &str = "x-request-id";
    /// How many requests are taken (draft-ietf-httpapi-ratelimit-headers).
    pub const RATE_LIMIT_POLICY: &str = "ratelimit-policy";
    /// How many of them are left (draft-ietf-httpapi-ratelimit-headers).
    pub const RATE_LIMIT: &str = "ratelimit";
}

/// Paths of the API.
pub mod path {
    /// tus uploads; one upload is `/api/uploads/<id>`.
    pub const UPLOADS: &str = "/api/uploads";
    /// Bytes of a photo: `/api/photo/<id>`, with `/preview` or `/thumb` behind it the derivatives.
    pub const PHOTO: &str = "/api/photo";
    /// All photos of the event, newest acceptance first.
    pub const ALL_PHOTOS: &str = "/api/all-photos";
    /// The photos of the guest who asks.
    pub const MY_PHOTOS: &str = "/api/my-photos";
    /// The same as one archive.
    pub const MY_PHOTOS_ZIP: &str = "/api/my-photos.zip";
    /// Join by code.
    pub const JOIN: &str = "/api/join";
    /// Search by selfie; `DELETE` erases.
    pub const SELFIE: &str = "/api/selfie";
    /// Never be matched, by selfie; `DELETE` lifts it.
    pub const NEVER_MATCH: &str = "/api/never-match";
    /// What is held about the guest who asks.
    pub const ME: &str = "/api/me";
    /// Server-sent events: what happens, as it happens, replayed from `Last-Event-ID`.
    pub const LIVE: &str = "/api/live";
    /// The event's photos that failed or are put off again and again.
    pub const ATTENTION: &str = "/api/photos/attention";
    /// Puts them into the queue again.
    pub const RETRY: &str = "/api/photos/retry";
    /// Shows guests photos that were held back.
    pub const RELEASE: &str = "/api/photos/release";
    /// Hides photos from guests.
    pub const HIDE: &str = "/api/photos/hide";
    /// What the photographer's board shows.
    pub const BOARD: &str = "/api/board";
    /// Signs a browser in with a token; `DELETE` signs it out.
    pub const DESK: &str = "/api/desk";
    /// Digests on the server.
    pub const NAMES: &str = "/api/names";
    /// The description of the API (OpenAPI 3.1).
    pub const OPENAPI: &str = "/api/openapi.json";
    /// The process answers.
    pub const LIVEZ: &str = "/livez";
    /// The process can do its work; reasons when not.
    pub const READYZ: &str = "/readyz";
    /// What the process counts, for Prometheus.
    pub const METRICS: &str = "/metrics";
}

/// Keys of `Upload-Metadata` that mean something to the server; others are kept and echoed.
pub mod metadata {
    /// Name of the file on the photographer's disk; shown, never used as a path.
    pub const FILENAME: &str = "filename";
    /// Media type that the client believes in.
    pub const FILETYPE: &str = "filetype";
    /// Hexadecimal SHA-256 of the bytes of this upload.
    pub const DIGEST: &str = "digest";
    /// Id of the photo; see [`crate::PhotoId::of`].
    pub const PHOTO: &str = "photo";
    /// `original` or `preview`.
    pub const KIND: &str = "kind";
    /// Which watcher or camera sent it.
    pub const SOURCE: &str = "source";
    /// `yes`: guests do not see the photo until the photographer releases it.
    pub const HOLD: &str = "hold";
    /// Id of an earlier photo of the same shot that this one replaces, whichever of the two arrives first. Its own id: it
    /// is no version of another photo (any more). Said again of a photo that is there, the newest word counts.
    pub const REPLACES: &str = "replaces";
}

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

/// Error body (RFC 9457), sent as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// `/problems/<code>`.
    #[serde(rename = "type")]
    pub type_: String,
    /// One line for people.
    pub title: String,
    /// The HTTP status again.
    pub status: u16,
    /// What to decide on.
    pub code: Code,
    /// Whether the same request may succeed later without anybody's help.
    pub retryable: bool,
    /// What is particular about this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Names the request in the server's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Faces of a selfie with several, largest first (`many-faces` only); fractions of the upright picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faces: Option<Vec<FaceBox>>,
}

/// A face in a picture, in fractions (0 to 1) of its upright width and height.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FaceBox {
    /// Left edge.
    pub x: f32,
    /// Upper edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
}

impl Eq for FaceBox {}

/// What went wrong, as a decision for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The request is malformed; the detail says where.
    BadRequest,
    /// The token is unknown, malformed or revoked.
    TokenRefused,
    /// No session, or one that ended: join again.
    NotJoined,
    /// Nothing there for the one who asks.
    NotFound,
    /// The photo is known, its bytes are not there yet.
    NotReady,
    /// The method is not for this path.
    MethodNotAllowed,
    /// The request's offset is not the upload's; the answer carries the true one.
    OffsetMismatch,
    /// The upload exists with another length.
    LengthMismatch,
    /// The bytes are not what their digest announced; the upload starts over.
    DigestMismatch,
    /// The bytes of one request are not what its `Upload-Checksum` announced; none of them counts.
    ChecksumMismatch,
    /// The photographer deleted this photo; it is not taken again.
    PhotoDeleted,
    /// The upload was forgotten; create it again.
    UploadGone,
    /// Another request took this upload over.
    TakenOver,
    /// Larger than the server takes.
    TooLarge,
    /// The body's media type is not taken here.
    UnsupportedMediaType,
    /// Not tus 1.0.
    UnsupportedTusVersion,
    /// The picture cannot be decoded.
    NotAPicture,
    /// No face can be seen in the selfie.
    NoFace,
    /// Several faces can be seen in the selfie; choose one with `?face=`.
    ManyFaces,
    /// Faces may not be searched before the guest agrees.
    ConsentRequired,
    /// Faces may not be looked for at an event before its operator states that everyone was told.
    AttestationRequired,
    /// The server has no models, or face search is off for the event.
    FacesUnavailable,
    /// The event takes no more photos.
    EventClosed,
    /// The gallery of the event is not open to guests.
    GalleryClosed,
    /// Too many requests; `Retry-After` says when.
    TooManyRequests,
    /// The token has uploaded as much as it may.
    QuotaExceeded,
    /// The server's disk is full.
    InsufficientStorage,
    /// Too much at once; try again.
    Busy,
    /// A fault of the server; its log knows more.
    Internal,
    /// A code that this version does not know.
    #[serde(other)]
    Unknown,
}

impl Code {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::TokenRefused => "token-refused",
            Self::NotJoined => "not-joined",
            Self::NotFound => "not-found",
            Self::NotReady => "not-ready",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::OffsetMismatch => "offset-mismatch",
            Self::LengthMismatch => "length-mismatch",
            Self::DigestMismatch => "digest-mismatch",
            Self::ChecksumMismatch => "checksum-mismatch",
            Self::PhotoDeleted => "photo-deleted",
            Self::UploadGone => "upload-gone",
            Self::TakenOver => "taken-over",
            Self::TooLarge => "too-large",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::UnsupportedTusVersion => "unsupported-tus-version",
            Self::NotAPicture => "not-a-picture",
            Self::NoFace => "no-face",
            Self::ManyFaces => "many-faces",
            Self::ConsentRequired => "consent-required",
            Self::AttestationRequired => "attestation-required",
            Self::FacesUnavailable => "faces-unavailable",
            Self::EventClosed => "event-closed",
            Self::GalleryClosed => "gallery-closed",
            Self::TooManyRequests => "too-many-requests",
            Self::QuotaExceeded => "quota-exceeded",
            Self::InsufficientStorage => "insufficient-storage",
            Self::Busy => "busy",
            Self::Internal => "internal",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_of_a_later_version_is_still_readable() {
        let text = r#"{"type":"/problems/x","title":"t","status":499,"code":"x-y","retryable":false}"#;
        let problem: Problem = serde_json::from_str(text).unwrap();
        assert_eq!(problem.code, Code::Unknown);
    }

    #[test]
    fn codes_are_kebab_case() {
        for code in [Code::ConsentRequired, Code::NotAPicture, Code::UnsupportedTusVersion, Code::QuotaExceeded] {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            assert_eq!(serde_json::from_value::<Code>(code.as_str().into()).unwrap(), code);
        }
    }
}
