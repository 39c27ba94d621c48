//! «Never match me», terms that run out, and who hears of what.

use findme_common::protocol::{LiveKind, Policy};

use super::*;
use crate::catalog::{Agreed, Audience, Decision, Purpose, Recogniser, Terms};

const AGREED: Agreed<'static> = Agreed { text: "text", language: "en" };

#[tokio::test]
async fn a_face_that_is_never_matched_is_stored_in_no_photo_that_comes() {
    let world = World::new().await;
    let guest = guest(&world).await;
    assert!(!world.catalog.suppress(guest, "pack", b"theirs", AGREED).await.unwrap(), "not without consent");
    world.catalog.record_consent_to(Purpose::Never, guest, "text", "en").await.unwrap();
    assert!(!world.catalog.enrol(guest, "pack", b"x").await.unwrap(), "consent to the one is not consent to the other");
    assert!(world.catalog.suppress(guest, "pack", b"theirs", AGREED).await.unwrap());
    world.receive("photo", None).await;
    let claim = world.claim().await.unwrap();
    let outcome = JobOutcome::Indexed(indexed(), vec![face(b"theirs"), face(b"another's")]);
    assert!(world.complete(&claim, &outcome).await.unwrap());
    assert_eq!(world.number("SELECT COUNT(*) FROM faces WHERE vector = CAST('another''s' AS BLOB)").await, 1);
    assert_eq!(world.number("SELECT COUNT(*) FROM faces").await, 1);
    // It outlives the guest's erasure, and ends only when it is lifted.
    world.catalog.erase_guest(guest).await.unwrap();
    assert!(world.catalog.is_suppressed(guest).await.unwrap());
    assert!(world.catalog.lift_suppression(world.event, guest).await.unwrap());
    assert!(!world.catalog.lift_suppression(world.event, guest).await.unwrap());
}

#[tokio::test]
async fn after_the_faces_had_their_time_none_is_stored_and_no_byte_is_left() {
    let world = World::new().await;
    let guest = guest(&world).await;
    let vector = recognisable();
    let suppressed: Vec<u8> = vector.iter().map(|byte| byte ^ 0x5A).collect();
    let enrolled: Vec<u8> = vector.iter().map(|byte| byte ^ 0xA5).collect();
    for purpose in [Purpose::Search, Purpose::Never] {
        world.catalog.record_consent_to(purpose, guest, "text", "en").await.unwrap();
    }
    assert!(world.catalog.suppress(guest, "pack", &suppressed, AGREED).await.unwrap());
    assert!(world.catalog.enrol(guest, "pack", &enrolled).await.unwrap());
    world.receive("early", None).await;
    let claim = world.claim().await.unwrap();
    world.complete(&claim, &JobOutcome::Indexed(indexed(), vec![face(&vector)])).await.unwrap();
    world.receive("late", None).await;
    let late = world.claim().await.unwrap();
    assert!(late.faces);
    assert_eq!(world.catalog.erase_faces(world.event, 1).await.unwrap(), 3);
    for vector in [&vector, &suppressed, &enrolled] {
        assert!(!found_in_files(world.dir.path(), vector));
    }
    // A worker that began before comes too late with its faces.
    assert!(world.complete(&late, &JobOutcome::Indexed(indexed(), vec![face(&vector)])).await.unwrap());
    assert_eq!(world.number("SELECT COUNT(*) FROM faces").await, 0);
    assert!(!world.catalog.enrol(guest, "pack", b"x").await.unwrap());
    world.receive("later", None).await;
    assert!(!world.claim().await.unwrap().faces);
}

#[tokio::test]
async fn an_event_without_faces_stores_none() {
    let world = World::new().await;
    let event = EventId::random().unwrap();
    let terms = Terms { policy: Policy::Off, ..Terms::default() };
    world.catalog.create_event_under(event, "off", &JoinCode::random().unwrap(), &terms).await.unwrap();
    assert!(!world.catalog.event(event).await.unwrap().unwrap().faces);
}

#[tokio::test]
async fn guests_hear_nothing_of_what_they_may_not_see_also_when_the_log_is_replayed() {
    let world = World::new().await;
    let photo = world.receive("photo", None).await;
    world.index_all().await;
    let audience = async |kind: LiveKind| {
        let log = world.catalog.live_of_event_after(world.event, 0, 100).await.unwrap();
        log.iter().filter(|entry| entry.kind == kind).map(|entry| entry.audience).collect::<Vec<_>>()
    };
    assert_eq!(audience(LiveKind::Received).await, [Audience::Photographers]);
    assert_eq!(audience(LiveKind::Indexed).await, [Audience::Everyone]);
    let nobody = |_: &[_], _: &[_]| Vec::new();
    let recogniser = Recogniser { pack: "pack", find: &nobody };
    assert_eq!(world.catalog.decide(world.event, &[photo], Decision::Hide, &recogniser).await.unwrap(), 1);
    assert_eq!(audience(LiveKind::Indexed).await, [Audience::Photographers], "not told again to who comes later");
    assert_eq!(audience(LiveKind::Removed).await, [Audience::Everyone]);
    world.sql("UPDATE events SET gallery_open = 0").await;
    assert_eq!(world.catalog.decide(world.event, &[photo], Decision::Show, &recogniser).await.unwrap(), 1);
    assert_eq!(audience(LiveKind::Indexed).await, [Audience::Photographers; 2], "in a closed gallery");
}
