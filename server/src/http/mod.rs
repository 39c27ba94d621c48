//! The API and the pages over HTTP. Handlers translate; they hold no rule of their own.

mod accept;
mod auth;
mod bytes;
mod guests;
mod health;
mod lists;
mod live;
mod operator;
mod pages;
mod photographer;
mod problem;
mod uploads;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use axum::routing::{get, post};
use findme_common::protocol::{Code, path};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

pub(crate) use accept::serve;
use problem::ApiError;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

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

/// All routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    let tus = Router::new()
        .route(path::UPLOADS, post(uploads::create).options(uploads::options))
        .route(
            "/api/uploads/{id}",
            axum::routing::patch(uploads::patch).head(uploads::head).delete(uploads::delete).options(uploads::options),
        )
        // Uploads are streamed and have a limit of their own.
        .layer(DefaultBodyLimit::disable())
        .layer(axum::middleware::from_fn(uploads::with_tus_headers));
    let small = SizeAbove::new(512)
        .and(NotForContentType::IMAGES)
        .and(NotForContentType::const_new("application/octet-stream"));
    let lists = Router::new()
        .route(path::ALL_PHOTOS, get(lists::all_photos))
        .route(path::MY_PHOTOS, get(lists::my_photos))
        .route(path::NAMES, get(lists::names))
        .merge(pages::router())
        .layer(CompressionLayer::new().compress_when(small));
    Router::new()
        .route("/api/photo/{id}", get(bytes::original).delete(photographer::delete))
        .route("/api/photo/{id}/preview", get(bytes::preview))
        .route("/api/photo/{id}/thumb", get(bytes::thumb))
        .route("/api/photos/show", post(photographer::show))
        .route("/api/photos/hide", post(photographer::hide))
        .route("/api/admin/events", get(operator::list).post(operator::create))
        .route("/api/admin/events/{id}", axum::routing::patch(operator::change).delete(operator::delete))
        .route("/api/admin/events/{id}/tokens", get(operator::tokens).post(operator::create_token))
        .route("/api/admin/events/{id}/tokens/{token}", axum::routing::delete(operator::revoke_token))
        .route("/api/admin/events/{id}/qr.svg", get(operator::qr_svg))
        .route(path::JOIN, post(guests::join))
        .route(path::SELFIE, post(guests::selfie).delete(guests::erase).layer(DefaultBodyLimit::max(MAX_SELFIE)))
        .route(path::ME, get(guests::me))
        .route(path::LIVE, get(live::live))
        .route(path::LIVEZ, get(health::livez))
        .route(path::READYZ, get(health::readyz))
        .merge(lists)
        .merge(tus)
        .fallback(pages::nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::middleware::map_response(with_safety_headers))
        .layer(tower_http::timeout::RequestBodyTimeoutLayer::new(BODY_IDLE))
        .with_state(app)
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
