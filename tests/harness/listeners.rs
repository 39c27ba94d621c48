//! Many who listen to an event at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::crew::upload;
use crate::figures::{Memory, Times};
use crate::support::photos::small;
use crate::support::{Server, say};
use crate::wire::Wire;

/// When each photo was acknowledged, for those who hear of it.
type Acknowledged = Arc<Mutex<HashMap<String, Instant>>>;

/// So many listen while so many photos arrive; each must hear of every photo.
pub(crate) async fn run(count: u64, photos: u64) {
    let server = Server::start_with(&["--faces", "off", "--max-listeners", "2000"]).await;
    let event = server.create_event("live");
    let guest = event.guest().await;
    let idle = Memory::of(server.pid());
    let times: Acknowledged = Arc::default();
    let mut at_work = JoinSet::new();
    let (ready, mut all_ready) = tokio::sync::mpsc::channel(16);
    for number in 0..count {
        // Every tenth is a guest, who hears of photos when they are indexed.
        let (who, kind) = match number % 10 {
            0 => (format!("cookie: {}\r\n", guest.cookie()), "indexed"),
            _ => (format!("authorization: Bearer {}\r\n", event.token), "received"),
        };
        let request = format!("GET /api/live HTTP/1.1\r\nhost: localhost\r\n{who}accept: text/event-stream\r\n\r\n");
        at_work.spawn(listen(event.url.clone(), request, kind, photos, times.clone(), ready.clone()));
    }
    for _ in 0..count {
        tokio::time::timeout(Duration::from_secs(60), all_ready.recv()).await.expect("all are let in").unwrap();
    }
    let listening = Memory::of(server.pid());
    let mut wire = Wire::to(&event.url).await.unwrap();
    for number in 0..photos {
        let photo = upload(&mut wire, &event, &small(number)).await;
        times.lock().unwrap().insert(photo.to_string(), Instant::now());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (mut received, mut indexed) = (Times::default(), Times::default());
    while let Some(ended) = at_work.join_next().await {
        let (kind, heard) = ended.unwrap();
        if kind == "received" { received.extend(heard) } else { indexed.extend(heard) }
    }
    say(&format!(
        "{count} listeners, {photos} photos: from the receipt to photographers {received}; to guests, indexed, {indexed}; \
         idle {idle}; all listening {listening}; then {}",
        Memory::of(server.pid())
    ));
    assert_eq!((received.count() + indexed.count()) as u64, count * photos, "somebody has not heard everything");
    server.assert_no_faults();
}

async fn listen(
    address: String,
    request: String,
    kind: &'static str,
    photos: u64,
    acknowledged: Acknowledged,
    ready: tokio::sync::mpsc::Sender<()>,
) -> (&'static str, Times) {
    let mut wire = Wire::to(&address).await.unwrap();
    wire.raw(request.as_bytes()).await.unwrap();
    let answer = wire.answer_head().await.unwrap();
    assert_eq!(answer.status, 200, "a listener was not let in");
    let (mut heard, mut of_kind, mut waiting) = (Times::default(), false, Vec::new());
    let deadline = Instant::now() + Duration::from_secs(120);
    while heard.count() + waiting.len() < photos as usize {
        let Ok(line) = tokio::time::timeout_at(deadline.into(), wire.line()).await else { break };
        let line = line.unwrap();
        if let Some(word) = line.strip_prefix("event: ") {
            of_kind = word == kind;
            if word == "hello" {
                ready.send(()).await.unwrap();
            }
        }
        if let Some(data) = line.strip_prefix("data: ").filter(|_| of_kind) {
            let now = Instant::now();
            let data: serde_json::Value = serde_json::from_str(data).unwrap();
            let photo = data["photo"].as_str().unwrap().to_owned();
            waiting.push((photo, now));
        }
        // A receipt may be read a moment after others heard of the photo.
        let known = acknowledged.lock().unwrap();
        waiting.retain(|(photo, now)| match known.get(photo) {
            Some(at) => {
                heard.add(now.saturating_duration_since(*at));
                false
            }
            None => true,
        });
    }
    for _ in waiting {
        heard.add(Duration::ZERO);
    }
    (kind, heard)
}
