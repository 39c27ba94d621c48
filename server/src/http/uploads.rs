//! tus 1.0 over the state machine of [`crate::uploads`]: headers in, one call, headers out.

mod body;
pub(super) mod headers;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use findme_common::protocol::{self, Code, header as h, path};
use findme_common::{EventId, UploadId};

use super::App;
use super::auth::Photographer;
use super::problem::{ApiError, ApiResult};
use crate::catalog::{Machine, NewUpload};
use crate::uploads::{SUM_ALGORITHMS, Standing};
use body::SharedBody;
pub(super) use body::{answer, pieces, shared};
use headers::{checksum, content_length, integer, new_upload};

/// Extensions that are announced, and kept.
const EXTENSIONS: &str = "creation,creation-with-upload,checksum,expiration,termination";

/// `OPTIONS /api/uploads` and `/api/uploads/{id}`: what is spoken here.
#[utoipa::path(
    options, path = path::UPLOADS, tag = "uploads", operation_id = "tus_options",
    responses((status = 200, description = "Version and extensions of tus in the headers")),
)]
pub(crate) async fn options(State(app): State<Arc<App>>) -> Response {
    // Not 204: some clients take nothing else than 200 for a success here.
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    set(headers, h::TUS_VERSION, protocol::TUS_VERSION);
    set(headers, h::TUS_CHECKSUM_ALGORITHM, SUM_ALGORITHMS);
    set(headers, h::TUS_EXTENSION, EXTENSIONS);
    set(headers, h::TUS_MAX_SIZE, app.limits.max_upload.0);
    response
}

/// `OPTIONS /api/uploads/{id}`: the same for one upload.
#[utoipa::path(
    options, path = "/api/uploads/{id}", tag = "uploads", operation_id = "tus_options_of_upload",
    params(("id" = String, Path, description = "Upload id")),
    responses((status = 200, description = "Version and extensions of tus in the headers")),
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
        ("upload-checksum" = Option<String>, Header, description = "sha1 or sha256 of the body, in base64"),
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
    let result = create_inner(&app, machine, &headers, &body).await;
    answer_unless_awaited(result, &headers, &body).await
}

async fn create_inner(app: &App, machine: Machine, headers: &HeaderMap, body: &SharedBody) -> ApiResult {
    let event = machine.event;
    require_tus(headers)?;
    if headers.contains_key("upload-concat") || headers.contains_key("upload-defer-length") {
        return Err(ApiError::bad("only uploads of a known length are taken; concatenation is not offered"));
    }
    let new = new_upload(app.limits.max_upload.0, event, headers)?;
    let new = NewUpload { token: Some(machine.token), ..new };
    let checksum = checksum(headers)?;
    let no_body = content_length(headers).unwrap_or(0) == 0 && !headers.contains_key(header::TRANSFER_ENCODING);
    let with_upload = match headers.get(header::CONTENT_TYPE) {
        Some(value) if value == protocol::OFFSET_OCTET_STREAM => true,
        // Many clients put a default type on an empty body; only bytes of another type are a mistake.
        _ if no_body => false,
        _ => return Err(ApiError::new(Code::UnsupportedMediaType)),
    };
    app.room_for(new.length)?;
    let event_row = app.catalog.event(event).await?.ok_or_else(|| ApiError::new(Code::TokenRefused))?;
    if event_row.closed_at.is_some() {
        return Err(ApiError::new(Code::EventClosed));
    }
    let mut standing = app.uploads.create(new).await?;
    if with_upload && standing.offset == 0 && standing.receipt.is_none() {
        standing = app.uploads.append_checked(event, standing.id, 0, pieces(body), checksum).await?;
    }
    let mut response = standing_response(app, StatusCode::CREATED, &standing);
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
    headers: HeaderMap,
) -> ApiResult {
    require_tus(&headers)?;
    let standing = app.uploads.stand(machine.event, upload_id(&id)?).await?;
    let mut response = standing_response(&app, StatusCode::OK, &standing);
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
        ("upload-checksum" = Option<String>, Header, description = "sha1 or sha256 of the body, in base64"),
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
    answer_unless_awaited(result, &headers, &body).await
}

async fn patch_inner(app: &App, event: EventId, id: &str, headers: &HeaderMap, body: &SharedBody) -> ApiResult {
    require_tus(headers)?;
    let id = upload_id(id)?;
    if headers.get(header::CONTENT_TYPE).is_none_or(|value| value != protocol::OFFSET_OCTET_STREAM) {
        return Err(ApiError::new(Code::UnsupportedMediaType).detail(protocol::OFFSET_OCTET_STREAM));
    }
    let offset = integer(headers, h::UPLOAD_OFFSET)?.ok_or_else(|| ApiError::bad("Upload-Offset is missing"))?;
    app.room_for(content_length(headers).unwrap_or(0))?;
    let checksum = checksum(headers)?;
    let standing = app.uploads.append_checked(event, id, offset, pieces(body), checksum).await?;
    Ok(standing_response(app, StatusCode::NO_CONTENT, &standing))
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

/// Whether a path is that of the uploads or of one of them.
fn is_of_uploads(path_of_request: &str) -> bool {
    path_of_request.strip_prefix(path::UPLOADS).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What every tus answer carries, errors and what is no route too: a layer around all routes.
pub(crate) async fn with_tus_headers(request: axum::extract::Request, next: axum::middleware::Next) -> Response {
    if !is_of_uploads(request.uri().path()) {
        return next.run(request).await;
    }
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

fn standing_response(app: &App, status: StatusCode, standing: &Standing) -> Response {
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
            let expires: SystemTime = touched + app.limits.upload_expiry.0;
            set(headers, h::UPLOAD_EXPIRES, httpdate::fmt_http_date(expires));
        }
    }
    response
}

/// A client that waits for `100 Continue` has sent no byte yet: reading on would tell it to go ahead with a body that was
/// refused.
async fn answer_unless_awaited(result: ApiResult, headers: &HeaderMap, body: &SharedBody) -> Response {
    if headers.contains_key(header::EXPECT) && !body.begun() {
        return result.into_response();
    }
    answer(result, body).await
}

/// `X-HTTP-Method-Override` (tus): for clients that cannot send `PATCH` or `DELETE`. Only on upload URLs, and before
/// routing, so that what is authorised is what is done.
pub(super) fn override_method(mut request: Request) -> Request {
    let of_uploads = is_of_uploads(request.uri().path());
    let wanted = request.headers().get("x-http-method-override").map(|value| Method::from_bytes(value.as_bytes()));
    if let (true, Some(Ok(method))) = (of_uploads, wanted) {
        *request.method_mut() = method;
    }
    request
}

fn require_tus(headers: &HeaderMap) -> Result<(), ApiError> {
    match headers.get(h::TUS_RESUMABLE) {
        Some(version) if version == protocol::TUS_VERSION => Ok(()),
        _ => Err(ApiError::new(Code::UnsupportedTusVersion)),
    }
}

fn upload_id(text: &str) -> Result<UploadId, ApiError> {
    text.parse().map_err(|_| ApiError::new(Code::NotFound))
}

/// Sets a header whose value is known to be printable ASCII or was one when it came.
fn set(headers: &mut HeaderMap, name: &'static str, value: impl ToString) {
    if let Ok(value) = HeaderValue::from_str(&value.to_string()) {
        headers.insert(HeaderName::from_static(name), value);
    }
}
