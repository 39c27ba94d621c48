//! What the photographer's board shows beside the lists, and the code that guests scan.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use findme_common::protocol::{Board, Code, Delay, DelayFrom, GuestCounts, path};
use findme_common::{EventId, GuestId};
use qrcode::QrCode;
use qrcode::render::svg;
use tokio::sync::Mutex;

use super::App;
use super::auth::Photographer;
use super::client::Client;
use super::problem::{ApiError, ApiResult};
use crate::catalog::{BoardFigures, PhotoFilter, ToGuests};
use crate::matching::FaceState;

/// Guests are looked for in an event's faces for the board at most this often: boards stay open for hours.
const LOOK_EVERY: Duration = Duration::from_secs(20);

/// Guests of one event who were in no photo when it was last looked, and when.
#[derive(Debug, Default)]
pub(crate) struct Unfound(Mutex<Vec<(EventId, Instant, u64)>>);

/// Events whose count is remembered.
const REMEMBERED: usize = 64;

impl Unfound {
    /// How many of these guests are in no photo. One look at a time: ten open boards cost as much as one.
    async fn count(&self, app: &App, event: EventId, enrolled: &[GuestId]) -> Result<u64, ApiError> {
        let mut known = self.0.lock().await;
        known.retain(|(_, at, _)| at.elapsed() < LOOK_EVERY);
        if let Some((_, _, count)) = known.iter().find(|(of, ..)| *of == event) {
            return Ok(*count);
        }
        let mut unfound = 0;
        for guest in enrolled {
            let found = app.matching.find_guest(event, *guest).await?;
            unfound += u64::from(found.you.is_empty() && found.maybe.is_empty());
        }
        known.truncate(REMEMBERED - 1);
        known.push((event, Instant::now(), unfound));
        Ok(unfound)
    }
}

/// `GET /api/board`: how the event stands.
#[utoipa::path(
    get, path = path::BOARD, tag = "photographer", operation_id = "board",
    security(("photographer" = [])),
    responses((status = 200, description = "How the event stands", body = Board)),
)]
pub(crate) async fn board(State(app): State<Arc<App>>, machine: Photographer, client: Client) -> ApiResult {
    let id = machine.0.event;
    let event = app.catalog.event(id).await?.ok_or_else(|| ApiError::new(Code::NotFound))?;
    let figures = app.catalog.board(id).await?;
    let guests = counts(&app, id, &figures).await?;
    let board = Board {
        guest_link: app.guest_link(&client, &event.join),
        name: event.name,
        closed: event.closed_at.is_some(),
        faces_wait: event.faces && matches!(app.matching.faces(), FaceState::Waiting(..)),
        counts: app.catalog.counts(id, PhotoFilter::All).await?,
        received_lately: figures.received_lately,
        to_guests: delay(&figures.to_guests),
        guests,
        machines: figures.machines,
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(board)).into_response())
}

/// How far the guests of an event have come.
pub(super) async fn guest_counts(app: &App, event: EventId) -> Result<GuestCounts, ApiError> {
    counts(app, event, &app.catalog.board(event).await?).await
}

async fn counts(app: &App, event: EventId, figures: &BoardFigures) -> Result<GuestCounts, ApiError> {
    let without_photo = app.unfound.count(app, event, &figures.enrolled).await?;
    Ok(GuestCounts { joined: figures.joined, enrolled: figures.enrolled.len() as u64, without_photo })
}

/// The middle and the 95th of a hundred; from the files' close where that is known of any.
fn delay(photos: &[ToGuests]) -> Option<Delay> {
    let closed: Vec<i64> = photos.iter().filter_map(|photo| photo.since_closed_ms).collect();
    let (from, mut times_ms) = if closed.is_empty() {
        (DelayFrom::UploadBegun, photos.iter().map(|photo| photo.since_begun_ms).collect())
    } else {
        (DelayFrom::FileClosed, closed)
    };
    times_ms.sort_unstable();
    let last = times_ms.len().checked_sub(1)?;
    let at = |percent: usize| u64::try_from(times_ms[last * percent / 100]).unwrap_or(0);
    Some(Delay { p50_ms: at(50), p95_ms: at(95), from })
}

/// `GET /api/board/qr.svg`: the guests' link, for posters and screens.
#[utoipa::path(
    get, path = "/api/board/qr.svg", tag = "photographer", operation_id = "board_qr",
    security(("photographer" = [])),
    responses(
        (status = 200, description = "The guests' link as a QR code", body = String, content_type = "image/svg+xml"),
    ),
)]
pub(crate) async fn qr(State(app): State<Arc<App>>, machine: Photographer, client: Client) -> ApiResult {
    let event = app.catalog.event(machine.0.event).await?.ok_or_else(|| ApiError::new(Code::NotFound))?;
    Ok(qr_svg(&app.guest_link(&client, &event.join))?.into_response())
}

/// A QR code as a drawing that scales.
pub(super) fn qr_svg(link: &str) -> ApiResult<impl IntoResponse + use<>> {
    let code = QrCode::new(link).map_err(ApiError::internal)?;
    let picture = code.render::<svg::Color<'_>>().min_dimensions(512, 512).build();
    Ok(([(header::CACHE_CONTROL, "no-store"), (header::CONTENT_TYPE, "image/svg+xml")], picture))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_of_few_and_of_many_photos() {
        let begun = |ms| ToGuests { since_begun_ms: ms, since_closed_ms: None };
        assert_eq!(delay(&[]), None);
        let from = DelayFrom::UploadBegun;
        assert_eq!(delay(&[begun(700)]), Some(Delay { p50_ms: 700, p95_ms: 700, from }));
        let many: Vec<ToGuests> = (0..100).rev().map(begun).collect();
        assert_eq!(delay(&many), Some(Delay { p50_ms: 49, p95_ms: 94, from }));
    }

    #[test]
    fn delays_from_the_close_are_not_mixed_with_others() {
        let told = ToGuests { since_begun_ms: 300, since_closed_ms: Some(450) };
        let other = ToGuests { since_begun_ms: 9000, since_closed_ms: None };
        assert_eq!(delay(&[told, other]), Some(Delay { p50_ms: 450, p95_ms: 450, from: DelayFrom::FileClosed }));
    }
}
