//! From folder to server: everything arrives, nothing twice, and the manifest says why each path was or was not sent.

use std::path::Path;

use findme_common::manifest::{FileState, Manifest, PhotoState, SkipReason};
use findme_common::{Digest, PhotoId};

use crate::support::chaos;
use crate::support::photos::{of_size, small};
use crate::support::{Laptop, Server};

/// The manifest's word about a path.
fn state_of(manifest: &Manifest, path: &Path) -> FileState {
    let path = path.canonicalize().unwrap();
    let file = manifest.files.iter().find(|file| file.to_path().unwrap() == path);
    file.unwrap_or_else(|| panic!("{} is not in the manifest", path.display())).state
}

fn is_photo(manifest: &Manifest, path: &Path, bytes: &[u8], duplicate: bool) -> bool {
    state_of(manifest, path) == FileState::Photo { digest: Digest::of(bytes), duplicate }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_arrives_whole() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let contents: Vec<_> = (0..12).map(|n| of_size(n, 20 + 30 * n as usize)).collect();
    let paths: Vec<_> =
        contents.iter().enumerate().map(|(n, bytes)| laptop.put(format!("{}/DSC_{n:04}.JPG", n % 3), bytes)).collect();
    laptop.put("notes.txt", b"no photo");

    let run = laptop.once(&event).await;
    run.assert_exit(0);
    for (path, bytes) in paths.iter().zip(&contents) {
        let line = run.lines.iter().find(|l| l["type"] == "uploaded" && l["path"] == path.to_str().unwrap());
        let line = line.unwrap_or_else(|| panic!("{} has no receipt", path.display()));
        let digest = Digest::of(bytes);
        assert_eq!(line["digest"], digest.to_string());
        assert_eq!(line["photo"], PhotoId::of(event.id, &digest).to_string());
        assert_eq!(line["bytes"], bytes.len());
        assert!(line["ms"].is_u64(), "{line}");
    }
    assert_eq!(run.word(&laptop.photos().join("notes.txt")), "skipped:not-a-photo");
    let idle = run.lines.iter().rposition(|line| line["type"] == "idle").expect("it came to rest");
    assert_eq!(idle, run.lines.len() - 2, "`idle`, then the summary");
    assert_eq!((run.total("uploaded"), run.total("skipped"), run.total("left")), (12, 1, 0));
    assert_eq!(run.total("bytes"), contents.iter().map(|bytes| bytes.len() as u64).sum::<u64>());

    event.assert_holds_exactly(&contents).await;
    // `idle` was said when nothing was left to index.
    let counts = event.counts().await;
    assert_eq!((counts.indexed, counts.received, counts.failed, counts.runnable), (12, 0, 0, 0));
    let manifest = laptop.manifest(&event);
    assert_eq!(manifest.event, event.id);
    assert_eq!(manifest.photos.len(), 12);
    assert!(manifest.photos.iter().all(|photo| matches!(photo.state, PhotoState::Received { .. })));
    for (path, bytes) in paths.iter().zip(&contents) {
        assert!(is_photo(&manifest, path, bytes, false), "{}", path.display());
    }
    let notes = state_of(&manifest, &laptop.photos().join("notes.txt"));
    assert_eq!(notes, FileState::Skipped(SkipReason::NotAPhoto));
    server.assert_no_faults();
}

/// The photo with a rating in an XMP segment, as photo managers write it into the file.
fn rated(photo: &[u8], stars: u8) -> Vec<u8> {
    let xmp = format!(
        "http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"><r xmp:Rating=\"{stars}\"/></x:xmpmeta>"
    );
    let length = (xmp.len() as u16 + 2).to_be_bytes();
    [&photo[..2], &[0xFF, 0xE1], &length, xmp.as_bytes(), &photo[2..]].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rating_written_into_a_sent_photo_is_no_further_photo() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let photo = small(1);
    let path = laptop.put("a.jpg", &photo);
    let mut watch = laptop.start(laptop.for_event(&event));
    watch.wait_for("idle", 1).await;
    laptop.put("a.jpg", &rated(&photo, 3));
    let skipped = watch.wait_for("skipped", 1).await;
    assert_eq!(skipped["reason"], "metadata-only", "{skipped}");
    // A second rating, a rated copy, and one that nobody has seen without its rating.
    watch.kill();
    laptop.put("a.jpg", &rated(&photo, 5));
    laptop.put("best/a.jpg", &rated(&photo, 4));
    let other = rated(&small(2), 1);
    laptop.put("b.jpg", &other);
    let run = laptop.once(&event).await;
    run.assert_exit(0);
    assert_eq!(run.word(&path), "skipped:metadata-only");
    assert_eq!(run.word(&laptop.photos().join("best/a.jpg")), "skipped:metadata-only");
    event.assert_holds_exactly(&[photo.clone(), other.clone()]).await;
    // Taken back: the content is the one that was sent.
    laptop.put("a.jpg", &photo);
    let run = laptop.once(&event).await;
    run.assert_exit(0);
    assert_eq!(run.said("uploaded"), 0);
    event.assert_holds_exactly(&[photo, other]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_renames_and_reruns_are_no_further_photos() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let (a, b) = (small(1), small(2));
    let first = laptop.put("a.jpg", &a);
    let second = laptop.put("b.jpg", &b);
    laptop.put("copy of a.jpg", &a);
    laptop.put("backup/a.jpg", &a);

    let run = laptop.once(&event).await;
    run.assert_exit(0);
    assert_eq!((run.said("uploaded"), run.said("duplicate")), (2, 2));
    event.assert_holds_exactly(&[a.clone(), b.clone()]).await;

    let again = laptop.once(&event).await;
    again.assert_exit(0);
    assert_eq!((again.said("uploaded"), again.total("known"), again.total("duplicate")), (0, 2, 2));

    // Renamed, moved, touched, and copied once more.
    std::fs::rename(&second, laptop.photos().join("renamed.jpg")).unwrap();
    std::fs::create_dir(laptop.photos().join("selection")).unwrap();
    std::fs::rename(&first, laptop.photos().join("selection/a.jpg")).unwrap();
    laptop.put("backup/a.jpg", &a);
    laptop.put("copy of b.JPEG", &b);
    let moved = laptop.once(&event).await;
    moved.assert_exit(0);
    assert_eq!(moved.said("uploaded"), 0, "{:#?}", moved.lines);
    assert_eq!(moved.word(&laptop.photos().join("renamed.jpg")), "duplicate");
    event.assert_holds_exactly(&[a.clone(), b.clone()]).await;

    let manifest = laptop.manifest(&event);
    assert_eq!(manifest.photos.len(), 2);
    for (name, bytes) in [
        ("copy of a.jpg", &a),
        ("backup/a.jpg", &a),
        ("selection/a.jpg", &a),
        ("renamed.jpg", &b),
        ("copy of b.JPEG", &b),
    ] {
        let state = state_of(&manifest, &laptop.photos().join(name));
        let FileState::Photo { digest, .. } = state else { panic!("{name}: {state:?}") };
        assert_eq!(digest, Digest::of(bytes), "{name}");
    }
    let first_paths = manifest.files.iter().filter(|f| matches!(f.state, FileState::Photo { duplicate: false, .. }));
    assert!(first_paths.count() <= 2, "two contents were sent, so two paths at most are no duplicates");
    server.assert_no_faults();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_folders_with_the_same_files_give_each_photo_once() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let contents: Vec<_> = (20..28).map(small).collect();
    let card = laptop.place("card");
    std::fs::create_dir(&card).unwrap();
    for (n, bytes) in contents.iter().enumerate() {
        laptop.put(format!("DSC_{n}.jpg"), bytes);
        std::fs::write(card.join(format!("DSC_{n}.jpg")), bytes).unwrap();
    }
    let mut command = laptop.for_event(&event);
    command.arg(&card).arg("--once");
    let run = laptop.start(command).end().await;
    run.assert_exit(0);
    assert_eq!((run.said("uploaded"), run.said("duplicate")), (8, 8));
    event.assert_holds_exactly(&contents).await;
    let manifest = laptop.manifest(&event);
    assert_eq!(manifest.files.len(), 16);
    for (n, bytes) in contents.iter().enumerate() {
        let name = format!("DSC_{n}.jpg");
        let here = is_photo(&manifest, &laptop.photos().join(&name), bytes, true);
        let there = is_photo(&manifest, &card.join(&name), bytes, true);
        assert!(here != there, "exactly one of the two paths of {name} is the duplicate");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_watcher_with_its_own_manifest_sends_no_photo_again() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let contents: Vec<_> = (40..46).map(|n| of_size(n, 200)).collect();
    let (first, second) = (Laptop::new(), Laptop::new());
    for (n, bytes) in contents.iter().enumerate() {
        first.put(format!("DSC_{n}.jpg"), bytes);
        second.put(format!("other name {n}.jpeg"), bytes);
    }
    first.once(&event).await.assert_exit(0);
    let line = chaos::Line::good(server.url()).await;
    let run = second.once(&event.through(&line.url())).await;
    run.assert_exit(0);
    assert_eq!(run.said("uploaded"), 6, "each has its receipt");
    let bytes: usize = contents.iter().map(Vec::len).sum();
    assert!(line.sent() < bytes as u64 / 10, "{} bytes went over the line, though the server has all", line.sent());
    event.assert_holds_exactly(&contents).await;
    assert_eq!(second.manifest(&event).photos.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_watchers_at_the_same_time_give_each_photo_once() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let contents: Vec<_> = (60..90).map(|n| of_size(n, 100)).collect();
    let (first, second) = (Laptop::new(), Laptop::new());
    for (n, bytes) in contents.iter().enumerate() {
        first.put(format!("DSC_{n}.jpg"), bytes);
        second.put(format!("DSC_{n}.jpg"), bytes);
    }
    let (a, b) = tokio::join!(first.once(&event), second.once(&event));
    a.assert_exit(0);
    b.assert_exit(0);
    event.assert_holds_exactly(&contents).await;
    server.assert_no_faults();
}

#[tokio::test(flavor = "multi_thread")]
async fn photos_that_come_while_it_watches_are_sent_and_it_ends_in_order() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    laptop.put("before.jpg", &small(100));
    let mut watch = laptop.start(laptop.for_event(&event));
    watch.wait_for("idle", 1).await;
    assert_eq!(watch.said("uploaded"), 1, "`idle` comes first after the first full scan");

    laptop.put("DSC_1.jpg", &small(101));
    watch.wait_for("uploaded", 2).await;
    // As most programs write: under another name first.
    let unfinished = laptop.put("DSC_2.jpg.part", &small(102));
    std::fs::rename(unfinished, laptop.photos().join("DSC_2.jpg")).unwrap();
    watch.wait_for("uploaded", 3).await;
    // In folders that were not there before.
    laptop.put("card 2/DCIM/100NIKON/DSC_3.jpg", &small(103));
    watch.wait_for("uploaded", 4).await;
    // A camera that pauses in the middle of a file: nothing is sent before its end.
    let slow = small(104);
    let path = laptop.put("DSC_4.jpg", &slow[..slow.len() / 2]);
    laptop.put("DSC_5.jpg", &small(105));
    watch.wait_for("uploaded", 5).await;
    std::fs::write(path, &slow).unwrap();
    watch.wait_for("uploaded", 6).await;

    watch.interrupt();
    let run = watch.end().await;
    run.assert_exit(0);
    assert_eq!((run.total("uploaded"), run.total("left"), run.total("failed")), (6, 0, 0));
    event.assert_holds_exactly(&(100..106).map(small).collect::<Vec<_>>()).await;
    // At a clean exit the snapshot is complete and the journal empty (but for its head line).
    let manifest = laptop.manifest(&event);
    assert_eq!(manifest.photos.len(), 6);
    let journal = std::fs::read_to_string(laptop.manifest_file(&event).with_file_name("manifest.journal")).unwrap();
    assert!(journal.lines().count() <= 1, "{journal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_sends_and_records_nothing() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    laptop.put("a.jpg", &small(1));
    let mut command = laptop.for_event(&event);
    command.args(["--dry-run", "--once"]);
    let run = laptop.start(command).end().await;
    run.assert_exit(0);
    assert_eq!((run.said("found"), run.said("uploaded")), (1, 0));
    assert!(event.names().await.is_empty());
    laptop.once(&event).await.assert_exit(0);
    assert_eq!(event.names().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_has_a_manifest_of_its_own() {
    let server = Server::start().await;
    let (morning, evening) = (server.create_event("morning"), server.create_event("evening"));
    let laptop = Laptop::new();
    let bytes = small(1);
    laptop.put("a.jpg", &bytes);
    laptop.once(&morning).await.assert_exit(0);
    let run = laptop.once(&evening).await;
    run.assert_exit(0);
    assert_eq!(run.said("uploaded"), 1, "known in one event is new in another");
    for event in [&morning, &evening] {
        event.assert_holds_exactly(std::slice::from_ref(&bytes)).await;
        assert_eq!(laptop.manifest(event).event, event.id);
    }
}

/// Three laptops of one crew with the same card: each sees every photo arrive, and none takes a photo back from another
/// that is sending it.
#[tokio::test(flavor = "multi_thread")]
async fn three_who_send_the_same_photos_do_not_hinder_each_other() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptops = [Laptop::new(), Laptop::new(), Laptop::new()];
    let contents: Vec<_> = (0..6).map(|n| of_size(n, 700)).collect();
    for laptop in &laptops {
        for (n, bytes) in contents.iter().enumerate() {
            laptop.put(format!("DSC_{n}.JPG"), bytes);
        }
    }
    let watches = laptops.each_ref().map(|laptop| {
        let mut command = laptop.for_event(&event);
        command.args(["--once", "--preview", "never", "--limit-rate", "1m"]);
        laptop.start(command)
    });
    let mut sent = 0;
    for watch in watches {
        let run = watch.end().await;
        run.assert_exit(0);
        assert_eq!(run.said("uploaded"), contents.len(), "each has its receipts");
        sent += run.total("bytes_sent");
    }
    event.assert_holds_exactly(&contents).await;
    // Each photo is begun by up to three; had they gone on to take it from each other, it would be many times as much.
    let bytes: usize = contents.iter().map(Vec::len).sum();
    assert!(sent <= 3 * bytes as u64, "{sent} bytes were sent of {bytes}");
    server.assert_no_faults();
}
