//! What is erased is in no file any more: the bytes of the sealed vectors are taken from the database beforehand and
//! looked for afterwards, in pieces, in every file of the data folder.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use findme_common::PhotoId;
use findme_common::protocol::{Changed, Code, ErasureReceipt, EventItem, PhotoList, ReindexRequest, header};
use reqwest::{Method, RequestBuilder, StatusCode};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

use crate::support::guest::client;
use crate::support::{Event, Server, asset, not_tested, wait_for};

/// Sealed bytes are random: sixteen of them in a row are nowhere by chance.
const PIECE: usize = 16;

/// The first column of what a question to the catalogue gives.
async fn ask<T>(server: &Server, question: &str) -> Vec<T>
where
    T: for<'r> sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    let file = SqliteConnectOptions::new().filename(server.data().join("findme.sqlite")).read_only(true);
    let mut catalogue = file.connect().await.unwrap();
    let rows = sqlx::query(AssertSqlSafe(question.to_owned())).fetch_all(&mut catalogue).await.unwrap();
    let values = rows.iter().map(|row| row.get(0)).collect();
    catalogue.close().await.unwrap();
    values
}

async fn count(server: &Server, of: &str) -> i64 {
    ask(server, &format!("SELECT COUNT(*) FROM {of}")).await[0]
}

fn pieces(secrets: &[Vec<u8>]) -> HashSet<&[u8]> {
    assert!(secrets.iter().all(|secret| secret.len() >= 2 * PIECE), "that is no secret");
    secrets.iter().flat_map(|secret| secret.chunks_exact(PIECE)).collect()
}

/// How many pieces of the secrets are somewhere in the folder's files.
fn traces(folder: &Path, secrets: &[Vec<u8>]) -> usize {
    let wanted = pieces(secrets);
    let mut found = HashSet::new();
    for file in files(folder) {
        let bytes = std::fs::read(&file).unwrap();
        found.extend(bytes.windows(PIECE).filter_map(|window| wanted.get(window).copied()));
    }
    found.len()
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all
}

fn operator(server: &Server, method: Method, path: &str) -> RequestBuilder {
    client().request(method, format!("{}{path}", server.url())).bearer_auth(server.operator_token())
}

async fn upload(event: &Event, length: usize, bytes: Vec<u8>) {
    let request = event.request(Method::POST, "/api/uploads").header(header::UPLOAD_LENGTH, length);
    let answer = request.header("content-type", "application/offset+octet-stream").body(bytes).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
}

/// A server with an event of three photos of two people.
async fn party(models: &Path, people: &Path) -> (Server, Event) {
    let server = Server::start_with_models(models).await;
    let event = server.create_event("party");
    for name in ["obama/obama.jpg", "obama/obama-1080p.jpg", "biden/biden.jpg"] {
        let bytes = std::fs::read(people.join(name)).unwrap();
        upload(&event, bytes.len(), bytes).await;
    }
    assert_eq!(event.rest().await.indexed, 3);
    (server, event)
}

#[tokio::test(flavor = "multi_thread")]
async fn erased_vectors_are_in_no_file() {
    let (Some(people), Some(models)) = (asset("photos/people"), asset("models")) else { return };
    let (server, event) = party(&models, &people).await;
    let data = server.data();
    let selfie = std::fs::read(people.join("obama/obama2.jpg")).unwrap();
    let (guest, other) = (event.guest().await, event.guest().await);
    // A second guest is beside the first in every table, and stays.
    other.selfie(std::fs::read(people.join("biden/biden.jpg")).unwrap()).await.unwrap();
    let others: Vec<Vec<u8>> = ask(&server, "SELECT vector FROM enrolments").await;
    let found = guest.selfie(selfie.clone()).await.unwrap();
    let mine: HashSet<PhotoId> = found.you.iter().map(|hit| hit.photo).collect();
    assert_eq!(mine.len(), 2, "{found:?}");
    let enrolled: Vec<Vec<u8>> = ask(&server, "SELECT vector FROM enrolments ORDER BY id DESC LIMIT 1").await;
    let faces: Vec<Vec<u8>> = ask(&server, "SELECT vector FROM faces").await;
    assert_eq!(faces.len(), 3);
    for there in [&enrolled, &others, &faces] {
        assert_eq!(traces(&data, there), pieces(there).len(), "what is held is found");
    }

    // A photo that is taken while the guest is enrolled: told to the guest alone, in the live log.
    let later = std::fs::read(people.join("obama/obama3.jpg")).unwrap();
    upload(&event, later.len(), later).await;
    event.rest().await;
    assert_eq!(count(&server, "live WHERE guest IS NOT NULL").await, 1);

    let receipt: ErasureReceipt =
        guest.request(Method::DELETE, "/api/selfie").send().await.unwrap().json().await.unwrap();
    assert_eq!((receipt.enrolments, receipt.matches, receipt.consents), (1, 3, 1));
    assert_eq!(traces(&data, &enrolled), 0, "the guest's vector is in a file");
    assert_eq!(count(&server, "live WHERE guest IS NOT NULL").await, 0);
    let held = guest.held().await;
    assert_eq!((held.enrolments, held.consents.len(), held.matches.len(), held.never_matched), (0, 0, 0, false));
    for there in [&others, &faces] {
        assert_eq!(traces(&data, there), pieces(there).len(), "what others are found by stays");
    }

    // Never again: the faces go, and do not come back.
    let faces: Vec<Vec<u8>> = ask(&server, "SELECT vector FROM faces").await;
    let request = guest.request(Method::POST, "/api/never-match?consent=yes").header("content-type", "image/jpeg");
    let answer = request.body(selfie.clone()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.json::<serde_json::Value>().await.unwrap(), serde_json::json!({ "state": "active" }), "no count");
    let left: Vec<Vec<u8>> = ask(&server, "SELECT vector FROM faces").await;
    let gone: Vec<Vec<u8>> = faces.into_iter().filter(|face| !left.contains(face)).collect();
    assert_eq!((left.len(), gone.len()), (1, 3));
    assert_eq!(traces(&data, &gone), 0, "a face that is never matched is in a file");
    assert_eq!(traces(&data, &left), pieces(&left).len());
    let reindex = format!("/api/admin/events/{}/reindex", event.id);
    let queued =
        operator(&server, Method::POST, &reindex).json(&ReindexRequest { failed: false }).send().await.unwrap();
    assert_eq!(queued.json::<Changed>().await.unwrap().changed, 4);
    event.rest().await;
    assert_eq!(count(&server, "photos WHERE index_runs = 2").await, 4, "all were looked at again");
    assert_eq!(count(&server, "faces").await, 1, "faces that are never matched came back");
    assert!(guest.held().await.never_matched);

    delete_the_event(&server, &event).await;
    server.assert_no_faults();
}

/// With everything: rows, files, key, and what came of an unfinished upload.
async fn delete_the_event(server: &Server, event: &Event) {
    let data = server.data();
    upload(event, 5000, b"the beginning of a photo".to_vec()).await;
    let mut secrets: Vec<Vec<u8>> = Vec::new();
    for table in ["faces", "enrolments", "suppression_vectors"] {
        let sealed: Vec<Vec<u8>> = ask(server, &format!("SELECT vector FROM {table}")).await;
        assert_eq!(sealed.len(), 1, "{table}");
        secrets.extend(sealed);
    }
    secrets.push(std::fs::read(data.join("keys").join(event.id.to_simple())).unwrap());
    assert_eq!(traces(&data, &secrets), pieces(&secrets).len());
    for folder in ["photos", "derived", "keys", "staging"] {
        assert!(!files(&data.join(folder)).is_empty(), "{folder}: nothing could be left there");
    }

    let path = format!("/api/admin/events/{}", event.id);
    let answer = operator(server, Method::DELETE, &path).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert_nothing_left(server, &secrets).await;
}

/// No trace of the one event that there was, but that it was erased.
async fn assert_nothing_left(server: &Server, secrets: &[Vec<u8>]) {
    let data = server.data();
    assert_eq!(traces(&data, secrets), 0, "a vector or the key of a deleted event is in a file");
    for folder in ["photos", "derived", "keys", "staging"] {
        assert_eq!(files(&data.join(folder)), [] as [PathBuf; 0], "{folder}");
    }
    let tables: Vec<String> = ask(
        server,
        "SELECT DISTINCT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c ON c.name IN ('event', 'guest')
         WHERE m.type = 'table' AND m.name <> 'audit'",
    )
    .await;
    assert!(tables.len() >= 10, "{tables:?}");
    for table in tables.iter().map(String::as_str).chain(["events"]) {
        assert_eq!(count(server, table).await, 0, "{table} has rows of a deleted event");
    }
    assert!(count(server, "audit WHERE action = 'event-deleted'").await == 1, "that it went is written down");
}

/// What makes a program believe that it is later: the library that the tool `faketime` puts before the system's own.
fn later(days: u32) -> Option<Vec<String>> {
    let asked = Command::new("faketime").args(["-f", "+1d", "printenv", "LD_PRELOAD"]).output();
    let Some(library) = asked.ok().filter(|output| output.status.success()) else {
        not_tested("faketime moves the server's clock");
        return None;
    };
    let library = String::from_utf8(library.stdout).unwrap().trim().to_owned();
    // Only the time of day is moved: no timer, no file's time.
    let set = [format!("LD_PRELOAD={library}"), format!("FAKETIME=+{days}d")];
    let rest = ["FAKETIME_DONT_FAKE_MONOTONIC=1", "NO_FAKE_STAT=1"].map(str::to_owned);
    Some(["env".to_owned()].into_iter().chain(set).chain(rest).collect())
}

/// The same data, so many days later.
async fn reopened(mut server: Server, days: u32) -> Server {
    server.kill();
    let program = later(days).expect("it was there a moment ago");
    let mut server = server.through(&program.iter().map(String::as_str).collect::<Vec<_>>());
    server.run().await;
    let answer = client().get(format!("{}/livez", server.url())).send().await.unwrap();
    let told = httpdate::parse_http_date(answer.headers()["date"].to_str().unwrap()).unwrap();
    let ahead = told.duration_since(std::time::SystemTime::now()).unwrap().as_secs() + 3600;
    assert_eq!(ahead / 86_400, u64::from(days), "the server's clock was moved");
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn faces_and_then_the_event_go_by_themselves_when_their_time_has_come() {
    let (Some(people), Some(models)) = (asset("photos/people"), asset("models")) else { return };
    if later(1).is_none() {
        return;
    }
    let (server, event) = party(&models, &people).await;
    let (data, selfie) = (server.data(), std::fs::read(people.join("obama/obama2.jpg")).unwrap());
    let guest = event.guest().await;
    guest.selfie(selfie.clone()).await.unwrap();
    let mut secrets: Vec<Vec<u8>> = ask(&server, "SELECT vector FROM faces").await;
    secrets.extend(ask::<Vec<u8>>(&server, "SELECT vector FROM enrolments").await);
    let key = data.join("keys").join(event.id.to_simple());
    secrets.push(std::fs::read(&key).unwrap());

    let server = reopened(server, 20).await;
    assert_eq!(guest.selfie(selfie.clone()).await.unwrap().you.len(), 2, "their time has not come");
    assert_eq!(count(&server, "faces").await, 3);
    // The second selfie took the place of the first.
    secrets.extend(ask::<Vec<u8>>(&server, "SELECT vector FROM enrolments").await);
    let now_held = [secrets.last().unwrap().clone()];
    assert_eq!(traces(&data, &now_held), pieces(&now_held).len());

    let server = reopened(server, 40).await;
    let item = wait_for("the faces to be erased", async || {
        let events = operator(&server, Method::GET, "/api/admin/events").send().await.unwrap();
        let mut events: Vec<EventItem> = events.json().await.unwrap();
        let item = events.pop().expect("the event is there");
        item.faces_erased_at.is_some().then_some(item)
    });
    assert!(!item.await.faces);
    wait_for("the write-ahead log to be folded in", async || (traces(&data, &secrets) == 0).then_some(())).await;
    assert!(!key.exists());
    for gone in ["faces", "enrolments", "live WHERE guest IS NOT NULL"] {
        assert_eq!(count(&server, gone).await, 0, "{gone}");
    }
    assert_eq!(guest.selfie(selfie).await.unwrap_err().code, Code::FacesUnavailable);
    let shown: PhotoList = guest.get("/api/all-photos").await.json().await.unwrap();
    assert_eq!(shown.photos.len(), 3);
    for photo in &shown.photos {
        for suffix in ["", "/preview", "/thumb"] {
            let answer = guest.get(&format!("/api/photo/{}{suffix}", photo.id)).await;
            assert_eq!(answer.status(), StatusCode::OK, "photos stay");
        }
    }

    let server = reopened(server, 100).await;
    wait_for("the event to go", async || {
        let gone = count(&server, "events").await == 0;
        (gone && files(&data.join("photos")).is_empty()).then_some(())
    })
    .await;
    assert_eq!(guest.get("/api/all-photos").await.status(), StatusCode::UNAUTHORIZED);
    assert_nothing_left(&server, &secrets).await;
    server.assert_no_faults();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_makes_another_guest_unfindable_with_their_picture() {
    let (Some(people), Some(models)) = (asset("photos/people"), asset("models")) else { return };
    let (server, event) = party(&models, &people).await;
    let (guest, stranger) = (event.guest().await, event.guest().await);
    let selfie = std::fs::read(people.join("obama/obama2.jpg")).unwrap();
    assert_eq!(guest.selfie(selfie).await.unwrap().you.len(), 2);
    let found = async || guest.get("/api/my-photos").await.json::<PhotoList>().await.unwrap().photos.len();
    let never = async |picture: &str| {
        let request =
            stranger.request(Method::POST, "/api/never-match?consent=yes").header("content-type", "image/jpeg");
        let answer = request.body(std::fs::read(people.join(picture)).unwrap()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.json::<serde_json::Value>().await.unwrap()
    };
    // Another picture of the guest, found somewhere.
    assert_eq!(never("obama/obama3.jpg").await, serde_json::json!({ "state": "held" }), "nothing else is told");
    assert!(stranger.held().await.never_match_held);
    assert_eq!(found().await, 2, "it is not applied");

    let path = format!("/api/admin/events/{}/suppressions", event.id);
    let listed = operator(&server, Method::GET, &path).send().await.unwrap().json::<serde_json::Value>().await.unwrap();
    let keys: Vec<&String> = listed[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["by_session", "given_at", "id", "state"], "never the picture or the vector");
    assert_eq!((&listed[0]["state"], listed.as_array().unwrap().len()), (&"held".into(), 1));
    let one = format!("{path}/{}", listed[0]["id"]);
    let confirmed = operator(&server, Method::POST, &format!("{one}/confirm")).send().await.unwrap();
    assert_eq!(confirmed.status(), StatusCode::NO_CONTENT);
    assert_eq!(found().await, 0);
    assert_eq!(count(&server, "suppressed_faces").await, 2);

    // Lifted again, they are found without anybody's help.
    let lifted = operator(&server, Method::DELETE, &one).send().await.unwrap();
    assert_eq!(lifted.status(), StatusCode::NO_CONTENT);
    wait_for("the photos to be indexed again", async || (found().await == 2).then_some(())).await;
    assert_eq!(count(&server, "photos WHERE index_runs = 2").await, 2, "only the photos that lost a face");
    // Whoever is no guest here is not held.
    assert_eq!(never("biden/biden.jpg").await, serde_json::json!({ "state": "active" }));
    server.assert_no_faults();
}
