//! What a photographer does with photos that are on the server: show, hide, release, delete. Only those of their own event.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use findme_common::PhotoId;
use findme_common::protocol::{Changed, Code, PhotoSelection, Report};

use super::App;
use super::auth::Photographer;
use super::problem::{ApiError, ApiResult};
use crate::catalog::{Decision, Recogniser};

/// Photos that one request may name.
const MAX_SELECTION: usize = 1000;

type Selection = Result<Json<PhotoSelection>, JsonRejection>;

/// `POST /api/photos/show`: guests see them, whatever stood in the way; looks after reports too.
#[utoipa::path(
    post, path = "/api/photos/show", tag = "photographer", operation_id = "show_photos",
    security(("photographer" = [])),
    request_body = PhotoSelection,
    responses((status = 200, description = "How many are shown now that were not", body = Changed)),
)]
pub(crate) async fn show(app: State<Arc<App>>, machine: Photographer, body: Selection) -> ApiResult<Json<Changed>> {
    decide(&app, machine, body, Decision::Show).await
}

/// `POST /api/photos/hide`: guests see them no more.
#[utoipa::path(
    post, path = "/api/photos/hide", tag = "photographer", operation_id = "hide_photos",
    security(("photographer" = [])),
    request_body = PhotoSelection,
    responses((status = 200, description = "How many are hidden now that were not", body = Changed)),
)]
pub(crate) async fn hide(app: State<Arc<App>>, machine: Photographer, body: Selection) -> ApiResult<Json<Changed>> {
    decide(&app, machine, body, Decision::Hide).await
}

/// `POST /api/photos/release`: guests see those that were held back.
#[utoipa::path(
    post, path = "/api/photos/release", tag = "photographer", operation_id = "release_photos",
    security(("photographer" = [])),
    request_body = PhotoSelection,
    responses((status = 200, description = "How many are shown now that were held", body = Changed)),
)]
pub(crate) async fn release(app: State<Arc<App>>, machine: Photographer, body: Selection) -> ApiResult<Json<Changed>> {
    decide(&app, machine, body, Decision::Release).await
}

/// `POST /api/photos/feature`: stars them, for guests and walls to see first.
#[utoipa::path(
    post, path = "/api/photos/feature", tag = "photographer", operation_id = "feature_photos",
    security(("photographer" = [])),
    request_body = PhotoSelection,
    responses((status = 200, description = "How many have a star now that had none", body = Changed)),
)]
pub(crate) async fn feature(app: State<Arc<App>>, machine: Photographer, body: Selection) -> ApiResult<Json<Changed>> {
    let photos = selection(body)?;
    Ok(Json(Changed { changed: app.catalog.feature(machine.0.event, &photos, true).await? }))
}

/// `POST /api/photos/unfeature`: takes their stars away.
#[utoipa::path(
    post, path = "/api/photos/unfeature", tag = "photographer", operation_id = "unfeature_photos",
    security(("photographer" = [])),
    request_body = PhotoSelection,
    responses((status = 200, description = "How many had a star and have none now", body = Changed)),
)]
pub(crate) async fn unfeature(
    app: State<Arc<App>>,
    machine: Photographer,
    body: Selection,
) -> ApiResult<Json<Changed>> {
    let photos = selection(body)?;
    Ok(Json(Changed { changed: app.catalog.feature(machine.0.event, &photos, false).await? }))
}

fn selection(body: Selection) -> ApiResult<Vec<PhotoId>> {
    let Json(selection) = body.map_err(|_| ApiError::bad("expected {\"photos\": [\"…\"]}"))?;
    if selection.photos.len() > MAX_SELECTION {
        return Err(ApiError::bad(format!("at most {MAX_SELECTION} photos at once")));
    }
    Ok(selection.photos)
}

async fn decide(app: &App, machine: Photographer, body: Selection, decision: Decision) -> ApiResult<Json<Changed>> {
    let photos = selection(body)?;
    let event = machine.0.event;
    let seen = app.matching.seen_again(event).await;
    let find = |photos: &[_], enrolments: &[_]| seen.find(photos, enrolments);
    let recogniser = Recogniser { pack: seen.pack(), find: &find };
    let changed = app.catalog.decide(event, &photos, decision, &recogniser).await?;
    app.live.wake();
    Ok(Json(Changed { changed }))
}

/// `GET /api/photos/reports`: what guests want taken down and nobody has looked at.
#[utoipa::path(
    get, path = "/api/photos/reports", tag = "photographer", operation_id = "reports",
    security(("photographer" = [])),
    responses((status = 200, description = "Open reports, oldest first; show, hide or delete resolves them", body = [Report])),
)]
pub(crate) async fn reports(app: State<Arc<App>>, machine: Photographer) -> ApiResult<Json<Vec<Report>>> {
    Ok(Json(app.catalog.reports(machine.0.event).await?))
}

/// `DELETE /api/photo/{id}`: with everything derived from it; it is not taken again.
#[utoipa::path(
    delete, path = "/api/photo/{id}", tag = "photographer", operation_id = "delete_photo",
    security(("photographer" = [])),
    params(("id" = String, Path, description = "Photo id")),
    responses((status = 200, description = "Deleted", body = Changed)),
)]
pub(crate) async fn delete(
    app: State<Arc<App>>,
    machine: Photographer,
    Path(id): Path<String>,
) -> ApiResult<Json<Changed>> {
    let nothing = || ApiError::new(Code::NotFound);
    let (event, id) = (machine.0.event, id.parse::<PhotoId>().map_err(|_| nothing())?);
    if !app.catalog.delete_photo(event, id).await? {
        return Err(nothing());
    }
    app.live.wake();
    let store = app.store.clone();
    crate::uploads::blocking(move || store.remove_photo(event, id)).await.map_err(ApiError::internal)?;
    app.catalog.set_swept(event, id).await?;
    Ok(Json(Changed { changed: 1 }))
}
