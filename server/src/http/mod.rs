//! The API and the pages over HTTP. Handlers translate; they hold no rule of their own.

mod accept;
mod archive;
mod auth;
mod bytes;
#[cfg(fuzzing)]
pub mod fuzzing;
mod guests;
mod health;
mod jobs;
mod lists;
mod live;
mod openapi;
mod operator;
mod pages;
mod patched;
mod photographer;
mod problem;
mod uploads;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use findme_common::protocol::Code;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

pub(crate) use accept::serve;
use problem::ApiError;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use crate::Site;
use crate::catalog::Catalog;
use crate::live::Live;
use crate::matching::Matching;
use crate::store::PhotoStore;
use crate::uploads::Uploads;

/// A body may pause for this long before its connection is given up.
pub(crate) const BODY_IDLE: Duration = Duration::from_secs(30);

/// Largest selfie, in bytes: phones make 3 to 12 MB.
const MAX_SELFIE: usize = 25 * 1024 * 1024;

/// Steps in which memory for selfies is given out, in bytes.
const SELFIE_UNIT: usize = 256 * 1024;

/// Selfies in memory at a time, in [`SELFIE_UNIT`]s: 128 MiB are a hundred of what our page sends, and five of the largest.
pub(crate) const SELFIE_ROOM: usize = 512;

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
    /// Memory for selfies, in [`SELFIE_UNIT`]s.
    pub(crate) selfie_room: Arc<Semaphore>,
    /// What guests' links begin with; taken from the request's `Host` when not set.
    pub(crate) public_url: Option<String>,
}

/// Bounds of what is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Largest upload, in bytes. The largest RAW files of today are under 200 MB.
    pub(crate) max_upload: u64,
    /// Bytes of the disk that stay free, so that the catalogue can always be written.
    pub(crate) reserve: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_upload: 512 * 1024 * 1024, reserve: 256 * 1024 * 1024 }
    }
}

impl App {
    /// Refuses what the disk could not hold, before a byte is read.
    fn room_for(&self, bytes: u64) -> Result<(), ApiError> {
        match self.store.free_bytes() {
            Some(free) if free < bytes.saturating_add(self.limits.reserve) => {
                Err(ApiError::new(Code::InsufficientStorage))
            }
            _ => Ok(()),
        }
    }
}

/// The API's routes; each describes itself, see [`openapi`].
fn api() -> OpenApiRouter<Arc<App>> {
    let tus = OpenApiRouter::default()
        .routes(routes!(uploads::create, uploads::options))
        .routes(routes!(uploads::patch, uploads::head, uploads::delete, uploads::options_of_upload))
        // Uploads are streamed and have a limit of their own.
        .layer(DefaultBodyLimit::disable());
    let lists = OpenApiRouter::default()
        .routes(routes!(lists::all_photos))
        .routes(routes!(lists::my_photos))
        .routes(routes!(lists::names))
        .layer(compression());
    OpenApiRouter::with_openapi(openapi::introduction())
        .routes(routes!(bytes::original, photographer::delete))
        .routes(routes!(bytes::preview))
        .routes(routes!(bytes::thumb))
        .routes(routes!(photographer::show))
        .routes(routes!(photographer::hide))
        .routes(routes!(photographer::release))
        .routes(routes!(jobs::attention))
        .routes(routes!(jobs::retry))
        .routes(routes!(jobs::admin_attention))
        .routes(routes!(jobs::admin_retry))
        .routes(routes!(jobs::reindex))
        .routes(routes!(jobs::rematch))
        .routes(routes!(operator::list, operator::create))
        .routes(routes!(operator::change, operator::delete))
        .routes(routes!(operator::tokens, operator::create_token))
        .routes(routes!(operator::revoke_token))
        .routes(routes!(operator::qr_svg))
        .routes(routes!(guests::join))
        .routes(routes!(guests::selfie, guests::erase).layer(DefaultBodyLimit::max(MAX_SELFIE)))
        .routes(routes!(guests::me))
        .routes(routes!(archive::my_photos_zip))
        .routes(routes!(live::live))
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
        .routes(routes!(openapi::document))
        .merge(lists)
        .merge(tus)
}

/// All routes: the API's, and the pages'.
pub(crate) fn router(app: Arc<App>) -> Router {
    let (api, _) = api().split_for_parts();
    let all = api
        .merge(pages::router().layer(compression()))
        .fallback(pages::nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::middleware::map_response(with_safety_headers))
        .layer(tower_http::timeout::RequestBodyTimeoutLayer::new(BODY_IDLE))
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
