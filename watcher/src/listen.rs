//! Hears from the server what became of photos (`GET /api/live`), for as long as the program runs.
//!
//! Invariant: nothing depends on it. What is heard makes counts and times known sooner; uploads never wait for it, and
//! whether the server is at rest is asked apart.

use std::time::Duration;

use findme_common::PhotoId;
use findme_common::protocol::{LiveEvent, LiveKind, live_event, path};
use reqwest::{Method, Response, StatusCode};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::server::Server;

/// The server says something every 15 s; after this long without a word the line is dead.
const SILENCE: Duration = Duration::from_secs(45);
/// Pause before the line is opened again: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// Longest event that is taken; ours have some hundred bytes.
const LONGEST: usize = 64 * 1024;
/// What may be heard before it is taken note of.
const BACKLOG: usize = 1024;

/// What became of a photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Guests can find it.
    Indexed(PhotoId),
    /// It is stored, but it could not be indexed.
    Failed(PhotoId),
}

/// An open ear; it closes with this.
#[derive(Debug)]
pub(crate) struct Ear {
    heard: mpsc::Receiver<Heard>,
    _task: JoinSet<()>,
}

impl Ear {
    /// Listens from now on.
    pub(crate) fn open(server: Server) -> Self {
        let (sender, heard) = mpsc::channel(BACKLOG);
        let mut task = JoinSet::new();
        task.spawn(listen(server, sender));
        Self { heard, _task: task }
    }

    /// The next thing heard; `None` when this server tells nothing. May be dropped while it waits.
    pub(crate) async fn next(&mut self) -> Option<Heard> {
        self.heard.recv().await
    }
}

async fn listen(server: Server, sender: mpsc::Sender<Heard>) {
    let (mut last, mut pause) = (None::<String>, PAUSE.0);
    loop {
        let mut request = server.request(Method::GET, path::LIVE);
        if let Some(last) = &last {
            request = request.header("last-event-id", last);
        }
        match tokio::time::timeout(SILENCE, request.send()).await {
            Ok(Ok(response)) if response.status() == StatusCode::OK => {
                if !follow(response, &mut last, &sender, &mut pause).await {
                    return;
                }
            }
            // A server that only knows uploads, or a token that uploads will complain about.
            Ok(Ok(response))
                if response.status().is_client_error() && response.status() != StatusCode::TOO_MANY_REQUESTS =>
            {
                tracing::debug!(status = %response.status(), "this server does not tell what becomes of photos");
                return;
            }
            Ok(Ok(response)) => tracing::debug!(status = %response.status(), "not told what becomes of photos"),
            Ok(Err(error)) => tracing::debug!(%error, "not told what becomes of photos"),
            Err(_) => tracing::debug!("not told what becomes of photos: no answer"),
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(PAUSE.1);
    }
}

/// Reads one connection to its end; whether anybody still wants to know.
async fn follow(
    mut response: Response,
    last: &mut Option<String>,
    sender: &mpsc::Sender<Heard>,
    pause: &mut Duration,
) -> bool {
    let mut events = Events::default();
    while let Ok(Ok(Some(piece))) = tokio::time::timeout(SILENCE, response.chunk()).await {
        if !events.take(&piece) {
            break;
        }
        while let Some(event) = events.next() {
            *pause = PAUSE.0;
            if let Some(heard) = event.heard()
                && sender.send(heard).await.is_err()
            {
                return false;
            }
            // Only what was passed on is behind us.
            *last = event.id.or(last.take());
        }
    }
    !sender.is_closed()
}

/// One server-sent event.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct ServerEvent {
    id: Option<String>,
    name: String,
    data: String,
}

impl ServerEvent {
    fn heard(&self) -> Option<Heard> {
        if [live_event::HELLO, live_event::RESET].contains(&self.name.as_str()) {
            return None;
        }
        // What a later server tells besides is not for this program.
        let event: LiveEvent = serde_json::from_str(&self.data).ok()?;
        match event.kind {
            LiveKind::Indexed => Some(Heard::Indexed(event.photo)),
            LiveKind::Failed => Some(Heard::Failed(event.photo)),
            LiveKind::Received | LiveKind::You | LiveKind::Maybe | LiveKind::Removed => None,
        }
    }
}

/// Cuts a stream into events, wherever its pieces end.
#[derive(Debug, Default)]
struct Events {
    buffer: Vec<u8>,
    event: ServerEvent,
}

impl Events {
    /// Adds a piece; `false` when the stream is not what it should be.
    fn take(&mut self, piece: &[u8]) -> bool {
        self.buffer.extend_from_slice(piece);
        self.buffer.len() <= LONGEST || self.buffer.contains(&b'\n')
    }

    /// The next whole event.
    fn next(&mut self) -> Option<ServerEvent> {
        while let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
            if line.is_empty() {
                let event = std::mem::take(&mut self.event);
                if event != ServerEvent::default() {
                    return Some(event);
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => self.event.id = Some(value.to_owned()),
                "event" => value.clone_into(&mut self.event.name),
                "data" if self.event.data.len() < LONGEST => self.event.data.push_str(value),
                _ => {} // comments, `retry`, what is to come
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STREAM: &str = "retry: 2000\nid: 7\nevent: hello\ndata: {}\n\n:\n\nid: 8\r\nevent: indexed\r\ndata: \
        {\"kind\":\"indexed\",\"photo\":\"6e1f6811-9d4b-85d8-9c01-562ac5f530e5\"}\r\n\r\nid: 9\nevent: tea\ndata: x\n\nid: 10\n\
        event: failed\ndata: {\"kind\":\"failed\",\"photo\":\"6e1f6811-9d4b-85d8-9c01-562ac5f530e5\"}\n\nid: 11\nevent: ind";

    proptest! {
        #[test]
        fn events_are_the_same_wherever_the_pieces_end(cuts in proptest::collection::vec(0..STREAM.len(), 0..12)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            cuts.push(STREAM.len());
            let (mut events, mut from, mut all) = (Events::default(), 0, Vec::new());
            for cut in cuts {
                prop_assert!(events.take(&STREAM.as_bytes()[from..cut]));
                from = cut;
                while let Some(event) = events.next() {
                    all.push(event);
                }
            }
            let photo = "6e1f6811-9d4b-85d8-9c01-562ac5f530e5".parse().unwrap();
            let heard: Vec<_> = all.iter().map(|event| (event.id.as_deref().unwrap(), event.heard())).collect();
            prop_assert_eq!(heard, [
                ("7", None), ("8", Some(Heard::Indexed(photo))), ("9", None), ("10", Some(Heard::Failed(photo))),
            ]);
        }
    }

    #[test]
    fn a_stream_without_an_end_is_not_collected() {
        let mut events = Events::default();
        let endless = (0..).map(|_| events.take(&[b'x'; 8192])).take_while(|taken| *taken).count();
        assert!(endless * 8192 <= LONGEST, "{endless}");
    }
}
