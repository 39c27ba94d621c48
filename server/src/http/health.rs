//! Is the process alive, and can it do its work. Neither ever runs a model.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use findme_common::protocol::{Code, path};
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::auth::Operator;
use super::problem::{ApiError, ApiResult};
use crate::clock::now_ms;
use crate::metrics::{self, Moment};

/// A job that could run for this long and does not is a sign that nobody works. Newer photos go first, so a busy server
/// has jobs that wait for minutes.
const STUCK_MS: i64 = 600_000;

/// The catalogue's writer is given this long; commits take milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

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

impl Ready {
    fn refuse(&mut self, reason: &str) {
        self.ready = false;
        self.reasons.push(reason.to_owned());
    }
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
            ready.refuse("the catalogue does not answer");
        }
    }
    let written = tokio::time::timeout(PATIENCE, app.catalog.can_be_written()).await;
    if !matches!(written, Ok(Ok(()))) {
        tracing::error!(?written, "the catalogue cannot be written");
        ready.refuse("the catalogue cannot be written");
    }
    if let Err(error) = app.site.vault.knows_events() {
        tracing::error!(%error, "the keys cannot be read");
        ready.refuse("the keys cannot be read");
    }
    let store = app.store.clone();
    let answers = tokio::time::timeout(PATIENCE, crate::uploads::blocking(move || store.answers())).await;
    if !matches!(answers, Ok(Ok(()))) {
        tracing::error!(?answers, "the photos cannot be reached");
        ready.refuse("the photos cannot be reached");
    }
    match app.catalog.oldest_job_age().await {
        Ok(Some(age)) if age > STUCK_MS => {
            ready.reasons.push(format!("no worker has taken a photo that waits since {} s", age / 1000));
        }
        Ok(_) => {}
        Err(error) => tracing::error!(%error, "the queue cannot be looked at"),
    }
    if app.room_for(0).is_err() {
        ready.refuse("the disk is full");
    }
    if let Some(problem) = app.matching.faces_problem() {
        ready.reasons.push(problem);
    }
    let status = if ready.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(ready)).into_response()
}

/// What the process counts, for Prometheus. Only while it has no listener of its own.
#[utoipa::path(
    get,
    path = path::METRICS,
    tag = "health",
    operation_id = "metrics",
    security(("operator" = [])),
    responses((status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text")),
)]
pub(crate) async fn metrics(State(app): State<Arc<App>>, _: Operator) -> ApiResult {
    if app.metrics_apart {
        return Err(ApiError::new(Code::NotFound));
    }
    Ok(metrics_alone(State(app)).await)
}

/// The same on a listener that only shows this, which nobody but the operator's own network reaches.
pub(crate) async fn metrics_alone(State(app): State<Arc<App>>) -> Response {
    let (queue, waiting_for_models) = app.catalog.queue_depth().await.unwrap_or_default();
    let oldest_job = app.catalog.oldest_job_age().await.unwrap_or_default().map(|age| age as f64 / 1000.0);
    let erasures_pending = app.catalog.erasures_pending(now_ms()).await.ok();
    let disk_free = app.store.free_bytes();
    let moment = Moment { queue, waiting_for_models, oldest_job, disk_free, erasures_pending };
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::get().render(moment)).into_response()
}
