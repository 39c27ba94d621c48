//! Who asks: a machine with a photographer token, or a guest with a session cookie. Handlers take these as arguments, so
//! that none can forget to ask; each is bound to one event, and what belongs to another event is not found.

use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::{HeaderMap, header, request::Parts};
use findme_common::protocol::Code;
use findme_common::{EventId, OperatorToken, PhotographerToken, Secret};
use subtle::ConstantTimeEq;

use super::App;
use super::problem::ApiError;
use crate::catalog::{Guest, Listens, Machine};
use crate::clock::now_ms;

/// Name of the guests' session cookie.
pub(crate) const COOKIE: &str = "findme";

/// A machine that may upload to its event and see its lists.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Photographer(pub(crate) Machine);

/// A guest of an event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session(pub(crate) Guest);

/// Whoever runs the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operator;

/// Anybody who may look at photos of an event.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Viewer {
    Photographer(Machine),
    Guest(Guest),
}

impl Viewer {
    pub(crate) const fn event(&self) -> EventId {
        match self {
            Self::Photographer(machine) => machine.event,
            Self::Guest(guest) => guest.event,
        }
    }
}

/// Somebody whose secret was found good before their request was counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Known {
    Machine(Machine),
    Guest(Guest),
}

impl Known {
    /// What is counted as one.
    pub(super) const fn who(&self) -> Listens {
        match self {
            Self::Machine(machine) => Listens::Machine(machine.token),
            Self::Guest(guest) => Listens::Guest(guest.id),
        }
    }
}

/// Who presents a good secret; `None` when nobody does, or it cannot be told now (the handler says so then). Where only
/// guests are let in, only their cookie counts. A secret that is made up makes nobody new.
pub(super) async fn known(app: &App, headers: &HeaderMap, guests_only: bool) -> Option<Known> {
    match bearer(headers).filter(|_| !guests_only) {
        Some(text) => machine(app, text).await.ok().map(Known::Machine),
        None => app.catalog.guest(&cookie(headers)?.hash()).await.ok()?.map(Known::Guest),
    }
}

pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// The session's secret as it was sent.
fn cookie_text(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(';')).find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE).then_some(value)
    })
}

pub(super) fn cookie(headers: &HeaderMap) -> Option<Secret> {
    cookie_text(headers)?.parse().ok()
}

impl FromRequestParts<Arc<App>> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let refused = || ApiError::new(Code::TokenRefused);
        let OperatorToken(secret) = bearer(&parts.headers).and_then(|text| text.parse().ok()).ok_or_else(refused)?;
        let known = app.catalog.setting(crate::OPERATOR).await?.unwrap_or_default();
        if bool::from(known.ct_eq(secret.hash().as_bytes())) { Ok(Self) } else { Err(refused()) }
    }
}

/// A token's last use is noted at most this often: a write for each request would cost more than it tells.
const SEEN_EVERY_MS: i64 = 60_000;

async fn machine(app: &App, text: &str) -> Result<Machine, ApiError> {
    let refused = || ApiError::new(Code::TokenRefused);
    let token: PhotographerToken = text.parse().map_err(|_| refused())?;
    let machine = app.catalog.machine(token.event, &token.secret.hash()).await?.ok_or_else(refused)?;
    if machine.last_seen.is_none_or(|seen| now_ms() - seen > SEEN_EVERY_MS) {
        app.catalog.saw_token(machine.token).await?;
    }
    Ok(machine)
}

impl FromRequestParts<Arc<App>> for Photographer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        if let Some(Known::Machine(machine)) = parts.extensions.get() {
            return Ok(Self(*machine));
        }
        let text = bearer(&parts.headers).ok_or_else(|| ApiError::new(Code::TokenRefused))?;
        machine(app, text).await.map(Self)
    }
}

impl FromRequestParts<Arc<App>> for Session {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        if let Some(Known::Guest(guest)) = parts.extensions.get() {
            return Ok(Self(*guest));
        }
        let secret = cookie(&parts.headers).ok_or_else(|| ApiError::new(Code::NotJoined))?;
        let guest = app.catalog.guest(&secret.hash()).await?;
        guest.map(Self).ok_or_else(|| ApiError::new(Code::NotJoined))
    }
}

/// `None` when nobody has joined: pages then show the way in.
impl OptionalFromRequestParts<Arc<App>> for Session {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Option<Self>, ApiError> {
        match cookie(&parts.headers) {
            None => Ok(None),
            Some(secret) => Ok(app.catalog.guest(&secret.hash()).await?.map(Self)),
        }
    }
}

impl FromRequestParts<Arc<App>> for Viewer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        match parts.extensions.get() {
            Some(Known::Machine(machine)) => return Ok(Self::Photographer(*machine)),
            Some(Known::Guest(guest)) => return Ok(Self::Guest(*guest)),
            None => {}
        }
        match bearer(&parts.headers) {
            Some(text) => machine(app, text).await.map(Self::Photographer),
            None => <Session as FromRequestParts<Arc<App>>>::from_request_parts(parts, app)
                .await
                .map(|session| Self::Guest(session.0)),
        }
    }
}
