//! «Never match me», terms that run out, and who hears of what.

use findme_common::protocol::{LiveKind, Policy, SuppressionState};

use super::*;
use crate::catalog::{Agreed, Audience, Decision, Purpose, Recogniser, Terms};

/// A face in another place than [`face`]'s.
fn beside(vector: &[u8], pack: &str) -> NewFace {
    let area = FaceBox { x: 0.6, ..face(vector).area };
    NewFace { area, pack: pack.to_owned(), ..face(vector) }
}

const AGREED: Agreed<'static> = Agreed { text: "text", language: "en" };

#[tokio::test]
async fn a_face_that_is_never_matched_is_stored_in_no_photo_that_comes() {
    let world = World::new().await;
    let guest = guest(&world).await;
    assert!(
        !world.catalog.suppress(guest, "pack", b"theirs", AGREED, SuppressionState::Active).await.unwrap(),
        "not without consent"
    );
    world.catalog.record_consent_to(Purpose::Never, guest, "text", "en").await.unwrap();
    assert!(
        !world.catalog.enrol(guest, 0, "pack", b"x").await.unwrap(),
        "consent to the one is not consent to the other"
    );
    assert!(world.catalog.suppress(guest, "pack", b"theirs", AGREED, SuppressionState::Active).await.unwrap());
    world.receive("photo", None).await;
    let claim = world.claim().await.unwrap();
    let outcome = JobOutcome::Indexed(indexed(), vec![face(b"theirs"), beside(b"another's", "pack")]);
    assert!(world.complete(&claim, &outcome).await.unwrap());
    assert_eq!(world.number("SELECT COUNT(*) FROM faces WHERE vector = unhex('616e6f746865722773')").await, 1);
    assert_eq!(world.number("SELECT COUNT(*) FROM faces").await, 1);
    // It outlives the guest's erasure, and ends only when it is lifted.
    world.catalog.erase_guest(guest).await.unwrap();
    assert_eq!(world.catalog.suppression_of(guest).await.unwrap(), Some(SuppressionState::Active));
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
    assert!(world.catalog.suppress(guest, "pack", &suppressed, AGREED, SuppressionState::Active).await.unwrap());
    assert!(world.catalog.enrol(guest, 0, "pack", &enrolled).await.unwrap());
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
    assert!(!world.catalog.enrol(guest, 0, "pack", b"x").await.unwrap());
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

/// A guest whose faces are dropped from here on.
async fn suppressed(world: &World, vector: &[u8]) -> GuestId {
    let guest = guest(world).await;
    world.catalog.record_consent_to(Purpose::Never, guest, "text", "en").await.unwrap();
    assert!(world.catalog.suppress(guest, "pack", vector, AGREED, SuppressionState::Active).await.unwrap());
    guest
}

async fn index(world: &World, faces: Vec<NewFace>) {
    let claim = world.claim().await.unwrap();
    assert!(world.complete(&claim, &JobOutcome::Indexed(indexed(), faces)).await.unwrap());
}

#[tokio::test]
async fn never_is_also_with_another_pack_and_without_the_guest() {
    let world = World::new().await;
    let guest = suppressed(&world, b"theirs").await;
    world.receive("photo", None).await;
    index(&world, vec![face(b"theirs"), beside(b"another's", "pack")]).await;
    world.catalog.erase_guest(guest).await.unwrap();

    // Another pack measures everybody anew: what it finds in that place is theirs, and known by its vector from there on.
    let anew = |vector: &[u8]| NewFace { pack: "new".to_owned(), ..face(vector) };
    world.sql("INSERT INTO jobs (photo, event) SELECT seq, event FROM photos").await;
    index(&world, vec![anew(b"theirs anew"), beside(b"another's anew", "new")]).await;
    assert_eq!(world.number("SELECT COUNT(*) FROM faces WHERE pack = 'new'").await, 1);
    assert_eq!(
        world.number("SELECT COUNT(*) FROM faces WHERE vector = unhex('616e6f74686572277320616e6577')").await,
        1
    );
    world.receive("next photo", None).await;
    index(&world, vec![beside(b"theirs anew", "new")]).await;
    assert_eq!(world.number("SELECT COUNT(*) FROM faces").await, 1, "also in a photo that is new");

    // What was stored before the first face was carried over goes too.
    let due = world.catalog.due_vectors("new").await.unwrap();
    assert_eq!(due.len(), 1);
    let early = world.catalog.faces_after(world.event, "new", 0).await.unwrap().faces[0].id;
    world.catalog.apply_vector(&due[0], &[early]).await.unwrap();
    assert_eq!(world.number("SELECT COUNT(*) FROM faces").await, 0);
    assert!(world.catalog.due_vectors("new").await.unwrap().is_empty());
    assert_eq!(world.number("SELECT COUNT(*) FROM suppressed_faces").await, 3);

    // A pack that the guest's own picture was measured with takes nothing over, and no pack more than a few.
    for n in 0..9 {
        world.sql("INSERT INTO jobs (photo, event) SELECT seq, event FROM photos ORDER BY seq LIMIT 1").await;
        let other = NewFace { pack: "third".to_owned(), ..face(format!("{n}").as_bytes()) };
        index(&world, vec![other]).await;
        world.sql("INSERT INTO jobs (photo, event) SELECT seq, event FROM photos ORDER BY seq LIMIT 1").await;
        index(&world, vec![face(format!("a little else {n}").as_bytes())]).await;
    }
    let count = "SELECT COUNT(*) FROM suppression_vectors WHERE pack = 'third'";
    assert_eq!(world.number(count).await, 3);
    assert_eq!(world.number("SELECT COUNT(*) FROM suppression_vectors WHERE pack = 'pack'").await, 1);
    assert_eq!(world.number("SELECT COUNT(*) FROM faces").await, 0);
}

#[tokio::test]
async fn never_is_also_after_the_key_was_lost_or_a_backup_put_back() {
    if support::needs_a_file() {
        return;
    }
    let world = World::new().await;
    suppressed(&world, b"theirs").await;
    suppressed(&world, b"of somebody who is in no photo").await;
    world.receive("photo", None).await;
    index(&world, vec![face(b"theirs")]).await;
    let copy = world.dir.path().join("copy.sqlite");
    copy_without_faces(&world.dir.path().join("findme.sqlite"), &copy).await.unwrap();
    let bytes = std::fs::read(&copy).unwrap();
    assert!(!bytes.windows(6).any(|window| window == b"theirs"), "a vector is in the copy");
    let restored = Catalog::open(&copy).await.unwrap();
    for catalog in [&restored, &world.catalog] {
        catalog.begin_faces_anew(world.event).await.unwrap();
        assert_eq!(catalog.suppressions(world.event).await.unwrap().len(), 1, "who is known by a place");
        assert!(catalog.due_vectors("pack").await.unwrap().is_empty());
    }
    index(&world, vec![face(b"sealed with the new key"), beside(b"another's", "pack")]).await;
    assert_eq!(world.number("SELECT COUNT(*) FROM faces").await, 1);
    assert_eq!(world.number("SELECT COUNT(*) FROM suppression_vectors").await, 1, "carried over to the new key");
    restored.close().await;
}

#[tokio::test]
async fn what_a_lifted_suppression_dropped_is_looked_at_again_by_itself() {
    for by_operator in [true, false] {
        let world = World::new().await;
        let guest = suppressed(&world, b"theirs").await;
        for name in ["with them", "without them"] {
            world.receive(name, None).await;
        }
        // The newest is claimed first.
        index(&world, vec![beside(b"another's", "pack")]).await;
        index(&world, vec![face(b"theirs")]).await;
        assert!(world.claim().await.is_none());
        let id = world.catalog.suppressions(world.event).await.unwrap()[0].id;
        assert!(!world.catalog.lift_suppression_of(EventId::random().unwrap(), id).await.unwrap(), "of another event");
        let lifted = match by_operator {
            true => world.catalog.lift_suppression_of(world.event, id).await.unwrap(),
            false => world.catalog.lift_suppression(world.event, guest).await.unwrap(),
        };
        assert!(lifted && world.catalog.suppression_of(guest).await.unwrap().is_none());
        assert_eq!(world.number("SELECT COUNT(*) FROM jobs").await, 1, "only the photo that lost a face");
        index(&world, vec![face(b"theirs")]).await;
        assert_eq!(world.number("SELECT COUNT(*) FROM faces").await, 2, "they are found again");
    }
}

#[tokio::test]
async fn what_is_held_does_nothing_before_it_is_confirmed() {
    let world = World::new().await;
    let guest = guest(&world).await;
    for purpose in [Purpose::Search, Purpose::Never] {
        world.catalog.record_consent_to(purpose, guest, "text", "en").await.unwrap();
    }
    assert!(world.catalog.enrol(guest, 0, "pack", b"own").await.unwrap());
    let held = SuppressionState::Held;
    assert!(world.catalog.suppress(guest, "pack", b"another's", AGREED, held).await.unwrap());
    world.receive("photo", None).await;
    index(&world, vec![face(b"another's")]).await;
    assert_eq!(world.number("SELECT COUNT(*) FROM faces").await, 1);
    assert!(world.catalog.due_vectors("pack").await.unwrap().is_empty());
    assert_eq!(world.catalog.suppression_of(guest).await.unwrap(), Some(held));
    let listed = world.catalog.suppressions(world.event).await.unwrap();
    assert_eq!((listed.len(), listed[0].state, listed[0].by_session), (1, held, true));
    assert!(!world.catalog.confirm_suppression(EventId::random().unwrap(), listed[0].id).await.unwrap());
    assert!(world.catalog.confirm_suppression(world.event, listed[0].id).await.unwrap());
    assert!(!world.catalog.confirm_suppression(world.event, listed[0].id).await.unwrap(), "once");
    assert!(world.catalog.enrolments(guest).await.unwrap().is_empty(), "who is never matched is not looked for");
    let due = world.catalog.due_vectors("pack").await.unwrap();
    let stored = world.catalog.faces_after(world.event, "pack", 0).await.unwrap().faces[0].id;
    world.catalog.apply_vector(&due[0], &[stored]).await.unwrap();
    assert_eq!(world.number("SELECT COUNT(*) FROM faces").await, 0);
    // One that waits does not take the place of one that is in force.
    world.catalog.record_consent_to(Purpose::Never, guest, "text", "en").await.unwrap();
    assert!(world.catalog.suppress(guest, "pack", b"a third", AGREED, held).await.unwrap());
    assert_eq!(world.catalog.suppression_of(guest).await.unwrap(), Some(SuppressionState::Active));
}
