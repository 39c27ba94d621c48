//! «Yes, me» and «not me»: what guests say about photos that they were found in.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use findme_common::PhotoId;
use findme_common::protocol::{Changed, Code, Verdict};

use super::App;
use super::auth::Session;
use super::problem::{ApiError, ApiResult};

/// `POST /api/my-photos/{photo}`: whether the guest is in it. Remembered until they are erased.
#[utoipa::path(
    post, path = "/api/my-photos/{id}", tag = "guests", operation_id = "say_mine",
    security(("guest" = [])),
    params(("id" = String, Path, description = "Photo id, of a photo in which the guest was found")),
    request_body = Verdict,
    responses((status = 200, description = "1 when that is new", body = Changed)),
)]
pub(crate) async fn say_mine(
    State(app): State<Arc<App>>,
    Session(guest): Session,
    Path(id): Path<String>,
    body: Result<Json<Verdict>, axum::extract::rejection::JsonRejection>,
) -> ApiResult<Json<Changed>> {
    let Json(verdict) = body.map_err(|_| ApiError::bad("expected {\"mine\": true}, false or null"))?;
    let photo: PhotoId = id.parse().map_err(|_| ApiError::new(Code::NotFound))?;
    let said = app.matching.say(&guest, photo, verdict.mine).await?;
    let changed = said.ok_or_else(|| ApiError::new(Code::NotFound).detail("you were not found in this photo"))?;
    Ok(Json(Changed { changed: changed.into() }))
}
