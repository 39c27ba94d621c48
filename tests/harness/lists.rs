//! Lists: bytes and time of a page of a hundred, and the last page of a hundred thousand photos beside the first; photo
//! bytes a second beside nginx, which checks a cookie too.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use findme_common::protocol::PhotoList;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::crew::upload;
use crate::figures::UNLIMITED;
use crate::figures::{Memory, Times};
use crate::foreign::{self, Peer};
use crate::speed::wrk;
use crate::support::photos::{jpeg, small};
use crate::support::{Event, Random, Server, not_tested, say};
use crate::wire::{Answer, Wire, head};

/// A list of a hundred as it is sent, then pages of `rows` photos.
pub(crate) async fn pages(rows: u64) {
    let mut server = Server::start_with(&UNLIMITED).await;
    let event = server.create_event("list");
    let mut wire = Wire::to(&event.url).await.unwrap();
    for number in 0..100 {
        upload(&mut wire, &event, &small(number)).await;
    }
    event.rest().await;
    let (times, answer) = time(&event, "/api/all-photos?limit=100", "accept-encoding: gzip\r\n", 500).await;
    say(&format!("list of 100: {} bytes as sent, {times}", answer.body.len()));
    let tag = answer.header("etag").unwrap().to_owned();
    let (times, answer) = time(&event, "/api/all-photos?limit=100", &format!("if-none-match: {tag}\r\n"), 500).await;
    assert_eq!(answer.status, 304);
    say(&format!("list of 100, unchanged: 304, {times}"));
    server.kill();
    fill(&server.data(), &event, rows).await;
    server.run().await;
    let event = event.through(&server.url());
    let first = "/api/all-photos?limit=100".to_owned();
    let (mut last, mut page, mut seen) = (first.clone(), first.clone(), 0);
    let mut wire = Wire::to(&event.url).await.unwrap();
    loop {
        let answer = wire.ask(&head("GET", &page, &event.token, ""), b"").await.unwrap();
        let list: PhotoList = serde_json::from_slice(&answer.body).unwrap();
        seen += list.photos.len() as u64;
        last.clone_from(&page);
        match list.next {
            Some(next) => page = format!("/api/all-photos?limit=100&after={next}"),
            None => break,
        }
    }
    let (first_times, _) = time(&event, &first, "", 300).await;
    let (last_times, _) = time(&event, &last, "", 300).await;
    let ratio = last_times.percentile(50.0).as_secs_f64() / first_times.percentile(50.0).as_secs_f64();
    say(&format!(
        "{seen} photos: first page {first_times}; last page {last_times}; last ÷ first {ratio:.2}; {}",
        Memory::of(server.pid())
    ));
    assert_eq!(seen, rows + 100);
    server.assert_no_faults();
}

async fn time(event: &Event, path: &str, more: &str, times: u64) -> (Times, Answer) {
    let mut wire = Wire::to(&event.url).await.unwrap();
    let (head, mut measured) = (head("GET", path, &event.token, more), Times::default());
    let mut answer = wire.ask(&head, b"").await.unwrap();
    for _ in 0..times {
        let began = Instant::now();
        answer = wire.ask(&head, b"").await.unwrap();
        measured.add(began.elapsed());
        assert!(matches!(answer.status, 200 | 304), "{}", answer.status);
    }
    (measured, answer)
}

/// Puts rows of photos into the catalogue of a server that does not run.
async fn fill(data: &Path, event: &Event, rows: u64) {
    let mut catalog = SqliteConnectOptions::new().filename(data.join("findme.sqlite")).connect().await.unwrap();
    sqlx::query(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)
         INSERT INTO photos (event, id, name, accepted_at, digest, bytes, state, width, height, media, taken_at, index_runs)
         SELECT ?1, randomblob(16), 'DSC_' || i || '.JPG', 1780000000000 + i, randomblob(32), 8000000, 'indexed', 6048, 4024,
                'image/jpeg', '2026-06-20T18:00:00', 1 FROM n",
    )
    .bind(event.id.as_bytes().to_vec())
    .bind(rows as i64)
    .execute(&mut catalog)
    .await
    .unwrap();
    catalog.close().await.unwrap();
}

/// Thumbnails and originals a second, ours and nginx's, with 16 connections, in turn.
pub(crate) async fn photo_bytes(photos: u64, seconds: u64, rounds: u64) {
    if !foreign::installed("nginx") || !foreign::installed("wrk") {
        return not_tested("nginx or wrk is not installed");
    }
    let server = Server::start_with(&UNLIMITED).await;
    let event = server.create_event("bytes");
    let mut wire = Wire::to(&event.url).await.unwrap();
    let mut ids = Vec::new();
    for number in 0..photos {
        ids.push(upload(&mut wire, &event, &photo(number)).await);
    }
    event.rest().await;
    let guest = event.guest().await;
    let place = tempfile::tempdir().unwrap();
    let port = foreign::free_port();
    let nginx = nginx(place.path(), &server.data(), guest.cookie(), port).await;
    for (what, folder, ending, ours) in
        [("thumbnails", "derived", ".thumb.jpg", "/thumb"), ("originals of 8 MiB", "photos", "", "")]
    {
        let paths: Vec<_> = ids.iter().map(|id| format!("/api/photo/{id}{ours}")).collect();
        let ours = script(place.path(), "ours.lua", &paths, guest.cookie());
        let folder = format!("/{folder}/{}", event.id.to_simple());
        let paths: Vec<_> = ids.iter().map(|id| format!("{folder}/{}{ending}", id.to_simple())).collect();
        let theirs = script(place.path(), "nginx.lua", &paths, guest.cookie());
        let (mut us, mut them) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            us.push(wrk(&event.url, &ours, 16, seconds));
            them.push(wrk(&format!("http://127.0.0.1:{port}"), &theirs, 16, seconds));
        }
        let (us, them) = (median(us), median(them));
        say(&format!(
            "{what}: {:.0}/s, {:.0} MiB/s; nginx {:.0}/s, {:.0} MiB/s; ratio {:.2}",
            us.0,
            us.1 / 1_048_576.0,
            them.0,
            them.1 / 1_048_576.0,
            us.0 / them.0
        ));
    }
    say(&format!("photo bytes: {}", Memory::of(server.pid())));
    drop(nginx);
    server.assert_no_faults();
}

/// 8 MiB, of which a camera-like picture is the beginning.
fn photo(number: u64) -> Vec<u8> {
    let mut bytes = jpeg(number, 1500, 1000);
    let mut random = Random::new(number);
    while bytes.len() < 8 << 20 {
        bytes.extend(random.next().to_le_bytes());
    }
    bytes
}

fn median(mut rounds: Vec<(f64, f64)>) -> (f64, f64) {
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    rounds[rounds.len() / 2]
}

/// Asks for the paths in turn, with the guest's cookie.
fn script(place: &Path, name: &str, paths: &[String], cookie: &str) -> PathBuf {
    let mut lua = String::from("local paths = {\n");
    paths.iter().for_each(|path| writeln!(lua, "\"{path}\",").unwrap());
    write!(
        lua,
        "}}\nlocal at = 0\nrequest = function()\n at = at % #paths + 1\n\
         return wrk.format(\"GET\", paths[at], {{[\"cookie\"] = \"{cookie}\"}})\nend\n"
    )
    .unwrap();
    let file = place.join(name);
    std::fs::write(&file, lua).unwrap();
    file
}

/// nginx over the server's own files; who has not the guest's cookie finds nothing.
async fn nginx(place: &Path, data: &Path, cookie: &str, port: u16) -> Peer {
    let (name, value) = cookie.split_once('=').unwrap();
    let folder = place.display();
    // The folder is its owner's alone: workers of root's nginx have to be root too.
    #[cfg(unix)]
    let user = if std::os::unix::fs::MetadataExt::uid(&data.metadata().unwrap()) == 0 { "user root;" } else { "" };
    #[cfg(not(unix))]
    let user = "";
    let config = format!(
        "daemon off; {user} worker_processes auto; pid {folder}/pid; error_log {folder}/errors;
         events {{ worker_connections 256; }}
         http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; types {{ image/jpeg jpg; }}
           client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
           uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
           map $cookie_{name} $known {{ default 0; \"{value}\" 1; }}
           server {{ listen 127.0.0.1:{port}; root {};
             location / {{ if ($known = 0) {{ return 404; }} }} }} }}",
        data.display()
    );
    let file = place.join("nginx.conf");
    std::fs::write(&file, config).unwrap();
    let program = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
    Peer::start_silent(Command::new(program).arg("-c").arg(&file).arg("-p").arg(place), &format!("127.0.0.1:{port}"))
        .await
}
