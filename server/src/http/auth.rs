//! Who asks: a machine with a photographer token, or a guest with a session cookie. Handlers take these as arguments, so
//! that none can forget to ask; each is bound to one event, and what belongs to another event is not found.
//!
//! A browser in which a photographer or an operator signed in sends their token as a cookie. It counts where only they
//! are let in, and elsewhere when the request asks for it by `?desk`: the same browser may have joined as a guest. What
//! changes something is taken from our own pages alone.

use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::{HeaderMap, Uri, header, request::Parts};
use findme_common::protocol::Code;
use findme_common::{EventId, OperatorToken, PhotographerToken, Secret};
use subtle::ConstantTimeEq;

use super::App;
use super::client::{Client, same_origin};
use super::problem::ApiError;
use crate::catalog::{Guest, Listens, Machine};
use crate::clock::now_ms;

/// Name of the guests' session cookie.
pub(crate) const COOKIE: &str = "findme";

/// Name of the cookie that holds the token of who signed in.
pub(crate) const DESK: &str = "findme-desk";

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

/// Who presents a good secret; `None` when nobody does, or it cannot be told now (the handler says so then). `signed_in`:
/// see [`at_desk`]. Where only guests are let in, only their cookie counts. A secret that is made up makes nobody new.
pub(super) async fn known(app: &App, headers: &HeaderMap, signed_in: bool, guests_only: bool) -> Option<Known> {
    let cookie_of_desk = cookie_named(DESK, headers).filter(|_| signed_in);
    match bearer(headers).or(cookie_of_desk).filter(|_| !guests_only) {
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
    cookie_named(COOKIE, headers)
}

fn cookie_named<'a>(wanted: &str, headers: &'a HeaderMap) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(';')).find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == wanted).then_some(value)
    })
}

/// The token with which this browser signed in.
fn desk<'a>(parts: &'a Parts, app: &App) -> Option<&'a str> {
    let token = cookie_named(DESK, &parts.headers)?;
    let host = parts.extensions.get::<Client>().and_then(|client| client.host.as_deref());
    let ours = parts.method.is_safe() || same_origin(&parts.headers, host, app.public_url.as_deref());
    ours.then_some(token)
}

/// Whether a request asks to be seen as from who signed in.
pub(super) fn at_desk(uri: &Uri) -> bool {
    uri.query().unwrap_or_default().split('&').any(|pair| pair == "desk" || pair.starts_with("desk="))
}

pub(super) fn cookie(headers: &HeaderMap) -> Option<Secret> {
    cookie_text(headers)?.parse().ok()
}

/// Whoever may sign in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Worker {
    Photographer(Machine),
    Operator,
}

/// Whose token this is.
pub(super) async fn who(app: &App, text: &str) -> Result<Worker, ApiError> {
    match text.parse::<OperatorToken>() {
        Ok(token) => operator(app, &token).await.map(|()| Worker::Operator),
        Err(_) => machine(app, text).await.map(Worker::Photographer),
    }
}

/// Who signed in in the browser that asks; `None`: nobody, or their token counts no more.
pub(super) async fn signed_in(app: &App, headers: &HeaderMap) -> Result<Option<Worker>, ApiError> {
    let Some(text) = cookie_named(DESK, headers) else { return Ok(None) };
    match who(app, text).await {
        Ok(worker) => Ok(Some(worker)),
        Err(error) if error.code() == Code::TokenRefused => Ok(None),
        Err(error) => Err(error),
    }
}

async fn operator(app: &App, OperatorToken(secret): &OperatorToken) -> Result<(), ApiError> {
    let known = app.catalog.setting(crate::site::OPERATOR).await?.unwrap_or_default();
    let right = bool::from(known.ct_eq(secret.hash().as_bytes()));
    right.then_some(()).ok_or_else(|| ApiError::new(Code::TokenRefused))
}

impl FromRequestParts<Arc<App>> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let shown = bearer(&parts.headers).or_else(|| desk(parts, app));
        let token = shown.and_then(|text| text.parse().ok()).ok_or_else(|| ApiError::new(Code::TokenRefused))?;
        operator(app, &token).await.map(|()| Self)
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
        let text = bearer(&parts.headers).or_else(|| desk(parts, app));
        machine(app, text.ok_or_else(|| ApiError::new(Code::TokenRefused))?).await.map(Self)
    }
}

/// Whether another site's page asks for a change: its visitor's cookie is not its to use. Programs say nothing of where
/// they come from, and have no visitor.
fn is_foreign_change(parts: &Parts, app: &App) -> bool {
    let told = ["sec-fetch-site", "origin"].iter().any(|name| parts.headers.contains_key(*name));
    let host = parts.extensions.get::<Client>().and_then(|client| client.host.as_deref());
    told && !parts.method.is_safe() && !same_origin(&parts.headers, host, app.public_url.as_deref())
}

impl FromRequestParts<Arc<App>> for Session {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        if is_foreign_change(parts, app) {
            return Err(ApiError::new(Code::NotJoined).detail("only from our own pages"));
        }
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
        let asked = at_desk(&parts.uri).then(|| desk(parts, app)).flatten();
        match bearer(&parts.headers).or(asked) {
            Some(text) => machine(app, text).await.map(Self::Photographer),
            None => <Session as FromRequestParts<Arc<App>>>::from_request_parts(parts, app)
                .await
                .map(|session| Self::Guest(session.0)),
        }
    }
}
