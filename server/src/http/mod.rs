//! The API and the pages over HTTP. Handlers translate; they hold no rule of their own.

mod accept;
mod archive;
mod around;
mod auth;
mod board;
mod bytes;
mod client;
mod crowd;
mod desk;
#[cfg(fuzzing)]
pub mod fuzzing;
mod guests;
mod health;
mod jobs;
mod lists;
mod live;
mod openapi;
mod operator;
mod pace;
mod pages;
mod patched;
mod people;
mod photographer;
mod problem;
mod rates;
mod suppressions;
mod system;
mod tls;
mod uploads;
mod verdicts;
mod visits;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use findme_common::protocol::{Code, path};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

pub(crate) use accept::{Terms, serve};
pub(crate) use board::Unfound;
pub(crate) use client::Client;
pub use client::Network;
pub(crate) use crowd::Crowd;
pub(crate) use guests::selfie_units;
pub(crate) use pages::{Languages, page_policy};
#[cfg(test)]
pub(crate) use patched::Opened;
use problem::ApiError;
pub(crate) use rates::Rates;
pub(crate) use tls::Tls;
pub use tls::TlsFiles;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use crate::Site;
use crate::catalog::{Catalog, Listens};
use crate::limits::Limits;
use crate::live::Live;
use crate::matching::Matching;
use crate::store::PhotoStore;
use crate::uploads::Uploads;

/// What handlers share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) catalog: Catalog,
    pub(crate) store: PhotoStore,
    /// Creates events and tokens.
    pub(crate) site: Site,
    pub(crate) uploads: Uploads,
    pub(crate) matching: Matching,
    pub(crate) live: Live,
    /// Told about jobs.
    pub(crate) work: Arc<Notify>,
    /// Ends streams that would otherwise never end.
    pub(crate) shutdown: CancellationToken,
    pub(crate) limits: Limits,
    pub(crate) rates: Rates,
    /// Live listeners of each session and token.
    pub(crate) listeners: Crowd<Listens>,
    /// Guests whom the board counts as in no photo.
    pub(crate) unfound: Unfound,
    /// Memory for selfies, in steps of [`guests::selfie_units`].
    pub(crate) selfie_room: Arc<Semaphore>,
    /// What guests' links begin with; taken from the request when not set.
    pub(crate) public_url: Option<String>,
    /// What the pages speak.
    pub(crate) languages: &'static Languages,
    /// Who is responsible for the events, for guests to read.
    pub(crate) contact: Option<String>,
    /// Those who are believed what they say about their clients.
    pub(crate) trusted_proxies: Arc<[Network]>,
    /// Whether `/metrics` has a listener of its own.
    pub(crate) metrics_apart: bool,
    /// What pages may load, see [`page_policy`].
    pub(crate) page_policy: HeaderValue,
}

impl App {
    /// Where this client finds this server, without a slash at the end.
    pub(crate) fn base_url(&self, client: &Client) -> String {
        let scheme = if client.secure { "https" } else { "http" };
        let seen = || format!("{scheme}://{}", client.host.as_deref().unwrap_or("localhost"));
        self.public_url.as_deref().map_or_else(seen, |url| url.trim_end_matches('/').to_owned())
    }

    /// Refuses what the disk could not hold, before a byte is read.
    fn room_for(&self, bytes: u64) -> Result<(), ApiError> {
        match self.store.free_bytes() {
            Some(free) if free < bytes.saturating_add(self.limits.disk_reserve.0) => {
                Err(ApiError::new(Code::InsufficientStorage))
            }
            _ => Ok(()),
        }
    }
}

/// The API's routes; each describes itself, see [`openapi`].
fn api(limits: &Limits) -> OpenApiRouter<Arc<App>> {
    let max_selfie = usize::try_from(limits.max_selfie.0).unwrap_or(usize::MAX);
    let tus = OpenApiRouter::default()
        .routes(routes!(uploads::create, uploads::options))
        .routes(routes!(uploads::patch, uploads::head, uploads::delete, uploads::options_of_upload))
        // Uploads are streamed and have a limit of their own.
        .layer(DefaultBodyLimit::disable());
    let lists = OpenApiRouter::default()
        .routes(routes!(lists::all_photos))
        .routes(routes!(lists::my_photos))
        .routes(routes!(lists::times))
        .routes(routes!(lists::names))
        .layer(compression());
    OpenApiRouter::with_openapi(openapi::introduction())
        .routes(routes!(bytes::original, photographer::delete))
        .routes(routes!(bytes::preview))
        .routes(routes!(bytes::thumb))
        .routes(routes!(bytes::small))
        .routes(routes!(photographer::show))
        .routes(routes!(photographer::hide))
        .routes(routes!(photographer::release))
        .routes(routes!(photographer::feature))
        .routes(routes!(photographer::unfeature))
        .routes(routes!(photographer::reports))
        .routes(routes!(board::board))
        .routes(routes!(board::qr))
        .routes(routes!(desk::sign_in, desk::sign_out))
        .routes(routes!(guests::report))
        .routes(routes!(verdicts::say_mine))
        .routes(routes!(jobs::attention))
        .routes(routes!(jobs::retry))
        .routes(routes!(jobs::admin_attention))
        .routes(routes!(jobs::admin_retry))
        .routes(routes!(system::system))
        .routes(routes!(system::audit))
        .routes(routes!(jobs::reindex))
        .routes(routes!(jobs::rematch))
        .routes(routes!(operator::list, operator::create))
        .routes(routes!(operator::change, operator::delete))
        .routes(routes!(operator::tokens, operator::create_token))
        .routes(routes!(operator::revoke_token))
        .routes(routes!(people::list))
        .routes(routes!(people::face))
        .routes(routes!(people::hide))
        .routes(routes!(suppressions::list))
        .routes(routes!(suppressions::lift))
        .routes(routes!(suppressions::confirm))
        .routes(routes!(operator::qr_svg))
        .routes(routes!(operator::qr_png))
        .routes(routes!(guests::join))
        .routes(routes!(guests::selfie, guests::erase).layer(DefaultBodyLimit::max(max_selfie)))
        .routes(routes!(guests::look).layer(DefaultBodyLimit::max(max_selfie)))
        .routes(routes!(guests::never_match, guests::lift_never_match).layer(DefaultBodyLimit::max(max_selfie)))
        .routes(routes!(guests::me))
        .routes(routes!(visits::make, visits::end))
        .routes(routes!(visits::back))
        .routes(routes!(archive::my_photos_zip))
        .routes(routes!(live::live))
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .routes(routes!(openapi::document))
        .merge(lists)
        .merge(tus)
}

/// All routes: the API's, and the pages'.
pub(crate) fn router(app: Arc<App>) -> Router {
    let (api, _) = api(&app.limits).split_for_parts();
    let all = api
        .merge(pages::router(&app).layer(compression()))
        .fallback(pages::nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::middleware::from_fn_with_state(app.clone(), around::around))
        .layer(axum::middleware::map_response(with_safety_headers))
        .with_state(app);
    Router::new()
        .fallback_service(tower::util::MapRequest::new(all, uploads::override_method))
        .layer(axum::middleware::from_fn(uploads::with_tus_headers))
}

/// Lists and pages are sent compressed; pictures and small answers would not shrink.
fn compression() -> CompressionLayer<impl Predicate> {
    let worth = SizeAbove::new(512)
        .and(NotForContentType::IMAGES)
        .and(NotForContentType::const_new("application/octet-stream"));
    CompressionLayer::new().compress_when(worth)
}

/// What the listener for `/metrics` alone answers.
pub(crate) fn metrics_router(app: Arc<App>) -> Router {
    Router::new().route(path::METRICS, axum::routing::get(health::metrics_alone)).with_state(app)
}

async fn wrong_method() -> ApiError {
    ApiError::new(Code::MethodNotAllowed)
}

/// What every answer carries, whatever it is.
async fn with_safety_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let always = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("x-robots-tag"), "noindex"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in always {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Pages set wider policies; nothing else is ever a document.
    let unless_set = [
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; sandbox"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in unless_set {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests;
