//! What a photographer does with photos that are on the server: show, hide, delete. Only those of their own event.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use findme_common::PhotoId;
use findme_common::protocol::{Changed, Code, PhotoSelection};

use super::App;
use super::auth::Photographer;
use super::problem::{ApiError, ApiResult};

/// Photos that one request may name.
const MAX_SELECTION: usize = 1000;

type Selection = Result<Json<PhotoSelection>, JsonRejection>;

/// `POST /api/photos/show`: guests see them again.
#[utoipa::path(
    post, path = "/api/photos/show", tag = "photographer", operation_id = "show_photos",
    security(("photographer" = [])),
    request_body = PhotoSelection,
    responses((status = 200, description = "How many are shown now that were not", body = Changed)),
)]
pub(crate) async fn show(app: State<Arc<App>>, machine: Photographer, body: Selection) -> ApiResult<Json<Changed>> {
    set_hidden(&app, machine, body, false).await
}

/// `POST /api/photos/hide`: guests see them no more.
#[utoipa::path(
    post, path = "/api/photos/hide", tag = "photographer", operation_id = "hide_photos",
    security(("photographer" = [])),
    request_body = PhotoSelection,
    responses((status = 200, description = "How many are hidden now that were not", body = Changed)),
)]
pub(crate) async fn hide(app: State<Arc<App>>, machine: Photographer, body: Selection) -> ApiResult<Json<Changed>> {
    set_hidden(&app, machine, body, true).await
}

async fn set_hidden(app: &App, machine: Photographer, body: Selection, hidden: bool) -> ApiResult<Json<Changed>> {
    let Json(selection) = body.map_err(|_| ApiError::bad("expected {\"photos\": [\"…\"]}"))?;
    if selection.photos.len() > MAX_SELECTION {
        return Err(ApiError::bad(format!("at most {MAX_SELECTION} photos at once")));
    }
    let changed = app.catalog.set_hidden(machine.0.event, &selection.photos, hidden).await?;
    app.live.wake();
    Ok(Json(Changed { changed }))
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
