//! What is taken away is away: the server remembers who a session is and whether a photo may be seen, but the very next
//! request after a change meets the change. What another process changes is met soon, and from then on for good.

use std::time::{Duration, Instant};

use findme_common::PhotoId;
use findme_common::protocol::PhotoSelection;
use reqwest::{Method, StatusCode};
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use crate::crew::upload;
use crate::support::guest::client;
use crate::support::photos::jpeg;
use crate::support::server::command;
use crate::support::{Event, Guest, Server, say, wait_for};
use crate::wire::Wire;

/// Rounds of each change: a change that is missed once in a while is missed too.
const ROUNDS: usize = 12;

/// How late a change by another process may be met. The server states 250 ms; busy machines get more.
const STATED: Duration = Duration::from_millis(250);

async fn party(server: &Server, photos: u64) -> (Event, Guest, Vec<PhotoId>) {
    let event = server.create_event("party");
    let mut wire = Wire::to(&event.url).await.unwrap();
    let mut ids = Vec::new();
    for number in 0..photos {
        ids.push(upload(&mut wire, &event, &jpeg(number, 640, 480)).await);
    }
    event.rest().await;
    let guest = event.guest().await;
    (event, guest, ids)
}

async fn status(guest: &Guest, photo: PhotoId, rendition: &str) -> StatusCode {
    guest.get(&format!("/api/photo/{photo}{rendition}")).await.status()
}

/// Asks until the answer is surely one that was remembered.
async fn warm(guest: &Guest, photo: PhotoId, expected: StatusCode) {
    for rendition in ["/thumb", "/thumb", "/preview", "", "/thumb", ""] {
        assert_eq!(status(guest, photo, rendition).await, expected, "{photo}{rendition}");
    }
}

async fn change(event: &Event, how: &str, photo: PhotoId) {
    let request = event.request(Method::POST, &format!("/api/photos/{how}"));
    let answer = request.json(&PhotoSelection { photos: vec![photo] }).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{how}");
}

async fn operate(server: &Server, method: Method, path: &str, body: serde_json::Value) {
    let request = client().request(method, format!("{}{path}", server.url())).bearer_auth(server.operator_token());
    let answer = request.json(&body).send().await.unwrap();
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_request_meets_the_change() {
    let server = Server::start().await;
    let (event, guest, photos) = party(&server, 4).await;
    for round in 0..ROUNDS {
        let photo = photos[round % 2];
        warm(&guest, photo, StatusCode::OK).await;
        change(&event, "hide", photo).await;
        warm(&guest, photo, StatusCode::NOT_FOUND).await;
        change(&event, "show", photo).await;
        warm(&guest, photo, StatusCode::OK).await;
        let path = format!("/api/admin/events/{}", event.id);
        operate(&server, Method::PATCH, &path, json!({ "gallery_open": false })).await;
        warm(&guest, photo, StatusCode::NOT_FOUND).await;
        operate(&server, Method::PATCH, &path, json!({ "gallery_open": true })).await;
        warm(&guest, photo, StatusCode::OK).await;
    }
    // One that its photographer has not looked at: such a report hides it.
    warm(&guest, photos[2], StatusCode::OK).await;
    let reported = guest.request(Method::POST, &format!("/api/photo/{}/report", photos[2])).send().await.unwrap();
    assert!(reported.status().is_success(), "{}", reported.status());
    warm(&guest, photos[2], StatusCode::NOT_FOUND).await;
    change(&event, "show", photos[2]).await;
    warm(&guest, photos[2], StatusCode::OK).await;
    let deleted = event.request(Method::DELETE, &format!("/api/photo/{}", photos[2])).send().await.unwrap();
    assert!(deleted.status().is_success());
    warm(&guest, photos[2], StatusCode::NOT_FOUND).await;
    // A version that replaces another hides it as soon as it is indexed itself.
    warm(&guest, photos[3], StatusCode::OK).await;
    replace(&event, photos[3]).await;
    event.rest().await;
    warm(&guest, photos[3], StatusCode::NOT_FOUND).await;
    // The event with everything: the session too.
    warm(&guest, photos[1], StatusCode::OK).await;
    operate(&server, Method::DELETE, &format!("/api/admin/events/{}", event.id), json!({})).await;
    warm(&guest, photos[1], StatusCode::UNAUTHORIZED).await;
    server.assert_no_faults();
}

/// Uploads another photo in the place of `old`.
async fn replace(event: &Event, old: PhotoId) {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let bytes = jpeg(99, 640, 480);
    let request = event
        .request(Method::POST, "/api/uploads")
        .header("upload-length", bytes.len())
        .header("upload-metadata", format!("replaces {}", STANDARD.encode(old.to_string())))
        .header("content-type", "application/offset+octet-stream");
    assert_eq!(request.body(bytes).send().await.unwrap().status(), StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_changes_is_met_soon_and_for_good() {
    let server = Server::start().await;
    let (event, guest, photos) = party(&server, 2).await;
    let mut other = SqliteConnectOptions::new().filename(server.data().join("findme.sqlite")).connect().await.unwrap();
    let mut latest = Duration::ZERO;
    for _ in 0..ROUNDS {
        for (visibility, expected) in [("hidden", StatusCode::NOT_FOUND), ("shown", StatusCode::OK)] {
            let before = if expected == StatusCode::OK { StatusCode::NOT_FOUND } else { StatusCode::OK };
            warm(&guest, photos[0], before).await;
            set(&mut other, photos[0], visibility).await;
            let began = Instant::now();
            wait_for("the change to be met", async || {
                (status(&guest, photos[0], "/thumb").await == expected).then_some(())
            })
            .await;
            latest = latest.max(began.elapsed());
            warm(&guest, photos[0], expected).await;
            assert_eq!(status(&guest, photos[1], "/thumb").await, StatusCode::OK, "another photo");
        }
    }
    other.close().await.unwrap();
    say(&format!("another process's changes were met after {latest:?} at most"));
    assert!(latest < 20 * STATED, "{latest:?}");
    // The operator's command line, while the server runs.
    warm(&guest, photos[1], StatusCode::OK).await;
    let mut delete = command();
    delete.args(["event", "delete", &event.id.to_string(), "--yes", "--data"]).arg(server.data());
    let output = delete.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    wait_for("the session to be gone", async || {
        (status(&guest, photos[1], "/thumb").await == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
    warm(&guest, photos[1], StatusCode::UNAUTHORIZED).await;
}

async fn set(other: &mut SqliteConnection, photo: PhotoId, visibility: &str) {
    let set = sqlx::query("UPDATE photos SET visibility = ? WHERE id = ?").bind(visibility);
    let done = set.bind(photo.as_bytes().to_vec()).execute(other).await.unwrap();
    assert_eq!(done.rows_affected(), 1);
}
