//! The server's side of the protocol where only the real program can show it: cut connections, strangers, restarts.

use findme_common::protocol::{Code, Kind, OFFSET_OCTET_STREAM, Problem, header};
use findme_common::{Digest, PhotoId};
use reqwest::{Method, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::guest::client;
use crate::support::photos::{of_size, small};
use crate::support::{Event, Server, wait_for};

fn metadata(event: &Event, bytes: &[u8]) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let digest = Digest::of(bytes);
    let photo = PhotoId::of(event.id, &digest).to_string();
    [("filename", "a.jpg"), ("digest", &digest.to_string()), ("photo", &photo), ("kind", Kind::Original.as_str())]
        .map(|(key, value)| format!("{key} {}", STANDARD.encode(value)))
        .join(",")
}

async fn create(event: &Event, bytes: &[u8]) -> Response {
    let request = event.request(Method::POST, "/api/uploads");
    let request = request.header(header::UPLOAD_LENGTH, bytes.len());
    request.header(header::UPLOAD_METADATA, metadata(event, bytes)).send().await.unwrap()
}

async fn upload_of(event: &Event, bytes: &[u8]) -> String {
    let answer = create(event, bytes).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    answer.headers()["location"].to_str().unwrap().to_owned()
}

async fn head(event: &Event, upload: &str) -> Response {
    event.request(Method::HEAD, upload).send().await.unwrap()
}

fn offset(answer: &Response) -> u64 {
    answer.headers()[header::UPLOAD_OFFSET].to_str().unwrap().parse().unwrap()
}

async fn patch(event: &Event, upload: &str, at: u64, bytes: &[u8]) -> Response {
    let request = event.request(Method::PATCH, upload).header(header::UPLOAD_OFFSET, at);
    request.header("content-type", OFFSET_OCTET_STREAM).body(bytes.to_vec()).send().await.unwrap()
}

/// The head of a `PATCH` by hand, for connections that no library would make.
fn patch_head(event: &Event, upload: &str, at: u64, length: usize) -> String {
    format!(
        "PATCH {upload} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ntus-resumable: 1.0.0\r\n\
         content-type: {OFFSET_OCTET_STREAM}\r\nupload-offset: {at}\r\ncontent-length: {length}\r\n\r\n",
        event.token
    )
}

async fn connect(event: &Event) -> TcpStream {
    TcpStream::connect(event.url.trim_start_matches("http://")).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrived_before_a_cut_is_kept() {
    let mut server = Server::start().await;
    let event = server.create_event("party");
    let bytes = of_size(1, 2000);
    let upload = upload_of(&event, &bytes).await;
    // Half of it, then the client is gone, as if killed.
    let half = bytes.len() / 2;
    let mut connection = connect(&event).await;
    connection.write_all(patch_head(&event, &upload, 0, bytes.len()).as_bytes()).await.unwrap();
    connection.write_all(&bytes[..half]).await.unwrap();
    drop(connection);
    // Not by asking: a question stops the request that is being read.
    wait_for("all that was sent to be written", async || (server.staged() == [half as u64]).then_some(())).await;
    let at = offset(&head(&event, &upload).await);
    assert_eq!(at, half as u64, "everything that was sent before the cut counts");
    // It survives the server's death too.
    server.kill();
    server.run().await;
    assert_eq!(offset(&head(&event, &upload).await), half as u64);
    let done = patch(&event, &upload, at, &bytes[half..]).await;
    assert_eq!(done.status(), StatusCode::NO_CONTENT);
    event.assert_holds_exactly(&[bytes]).await;
    server.assert_no_faults();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_after_its_last_byte_has_its_photo() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let contents: Vec<_> = (0..10).map(|n| of_size(n, 300)).collect();
    for bytes in &contents {
        let upload = upload_of(&event, bytes).await;
        let mut connection = connect(&event).await;
        connection.write_all(patch_head(&event, &upload, 0, bytes.len()).as_bytes()).await.unwrap();
        connection.write_all(bytes).await.unwrap();
        drop(connection); // nobody hears the answer
        // Whatever was in flight: all bytes here is a photo here, never «complete» without one.
        wait_for("the receipt", async || {
            let standing = head(&event, &upload).await;
            let whole = offset(&standing) == bytes.len() as u64;
            let receipt = standing.headers().contains_key(header::REPR_DIGEST);
            assert_eq!(whole, receipt, "all bytes without a receipt, or a receipt without all bytes");
            if !whole {
                patch(&event, &upload, offset(&standing), &bytes[offset(&standing) as usize..]).await;
            }
            whole.then_some(())
        })
        .await;
    }
    event.assert_holds_exactly(&contents).await;
    server.assert_no_faults();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_request_takes_over_from_a_dead_one() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let bytes = of_size(2, 600);
    let upload = upload_of(&event, &bytes).await;
    // The connection stays open and silent: a laptop that was closed, a Wi-Fi that changed.
    let mut dead = connect(&event).await;
    dead.write_all(patch_head(&event, &upload, 0, bytes.len()).as_bytes()).await.unwrap();
    dead.write_all(&bytes[..400_000]).await.unwrap();
    // Some of it was written, the rest waits in the server's memory: all that was read counts.
    wait_for("the old request to be read", async || server.staged().iter().any(|length| *length > 0).then_some(()))
        .await;
    let at = offset(&head(&event, &upload).await);
    assert!(at > 0, "what the dead request had sent is lost");
    let done = patch(&event, &upload, at, &bytes[at as usize..]).await;
    assert_eq!(done.status(), StatusCode::NO_CONTENT);
    assert_eq!(done.headers()[header::FINDME_PHOTO], PhotoId::of(event.id, &Digest::of(&bytes)).to_string());
    // The old one is told, or its connection is closed.
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(crate::support::PATIENCE, dead.read_to_end(&mut answer)).await.expect("it ends");
    assert!(!String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 204"), "two requests were told of success");
    event.assert_holds_exactly(&[bytes]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn creating_what_exists_answers_the_truth_and_the_receipt() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let bytes = small(3);
    let upload = upload_of(&event, &bytes).await;
    patch(&event, &upload, 0, &bytes[..100]).await;
    let again = create(&event, &bytes).await;
    assert_eq!((again.headers()["location"].to_str().unwrap(), offset(&again)), (upload.as_str(), 100));
    assert!(!again.headers().contains_key(header::REPR_DIGEST));
    assert_eq!(patch(&event, &upload, 0, &bytes).await.status(), StatusCode::CONFLICT, "a stale offset");
    patch(&event, &upload, 100, &bytes[100..]).await;
    for answer in [create(&event, &bytes).await, head(&event, &upload).await] {
        assert_eq!(offset(&answer), bytes.len() as u64);
        assert_eq!(answer.headers()[header::REPR_DIGEST], Digest::of(&bytes).to_repr_digest());
        assert_eq!(answer.headers()[header::FINDME_PHOTO], PhotoId::of(event.id, &Digest::of(&bytes)).to_string());
    }
    // DELETE frees the upload, never the photo.
    let freed = event.request(Method::DELETE, &upload).send().await.unwrap();
    assert_eq!(freed.status(), StatusCode::NO_CONTENT);
    assert_eq!(head(&event, &upload).await.status(), StatusCode::NOT_FOUND);
    event.assert_holds_exactly(&[bytes]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_are_460_and_start_over() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let bytes = small(4);
    let mut wrong = bytes.clone();
    wrong[1000] ^= 1;
    let upload = upload_of(&event, &bytes).await;
    let refused = patch(&event, &upload, 0, &wrong).await;
    assert_eq!(refused.status().as_u16(), 460);
    assert_eq!(refused.json::<Problem>().await.unwrap().code, Code::DigestMismatch);
    assert_eq!(offset(&head(&event, &upload).await), 0);
    assert!(event.names().await.is_empty());
    assert_eq!(patch(&event, &upload, 0, &bytes).await.status(), StatusCode::NO_CONTENT);
    event.assert_holds_exactly(&[bytes]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_get_nothing() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let other = server.create_event("another party");
    let bytes = small(5);
    let upload = upload_of(&event, &bytes).await;
    patch(&event, &upload, 0, &bytes).await;
    event.rest().await;
    let id = event.names().await[0].id;
    let guest = other.guest().await;
    let nobody = client();
    for path in ["/api/all-photos", "/api/my-photos", "/api/me", "/api/names", &format!("/api/photo/{id}")] {
        let answer = nobody.get(format!("{}{path}", server.url())).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path} without any key");
    }
    for path in [format!("/api/photo/{id}"), format!("/api/photo/{id}/thumb"), format!("/api/photo/{id}/preview")] {
        assert_eq!(guest.get(&path).await.status(), StatusCode::NOT_FOUND, "{path} for another event's guest");
        let answer = other.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path} for another event's photographer");
    }
    assert_eq!(head(&other, &upload).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(guest.get("/api/names").await.status(), StatusCode::UNAUTHORIZED, "names are the photographer's");
    // The event's own guest sees it.
    let own = event.guest().await;
    assert_eq!(own.get(&format!("/api/photo/{id}/thumb")).await.status(), StatusCode::OK);
    server.assert_no_faults();
}
