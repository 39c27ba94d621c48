//! What happens around every request: who asks, how often, under which id; one line in the log, one count in the metrics.
//! Neither ever holds a path, a query, a header or a name: a path may hold a code, and what is not written cannot leak.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use findme_common::UploadId;
use findme_common::protocol::{self, Code, header as h, path};
use tracing::Instrument;

use super::App;
use super::auth;
use super::client::{Client, Peer};
use super::pace;
use super::problem::ApiError;
use super::rates::{Allowance, Policy, TooSoon};
use crate::metrics::UploadDone;

tokio::task_local! {
    /// The id of the request that this task answers.
    static REQUEST_ID: String;
}

/// The id of the request that is being answered; `None` outside of one.
pub(super) fn request_id() -> Option<String> {
    REQUEST_ID.try_with(Clone::clone).ok()
}

/// The outermost layer.
pub(super) async fn around(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let client = Client::of(request.extensions().get::<Peer>().copied(), request.headers(), &app.trusted_proxies);
    let id = named(&client, request.headers()).unwrap_or_else(fresh_id);
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str).unwrap_or("none").to_owned();
    let method = request.method().clone();
    let span = tracing::info_span!("request", id = %id);
    let began = Instant::now();
    let answered = async {
        let address = client.address;
        let allowed = allowed(&app, address, &route, &mut request).await;
        request.extensions_mut().insert(client);
        let mut response = match allowed {
            Err(refused) => ApiError::from(refused).into_response(),
            Ok(allowance) => {
                let mut response = next.run(pace::paced(request, &app.limits)).await;
                if let Some(allowance) = allowance {
                    allowance.tell(response.headers_mut());
                }
                count_refused(&app, address, response)
            }
        };
        let took = began.elapsed();
        let status = response.status().as_u16();
        crate::metrics::get().request(&route, method.as_str(), status, took);
        count(&method, &route, &response);
        let milliseconds = took.as_secs_f64() * 1000.0;
        if status >= 400 {
            tracing::info!(%method, route, status, ms = milliseconds, "answered");
        } else {
            tracing::debug!(%method, route, status, ms = milliseconds, "answered");
        }
        mark(response.headers_mut(), &route);
        response
    };
    let mut response = REQUEST_ID.scope(id.clone(), answered.instrument(span)).await;
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(h::REQUEST_ID, id);
    }
    response
}

/// What more than its time tells about an answer.
fn count(method: &Method, route: &str, response: &Response) {
    let metrics = crate::metrics::get();
    let failed = response.extensions().get::<Code>().map(|code| code.as_str());
    match (route, failed) {
        (path::SELFIE, _) if method == Method::POST => metrics.selfie(failed.unwrap_or("taken")),
        (path::UPLOADS | "/api/uploads/{id}", Some(code)) => metrics.upload_failed(code),
        (path::UPLOADS | "/api/uploads/{id}", None) => {
            if method == Method::POST {
                metrics.upload(UploadDone::Created);
            }
            if method == Method::DELETE {
                metrics.upload(UploadDone::Terminated);
            }
            if method != Method::HEAD && response.headers().contains_key(h::REPR_DIGEST) {
                metrics.upload(UploadDone::Finished);
            }
        }
        _ => {}
    }
}

/// What even the answers of this layer carry.
fn mark(headers: &mut HeaderMap, route: &str) {
    headers.insert(h::FINDME_PROTOCOL, HeaderValue::from(protocol::PROTOCOL_VERSION));
    if route.starts_with(path::UPLOADS) {
        headers.entry(h::TUS_RESUMABLE).or_insert(HeaderValue::from_static(protocol::TUS_VERSION));
    }
}

/// A proxy of ours may name the request, so that its log and ours can be read together.
fn named(client: &Client, headers: &HeaderMap) -> Option<String> {
    let id = headers.get(h::REQUEST_ID).filter(|_| client.proxied)?.to_str().ok()?;
    let good = (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    good.then(|| id.to_owned())
}

fn fresh_id() -> String {
    UploadId::random().map(|id| id.to_simple()).unwrap_or_else(|_| "unknown".to_owned())
}

/// Counts the request by its address, generously, and then by its session or token, which was found good: what counts
/// only claims would be begun anew by whoever makes up enough of them.
async fn allowed(
    app: &App,
    address: Option<IpAddr>,
    route: &str,
    request: &mut Request,
) -> Result<Option<Allowance>, TooSoon> {
    if let Some(address) = address {
        app.rates.check(Policy::Address, address)?;
    }
    let Some(policy) = policy(request.method(), route) else { return Ok(None) };
    // Who shows nothing good is refused by the handler, and counted then.
    let (headers, signed_in) = (request.headers(), request.method().is_safe() && auth::at_desk(request.uri()));
    let Some(known) = auth::known(app, headers, signed_in, guests_only(route)).await else { return Ok(None) };
    request.extensions_mut().insert(known);
    app.rates.check(policy, known.who())
}

/// Whoever is refused for their secret, or for having none, is counted by address; too many are told to wait. Who has a
/// good one is never here, so a venue goes on whoever guesses in it.
fn count_refused(app: &App, address: Option<IpAddr>, response: Response) -> Response {
    let refused = matches!(response.extensions().get(), Some(Code::TokenRefused | Code::NotJoined));
    let Some(address) = address.filter(|_| refused) else { return response };
    match app.rates.check(Policy::Refused, address) {
        Err(too_soon) => ApiError::from(too_soon).into_response(),
        Ok(allowance) => {
            let mut response = response;
            if let Some(allowance) = allowance {
                allowance.tell(response.headers_mut());
            }
            response
        }
    }
}

/// Whether only guests are let in, whatever else a request shows.
fn guests_only(route: &str) -> bool {
    matches!(route, path::SELFIE | path::SELFIE_LOOK | path::NEVER_MATCH | path::MY_PHOTOS | path::MY_PHOTOS_ZIP)
}

/// What a route counts as.
fn policy(method: &Method, route: &str) -> Option<Policy> {
    match route {
        path::SELFIE | path::NEVER_MATCH if method == Method::POST => Some(Policy::Selfies),
        path::SELFIE_LOOK if method == Method::POST => Some(Policy::Looks),
        path::ALL_PHOTOS | path::MY_PHOTOS | path::TIMES | path::NAMES => Some(Policy::Lists),
        path::MY_PHOTOS_ZIP => Some(Policy::Bytes),
        "/api/photo/{id}" | "/api/photo/{id}/preview" | "/api/photo/{id}/thumb" | "/api/photo/{id}/small"
            if method != Method::DELETE =>
        {
            Some(Policy::Bytes)
        }
        route if route.starts_with(path::UPLOADS) => Some(Policy::Uploads),
        _ => None,
    }
}
