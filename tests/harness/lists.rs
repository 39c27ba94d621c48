//! Lists: bytes and time of a page of a hundred, and the last page of a hundred thousand photos beside the first.

use std::path::Path;
use std::time::Instant;

use findme_common::protocol::PhotoList;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::crew::upload;
use crate::figures::{Memory, Times, UNLIMITED};
use crate::support::photos::small;
use crate::support::{Event, Server, say};
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
