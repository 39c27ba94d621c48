//! Guests who come back without a password: a link that they were shown once.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use findme_common::Secret;
use findme_common::protocol::{Changed, Code, Joined, ReturnLink, ReturnRequest, path};

use super::App;
use super::auth::Session;
use super::client::Client;
use super::guests::session_cookie;
use super::problem::{ApiError, ApiResult};

/// `POST /api/me/link`: a link back, in the place of an earlier one. Only its hash is kept.
#[utoipa::path(
    post, path = path::ME_LINK, tag = "guests", operation_id = "make_return_link",
    security(("guest" = [])),
    responses((status = 200, description = "The link; shown only now", body = ReturnLink)),
)]
pub(crate) async fn make(State(app): State<Arc<App>>, Session(guest): Session, client: Client) -> ApiResult {
    let secret = Secret::random().map_err(ApiError::internal)?;
    app.catalog.set_return_link(guest.id, &secret.hash()).await?;
    app.live.wake();
    let link = format!("{}/back#{}", app.base_url(&client), secret.reveal());
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(ReturnLink { link })).into_response())
}

/// `DELETE /api/me/link`: the link leads nowhere any more, and the browsers that came by it are out.
#[utoipa::path(
    delete, path = path::ME_LINK, tag = "guests", operation_id = "end_return_link",
    security(("guest" = [])),
    responses((status = 200, description = "1 when there was one", body = Changed)),
)]
pub(crate) async fn end(State(app): State<Arc<App>>, Session(guest): Session) -> ApiResult<Json<Changed>> {
    let ended = app.catalog.end_return_link(guest.id).await?;
    app.live.wake();
    Ok(Json(Changed { changed: ended.into() }))
}

/// `POST /api/back`: a session of the guest whose link it is, for the browser that asks.
#[utoipa::path(
    post, path = path::BACK, tag = "guests", operation_id = "come_back",
    request_body = ReturnRequest,
    responses((status = 200, description = "Back; the session is in the cookie", body = Joined)),
)]
pub(crate) async fn back(
    State(app): State<Arc<App>>,
    client: Client,
    body: Result<Json<ReturnRequest>, JsonRejection>,
) -> ApiResult {
    let Json(request) = body.map_err(|_| ApiError::bad("expected {\"secret\": \"…\"}"))?;
    // Counted by address as everything that is refused for a wrong secret.
    let nowhere = || ApiError::new(Code::NotJoined).detail("this link leads nowhere any more");
    let link: Secret = request.secret.parse().map_err(|_| nowhere())?;
    let session = Secret::random().map_err(ApiError::internal)?;
    let guest = app.catalog.come_back(&link.hash(), &session.hash()).await?.ok_or_else(nowhere)?;
    let event = app.catalog.event(guest.event).await?.ok_or_else(nowhere)?.name;
    let mut response = Json(Joined { event }).into_response();
    response.headers_mut().insert(header::SET_COOKIE, session_cookie(&app, &client, &session)?);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
