//! `kill -9` of the watcher at the moments in which it writes its manifest: while lines are appended, while a snapshot is
//! written, and around the renames that put it in place.
//!
//! The server is a stand-in that names uploads at random and compares nothing, so that a receipt that was forgotten shows
//! as a second upload; a manifest that cannot be read ends the watcher with exit code 6, and the run with it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use findme_common::manifest::PhotoState;

use crate::support::photos::small;
use crate::support::stand_in::StandIn;
use crate::support::{Laptop, Random, Watch, say};

/// Photos that come before each kill.
const PHOTOS: u64 = 3;

/// After so long the moment has been missed, and it is killed all the same.
const MISSED: Duration = Duration::from_secs(10);

/// When it is killed: a random while after this was seen.
#[derive(Debug, Clone, Copy)]
enum Aim {
    /// The journal has grown.
    Append,
    /// A snapshot is being written.
    Snapshot,
    /// The snapshot has another file number: one rename is done, or both.
    Rename,
}

/// The manifest's files as they are at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    journal: u64,
    /// Of a snapshot that has no name yet: its length and modification time.
    temp: Option<(u64, i64, i64)>,
    snapshot: u64,
    previous: u64,
}

impl Look {
    fn at(manifest: &Path) -> Self {
        let file = |ending: &str| fs::metadata(manifest.with_extension(ending)).ok();
        Self {
            journal: file("journal").map_or(0, |journal| journal.len()),
            temp: file("json.tmp").map(|temp| (temp.len(), temp.mtime(), temp.mtime_nsec())),
            snapshot: file("json").map_or(0, |snapshot| snapshot.ino()),
            previous: file("previous.json").map_or(0, |previous| previous.ino()),
        }
    }

    /// One that an earlier kill left lies there until the next is written.
    fn writes_snapshot(self, before: Self) -> bool {
        self.temp.is_some() && self.temp != before.temp
    }

    fn is_it(self, aim: Aim, before: Self) -> bool {
        match aim {
            // What an earlier kill left is cut off first.
            Aim::Append => self.journal > 0 && self.journal != before.journal,
            Aim::Snapshot => self.writes_snapshot(before),
            Aim::Rename => self.snapshot != before.snapshot || self.previous != before.previous,
        }
    }
}

/// What the kills left behind.
#[derive(Debug, Default)]
struct Left {
    lines: u32,
    half_a_snapshot: u32,
    snapshot_not_in_place: u32,
    snapshot_with_old_journal: u32,
    nothing: u32,
}

impl Left {
    fn note(&mut self, manifest: &Path, before: Look) {
        let now = Look::at(manifest);
        let which = match now {
            _ if now.writes_snapshot(before) && now.previous != before.previous => &mut self.snapshot_not_in_place,
            _ if now.writes_snapshot(before) => &mut self.half_a_snapshot,
            _ if now.snapshot != before.snapshot && now.journal > 0 => &mut self.snapshot_with_old_journal,
            _ if now.journal > 0 => &mut self.lines,
            _ => &mut self.nothing,
        };
        *which += 1;
    }
}

/// Kills the watcher so often; its manifest has so many further `entries`, so that writing it takes a while.
pub(crate) async fn run(kills: u64, entries: u64, mut random: Random) {
    let server = StandIn::start().await;
    let event = server.event();
    let laptop = Laptop::new();
    for n in 0..entries {
        laptop.put(format!("notes/{n:05}.txt"), b"no photo, and an entry all the same");
    }
    laptop.put("first.jpg", &small(0));
    laptop.once(&event).await.assert_exit(0);
    let manifest = laptop.manifest_file(&event);
    let (mut contents, mut receipts, mut left) = (vec![small(0)], BTreeMap::<String, u32>::new(), Left::default());
    let (began, mut missed) = (Instant::now(), 0);
    for kill in 0..kills {
        for n in 0..PHOTOS {
            let number = 1 + kill * PHOTOS + n;
            contents.push(small(number));
            laptop.put(format!("DSC_{number:05}.jpg"), &small(number));
        }
        let aim = [Aim::Append, Aim::Snapshot, Aim::Rename][(kill % 3) as usize];
        let longest = match aim {
            Aim::Append => 60_000,
            Aim::Snapshot => 3_000 + 10 * entries,
            Aim::Rename => 1_500,
        };
        let (wait, mut watch) = (random.between(0, longest), laptop.start(laptop.for_event(&event)));
        let (place, before) = (manifest.clone(), Look::at(&manifest));
        let (shot, hit) = tokio::task::spawn_blocking(move || shoot(watch, &place, aim, wait)).await.unwrap();
        watch = shot;
        missed += u32::from(!hit);
        left.note(&manifest, before);
        take_receipts(&watch, &mut receipts);
    }
    let took = began.elapsed();
    let last = laptop.once(&event).await;
    last.assert_exit(0);
    for line in last.lines.iter().filter(|line| line["type"] == "uploaded") {
        *receipts.entry(line["digest"].to_string()).or_default() += 1;
    }
    assert_eq!(laptop.once(&event).await.said("uploaded"), 0, "something is sent again");
    server.assert_holds_each_once(&contents);
    let forgotten = receipts.values().filter(|times| **times > 1).count();
    let photos = laptop.manifest(&event).photos;
    let received = photos.iter().filter(|photo| matches!(photo.state, PhotoState::Received { .. })).count();
    say(&format!(
        "manifest-kills: {kills} kills over {entries} further entries in {:.0} s, {missed} of them late; they left {left:?}; {} photos, {} receipts \
         forgotten, {} uploads created",
        took.as_secs_f32(),
        contents.len(),
        forgotten + contents.len().abs_diff(received),
        server.created(),
    ));
    assert_eq!((forgotten, received, photos.len()), (0, contents.len(), contents.len()));
}

/// Waits for the moment and a little more, and kills; whether the moment was seen.
fn shoot(mut watch: Watch, manifest: &Path, aim: Aim, wait: u64) -> (Watch, bool) {
    let (before, began) = (Look::at(manifest), Instant::now());
    while !Look::at(manifest).is_it(aim, before) && began.elapsed() < MISSED {
        assert!(watch.is_running(), "it ended by itself before {aim:?}: {}", watch.complaints());
        std::thread::sleep(Duration::from_micros(50));
    }
    let hit = began.elapsed() < MISSED;
    // Too short for a sleep to be exact.
    let until = Instant::now() + Duration::from_micros(wait);
    while Instant::now() < until {
        std::hint::spin_loop();
    }
    watch.kill();
    (watch, hit)
}

/// What it has told its user: each photo may be received once.
fn take_receipts(watch: &Watch, receipts: &mut BTreeMap<String, u32>) {
    for line in watch.lines().iter().filter(|line| line["type"] == "uploaded") {
        *receipts.entry(line["digest"].to_string()).or_default() += 1;
    }
}
