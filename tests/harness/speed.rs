//! A hundred large photos, acknowledged: by our server (a bare client, then the watcher), beside a copy of the same
//! files that is as durable, rclone to its WebDAV server, and tus-js-client to @tus/server. In turn, several rounds;
//! medians and ratios within one run.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use findme_common::{Digest, PhotoId};
use tokio::task::JoinSet;

use crate::figures::Times;
use crate::foreign::{self, Foreign, Peer};
use crate::support::photos::of_size;
use crate::support::{Event, Laptop, Server, say};
use crate::wire::{Wire, head};

/// Files on their way at a time, the same for everybody.
const JOBS: usize = 4;

/// Runs everybody `rounds` times on `photos` files of `megabytes`.
pub(crate) async fn run(photos: u64, megabytes: u64, rounds: u64) {
    let source = tempfile::tempdir().unwrap();
    for number in 0..photos {
        let bytes = of_size(number, (megabytes as usize) << 10);
        std::fs::write(source.path().join(format!("DSC_{number:04}.JPG")), bytes).unwrap();
    }
    let files = foreign::files_in(source.path());
    let node =
        foreign::installed("node").then(|| Foreign::node(&["tus-js-client@4", "@tus/server@2", "@tus/file-store@2"]));
    let mut times: Vec<(&str, Times)> =
        ["ours", "watcher", "durable copy", "rclone to WebDAV", "tus-js to @tus/server", "tus-js to ours"]
            .map(|name| (name, Times::default()))
            .into();
    for _ in 0..rounds {
        times[0].1.add(ours(&files).await);
        times[1].1.add(watcher(&files).await);
        times[2].1.add(copy(&files).await);
        if foreign::installed("rclone") {
            times[3].1.add(rclone(source.path()).await);
        }
        if let Some(node) = &node {
            times[4].1.add(tus_js(node, &files).await);
            times[5].1.add(tus_js_to_ours(node, &files).await);
        }
    }
    let ours = times[0].1.percentile(50.0).as_secs_f64();
    say(&format!("{photos} photos of {megabytes} MiB, {JOBS} at a time, median of {rounds} rounds:"));
    for (name, times) in &times {
        let median = times.percentile(50.0).as_secs_f64();
        let (least, most) = (times.percentile(1.0).as_secs_f64(), times.percentile(100.0).as_secs_f64());
        say(&format!("  {name:<22} {median:>6.2} s ({least:.2}–{most:.2}); {:.2} × ours", median / ours));
    }
}

/// A client that does no more than the protocol asks: digest, creation, bytes, receipt.
async fn ours(files: &[PathBuf]) -> Duration {
    let server = Server::start().await;
    let event = server.create_event("speed");
    let waiting = Arc::new(Mutex::new(files.to_vec()));
    let began = Instant::now();
    let mut at_work = JoinSet::new();
    for _ in 0..JOBS {
        at_work.spawn(machine(event.clone(), waiting.clone()));
    }
    while let Some(ended) = at_work.join_next().await {
        ended.unwrap();
    }
    began.elapsed()
}

async fn machine(event: Event, waiting: Arc<Mutex<Vec<PathBuf>>>) {
    let mut wire = Wire::to(&event.url).await.unwrap();
    loop {
        let Some(file) = waiting.lock().unwrap().pop() else { return };
        let (bytes, digest) = tokio::task::spawn_blocking(move || {
            let bytes = std::fs::read(file).unwrap();
            let digest = Digest::of(&bytes);
            (bytes, digest)
        })
        .await
        .unwrap();
        let word = |text: String| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
        let photo = PhotoId::of(event.id, &digest).to_string();
        let metadata = format!("digest {},photo {}", word(digest.to_string()), word(photo));
        let more = format!("upload-length: {}\r\nupload-metadata: {metadata}\r\n", bytes.len());
        let created = wire.ask(&head("POST", "/api/uploads", &event.token, &more), b"").await.unwrap();
        let more = "content-type: application/offset+octet-stream\r\nupload-offset: 0\r\n";
        let patch = head("PATCH", created.header("location").unwrap(), &event.token, more);
        let answer = wire.ask(&patch, &bytes).await.unwrap();
        assert_eq!(answer.header("repr-digest"), Some(digest.to_repr_digest().as_str()));
    }
}

/// The watcher as a photographer starts it: from its start to its last receipt.
async fn watcher(files: &[PathBuf]) -> Duration {
    let server = Server::start().await;
    let event = server.create_event("speed");
    let laptop = Laptop::new();
    for (number, file) in files.iter().enumerate() {
        let photo = laptop.photos().join(format!("{number}.jpg"));
        std::fs::hard_link(file, &photo).or_else(|_| std::fs::copy(file, &photo).map(drop)).unwrap();
    }
    let began = Instant::now();
    let mut watch = laptop.start(laptop.for_event(&event));
    watch.wait_for("uploaded", files.len()).await;
    began.elapsed()
}

/// Writes, syncs, renames and syncs the folder, for each file before the next.
async fn copy(files: &[PathBuf]) -> Duration {
    let target = tempfile::tempdir().unwrap();
    let folder = target.path().to_owned();
    let waiting = Arc::new(Mutex::new(files.to_vec()));
    tokio::task::spawn_blocking(move || {
        let began = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..JOBS {
                scope.spawn(|| {
                    loop {
                        let Some(file) = waiting.lock().unwrap().pop() else { return };
                        copy_one(&file, &folder);
                    }
                });
            }
        });
        began.elapsed()
    })
    .await
    .unwrap()
}

fn copy_one(file: &Path, folder: &Path) {
    let name = file.file_name().unwrap();
    let temporary = folder.join(name).with_extension("part");
    let mut copy = File::create(&temporary).unwrap();
    copy.write_all(&std::fs::read(file).unwrap()).unwrap();
    copy.sync_data().unwrap();
    std::fs::rename(&temporary, folder.join(name)).unwrap();
    File::open(folder).unwrap().sync_all().unwrap();
}

async fn rclone(source: &Path) -> Duration {
    let target = tempfile::tempdir().unwrap();
    let port = foreign::free_port();
    let address = format!("127.0.0.1:{port}");
    // No settings of this machine's user.
    let config = target.path().join("rclone.conf");
    std::fs::write(&config, "").unwrap();
    let folder = target.path().join("files");
    std::fs::create_dir(&folder).unwrap();
    let mut serve = Command::new("rclone");
    serve.args(["serve", "webdav", "--addr", &address, "--config"]).arg(&config).arg(&folder);
    let _server = Peer::start_silent(&mut serve, &address).await;
    let mut copy = Command::new("rclone");
    copy.args(["copy", "--transfers", &JOBS.to_string(), "--config"]).arg(&config).arg(source);
    copy.arg(format!(":webdav,url='http://{address}':"));
    let began = Instant::now();
    let status = tokio::task::spawn_blocking(move || copy.status().unwrap()).await.unwrap();
    let took = began.elapsed();
    assert!(status.success(), "rclone");
    assert_eq!(foreign::files_in(&folder).len(), foreign::files_in(source).len(), "rclone copied all");
    took
}

async fn tus_js(node: &Foreign, files: &[PathBuf]) -> Duration {
    let target = tempfile::tempdir().unwrap();
    let server = Peer::start(node.driver("tus_server.mjs").arg(target.path()));
    drive(node, &server.first_line, "", files).await
}

async fn tus_js_to_ours(node: &Foreign, files: &[PathBuf]) -> Duration {
    let server = Server::start().await;
    let event = server.create_event("speed");
    drive(node, &format!("{}/api/uploads", event.url), &event.token, files).await
}

/// Without the start of Node: the driver tells the time itself.
async fn drive(node: &Foreign, url: &str, token: &str, files: &[PathBuf]) -> Duration {
    let mut command = node.driver("tus_js.mjs");
    command.args([url, token, &JOBS.to_string()]).args(files);
    Duration::from_secs_f64(foreign::output(command).await["seconds"].as_f64().unwrap())
}

/// Runs a load with wrk: requests and bytes a second.
pub(crate) fn wrk(url: &str, script: &Path, connections: u64, seconds: u64) -> (f64, f64) {
    let mut command = Command::new("wrk");
    command.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "-s"]).arg(script).arg(url);
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    let mut figures = (0.0, 0.0);
    for line in BufReader::new(output.stdout.as_slice()).lines().map_while(Result::ok) {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("Requests/sec:"), Some(value)) => figures.0 = value.parse().unwrap(),
            (Some("Transfer/sec:"), Some(value)) => figures.1 = bytes(value),
            (Some("Non-2xx"), _) => panic!("wrk: {line}"),
            (Some("Socket"), _) => say(&format!("wrk: {}", line.trim())),
            _ => {}
        }
    }
    figures
}

/// `12.34MB` as wrk writes it.
fn bytes(text: &str) -> f64 {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.trim_start_matches(digits) {
        "KB" => 1024.0,
        "MB" => 1024.0 * 1024.0,
        "GB" => 1024.0 * 1024.0 * 1024.0,
        _ => 1.0,
    };
    digits.parse::<f64>().unwrap() * unit
}
