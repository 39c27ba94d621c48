//! Who may do what: every route, every role, two events. What belongs to another event is not found, and not told from
//! what does not exist.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use findme_common::protocol::{Changed, EventCreated, EventItem, PhotoList};
use findme_common::{Digest, PhotoId};
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::indexer::Step;
use crate::{Config, Faces, Server};

/// A router over a real data folder, without network and without models.
struct Bench {
    _folder: tempfile::TempDir,
    router: axum::Router,
    indexer: crate::indexer::Indexer,
    operator: String,
}

/// An event with a photo, and those who may see it.
struct Party {
    id: String,
    photographer: String,
    guest: String,
    photo: PhotoId,
}

struct Answer {
    status: StatusCode,
    headers: axum::http::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { faces: Faces::Off, workers: Some(1), ..Config::new(folder.path()) };
        let server = Server::open(config).await.unwrap();
        let operator = server.first_operator_token().unwrap().reveal();
        let indexer = server.indexer.clone();
        let router = super::router(Arc::new(server.app(tokio_util::sync::CancellationToken::new())));
        Self { _folder: folder, router, indexer, operator }
    }

    /// `who` is a header: a bearer token or a cookie.
    async fn ask(&self, method: &str, path: &str, who: Option<(&str, &str)>, body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "photos.example");
        if let Some((name, value)) = who {
            request = request.header(name, value);
        }
        if path.starts_with("/api/uploads") {
            request = request.header("tus-resumable", "1.0.0");
        } else {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn party(&self, name: &str) -> Party {
        let operator = format!("Bearer {}", self.operator);
        let body = serde_json::to_string(&serde_json::json!({ "name": name })).unwrap();
        let created = self.ask("POST", "/api/admin/events", Some(("authorization", &operator)), body).await;
        assert_eq!(created.status, StatusCode::CREATED);
        let created: EventCreated = created.json();
        assert_eq!(created.guest_link, format!("http://photos.example/e/{}", created.join_code));
        let photographer = format!("Bearer {}", created.photographer_token);
        let joined = self.ask("POST", "/api/join", None, format!("{{\"code\":\"{}\"}}", created.join_code)).await;
        let cookie = joined.headers[header::SET_COOKIE].to_str().unwrap();
        let guest = cookie.split(';').next().unwrap().to_owned();
        let photo = self.upload(created.id, &photographer, name).await;
        Party { id: created.id.to_string(), photographer, guest, photo }
    }

    /// A picture that differs with `seed`, all the way through the uploads and the indexer.
    async fn upload(&self, event: findme_common::EventId, photographer: &str, seed: &str) -> PhotoId {
        let mut rgb = vec![90; 64 * 48 * 3];
        rgb[..seed.len()].copy_from_slice(seed.as_bytes());
        let mut jpeg = Vec::new();
        let encoder = jpeg_encoder::Encoder::new(&mut jpeg, 95);
        encoder.encode(&rgb, 64, 48, jpeg_encoder::ColorType::Rgb).unwrap();
        let digest = Digest::of(&jpeg);
        let request = Request::post("/api/uploads")
            .header("authorization", photographer)
            .header("tus-resumable", "1.0.0")
            .header("upload-length", jpeg.len())
            .header("upload-metadata", format!("digest {}", base64(digest.to_string().as_bytes())))
            .header(header::CONTENT_TYPE, findme_common::protocol::OFFSET_OCTET_STREAM);
        let response = self.router.clone().oneshot(request.body(Body::from(jpeg)).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        assert_eq!(response.headers()["repr-digest"].to_str().unwrap(), digest.to_repr_digest());
        assert_eq!(self.indexer.step().await.unwrap(), Step::Done);
        PhotoId::of(event, &digest)
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[tokio::test]
async fn every_route_asks_who_it_is() {
    let bench = Bench::new().await;
    let (ours, other) = (bench.party("ours").await, bench.party("other").await);
    let operator = format!("Bearer {}", bench.operator);
    let roles: [Option<(&str, &str)>; 6] = [
        None,
        Some(("cookie", &ours.guest)),
        Some(("cookie", &other.guest)),
        Some(("authorization", &ours.photographer)),
        Some(("authorization", &other.photographer)),
        Some(("authorization", &operator)),
    ];
    let photo = ours.photo;
    let upload = findme_common::UploadId::random().unwrap();
    let event = &ours.id;
    // Nobody, our guest, their guest, our photographer, their photographer, operator.
    let table: [(&str, String, [u16; 6]); 25] = [
        ("GET", format!("/api/photo/{photo}"), [401, 200, 404, 200, 404, 401]),
        ("GET", format!("/api/photo/{photo}/preview"), [401, 200, 404, 200, 404, 401]),
        ("GET", format!("/api/photo/{photo}/thumb"), [401, 200, 404, 200, 404, 401]),
        ("GET", "/api/all-photos".into(), [401, 200, 200, 200, 200, 401]),
        ("GET", "/api/my-photos".into(), [401, 200, 200, 401, 401, 401]),
        ("GET", "/api/names".into(), [401, 401, 401, 200, 200, 401]),
        ("GET", "/api/me".into(), [401, 200, 200, 401, 401, 401]),
        ("POST", "/api/selfie".into(), [401, 403, 403, 401, 401, 401]),
        ("DELETE", "/api/selfie".into(), [401, 200, 200, 401, 401, 401]),
        ("POST", "/api/uploads".into(), [401, 401, 401, 400, 400, 401]),
        ("HEAD", format!("/api/uploads/{upload}"), [401, 401, 401, 404, 404, 401]),
        ("PATCH", format!("/api/uploads/{upload}"), [401, 401, 401, 415, 415, 401]),
        ("DELETE", format!("/api/uploads/{upload}"), [401, 401, 401, 404, 404, 401]),
        ("POST", "/api/photos/show".into(), [401, 401, 401, 400, 400, 401]),
        ("POST", "/api/photos/hide".into(), [401, 401, 401, 400, 400, 401]),
        ("POST", "/api/admin/events".into(), [401, 401, 401, 401, 401, 400]),
        ("GET", "/api/admin/events".into(), [401, 401, 401, 401, 401, 200]),
        ("PATCH", format!("/api/admin/events/{event}"), [401, 401, 401, 401, 401, 400]),
        ("GET", format!("/api/admin/events/{event}/tokens"), [401, 401, 401, 401, 401, 200]),
        ("POST", format!("/api/admin/events/{event}/tokens"), [401, 401, 401, 401, 401, 400]),
        ("DELETE", format!("/api/admin/events/{event}/tokens/999"), [401, 401, 401, 401, 401, 404]),
        ("GET", format!("/api/admin/events/{event}/qr.svg"), [401, 401, 401, 401, 401, 200]),
        // Last, because they succeed: the other's attempts come before ours.
        ("DELETE", format!("/api/photo/{}", other.photo), [401, 401, 401, 404, 200, 401]),
        ("DELETE", format!("/api/admin/events/{}", other.id), [401, 401, 401, 401, 401, 204]),
        ("GET", "/livez".into(), [200; 6]),
    ];
    for (method, path, expected) in table {
        for (who, expected) in roles.iter().zip(expected) {
            let answer = bench.ask(method, &path, *who, "").await;
            assert_eq!(answer.status.as_u16(), expected, "{method} {path} as {who:?}");
        }
    }
}

#[tokio::test]
async fn a_hidden_photo_is_gone_for_guests_and_a_deleted_one_for_all() {
    let bench = Bench::new().await;
    let party = bench.party("one").await;
    let (guest, photographer) = (Some(("cookie", &*party.guest)), Some(("authorization", &*party.photographer)));
    let selection = format!("{{\"photos\":[\"{}\"]}}", party.photo);
    let bytes = format!("/api/photo/{}", party.photo);
    let seen = async || bench.ask("GET", "/api/all-photos", guest, "").await.json::<PhotoList>().photos.len();
    assert_eq!(seen().await, 1);
    for changed in [1, 0] {
        let hidden = bench.ask("POST", "/api/photos/hide", photographer, selection.clone()).await;
        assert_eq!(hidden.json::<Changed>(), Changed { changed });
    }
    assert_eq!(seen().await, 0);
    assert_eq!(bench.ask("GET", &bytes, guest, "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(bench.ask("GET", &bytes, photographer, "").await.status, StatusCode::OK);
    bench.ask("POST", "/api/photos/show", photographer, selection).await;
    assert_eq!(seen().await, 1);
    assert_eq!(bench.ask("GET", &format!("{bytes}/thumb"), guest, "").await.status, StatusCode::OK);

    assert_eq!(bench.ask("DELETE", &bytes, photographer, "").await.status, StatusCode::OK);
    assert_eq!(bench.ask("GET", &bytes, photographer, "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(seen().await, 0);
    for folder in ["photos", "derived"] {
        let event = party.id.replace('-', "");
        let left = std::fs::read_dir(bench._folder.path().join(folder).join(event)).unwrap().count();
        assert_eq!(left, 0, "files are left in {folder}");
    }
}

#[tokio::test]
async fn a_revoked_token_and_a_closed_event_take_no_photos() {
    let bench = Bench::new().await;
    let party = bench.party("one").await;
    let bearer = format!("Bearer {}", bench.operator);
    let operator = Some(("authorization", &*bearer));
    let photographer = Some(("authorization", &*party.photographer));
    let event = format!("/api/admin/events/{}", party.id);
    assert_eq!(
        bench.ask("PATCH", &event, operator, "{\"closed\":true,\"name\":\"done\"}").await.status,
        StatusCode::NO_CONTENT
    );
    let listed: Vec<EventItem> = bench.ask("GET", "/api/admin/events", operator, "").await.json();
    assert_eq!((listed[0].name.as_str(), listed[0].closed_at.is_some(), listed[0].counts.indexed), ("done", true, 1));
    let upload = Request::post("/api/uploads")
        .header("authorization", &party.photographer)
        .header("tus-resumable", "1.0.0")
        .header("upload-length", "1");
    let refused = bench.router.clone().oneshot(upload.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let tokens: Vec<findme_common::protocol::TokenItem> =
        bench.ask("GET", &format!("{event}/tokens"), operator, "").await.json();
    assert!(tokens[0].last_seen.is_some());
    let revoke = format!("{event}/tokens/{}", tokens[0].id);
    assert_eq!(bench.ask("DELETE", &revoke, operator, "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(bench.ask("GET", "/api/names", photographer, "").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn deleting_an_event_leaves_nothing_of_it() {
    let bench = Bench::new().await;
    let party = bench.party("one").await;
    let bearer = format!("Bearer {}", bench.operator);
    let operator = Some(("authorization", &*bearer));
    assert_eq!(
        bench.ask("DELETE", &format!("/api/admin/events/{}", party.id), operator, "").await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(bench.ask("GET", "/api/me", Some(("cookie", &party.guest)), "").await.status, StatusCode::UNAUTHORIZED);
    for folder in ["photos", "derived", "keys", "staging"] {
        let left = std::fs::read_dir(bench._folder.path().join(folder)).unwrap().count();
        assert_eq!(left, 0, "something is left in {folder}");
    }
}
