//! What an operator looks at besides events: room, face search and how sure it is here, and the log of what was erased.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use findme_common::protocol::{Accuracy, AuditList, FaceFacts, FaceSearch, SystemFacts};

use super::App;
use super::auth::Operator;
use super::lists::{Asked, asked};
use super::problem::{ApiError, ApiResult};
use crate::evaluate::Figures;
use crate::face::default_pack;
use crate::matching::FaceState;

/// `GET /api/admin/system`.
#[utoipa::path(
    get, path = "/api/admin/system", tag = "operator", operation_id = "system",
    security(("operator" = [])),
    responses((status = 200, description = "Room, face search, and the figures of the last `evaluate`", body = SystemFacts)),
)]
pub(crate) async fn system(State(app): State<Arc<App>>, _: Operator) -> ApiResult {
    let root = app.store.root().to_owned();
    let figures = crate::uploads::blocking(move || Figures::last(&root)).await.map_err(ApiError::internal)?;
    let facts = SystemFacts {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        free_bytes: app.store.free_bytes(),
        events: app.catalog.sizes().await?,
        faces: faces(app.matching.faces()),
        accuracy: figures.map(accuracy),
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(facts)).into_response())
}

fn faces(state: &FaceState) -> FaceFacts {
    let (word, problem, engine, pack) = match state {
        FaceState::Ready(engine, pack) => (FaceSearch::Ready, None, Some(engine.runtime().to_owned()), Some(*pack)),
        FaceState::Remote(_) => (FaceSearch::Ready, None, Some("rekognition".to_owned()), None),
        FaceState::Waiting(problem, pack) => (FaceSearch::Waiting, Some(problem.clone()), None, Some(*pack)),
        FaceState::Off => (FaceSearch::Off, None, None, Some(default_pack())),
    };
    FaceFacts {
        state: word,
        problem,
        pack: pack.map(|pack| pack.name.clone()),
        licence: pack.map(|pack| pack.licence.clone()),
        engine,
        you_from: pack.map(|pack| pack.thresholds.you.get()),
        maybe_floor: pack.map(|pack| pack.thresholds.maybe_floor.get()),
    }
}

fn accuracy(figures: Figures) -> Accuracy {
    let bands = figures.all.bands;
    Accuracy {
        made_at: figures.made_at,
        set: figures.set,
        pack: figures.pack,
        photos: figures.photos as u64,
        searches: figures.all.mated as u64,
        strangers: figures.all.strangers as u64,
        you_precision: bands.you.precision,
        you_recall: bands.you.recall,
        both_recall: bands.both.recall,
        strangers_shown: bands.you.fpir,
    }
}

/// `GET /api/admin/audit`.
#[utoipa::path(
    get, path = "/api/admin/audit", tag = "operator", operation_id = "audit",
    security(("operator" = [])),
    params(super::lists::PageQuery),
    responses((status = 200, description = "What was erased and reported, newest first", body = AuditList)),
)]
pub(crate) async fn audit(State(app): State<Arc<App>>, _: Operator, page: Asked) -> ApiResult<Json<AuditList>> {
    let page = asked(page)?;
    Ok(Json(app.catalog.audit(page.after, page.limit()).await?))
}
