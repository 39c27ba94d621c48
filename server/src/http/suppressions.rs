//! What an operator does about people who are never matched: look which there are, lift one that somebody asked for with
//! another's picture, confirm one that was held for that suspicion. Never the picture, what was measured, or who it was.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use findme_common::protocol::{Code, SuppressionItem};

use super::App;
use super::auth::Operator;
use super::operator::event;
use super::problem::{ApiError, ApiResult};

/// `GET /api/admin/events/{id}/suppressions`.
#[utoipa::path(
    get, path = "/api/admin/events/{id}/suppressions", tag = "operator", operation_id = "suppressions",
    security(("operator" = [])),
    params(("id" = String, Path, description = "Event id")),
    responses((status = 200, description = "Who is never to be matched, oldest first", body = [SuppressionItem])),
)]
pub(crate) async fn list(
    app: State<Arc<App>>,
    _: Operator,
    Path(id): Path<String>,
) -> ApiResult<Json<Vec<SuppressionItem>>> {
    let event = event(&app, &id).await?;
    Ok(Json(app.catalog.suppressions(event.id).await?))
}

/// `DELETE /api/admin/events/{id}/suppressions/{suppression}`: lifts one; the photos that lost faces to it are indexed
/// again.
#[utoipa::path(
    delete, path = "/api/admin/events/{id}/suppressions/{suppression}", tag = "operator",
    operation_id = "lift_suppression",
    security(("operator" = [])),
    params(
        ("id" = String, Path, description = "Event id"),
        ("suppression" = i64, Path, description = "The suppression's id"),
    ),
    responses((status = 204, description = "Lifted")),
)]
pub(crate) async fn lift(
    app: State<Arc<App>>,
    _: Operator,
    Path((id, suppression)): Path<(String, String)>,
) -> ApiResult<StatusCode> {
    let event = event(&app, &id).await?;
    let lifted = match suppression.parse() {
        Ok(suppression) => app.catalog.lift_suppression_of(event.id, suppression).await?,
        Err(_) => false,
    };
    app.work.notify_one();
    if lifted { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::new(Code::NotFound)) }
}

/// `POST /api/admin/events/{id}/suppressions/{suppression}/confirm`: puts one that was held into force.
#[utoipa::path(
    post, path = "/api/admin/events/{id}/suppressions/{suppression}/confirm", tag = "operator",
    operation_id = "confirm_suppression",
    security(("operator" = [])),
    params(
        ("id" = String, Path, description = "Event id"),
        ("suppression" = i64, Path, description = "The suppression's id"),
    ),
    responses((status = 204, description = "In force")),
)]
pub(crate) async fn confirm(
    app: State<Arc<App>>,
    _: Operator,
    Path((id, suppression)): Path<(String, String)>,
) -> ApiResult<StatusCode> {
    let event = event(&app, &id).await?;
    let confirmed = match suppression.parse() {
        Ok(suppression) => app.catalog.confirm_suppression(event.id, suppression).await?,
        Err(_) => false,
    };
    if !confirmed {
        return Err(ApiError::new(Code::NotFound));
    }
    app.matching.apply_suppressions().await?;
    Ok(StatusCode::NO_CONTENT)
}
