//! Who asks: a machine with a photographer token, or a guest with a session cookie. Handlers take these as arguments, so
//! that none can forget to ask; each is bound to one event, and what belongs to another event is not found.

use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::{HeaderMap, header, request::Parts};
use findme_common::protocol::Code;
use findme_common::{EventId, PhotographerToken, Secret};

use super::App;
use super::problem::ApiError;
use crate::catalog::{Guest, Machine};

/// Name of the guests' session cookie.
pub(crate) const COOKIE: &str = "findme";

/// A machine that may upload to its event and see its lists.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Photographer(pub(crate) Machine);

/// A guest of an event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session(pub(crate) Guest);

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

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn cookie(headers: &HeaderMap) -> Option<Secret> {
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(';')).find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE).then(|| value.parse().ok())?
    })
}

async fn machine(app: &App, text: &str) -> Result<Machine, ApiError> {
    let refused = || ApiError::new(Code::TokenRefused);
    let token: PhotographerToken = text.parse().map_err(|_| refused())?;
    app.catalog.machine(token.event, &token.secret.hash()).await?.ok_or_else(refused)
}

impl FromRequestParts<Arc<App>> for Photographer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let text = bearer(&parts.headers).ok_or_else(|| ApiError::new(Code::TokenRefused))?;
        machine(app, text).await.map(Self)
    }
}

impl FromRequestParts<Arc<App>> for Session {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
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
        match bearer(&parts.headers) {
            Some(text) => machine(app, text).await.map(Self::Photographer),
            None => <Session as FromRequestParts<Arc<App>>>::from_request_parts(parts, app)
                .await
                .map(|session| Self::Guest(session.0)),
        }
    }
}
