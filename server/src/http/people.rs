//! The people of an event, for its operator: who is in how many photos, what they look like, and hiding one everywhere.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::IntoResponse;
use findme_common::PhotoId;
use findme_common::protocol::{Code, FaceBox, HidePerson, People, Person, PersonHidden};
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::auth::Operator;
use super::operator::{Body, NO_STORE, event, read};
use super::problem::{ApiError, ApiResult};
use crate::catalog::{Decision, Recogniser};
use crate::matching::Gathering;
use crate::picture::{self, Pixels};
use crate::store::Rendition;

/// People that are listed unless more are asked for.
const USUALLY: usize = 100;
/// People that are listed at most.
const MOST: usize = 1000;

/// Longer side of the picture of a face, in pixels.
const FACE_SIDE: u32 = 200;

/// How many people are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PeopleQuery {
    /// 100 unless said otherwise, 1000 at most.
    limit: Option<usize>,
}

async fn gathering(app: &App, event: findme_common::EventId) -> ApiResult<Gathering> {
    let found = app.matching.people(event).await?;
    found.ok_or_else(|| ApiError::new(Code::FacesUnavailable).detail("faces are not compared on this server"))
}

/// `GET /api/admin/events/{id}/people`: faces in groups, each taken to be one person's; never who.
#[utoipa::path(
    get, path = "/api/admin/events/{id}/people", tag = "operator", operation_id = "people",
    security(("operator" = [])),
    params(("id" = String, Path, description = "Event id"), PeopleQuery),
    responses((status = 200, description = "Those in the most photos first", body = People)),
)]
pub(crate) async fn list(
    app: State<Arc<App>>,
    _: Operator,
    Path(id): Path<String>,
    query: Query<PeopleQuery>,
) -> ApiResult {
    let event = event(&app, &id).await?;
    let found = gathering(&app, event.id).await?;
    let mut people = Vec::new();
    for group in found.groups.iter().take(query.limit.unwrap_or(USUALLY).min(MOST)) {
        let face = group.faces.first().copied().unwrap_or_default();
        // One that is gone by now is nobody's any more.
        let Some((photo, area)) = app.catalog.face_place(event.id, face).await? else { continue };
        people.push(Person { face, photo, area, photos: group.photos.len() as u64 });
    }
    let guests = super::board::guest_counts(&app, event.id).await?;
    let people = People { people, groups: found.groups.len() as u64, faces: found.faces as u64, guests };
    Ok((NO_STORE, Json(people)).into_response())
}

/// `GET /api/admin/events/{id}/people/{face}/picture`: a face, cut out of its photo's preview.
#[utoipa::path(
    get, path = "/api/admin/events/{id}/people/{face}/picture", tag = "operator", operation_id = "face_picture",
    security(("operator" = [])),
    params(("id" = String, Path, description = "Event id"), ("face" = i64, Path, description = "A face")),
    responses((status = 200, description = "The face", body = [u8], content_type = "image/jpeg")),
)]
pub(crate) async fn face(app: State<Arc<App>>, _: Operator, Path((id, face)): Path<(String, String)>) -> ApiResult {
    let event = event(&app, &id).await?.id;
    let face = face.parse().map_err(|_| ApiError::new(Code::NotFound))?;
    let place = app.catalog.face_place(event, face).await?;
    let (photo, area) = place.ok_or_else(|| ApiError::new(Code::NotFound))?;
    let (store, limits) = (app.store.clone(), app.limits.picture());
    let cpu = app.matching.cpu();
    let turn = cpu.turn().await.map_err(ApiError::internal)?;
    let cut = move || {
        let preview = store.local(event, photo, Rendition::Preview).map_err(|error| error.to_string())?;
        let preview = picture::open(&preview, &limits).map_err(|error| error.to_string())?;
        picture::jpeg_of(&around(&preview.pixels, &area), FACE_SIDE).map_err(|error| error.to_string())
    };
    let jpeg = cpu.run(turn, cut).await.map_err(ApiError::internal)?.map_err(ApiError::internal)?;
    Ok((NO_STORE, [(header::CONTENT_TYPE, "image/jpeg")], jpeg).into_response())
}

/// A face with something of what is around it.
fn around(pixels: &Pixels, area: &FaceBox) -> Pixels {
    let (w, h) = (pixels.width() as f32, pixels.height() as f32);
    let side = (area.width * w).max(area.height * h) * 1.6;
    let (middle_x, middle_y) = ((area.x + area.width / 2.0) * w, (area.y + area.height / 2.0) * h);
    let from = |middle: f32, end: f32| (middle - side / 2.0).clamp(0.0, (end - 1.0).max(0.0)) as u32;
    pixels.part(from(middle_x, w), from(middle_y, h), side.ceil() as u32, side.ceil() as u32)
}

/// `POST /api/admin/events/{id}/people/{face}/hide`: the person of this face is found in no photo any more, neither those
/// that are there nor those that come; if asked for, guests see no photo that they are in.
#[utoipa::path(
    post, path = "/api/admin/events/{id}/people/{face}/hide", tag = "operator", operation_id = "hide_person",
    security(("operator" = [])),
    params(("id" = String, Path, description = "Event id"), ("face" = i64, Path, description = "A face of theirs")),
    request_body = HidePerson,
    responses((status = 200, description = "What was hidden", body = PersonHidden)),
)]
pub(crate) async fn hide(
    app: State<Arc<App>>,
    _: Operator,
    Path((id, face)): Path<(String, String)>,
    body: Body<HidePerson>,
) -> ApiResult {
    let wanted = read(body)?;
    let event = event(&app, &id).await?.id;
    let face: i64 = face.parse().map_err(|_| ApiError::new(Code::NotFound))?;
    let found = gathering(&app, event).await?;
    let group = found.groups.iter().find(|group| group.faces.contains(&face));
    let group = group.ok_or_else(|| ApiError::new(Code::NotFound))?;
    let suppression = app.catalog.suppress_faces(event, &group.faces).await?;
    let suppression = suppression.ok_or_else(|| ApiError::new(Code::NotFound))?;
    let photos: Vec<PhotoId> = group.photos.iter().copied().collect();
    let hidden = if wanted.photos {
        let seen = app.matching.seen_again(event).await;
        let find = |photos: &[_], enrolments: &[_]| seen.find(photos, enrolments);
        let recogniser = Recogniser { pack: seen.pack(), find: &find };
        app.catalog.decide(event, &photos, Decision::Hide, &recogniser).await?
    } else {
        0
    };
    // Faces of theirs that were in no group, or in another.
    app.matching.apply_suppressions().await?;
    app.live.wake();
    Ok((NO_STORE, Json(PersonHidden { suppression, photos, hidden })).into_response())
}
