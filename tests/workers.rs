//! Several worker processes beside one that serves, on one data folder: each photo is indexed once, whoever dies.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Row};

use crate::support::guest::client;
use crate::support::live::Listener;
use crate::support::photos::jpeg;
use crate::support::server::command;
use crate::support::{Laptop, Random, Server, asset, number, say, signal, wait_for, wait_within};

const PHOTOS: u64 = 150;

/// What a dead worker's lease may last, in milliseconds; stated in the catalogue's queue.
const LEASE_MS: i64 = 20_000;

/// A worker process.
struct Worker(Child);

impl Worker {
    fn start(server: &Server, log: &Path, options: &[&str]) -> Self {
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut command = command();
        command.args(["serve", "--role", "worker", "--workers", "1"]).args(options).arg("--data").arg(server.data());
        let stdout = if options.contains(&"--metrics-listen") { Stdio::piped() } else { Stdio::null() };
        Self(command.stdin(Stdio::null()).stdout(stdout).stderr(log).spawn().unwrap())
    }

    /// Where its metrics are, when it was told to show them.
    fn metrics_url(&mut self) -> String {
        let said = BufReader::new(self.0.stdout.take().expect("it has --metrics-listen"));
        let mut lines = said.lines().map_while(Result::ok);
        lines.find_map(|line| Some(line.strip_prefix("metrics on ")?.to_owned())).expect("it says so before it works")
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// SIGTERM, as service managers send it.
    async fn end(mut self) {
        signal("TERM", self.0.id());
        let ended = wait_for("the worker to end", async || self.0.try_wait().unwrap()).await;
        assert!(ended.success(), "{ended}");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.kill();
        }
    }
}

async fn catalogue(server: &Server) -> SqliteConnection {
    let file = server.data().join("findme.sqlite");
    SqliteConnectOptions::new().filename(file).read_only(true).connect().await.unwrap()
}

async fn ask(catalogue: &mut SqliteConnection, question: &'static str) -> i64 {
    sqlx::query(question).fetch_one(catalogue).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_photo_is_indexed_once_although_workers_are_killed() {
    let kills = number("FINDME_WORKER_KILLS", 10);
    let mut random = Random::seeded("workers");
    let server = Server::start_with(&["--faces", "off", "--role", "web"]).await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let log = laptop.place("workers.log");
    for n in 0..PHOTOS {
        laptop.put(format!("DSC_{n:04}.JPG"), &jpeg(n, 900, 600));
    }
    let mut listener = Listener::open(event.request(reqwest::Method::GET, "/api/live"), None).await;
    let heard = tokio::spawn(async move {
        let mut indexed = BTreeMap::new();
        while indexed.len() < PHOTOS as usize {
            *indexed.entry(listener.wait_for("indexed").await.photo()).or_insert(0) += 1;
        }
        // Not a second time either.
        while let Err(more) = listener.is_silent_for(Duration::from_secs(2)).await {
            assert_ne!(more.name, "indexed", "{more:?}");
        }
        indexed
    });
    let began = Instant::now();
    let mut watch = laptop.start(laptop.for_event(&event));
    let mut workers: Vec<Worker> = (0..3).map(|_| Worker::start(&server, &log, &["--faces", "off"])).collect();
    let mut catalogue = catalogue(&server).await;
    let mut killed_at_work = 0;
    for kill in 0..kills {
        let share = (kill * PHOTOS / (kills + 1)) as i64;
        wait_for("the workers to get on", async || {
            (ask(&mut catalogue, "SELECT COUNT(*) FROM photos WHERE state = 'indexed'").await >= share).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_micros(random.between(0, 60_000))).await;
        let which = random.between(0, 3) as usize;
        workers[which].kill();
        let leases = "SELECT COUNT(*) FROM jobs WHERE lease IS NOT NULL AND lease_until > unixepoch() * 1000";
        let longest = "SELECT COALESCE(MAX(lease_until) - unixepoch() * 1000, 0) FROM jobs";
        killed_at_work += i64::from(ask(&mut catalogue, leases).await > 2);
        assert!(ask(&mut catalogue, longest).await <= LEASE_MS + 1_000, "a lease is longer than it may be");
        workers[which] = Worker::start(&server, &log, &["--faces", "off"]);
    }
    watch.wait_for("uploaded", PHOTOS as usize).await;
    let counts = event.rest().await;
    assert_eq!((counts.indexed, counts.received, counts.failed), (PHOTOS, 0, 0));
    let took = began.elapsed();
    for (question, expected) in [
        ("SELECT COUNT(*) FROM photos WHERE index_runs = 1", PHOTOS as i64),
        ("SELECT COUNT(*) FROM jobs", 0),
        ("SELECT COUNT(*) FROM live WHERE kind = 'indexed'", PHOTOS as i64),
    ] {
        assert_eq!(ask(&mut catalogue, question).await, expected, "{question}");
    }
    let heard = heard.await.unwrap();
    assert!(heard.values().all(|&times| times == 1), "told twice: {heard:?}");
    for worker in workers {
        worker.end().await;
    }
    server.assert_no_faults();
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(!said.contains(" ERROR ") && !said.contains("panicked"), "{said}");
    say(&format!(
        "workers: {PHOTOS} photos indexed once each by three processes, {kills} of them killed ({killed_at_work} surely at \
         work), after {:.1} s",
        took.as_secs_f32()
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_told_to_end_finishes_its_photo_and_another_takes_the_rest() {
    let server = Server::start_with(&["--faces", "off", "--role", "web"]).await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let log = laptop.place("workers.log");
    for n in 0..12 {
        laptop.put(format!("{n}.jpg"), &jpeg(n, 1600, 1200));
    }
    let mut watch = laptop.start(laptop.for_event(&event));
    watch.wait_for("uploaded", 12).await;
    let mut catalogue = catalogue(&server).await;
    assert_eq!(ask(&mut catalogue, "SELECT COUNT(*) FROM jobs").await, 12, "the web process indexes nothing");
    let first = Worker::start(&server, &log, &["--faces", "off"]);
    wait_for("a first photo", async || (event.counts().await.indexed > 0).then_some(())).await;
    first.end().await;
    assert_eq!(ask(&mut catalogue, "SELECT COUNT(*) FROM jobs WHERE lease IS NOT NULL").await, 0, "a photo was left");
    let indexed_by_first = ask(&mut catalogue, "SELECT COUNT(*) FROM photos WHERE state = 'indexed'").await;
    let mut second = Worker::start(&server, &log, &["--faces", "off", "--metrics-listen", "127.0.0.1:0"]);
    assert_eq!(event.rest().await.indexed, 12);
    let metrics = client().get(second.metrics_url()).send().await.unwrap().text().await.unwrap();
    let pushed = metrics.lines().find_map(|line| line.strip_prefix("findme_close_to_push_seconds_count "));
    let own = ask(&mut catalogue, "SELECT COUNT(*) FROM photos").await - indexed_by_first;
    assert_eq!(pushed.map(|count| count.parse().unwrap()), Some(own), "a worker tells what it did itself: {metrics}");
    second.end().await;
    // Alone on the folder, a killed worker's leases are taken back at once by the next.
    laptop.put("more.jpg", &jpeg(99, 3000, 2000));
    watch.wait_for("uploaded", 13).await;
    let mut third = Worker::start(&server, &log, &["--faces", "off"]);
    wait_for("a lease", async || {
        let leased = ask(&mut catalogue, "SELECT COUNT(*) FROM jobs WHERE lease IS NOT NULL").await;
        let done = ask(&mut catalogue, "SELECT COUNT(*) FROM jobs").await == 0;
        (leased == 1 || done).then_some(())
    })
    .await;
    third.kill();
    let fourth = Worker::start(&server, &log, &["--faces", "off"]);
    wait_within(Duration::from_millis(LEASE_MS as u64 * 3 / 4), "the next worker to take it", async || {
        (ask(&mut catalogue, "SELECT COUNT(*) FROM jobs").await == 0).then_some(())
    })
    .await;
    assert_eq!(ask(&mut catalogue, "SELECT MIN(index_runs) * 10 + MAX(index_runs) FROM photos").await, 11);
    fourth.end().await;

    // Nobody works: `reindex` works itself, also beside the process that serves.
    let broken = b"no photo at all";
    let upload = event
        .request(reqwest::Method::POST, "/api/uploads")
        .header("upload-length", broken.len())
        .header("content-type", "application/offset+octet-stream")
        .body(broken.as_slice());
    assert_eq!(upload.send().await.unwrap().status(), reqwest::StatusCode::CREATED);
    let said = run(&server, &["reindex", "--faces", "off", "--failed"]);
    assert_eq!(said, "0 photos were queued, 0 are done\n", "what was only received is in the queue already");
    let all = run(&server, &["reindex", "--faces", "off", "--event", &event.id.to_string()]);
    assert_eq!(all, "14 photos were queued, 14 are done\n");
    assert_eq!(ask(&mut catalogue, "SELECT COUNT(*) FROM photos WHERE index_runs = 2").await, 13);
    assert_eq!(ask(&mut catalogue, "SELECT COUNT(*) FROM live WHERE kind = 'indexed'").await, 13, "told once");
    assert_eq!(event.counts().await.failed, 1);
    assert_eq!(run(&server, &["reindex", "--faces", "off", "--failed"]), "1 photos were queued, 1 are done\n");
    assert_eq!(event.counts().await.failed, 1);
}

/// Runs one of the server's commands on its data folder; what it said.
fn run(server: &Server, arguments: &[&str]) -> String {
    let output = command().args(arguments).arg("--data").arg(server.data()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_at_the_web_process_hears_what_workers_find() {
    let (Some(people), Some(models)) = (asset("photos/people"), asset("models")) else { return };
    let models = models.to_str().unwrap();
    let read = |name: &str| std::fs::read(people.join(name)).unwrap();
    let server = Server::start_with(&["--models", models, "--role", "web"]).await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let log = laptop.place("workers.log");
    let workers: Vec<Worker> = (0..2).map(|_| Worker::start(&server, &log, &["--models", models])).collect();
    let mut watch = laptop.start(laptop.for_event(&event));
    let put = |name: &str| laptop.put(name.replace('/', "-"), &read(name));
    put("obama/obama.jpg");
    watch.wait_for("uploaded", 1).await;
    event.rest().await;
    let guest = event.guest().await;
    let found = guest.selfie(read("obama/obama2.jpg")).await.unwrap();
    assert_eq!(found.you.len(), 1, "{found:?}");
    let mut listener = Listener::open(guest.request(reqwest::Method::GET, "/api/live"), None).await;
    listener.wait_for("hello").await;
    put("obama/obama3.jpg");
    let photo = listener.wait_for("you").await.photo();
    let mine: findme_common::protocol::PhotoList = guest.get("/api/my-photos").await.json().await.unwrap();
    assert_eq!(mine.photos.len(), 2, "the gallery of the web process has what the worker found");
    assert!(mine.photos.iter().any(|item| item.id.to_string() == photo));
    event.rest().await;
    let mut catalogue = catalogue(&server).await;
    let twice = "SELECT COUNT(*) FROM (SELECT 1 FROM faces GROUP BY photo, x, y HAVING COUNT(*) > 1)";
    assert_eq!(ask(&mut catalogue, twice).await, 0);
    assert_eq!(ask(&mut catalogue, "SELECT MAX(index_runs) FROM photos").await, 1);

    // The first photo was there before the guest was: looked for again, they are told of it too, once.
    for told in [1, 0] {
        let said = run(&server, &["rematch"]);
        assert_eq!(said, format!("guests were told of {told} photos that they did not know of\n"));
    }
    assert_ne!(listener.wait_for("you").await.photo(), photo);
    // Indexed again by the workers that there are: the same faces, found all the while, and nobody is told twice.
    let faces = ask(&mut catalogue, "SELECT COUNT(*) FROM faces").await;
    assert_eq!(run(&server, &["reindex"]), "2 photos were queued, 2 are done\n");
    assert_eq!(ask(&mut catalogue, "SELECT MIN(index_runs) FROM photos").await, 2);
    assert_eq!(ask(&mut catalogue, "SELECT COUNT(*) FROM faces").await, faces);
    let mine: findme_common::protocol::PhotoList = guest.get("/api/my-photos").await.json().await.unwrap();
    assert_eq!(mine.photos.len(), 2);
    let found = "SELECT COUNT(*) FROM live WHERE kind IN ('you', 'maybe')";
    assert_eq!(ask(&mut catalogue, found).await, 2);
    for worker in workers {
        worker.end().await;
    }
}
