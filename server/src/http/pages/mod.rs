//! The pages that people see. They hold no rule of their own: what they show and do is the public API's, reached by the
//! small modules in `static/`; the server only says the words, in the visitor's language, and who has joined what.

mod assets;
mod desk;
mod first;
mod texts;
mod visit;

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use findme_common::JoinCode;
use findme_common::protocol::{Code, SuppressionState};
use serde::Deserialize;

use super::App;
use super::client::{Client, same_origin};
use super::guests;
use super::problem::{ApiError, ApiResult};
use crate::catalog::Event;
use crate::clock::rfc3339;
use crate::matching::FaceState;
use first::First;
pub(crate) use texts::Languages;
use texts::Texts;
use visit::Visit;
pub(crate) use visit::policy as page_policy;

/// What a page is under in the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tab {
    Mine,
    All,
    None,
}

/// What every page shows around its content.
#[derive(Debug)]
struct Frame {
    /// Folder of the static files; its name changes with their content.
    assets: &'static str,
    /// The event that the visitor has joined.
    event: Option<Event>,
    tab: Tab,
}

impl Frame {
    fn new(visit: &Visit, tab: Tab) -> Self {
        let event = visit.guest.as_ref().map(|(_, event)| event.clone());
        Self { assets: assets::folder(), event, tab }
    }
}

#[derive(Debug, Template)]
#[template(path = "home.html")]
struct Home {
    frame: Frame,
    t: &'static Texts,
    /// Key of the text that says why the visitor is here again.
    notice: Option<&'static str>,
}

#[derive(Debug, Template)]
#[template(path = "join.html")]
struct Join {
    frame: Frame,
    t: &'static Texts,
    name: String,
    code: JoinCode,
    faces: bool,
    /// Another event that this phone has joined, and would leave.
    leaving: Option<String>,
}

/// Whether a guest can be found by face, as far as it matters to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Search {
    Ready,
    Waiting,
    Off,
}

#[derive(Debug, Template)]
#[template(path = "me.html")]
struct Me {
    frame: Frame,
    t: &'static Texts,
    search: Search,
    /// A service elsewhere is sent the selfie.
    service: bool,
    enrolled: bool,
    never: Option<SuppressionState>,
    gallery_open: bool,
    /// When the server deletes the event by itself, RFC 3339.
    until: Option<String>,
    first: First,
}

#[derive(Debug, Template)]
#[template(path = "gallery.html")]
struct Gallery {
    frame: Frame,
    t: &'static Texts,
    /// When the server deletes the event by itself, RFC 3339.
    until: Option<String>,
    first: First,
}

#[derive(Debug, Template)]
#[template(path = "back.html")]
struct Back {
    frame: Frame,
    t: &'static Texts,
}

#[derive(Debug, Template)]
#[template(path = "offline.html")]
struct Offline {
    frame: Frame,
    t: &'static Texts,
}

#[derive(Debug, Template)]
#[template(path = "privacy.html")]
struct Privacy {
    frame: Frame,
    t: &'static Texts,
    faces: bool,
    /// A service elsewhere finds them.
    service: bool,
    faces_erased: bool,
    /// The operator stated that everyone was told.
    attested: bool,
    gallery_open: bool,
    /// Days (ISO 8601) after which the server ends it by itself.
    faces_until: Option<String>,
    photos_until: Option<String>,
    /// Who is responsible, when the operator said so.
    contact: Option<String>,
}

#[derive(Debug, Template)]
#[template(path = "message.html")]
struct Message {
    frame: Frame,
    t: &'static Texts,
    title: &'static str,
    text: &'static str,
}

/// What a page says that only says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Saying {
    NotFound,
    Failed,
    ForeignForm,
    GalleryClosed,
}

impl Saying {
    /// Keys of title and text.
    const fn keys(self) -> (&'static str, &'static str) {
        match self {
            Self::NotFound => ("message.not-found-title", "message.not-found"),
            Self::Failed => ("message.failed-title", "message.failed"),
            Self::ForeignForm => ("message.foreign-form-title", "message.foreign-form"),
            Self::GalleryClosed => ("message.gallery-closed-title", "message.gallery-closed"),
        }
    }
}

/// The pages' routes, static files included.
pub(crate) fn router(app: &Arc<App>) -> Router<Arc<App>> {
    Router::new()
        .route("/", get(home))
        .route("/e", get(find_code))
        .route("/e/{code}", get(invitation).post(join))
        .route("/me", get(me))
        .route("/gallery", get(gallery))
        .route("/privacy", get(privacy))
        .route("/live", get(desk::board))
        .route("/poster", get(desk::poster))
        .route("/wall", get(desk::wall))
        .route("/admin", get(desk::admin))
        .route("/back", get(back))
        .route("/offline", get(offline))
        .layer(axum::middleware::from_fn_with_state(app.clone(), visit::dress))
        .route("/sw.js", get(assets::worker))
        .route("/static/{version}/{name}", get(assets::file))
}

/// What is not there: a page for people, a problem for programs.
pub(crate) async fn nothing_here(State(app): State<Arc<App>>, visit: Visit, request: Request) -> Response {
    let wanted = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if request.uri().path().starts_with("/api/") || !wanted.contains("text/html") {
        return ApiError::new(Code::NotFound).into_response();
    }
    visit::dressed(message(&visit, StatusCode::NOT_FOUND, Saying::NotFound), &visit, &app)
}

/// `GET /`: type the code, or go on where one was.
async fn home(visit: Visit) -> ApiResult {
    home_page(&visit, StatusCode::OK, None)
}

#[derive(Debug, Default, Deserialize)]
struct CodeQuery {
    code: Option<String>,
}

/// `GET /e?code=…`: where the form of the first page leads, also without JavaScript.
async fn find_code(visit: Visit, query: Result<Query<CodeQuery>, QueryRejection>) -> ApiResult {
    let Query(query) = query.unwrap_or_default();
    match query.code.unwrap_or_default().parse::<JoinCode>() {
        Ok(code) => Ok(Redirect::to(&format!("/e/{code}")).into_response()),
        Err(_) => home_page(&visit, StatusCode::UNPROCESSABLE_ENTITY, Some("home.malformed")),
    }
}

/// `GET /e/{code}`: what the event is and what joining means. Looking changes nothing: previews of links join nobody.
async fn invitation(State(app): State<Arc<App>>, client: Client, visit: Visit, Path(code): Path<String>) -> ApiResult {
    let Some(event) = event_of(&app, &client, &code).await? else {
        return home_page(&visit, StatusCode::NOT_FOUND, Some("home.unknown"));
    };
    if visit.guest.as_ref().is_some_and(|(_, joined)| joined.id == event.id) {
        return Ok(Redirect::to("/me").into_response());
    }
    let leaving = visit.guest.as_ref().map(|(_, joined)| joined.name.clone());
    let frame = Frame { event: None, ..Frame::new(&visit, Tab::None) };
    let faces = event.faces && !matches!(app.matching.faces(), FaceState::Off);
    let page = Join { frame, t: visit.texts, name: event.name, code: event.join, faces, leaving };
    show(StatusCode::OK, &page)
}

/// `POST /e/{code}`: a session for whoever has the code. Only from a page of ours: another site must not make its
/// visitors guests of an event.
async fn join(
    State(app): State<Arc<App>>,
    client: Client,
    visit: Visit,
    Path(code): Path<String>,
    headers: HeaderMap,
) -> ApiResult {
    if !same_origin(&headers, client.host.as_deref(), app.public_url.as_deref()) {
        return Ok(message(&visit, StatusCode::FORBIDDEN, Saying::ForeignForm));
    }
    let Some(event) = event_of(&app, &client, &code).await? else {
        return home_page(&visit, StatusCode::NOT_FOUND, Some("home.unknown"));
    };
    let mut response = Redirect::to("/me").into_response();
    // Tapped twice, or from two tabs: one guest all the same.
    if visit.guest.as_ref().is_none_or(|(_, joined)| joined.id != event.id) {
        let (_, cookie) = guests::open_session(&app, &client, &event.join).await?;
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// `GET /me`: selfie, then the guest's photos.
async fn me(State(app): State<Arc<App>>, visit: Visit) -> ApiResult {
    let Some((guest, event)) = visit.guest.clone() else { return not_joined(&visit) };
    let search = match app.matching.faces() {
        _ if !event.faces => Search::Off,
        FaceState::Ready(..) | FaceState::Remote(_) => Search::Ready,
        FaceState::Waiting(..) => Search::Waiting,
        FaceState::Off => Search::Off,
    };
    let service = matches!(app.matching.faces(), FaceState::Remote(_));
    let enrolled = !app.catalog.enrolments(guest.id).await?.is_empty();
    let never = app.catalog.suppression_of(guest.id).await?;
    let (frame, gallery_open) = (Frame::new(&visit, Tab::Mine), event.gallery_open);
    let until = event.photos_until.map(rfc3339);
    // A head start alone: when it cannot be had the page says itself what is wrong.
    let first = if enrolled { First::of_guest(&app, &guest).await.unwrap_or_default() } else { First::default() };
    show(StatusCode::OK, &Me { frame, t: visit.texts, search, service, enrolled, never, gallery_open, until, first })
}

/// `GET /back#…`: a guest who comes by their link. The page itself knows nothing of it.
async fn back(visit: Visit) -> ApiResult {
    let frame = Frame { event: None, ..Frame::new(&visit, Tab::None) };
    show(StatusCode::OK, &Back { frame, t: visit.texts })
}

/// `GET /offline`: what stands in for a page that cannot be reached. Kept by browsers, so that it is nobody's.
async fn offline(visit: Visit) -> ApiResult {
    let frame = Frame { event: None, ..Frame::new(&visit, Tab::None) };
    show(StatusCode::OK, &Offline { frame, t: visit.texts })
}

/// `GET /gallery`: all photos of the event.
async fn gallery(State(app): State<Arc<App>>, visit: Visit) -> ApiResult {
    let Some((_, event)) = &visit.guest else { return not_joined(&visit) };
    if !event.gallery_open {
        return Ok(message(&visit, StatusCode::FORBIDDEN, Saying::GalleryClosed));
    }
    let until = event.photos_until.map(rfc3339);
    let first = First::of_event(&app, event).await?;
    show(StatusCode::OK, &Gallery { frame: Frame::new(&visit, Tab::All), t: visit.texts, until, first })
}

/// `GET /privacy`: what is done with whom, as this server and the visitor's event are set up.
async fn privacy(State(app): State<Arc<App>>, visit: Visit) -> ApiResult {
    let event = visit.guest.as_ref().map(|(_, event)| event);
    let faces = event.is_none_or(|event| event.faces) && !matches!(app.matching.faces(), FaceState::Off);
    let day = |at: fn(&Event) -> Option<i64>| {
        event.and_then(at).map(|at| rfc3339(at).split('T').next().unwrap_or_default().to_owned())
    };
    let page = Privacy {
        frame: Frame::new(&visit, Tab::None),
        t: visit.texts,
        faces,
        service: faces && matches!(app.matching.faces(), FaceState::Remote(_)),
        faces_erased: event.is_some_and(|event| event.faces_erased_at.is_some()),
        attested: event.is_some_and(|event| event.attested_at.is_some()),
        gallery_open: event.is_none_or(|event| event.gallery_open),
        faces_until: day(|event| event.faces_until),
        photos_until: day(|event| event.photos_until),
        contact: app.contact.clone(),
    };
    show(StatusCode::OK, &page)
}

async fn event_of(app: &App, client: &Client, code: &str) -> Result<Option<Event>, ApiError> {
    match code.parse::<JoinCode>() {
        Ok(code) => guests::find_event(app, client, &code).await,
        Err(_) => Ok(None),
    }
}

fn not_joined(visit: &Visit) -> ApiResult {
    home_page(visit, StatusCode::UNAUTHORIZED, Some("home.not-joined"))
}

fn home_page(visit: &Visit, status: StatusCode, notice: Option<&'static str>) -> ApiResult {
    show(status, &Home { frame: Frame::new(visit, Tab::None), t: visit.texts, notice })
}

fn message(visit: &Visit, status: StatusCode, saying: Saying) -> Response {
    let (title, text) = saying.keys();
    let page = Message { frame: Frame::new(visit, Tab::None), t: visit.texts, title, text };
    show(status, &page).unwrap_or_else(IntoResponse::into_response)
}

fn show(status: StatusCode, page: &impl Template) -> ApiResult {
    let html = page.render().map_err(ApiError::internal)?;
    let mut response = (status, Html(html)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(response)
}
