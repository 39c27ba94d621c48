//! `GET /api/live`: server-sent events from the durable log. Each has its id in the event's log; who reconnects with
//! `Last-Event-ID` hears what was missed, whichever process answers.
//!
//! Invariant: a stream lasts no longer than what its listener was let in under. When a token or a session ends, or the
//! event changes its terms, it ends; who still may comes again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use findme_common::protocol::{Code, LiveEvent, LiveKind, live_event, path};
use futures_util::Stream;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use super::App;
use super::auth::Viewer;
use super::crowd::Place;
use super::problem::ApiError;
use crate::catalog::{Audience, Listens, LiveEntry, Standing};
use crate::metrics::Open;

/// A comment this often keeps proxies and phones from giving the connection up.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// When a client that was cut off comes again.
const RETRY: Duration = Duration::from_secs(2);

/// Entries that are replayed at once.
const BATCH: u32 = 500;

/// In place of a last id that is none: no log goes on from there.
const NO_ID: i64 = -1;

#[utoipa::path(
    get, path = path::LIVE, tag = "live", operation_id = "live",
    security(("photographer" = []), ("guest" = [])),
    params(
        ("last-event-id" = Option<i64>, Header, description = "Replays what came after this id"),
        ("after" = Option<i64>, Query, description = "The same, for pages that open the stream anew"),
    ),
    responses(
        (status = 200, description = "One event per entry of the log, each with its id", body = LiveEvent, content_type = "text/event-stream"),
    ),
)]
pub(crate) async fn live(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let who = match &viewer {
        Viewer::Photographer(machine) => Listens::Machine(machine.token),
        Viewer::Guest(guest) => Listens::Guest(guest.id),
    };
    let too_many = || ApiError::new(Code::TooManyRequests).detail("close other tabs").header("retry-after", 30);
    let place = app.listeners.enter(who, app.limits.max_listeners).ok_or_else(too_many)?;
    let open = (place, crate::metrics::get().listener());
    // Subscribed before anything is read: what comes in between is in one of the two.
    let (news, changes) = (app.live.subscribe(), app.live.standing());
    let refused = || ApiError::new(if matches!(who, Listens::Guest(_)) { Code::NotJoined } else { Code::TokenRefused });
    let terms = app.catalog.standing_of(who).await?.ok_or_else(refused)?;
    let let_in = LetIn { who, terms, changes, until: Instant::now() + HEARTBEAT };
    // A browser that reconnects by itself sends the header, with a newer id than the address that it was opened with.
    let by_header = headers.get("last-event-id").map(|value| value.to_str().unwrap_or(""));
    let by_query = || uri.query()?.split('&').find_map(|pair| pair.strip_prefix("after="));
    let after = match by_header.or_else(by_query) {
        Some(heard) => heard.parse().unwrap_or(NO_ID),
        None => app.catalog.live_bounds(viewer.event()).await?.end,
    };
    let listener = Listener {
        app,
        viewer,
        let_in,
        news,
        after,
        waiting: VecDeque::new(),
        replay: true,
        greeted: false,
        _open: open,
    };
    let events = Sse::new(stream(listener)).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    let mut response = events.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would hold events back.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

/// One open connection.
struct Listener {
    app: Arc<App>,
    viewer: Viewer,
    let_in: LetIn,
    news: broadcast::Receiver<LiveEntry>,
    /// Everything up to here was told or is not for this viewer.
    after: i64,
    waiting: VecDeque<LiveEntry>,
    /// The table has to be read before more news are taken.
    replay: bool,
    /// Whether the first word was said.
    greeted: bool,
    /// Its place, and its part in the metrics.
    _open: (Place<Listens>, Open),
}

/// What a connection says.
enum Said {
    Entry(LiveEntry),
    /// What was missed is not in the log any more: to be begun anew, from here on.
    Reset,
}

/// Under what somebody listens.
struct LetIn {
    who: Listens,
    terms: Standing,
    /// Says when to look again.
    changes: watch::Receiver<i64>,
    /// To be looked at again then at the latest: sessions also end by themselves.
    until: Instant,
}

impl Listener {
    /// Whether an entry is for this viewer.
    fn hears(&self, entry: &LiveEntry) -> bool {
        if entry.event != self.viewer.event() {
            return false;
        }
        match self.viewer {
            Viewer::Photographer(_) => !matches!(entry.audience, Audience::Guest(_)),
            Viewer::Guest(guest) => match entry.audience {
                Audience::Guest(whose) => whose == guest.id,
                Audience::Everyone => matches!(entry.kind, LiveKind::Indexed | LiveKind::Removed),
                Audience::Photographers => false,
            },
        }
    }

    /// Whether the listener may go on; looked up only when there is a reason to.
    async fn may_go_on(&mut self) -> bool {
        let let_in = &mut self.let_in;
        // A sender that is gone says nothing any more: then the time alone counts.
        if !let_in.changes.has_changed().unwrap_or(false) && Instant::now() < let_in.until {
            return true;
        }
        let_in.changes.mark_unchanged();
        let_in.until = Instant::now() + HEARTBEAT;
        if let Viewer::Guest(guest) = &self.viewer {
            self.app.matching.catch_up(guest.event, guest.id).await;
        }
        matches!(self.app.catalog.standing_of(let_in.who).await, Ok(Some(terms)) if terms == let_in.terms)
    }

    /// What this viewer is told next; `None` when they may not listen any more, the server stops or the table cannot be
    /// read (the client comes again).
    async fn next(&mut self) -> Option<Said> {
        loop {
            if !self.may_go_on().await {
                return None;
            }
            if let Some(entry) = self.waiting.pop_front() {
                self.after = entry.number;
                if self.hears(&entry) {
                    return Some(Said::Entry(entry));
                }
                continue;
            }
            if self.replay {
                let (catalog, event) = (&self.app.catalog, self.viewer.event());
                let read = catalog.live_of_event_after(event, self.after, BATCH).await.ok()?;
                // Asked when the entries are read: what the log lost a moment before is missing among them.
                let bounds = catalog.live_bounds(event).await.ok()?;
                if !bounds.continues(self.after) {
                    self.after = bounds.end;
                    return Some(Said::Reset);
                }
                self.replay = read.len() == BATCH as usize;
                self.waiting = read.into();
                // What was read may be newer than the last word about who may listen.
                self.let_in.until = Instant::now();
                continue;
            }
            let news = tokio::select! {
                news = self.news.recv() => news,
                Ok(()) = self.let_in.changes.changed() => {
                    self.let_in.until = Instant::now();
                    continue;
                }
                () = tokio::time::sleep_until(self.let_in.until) => continue,
                () = self.app.shutdown.cancelled() => return None,
            };
            match news {
                Ok(entry) if entry.event == self.viewer.event() && entry.number > self.after => {
                    self.waiting.push_back(entry);
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => self.replay = true,
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

fn stream(listener: Listener) -> impl Stream<Item = Result<Event, Infallible>> {
    futures_util::stream::unfold(listener, |mut listener| async {
        if !listener.greeted {
            listener.greeted = true;
            // The id lets a client that hears nothing before it is cut off come back without a gap.
            let hello = Event::default().event(live_event::HELLO).id(listener.after.to_string()).data("{}");
            return Some((Ok(hello.retry(RETRY)), listener));
        }
        let event = match listener.next().await? {
            Said::Reset => Event::default().event(live_event::RESET).id(listener.after.to_string()).data("{}"),
            Said::Entry(entry) => {
                let data =
                    serde_json::to_string(&LiveEvent { kind: entry.kind, photo: entry.photo }).unwrap_or_default();
                Event::default().id(entry.number.to_string()).event(entry.kind.as_str()).data(data)
            }
        };
        Some((Ok(event), listener))
    })
}
