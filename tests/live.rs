//! `GET /api/live`: whoever listens hears everything once and in order, however many listen, however slowly, across
//! restarts and cut connections.

use std::time::{Duration, Instant};

use reqwest::Method;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use crate::support::chaos::{Fault, Line};
use crate::support::live::Listener;
use crate::support::photos::small;
use crate::support::{Laptop, Server, number, peak_memory, say, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_listeners_hear_everything_once_and_in_order() {
    const PHOTOS: usize = 12;
    let listeners = number("FINDME_LISTENERS", 1000) as usize;
    let server = Server::start_with(&["--faces", "off", "--max-listeners", "2000"]).await;
    let event = server.create_event("party");
    let (guest, laptop) = (event.guest().await, Laptop::new());
    let open = async |n: usize| {
        // One in ten is a photographer's page, all others are guests.
        let request = if n.is_multiple_of(10) {
            event.request(Method::GET, "/api/live")
        } else {
            guest.request(Method::GET, "/api/live")
        };
        let mut listener = Listener::open(request, None).await;
        listener.wait_for("hello").await;
        listener
    };
    let before = peak_memory(server.pid());
    let mut open_ones = Vec::new();
    for n in 0..listeners {
        open_ones.push(open(n).await);
    }
    // One that reads nothing at all until the others are through.
    let mut slow = open(1).await;
    let mut watch = laptop.start(laptop.for_event(&event));
    watch.wait_for("idle", 1).await;
    let began = Instant::now();
    for n in 0..PHOTOS {
        laptop.put(format!("{n}.jpg"), &small(n as u64));
    }
    let hearing = open_ones.into_iter().map(|mut listener| {
        tokio::spawn(async move {
            let mut heard = Vec::new();
            for _ in 0..PHOTOS {
                heard.push(listener.wait_for("indexed").await);
            }
            heard
        })
    });
    let hearing: Vec<_> = hearing.collect();
    let mut all = Vec::new();
    for listener in hearing {
        all.push(listener.await.unwrap());
    }
    let took = began.elapsed();
    for heard in &all {
        assert_eq!(heard, &all[0], "all hear the same");
        assert!(heard.is_sorted_by(|a, b| a.id < b.id), "{heard:?}");
    }
    let mut photos: Vec<_> = all[0].iter().map(|heard| heard.photo()).collect();
    photos.sort();
    photos.dedup();
    assert_eq!(photos.len(), PHOTOS);
    for expected in &all[0] {
        assert_eq!(&slow.wait_for("indexed").await, expected);
    }
    server.assert_no_faults();
    let megabytes = |bytes: Option<u64>| bytes.map_or(0, |bytes| bytes / 1_000_000);
    say(&format!(
        "live: {listeners} listeners heard {PHOTOS} photos after {:.1} s; the server's memory peaked at {} MB ({} MB before)",
        took.as_secs_f32(),
        megabytes(peak_memory(server.pid())),
        megabytes(before),
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_back_misses_nothing_also_after_a_restart() {
    let mut server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let mut all = Listener::open(event.request(Method::GET, "/api/live"), None).await;
    let start = all.wait_for("hello").await.id;
    let mut watch = laptop.start(laptop.for_event(&event));
    laptop.put("0.jpg", &small(0));
    let first = all.wait_for("indexed").await;
    server.kill();
    assert_eq!(all.next().await, None);
    for n in 1..4 {
        laptop.put(format!("{n}.jpg"), &small(n));
    }
    server.run().await;
    watch.wait_for("uploaded", 4).await;
    event.rest().await;
    // Who had heard the first hears the others; who had heard nothing hears all; each in the same order.
    let request = || event.request(Method::GET, "/api/live");
    let hear = async |last: i64, count: usize| {
        let mut listener = Listener::open(request(), Some(last)).await;
        assert_eq!(listener.next().await.unwrap().name, "hello");
        let mut heard = Vec::new();
        while heard.len() < count {
            let event = listener.next().await.unwrap();
            assert_ne!(event.name, "reset");
            heard.extend((event.name == "indexed").then_some(event));
        }
        heard
    };
    let rest = hear(first.id, 3).await;
    let everything = hear(start, 4).await;
    assert_eq!(everything[0], first);
    assert_eq!(everything[1..], rest);
    assert!(!rest.contains(&first));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cut_from_the_log_is_told_as_a_reset() {
    let mut server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let request = || event.request(Method::GET, "/api/live");
    let start = Listener::open(request(), None).await.wait_for("hello").await.id;
    laptop.put("0.jpg", &small(0));
    let mut watch = laptop.start(laptop.for_event(&event));
    watch.wait_for("uploaded", 1).await;
    event.rest().await;
    let end = Listener::open(request(), None).await.wait_for("hello").await.id;
    assert!(end > start);
    server.kill();
    let file = server.data().join("findme.sqlite");
    let mut catalogue = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    sqlx::query("UPDATE live SET at = at - 8 * 86400000").execute(&mut catalogue).await.unwrap();
    drop(catalogue);
    server.run().await;
    let mut greeted = Vec::new();
    // From before the cut, from the very end, from a future that a backup took back, and something that is no id.
    for last in [start, end, end + 1000] {
        let told = wait_for("the log to be cut", async || {
            let mut listener = Listener::open(request(), Some(last)).await;
            let hello = listener.next().await.unwrap();
            assert_eq!(hello.name, "hello");
            if last == end {
                return Some("nothing".to_owned());
            }
            let next = listener.next().await.unwrap();
            (next.name == "reset" && next.id == end).then_some(next.name)
        });
        greeted.push(told.await);
    }
    assert_eq!(greeted, ["reset", "nothing", "reset"]);
    laptop.put("1.jpg", &small(1));
    let mut listener = Listener::open(request(), Some(end)).await;
    assert!(listener.wait_for("indexed").await.id > end, "ids are never given twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_come_through_a_proxy_that_then_cuts_the_line() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let line = Line::good(server.url()).await;
    let through = event.through(&line.url());
    let mut response = through.request(Method::GET, "/api/live").send().await.unwrap();
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    assert!(response.headers().get("content-encoding").is_none(), "a compressed stream is a held-back stream");
    let hello = response.chunk().await.unwrap().unwrap();
    assert!(hello.starts_with(b"event: hello") || hello.starts_with(b"id:") || hello.starts_with(b"retry:"));
    // Nothing happens; still something comes before a proxy (60 s) or a phone loses its patience.
    let beat = tokio::time::timeout(Duration::from_secs(25), response.chunk()).await.expect("no heartbeat").unwrap();
    assert!(beat.unwrap().starts_with(b":"));
    drop(response);

    // A line that is cut again and again after a few hundred bytes: with the last id, everything comes, once.
    let mut cut = 0;
    let bad = Line::to(server.url(), move || {
        cut += 1;
        if cut % 4 == 0 { Fault::None } else { Fault::CutAnswerAfter(700) }
    })
    .await;
    let through = event.through(&bad.url());
    for n in 0..6 {
        laptop.put(format!("{n}.jpg"), &small(n));
    }
    let mut watch = laptop.start(laptop.for_event(&event));
    let (mut last, mut heard) = (Some(0), Vec::new());
    while heard.len() < 6 {
        let Ok(response) =
            through.request(Method::GET, "/api/live").header("last-event-id", last.unwrap_or(0)).send().await
        else {
            continue;
        };
        let mut listener = Listener::over(response);
        while let Some(event) = listener.next().await {
            last = Some(event.id);
            if event.name == "indexed" {
                heard.push(event.photo());
            }
            if heard.len() == 6 {
                break;
            }
        }
    }
    watch.wait_for("uploaded", 6).await;
    heard.sort();
    heard.dedup();
    assert_eq!(heard.len(), 6, "heard twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watcher_says_when_guests_could_see_its_photos() {
    let mut server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let mut command = laptop.for_event(&event);
    command.env("FINDME_LOG", "findme_watch=debug");
    let mut watch = laptop.start(command);
    for n in 0..4 {
        laptop.put(format!("{n}.jpg"), &small(n));
    }
    watch.wait_for("uploaded", 4).await;
    event.rest().await;
    // The ear is opened anew after a restart, and what happened before it was open again is heard too.
    server.kill();
    laptop.put("late.jpg", &small(9));
    server.run().await;
    watch.wait_for("uploaded", 5).await;
    event.rest().await;
    watch.wait_for("idle", 1).await;
    // Idle is the server's word, not the ear's, which is open again only after a pause.
    wait_for("the ear to hear of all", async || {
        (watch.complaints().matches("the server has told").count() >= 5).then_some(())
    })
    .await;
    watch.interrupt();
    let run = watch.end().await;
    run.assert_exit(0);
    let summary = run.lines.iter().find(|line| line["type"] == "summary").unwrap();
    assert_eq!((&summary["indexed"], &summary["not_indexed"]), (&5.into(), &0.into()), "{summary}");
    let (half, most) = (summary["guest_p50_ms"].as_u64().unwrap(), summary["guest_p95_ms"].as_u64().unwrap());
    assert!(half > 0 && half <= most && most < 60_000, "{summary}");
    say(&format!("live: close to indexed, as the watcher tells it: half within {half} ms"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_board_counts_from_the_files_close_where_the_watcher_tells() {
    let server = Server::start_with(&["--faces", "off"]).await;
    let (event, laptop) = (server.create_event("party"), Laptop::new());
    let board = async || {
        let answer = event.request(Method::GET, "/api/board").send().await.unwrap();
        answer.json::<findme_common::protocol::Board>().await.unwrap()
    };
    let mut watch = laptop.start(laptop.for_event(&event));
    watch.wait_for("idle", 1).await;
    assert_eq!(board().await.to_guests, None);
    laptop.put("one.jpg", &small(1));
    watch.wait_for("idle", 2).await;
    let told = board().await.to_guests.unwrap();
    assert_eq!(told.from, findme_common::protocol::DelayFrom::FileClosed, "{told:?}");
}
