//! What an operator does: events, and the machines that upload to them.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use findme_common::protocol::{
    Code, EventChange, EventCreated, EventItem, EventRequest, Policy, TokenCreated, TokenItem, TokenRequest,
};
use findme_common::{EventId, JoinCode};
use image::ImageEncoder;
use qrcode::QrCode;

use super::App;
use super::auth::Operator;
use super::board;
use super::client::Client;
use super::problem::{ApiError, ApiResult};
use crate::NewEvent;
use crate::catalog::{Actor, CatalogError, Event, PhotoFilter, is_understood};
use crate::clock::rfc3339;
use crate::retention;

pub(super) type Body<T> = Result<Json<T>, JsonRejection>;

/// Secrets and private lists are kept by no cache.
pub(super) const NO_STORE: [(HeaderName, HeaderValue); 1] =
    [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];

pub(super) fn read<T>(body: Body<T>) -> Result<T, ApiError> {
    body.map(|Json(body)| body).map_err(|error| ApiError::bad(error.body_text()))
}

/// Names are shown to people: not empty, not endless, no control characters.
fn check_name(name: &str) -> Result<(), ApiError> {
    let fits = !name.trim().is_empty() && name.chars().count() <= 200 && !name.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(ApiError::bad("a name is 1 to 200 characters")) }
}

/// Nobody looks for faces by leaving something out.
fn attestation_required() -> ApiError {
    let states = format!("\"attested\": true states: {}; without faces: \"policy\": \"off\"", retention::ATTESTED);
    ApiError::new(Code::AttestationRequired).detail(states)
}

pub(super) async fn event(app: &App, id: &str) -> Result<Event, ApiError> {
    let nothing = || ApiError::new(Code::NotFound);
    let id: EventId = id.parse().map_err(|_| nothing())?;
    app.catalog.event(id).await?.ok_or_else(nothing)
}

/// `POST /api/admin/events`.
#[utoipa::path(
    post, path = "/api/admin/events", tag = "operator", operation_id = "create_event",
    security(("operator" = [])),
    request_body = EventRequest,
    responses(
        (status = 201, description = "Created; the secrets are shown only now", body = EventCreated),
    ),
)]
pub(crate) async fn create(app: State<Arc<App>>, _: Operator, client: Client, body: Body<EventRequest>) -> ApiResult {
    let request = read(body)?;
    check_name(&request.name)?;
    if request.policy == Policy::Attested && request.attested != Some(true) {
        return Err(attestation_required());
    }
    let (faces_days, photos_days) =
        (request.faces_days.unwrap_or(retention::FACES_DAYS), request.photos_days.unwrap_or(retention::PHOTOS_DAYS));
    if faces_days.max(photos_days) > retention::LONGEST_DAYS {
        return Err(ApiError::bad(format!("at most {} days", retention::LONGEST_DAYS)));
    }
    let new = NewEvent { name: request.name, policy: request.policy, faces_days, photos_days };
    let created = app.site.create_event(new).await.map_err(ApiError::internal)?;
    let body = EventCreated {
        id: created.id,
        guest_link: app.guest_link(&client, &created.join),
        join_code: created.join.to_string(),
        photographer_token: created.photographer.reveal(),
    };
    Ok((StatusCode::CREATED, NO_STORE, Json(body)).into_response())
}

/// `GET /api/admin/events`, newest first.
#[utoipa::path(
    get, path = "/api/admin/events", tag = "operator", operation_id = "events",
    security(("operator" = [])),
    responses((status = 200, description = "All events", body = [EventItem])),
)]
pub(crate) async fn list(app: State<Arc<App>>, _: Operator) -> ApiResult {
    let mut items = Vec::new();
    for event in app.catalog.events().await? {
        items.push(EventItem {
            id: event.id,
            name: event.name,
            join_code: event.join.to_string(),
            created_at: rfc3339(event.created_at),
            closed_at: event.closed_at.map(rfc3339),
            faces: event.faces,
            gallery_open: event.gallery_open,
            counts: app.catalog.counts(event.id, PhotoFilter::All).await?,
            faces_until: event.faces_until.map(rfc3339),
            photos_until: event.photos_until.map(rfc3339),
            faces_erased_at: event.faces_erased_at.map(rfc3339),
            attested_at: event.attested_at.map(rfc3339),
        });
    }
    Ok((NO_STORE, Json(items)).into_response())
}

/// `PATCH /api/admin/events/{id}`: rename, close, open or close the gallery, switch faces.
#[utoipa::path(
    patch, path = "/api/admin/events/{id}", tag = "operator", operation_id = "change_event",
    security(("operator" = [])),
    params(("id" = String, Path, description = "Event id")),
    request_body = EventChange,
    responses((status = 204, description = "Changed")),
)]
pub(crate) async fn change(
    app: State<Arc<App>>,
    _: Operator,
    Path(id): Path<String>,
    body: Body<EventChange>,
) -> ApiResult<StatusCode> {
    let change = read(body)?;
    change.name.as_deref().map_or(Ok(()), check_name)?;
    if !is_understood(&change) {
        return Err(ApiError::bad("faces_until and photos_until are days or a moment (RFC 3339)"));
    }
    let event = event(&app, &id).await?;
    if change.faces == Some(true) && event.faces_erased_at.is_some() {
        return Err(ApiError::bad("the faces of this event were erased for good"));
    }
    let states = change.faces == Some(true) && !event.faces;
    if states && change.attested != Some(true) {
        return Err(attestation_required());
    }
    let changed = app.catalog.change_event(event.id, &change, states.then_some(retention::ATTESTED_VERSION)).await?;
    if changed { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::new(Code::NotFound)) }
}

/// `DELETE /api/admin/events/{id}`: with everything. The key goes first: from then on no copy of the vectors, wherever it
/// is, can be read. Asked again after a crash, it goes on where it stopped.
#[utoipa::path(
    delete, path = "/api/admin/events/{id}", tag = "operator", operation_id = "delete_event",
    security(("operator" = [])),
    params(("id" = String, Path, description = "Event id")),
    responses((status = 204, description = "Deleted with everything")),
)]
pub(crate) async fn delete(app: State<Arc<App>>, _: Operator, Path(id): Path<String>) -> ApiResult<StatusCode> {
    let id = event(&app, &id).await?.id;
    app.site.delete_event(id, Actor::Operator).await.map_err(|error| ApiError::internal(format!("{error:#}")))?;
    app.matching.forget(id);
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/admin/events/{id}/tokens`.
#[utoipa::path(
    get, path = "/api/admin/events/{id}/tokens", tag = "operator", operation_id = "tokens",
    security(("operator" = [])),
    params(("id" = String, Path, description = "Event id")),
    responses((status = 200, description = "The machines of the event", body = [TokenItem])),
)]
pub(crate) async fn tokens(
    app: State<Arc<App>>,
    _: Operator,
    Path(id): Path<String>,
) -> ApiResult<Json<Vec<TokenItem>>> {
    let event = event(&app, &id).await?;
    Ok(Json(app.catalog.tokens(event.id).await?))
}

/// `POST /api/admin/events/{id}/tokens`.
#[utoipa::path(
    post, path = "/api/admin/events/{id}/tokens", tag = "operator", operation_id = "create_token",
    security(("operator" = [])),
    params(("id" = String, Path, description = "Event id")),
    request_body = TokenRequest,
    responses((status = 201, description = "Created; the token is shown only now", body = TokenCreated)),
)]
pub(crate) async fn create_token(
    app: State<Arc<App>>,
    _: Operator,
    Path(id): Path<String>,
    body: Body<TokenRequest>,
) -> ApiResult {
    let TokenRequest { label } = read(body)?;
    check_name(&label)?;
    let event = event(&app, &id).await?;
    let token = app.site.create_photographer_token(event.id, &label).await;
    let token = token.map_err(|error| match error.downcast::<CatalogError>() {
        Ok(error) => error.into(),
        Err(error) => ApiError::internal(error),
    })?;
    Ok((StatusCode::CREATED, NO_STORE, Json(TokenCreated { photographer_token: token.reveal() })).into_response())
}

/// `DELETE /api/admin/events/{id}/tokens/{token}`.
#[utoipa::path(
    delete, path = "/api/admin/events/{id}/tokens/{token}", tag = "operator", operation_id = "revoke_token",
    security(("operator" = [])),
    params(
        ("id" = String, Path, description = "Event id"),
        ("token" = i64, Path, description = "The token's id"),
    ),
    responses((status = 204, description = "Revoked")),
)]
pub(crate) async fn revoke_token(
    app: State<Arc<App>>,
    _: Operator,
    Path((id, token)): Path<(String, String)>,
) -> ApiResult<StatusCode> {
    let event = event(&app, &id).await?;
    let revoked = match token.parse() {
        Ok(token) => app.catalog.revoke_token(event.id, token).await?,
        Err(_) => false,
    };
    if revoked { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::new(Code::NotFound)) }
}

/// `GET /api/admin/events/{id}/qr.svg`: the guests' link for a poster.
#[utoipa::path(
    get, path = "/api/admin/events/{id}/qr.svg", tag = "operator", operation_id = "qr_svg",
    security(("operator" = [])),
    params(("id" = String, Path, description = "Event id")),
    responses(
        (status = 200, description = "The guests' link as a QR code", body = String, content_type = "image/svg+xml"),
    ),
)]
pub(crate) async fn qr_svg(app: State<Arc<App>>, _: Operator, Path(id): Path<String>, client: Client) -> ApiResult {
    let event = event(&app, &id).await?;
    Ok(board::qr_svg(&app.guest_link(&client, &event.join))?.into_response())
}

/// `GET /api/admin/events/{id}/qr.png`: the same for programs that know no vectors.
#[utoipa::path(
    get, path = "/api/admin/events/{id}/qr.png", tag = "operator", operation_id = "qr_png",
    security(("operator" = [])),
    params(("id" = String, Path, description = "Event id")),
    responses((status = 200, description = "The guests' link as a QR code", body = [u8], content_type = "image/png")),
)]
pub(crate) async fn qr_png(app: State<Arc<App>>, _: Operator, Path(id): Path<String>, client: Client) -> ApiResult {
    let event = event(&app, &id).await?;
    let code = QrCode::new(app.guest_link(&client, &event.join)).map_err(ApiError::internal)?;
    Ok((NO_STORE, [(header::CONTENT_TYPE, "image/png")], png(&code)?).into_response())
}

/// Black modules on white, with the quiet zone of four modules that the standard asks for, 1000 pixels wide or more.
fn png(code: &QrCode) -> ApiResult<Vec<u8>> {
    let (modules, quiet) = (code.width(), 4);
    let scale = 1000_usize.div_ceil(modules + 2 * quiet);
    let side = (modules + 2 * quiet) * scale;
    let dark = |x: usize, y: usize| {
        let at = |n: usize| (n / scale).checked_sub(quiet).filter(|n| *n < modules);
        matches!((at(x), at(y)), (Some(x), Some(y)) if code[(x, y)] == qrcode::Color::Dark)
    };
    let pixels: Vec<u8> = (0..side * side).map(|n| if dark(n % side, n / side) { 0 } else { 255 }).collect();
    let mut bytes = Vec::new();
    image::codecs::png::PngEncoder::new(&mut bytes)
        .write_image(&pixels, side as u32, side as u32, image::ExtendedColorType::L8)
        .map_err(ApiError::internal)?;
    Ok(bytes)
}

impl App {
    /// What guests open to join.
    pub(super) fn guest_link(&self, client: &Client, join: &JoinCode) -> String {
        format!("{}/e/{join}", self.base_url(client))
    }
}
