//! Photos that need attention, for their photographer and for the operator, and putting photos into the queue again.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use findme_common::EventId;
use findme_common::protocol::{AttentionList, Changed, Code, ReindexRequest, RetryRequest, path};

use super::App;
use super::auth::{Operator, Photographer};
use super::lists::{Asked, PageQuery, asked};
use super::problem::{ApiError, ApiResult};
use crate::catalog::Requeue;

/// Photos that one request may name.
const MAX_SELECTION: usize = 1000;

type Body<T> = Result<Json<T>, JsonRejection>;

/// `GET /api/photos/attention`: those of the photographer's event.
#[utoipa::path(
    get, path = path::ATTENTION, tag = "photographer", operation_id = "attention",
    security(("photographer" = [])),
    params(PageQuery),
    responses((status = 200, description = "One page", body = AttentionList)),
)]
pub(crate) async fn attention(
    app: State<Arc<App>>,
    machine: Photographer,
    page: Asked,
) -> ApiResult<Json<AttentionList>> {
    list(&app, Some(machine.0.event), page).await
}

/// `GET /api/admin/jobs`: those of all events.
#[utoipa::path(
    get, path = "/api/admin/jobs", tag = "operator", operation_id = "attention_of_all_events",
    security(("operator" = [])),
    params(PageQuery),
    responses((status = 200, description = "One page", body = AttentionList)),
)]
pub(crate) async fn admin_attention(app: State<Arc<App>>, _: Operator, page: Asked) -> ApiResult<Json<AttentionList>> {
    list(&app, None, page).await
}

/// `POST /api/photos/retry`: puts photos of the event that failed or are put off into the queue again.
#[utoipa::path(
    post, path = path::RETRY, tag = "photographer", operation_id = "retry_photos",
    security(("photographer" = [])),
    request_body = RetryRequest,
    responses((status = 200, description = "How many are queued", body = Changed)),
)]
pub(crate) async fn retry(
    app: State<Arc<App>>,
    machine: Photographer,
    body: Body<RetryRequest>,
) -> ApiResult<Json<Changed>> {
    again(&app, Some(machine.0.event), body).await
}

/// `POST /api/admin/jobs/retry`: the same over all events.
#[utoipa::path(
    post, path = "/api/admin/jobs/retry", tag = "operator", operation_id = "retry_jobs",
    security(("operator" = [])),
    request_body = RetryRequest,
    responses((status = 200, description = "How many are queued", body = Changed)),
)]
pub(crate) async fn admin_retry(
    app: State<Arc<App>>,
    _: Operator,
    body: Body<RetryRequest>,
) -> ApiResult<Json<Changed>> {
    again(&app, None, body).await
}

/// `POST /api/admin/events/{id}/reindex`: all photos of an event, or those that failed, are indexed again. What is
/// searchable stays so until it is replaced.
#[utoipa::path(
    post, path = "/api/admin/events/{id}/reindex", tag = "operator", operation_id = "reindex_event",
    security(("operator" = [])),
    params(("id" = String, Path, description = "Event id")),
    request_body = ReindexRequest,
    responses((status = 200, description = "How many are queued", body = Changed)),
)]
pub(crate) async fn reindex(
    app: State<Arc<App>>,
    _: Operator,
    Path(id): Path<String>,
    body: Body<ReindexRequest>,
) -> ApiResult<Json<Changed>> {
    let Json(request) = body.map_err(|error| ApiError::bad(error.body_text()))?;
    let event = event(&app, &id).await?;
    let which = if request.failed { Requeue::Failed } else { Requeue::All };
    let changed = app.catalog.requeue(Some(event), which).await?;
    app.work.notify_one();
    Ok(Json(Changed { changed }))
}

/// `POST /api/admin/events/{id}/rematch`: tells guests of photos that they were not told of, by today's thresholds.
#[utoipa::path(
    post, path = "/api/admin/events/{id}/rematch", tag = "operator", operation_id = "rematch_event",
    security(("operator" = [])),
    params(("id" = String, Path, description = "Event id")),
    responses((status = 200, description = "How many times a guest was told of a photo", body = Changed)),
)]
pub(crate) async fn rematch(app: State<Arc<App>>, _: Operator, Path(id): Path<String>) -> ApiResult<Json<Changed>> {
    let event = event(&app, &id).await?;
    let changed = app.matching.rematch(event, |_, _| ()).await.map_err(ApiError::internal)?;
    app.live.wake();
    Ok(Json(Changed { changed }))
}

async fn event(app: &App, id: &str) -> ApiResult<EventId> {
    let nothing = || ApiError::new(Code::NotFound);
    let id: EventId = id.parse().map_err(|_| nothing())?;
    Ok(app.catalog.event(id).await?.ok_or_else(nothing)?.id)
}

async fn list(app: &App, event: Option<EventId>, page: Asked) -> ApiResult<Json<AttentionList>> {
    let page = asked(page)?;
    Ok(Json(app.catalog.attention(event, page.after, page.limit()).await?))
}

async fn again(app: &App, event: Option<EventId>, body: Body<RetryRequest>) -> ApiResult<Json<Changed>> {
    let Json(request) = body.map_err(|error| ApiError::bad(error.body_text()))?;
    if request.photos.len() > MAX_SELECTION {
        return Err(ApiError::bad(format!("at most {MAX_SELECTION} photos at once")));
    }
    let which = if request.all { Requeue::Failed } else { Requeue::These(&request.photos) };
    let changed = app.catalog.requeue(event, which).await?;
    app.work.notify_one();
    Ok(Json(Changed { changed }))
}
