//! tus 1.0 over the state machine of [`crate::uploads`]: headers in, one call, headers out.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::{Body, BodyDataStream};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use findme_common::protocol::{self, Code, Kind, header as h, metadata as m, path};
use findme_common::{Digest, EventId, PhotoId, UploadId};
use futures_util::{Stream, StreamExt};
use tokio::sync::Mutex;

use super::App;
use super::auth::Photographer;
use super::problem::{ApiError, ApiResult};
use crate::catalog::NewUpload;
use crate::uploads::{EXPIRES_AFTER, Standing};

/// Extensions that are announced, and kept.
const EXTENSIONS: &str = "creation,creation-with-upload,expiration,termination";

/// A body that was refused is read on for this much, so that the client gets to read the answer.
const DRAIN_BYTES: usize = 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// Metadata that is kept per upload, in bytes.
const MAX_METADATA: usize = 8 * 1024;

/// `OPTIONS /api/uploads` and `/api/uploads/{id}`: what is spoken here.
#[utoipa::path(
    options, path = path::UPLOADS, tag = "uploads", operation_id = "tus_options",
    responses((status = 204, description = "Version and extensions of tus in the headers")),
)]
pub(crate) async fn options(State(app): State<Arc<App>>) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    set(headers, h::TUS_RESUMABLE, protocol::TUS_VERSION);
    set(headers, h::TUS_VERSION, protocol::TUS_VERSION);
    set(headers, h::TUS_EXTENSION, EXTENSIONS);
    set(headers, h::TUS_MAX_SIZE, app.limits.max_upload);
    response
}

/// `OPTIONS /api/uploads/{id}`: the same for one upload.
#[utoipa::path(
    options, path = "/api/uploads/{id}", tag = "uploads", operation_id = "tus_options_of_upload",
    params(("id" = String, Path, description = "Upload id")),
    responses((status = 204, description = "Version and extensions of tus in the headers")),
)]
pub(crate) async fn options_of_upload(app: State<Arc<App>>) -> Response {
    options(app).await
}

/// `POST /api/uploads`: creates an upload, or finds it; a body is its first bytes.
#[utoipa::path(
    post, path = path::UPLOADS, tag = "uploads", operation_id = "create_upload",
    security(("photographer" = [])),
    params(
        ("tus-resumable" = String, Header, description = "1.0.0"),
        ("upload-length" = u64, Header, description = "Bytes of the whole upload"),
        ("upload-metadata" = Option<String>, Header, description = "Key and base64 value pairs"),
    ),
    request_body(content = Option<Vec<u8>>, content_type = "application/offset+octet-stream"),
    responses(
        (status = 201, description = "Created, or found as it stands", headers(("location" = String, description = "Path of the upload"), ("upload-offset" = u64, description = "Bytes that are stored"))),
    ),
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Photographer(machine): Photographer,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let body = shared(body);
    let result = create_inner(&app, machine.event, &headers, &body).await;
    answer(result, &body).await
}

async fn create_inner(app: &App, event: EventId, headers: &HeaderMap, body: &SharedBody) -> ApiResult {
    require_tus(headers)?;
    if headers.contains_key("upload-concat") || headers.contains_key("upload-defer-length") {
        return Err(ApiError::bad("only uploads of a known length are taken; concatenation is not offered"));
    }
    let new = new_upload(app, event, headers)?;
    let with_upload = match headers.get(header::CONTENT_TYPE) {
        None => false,
        Some(value) if value == protocol::OFFSET_OCTET_STREAM => true,
        // Many clients put a default type on an empty body; only bytes of another type are a mistake.
        Some(_) if content_length(headers) == Some(0) => false,
        Some(_) => return Err(ApiError::new(Code::UnsupportedMediaType)),
    };
    app.room_for(new.length)?;
    let event_row = app.catalog.event(event).await?.ok_or_else(|| ApiError::new(Code::TokenRefused))?;
    if event_row.closed_at.is_some() {
        return Err(ApiError::new(Code::EventClosed));
    }
    let mut standing = app.uploads.create(new).await?;
    if with_upload && standing.offset == 0 && standing.receipt.is_none() {
        standing = app.uploads.append(event, standing.id, 0, idle_limited(body)).await?;
    }
    let mut response = standing_response(StatusCode::CREATED, &standing);
    set(response.headers_mut(), "location", format!("{}/{}", protocol::path::UPLOADS, standing.id));
    Ok(response)
}

/// `HEAD /api/uploads/{id}`: the truth about an upload, for good once it is complete.
#[utoipa::path(
    head, path = "/api/uploads/{id}", tag = "uploads", operation_id = "upload_offset",
    security(("photographer" = [])),
    params(("id" = String, Path, description = "Upload id")),
    responses(
        (status = 200, description = "How far it is; the receipt once it is complete", headers(("upload-offset" = u64, description = "Bytes that are stored"), ("repr-digest" = Option<String>, description = "Of what is stored, once complete"), ("findme-photo" = Option<String>, description = "The photo that it became, once complete"))),
    ),
)]
pub(crate) async fn head(
    State(app): State<Arc<App>>,
    Photographer(machine): Photographer,
    Path(id): Path<String>,
) -> ApiResult {
    let standing = app.uploads.stand(machine.event, upload_id(&id)?).await?;
    let mut response = standing_response(StatusCode::OK, &standing);
    set(response.headers_mut(), h::UPLOAD_LENGTH, standing.length);
    if !standing.metadata.is_empty() {
        set(response.headers_mut(), h::UPLOAD_METADATA, standing.metadata);
    }
    Ok(response)
}

/// `PATCH /api/uploads/{id}`: the next bytes.
#[utoipa::path(
    patch, path = "/api/uploads/{id}", tag = "uploads", operation_id = "append_to_upload",
    security(("photographer" = [])),
    params(
        ("id" = String, Path, description = "Upload id"),
        ("tus-resumable" = String, Header, description = "1.0.0"),
        ("upload-offset" = u64, Header, description = "Where the body begins"),
    ),
    request_body(content = Vec<u8>, content_type = "application/offset+octet-stream"),
    responses(
        (status = 204, description = "Stored; the receipt once it is complete", headers(("upload-offset" = u64, description = "Bytes that are stored"), ("repr-digest" = Option<String>, description = "Of what is stored, once complete"), ("findme-photo" = Option<String>, description = "The photo that it became, once complete"))),
    ),
)]
pub(crate) async fn patch(
    State(app): State<Arc<App>>,
    Photographer(machine): Photographer,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let body = shared(body);
    let result = patch_inner(&app, machine.event, &id, &headers, &body).await;
    answer(result, &body).await
}

async fn patch_inner(app: &App, event: EventId, id: &str, headers: &HeaderMap, body: &SharedBody) -> ApiResult {
    require_tus(headers)?;
    let id = upload_id(id)?;
    if headers.get(header::CONTENT_TYPE).is_none_or(|value| value != protocol::OFFSET_OCTET_STREAM) {
        return Err(ApiError::new(Code::UnsupportedMediaType).detail(protocol::OFFSET_OCTET_STREAM));
    }
    let offset = integer(headers, h::UPLOAD_OFFSET)?.ok_or_else(|| ApiError::bad("Upload-Offset is missing"))?;
    app.room_for(content_length(headers).unwrap_or(0))?;
    let standing = app.uploads.append(event, id, offset, idle_limited(body)).await?;
    Ok(standing_response(StatusCode::NO_CONTENT, &standing))
}

/// `DELETE /api/uploads/{id}`: frees the upload; the photo that it became stays.
#[utoipa::path(
    delete, path = "/api/uploads/{id}", tag = "uploads", operation_id = "terminate_upload",
    security(("photographer" = [])),
    params(
        ("id" = String, Path, description = "Upload id"),
        ("tus-resumable" = String, Header, description = "1.0.0"),
    ),
    responses((status = 204, description = "The upload is free; its photo stays")),
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Photographer(machine): Photographer,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> ApiResult {
    require_tus(&headers)?;
    app.uploads.terminate(machine.event, upload_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What every tus answer carries, errors too. Added as a layer around these routes.
pub(crate) async fn with_tus_headers(request: axum::extract::Request, next: axum::middleware::Next) -> Response {
    let head = *request.method() == Method::HEAD;
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    set(headers, h::TUS_RESUMABLE, protocol::TUS_VERSION);
    if response.status() == StatusCode::PRECONDITION_FAILED {
        set(response.headers_mut(), h::TUS_VERSION, protocol::TUS_VERSION);
    }
    if head || response.status().is_success() {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

fn standing_response(status: StatusCode, standing: &Standing) -> Response {
    let mut response = status.into_response();
    let headers = response.headers_mut();
    set(headers, h::UPLOAD_OFFSET, standing.offset);
    match &standing.receipt {
        Some(receipt) => {
            set(headers, h::REPR_DIGEST, receipt.digest.to_repr_digest());
            set(headers, h::FINDME_PHOTO, receipt.photo);
        }
        None => {
            let touched = UNIX_EPOCH + Duration::from_millis(u64::try_from(standing.touched_at).unwrap_or(0));
            let expires: SystemTime = touched + EXPIRES_AFTER;
            set(headers, h::UPLOAD_EXPIRES, httpdate::fmt_http_date(expires));
        }
    }
    response
}

/// Gives the answer; one that came early first reads on for a while, so that the client does not see a broken pipe
/// instead of it.
pub(super) async fn answer(result: ApiResult, body: &SharedBody) -> Response {
    let error = match result {
        Ok(response) => return response,
        Err(error) => error,
    };
    let drain = async {
        let (mut drained, mut body) = (0, body.lock().await);
        while let Some(Ok(piece)) = body.next().await {
            drained += piece.len();
            if drained > DRAIN_BYTES {
                return false;
            }
        }
        true
    };
    let whole = tokio::time::timeout(DRAIN_TIME, drain).await.unwrap_or(false);
    let mut response = error.into_response();
    if !whole {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A request's body, read by whoever wants it and, when that refused it, drained by [`answer`].
pub(super) type SharedBody = Arc<Mutex<BodyDataStream>>;

pub(super) fn shared(body: Body) -> SharedBody {
    Arc::new(Mutex::new(body.into_data_stream()))
}

/// A client that sends nothing for a while is gone: its connection is given up, what arrived is kept.
pub(super) fn idle_limited(body: &SharedBody) -> impl Stream<Item = Result<Bytes, BodyEnded>> + Unpin + Send + 'static {
    Box::pin(futures_util::stream::unfold(body.clone(), |body| async {
        let next = tokio::time::timeout(super::BODY_IDLE, async { body.lock().await.next().await }).await;
        let item = match next {
            Err(_) => Err(BodyEnded),
            Ok(None) => return None,
            Ok(Some(piece)) => piece.map_err(|_| BodyEnded),
        };
        Some((item, body))
    }))
}

/// The body ended before its end.
#[derive(Debug, thiserror::Error)]
#[error("the body ended before its end")]
pub(super) struct BodyEnded;

fn require_tus(headers: &HeaderMap) -> Result<(), ApiError> {
    match headers.get(h::TUS_RESUMABLE) {
        Some(version) if version == protocol::TUS_VERSION => Ok(()),
        _ => Err(ApiError::new(Code::UnsupportedTusVersion)),
    }
}

fn upload_id(text: &str) -> Result<UploadId, ApiError> {
    text.parse().map_err(|_| ApiError::new(Code::NotFound))
}

/// A header that holds a non-negative integer: digits only, within 63 bits.
fn integer(headers: &HeaderMap, name: &'static str) -> Result<Option<u64>, ApiError> {
    let mut values = headers.get_all(name).into_iter();
    let Some(value) = values.next() else { return Ok(None) };
    let wrong = || ApiError::bad(format!("{name} must be one non-negative integer"));
    let text = value.to_str().map_err(|_| wrong())?;
    if values.next().is_some() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u64 = text.parse().map_err(|_| wrong())?;
    if number > i64::MAX as u64 { Err(wrong()) } else { Ok(Some(number)) }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn new_upload(app: &App, event: EventId, headers: &HeaderMap) -> Result<NewUpload, ApiError> {
    let length = integer(headers, h::UPLOAD_LENGTH)?.ok_or_else(|| ApiError::bad("Upload-Length is missing"))?;
    if length > app.limits.max_upload {
        return Err(ApiError::new(Code::TooLarge).detail(format!("at most {} bytes", app.limits.max_upload)));
    }
    let raw = match headers.get(h::UPLOAD_METADATA) {
        None => "",
        Some(value) => value.to_str().map_err(|_| ApiError::bad("Upload-Metadata is not ASCII"))?,
    };
    if raw.len() > MAX_METADATA {
        return Err(ApiError::bad(format!("Upload-Metadata is longer than {MAX_METADATA} bytes")));
    }
    let pairs = parse_metadata(raw).map_err(ApiError::bad)?;
    let text = |key: &str| pairs.iter().find(|(k, _)| k == key).map(|(_, v)| String::from_utf8_lossy(v).into_owned());
    let kind: Kind = text(m::KIND)
        .map_or(Ok(Kind::Original), |word| word.parse())
        .map_err(|_| ApiError::bad("kind is original or preview"))?;
    let digest: Option<Digest> =
        text(m::DIGEST).map(|d| d.parse()).transpose().map_err(|_| ApiError::bad("digest is 64 hexadecimal digits"))?;
    let named: Option<PhotoId> =
        text(m::PHOTO).map(|id| id.parse()).transpose().map_err(|_| ApiError::bad("photo is no photo id"))?;
    let photo = match (kind, named, digest) {
        (Kind::Original, Some(named), Some(digest)) if named == PhotoId::of(event, &digest) => named,
        (Kind::Original, Some(_), _) => {
            return Err(ApiError::bad("photo does not belong to this digest in this event"));
        }
        (Kind::Original, None, Some(digest)) => PhotoId::of(event, &digest),
        (Kind::Original, None, None) => PhotoId::random().map_err(ApiError::internal)?,
        (Kind::Preview, Some(named), _) => named,
        (Kind::Preview, None, _) => return Err(ApiError::bad("a preview must name the photo that follows")),
    };
    let replaces = text(m::REPLACES)
        .filter(|id| !id.is_empty())
        .map(|id| id.parse())
        .transpose()
        .map_err(|_| ApiError::bad("replaces is no photo id"))?;
    Ok(NewUpload {
        event,
        photo,
        kind,
        length,
        digest,
        metadata: raw.to_owned(),
        name: file_name(text(m::FILENAME)),
        replaces,
    })
}

/// The last segment of what the client calls the file, without control characters: data for people, never a path.
fn file_name(claimed: Option<String>) -> String {
    let claimed = claimed.unwrap_or_default();
    let last = claimed.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = last.chars().filter(|c| !c.is_control()).take(200).collect();
    if clean.trim().is_empty() { "photo".to_owned() } else { clean }
}

/// `key base64, key base64`: keys unique and not empty, without spaces and commas; a value may be missing.
fn parse_metadata(raw: &str) -> Result<Vec<(String, Vec<u8>)>, &'static str> {
    let mut pairs: Vec<(String, Vec<u8>)> = Vec::new();
    if raw.trim().is_empty() {
        return Ok(pairs);
    }
    for pair in raw.split(',') {
        let (key, value) = pair.trim().split_once(' ').unwrap_or((pair.trim(), ""));
        if key.is_empty() || !key.is_ascii() {
            return Err("Upload-Metadata has an empty key");
        }
        if pairs.iter().any(|(known, _)| known == key) {
            return Err("Upload-Metadata has a key twice");
        }
        let value = STANDARD.decode(value.trim()).map_err(|_| "Upload-Metadata has a value that is not base64")?;
        pairs.push((key.to_owned(), value));
    }
    Ok(pairs)
}

/// Sets a header whose value is known to be printable ASCII or was one when it came.
fn set(headers: &mut HeaderMap, name: &'static str, value: impl ToString) {
    if let Ok(value) = HeaderValue::from_str(&value.to_string()) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_as_the_specification_has_it() {
        assert_eq!(parse_metadata("").unwrap(), vec![]);
        let pairs = parse_metadata("filename d29ybGQ=, is_confidential,x ").unwrap();
        assert_eq!(pairs[0], ("filename".to_owned(), b"world".to_vec()));
        assert_eq!(pairs[1], ("is_confidential".to_owned(), vec![]));
        for bad in [",", "a YQ==,a YQ==", "a $$$", " ,b YQ=="] {
            assert!(parse_metadata(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn integers_are_digits_and_nothing_else() {
        for (text, expected) in [("0", Some(0)), ("42", Some(42)), ("9223372036854775807", Some(i64::MAX as u64))] {
            let mut headers = HeaderMap::new();
            set(&mut headers, h::UPLOAD_LENGTH, text);
            assert_eq!(integer(&headers, h::UPLOAD_LENGTH).unwrap(), expected);
        }
        for text in ["", "-1", "+1", "1.0", "0x10", "18446744073709551616", "9223372036854775808", "1 "] {
            let mut headers = HeaderMap::new();
            set(&mut headers, h::UPLOAD_LENGTH, text);
            assert!(integer(&headers, h::UPLOAD_LENGTH).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_file_name_is_never_a_path() {
        assert_eq!(file_name(Some("../../etc/passwd".into())), "passwd");
        assert_eq!(file_name(Some("C:\\a\\b.jpg".into())), "b.jpg");
        assert_eq!(file_name(Some("a\r\nb".into())), "ab");
        assert_eq!(file_name(None), "photo");
    }
}
