//! `kill -9` of watcher and server in turn at random moments of an upload, then a quiet run: nothing lost, nothing
//! twice, nothing damaged. `FINDME_KILLS` is the number of kills, `FINDME_SEED` repeats a run.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use findme_common::Digest;
use findme_common::manifest::{FileState, PhotoState};

use crate::support::photos::of_size;
use crate::support::{Laptop, PATIENCE, Random, Server, number, say};

const PHOTOS: u64 = 200;

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_random_moments_lose_nothing_and_double_nothing() {
    let kills = number("FINDME_KILLS", 6);
    let mut random = Random::seeded("kills");
    let mut server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let contents: Vec<_> = (0..PHOTOS).map(|n| of_size(n, 40 + (n as usize * 37) % 700)).collect();
    for (n, bytes) in contents.iter().enumerate() {
        laptop.put(format!("{}/DSC_{n:04}.JPG", n % 5), bytes);
    }
    let began = Instant::now();
    let mut watch = laptop.start(laptop.for_event(&event));
    let (mut watcher_kills, mut server_kills, mut in_the_middle) = (0, 0, 0);
    // Many kills come quickly one after another, so that the upload outlasts them.
    let longest_wait = (2_000_000 / kills.max(1)).clamp(5_000, 120_000);
    for kill in 0..kills {
        // Spread over the whole upload, each at a random moment after its share has arrived.
        let share = (kill * PHOTOS / (kills + 1)) as usize;
        let deadline = Instant::now() + PATIENCE;
        while server.published() < share {
            assert!(Instant::now() < deadline, "no progress: {} photos, {share} expected", server.published());
            assert!(watch.is_running(), "the watcher ended by itself: {}", watch.complaints());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(Duration::from_micros(random.between(0, longest_wait))).await;
        let pause = Duration::from_millis(random.between(0, 100));
        in_the_middle += u32::from(server.published() < PHOTOS as usize);
        if kill % 2 == 0 {
            watch.kill();
            watcher_kills += 1;
            tokio::time::sleep(pause).await;
            watch = laptop.start(laptop.for_event(&event));
        } else {
            server.kill();
            server_kills += 1;
            tokio::time::sleep(pause).await;
            server.run().await;
        }
    }
    watch.kill();
    let run = laptop.once(&event).await;
    run.assert_exit(0);
    let took = began.elapsed();

    event.assert_holds_exactly(&contents).await;
    assert_eq!(server.published(), PHOTOS as usize, "files without a photo");
    assert!(server.staged().is_empty(), "unfinished uploads are left over");
    let counts = event.counts().await;
    assert_eq!((counts.indexed, counts.received, counts.failed), (PHOTOS, 0, 0));
    let manifest = laptop.manifest(&event);
    let received: BTreeSet<_> = manifest
        .photos
        .iter()
        .filter(|photo| matches!(photo.state, PhotoState::Received { .. }))
        .map(|photo| photo.digest)
        .collect();
    assert_eq!(received, contents.iter().map(|bytes| Digest::of(bytes)).collect());
    let sent = manifest.files.iter().filter(|file| matches!(file.state, FileState::Photo { duplicate: false, .. }));
    assert_eq!(sent.count(), PHOTOS as usize);
    server.assert_no_faults();
    say(&format!(
        "kills: {watcher_kills} of the watcher, {server_kills} of the server, {in_the_middle} of them before the last of \
         {PHOTOS} photos had arrived; all there once, bytes equal, after {:.1} s",
        took.as_secs_f32()
    ));
}
