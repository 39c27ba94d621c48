//! What many known photos cost the watcher: a restart over them beside `find` and beside other uploaders, the recording of
//! one more with few and with many entries, and how fast files are read beside `openssl dgst`.

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use findme_common::{Digest, PhotoId, manifest};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::contenders::{Contender, Tool, immich_packages};
use crate::figures::Times;
use crate::support::photos::{of_size, small};
use crate::support::{Event, Laptop, peak_memory, say};

/// Photos that are recorded one after the other.
const RECORDED: u64 = 150;

/// All of it, with so many known files.
pub(crate) async fn run(files: u64, tools: u64) {
    restarts(files, tools).await;
    let few = recording(files / 100).await;
    let many = recording(files).await;
    say(&format!(
        "recording with {files} entries ÷ with {}: {:.2} of the processor's time, {:.2} of the bytes written",
        files / 100,
        many.0 / few.0,
        many.1 / few.1
    ));
    hashing().await;
}

/// Small files that differ, without a picture in them: those who know them do not look inside.
fn fill(laptop: &Laptop, files: u64) {
    for number in 0..files {
        let folder = laptop.photos().join(format!("{:03}", number / 1000));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("DSC_{number:06}.jpg")), content(number)).unwrap();
    }
}

fn content(number: u64) -> String {
    format!("photo {number} of many")
}

/// The manifest as it would be had every file been sent: the entries of one photo that was sent, for all of them.
async fn know(laptop: &Laptop, event: &Event, files: u64) {
    laptop.put("first.jpg", &small(7_000_000));
    laptop.once(event).await.assert_exit(0);
    fill(laptop, files);
    let path = laptop.manifest_file(event);
    let manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let (photo, file) = (manifest["photos"][0].clone(), manifest["files"][0].clone());
    let (mut photos, mut all) = (vec![photo.clone()], vec![file.clone()]);
    for number in 0..files {
        let path = laptop.photos().join(format!("{:03}/DSC_{number:06}.jpg", number / 1000)).canonicalize().unwrap();
        let (facts, digest) = (path.metadata().unwrap(), Digest::of(content(number).as_bytes()));
        let mut photo = photo.clone();
        // As of a camera that writes its serial number and sub-seconds.
        let hex = digest.to_string();
        photo["image"] = json!(format!("b3:{}", &hex[32..]));
        let name = format!("dsc_{number:06}");
        photo["shot"] =
            json!({"key": hex[..16], "long": 6000, "short": 4000, "made": 1_700_000_000 + number, "name": name});
        photo["digest"] = json!(hex);
        photo["bytes"] = json!(facts.len());
        photo["state"]["received"]["photo"] = json!(PhotoId::of(event.id, &digest).to_string());
        photos.push(photo);
        let mut file = file.clone();
        file["path"] = json!(path.to_str().unwrap());
        file["bytes"] = json!(facts.len());
        file["mtime_ns"] = json!(facts.mtime() * 1_000_000_000 + facts.mtime_nsec());
        file["inode"] = json!(facts.ino());
        file.as_object_mut().unwrap().remove("racy");
        file["state"]["photo"]["digest"] = json!(digest.to_string());
        all.push(file);
    }
    let mut text = String::from("{");
    for (key, value) in ["schema", "event", "generation"].map(|key| (key, &manifest[key])) {
        write!(text, "\"{key}\":{value},").unwrap();
    }
    write!(text, "\"photos\":[{}],\"files\":[{}]", lines::<manifest::Photo>(photos), lines::<manifest::File>(all))
        .unwrap();
    let sum = crc32fast::hash(text.as_bytes());
    writeln!(text, ",\"checksum\":\"{sum:08x}\"}}").unwrap();
    std::fs::write(&path, text).unwrap();
}

/// Entries letter by letter as the watcher writes them: their members in its order, each on a line of its own.
fn lines<E: DeserializeOwned + Serialize>(entries: Vec<Value>) -> String {
    let line = |entry| serde_json::to_string(&serde_json::from_value::<E>(entry).unwrap()).unwrap();
    entries.into_iter().map(|entry| format!("\n{}", line(entry))).collect::<Vec<_>>().join(",")
}

/// Each program once more over files that it knows.
async fn restarts(files: u64, tools: u64) {
    let packages = Tool::Immich.is_installed().then(|| Arc::new(immich_packages()));
    for (at, tool) in Tool::ALL.into_iter().enumerate() {
        if tools >> at & 1 == 0 || !tool.is_installed() || tool == Tool::FindMeTaking {
            continue;
        }
        let contender = Contender::new(tool, packages.clone()).await;
        if tool == Tool::FindMe {
            know(&contender.laptop, contender.event(), files).await;
        } else {
            fill(&contender.laptop, files);
        }
        match tool {
            Tool::FindMe | Tool::FindMeTaking => {}
            Tool::Restic => drop(contender.run_to_end(contender.command()).await),
            _ => link(&contender),
        }
        let mut contender = contender;
        // immich's stand-in learns what is there when it starts.
        if tool == Tool::Immich {
            contender.close();
            contender.open().await;
        }
        if tool == Tool::Syncthing {
            say("syncthing (restart): not measured, it never says that it is at rest");
            continue;
        }
        // The first one after the files were made is not measured: it may read what is so new that its time proves nothing.
        run_once(contender.command_that_ends()).await;
        let (mut finds, mut times, mut peak) = (Times::default(), Times::default(), 0);
        for _ in 0..3 {
            let mut find = Command::new("find");
            find.arg(contender.laptop.photos()).args(["-printf", "%s %T@ %i\n"]).stdout(Stdio::null());
            finds.add(run_once(find).await.0);
            let (took, memory) = run_once(contender.command_that_ends()).await;
            times.add(took);
            peak = peak.max(memory);
        }
        let (took, find) = (times.percentile(50.0).as_secs_f64(), finds.percentile(50.0).as_secs_f64());
        say(&format!(
            "{} over {files} known files: {took:.2} s, find {find:.2} s, ratio {:.2}, memory {} MiB",
            tool.name(),
            took / find,
            peak >> 20
        ));
    }
}

/// The other side has everything already.
fn link(contender: &Contender) {
    for folder in std::fs::read_dir(contender.laptop.photos()).unwrap() {
        let folder = folder.unwrap().path();
        let there = match contender.tool {
            Tool::Immich => contender.files(),
            _ => contender.files().join(folder.file_name().unwrap()),
        };
        std::fs::create_dir_all(&there).unwrap();
        for file in std::fs::read_dir(&folder).unwrap() {
            let file = file.unwrap();
            std::fs::hard_link(file.path(), there.join(file.file_name())).unwrap();
        }
    }
}

/// How long a program runs, and the most memory that it had.
async fn run_once(mut command: Command) -> (Duration, u64) {
    let run = move || {
        let (began, mut peak) = (Instant::now(), 0);
        let mut child = command.stderr(Stdio::inherit()).stdout(Stdio::null()).spawn().unwrap();
        loop {
            peak = peak.max(peak_memory(child.id()).unwrap_or(0));
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                return (began.elapsed(), peak);
            }
            std::thread::sleep(Duration::from_millis(4));
        }
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

/// Seconds of the processor and bytes written by a watcher that knows so many files, for each photo that comes.
async fn recording(files: u64) -> (f64, f64) {
    let contender = Contender::new(Tool::FindMe, None).await;
    let laptop = &contender.laptop;
    know(laptop, contender.event(), files).await;
    let mut watch = laptop.start(laptop.for_event(contender.event()));
    watch.wait_for("idle", 1).await;
    let began = spent(watch.pid());
    let mut times = Times::default();
    for number in 0..RECORDED {
        let closed = Instant::now();
        laptop.put(format!("new/DSC_{number:05}.jpg"), &small(8_000_000 + number));
        watch.wait_for("uploaded", number as usize + 1).await;
        times.add(closed.elapsed());
    }
    let ended = spent(watch.pid());
    let each = |now: f64, before: f64| (now - before) / RECORDED as f64;
    let (seconds, bytes) = (each(ended.0, began.0), each(ended.1, began.1));
    say(&format!(
        "recording with {files} entries: {:.2} ms of the processor and {:.1} KB written a photo; close to receipt {times}; \
         memory {} MiB at most",
        seconds * 1000.0,
        bytes / 1000.0,
        peak_memory(watch.pid()).unwrap_or(0) >> 20
    ));
    (seconds, bytes)
}

/// Seconds of the processor that a process has used, and bytes that it has had written.
fn spent(pid: u32) -> (f64, f64) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
    (ticks / 100.0, written.parse().unwrap())
}

/// Bytes a second of a first look at 64 files of 8 MiB, without sending them, beside `openssl` on the same files.
async fn hashing() {
    let contender = Contender::new(Tool::FindMe, None).await;
    let mut files = Vec::new();
    for number in 0..64 {
        files.push(contender.laptop.put(format!("DSC_{number:05}.jpg"), &of_size(number, 8192)));
    }
    let (mut ours, mut theirs) = (Times::default(), Times::default());
    for _ in 0..5 {
        let mut look = contender.command();
        look.arg("--dry-run");
        ours.add(run_once(look).await.0);
        let mut openssl = Command::new("openssl");
        openssl.args(["dgst", "-sha256"]).args(&files);
        theirs.add(run_once(openssl).await.0);
    }
    let (ours, theirs) = (ours.percentile(50.0).as_secs_f64(), theirs.percentile(50.0).as_secs_f64());
    say(&format!(
        "reading and hashing 512 MiB: findme-watch {ours:.2} s, openssl {theirs:.2} s: rate ÷ openssl's {:.2}",
        theirs / ours
    ));
}
