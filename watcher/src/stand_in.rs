//! A server for tests: tus that names every upload at random and gives receipts, with faults on demand.
//!
//! It compares nothing, so every second upload of a content is a second photo: what the watcher must never cause.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use findme_common::protocol::{PROBLEM_JSON, header, metadata};
use findme_common::{Digest, PhotoId};
use futures_util::StreamExt;

/// One upload as the server has it.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    pub(crate) length: usize,
    pub(crate) bytes: Vec<u8>,
    pub(crate) name: String,
    pub(crate) photo: PhotoId,
}

/// Faults that happen next. Numbers count down.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Every answer is a login page.
    pub(crate) portal: bool,
    /// The answer to a creation is lost.
    pub(crate) lose_creations: u32,
    /// The connection breaks after so many bytes of a body, once for each entry.
    pub(crate) cuts: Vec<usize>,
    /// The answer to a `PATCH` is lost.
    pub(crate) lose_answers: u32,
    /// Complete uploads are answered without a receipt.
    pub(crate) no_receipts: bool,
    /// The bytes of a `PATCH` arrive damaged.
    pub(crate) damage: u32,
    /// Answers to creations: status, code, `Retry-After`.
    pub(crate) refuse: HashMap<String, (u16, &'static str)>,
    /// The same for everything, so many times.
    pub(crate) refuse_all: Option<(u16, &'static str, u32)>,
    /// A `PATCH` hangs after its bytes were stored.
    pub(crate) hang: bool,
    /// Jobs that are still runnable when asked.
    pub(crate) jobs: u64,
    /// The version that every answer names.
    pub(crate) protocol: Option<u32>,
}

#[derive(Debug, Default)]
pub(crate) struct Inner {
    pub(crate) uploads: BTreeMap<String, Upload>,
    pub(crate) faults: Faults,
    /// `METHOD /path offset` of each request.
    pub(crate) log: Vec<String>,
}

/// The running server.
#[derive(Debug, Clone)]
pub(crate) struct StandIn {
    pub(crate) address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
}

impl StandIn {
    pub(crate) async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { address: listener.local_addr().unwrap(), inner: Arc::default() };
        let router = Router::new()
            .route("/api/uploads", post(create))
            .route("/api/uploads/{id}", axum::routing::head(ask).patch(append))
            .route("/api/all-photos", get(list))
            .layer(axum::middleware::map_response_with_state(server.clone(), speak))
            .with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(crate) fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.inner().faults);
    }

    /// Names of the complete uploads, each as often as it is there.
    pub(crate) fn received(&self) -> Vec<String> {
        let complete = |upload: &&Upload| upload.bytes.len() == upload.length;
        let mut names: Vec<_> = self.inner().uploads.values().filter(complete).map(|u| u.name.clone()).collect();
        names.sort();
        names
    }

    /// How often a content is there in full.
    pub(crate) fn copies(&self, content: &[u8]) -> usize {
        self.inner().uploads.values().filter(|upload| upload.bytes == content).count()
    }

    pub(crate) fn requests(&self, beginning: &str) -> usize {
        self.inner().log.iter().filter(|line| line.starts_with(beginning)).count()
    }
}

async fn speak(State(server): State<StandIn>, mut answer: Response) -> Response {
    if let Some(version) = server.inner().faults.protocol {
        answer.headers_mut().insert(header::FINDME_PROTOCOL, version.into());
    }
    answer
}

/// Ends the connection without an answer.
fn break_off() -> ! {
    std::panic::resume_unwind(Box::new("the connection breaks on purpose"))
}

fn portal() -> Response {
    (StatusCode::OK, [("content-type", "text/html")], "<html>please log in</html>").into_response()
}

fn problem(status: u16, code: &str) -> Response {
    let body = format!(
        r#"{{"type":"/problems/{code}","title":"{code}","status":{status},"code":"{code}","retryable":false}}"#
    );
    let headers = [("content-type", PROBLEM_JSON), (header::TUS_RESUMABLE, "1.0.0"), ("retry-after", "0")];
    (StatusCode::from_u16(status).unwrap(), headers, body).into_response()
}

fn about(upload: &Upload, id: &str, status: StatusCode, receipts: bool) -> Response {
    let mut answer = (status, [(header::TUS_RESUMABLE, "1.0.0".to_owned())]).into_response();
    let mut put = |name: &'static str, value: String| drop(answer.headers_mut().insert(name, value.parse().unwrap()));
    put("location", format!("/api/uploads/{id}"));
    put(header::UPLOAD_OFFSET, upload.bytes.len().to_string());
    put(header::UPLOAD_LENGTH, upload.length.to_string());
    if upload.bytes.len() == upload.length && receipts {
        put(header::REPR_DIGEST, Digest::of(&upload.bytes).to_repr_digest());
        put(header::FINDME_PHOTO, upload.photo.to_string());
    }
    answer
}

impl Inner {
    fn meet(&mut self, line: String) -> Option<Response> {
        self.log.push(line);
        if self.faults.portal {
            return Some(portal());
        }
        if let Some((status, code, left)) = &mut self.faults.refuse_all
            && *left > 0
        {
            *left -= 1;
            return Some(problem(*status, code));
        }
        None
    }
}

async fn list(State(server): State<StandIn>) -> Response {
    let mut inner = server.inner();
    if let Some(answer) = inner.meet("GET list".into()) {
        return answer;
    }
    let jobs = inner.faults.jobs;
    inner.faults.jobs = jobs.saturating_sub(1);
    let body =
        format!(r#"{{"photos":[],"next":null,"counts":{{"received":0,"indexed":0,"failed":0,"runnable":{jobs}}}}}"#);
    ([("content-type", "application/json")], body).into_response()
}

fn described(headers: &HeaderMap, key: &str) -> Option<String> {
    let pairs = headers.get(header::UPLOAD_METADATA)?.to_str().ok()?;
    let value = pairs.split(',').find_map(|pair| pair.strip_prefix(key)?.strip_prefix(' '))?;
    String::from_utf8(STANDARD.decode(value).ok()?).ok()
}

async fn create(State(server): State<StandIn>, headers: HeaderMap) -> Response {
    let mut inner = server.inner();
    let name = described(&headers, metadata::FILENAME).unwrap_or_default();
    if let Some(answer) = inner.meet(format!("POST {name}")) {
        return answer;
    }
    if let Some((status, code)) = inner.faults.refuse.get(&name) {
        return problem(*status, code);
    }
    let length = headers[header::UPLOAD_LENGTH].to_str().unwrap().parse().unwrap();
    let photo = PhotoId::random().unwrap();
    let id = PhotoId::random().unwrap().to_simple();
    let upload = Upload { length, bytes: Vec::new(), name, photo };
    let answer = about(&upload, &id, StatusCode::CREATED, true);
    inner.uploads.insert(id, upload);
    if inner.faults.lose_creations > 0 {
        inner.faults.lose_creations -= 1;
        drop(inner);
        break_off();
    }
    answer
}

async fn ask(State(server): State<StandIn>, Path(id): Path<String>) -> Response {
    let mut inner = server.inner();
    if let Some(answer) = inner.meet(format!("HEAD {id}")) {
        return answer;
    }
    let receipts = !inner.faults.no_receipts;
    match inner.uploads.get(&id) {
        Some(upload) => about(upload, &id, StatusCode::OK, receipts),
        None => problem(404, "not-found"),
    }
}

async fn append(State(server): State<StandIn>, Path(id): Path<String>, request: Request<Body>) -> Response {
    let offset: usize = request.headers()[header::UPLOAD_OFFSET].to_str().unwrap().parse().unwrap();
    let cut = {
        let mut inner = server.inner();
        if let Some(answer) = inner.meet(format!("PATCH {id} {offset}")) {
            return answer;
        }
        match inner.uploads.get(&id) {
            None => return problem(404, "not-found"),
            Some(upload) if upload.bytes.len() != offset => return problem(409, "offset-mismatch"),
            Some(_) => inner.faults.cuts.pop(),
        }
    };
    let mut left = cut.unwrap_or(usize::MAX);
    let mut body = request.into_body().into_data_stream();
    while let Some(Ok(piece)) = body.next().await {
        let taken = piece.len().min(left);
        server.inner().uploads.get_mut(&id).unwrap().bytes.extend_from_slice(&piece[..taken]);
        left -= taken;
        if left == 0 {
            break_off();
        }
    }
    let hang = {
        let mut inner = server.inner();
        if inner.faults.damage > 0 {
            inner.faults.damage -= 1;
            inner.uploads.get_mut(&id).unwrap().bytes.clear();
            return problem(460, "digest-mismatch");
        }
        if inner.faults.lose_answers > 0 {
            inner.faults.lose_answers -= 1;
            drop(inner);
            break_off();
        }
        inner.faults.hang
    };
    if hang {
        std::future::pending::<()>().await;
    }
    let inner = server.inner();
    about(&inner.uploads[&id], &id, StatusCode::NO_CONTENT, !inner.faults.no_receipts)
}
