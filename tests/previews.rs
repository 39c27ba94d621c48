//! Previews ahead of their originals, RAW files, and ratings, with the two real programs.

use findme_common::manifest::{PhotoState, PreviewState};
use findme_common::protocol::Visibility;
use findme_common::{Digest, PhotoId};

use crate::support::photos::{Taken, exif_of, jpeg_size, jpeg_with, small};
use crate::support::{Event, Laptop, Server, wait_for};

/// A photo large enough for a preview of its own.
fn large(number: u64) -> Vec<u8> {
    let photo = jpeg_with(number, 2700, 1800, &exif_of(Taken { orientation: 6, ..Taken::camera("") }));
    assert!(photo.len() > 700_000, "{} bytes: too small for a preview", photo.len());
    photo
}

async fn preview_of(event: &Event, bytes: &[u8]) -> Vec<u8> {
    let path = format!("/api/photo/{}/preview", PhotoId::of(event.id, &Digest::of(bytes)));
    event.request(reqwest::Method::GET, &path).send().await.unwrap().bytes().await.unwrap().to_vec()
}

/// Guests have the previews of all photos before the first original is there, then the originals follow. The line is so
/// slow that an original takes much longer than indexing both previews, also on a busy machine.
async fn previews_go_first(options: &[&str], kill: bool) {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let photos: Vec<_> = (0..2).map(large).collect();
    for (n, photo) in photos.iter().enumerate() {
        laptop.put(format!("DSC_{n}.JPG"), photo);
    }
    let mut command = laptop.for_event(&event);
    command.args(options);
    let mut watch = laptop.start(command);
    let guest = event.guest().await;
    let seen = wait_for("guests to have both previews", async || {
        let seen = guest.all_photos().await;
        (seen.len() == 2).then_some(seen)
    })
    .await;
    assert!(event.names().await.is_empty(), "no original is there yet");
    assert!(seen.iter().all(|photo| photo.height > photo.width), "turned as the originals are: {seen:?}");
    let previews = [preview_of(&event, &photos[0]).await, preview_of(&event, &photos[1]).await];
    for (photo, preview) in photos.iter().zip(&previews) {
        let (width, height) = jpeg_size(preview);
        assert!(width < height && height == 2048, "{width} × {height}: not what was to be sent ahead, upright");
        assert!(preview.len() < photo.len() * 3 / 4, "{} bytes of {}", preview.len(), photo.len());
    }
    if kill {
        watch.kill();
    } else {
        // The second one parks what is being sent.
        watch.interrupt();
        wait_for("the first Ctrl-C to be heard", async || watch.complaints().contains("Ctrl-C again").then_some(()))
            .await;
        watch.interrupt();
        watch.end().await.assert_exit(130);
    }
    // Over a line that is quick again.
    laptop.once(&event).await.assert_exit(0);
    event.assert_holds_exactly(&photos).await;
    event.rest().await;
    let after = guest.all_photos().await;
    let ids = |list: &[findme_common::protocol::PhotoItem]| list.iter().map(|photo| photo.id).collect::<Vec<_>>();
    assert_eq!(ids(&after), ids(&seen), "the same photos in the same places");
    assert!(after.iter().all(|photo| (photo.width, photo.height) == (Some(1800), Some(2700))), "{after:?}");
    for (photo, preview) in photos.iter().zip(&previews) {
        assert!(preview_of(&event, photo).await == *preview, "what an immutable address has shown has changed");
    }
    let manifest = laptop.manifest(&event);
    assert_eq!(manifest.photos.len(), 2);
    for photo in &manifest.photos {
        assert!(matches!(photo.state, PhotoState::Received { .. }), "{photo:?}");
        assert!(matches!(photo.preview, Some(PreviewState::Received { .. })), "{photo:?}");
    }
    server.assert_no_faults();
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_have_the_previews_before_the_originals_come() {
    previews_go_first(&["--preview", "always", "--limit-rate", "60k"], false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_slow_line_previews_go_first_by_themselves_and_a_kill_in_between_changes_nothing() {
    previews_go_first(&["--limit-rate", "60k"], true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_fast_line_the_originals_go_at_once() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let photo = large(1);
    laptop.put("DSC_1.JPG", &photo);
    laptop.once(&event).await.assert_exit(0);
    event.assert_holds_exactly(&[photo]).await;
    assert!(laptop.manifest(&event).photos.iter().all(|photo| photo.preview.is_none()));
}

/// A RAW file as Canon's are: a TIFF whose first directory points to a JPEG.
fn raw(picture: &[u8]) -> Vec<u8> {
    let mut tiff = b"II*\0".to_vec();
    tiff.extend((8 + picture.len() as u32).to_le_bytes());
    tiff.extend(picture);
    tiff.extend(3_u16.to_le_bytes());
    for (tag, value) in [(0x0103_u16, 6), (0x0111, 8), (0x0117, picture.len() as u32)] {
        tiff.extend(tag.to_le_bytes());
        tiff.extend(4_u16.to_le_bytes());
        tiff.extend(1_u32.to_le_bytes());
        tiff.extend(u32::to_le_bytes(value));
    }
    tiff.extend([0; 4]);
    tiff
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_raw_file_alone_guests_see_the_picture_inside_until_its_jpeg_comes() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let inside = |number| jpeg_with(number, 1920, 1280, &exif_of(Taken::camera("")));
    let alone = laptop.put("DSC_1.CR2", &raw(&inside(1)));
    let of_pair = laptop.put("DSC_2.CR2", &raw(&inside(2)));
    laptop.put("DSC_2.JPG", &small(2));
    let empty = laptop.put("DSC_3.CR2", &raw(&small(3)));
    let run = laptop.once(&event).await;
    run.assert_exit(0);
    assert_eq!(run.word(&alone), "uploaded");
    assert_eq!(run.word(&of_pair), "skipped:raw-of-pair");
    assert_eq!(run.word(&empty), "skipped:raw-without-preview");
    event
        .assert_shows_exactly(&[
            PhotoId::of(event.id, &Digest::of(&raw(&inside(1)))),
            PhotoId::of(event.id, &Digest::of(&small(2))),
        ])
        .await;
    assert_eq!(event.names().await.len(), 1, "the preview of a RAW file is no original");
    let states: Vec<_> = laptop.manifest(&event).photos.into_iter().map(|photo| photo.state).collect();
    assert!(states.iter().any(|state| matches!(state, PhotoState::PreviewOnly { .. })), "{states:?}");
    // Nothing is sent again, and the JPEG of the same name takes its place.
    assert_eq!(laptop.once(&event).await.said("uploaded"), 0);
    laptop.put("DSC_1.JPG", &small(1));
    laptop.once(&event).await.assert_exit(0);
    let both = [PhotoId::of(event.id, &Digest::of(&small(1))), PhotoId::of(event.id, &Digest::of(&small(2)))];
    event.assert_shows_exactly(&both).await;
    server.assert_no_faults();
}

fn sidecar(stars: u8) -> Vec<u8> {
    format!("<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"><r xmp:Rating=\"{stars}\"/></x:xmpmeta>").into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_rating_lets_a_photo_go() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let (good, later, other) = (small(1), small(2), small(3));
    laptop.put("good.jpg", &good);
    laptop.put("good.xmp", &sidecar(4));
    let waiting = laptop.put("later.jpg", &later);
    laptop.put("other.jpg", &other);
    laptop.put("other.jpg.xmp", &sidecar(2));
    let rated = || {
        let mut command = laptop.for_event(&event);
        command.args(["--min-rating", "3"]);
        command
    };
    let mut command = rated();
    command.arg("--once");
    let run = laptop.start(command).end().await;
    run.assert_exit(0);
    assert_eq!(run.word(&waiting), "skipped:below-rating");
    event.assert_holds_exactly(std::slice::from_ref(&good)).await;
    let mut watch = laptop.start(rated());
    watch.wait_for("idle", 1).await;
    laptop.put("later.xmp", &sidecar(3));
    watch.wait_for("uploaded", 1).await;
    watch.kill();
    event.assert_holds_exactly(&[good.clone(), later.clone()]).await;
    // Rated while nobody watched.
    laptop.put("other.jpg.xmp", &sidecar(5));
    let mut command = rated();
    command.arg("--once");
    laptop.start(command).end().await.assert_exit(0);
    event.assert_holds_exactly(&[good, later, other]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_photo_is_released_by_its_rating() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let (photo, rated) = (small(1), small(2));
    laptop.put("held.jpg", &photo);
    laptop.put("good.jpg", &rated);
    laptop.put("good.xmp", &sidecar(5));
    let mut command = laptop.for_event(&event);
    command.args(["--hold", "--release-rating", "4"]);
    let mut watch = laptop.start(command);
    watch.wait_for("idle", 1).await;
    let guest = event.guest().await;
    let see = async |count: usize| {
        wait_for(&format!("guests to see {count}"), async || (guest.all_photos().await.len() == count).then_some(()))
            .await;
    };
    see(1).await;
    let held = event.photos().await.into_iter().filter(|photo| photo.visibility == Some(Visibility::Held)).count();
    assert_eq!(held, 1);
    laptop.put("held.xmp", &sidecar(4));
    see(2).await;
    watch.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_a_rating_and_its_release_loses_neither() {
    let mut server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    laptop.put("held.jpg", &small(1));
    let held = || {
        let mut command = laptop.for_event(&event);
        command.args(["--hold", "--release-rating", "4"]);
        command
    };
    let mut watch = laptop.start(held());
    watch.wait_for("idle", 1).await;
    server.kill();
    laptop.put("held.xmp", &sidecar(4));
    let journal = laptop.manifest_file(&event).with_extension("journal");
    wait_for("the sidecar to be recorded", async || {
        std::fs::read_to_string(&journal).unwrap().contains("held.xmp").then_some(())
    })
    .await;
    watch.kill();
    server.run().await;
    let guest = event.guest().await;
    assert!(guest.all_photos().await.is_empty(), "it is held");
    let mut command = held();
    command.arg("--once");
    laptop.start(command).end().await.assert_exit(0);
    assert_eq!(guest.all_photos().await.len(), 1);
    // It was heeded once, and is not asked about again.
    let sidecars = laptop.manifest(&event).files.into_iter().filter(|file| file.racy);
    assert_eq!(sidecars.count(), 0);
}
