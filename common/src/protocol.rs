//! The words on the wire: header names, paths, bodies and problem codes. Both ends use these and nothing else, so that
//! neither matches on text.

mod admin;
mod attention;
mod board;
mod guests;
mod live;
mod people;
mod photos;
mod problem;
mod system;
mod visit;

pub use admin::{
    EventChange, EventCreated, EventItem, EventRequest, Policy, SuppressionItem, TokenCreated, TokenItem, TokenRequest,
    Until,
};
pub use attention::{AttentionItem, AttentionList, ReindexRequest, RetryRequest};
pub use board::{Board, Delay, DelayFrom, GuestCounts, MachineItem};
pub use guests::{
    Consent, ErasureReceipt, Held, JoinRequest, Joined, Match, NeverMatched, Report, ReportTaken, SelfieResult,
    SuppressionState, Verdict,
};
pub use live::{LiveEvent, LiveKind, live_event};
pub use people::{HidePerson, People, Person, PersonHidden};
pub use photos::{
    Band, Changed, Counts, Kind, Name, NameList, PhotoItem, PhotoList, PhotoSelection, PhotoState, Visibility,
};
pub use problem::{Code, FaceBox, Problem};
pub use system::{Accuracy, AuditEntry, AuditList, EventSize, FaceFacts, FaceSearch, SystemFacts};
pub use visit::{HourCount, Looked, ReturnLink, ReturnRequest};

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
    /// How many photos were taken in which hour.
    pub const TIMES: &str = "/api/times";
    /// The photos of the guest who asks.
    pub const MY_PHOTOS: &str = "/api/my-photos";
    /// The same as one archive.
    pub const MY_PHOTOS_ZIP: &str = "/api/my-photos.zip";
    /// Join by code.
    pub const JOIN: &str = "/api/join";
    /// Search by selfie; `DELETE` erases.
    pub const SELFIE: &str = "/api/selfie";
    /// The faces in a picture, for the camera's hints; `POST`.
    pub const SELFIE_LOOK: &str = "/api/selfie/look";
    /// Never be matched, by selfie; `DELETE` lifts it.
    pub const NEVER_MATCH: &str = "/api/never-match";
    /// What is held about the guest who asks.
    pub const ME: &str = "/api/me";
    /// The guest's link back; `POST` makes it anew, `DELETE` ends it.
    pub const ME_LINK: &str = "/api/me/link";
    /// Comes back by such a link; `POST`.
    pub const BACK: &str = "/api/back";
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
    /// Milliseconds from the moment when the file was closed, as far as the client saw, to this request: the server then
    /// knows when that was by its own clock. Only of use for figures.
    pub const AGE: &str = "age";
    /// `yes`: guests do not see the photo until the photographer releases it.
    pub const HOLD: &str = "hold";
    /// Id of an earlier photo of the same shot that this one replaces, whichever of the two arrives first. Its own id: it
    /// is no version of another photo (any more). Said again of a photo that is there, the newest word counts.
    pub const REPLACES: &str = "replaces";
}
