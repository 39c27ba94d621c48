//! From the close of a camera's file to a guest's event stream, through the two real binaries: a photo a second, then
//! groups, then a whole card at once.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use findme_common::{Digest, PhotoId};
use reqwest::Method;
use serde::Deserialize;
use tokio::task::JoinHandle;

use crate::crew::upload;
use crate::faces::make_event;
use crate::figures::{Memory, Times};
use crate::foreign::files_in;
use crate::support::live::Listener;
use crate::support::photos::small;
use crate::support::{Event, Laptop, Server, asset, say, wait_within};
use crate::wire::Wire;

#[derive(Deserialize)]
struct Truth {
    /// Who is in each photo, by file name.
    photos: BTreeMap<String, Vec<String>>,
    guests: Vec<String>,
}

/// What a guest heard first of each photo, by the event's name.
type Heard = HashMap<(PhotoId, String), Instant>;

/// A photo each second to `guests` who listen; groups; all photos at once.
pub(crate) async fn run(photos: u64, guests: u64, megapixels: u64) {
    let Some(models) = asset("models") else { return };
    let Some(groups) = asset("photos/groups") else { return };
    let folder = tempfile::tempdir().unwrap();
    if !make_event(folder.path(), photos, guests, megapixels, 5) {
        return;
    }
    let truth: Truth = serde_json::from_slice(&std::fs::read(folder.path().join("truth.json")).unwrap()).unwrap();
    let files = files_in(&folder.path().join("photos"));
    one_a_second(&models, folder.path(), &files, &truth).await;
    at_once(&models, &files).await;
    for group in files_in(&groups) {
        one_group(&models, &group).await;
    }
}

async fn one_a_second(models: &Path, made: &Path, files: &[PathBuf], truth: &Truth) {
    let (server, event) = serving(models).await;
    let mut listening = Vec::new();
    for name in &truth.guests {
        let guest = event.guest().await;
        let selfie = std::fs::read(made.join(format!("selfies/{name}.jpg"))).unwrap();
        guest.selfie(selfie).await.unwrap_or_else(|problem| panic!("{name}: {problem:?}"));
        let stream = Listener::open(guest.request(Method::GET, "/api/live"), None).await;
        listening.push(listen(stream, files.len() + 1));
    }
    let laptop = Laptop::new();
    let mut watch = laptop.start(laptop.for_event(&event));
    let mut closed = HashMap::new();
    let mut shutter = tokio::time::interval(Duration::from_secs(1));
    for file in files {
        shutter.tick().await;
        let name = file.file_name().unwrap();
        let (from, to) = (file.clone(), laptop.photos().join(name));
        let copied = tokio::task::spawn_blocking(move || {
            std::fs::copy(&from, to).unwrap();
            let at = Instant::now();
            (at, Digest::of(&std::fs::read(from).unwrap()))
        });
        let (at, digest) = copied.await.unwrap();
        closed.insert(PhotoId::of(event.id, &digest), (at, name.to_str().unwrap().to_owned()));
    }
    watch.wait_for("uploaded", files.len()).await;
    indexed(&event, files.len()).await;
    // Whoever has heard of one more has heard all there was to say of those before it.
    upload(&mut Wire::to(&event.url).await.unwrap(), &event, &small(1)).await;
    let (mut told, mut searchable, mut present) = (Times::default(), Times::default(), 0);
    for (name, heard) in truth.guests.iter().zip(listening) {
        let heard = heard.await.unwrap();
        for (photo, (at, file)) in &closed {
            let after = |kind: &str| heard.get(&(*photo, kind.to_owned())).map(|time| *time - *at);
            searchable.add(after("indexed").expect("every guest hears of every photo"));
            if truth.photos[file].contains(name) {
                present += 1;
                if let Some(time) = after("you").or_else(|| after("maybe")) {
                    told.add(time);
                }
            }
        }
    }
    say(&format!(
        "{} photos, one a second, {} guests listen: from the file's close to the guest who is in it {told} ({} of {present} \
         appearances); to everybody, searchable, {searchable}; server {}, watcher {}",
        files.len(),
        truth.guests.len(),
        told.count(),
        Memory::of(server.pid()),
        Memory::of(watch.pid()),
    ));
    watch.interrupt();
    watch.end().await.assert_exit(0);
    server.assert_no_faults();
}

/// All of a card at once.
async fn at_once(models: &Path, files: &[PathBuf]) {
    let (server, event) = serving(models).await;
    let laptop = Laptop::new();
    for file in files {
        std::fs::copy(file, laptop.photos().join(file.file_name().unwrap())).unwrap();
    }
    let began = Instant::now();
    let mut watch = laptop.start(laptop.for_event(&event));
    watch.wait_for("uploaded", files.len()).await;
    let stored = began.elapsed();
    indexed(&event, files.len()).await;
    say(&format!(
        "{} photos at once: all stored after {:.1} s, all searchable after {:.1} s; server {}",
        files.len(),
        stored.as_secs_f32(),
        began.elapsed().as_secs_f32(),
        Memory::of(server.pid()),
    ));
}

async fn one_group(models: &Path, file: &Path) {
    let (_server, event) = serving(models).await;
    let guest = event.guest().await;
    let mut stream = Listener::open(guest.request(Method::GET, "/api/live"), None).await;
    let laptop = Laptop::new();
    let mut watch = laptop.start(laptop.for_event(&event));
    watch.wait_for("idle", 1).await;
    let name = file.file_name().unwrap();
    std::fs::copy(file, laptop.photos().join(name)).unwrap();
    let closed = Instant::now();
    stream.wait_for("indexed").await;
    let time = closed.elapsed();
    say(&format!("{}: searchable {:.2} s after its close", name.display(), time.as_secs_f32()));
}

async fn serving(models: &Path) -> (Server, Event) {
    let server = Server::start_with_models(models).await;
    let event = server.create_event("camera");
    (server, event)
}

async fn indexed(event: &Event, count: usize) {
    let patience = Duration::from_secs(5) * count as u32;
    let all = async || (event.counts().await.indexed as usize == count).then_some(());
    wait_within(patience, "all to be searchable", all).await;
}

/// Hears until `count` photos are searchable.
fn listen(mut stream: Listener, count: usize) -> JoinHandle<Heard> {
    tokio::spawn(async move {
        let mut heard = Heard::new();
        let mut searchable = 0;
        while searchable < count {
            let Some(next) = stream.next().await else { break };
            if ["indexed", "you", "maybe"].contains(&&*next.name) {
                searchable += usize::from(next.name == "indexed");
                heard.entry((next.photo().parse().unwrap(), next.name)).or_insert_with(Instant::now);
            }
        }
        heard
    })
}
