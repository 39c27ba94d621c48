//! The manifest alone prevents duplicates: a stand-in server speaks tus, names every upload at random, compares nothing
//! and looks no digest up. Whatever it and the line do, each content is completed there once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{patch, post};
use findme_common::protocol::header as h;
use findme_common::{Digest, EventId, PhotoId, PhotographerToken, Secret, UploadId};
use futures_util::StreamExt;
use tokio::net::TcpListener;

use crate::support::chaos;
use crate::support::photos::{of_size, small};
use crate::support::{Event, Laptop, Random, wait_for};

/// How the stand-in answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Good,
    /// A login page in the way: everything is answered 200 with HTML.
    Portal,
    /// No room on its disk.
    Full,
    /// Success without any receipt.
    NoReceipt,
    /// A receipt for other bytes.
    WrongReceipt,
}

struct Upload {
    length: usize,
    bytes: Vec<u8>,
    photo: PhotoId,
}

struct Inner {
    uploads: HashMap<String, Upload>,
    mood: Mood,
    /// Requests that were answered in a mood other than [`Mood::Good`].
    refusals: u32,
    /// Uploads that were created.
    created: u32,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Inner>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }
}

pub(crate) struct StandIn {
    shared: Shared,
    url: String,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl StandIn {
    pub(crate) async fn start() -> Self {
        let inner = Inner { uploads: HashMap::new(), mood: Mood::Good, refusals: 0, created: 0 };
        let shared = Shared(Arc::new(Mutex::new(inner)));
        let router = router(&shared);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { shared, url, task }
    }

    /// What it answers, for other ways to it.
    pub(crate) fn router(&self) -> Router {
        router(&self.shared)
    }

    pub(crate) fn event(&self) -> Event {
        let token = PhotographerToken { event: EventId::random().unwrap(), secret: Secret::random().unwrap() };
        Event::new(self.url.clone(), token.reveal(), String::new())
    }

    fn mood(&self, mood: Mood) {
        self.shared.lock().mood = mood;
    }

    async fn refused(&self, times: u32) {
        wait_for("the watcher to try", async || (self.shared.lock().refusals >= times).then_some(())).await;
    }

    /// How often each content was completed.
    fn completed(&self) -> HashMap<Digest, u32> {
        let mut counts = HashMap::new();
        for upload in self.shared.lock().uploads.values().filter(|upload| upload.bytes.len() == upload.length) {
            *counts.entry(Digest::of(&upload.bytes)).or_default() += 1;
        }
        counts
    }

    pub(crate) fn assert_holds_each_once(&self, contents: &[Vec<u8>]) {
        let completed = self.completed();
        for bytes in contents {
            let times = completed.get(&Digest::of(bytes)).copied().unwrap_or(0);
            assert_eq!(times, 1, "a content was completed {times} times");
        }
        assert_eq!(completed.len(), contents.len(), "something else was completed");
    }
}

fn router(shared: &Shared) -> Router {
    Router::new()
        .route("/api/uploads", post(create))
        .route("/api/uploads/{id}", patch(append).head(stand))
        .layer(from_fn_with_state(shared.clone(), in_its_mood))
        .with_state(shared.clone())
}

async fn in_its_mood(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let mood = {
        let mut inner = shared.lock();
        if inner.mood != Mood::Good {
            inner.refusals += 1;
        }
        inner.mood
    };
    match mood {
        Mood::Portal => Html("<h1>Welcome to the hotel's Wi-Fi</h1><form>room number</form>").into_response(),
        Mood::Full => {
            (StatusCode::INSUFFICIENT_STORAGE, [("retry-after", "1"), (h::TUS_RESUMABLE, "1.0.0")]).into_response()
        }
        _ => next.run(request).await,
    }
}

async fn create(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let length = headers[h::UPLOAD_LENGTH].to_str().unwrap().parse().unwrap();
    let id = UploadId::random().unwrap().to_string();
    let photo = PhotoId::random().unwrap();
    let mut inner = shared.lock();
    inner.created += 1;
    inner.uploads.insert(id.clone(), Upload { length, bytes: Vec::new(), photo });
    let location = format!("/api/uploads/{id}");
    let headers = [(h::TUS_RESUMABLE, "1.0.0"), (h::UPLOAD_OFFSET, "0"), ("location", &location)];
    (StatusCode::CREATED, headers).into_response()
}

async fn stand(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    standing(&shared, &id, StatusCode::OK)
}

async fn append(State(shared): State<Shared>, Path(id): Path<String>, headers: HeaderMap, body: Body) -> Response {
    let mut at: usize = headers[h::UPLOAD_OFFSET].to_str().unwrap().parse().unwrap();
    let here = shared.lock().uploads.get(&id).map(|upload| upload.bytes.len());
    match here {
        None => return (StatusCode::NOT_FOUND, [(h::TUS_RESUMABLE, "1.0.0")]).into_response(),
        Some(here) if here != at => return standing(&shared, &id, StatusCode::CONFLICT),
        Some(_) => {}
    }
    let mut body = body.into_data_stream();
    while let Some(Ok(piece)) = body.next().await {
        let mut inner = shared.lock();
        let upload = inner.uploads.get_mut(&id).unwrap();
        // Somebody else goes on with it, or there is too much: keep what is right.
        if upload.bytes.len() != at || at + piece.len() > upload.length {
            break;
        }
        upload.bytes.extend_from_slice(&piece);
        at += piece.len();
    }
    standing(&shared, &id, StatusCode::NO_CONTENT)
}

fn standing(shared: &Shared, id: &str, status: StatusCode) -> Response {
    let inner = shared.lock();
    let Some(upload) = inner.uploads.get(id) else {
        return (StatusCode::NOT_FOUND, [(h::TUS_RESUMABLE, "1.0.0")]).into_response();
    };
    let (offset, length) = (upload.bytes.len().to_string(), upload.length.to_string());
    let tus = [(h::TUS_RESUMABLE, "1.0.0"), (h::UPLOAD_OFFSET, &offset), (h::UPLOAD_LENGTH, &length)];
    if offset != length || inner.mood == Mood::NoReceipt {
        return (status, tus).into_response();
    }
    let stored = match inner.mood {
        Mood::WrongReceipt => Digest::of(b"something else"),
        _ => Digest::of(&upload.bytes),
    };
    let receipt = [(h::REPR_DIGEST, stored.to_repr_digest()), (h::FINDME_PHOTO, upload.photo.to_string())];
    (status, tus, receipt).into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_manifest_is_enough_for_copies_renames_and_reruns() {
    let server = StandIn::start().await;
    let event = server.event();
    let laptop = Laptop::new();
    let contents: Vec<_> = (0..10).map(small).collect();
    for (n, bytes) in contents.iter().enumerate() {
        laptop.put(format!("DSC_{n}.jpg"), bytes);
        laptop.put(format!("copies/{n}.jpg"), bytes);
    }
    let run = laptop.once(&event).await;
    run.assert_exit(0);
    assert_eq!((run.said("uploaded"), run.said("duplicate")), (10, 10));
    for n in 0..10 {
        std::fs::rename(laptop.photos().join(format!("DSC_{n}.jpg")), laptop.photos().join(format!("renamed {n}.jpg")))
            .unwrap();
    }
    // Content that comes back after all its files had gone is known too.
    std::fs::remove_dir_all(laptop.photos().join("copies")).unwrap();
    laptop.once(&event).await.assert_exit(0);
    laptop.put("restored/0.jpg", &contents[0]);
    laptop.once(&event).await.assert_exit(0);
    server.assert_holds_each_once(&contents);
    assert_eq!(server.shared.lock().created, 10, "uploads were created for known contents");
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_and_a_bad_line_complete_nothing_twice() {
    let mut random = Random::seeded("stand-in");
    let server = StandIn::start().await;
    let line = chaos::Line::bad(server.url.clone(), Random::new(random.next()), 5).await;
    let event = server.event();
    let laptop = Laptop::new();
    let contents: Vec<_> = (0..60).map(|n| of_size(n, 20 + (n as usize * 53) % 400)).collect();
    for (n, bytes) in contents.iter().enumerate() {
        laptop.put(format!("DSC_{n}.jpg"), bytes);
        if n % 4 == 0 {
            laptop.put(format!("copies/{n}.jpg"), bytes);
        }
    }
    let through_line = event.through(&line.url());
    for kill in 0..5 {
        let mut watch = laptop.start(laptop.for_event(&through_line));
        let share = contents.len() * kill / 6;
        wait_for("progress over the bad line", async || {
            assert!(watch.is_running(), "it ended by itself: {}", watch.complaints());
            (server.completed().len() >= share).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_micros(random.between(0, 60_000))).await;
        watch.kill();
    }
    assert!(line.cuts() > 0, "the line was good");
    laptop.once(&event).await.assert_exit(0);
    server.assert_holds_each_once(&contents);
    let again = laptop.once(&event).await;
    again.assert_exit(0);
    assert_eq!(again.said("uploaded"), 0);
    server.assert_holds_each_once(&contents);
    let manifest = laptop.manifest(&event);
    assert_eq!(manifest.photos.len(), contents.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_page_is_no_server() {
    let server = StandIn::start().await;
    let event = server.event();
    let laptop = Laptop::new();
    let contents: Vec<_> = (0..5).map(small).collect();
    for (n, bytes) in contents.iter().enumerate() {
        laptop.put(format!("DSC_{n}.jpg"), bytes);
    }
    server.mood(Mood::Portal);
    let mut watch = laptop.start(laptop.for_event(&event));
    server.refused(4).await;
    assert!(watch.is_running());
    assert_eq!(watch.said("uploaded") + watch.said("failed") + watch.said("idle"), 0, "{:#?}", watch.lines());
    server.mood(Mood::Good);
    watch.wait_for("idle", 1).await;
    // In the middle of a run as well.
    server.mood(Mood::Portal);
    let seen = server.shared.lock().refusals;
    laptop.put("later.jpg", &small(5));
    server.refused(seen + 2).await;
    assert_eq!(watch.said("uploaded"), 5);
    server.mood(Mood::Good);
    watch.wait_for("uploaded", 6).await;
    assert_eq!(watch.said("failed"), 0);
    server.assert_holds_each_once(&(0..6).map(small).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_waited_out() {
    let server = StandIn::start().await;
    let event = server.event();
    let laptop = Laptop::new();
    laptop.put("a.jpg", &small(1));
    server.mood(Mood::Full);
    let mut watch = laptop.start(laptop.for_event(&event));
    server.refused(2).await;
    assert!(watch.is_running());
    assert_eq!(watch.said("failed"), 0);
    let said = watch.complaints();
    assert!(said.contains("the server's disk is full") && said.contains("trying again"), "{said}");
    server.mood(Mood::Good);
    watch.wait_for("idle", 1).await;
    server.assert_holds_each_once(&[small(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn success_without_a_receipt_is_none() {
    let server = StandIn::start().await;
    let event = server.event();
    let laptop = Laptop::new();
    laptop.put("a.jpg", &small(1));
    server.mood(Mood::NoReceipt);
    let mut watch = laptop.start(laptop.for_event(&event));
    server.refused(6).await;
    assert_eq!(watch.said("uploaded"), 0, "{:#?}", watch.lines());
    server.mood(Mood::Good);
    watch.wait_for("uploaded", 1).await;
    server.assert_holds_each_once(&[small(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_for_other_bytes_is_a_failure_with_its_name() {
    let server = StandIn::start().await;
    let event = server.event();
    let laptop = Laptop::new();
    let path = laptop.put("a.jpg", &small(1));
    server.mood(Mood::WrongReceipt);
    let run = laptop.once(&event).await;
    run.assert_exit(3);
    assert_eq!(run.word(&path), "failed:receipt-differs");
}
