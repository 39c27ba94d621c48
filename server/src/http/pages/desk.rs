//! Pages for those who work: the photographer's board, the poster and the wall for guests to see, and the operator's page.
//! Who has not signed in in this browser is asked for their token. As everywhere, the pages hold no rule of their own.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect};
use findme_common::protocol::Code;

use super::{First, Frame, Tab, Texts, Visit, show};
use crate::catalog::{Event, Machine};
use crate::http::App;
use crate::http::auth::{Worker, signed_in};
use crate::http::client::Client;
use crate::http::problem::{ApiError, ApiResult};
use crate::matching::FaceState;

#[derive(Debug, Template)]
#[template(path = "desk/sign-in.html")]
struct SignIn {
    frame: Frame,
    t: &'static Texts,
    operator: bool,
}

#[derive(Debug, Template)]
#[template(path = "desk/board.html")]
struct Board {
    frame: Frame,
    t: &'static Texts,
    name: String,
}

#[derive(Debug, Template)]
#[template(path = "desk/poster.html")]
struct Poster {
    frame: Frame,
    t: &'static Texts,
    name: String,
    link: String,
    code: String,
    faces: bool,
}

#[derive(Debug, Template)]
#[template(path = "desk/wall.html")]
struct Wall {
    frame: Frame,
    t: &'static Texts,
    name: String,
    faces: bool,
    /// Whether guests may see all photos; else a screen in the room does not show them either.
    open: bool,
}

#[derive(Debug, Template)]
#[template(path = "desk/admin.html")]
struct Admin {
    frame: Frame,
    t: &'static Texts,
}

/// Around the content: nobody's event, since this browser may have joined another as a guest.
fn frame(visit: &Visit) -> Frame {
    Frame { event: None, ..Frame::new(visit, Tab::None) }
}

fn sign_in(visit: &Visit, operator: bool) -> ApiResult {
    show(StatusCode::OK, &SignIn { frame: frame(visit), t: visit.texts, operator })
}

/// The event of the photographer who signed in.
async fn photographer(app: &App, headers: &HeaderMap) -> Result<Option<(Machine, Event)>, ApiError> {
    let Some(Worker::Photographer(machine)) = signed_in(app, headers).await? else { return Ok(None) };
    let event = app.catalog.event(machine.event).await?.ok_or_else(|| ApiError::new(Code::NotFound))?;
    Ok(Some((machine, event)))
}

/// `GET /live`: how the event stands, and its photos to release, hide and delete.
pub(super) async fn board(State(app): State<Arc<App>>, visit: Visit, headers: HeaderMap) -> ApiResult {
    if let Some(Worker::Operator) = signed_in(&app, &headers).await? {
        return Ok(Redirect::to("/admin").into_response());
    }
    match photographer(&app, &headers).await? {
        None => sign_in(&visit, false),
        Some((_, event)) => show(StatusCode::OK, &Board { frame: frame(&visit), t: visit.texts, name: event.name }),
    }
}

fn faces_are_compared(app: &App, event: &Event) -> bool {
    event.faces && !matches!(app.matching.faces(), FaceState::Off)
}

/// `GET /poster`: the code for paper. Says that faces are compared, where they are.
pub(super) async fn poster(State(app): State<Arc<App>>, client: Client, visit: Visit, headers: HeaderMap) -> ApiResult {
    let Some((_, event)) = photographer(&app, &headers).await? else { return sign_in(&visit, false) };
    let page = Poster {
        frame: frame(&visit),
        t: visit.texts,
        link: app.guest_link(&client, &event.join),
        code: event.join.to_string(),
        faces: faces_are_compared(&app, &event),
        name: event.name,
    };
    show(StatusCode::OK, &page)
}

/// `GET /wall`: photos for a screen in the room, with the code.
pub(super) async fn wall(State(app): State<Arc<App>>, visit: Visit, headers: HeaderMap) -> ApiResult {
    let Some((_, event)) = photographer(&app, &headers).await? else { return sign_in(&visit, false) };
    let (faces, open) = (faces_are_compared(&app, &event), event.gallery_open);
    show(StatusCode::OK, &Wall { frame: frame(&visit), t: visit.texts, name: event.name, faces, open })
}

/// `GET /admin`: events, their machines, and what needs attention.
pub(super) async fn admin(State(app): State<Arc<App>>, visit: Visit, headers: HeaderMap) -> ApiResult {
    match signed_in(&app, &headers).await? {
        Some(Worker::Operator) => show(StatusCode::OK, &Admin { frame: frame(&visit), t: visit.texts }),
        _ => sign_in(&visit, true),
    }
}
