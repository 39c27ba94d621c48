//! A stand-in for the server: it speaks tus, names every upload at random, compares nothing and looks no digest up. What a
//! watcher sends twice is there twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

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

use super::{Event, wait_for};

/// How the stand-in answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
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

    /// From now on it answers so.
    pub(crate) fn mood(&self, mood: Mood) {
        self.shared.lock().mood = mood;
    }

    /// Waits until so many requests were answered in a mood other than [`Mood::Good`].
    pub(crate) async fn refused(&self, times: u32) {
        wait_for("the watcher to try", async || (self.shared.lock().refusals >= times).then_some(())).await;
    }

    /// How often each content was completed.
    pub(crate) fn completed(&self) -> HashMap<Digest, u32> {
        let mut counts = HashMap::new();
        for upload in self.shared.lock().uploads.values().filter(|upload| upload.bytes.len() == upload.length) {
            *counts.entry(Digest::of(&upload.bytes)).or_default() += 1;
        }
        counts
    }

    /// How many uploads were created.
    pub(crate) fn created(&self) -> u32 {
        self.shared.lock().created
    }

    /// The address, for ways around it.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// How many requests were answered in a mood other than [`Mood::Good`].
    pub(crate) fn refusals(&self) -> u32 {
        self.shared.lock().refusals
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
