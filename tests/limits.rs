//! The server's limits, met by real connections; and what its log never says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use findme_common::protocol::header;
use reqwest::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::guest::client;
use crate::support::photos::{of_size, small};
use crate::support::{Event, Server, signal, wait_for};

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.address()).await.unwrap()
}

/// Everything that still comes until the server ends the connection.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut all)).await;
    // A reset is an end, too.
    let _ = end.expect("the server ends the connection");
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_heads_idle_connections_and_stalled_bodies_are_cut_off() {
    let server = Server::start_with(&["--faces", "off", "--head-time", "0.5", "--body-idle", "0.5"]).await;
    let event = server.create_event("slow");
    for beginning in ["", "GET /livez HTT", "GET /livez HTTP/1.1\r\nhost: x\r\n"] {
        let mut stream = connect(&server).await;
        stream.write_all(beginning.as_bytes()).await.unwrap();
        assert_eq!(rest(&mut stream).await, b"", "{beginning:?}");
    }
    let mut kept = connect(&server).await;
    kept.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(rest(&mut kept).await.starts_with(b"HTTP/1.1 200"), "answered, and then idle for too long");

    let created = event.request(Method::POST, "/api/uploads").header(header::UPLOAD_LENGTH, 1000).send().await.unwrap();
    let upload = created.headers()["location"].to_str().unwrap().to_owned();
    let mut stalled = connect(&server).await;
    let head = format!(
        "PATCH {upload} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ntus-resumable: 1.0.0\r\nupload-offset: 0\r\n\
         content-type: application/offset+octet-stream\r\ncontent-length: 1000\r\n\r\n0123456789",
        event.token
    );
    stalled.write_all(head.as_bytes()).await.unwrap();
    rest(&mut stalled).await;
    let offset = wait_for("what arrived to be kept", async || {
        let standing = event.request(Method::HEAD, &upload).send().await.unwrap();
        (standing.headers()[header::UPLOAD_OFFSET] == "10").then_some(())
    });
    offset.await;
    server.assert_no_faults();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_is_cut_off() {
    let server =
        Server::start_with(&["--faces", "off", "--write-stall", "0.5", "--metrics-listen", "127.0.0.1:0"]).await;
    let event = server.create_event("taker");
    // More than the buffers of both sides hold.
    let photo = of_size(1, 48 << 10);
    let created = event.request(Method::POST, "/api/uploads").header(header::UPLOAD_LENGTH, photo.len());
    let created =
        created.header("content-type", "application/offset+octet-stream").body(photo.clone()).send().await.unwrap();
    assert_eq!(created.status(), StatusCode::CREATED);
    let id = created.headers()[header::FINDME_PHOTO].to_str().unwrap().to_owned();
    let mut stream = connect(&server).await;
    let request = format!("GET /api/photo/{id} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", event.token);
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.readable().await.unwrap();
    wait_for("the server to give the connection up", async || {
        // A connection for each look, so that only the one that is looked for stays.
        let metrics = client().get(server.metrics_url()).header("connection", "close").send().await.unwrap();
        let text = metrics.text().await.unwrap();
        let open = text.lines().find_map(|line| line.strip_prefix("findme_connections "));
        // The look itself, and the one kept alive by the photographer's client.
        (open?.parse::<u32>().unwrap() <= 2).then_some(())
    })
    .await;
    let taken = rest(&mut stream).await.len();
    assert!(taken < photo.len(), "it had all {taken} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_and_heads_are_bounded() {
    let server =
        Server::start_with(&["--faces", "off", "--max-connections", "1", "--head-time", "1", "--max-head", "4K"]).await;
    let mut first = connect(&server).await;
    first.write_all(b"GET /li").await.unwrap();
    let mut second = connect(&server).await;
    second.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(rest(&mut second).await.starts_with(b"HTTP/1.1 200"), "the second has its turn when the first is gone");
    let gone = tokio::time::timeout(Duration::ZERO, first.read(&mut [0])).await;
    assert!(matches!(gone, Ok(Ok(0) | Err(_))), "the first was there still: {gone:?}");
    let mut long = connect(&server).await;
    let head = format!("GET /livez HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "a".repeat(8 << 10));
    long.write_all(head.as_bytes()).await.unwrap();
    assert!(rest(&mut long).await.starts_with(b"HTTP/1.1 431"));
}

pub(crate) fn certificate(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls").join(file)
}

#[tokio::test(flavor = "multi_thread")]
async fn https_without_a_proxy() {
    let (crt, key) = (certificate("one.crt"), certificate("one.key"));
    let options = ["--faces", "off", "--tls-cert", crt.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let server = Server::start_with(&[&options[..], &["--handshake-time", "0.5"]].concat()).await;
    client();
    let pem = reqwest::Certificate::from_pem(&std::fs::read(&crt).unwrap()).unwrap();
    let https = reqwest::Client::builder().no_proxy().tls_certs_only([pem]).build().unwrap();
    let url = server.url().replace("http://", "https://");
    assert_eq!(https.get(format!("{url}/livez")).send().await.unwrap().status(), StatusCode::OK);
    let event = server.create_event("secure");
    let body = format!("{{\"code\":\"{}\"}}", event.join);
    let joined = https.post(format!("{url}/api/join")).header("content-type", "application/json").body(body);
    let joined = joined.send().await.unwrap();
    assert!(joined.headers()["set-cookie"].to_str().unwrap().contains("; Secure"));
    let mut silent = connect(&server).await;
    assert_eq!(rest(&mut silent).await, b"", "who does not greet is cut off");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_holds_no_secret_and_no_name() {
    let mut server = Server::idle(&["--faces", "off", "--log-format", "json"]).through(&["env", "FINDME_LOG=debug"]);
    server.run().await;
    let event = server.create_event("Anna and Ben");
    let guest = event.guest().await;
    let photo = small(1);
    let upload = event.request(Method::POST, "/api/uploads").header(header::UPLOAD_LENGTH, photo.len());
    // «Anna Smith.jpg»
    let upload = upload.header(header::UPLOAD_METADATA, "filename QW5uYSBTbWl0aC5qcGc=");
    let upload = upload.header("content-type", "application/offset+octet-stream").body(photo);
    assert_eq!(upload.send().await.unwrap().status(), StatusCode::CREATED);
    event.rest().await;
    for path in ["/me", "/gallery?lang=de", "/api/all-photos", "/api/me", "/e/0123456789", "/nowhere/Anna"] {
        guest.get(path).await;
    }
    guest.get(&format!("/e/{}", event.join)).await;
    let _ = guest.selfie(b"no picture".to_vec()).await;
    event.request(Method::PATCH, "/api/uploads/x").send().await.unwrap();
    server.kill();
    let log = server.log();
    let (secret, cookie) = (event.token.rsplit('.').next().unwrap(), guest.cookie().split('=').next_back().unwrap());
    for private in [secret, cookie, &*event.join, "0123456789", "Anna", "Smith", "QW5uYSBTbWl0aC5qcGc", "lang=de"] {
        assert!(!log.contains(private), "{private} is in the log:\n{log}");
    }
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let answered = |route: &str| {
        let line =
            lines.iter().find(|line| line["fields"]["route"] == route).unwrap_or_else(|| panic!("{route}: {log}"));
        assert_eq!(line["span"]["id"].as_str().unwrap().len(), 32, "{line}");
        line["fields"]["status"].as_u64().unwrap()
    };
    assert_eq!(answered("/e/{code}"), 404);
    assert_eq!(answered("/api/all-photos"), 200);
    assert_eq!(answered("none"), 404);
}

/// Bytes of half an upload: more than the server gathers before it writes.
const HALF: usize = 1 << 20;

/// An upload whose first half is on its way, and the connection that carries it.
async fn half_an_upload(server: &Server, event: &Event) -> (String, TcpStream) {
    let created = event.request(Method::POST, "/api/uploads").header(header::UPLOAD_LENGTH, 2 * HALF).send();
    let upload = created.await.unwrap().headers()["location"].to_str().unwrap().to_owned();
    let mut stream = connect(server).await;
    let head = format!(
        "PATCH {upload} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ntus-resumable: 1.0.0\r\nupload-offset: 0\r\n\
         content-type: application/offset+octet-stream\r\ncontent-length: {}\r\n\r\n",
        event.token,
        2 * HALF
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[1; HALF]).await.unwrap();
    wait_for("the first half to arrive", async || (server.staged().first()? > &0).then_some(())).await;
    (upload, stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_at_the_end_is_finished_but_not_waited_for_without_end() {
    let mut server = Server::start_with(&["--faces", "off", "--shutdown-time", "60"]).await;
    let event = server.create_event("patient");
    let (_, mut stream) = half_an_upload(&server, &event).await;
    signal("TERM", server.pid());
    wait_for("the listener to close", async || TcpStream::connect(server.address()).await.is_err().then_some(())).await;
    stream.write_all(&[2; HALF]).await.unwrap();
    let answer = String::from_utf8(rest(&mut stream).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 204") && answer.contains("findme-photo: "), "{answer}");
    wait_for("the server to end", async || (!server.is_up()).then_some(())).await;
    assert_eq!(server.published(), 1);

    let mut server = Server::start_with(&["--faces", "off", "--shutdown-time", "0.2", "--body-idle", "3600"]).await;
    let event = server.create_event("hasty");
    let (upload, _stalled) = half_an_upload(&server, &event).await;
    signal("TERM", server.pid());
    wait_for("the server to end", async || (!server.is_up()).then_some(())).await;
    assert!(server.log().contains("connections were still open at the deadline"), "{}", server.log());
    server.kill();
    server.run().await;
    let standing = event.request(Method::HEAD, &upload).send().await.unwrap();
    assert_eq!(standing.status(), StatusCode::OK, "what arrived is taken up where it ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_upload_is_forgotten() {
    let mut server = Server::start_with(&["--faces", "off", "--upload-expiry", "3600"]).await;
    let event = server.create_event("gone");
    let (upload, stream) = half_an_upload(&server, &event).await;
    drop(stream);
    server.kill();
    server.run().await;
    let standing = event.request(Method::HEAD, &upload).send().await.unwrap();
    assert_eq!(standing.status(), StatusCode::OK, "an hour has not gone by");
    server.kill();
    let mut server = Server::idle(&["--faces", "off", "--upload-expiry", "0.001"]).with_data(&server.data());
    server.run().await;
    let event = event.through(&server.url());
    wait_for("the upload to be forgotten", async || {
        let standing = event.request(Method::HEAD, &upload).send().await.unwrap();
        (standing.status() == StatusCode::NOT_FOUND).then_some(())
    })
    .await;
    wait_for("its bytes to go", async || server.staged().is_empty().then_some(())).await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn files_for_photos_are_left_when_connections_take_all_they_may() {
    // 256 are kept, so that 44 are left for connections.
    let mut server = Server::idle(&["--faces", "off", "--head-time", "3600"]).through(&["prlimit", "--nofile=300:300"]);
    server.run().await;
    wait_for("the operator to be told", async || server.log().contains("fewer open files").then_some(())).await;
    let event = server.create_event("crowded");
    let upload = event.request(Method::POST, "/api/uploads").header(header::UPLOAD_LENGTH, 20).send().await.unwrap();
    assert_eq!(upload.status(), StatusCode::CREATED, "the photographer's connection is one");
    let mut held = Vec::new();
    for _ in 0..43 {
        held.push(connect(&server).await);
    }
    let mut waiting = connect(&server).await;
    waiting.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let photo =
        event.request(Method::PATCH, upload.headers()["location"].to_str().unwrap()).body(small(1)[..20].to_vec());
    let photo = photo.header(header::UPLOAD_OFFSET, 0).header("content-type", "application/offset+octet-stream");
    assert_eq!(photo.send().await.unwrap().status(), StatusCode::NO_CONTENT, "who is in can send");
    let early = tokio::time::timeout(Duration::ZERO, waiting.read(&mut [0])).await;
    assert!(early.is_err(), "a connection too many was answered: {early:?}");
    drop(held.pop());
    assert!(rest(&mut waiting).await.starts_with(b"HTTP/1.1 200"), "the next has its turn");
    server.assert_no_faults();
}
