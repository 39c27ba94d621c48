//! Who is found: an event whose truth is known, through `--serve` and the real selfie endpoint. Small by default;
//! `FINDME_EVENT=full` is the size that the README's figures come from.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use findme_common::PhotoId;
use findme_common::protocol::Match;
use serde::Deserialize;

use crate::support::{Laptop, Server, asset, not_tested, peak_memory, say, wait_within};
use crate::venue::{serving, venue};

#[derive(Deserialize)]
struct Truth {
    /// Guests in each photo, by file name.
    photos: BTreeMap<String, Vec<String>>,
    guests: Vec<String>,
}

impl Truth {
    /// An event that is made in this folder; `None` when there is nothing here to make it of.
    fn of_new_event(made: &Path) -> Option<Self> {
        let (Some(_), Some(tools)) = (asset("photos/lfw/identities"), asset("tools")) else { return None };
        make_event(tools.parent().unwrap(), made)
            .then(|| serde_json::from_slice(&std::fs::read(made.join("truth.json")).unwrap()).unwrap())
    }
}

/// Photos, guests, megapixels.
fn size() -> (u32, u32, u32) {
    if std::env::var("FINDME_EVENT").as_deref() == Ok("full") { (60, 12, 24) } else { (16, 6, 12) }
}

fn make_event(shared: &Path, out: &Path) -> bool {
    let python = Command::new("python3").args(["-c", "import PIL, numpy"]).output();
    if !python.is_ok_and(|output| output.status.success()) {
        not_tested("python3 with Pillow and numpy makes the event");
        return false;
    }
    let (photos, guests, megapixels) = size();
    let mut command = Command::new("python3");
    command.arg(shared.join("tools/make_event.py")).arg("--people").arg(shared.join("photos/lfw/identities"));
    command.arg("--out").arg(out).args(["--seed", "7", "--strangers", "12", "--rotate"]);
    command.args(["--photos", &photos.to_string(), "--guests", &guests.to_string()]);
    let output = command.args(["--megapixels", &megapixels.to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_get_their_photos_and_nobody_elses() {
    let Some(models) = asset("models") else { return };
    let laptop = Laptop::new();
    let made = laptop.place("event");
    let Some(truth) = Truth::of_new_event(&made) else { return };
    std::fs::remove_dir(laptop.photos()).unwrap();
    std::fs::rename(made.join("photos"), laptop.photos()).unwrap();

    let began = Instant::now();
    let mut command = venue(&laptop, Some(&models));
    command.env("FINDME_LOG", "warn,findme_server=info").env("NO_COLOR", "1");
    let mut watch = laptop.start(command);
    let event = serving(&mut watch).await;
    // Unoptimised builds take many seconds a photo.
    let patience = Duration::from_secs(30) * truth.photos.len() as u32;
    wait_within(patience, "the event to be indexed", async || (watch.said("idle") == 1).then_some(())).await;
    let idle = watch.wait_for("idle", 1).await;
    let run = began.elapsed();
    assert_eq!(idle["uploaded"], truth.photos.len(), "every photo has its receipt: {idle}");
    let counts = event.counts().await;
    assert_eq!(counts.indexed as usize, truth.photos.len(), "every photo is indexed: {counts:?}");
    let memory = peak_memory(watch.pid());

    let by_id: HashMap<PhotoId, String> =
        event.photos().await.into_iter().map(|photo| (photo.id, photo.name)).collect();
    let (mut shown, mut right, mut found, mut present) = (0, 0, 0, 0);
    let mut searches = Duration::ZERO;
    for name in &truth.guests {
        let guest = event.guest().await;
        let selfie = std::fs::read(made.join(format!("selfies/{name}.jpg"))).unwrap();
        let asked = Instant::now();
        let result = guest.selfie(selfie).await.unwrap_or_else(|problem| panic!("{name}: {problem:?}"));
        searches += asked.elapsed();
        let is_in = |id: &PhotoId| truth.photos[&by_id[id]].contains(name);
        let (you, maybe): (Vec<_>, Vec<_>) =
            (result.you.iter().map(|hit| hit.photo).collect(), result.maybe.iter().map(|hit| hit.photo).collect());
        shown += you.len();
        right += you.iter().filter(|id| is_in(id)).count();
        found += you.iter().chain(&maybe).filter(|id| is_in(id)).count();
        present += truth.photos.values().filter(|guests| guests.contains(name)).count();
        assert!(you.iter().all(|id| !maybe.contains(id)), "a photo is in both bands");
    }
    let precision = right as f64 / shown.max(1) as f64;
    let recall = found as f64 / present as f64;
    let (photos, guests, megapixels) = size();
    let mut report =
        format!("accuracy: {photos} photos of {megapixels} megapixels, {guests} guests, {present} appearances\n");
    report += &format!("  precision in «you» {precision:.3} ({right} of {shown})\n");
    report += &format!("  recall over both bands {recall:.3} ({found} of {present})\n");
    report += &format!(
        "  start to rest {:.1} s, {:.0} ms a photo; a selfie's search {:.0} ms; peak memory {}\n",
        run.as_secs_f32(),
        run.as_secs_f64() * 1e3 / f64::from(photos),
        searches.as_secs_f64() * 1e3 / f64::from(guests),
        memory.map_or("unknown".to_owned(), |bytes| format!("{} MB", bytes / 1_000_000)),
    );
    let stages = stages(&watch.complaints());
    assert!(stages.len() >= 4, "the log tells the time of each stage: {stages:?}");
    for (stage, times) in &stages {
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        let worst = times.iter().copied().fold(0.0, f64::max);
        report += &format!("  {stage}: {mean:.1} ms on average, {worst:.1} ms at most, {} times\n", times.len());
    }
    say(&report);
    assert!(precision >= 0.98, "precision in «you» is {precision:.3}");
    assert!(recall >= 0.90, "recall over both bands is {recall:.3}");
}

/// Names of photos with their similarity in thousandths: surely a guest's, and perhaps.
type Shown = [BTreeMap<String, i32>; 2];

/// Sends an event to a server and has every guest search it; what each is shown.
async fn shown_by(mut server: Server, made: &Path, truth: &Truth) -> BTreeMap<String, Shown> {
    server.run().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    for photo in std::fs::read_dir(made.join("photos")).unwrap() {
        let photo = photo.unwrap();
        laptop.put(photo.file_name(), &std::fs::read(photo.path()).unwrap());
    }
    laptop.once(&event).await.assert_exit(0);
    let patience = Duration::from_secs(30) * truth.photos.len() as u32;
    let counts = wait_within(patience, "the event to be indexed", async || {
        let counts = event.counts().await;
        (counts.runnable == 0).then_some(counts)
    });
    assert_eq!(counts.await.indexed as usize, truth.photos.len());
    let names: HashMap<PhotoId, String> =
        event.photos().await.into_iter().map(|photo| (photo.id, photo.name)).collect();
    let mut shown = BTreeMap::new();
    for name in &truth.guests {
        let guest = event.guest().await;
        let found = guest.selfie(std::fs::read(made.join(format!("selfies/{name}.jpg"))).unwrap()).await.unwrap();
        let band = |hits: &[Match]| {
            hits.iter().map(|hit| (names[&hit.photo].clone(), (hit.similarity * 1000.0).round() as i32)).collect()
        };
        shown.insert(name.clone(), [band(&found.you), band(&found.maybe)]);
    }
    server.assert_no_faults();
    shown
}

/// The same event on SQLite with a folder, and where the tests are told to run: on PostgreSQL with an object store.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_on_many_machines_finds_the_same() {
    if std::env::var_os("FINDME_TEST_DATABASE").is_none() || std::env::var_os("FINDME_TEST_STORE").is_none() {
        eprintln!("skipped: it compares with PostgreSQL and an object store (tests/on-postgres tests/on-store)");
        return;
    }
    let Some(models) = asset("models") else { return };
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("event");
    let Some(truth) = Truth::of_new_event(&made) else { return };
    let options = ["--models", models.to_str().unwrap()];
    let here = shown_by(Server::idle(&options).with_everything_here(), &made, &truth).await;
    let there = shown_by(Server::idle(&options), &made, &truth).await;
    assert_eq!(here, there, "the same guests are shown the same photos, as surely");
    let (mut shown, mut right, mut found, mut present) = (0, 0, 0, 0);
    for (name, [you, maybe]) in &there {
        let is_in = |photo: &&String| truth.photos[*photo].contains(name);
        shown += you.len();
        right += you.keys().filter(is_in).count();
        found += you.keys().chain(maybe.keys()).filter(is_in).count();
        present += truth.photos.values().filter(|guests| guests.contains(name)).count();
    }
    say(&format!(
        "accuracy: {} photos, {} guests: the same on SQLite with a folder and on PostgreSQL with an object store: precision in \
         «you» {right} of {shown}, recall over both bands {found} of {present}\n",
        truth.photos.len(),
        truth.guests.len()
    ));
    assert!(right * 100 >= shown * 98 && found * 10 >= present * 9);
}

/// Milliseconds of each stage, from lines such as `… indexed photo=… decode_ms=12.3 thumbnails_ms=4.5`.
fn stages(log: &str) -> BTreeMap<String, Vec<f64>> {
    let mut stages: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for pair in log.split_whitespace().filter_map(|word| word.split_once("_ms=")) {
        if let Ok(ms) = pair.1.parse() {
            stages.entry(pair.0.to_owned()).or_default().push(ms);
        }
    }
    stages
}
