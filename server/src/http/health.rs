//! Is the process alive, and can it do its work. Neither ever runs a model.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::App;

/// `GET /livez`.
pub(crate) async fn livez() -> &'static str {
    "alive\n"
}

#[derive(Debug, Serialize)]
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
