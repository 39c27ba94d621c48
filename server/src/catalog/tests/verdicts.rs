//! «Yes, me» and «not me», several people of a session, and telling guests later.

use findme_common::protocol::LiveKind;

use super::*;
use crate::catalog::Purpose;

/// A guest with a selfie, and a photo with one face.
async fn found(world: &World) -> (GuestId, PhotoId, i64) {
    let guest = guest(world).await;
    world.catalog.record_consent_to(Purpose::Search, guest, "text", "en").await.unwrap();
    assert!(world.catalog.enrol(guest, 0, "pack", b"selfie").await.unwrap());
    let photo = world.receive("photo", None).await;
    let claim = world.claim().await.unwrap();
    assert!(world.complete(&claim, &JobOutcome::Indexed(indexed(), vec![face(b"face")])).await.unwrap());
    let face = world.number("SELECT id FROM faces").await;
    (guest, photo, face)
}

#[tokio::test]
async fn what_a_guest_says_is_remembered_changed_and_taken_back() {
    let world = World::new().await;
    let (guest, photo, face) = found(&world).await;
    let say = async |mine, face| world.catalog.set_verdict((world.event, guest), photo, mine, face).await.unwrap();
    let held = async || world.catalog.enrolments(guest).await.unwrap().len();
    assert!(say(Some(true), Some((face, 0))).await);
    assert!(!say(Some(true), Some((face, 0))).await, "said before");
    assert_eq!(held().await, 2, "the face in the photo is theirs too");
    assert!(world.catalog.enrolments(guest).await.unwrap().iter().any(|kept| kept.confirmed && kept.vector == b"face"));
    let tag = world.catalog.verdict_tag(guest).await.unwrap();
    assert!(say(Some(false), Some((face, 0))).await);
    assert_ne!(world.catalog.verdict_tag(guest).await.unwrap(), tag);
    assert_eq!((held().await, world.catalog.verdicts(guest).await.unwrap()[&photo]), (1, false));
    assert!(say(None, None).await);
    assert!(world.catalog.verdicts(guest).await.unwrap().is_empty());
    // A new selfie forgets what the old one's owner confirmed; erasing forgets what they said.
    assert!(say(Some(true), Some((face, 0))).await);
    assert!(world.catalog.enrol(guest, 0, "pack", b"another").await.unwrap());
    assert_eq!(held().await, 1);
    world.catalog.erase_guest(guest).await.unwrap();
    assert_eq!(world.number("SELECT COUNT(*) FROM verdicts").await, 0);
    assert!(say(Some(true), Some((face, 0))).await);
    assert_eq!(held().await, 0, "nobody is enrolled by it alone");
}

#[tokio::test]
async fn people_of_a_session_have_a_selfie_each() {
    let world = World::new().await;
    let (guest, _, _) = found(&world).await;
    for (person, vector) in [(1, b"child"), (4, b"uncle"), (1, b"CHILD")] {
        assert!(world.catalog.enrol(guest, person, "pack", vector).await.unwrap());
    }
    let kept = world.catalog.enrolments(guest).await.unwrap();
    let mut kept: Vec<_> = kept.iter().map(|kept| (kept.person, kept.vector.as_slice())).collect();
    kept.sort_unstable();
    assert_eq!(kept, [(0, b"selfie".as_slice()), (1, b"CHILD"), (4, b"uncle")]);
    let of_event = world.catalog.event_enrolments(world.event, "pack").await.unwrap();
    assert!(of_event.len() == 3 && of_event.iter().all(|one| one.guest == guest && !one.confirmed));
}

#[tokio::test]
async fn guests_are_told_later_once_and_not_of_what_they_denied() {
    let world = World::new().await;
    let (guest, photo, _) = found(&world).await;
    let tell = async |kind| {
        let told = world.catalog.told(world.event).await.unwrap();
        let wanted = told.wants(guest, photo, kind);
        (wanted, world.catalog.tell_all(world.event, &[(photo, guest, kind)]).await.unwrap())
    };
    assert_eq!(tell(LiveKind::Maybe).await, (true, 1));
    assert_eq!(tell(LiveKind::Maybe).await, (false, 0));
    assert_eq!(tell(LiveKind::You).await, (true, 1), "surer than before");
    assert_eq!(tell(LiveKind::Maybe).await, (false, 0), "who knows «you» knows more");
    world.sql("DELETE FROM live").await;
    world.catalog.set_verdict((world.event, guest), photo, Some(false), None).await.unwrap();
    assert_eq!(tell(LiveKind::You).await, (false, 0));
    world.catalog.set_verdict((world.event, guest), photo, None, None).await.unwrap();
    world.catalog.force_visibility(photo, findme_common::protocol::Visibility::Hidden).await.unwrap();
    assert_eq!(tell(LiveKind::You).await, (false, 0), "hidden");
}
