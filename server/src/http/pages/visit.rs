//! Who looks at a page and in which language, and what every page's answer carries.

use std::sync::Arc;

use axum::RequestPartsExt;
use axum::extract::{FromRequestParts, OptionalFromRequestParts, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header, request::Parts};
use axum::middleware::Next;
use axum::response::Response;
use serde::Deserialize;

use super::Saying;
use super::texts::{Languages, Texts};
use crate::catalog::{Event, Guest};
use crate::http::App;
use crate::http::auth::Session;
use crate::http::problem::ApiError;

/// Everything a page may load comes from here, its pictures also from an object store where the operator has it so, and
/// nothing in a page's text is ever run.
pub(crate) fn policy(pictures_from: Option<&str>) -> HeaderValue {
    let also = pictures_from.map(|origin| format!(" {origin}")).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:{also}; connect-src 'self'; \
         worker-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; manifest-src 'self'"
    );
    HeaderValue::from_str(&policy).expect("the origin of an address is ASCII")
}

/// Name of the cookie that remembers a chosen language.
const LANGUAGE: &str = "findme-lang";

/// One look at a page.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) texts: &'static Texts,
    /// Who has joined which event.
    pub(crate) guest: Option<(Guest, Event)>,
    /// Whether the language was chosen with this request.
    chosen: bool,
}

#[derive(Debug, Default, Deserialize)]
struct LanguageQuery {
    lang: Option<String>,
}

/// The language of a request, and whether the request itself chose it: `?lang=`, then the cookie, then the browser's.
async fn language(parts: &mut Parts, languages: &'static Languages) -> (&'static Texts, bool) {
    let Query(query) = parts.extract::<Query<LanguageQuery>>().await.unwrap_or_default();
    if let Some(texts) = query.lang.as_deref().and_then(|tag| languages.by_tag(tag)) {
        return (texts, true);
    }
    let cookies = parts.headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let remembered = cookies.flat_map(|value| value.split(';')).find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == LANGUAGE).then(|| languages.by_tag(value))?
    });
    let accepted = parts.headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    (remembered.unwrap_or_else(|| languages.accepted(accepted.unwrap_or_default())), false)
}

impl FromRequestParts<Arc<App>> for Visit {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let (texts, chosen) = language(parts, app.languages).await;
        let session = <Session as OptionalFromRequestParts<Arc<App>>>::from_request_parts(parts, app).await?;
        let guest = match session {
            None => None,
            Some(Session(guest)) => app.catalog.event(guest.event).await?.map(|event| (guest, event)),
        };
        Ok(Self { texts, guest, chosen })
    }
}

/// Around every page: its headers, and words for people in the place of a problem for programs.
pub(crate) async fn dress(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let (texts, chosen) = language(&mut parts, app.languages).await;
    let response = next.run(Request::from_parts(parts, body)).await;
    let visit = Visit { texts, guest: None, chosen };
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let failed = response.status().is_client_error() || response.status().is_server_error();
    let response = if failed && !kind.is_some_and(|kind| kind.starts_with("text/html")) {
        // The language is all that is known here; a failure must not ask the catalogue again.
        super::message(&visit, response.status(), saying(response.status()))
    } else {
        response
    };
    dressed(response, &visit, &app)
}

fn saying(status: StatusCode) -> Saying {
    if status.is_client_error() { Saying::NotFound } else { Saying::Failed }
}

/// Puts a page's headers on its answer.
pub(crate) fn dressed(mut response: Response, visit: &Visit, app: &App) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, app.page_policy.clone());
    // Not `no-referrer`: with it browsers send `Origin: null` with our own forms, and plain http has no other proof.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.append(header::VARY, HeaderValue::from_static("cookie, accept-language"));
    let texts = visit.texts;
    if let Ok(value) = HeaderValue::from_str(&texts.tag) {
        headers.insert(header::CONTENT_LANGUAGE, value);
    }
    if visit.chosen {
        let cookie = format!("{LANGUAGE}={}; Path=/; Max-Age=31536000; SameSite=Lax", texts.tag);
        if let Ok(value) = HeaderValue::from_str(&cookie) {
            headers.append(header::SET_COOKIE, value);
        }
    }
    response
}
