//! Guests: join by code, find oneself by a selfie, see what is held, erase it. The selfie lives in memory for one search
//! and is never written anywhere.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Multipart, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use findme_common::protocol::{
    Changed, Code, ErasureReceipt, Held, JoinRequest, Joined, Looked, NeverMatched, ReportTaken, SelfieResult,
    SuppressionState, path,
};
use findme_common::{GuestId, JoinCode, Secret};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::auth::{COOKIE, Session, Viewer};
use super::bytes;
use super::client::Client;
use super::problem::{ApiError, ApiResult};
use super::uploads::{answer, pieces, shared};
use crate::catalog::{Agreed, Event, Guest, Purpose, Reported, SESSION_MS};
use crate::clock::{now_ms, rfc3339};
use crate::limits::Limits;
use crate::matching::{FaceState, MOST_PEOPLE, SelfieError};

/// Version of the consent text that the pages show. Changing the text means changing this.
pub(crate) const CONSENT_TEXT: &str = "2026-11-1";

/// Version of the text for somebody else in the picture, whom the guest looks for too.
pub(crate) const OTHERS_TEXT: &str = "2026-11-3";

/// Version of the text of «never match me». Changing the text means changing this.
pub(crate) const NEVER_TEXT: &str = "2026-11-2";

/// Version of what each of these says besides where a service elsewhere looks at the picture.
pub(crate) const SERVICE_TEXT: &str = "2026-11-4";

/// A selfie waits this long for room in memory before its guest is asked to try again.
const SELFIE_WAIT: Duration = Duration::from_secs(20);

/// A selfie has to be there after this long; whoever sends a byte now and then must not hold room for ever.
const SELFIE_TIME: Duration = Duration::from_secs(120);

/// `POST /api/join`: a session for whoever has the code.
#[utoipa::path(
    post, path = path::JOIN, tag = "guests", operation_id = "join",
    request_body = JoinRequest,
    responses((status = 200, description = "Joined; the session is in the cookie", body = Joined)),
)]
pub(crate) async fn join(
    State(app): State<Arc<App>>,
    client: Client,
    body: Result<Json<JoinRequest>, axum::extract::rejection::JsonRejection>,
) -> ApiResult {
    let Json(request) = body.map_err(|_| ApiError::bad("expected {\"code\": \"…\"}"))?;
    let code: JoinCode =
        request.code.parse().map_err(|_| ApiError::new(Code::NotFound).detail("no event has this code"))?;
    let (event, cookie) = open_session(&app, &client, &code).await?;
    let mut response = Json(Joined { event }).into_response();
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Starts a guest's session; the event's name and the cookie that carries it.
pub(crate) async fn open_session(app: &App, client: &Client, code: &JoinCode) -> ApiResult<(String, HeaderValue)> {
    let event = find_event(app, client, code).await?;
    let event = event.ok_or_else(|| ApiError::new(Code::NotFound).detail("no event has this code"))?;
    app.rates.right_code(client.address, code)?;
    let secret = Secret::random().map_err(ApiError::internal)?;
    let guest = GuestId::random().map_err(ApiError::internal)?;
    app.catalog.create_guest(guest, event.id, &secret.hash()).await?;
    Ok((event.name, session_cookie(app, client, &secret)?))
}

/// The cookie that carries a guest's session.
pub(super) fn session_cookie(app: &App, client: &Client, secret: &Secret) -> ApiResult<HeaderValue> {
    let secure = if app.base_url(client).starts_with("https://") { "; Secure" } else { "" };
    let cookie =
        format!("{COOKIE}={}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax{secure}", secret.reveal(), SESSION_MS / 1000);
    HeaderValue::from_str(&cookie).map_err(ApiError::internal)
}

/// The event that has this code. Whoever tries many wrong ones has to wait.
pub(crate) async fn find_event(app: &App, client: &Client, code: &JoinCode) -> ApiResult<Option<Event>> {
    app.rates.may_try(client.address, code)?;
    let event = app.catalog.event_by_code(code).await?;
    if event.is_none() {
        app.rates.wrong_code(client.address);
    }
    Ok(event)
}

/// What a selfie's request says beside the picture.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SelfieQuery {
    /// `yes`: the guest has agreed to the text that was shown.
    consent: Option<String>,
    /// Which face counts, when the answer was that there are several; 0 is the largest.
    face: Option<usize>,
    /// Which of up to five people of this session it is: 0, the guest, unless said otherwise; the picture takes the place
    /// of that person's earlier one.
    person: Option<u8>,
    /// Language of the text that was shown (BCP 47).
    lang: Option<String>,
}

/// A selfie as a form sends it.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "only described; the form is read piece by piece")]
pub(crate) struct SelfieForm {
    /// The picture.
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    file: Vec<u8>,
}

/// The query of a request with a picture.
type Asked = Result<Query<SelfieQuery>, axum::extract::rejection::QueryRejection>;

/// `POST /api/selfie?consent=yes`: records the consent, then finds the guest, and keeps the enrolment.
#[utoipa::path(
    post, path = path::SELFIE, tag = "guests", operation_id = "selfie",
    security(("guest" = [])),
    params(SelfieQuery),
    request_body(content((Vec<u8> = "image/jpeg"), (Vec<u8> = "application/octet-stream"), (SelfieForm = "multipart/form-data"))),
    responses((status = 200, description = "Where the guest was found", body = SelfieResult)),
)]
pub(crate) async fn selfie(
    State(app): State<Arc<App>>,
    Session(guest): Session,
    query: Asked,
    request: Request,
) -> Response {
    with_picture(app, guest, Wish::Find, query, request).await
}

/// `POST /api/selfie/look?consent=yes`: where faces are in a picture, so that a camera can say «come closer» before the
/// selfie is taken. Nothing is measured, compared or kept.
#[utoipa::path(
    post, path = path::SELFIE_LOOK, tag = "guests", operation_id = "look_at_selfie",
    security(("guest" = [])),
    params(SelfieQuery),
    request_body(content((Vec<u8> = "image/jpeg"), (Vec<u8> = "application/octet-stream"), (SelfieForm = "multipart/form-data"))),
    responses((status = 200, description = "The faces in it, largest first", body = Looked)),
)]
pub(crate) async fn look(
    State(app): State<Arc<App>>,
    Session(guest): Session,
    query: Asked,
    request: Request,
) -> Response {
    with_picture(app, guest, Wish::Look, query, request).await
}

/// `POST /api/never-match?consent=yes`: records the consent, then makes faces like the one in the picture findable no
/// more. Nothing is told of what was found; a picture that may be another guest's is held for the operator.
#[utoipa::path(
    post, path = path::NEVER_MATCH, tag = "guests", operation_id = "never_match",
    security(("guest" = [])),
    params(SelfieQuery),
    request_body(content((Vec<u8> = "image/jpeg"), (Vec<u8> = "application/octet-stream"), (SelfieForm = "multipart/form-data"))),
    responses((status = 200, description = "Whether it is in force, or looked at by the organiser first", body = NeverMatched)),
)]
pub(crate) async fn never_match(
    State(app): State<Arc<App>>,
    Session(guest): Session,
    query: Asked,
    request: Request,
) -> Response {
    with_picture(app, guest, Wish::Never, query, request).await
}

/// `DELETE /api/never-match`: lifts it. The photos that lost faces to it are indexed again.
#[utoipa::path(
    delete, path = path::NEVER_MATCH, tag = "guests", operation_id = "lift_never_match",
    security(("guest" = [])),
    responses((status = 200, description = "Whether it was set", body = Changed)),
)]
pub(crate) async fn lift_never_match(State(app): State<Arc<App>>, Session(guest): Session) -> ApiResult<Json<Changed>> {
    let lifted = app.catalog.lift_suppression(guest.event, guest.id).await?;
    app.work.notify_one();
    Ok(Json(Changed { changed: lifted.into() }))
}

/// `POST /api/photo/{id}/report`: takes a photo down until its photographer has looked, or only tells them of it.
#[utoipa::path(
    post, path = "/api/photo/{id}/report", tag = "guests", operation_id = "report_photo",
    security(("guest" = [])),
    params(("id" = String, Path, description = "Photo id")),
    responses((status = 200, description = "Whether guests see it no more until its photographer has looked", body = ReportTaken)),
)]
pub(crate) async fn report(
    State(app): State<Arc<App>>,
    Session(guest): Session,
    Path(id): Path<String>,
) -> ApiResult<Json<ReportTaken>> {
    // Only what one may see: the same rule as for its bytes.
    let (photo, _) = bytes::find(&app, Viewer::Guest(guest), &id).await?;
    let hidden = match app.catalog.report(guest.event, photo, guest.id, app.limits.max_reported).await? {
        Reported::Down => true,
        Reported::Queued => false,
        Reported::TooMany => {
            return Err(
                ApiError::new(Code::TooManyRequests).detail("the photographer has to look at your reports first")
            );
        }
    };
    app.live.wake();
    Ok(Json(ReportTaken { hidden }))
}

/// What a guest sends a picture for.
#[derive(Debug, Clone, Copy)]
enum Wish {
    /// To be found, now and later.
    Find,
    /// To be told where the faces in it are.
    Look,
    /// To be found never more.
    Never,
}

async fn with_picture(app: Arc<App>, guest: Guest, wish: Wish, query: Asked, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    // A refusal comes before the picture was read: a phone must still get to read it.
    let body = shared(body);
    let request = Request::from_parts(parts, Body::from_stream(pieces(&body)));
    let result = grant(app, guest, wish, query, request).await;
    answer(result, &body).await
}

async fn grant(app: Arc<App>, guest: Guest, wish: Wish, query: Asked, request: Request) -> ApiResult {
    let Query(query) = query.map_err(|_| ApiError::bad("face and person are numbers"))?;
    let person = query.person.unwrap_or(0);
    if person >= MOST_PEOPLE {
        return Err(ApiError::bad(format!("person is 0 to {}", MOST_PEOPLE - 1)));
    }
    if query.consent.as_deref() != Some("yes") {
        return Err(ApiError::new(Code::ConsentRequired));
    }
    let event = app.catalog.event(guest.event).await?.ok_or_else(|| ApiError::new(Code::NotJoined))?;
    if !event.faces {
        return Err(ApiError::new(Code::FacesUnavailable).detail("face search is off for this event"));
    }
    let language = query.lang.as_deref().map(language).unwrap_or_else(|| accepted_language(request.headers()));
    // Consent is on record before a byte of the picture is looked at.
    let (purpose, text) = match wish {
        Wish::Find | Wish::Look if person == 0 => (Purpose::Search, CONSENT_TEXT),
        Wish::Find | Wish::Look => (Purpose::Search, OTHERS_TEXT),
        Wish::Never => (Purpose::Never, NEVER_TEXT),
    };
    let text = match app.matching.faces() {
        FaceState::Remote(_) => format!("{text}+{SERVICE_TEXT}"),
        FaceState::Ready(..) | FaceState::Waiting(..) | FaceState::Off => text.to_owned(),
    };
    app.catalog.record_consent_to(purpose, guest.id, &text, &language).await?;
    // Held until the picture was looked at.
    let _room = reserve(&app.selfie_room, &app.limits, request.headers(), SELFIE_WAIT).await?;
    let picture = tokio::time::timeout(SELFIE_TIME, picture(request, &app)).await;
    let picture = picture.map_err(|_| ApiError::bad("the picture came too slowly"))??;
    match wish {
        Wish::Look => {
            let faces = app.matching.faces_in(picture).await.map_err(selfie_problem)?;
            Ok(Json(Looked { faces }).into_response())
        }
        Wish::Find => {
            let found = app.matching.enrol_selfie((guest.event, guest.id, person), picture, query.face).await;
            Ok(Json(found.map_err(selfie_problem)?).into_response())
        }
        Wish::Never => {
            let agreed = Agreed { text: &text, language: &language };
            let state = app.matching.never_match((guest.event, guest.id), picture, query.face, agreed).await;
            Ok(Json(NeverMatched { state: state.map_err(selfie_problem)? }).into_response())
        }
    }
}

fn selfie_problem(error: SelfieError) -> ApiError {
    match error {
        SelfieError::NotAPicture => ApiError::new(Code::NotAPicture),
        SelfieError::NoFace => ApiError::new(Code::NoFace),
        SelfieError::ManyFaces(faces) => ApiError::new(Code::ManyFaces).faces(faces),
        SelfieError::NoSuchFace(count) => ApiError::bad(format!("face is 0 to {}", count.saturating_sub(1))),
        SelfieError::NoModels => ApiError::new(Code::FacesUnavailable).detail("the server has no face models yet"),
        SelfieError::Unavailable => {
            ApiError::new(Code::FacesUnavailable).detail("face search is not available now; try again later")
        }
        SelfieError::Erased => ApiError::new(Code::ConsentRequired).detail("erased meanwhile"),
        SelfieError::Gone => ApiError::new(Code::NotFound),
        SelfieError::Fault(cause) => ApiError::internal(cause),
    }
}

/// Steps in which memory for selfies is given out, in bytes.
const SELFIE_UNIT: u64 = 64 * 1024;

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(SELFIE_UNIT)).unwrap_or(u32::MAX)
}

/// All memory for selfies, in [`SELFIE_UNIT`]s: at least one of the largest.
pub(crate) fn selfie_units(limits: &Limits) -> u32 {
    units(limits.selfie_memory.0.max(limits.max_selfie.0)).max(1)
}

/// Room for a selfie before its first byte is read: however many guests send one at a time, memory is bounded.
async fn reserve(
    room: &Arc<Semaphore>,
    limits: &Limits,
    headers: &HeaderMap,
    wait: Duration,
) -> ApiResult<OwnedSemaphorePermit> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let bytes: u64 = announced.unwrap_or(limits.max_selfie.0);
    if bytes > limits.max_selfie.0 {
        return Err(ApiError::new(Code::TooLarge));
    }
    // However small it is, it has a share: that bounds how many there are.
    let all = selfie_units(limits);
    let permits = units(bytes).max(all / limits.max_selfies.max(1)).clamp(1, all);
    match tokio::time::timeout(wait, room.clone().acquire_many_owned(permits)).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(ApiError::new(Code::Busy)),
    }
}

/// The picture of a request: its body, or the first file of a form.
async fn picture(request: Request, app: &Arc<App>) -> ApiResult<Bytes> {
    let kind = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_ascii_lowercase();
    let broken = |status: StatusCode| match status {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(Code::TooLarge),
        _ => ApiError::bad("the body cannot be read"),
    };
    if kind.starts_with("multipart/form-data") {
        let mut form = Multipart::from_request(request, app).await.map_err(|error| broken(error.status()))?;
        while let Some(field) = form.next_field().await.map_err(|error| broken(error.status()))? {
            if field.file_name().is_some() {
                return field.bytes().await.map_err(|error| broken(error.status()));
            }
        }
        return Err(ApiError::bad("the form has no file"));
    }
    if kind.starts_with("image/") || kind.starts_with("application/octet-stream") {
        return Bytes::from_request(request, app).await.map_err(|error| broken(error.status()));
    }
    Err(ApiError::new(Code::UnsupportedMediaType).detail("image/* or multipart/form-data"))
}

/// `DELETE /api/selfie`: erases what is held about the guest's face, and says what that was.
#[utoipa::path(
    delete, path = path::SELFIE, tag = "guests", operation_id = "erase",
    security(("guest" = [])),
    responses((status = 200, description = "What was erased", body = ErasureReceipt)),
)]
pub(crate) async fn erase(State(app): State<Arc<App>>, Session(guest): Session) -> ApiResult<Json<ErasureReceipt>> {
    // Erasing must work also when nothing can be found any more, because the event's key is gone.
    let matches = app.matching.find_guest(guest.event, guest.id).await.unwrap_or_default();
    let return_link = app.catalog.has_return_link(guest.id).await?;
    let (enrolments, consents) = app.catalog.erase_guest(guest.id).await?;
    let matches = (matches.you.len() + matches.maybe.len()) as u64;
    let never = app.catalog.suppression_of(guest.id).await?;
    Ok(Json(ErasureReceipt {
        enrolments,
        matches,
        consents,
        never_matched: never == Some(SuppressionState::Active),
        never_match_held: never == Some(SuppressionState::Held),
        return_link,
        erased_at: rfc3339(now_ms()),
    }))
}

/// `GET /api/me`: what is held about the guest who asks.
#[utoipa::path(
    get, path = path::ME, tag = "guests", operation_id = "me",
    security(("guest" = [])),
    responses((status = 200, description = "What is held about the guest", body = Held)),
)]
pub(crate) async fn me(State(app): State<Arc<App>>, Session(guest): Session) -> ApiResult<Response> {
    let event = app.catalog.event(guest.event).await?.ok_or_else(|| ApiError::new(Code::NotJoined))?;
    let found = app.matching.find_guest(guest.event, guest.id).await?;
    let never = app.catalog.suppression_of(guest.id).await?;
    let enrolments = app.catalog.enrolments(guest.id).await?;
    let mut people: Vec<u8> = enrolments.iter().map(|enrolment| enrolment.person).collect();
    people.sort_unstable();
    people.dedup();
    let held = Held {
        event: event.name,
        joined_at: rfc3339(guest.joined_at),
        enrolments: enrolments.len() as u64,
        people,
        consents: app.catalog.consents(guest.id).await?,
        matches: found.you.into_iter().chain(found.maybe).collect(),
        never_matched: never == Some(SuppressionState::Active),
        never_match_held: never == Some(SuppressionState::Held),
        return_link: app.catalog.has_return_link(guest.id).await?,
        faces_until: event.faces_until.map(rfc3339),
        photos_until: event.photos_until.map(rfc3339),
    };
    let mut response = Json(held).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// A BCP 47 tag as far as it is worth recording.
fn language(tag: &str) -> String {
    let clean: String = tag.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(35).collect();
    if clean.is_empty() { "und".to_owned() } else { clean }
}

fn accepted_language(headers: &HeaderMap) -> String {
    let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    language(accepted.split([',', ';']).next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Bytes;

    #[tokio::test]
    async fn selfies_in_memory_are_bounded_and_room_comes_back() {
        let limits = Limits {
            max_selfie: Bytes(3 * SELFIE_UNIT),
            selfie_memory: Bytes(3 * SELFIE_UNIT),
            max_selfies: 100,
            ..Limits::default()
        };
        let room = Arc::new(Semaphore::new(selfie_units(&limits) as usize));
        let of = |bytes: u64| HeaderMap::from_iter([(header::CONTENT_LENGTH, HeaderValue::from(bytes))]);
        let reserve = async |headers| reserve(&room, &limits, &headers, Duration::ZERO).await;
        let held = reserve(of(SELFIE_UNIT + 1)).await.unwrap();
        assert_eq!(room.available_permits(), 1);
        for headers in [of(SELFIE_UNIT + 1), HeaderMap::new()] {
            let refused = reserve(headers).await.unwrap_err().into_response();
            assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        }
        drop(held);
        drop(reserve(of(3 * SELFIE_UNIT)).await.unwrap());
        let refused = reserve(of(3 * SELFIE_UNIT + 1)).await.unwrap_err();
        assert_eq!(refused.into_response().status(), StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn small_selfies_are_counted_too() {
        let limits = Limits { max_selfies: 2, ..Limits::default() };
        let room = Arc::new(Semaphore::new(selfie_units(&limits) as usize));
        let tiny = HeaderMap::from_iter([(header::CONTENT_LENGTH, HeaderValue::from(1))]);
        let _first = reserve(&room, &limits, &tiny, Duration::ZERO).await.unwrap();
        let second = reserve(&room, &limits, &tiny, Duration::ZERO).await.unwrap();
        assert!(reserve(&room, &limits, &tiny, Duration::ZERO).await.is_err());
        drop(second);
        assert!(reserve(&room, &limits, &tiny, Duration::ZERO).await.is_ok());
    }
}
