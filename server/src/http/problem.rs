//! The only place where an error becomes a status. What a client reads says nothing internal; the cause is logged once,
//! in the span of the request that the body names.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use findme_common::protocol::{self, Code, FaceBox, Problem};

use crate::catalog::CatalogError;
use crate::matching::MatchError;
use crate::uploads::UploadError;
use crate::vault::VaultError;

/// An error on its way to the client.
#[derive(Debug)]
pub(crate) struct ApiError {
    code: Code,
    detail: Option<String>,
    faces: Option<Vec<FaceBox>>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

pub(crate) type ApiResult<T = Response> = Result<T, ApiError>;

impl ApiError {
    /// What went wrong.
    pub(crate) const fn code(&self) -> Code {
        self.code
    }

    pub(crate) fn new(code: Code) -> Self {
        Self { code, detail: None, faces: None, headers: Vec::new() }
    }

    /// A malformed request; the detail is for the client's author.
    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::new(Code::BadRequest).detail(detail)
    }

    /// A fault of ours: logged here, hidden from the client.
    pub(crate) fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "request failed");
        Self::new(Code::Internal)
    }

    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(crate) fn faces(mut self, faces: Vec<FaceBox>) -> Self {
        self.faces = Some(faces);
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<HeaderValue>) -> Self {
        self.headers.push((HeaderName::from_static(name), value.into()));
        self
    }
}

/// Status, title for people, and whether waiting alone helps.
fn meaning(code: Code) -> (u16, &'static str, bool) {
    match code {
        Code::BadRequest => (400, "The request is malformed", false),
        Code::TokenRefused => (401, "The token is unknown or revoked", false),
        Code::NotJoined => (401, "Join the event first", false),
        Code::NotFound => (404, "Nothing here", false),
        Code::NotReady => (404, "Not there yet", true),
        Code::MethodNotAllowed => (405, "The method is not for this path", false),
        Code::OffsetMismatch => (409, "The upload stands elsewhere", true),
        Code::LengthMismatch => (409, "The upload exists with another length", false),
        Code::DigestMismatch => {
            (protocol::STATUS_CHECKSUM_MISMATCH, "The bytes do not have the announced digest", true)
        }
        Code::ChecksumMismatch => {
            (protocol::STATUS_CHECKSUM_MISMATCH, "The request's bytes do not have the announced checksum", true)
        }
        Code::PhotoDeleted => (410, "The photo was deleted", false),
        Code::UploadGone => (410, "The upload is gone; create it again", true),
        Code::TakenOver => (409, "A newer request continues this upload", true),
        Code::TooLarge => (413, "Too large", false),
        Code::UnsupportedMediaType => (415, "The media type is not taken here", false),
        Code::UnsupportedTusVersion => (412, "Only tus 1.0.0 is spoken here", false),
        Code::NotAPicture => (422, "The picture cannot be read", false),
        Code::NoFace => (422, "No face can be seen", false),
        Code::ManyFaces => (422, "Several faces can be seen", false),
        Code::AttestationRequired => (422, "Looking for faces needs a statement first", false),
        Code::ConsentRequired => (403, "Consent is needed first", false),
        Code::FacesUnavailable => (503, "Face search is not available", false),
        Code::EventClosed => (403, "The event takes no more photos", false),
        Code::GalleryClosed => (403, "The gallery is not open", false),
        Code::TooManyRequests => (429, "Too many requests", true),
        Code::QuotaExceeded => (403, "The token has uploaded as much as it may", false),
        Code::InsufficientStorage => (507, "The server's disk is full", true),
        Code::Busy => (503, "Too much at once", true),
        Code::Internal | Code::Unknown => (500, "The server failed", true),
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, title, retryable) = meaning(self.code);
        let word = self.code.as_str();
        let body = Problem {
            type_: format!("/problems/{word}"),
            title: title.to_owned(),
            status,
            code: self.code,
            retryable,
            detail: self.detail,
            request_id: super::around::request_id(),
            faces: self.faces,
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(body)).into_response();
        // For the layers around that count.
        response.extensions_mut().insert(self.code);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(protocol::PROBLEM_JSON));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.code == Code::TokenRefused {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(self.code, Code::InsufficientStorage | Code::Busy) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        response
    }
}

impl From<CatalogError> for ApiError {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Full => Self::new(Code::InsufficientStorage),
            CatalogError::Gone => Self::new(Code::NotFound),
            other => Self::internal(other),
        }
    }
}

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::NotFound => Self::new(Code::NotFound),
            UploadError::OtherLength => Self::new(Code::LengthMismatch),
            UploadError::QuotaExceeded => Self::new(Code::QuotaExceeded).detail("the operator gives another token"),
            UploadError::Deleted => Self::new(Code::PhotoDeleted),
            UploadError::OffsetMismatch { expected } => {
                Self::new(Code::OffsetMismatch).header(protocol::header::UPLOAD_OFFSET, expected)
            }
            UploadError::TooLong => Self::new(Code::TooLarge).detail("more bytes than Upload-Length announced"),
            UploadError::DigestMismatch => Self::new(Code::DigestMismatch).header(protocol::header::UPLOAD_OFFSET, 0),
            UploadError::ChecksumMismatch { offset } => {
                Self::new(Code::ChecksumMismatch).header(protocol::header::UPLOAD_OFFSET, offset)
            }
            UploadError::TakenOver => Self::new(Code::TakenOver),
            UploadError::Cut => Self::bad("the body broke off"),
            UploadError::NoSpace => Self::new(Code::InsufficientStorage),
            UploadError::Lost => Self::new(Code::UploadGone),
            // Its folder went with its event.
            UploadError::Io(error) if error.kind() == std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, "an upload's file is gone");
                Self::new(Code::UploadGone)
            }
            UploadError::Io(error) => Self::internal(error),
            UploadError::Catalog(error) => error.into(),
        }
    }
}

impl From<MatchError> for ApiError {
    fn from(error: MatchError) -> Self {
        match error {
            MatchError::Catalog(error) => error.into(),
            // The event goes, and its key went first. Where one is lost, the start says so, and `check` puts it right.
            MatchError::Vault(error @ VaultError::NoKey(_)) => {
                tracing::warn!(%error, "a key is gone");
                Self::new(Code::NotFound)
            }
            MatchError::Vault(error) => Self::internal(error),
            MatchError::Remote(error) => {
                tracing::warn!(%error, "faces cannot be searched now");
                Self::new(Code::FacesUnavailable)
            }
        }
    }
}
