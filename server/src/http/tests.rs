//! Who may do what: every route, every role, two events. What belongs to another event is not found, and not told from
//! what does not exist.

mod desk;
mod guard;
mod limits;
mod pages;
mod signed;
mod visits;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use findme_common::protocol::{
    Changed, Code, EventCreated, EventItem, LiveKind, PhotoList, Problem, Report, ReportTaken, Visibility,
};
use findme_common::{Digest, PhotoId};
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::catalog::{Audience, Catalog};
use crate::indexer::Step;
use crate::{Config, Faces, Server};

/// A router over a real data folder, without network and without models.
struct Bench {
    _folder: tempfile::TempDir,
    router: axum::Router,
    indexer: crate::indexer::Indexer,
    catalog: Catalog,
    live: crate::live::Live,
    app: Arc<super::App>,
    operator: String,
}

/// An event with a photo, and those who may see it.
struct Party {
    id: String,
    photographer: String,
    join: String,
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
        Self::with(|config| config).await
    }

    async fn with(change: impl FnOnce(Config) -> Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = crate::catalog::tests::support::database(folder.path()).await;
        let photos = crate::store::tests::place(folder.path());
        let elsewhere = crate::Elsewhere { database, photos, ..Default::default() };
        let config = Config { elsewhere, faces: Faces::Off, workers: Some(1), ..Config::new(folder.path()) };
        let server = Server::open(change(config)).await.unwrap();
        let operator = server.first_operator_token().unwrap().reveal();
        let (indexer, catalog) = (server.indexer.clone(), server.site.catalog.clone());
        let live = server.live.clone();
        let app = Arc::new(server.app(tokio_util::sync::CancellationToken::new()));
        let router = super::router(app.clone());
        Self { _folder: folder, router, indexer, catalog, live, app, operator }
    }

    /// `who` is a header: a bearer token or a cookie.
    async fn ask(&self, method: &str, path: &str, who: Option<(&str, &str)>, body: impl Into<Body>) -> Answer {
        let (parts, body) = self.head(method, path, who, body).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// The answer without its body, which may have no end.
    async fn head(&self, method: &str, path: &str, who: Option<(&str, &str)>, body: impl Into<Body>) -> Response {
        let mut request = Request::builder().method(method).uri(path).header("host", "photos.example");
        if let Some((name, value)) = who {
            request = request.header(name, value);
        }
        if path.starts_with("/api/uploads") {
            request = request.header("tus-resumable", "1.0.0");
        } else {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap()
    }

    /// As an upload with `--hold` or a guest's report leaves it.
    async fn set_visibility(&self, photo: &PhotoId, to: Visibility) {
        self.catalog.force_visibility(*photo, to).await.unwrap();
    }

    async fn party(&self, name: &str) -> Party {
        let operator = format!("Bearer {}", self.operator);
        let body = serde_json::to_string(&serde_json::json!({ "name": name, "attested": true })).unwrap();
        let created = self.ask("POST", "/api/admin/events", Some(("authorization", &operator)), body).await;
        assert_eq!(created.status, StatusCode::CREATED);
        let created: EventCreated = created.json();
        assert_eq!(created.guest_link, format!("http://photos.example/e/{}", created.join_code));
        let photographer = format!("Bearer {}", created.photographer_token);
        let joined = self.ask("POST", "/api/join", None, format!("{{\"code\":\"{}\"}}", created.join_code)).await;
        let cookie = joined.headers[header::SET_COOKIE].to_str().unwrap();
        let guest = cookie.split(';').next().unwrap().to_owned();
        let photo = self.upload(created.id, &photographer, name).await;
        Party { id: created.id.to_string(), photographer, join: created.join_code, guest, photo }
    }

    /// A picture that differs with `seed`, all the way through the uploads and the indexer.
    async fn upload(&self, event: findme_common::EventId, photographer: &str, seed: &str) -> PhotoId {
        self.upload_named(event, photographer, seed, "").await
    }

    async fn upload_named(&self, event: findme_common::EventId, photographer: &str, seed: &str, name: &str) -> PhotoId {
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
            .header(
                "upload-metadata",
                format!("filename {},digest {}", base64(name.as_bytes()), base64(digest.to_string().as_bytes())),
            )
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
    let fill = |template: &str| {
        let last = if template.starts_with("/api/uploads") { upload.to_string() } else { photo.to_string() };
        let id = if template.starts_with("/api/admin") { event.clone() } else { last };
        template.replace("{id}", &id).replace("{token}", "999").replace("{suppression}", "999").replace("{face}", "999")
    };
    // Nobody, our guest, their guest, our photographer, their photographer, operator.
    let table: &[(&str, &str, [u16; 6])] = &[
        ("GET", "/api/photo/{id}", [401, 200, 404, 200, 404, 401]),
        ("GET", "/api/photo/{id}/preview", [401, 200, 404, 200, 404, 401]),
        ("GET", "/api/photo/{id}/thumb", [401, 200, 404, 200, 404, 401]),
        ("GET", "/api/photo/{id}/small", [401, 200, 404, 200, 404, 401]),
        ("GET", "/api/all-photos", [401, 200, 200, 200, 200, 401]),
        ("GET", "/api/my-photos", [401, 200, 200, 401, 401, 401]),
        ("POST", "/api/my-photos/{id}", [401, 400, 400, 401, 401, 401]),
        ("GET", "/api/names", [401, 401, 401, 200, 200, 401]),
        ("GET", "/api/live", [401, 200, 200, 200, 200, 401]),
        ("GET", "/api/me", [401, 200, 200, 401, 401, 401]),
        ("GET", "/api/my-photos.zip", [401, 200, 200, 401, 401, 401]),
        ("POST", "/api/join", [400; 6]),
        ("POST", "/api/selfie", [401, 403, 403, 401, 401, 401]),
        ("POST", "/api/selfie/look", [401, 403, 403, 401, 401, 401]),
        ("POST", "/api/me/link", [401, 200, 200, 401, 401, 401]),
        ("DELETE", "/api/me/link", [401, 200, 200, 401, 401, 401]),
        ("POST", "/api/back", [400; 6]),
        ("GET", "/api/times", [401, 200, 200, 200, 200, 401]),
        ("POST", "/api/photos/feature", [401, 401, 401, 400, 400, 401]),
        ("POST", "/api/photos/unfeature", [401, 401, 401, 400, 400, 401]),
        ("GET", "/api/admin/system", [401, 401, 401, 401, 401, 200]),
        ("GET", "/api/admin/audit", [401, 401, 401, 401, 401, 200]),
        ("DELETE", "/api/selfie", [401, 200, 200, 401, 401, 401]),
        ("OPTIONS", "/api/uploads", [200; 6]),
        ("POST", "/api/uploads", [401, 401, 401, 400, 400, 401]),
        ("OPTIONS", "/api/uploads/{id}", [200; 6]),
        ("HEAD", "/api/uploads/{id}", [401, 401, 401, 404, 404, 401]),
        ("PATCH", "/api/uploads/{id}", [401, 401, 401, 415, 415, 401]),
        ("DELETE", "/api/uploads/{id}", [401, 401, 401, 404, 404, 401]),
        ("POST", "/api/photos/show", [401, 401, 401, 400, 400, 401]),
        ("POST", "/api/photos/hide", [401, 401, 401, 400, 400, 401]),
        ("POST", "/api/photos/release", [401, 401, 401, 400, 400, 401]),
        ("GET", "/api/photos/reports", [401, 401, 401, 200, 200, 401]),
        ("POST", "/api/never-match", [401, 403, 403, 401, 401, 401]),
        ("DELETE", "/api/never-match", [401, 200, 200, 401, 401, 401]),
        ("POST", "/api/admin/events", [401, 401, 401, 401, 401, 400]),
        ("GET", "/api/admin/events", [401, 401, 401, 401, 401, 200]),
        ("PATCH", "/api/admin/events/{id}", [401, 401, 401, 401, 401, 400]),
        ("GET", "/api/admin/events/{id}/tokens", [401, 401, 401, 401, 401, 200]),
        ("POST", "/api/admin/events/{id}/tokens", [401, 401, 401, 401, 401, 400]),
        ("DELETE", "/api/admin/events/{id}/tokens/{token}", [401, 401, 401, 401, 401, 404]),
        ("GET", "/api/admin/events/{id}/people", [401, 401, 401, 401, 401, 503]),
        ("GET", "/api/admin/events/{id}/people/{face}/picture", [401, 401, 401, 401, 401, 404]),
        ("POST", "/api/admin/events/{id}/people/{face}/hide", [401, 401, 401, 401, 401, 400]),
        ("GET", "/api/admin/events/{id}/suppressions", [401, 401, 401, 401, 401, 200]),
        ("DELETE", "/api/admin/events/{id}/suppressions/{suppression}", [401, 401, 401, 401, 401, 404]),
        ("POST", "/api/admin/events/{id}/suppressions/{suppression}/confirm", [401, 401, 401, 401, 401, 404]),
        ("GET", "/api/admin/events/{id}/qr.svg", [401, 401, 401, 401, 401, 200]),
        ("GET", "/api/admin/events/{id}/qr.png", [401, 401, 401, 401, 401, 200]),
        ("GET", "/api/board", [401, 401, 401, 200, 200, 401]),
        ("GET", "/api/board/qr.svg", [401, 401, 401, 200, 200, 401]),
        // Without a page of ours that asks for it.
        ("POST", "/api/desk", [401; 6]),
        ("DELETE", "/api/desk", [204; 6]),
        ("GET", "/api/openapi.json", [200; 6]),
        ("GET", "/livez", [200; 6]),
        ("GET", "/readyz", [200; 6]),
        ("GET", "/metrics", [401, 401, 401, 401, 401, 200]),
        ("GET", "/api/photos/attention", [401, 401, 401, 200, 200, 401]),
        ("POST", "/api/photos/retry", [401, 401, 401, 400, 400, 401]),
        ("GET", "/api/admin/jobs", [401, 401, 401, 401, 401, 200]),
        ("POST", "/api/admin/jobs/retry", [401, 401, 401, 401, 401, 400]),
        ("POST", "/api/admin/events/{id}/reindex", [401, 401, 401, 401, 401, 400]),
        ("POST", "/api/admin/events/{id}/rematch", [401, 401, 401, 401, 401, 200]),
        // Last, because they succeed. Others see nothing to report.
        ("POST", "/api/photo/{id}/report", [401, 200, 404, 401, 401, 401]),
        // Their photographer is not told that the photo is there.
        ("DELETE", "/api/photo/{id}", [401, 401, 401, 200, 404, 401]),
    ];
    // After these rows nothing of our event is left.
    let last: &[(&str, &str, [u16; 6])] = &[("DELETE", "/api/admin/events/{id}", [401, 401, 401, 401, 401, 204])];
    for (method, template, expected) in table.iter().chain(last) {
        for (who, expected) in roles.iter().zip(expected) {
            let answer = bench.head(method, &fill(template), *who, "").await;
            assert_eq!(answer.status().as_u16(), *expected, "{method} {template} as {who:?}");
        }
    }
    for (method, path) in super::openapi::tests::operations() {
        let there = table.iter().chain(last).any(|row| (row.0, row.1) == (&*method, &*path));
        assert!(there, "{method} {path} has no row: who may do it?");
    }
}

#[tokio::test]
async fn pages_show_an_event_only_to_its_guests() {
    let bench = Bench::new().await;
    let party = bench.party("one").await;
    let photographer = Some(("authorization", &*party.photographer));
    for path in ["/", "/privacy"] {
        assert_eq!(bench.ask("GET", path, None, "").await.status, StatusCode::OK, "{path}");
    }
    for path in ["/me", "/gallery"] {
        assert_eq!(bench.ask("GET", path, None, "").await.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(bench.ask("GET", path, photographer, "").await.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(bench.ask("GET", path, Some(("cookie", &party.guest)), "").await.status, StatusCode::OK, "{path}");
    }
    assert_eq!(bench.ask("GET", "/e/0000000000", None, "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(bench.ask("POST", "/e/0000000000", None, "").await.status, StatusCode::FORBIDDEN);
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
async fn indexing_again_changes_no_byte_that_was_shown() {
    let bench = Bench::new().await;
    if !bench.app.store.has_folders() {
        eprintln!("skipped: this exchanges files of a folder");
        return;
    }
    let (party, other) = (bench.party("one").await, bench.party("two").await);
    let photographer = Some(("authorization", &*party.photographer));
    let bearer = format!("Bearer {}", bench.operator);
    let operator = Some(("authorization", &*bearer));
    let folder = bench._folder.path().join("derived").join(party.id.replace('-', ""));
    let files = || {
        let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect::<std::collections::BTreeMap<_, _>>()
    };
    // What was shown is told from what would be made now.
    let elsewhere = bench._folder.path().join("photos").join(other.id.replace('-', "")).join(other.photo.to_simple());
    for path in files().keys() {
        std::fs::copy(&elsewhere, path).unwrap();
    }
    let shown = files();
    assert_eq!(shown.len(), 3);
    let reindex = format!("/api/admin/events/{}/reindex", party.id);
    assert_eq!(bench.ask("POST", &reindex, operator, "{}").await.json::<Changed>(), Changed { changed: 1 });
    assert_eq!(bench.indexer.step().await.unwrap(), Step::Done);
    assert_eq!(files(), shown);
    // One that a power cut tore is made again; the other stays.
    let (torn, kept) = (shown.keys().next().unwrap(), shown.keys().nth(1).unwrap());
    std::fs::write(torn, &shown[torn][..100]).unwrap();
    bench.ask("POST", &reindex, operator, "{}").await;
    assert_eq!(bench.indexer.step().await.unwrap(), Step::Done);
    assert!(files()[torn].len() > 100 && files()[kept] == shown[kept]);
    // An original that is gone is a trouble, not a failure; the other event's photographer cannot ask for it.
    std::fs::remove_dir_all(bench._folder.path().join("photos").join(party.id.replace('-', ""))).unwrap();
    bench.ask("POST", &reindex, operator, "{}").await;
    for _ in 0..3 {
        assert_eq!(bench.indexer.step().await.unwrap(), Step::Done);
        let theirs = Some(("authorization", &*other.photographer));
        let retry =
            async |who| bench.ask("POST", "/api/photos/retry", who, "{\"all\":true}").await.json::<Changed>().changed;
        assert_eq!((retry(theirs).await, retry(photographer).await), (0, 1));
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

#[tokio::test]
async fn in_a_closed_gallery_a_guest_sees_no_photo_that_they_are_not_in() {
    let bench = Bench::new().await;
    let party = bench.party("one").await;
    let bearer = format!("Bearer {}", bench.operator);
    let (guest, photographer) = (Some(("cookie", &*party.guest)), Some(("authorization", &*party.photographer)));
    let event = format!("/api/admin/events/{}", party.id);
    let set = async |open: bool| {
        let body = format!("{{\"gallery_open\":{open}}}");
        bench.ask("PATCH", &event, Some(("authorization", &bearer)), body).await.status
    };
    assert_eq!(set(false).await, StatusCode::NO_CONTENT);
    for rendition in ["", "/preview", "/thumb", "/small"] {
        let path = format!("/api/photo/{}{rendition}", party.photo);
        assert_eq!(bench.ask("GET", &path, guest, "").await.status, StatusCode::NOT_FOUND, "{rendition}");
        assert_eq!(bench.ask("GET", &path, photographer, "").await.status, StatusCode::OK, "{rendition}");
    }
    assert_eq!(set(true).await, StatusCode::NO_CONTENT);
    let path = format!("/api/photo/{}", party.photo);
    assert_eq!(bench.ask("GET", &path, guest, "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_held_photo_is_counted_and_shown_only_when_it_is_released() {
    let bench = Bench::new().await;
    let party = bench.party("one").await;
    let (guest, photographer) = (Some(("cookie", &*party.guest)), Some(("authorization", &*party.photographer)));
    let selection = format!("{{\"photos\":[\"{}\"]}}", party.photo);
    let list = async |who| bench.ask("GET", "/api/all-photos", who, "").await.json::<PhotoList>();
    assert_eq!(list(photographer).await.photos[0].visibility, Some(Visibility::Shown));
    assert_eq!(list(guest).await.photos[0].visibility, None);
    bench.set_visibility(&party.photo, Visibility::Held).await;
    let listed = list(photographer).await;
    assert_eq!((listed.photos[0].visibility, listed.counts.held), (Some(Visibility::Held), 1));
    assert_eq!((list(guest).await.photos.len(), list(guest).await.counts.held), (0, 0));
    // Hidden on purpose is another thing than held: a release leaves it.
    for (from, changed) in [(Visibility::Hidden, 0), (Visibility::Reported, 0), (Visibility::Held, 1)] {
        bench.set_visibility(&party.photo, from).await;
        let before = bench.catalog.live_end().await.unwrap();
        let answer = bench.ask("POST", "/api/photos/release", photographer, selection.clone()).await;
        assert_eq!(answer.json::<Changed>(), Changed { changed }, "{from:?}");
        let told = bench.catalog.live_after(before, 10).await.unwrap();
        let told: Vec<_> = told.iter().map(|entry| (entry.kind, entry.audience)).collect();
        let expected = [(LiveKind::Indexed, Audience::Everyone)];
        assert_eq!(told, &expected[..changed as usize], "{from:?}");
    }
    assert_eq!(list(guest).await.photos.len(), 1);
}

#[tokio::test]
async fn a_reported_photo_is_down_until_its_photographer_has_looked() {
    let bench = Bench::new().await;
    let party = bench.party("one").await;
    let (guest, photographer) = (Some(("cookie", &*party.guest)), Some(("authorization", &*party.photographer)));
    let path = format!("/api/photo/{}/report", party.photo);
    let report = async || bench.ask("POST", &path, guest, "").await;
    let reports = async || bench.ask("GET", "/api/photos/reports", photographer, "").await.json::<Vec<Report>>();
    let seen = async || bench.ask("GET", "/api/all-photos", guest, "").await.json::<PhotoList>().photos.len();
    let before = bench.catalog.live_end().await.unwrap();
    assert_eq!(report().await.json::<ReportTaken>(), ReportTaken { hidden: true });
    let told = bench.catalog.live_after(before, 10).await.unwrap();
    assert_eq!((told[0].kind, told[0].audience, told.len()), (LiveKind::Removed, Audience::Everyone, 1));
    assert_eq!((seen().await, reports().await.len(), reports().await[0].photo), (0, 1, party.photo));
    assert_eq!(report().await.status, StatusCode::NOT_FOUND, "nobody reports what they do not see");
    let selection = format!("{{\"photos\":[\"{}\"]}}", party.photo);
    bench.ask("POST", "/api/photos/show", photographer, selection).await;
    assert_eq!((seen().await, reports().await.len()), (1, 0));
    // The photographer has decided: nobody takes it down again, but they hear that somebody asks once more.
    let joined = bench.ask("POST", "/api/join", None, format!("{{\"code\":\"{}\"}}", party.join)).await;
    let cookie = joined.headers[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    let others = bench.ask("POST", &path, Some(("cookie", &cookie)), "").await;
    for answer in [report().await, others, report().await] {
        assert_eq!(answer.json::<ReportTaken>(), ReportTaken { hidden: false });
    }
    let waiting = reports().await;
    assert_eq!((seen().await, waiting.len(), waiting.iter().any(|report| report.hidden)), (1, 2, false), "once each");
    let selection = format!("{{\"photos\":[\"{}\"]}}", party.photo);
    let decided = bench.ask("POST", "/api/photos/show", photographer, selection).await;
    assert_eq!(decided.json::<Changed>(), Changed { changed: 0 });
    assert_eq!(reports().await.len(), 0, "looked at again");
}

#[tokio::test]
async fn a_guest_gets_the_original_in_the_same_length_under_another_tag() {
    let bench = Bench::new().await;
    let party = bench.party("one").await;
    let (guest, photographer) = (Some(("cookie", &*party.guest)), Some(("authorization", &*party.photographer)));
    let path = format!("/api/photo/{}", party.photo);
    let (theirs, ours) = (bench.ask("GET", &path, guest, "").await, bench.ask("GET", &path, photographer, "").await);
    assert_eq!(theirs.body.len(), ours.body.len());
    assert_ne!(theirs.headers["etag"], ours.headers["etag"]);
    assert!(theirs.headers.get("repr-digest").is_none() && ours.headers.get("repr-digest").is_some());
}
