//! Signing a browser in with a token, for the pages of photographers and operators. The cookie is the token itself, so that
//! revoking the token ends every sign-in at once and there is nothing else to keep.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use findme_common::protocol::{Code, path};

use super::App;
use super::auth::{self, DESK, bearer};
use super::client::{Client, same_origin};
use super::problem::{ApiError, ApiResult};

/// A day's work; then the token is asked for again.
const SIGNED_IN_SECONDS: u32 = 18 * 3600;

/// `POST /api/desk`: the token as `Authorization`, a cookie in return. From our own pages alone: another site must not sign
/// its visitors in as somebody else.
#[utoipa::path(
    post, path = path::DESK, tag = "photographer", operation_id = "sign_in",
    security(("photographer" = []), ("operator" = [])),
    responses((status = 204, description = "Signed in: the cookie `findme-desk` holds the token, for this browser alone")),
)]
pub(crate) async fn sign_in(State(app): State<Arc<App>>, client: Client, headers: HeaderMap) -> ApiResult {
    let refused = || ApiError::new(Code::TokenRefused);
    if !same_origin(&headers, client.host.as_deref(), app.public_url.as_deref()) {
        return Err(refused().detail("sign in from the page itself"));
    }
    let text = bearer(&headers).ok_or_else(refused)?;
    auth::who(&app, text).await?;
    Ok(with_cookie(&client, text, SIGNED_IN_SECONDS))
}

/// `DELETE /api/desk`: signs the browser out. The token stays good.
#[utoipa::path(
    delete, path = path::DESK, tag = "photographer", operation_id = "sign_out",
    responses((status = 204, description = "Signed out")),
)]
pub(crate) async fn sign_out(client: Client) -> ApiResult {
    Ok(with_cookie(&client, "", 0))
}

fn with_cookie(client: &Client, value: &str, seconds: u32) -> axum::response::Response {
    let secure = if client.secure { "; Secure" } else { "" };
    let cookie = format!("{DESK}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie), (header::CACHE_CONTROL, "no-store".to_owned())])
        .into_response()
}
