//! Problems (RFC 9457): what went wrong, in words that programs act on.

use serde::{Deserialize, Serialize};

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
