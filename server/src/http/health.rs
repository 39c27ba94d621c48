//! Is the process alive, and can it do its work. Neither ever runs a model.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use findme_common::protocol::path;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;

/// A job that could run for this long and does not is a sign that nobody works. Newer photos go first, so a busy server
/// has jobs that wait for minutes.
const STUCK_MS: i64 = 600_000;

/// `GET /livez`.
#[utoipa::path(
    get, path = path::LIVEZ, tag = "health", operation_id = "livez",
    responses((status = 200, description = "Alive", body = String)),
)]
pub(crate) async fn livez() -> &'static str {
    "alive\n"
}

#[derive(Debug, Serialize, ToSchema)]
struct Ready {
    ready: bool,
    /// Why not, or what only half works.
    reasons: Vec<String>,
    /// Jobs that are not done, and those of them that wait for models.
    queue: i64,
    waiting_for_models: i64,
}

/// `GET /readyz`: 503 when uploads could not be taken. Missing models are a reason, not a refusal: photos are stored and
/// shown, their faces wait.
#[utoipa::path(
    get, path = path::READYZ, tag = "health", operation_id = "readyz",
    responses(
        (status = 200, description = "Uploads can be taken", body = Ready),
        (status = 503, description = "They cannot; the reasons say why", body = Ready),
    ),
)]
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> Response {
    let mut ready = Ready { ready: true, reasons: Vec::new(), queue: 0, waiting_for_models: 0 };
    match app.catalog.queue_depth().await {
        Ok((queue, waiting)) => (ready.queue, ready.waiting_for_models) = (queue, waiting),
        Err(error) => {
            tracing::error!(%error, "catalogue does not answer");
            ready.ready = false;
            ready.reasons.push("the catalogue does not answer".to_owned());
        }
    }
    match app.catalog.oldest_job_age().await {
        Ok(Some(age)) if age > STUCK_MS => {
            ready.reasons.push(format!("no worker has taken a photo that waits since {} s", age / 1000));
        }
        Ok(_) => {}
        Err(error) => tracing::error!(%error, "the queue cannot be looked at"),
    }
    if app.room_for(0).is_err() {
        ready.ready = false;
        ready.reasons.push("the disk is full".to_owned());
    }
    if let Some(problem) = app.matching.faces_problem() {
        ready.reasons.push(problem);
    }
    let status = if ready.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(ready)).into_response()
}
