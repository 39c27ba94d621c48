//! Lists: keyset pages with the event's version as their `ETag`, so that an unchanged list costs one small query.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use findme_common::PhotoId;
use findme_common::protocol::{Band, Code, Counts, HourCount, Match, NameList, PhotoItem, PhotoList, PhotoState, path};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::App;
use super::auth::{Photographer, Session, Viewer};
use super::problem::{ApiError, ApiResult};
use crate::catalog::{Narrow, PhotoFilter};

/// Which page is asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// What the page before gave as `next`.
    pub(super) after: Option<i64>,
    /// Entries; 100 unless asked, 1000 at most.
    limit: Option<u32>,
}

impl PageQuery {
    /// 100 unless asked; more than 1000 are never given.
    pub(super) fn limit(&self) -> u32 {
        self.limit.unwrap_or(100).clamp(1, 1000)
    }
}

pub(super) type Asked = Result<Query<PageQuery>, axum::extract::rejection::QueryRejection>;

pub(super) fn asked(query: Asked) -> Result<PageQuery, ApiError> {
    query.map(|Query(page)| page).map_err(|_| ApiError::bad("after and limit are integers"))
}

/// Which of the photos of a page are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct NarrowQuery {
    /// Taken then or later: the beginning of a time as cameras write it, for example `2026-09-12T18`.
    from: Option<String>,
    /// Taken before then.
    to: Option<String>,
    /// `yes`: only those with a star.
    featured: Option<String>,
}

impl NarrowQuery {
    /// `None` when all are wanted.
    fn narrow(self) -> Result<Option<Narrow>, ApiError> {
        let is_time = |text: &String| {
            (4..=19).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || b"-T:".contains(&b))
        };
        if !self.from.iter().chain(&self.to).all(is_time) {
            return Err(ApiError::bad("from and to begin as 2026-09-12T18:00"));
        }
        let narrow = Narrow { from: self.from, to: self.to, featured: self.featured.as_deref() == Some("yes") };
        Ok((narrow != Narrow::default()).then_some(narrow))
    }
}

/// `GET /api/all-photos`.
#[utoipa::path(
    get, path = path::ALL_PHOTOS, tag = "photos", operation_id = "all_photos",
    security(("photographer" = []), ("guest" = [])),
    params(PageQuery, NarrowQuery),
    responses(
        (status = 200, description = "One page", body = PhotoList),
        (status = 304, description = "Unchanged"),
    ),
)]
pub(crate) async fn all_photos(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    query: Asked,
    narrow: Result<Query<NarrowQuery>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> ApiResult {
    let page = asked(query)?;
    let narrow = narrow.map_err(|_| ApiError::bad("from, to and featured are texts"))?.0.narrow()?;
    let event = viewer.event();
    let filter = match viewer {
        Viewer::Photographer(_) => PhotoFilter::All,
        Viewer::Guest(_) => PhotoFilter::Shown,
    };
    if filter == PhotoFilter::Shown && !app.catalog.event(event).await?.is_some_and(|event| event.gallery_open) {
        return Err(ApiError::new(Code::GalleryClosed));
    }
    let tag = format!("W/\"{}-{filter:?}\"", app.catalog.version(event).await?);
    if unchanged(&headers, &tag) {
        return Ok(not_modified(&tag));
    }
    let found = match narrow {
        None => app.catalog.photos(event, filter, page.after, page.limit()).await?,
        // What is picked out is what guests may see, whoever asks.
        Some(narrow) => app.catalog.shown_page(event, &narrow, page.after, page.limit()).await?,
    };
    let counts = app.catalog.counts(event, filter).await?;
    Ok(list(&tag, &PhotoList { photos: found.photos, next: found.next.map(|key| key.to_string()), counts }))
}

/// `GET /api/my-photos`: found anew each time with the guest's enrolments, so that it is never out of date.
#[utoipa::path(
    get, path = path::MY_PHOTOS, tag = "guests", operation_id = "my_photos",
    security(("guest" = [])),
    params(PageQuery),
    responses(
        (status = 200, description = "One page", body = PhotoList),
        (status = 304, description = "Unchanged"),
    ),
)]
pub(crate) async fn my_photos(
    State(app): State<Arc<App>>,
    Session(guest): Session,
    query: Asked,
    headers: HeaderMap,
) -> ApiResult {
    let page = asked(query)?;
    app.matching.catch_up(guest.event, guest.id).await;
    // The version is read first: what changes meanwhile makes the next request differ, never this one stale.
    let version = app.catalog.version(guest.event).await?;
    let enrolled = app.matching.enrolment_tag(guest.id).await?;
    let tag = format!("W/\"{version}-{}-{enrolled}\"", guest.id.to_simple());
    if unchanged(&headers, &tag) {
        return Ok(not_modified(&tag));
    }
    let result = app.matching.find_guest(guest.event, guest.id).await?;
    let band_of = |band, found: &[Match]| found.iter().map(move |m| (m.photo, band)).collect::<Vec<_>>();
    let bands: HashMap<PhotoId, Band> =
        [band_of(Band::You, &result.you), band_of(Band::Maybe, &result.maybe)].into_iter().flatten().collect();
    let ids: Vec<PhotoId> = bands.keys().copied().collect();
    let mut shown = app.catalog.shown_photos(guest.event, &ids).await?;
    shown.sort_unstable_by_key(|(seq, _)| std::cmp::Reverse(*seq));
    let counts = count(shown.iter().map(|(_, item)| item));
    let limit = page.limit() as usize;
    let mut rest = shown.into_iter().filter(|(seq, _)| page.after.is_none_or(|after| *seq < after));
    let taken: Vec<(i64, PhotoItem)> = rest.by_ref().take(limit).collect();
    let next = rest.next().and(taken.last()).map(|(seq, _)| seq.to_string());
    let photos = taken.into_iter().map(|(_, item)| PhotoItem { band: bands.get(&item.id).copied(), ..item });
    Ok(list(&tag, &PhotoList { photos: photos.collect(), next, counts }))
}

/// `GET /api/times`: when the photos were taken, for leafing without a selfie.
#[utoipa::path(
    get, path = path::TIMES, tag = "photos", operation_id = "times",
    security(("photographer" = []), ("guest" = [])),
    responses(
        (status = 200, description = "The hours in which photos were taken, in their order", body = [HourCount]),
        (status = 304, description = "Unchanged"),
    ),
)]
pub(crate) async fn times(State(app): State<Arc<App>>, viewer: Viewer, headers: HeaderMap) -> ApiResult {
    let event = viewer.event();
    let guest = matches!(viewer, Viewer::Guest(_));
    if guest && !app.catalog.event(event).await?.is_some_and(|event| event.gallery_open) {
        return Err(ApiError::new(Code::GalleryClosed));
    }
    let tag = format!("W/\"{}-times\"", app.catalog.version(event).await?);
    if unchanged(&headers, &tag) {
        return Ok(not_modified(&tag));
    }
    Ok(list(&tag, &app.catalog.hours(event).await?))
}

fn count<'a>(items: impl Iterator<Item = &'a PhotoItem>) -> Counts {
    let mut counts = Counts::default();
    for item in items {
        match item.state {
            PhotoState::Received => counts.received += 1,
            PhotoState::Indexed => counts.indexed += 1,
            PhotoState::Failed => counts.failed += 1,
        }
    }
    counts
}

/// `GET /api/names`: what is on the server, for `verify` and `repair`.
#[utoipa::path(
    get, path = path::NAMES, tag = "photographer", operation_id = "names",
    security(("photographer" = [])),
    params(PageQuery),
    responses((status = 200, description = "One page", body = NameList)),
)]
pub(crate) async fn names(
    State(app): State<Arc<App>>,
    Photographer(machine): Photographer,
    query: Asked,
) -> ApiResult<Json<NameList>> {
    let page = asked(query)?;
    let (photos, next) = app.catalog.names(machine.event, page.after.unwrap_or(0), page.limit()).await?;
    Ok(Json(NameList { photos, next: next.map(|key| key.to_string()) }))
}

fn unchanged(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    known.split(',').any(|candidate| candidate.trim() == tag)
}

fn not_modified(tag: &str) -> Response {
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    cache(&mut response, tag);
    response
}

fn list(tag: &str, body: &impl Serialize) -> Response {
    let mut response = Json(body).into_response();
    cache(&mut response, tag);
    response
}

fn cache(response: &mut Response, tag: &str) {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("cookie, authorization, accept-encoding"));
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
}
