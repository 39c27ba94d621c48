//! The catalogue's promises that no other part can keep for it: leases, bounded attempts, lists, erasure, no silent
//! replacement of a damaged file.

use std::path::Path;

use findme_common::protocol::{FaceBox, Kind, LiveKind, PhotoState};
use findme_common::{Digest, EventId, GuestId, JoinCode, PhotoId, UploadId};
use tempfile::TempDir;

use super::*;

#[cfg(feature = "postgres")]
mod lines;
mod privacy;
mod queue;
pub(crate) mod support;
mod verdicts;
mod versions;

pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) catalog: Catalog,
    pub(crate) event: EventId,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let catalog = support::catalog(dir.path()).await;
        Self { dir, ..Self::with(catalog).await }
    }

    /// Over this catalogue.
    pub(crate) async fn with(catalog: Catalog) -> Self {
        let event = EventId::random().unwrap();
        catalog.create_event(event, "event", &JoinCode::random().unwrap()).await.unwrap();
        Self { dir: tempfile::tempdir().unwrap(), catalog, event }
    }

    /// A photo that was just received, with its job.
    pub(crate) async fn receive(&self, name: &str, replaces: Option<PhotoId>) -> PhotoId {
        let digest = Digest::of(name.as_bytes());
        let photo = PhotoId::of(self.event, &digest);
        self.finish(photo, Kind::Original, name, replaces).await;
        photo
    }

    async fn finish(&self, photo: PhotoId, kind: Kind, name: &str, replaces: Option<PhotoId>) {
        let digest = Digest::of(name.as_bytes());
        let new = NewUpload {
            event: self.event,
            photo,
            kind,
            length: name.len() as u64,
            digest: Some(digest),
            metadata: String::new(),
            name: name.to_owned(),
            token: None,
            replaces,
            held: false,
        };
        let accepted = self.catalog.create_upload(UploadId::random().unwrap(), &new, None).await.unwrap();
        let Accepted::Upload(row) = accepted else { panic!("{accepted:?}") };
        self.catalog.finish_upload(&row, &digest).await.unwrap();
    }

    async fn claim(&self) -> Option<Claim> {
        let mut lease = [0; 16];
        getrandom::fill(&mut lease).unwrap();
        self.catalog.claim_jobs(lease, 1).await.unwrap().pop()
    }

    async fn complete(&self, claim: &Claim, outcome: &JobOutcome) -> Result<bool> {
        let nobody = |_: &[GuestEnrolment], _: &[bool]| Vec::new();
        let unwanted = |suppressed: &[Suppressed]| match outcome {
            // A stand-in for likeness: the same bytes.
            JobOutcome::Indexed(_, faces) => {
                let whose = |face: &NewFace| suppressed.iter().find(|person| person.vectors.contains(&face.vector));
                let likeness = |face| whose(face).map_or(Likeness::Nobody, |person| Likeness::Of(person.id));
                faces.iter().map(likeness).collect()
            }
            _ => Vec::new(),
        };
        self.catalog.complete_job(claim, outcome, &Matcher { pack: "pack", find: &nobody, unwanted: &unwanted }).await
    }

    pub(crate) async fn index_all(&self) {
        while let Some(claim) = self.claim().await {
            assert!(self.complete(&claim, &JobOutcome::Indexed(indexed(), vec![])).await.unwrap());
        }
    }

    async fn sql(&self, statement: &'static str) {
        query(statement).execute(&self.catalog.writer).await.unwrap();
    }

    async fn number(&self, statement: &'static str) -> i64 {
        query(statement).fetch_one(&self.catalog.readers).await.unwrap().try_get(0).unwrap()
    }

    async fn state_of(&self, photo: PhotoId) -> (PhotoState, Option<String>) {
        let page = self.catalog.photos(self.event, PhotoFilter::All, None, 1000).await.unwrap();
        let item = page.photos.into_iter().find(|item| item.id == photo).unwrap();
        (item.state, item.reason)
    }

    pub(crate) async fn shown(&self) -> Vec<PhotoId> {
        let page = self.catalog.photos(self.event, PhotoFilter::Shown, None, 1000).await.unwrap();
        page.photos.into_iter().map(|item| item.id).collect()
    }
}

fn indexed() -> Indexed {
    Indexed { width: 3, height: 2, media: "image/jpeg", taken_at: None, private: None }
}

fn face(vector: &[u8]) -> NewFace {
    let area = FaceBox { x: 0.1, y: 0.2, width: 0.3, height: 0.4 };
    let quality = crate::face::Quality { pixels: 80.0, sharpness: 0.5, turned: 0.1 };
    NewFace { area, score: 0.9, quality, pack: "pack".to_owned(), vector: vector.to_vec() }
}

// ---- photos and lists ------------------------------------------------------------------------

#[tokio::test]
async fn pages_show_each_photo_once_newest_first_also_when_accepted_in_the_same_moment() {
    let world = World::new().await;
    let mut expected = Vec::new();
    for n in 0..25 {
        expected.insert(0, world.receive(&format!("photo {n}"), None).await);
    }
    world.sql("UPDATE photos SET accepted_at = 1").await;
    for limit in [1, 7, 24, 25, 26, 1000] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = world.catalog.photos(world.event, PhotoFilter::All, after, limit).await.unwrap();
            assert!(page.photos.len() <= limit as usize);
            seen.extend(page.photos.iter().map(|item| item.id));
            after = page.next;
            if after.is_none() {
                break;
            }
            assert!(!page.photos.is_empty(), "a further page that is empty");
        }
        assert_eq!(seen, expected, "limit {limit}");
    }
}

#[tokio::test]
async fn a_photo_that_arrives_between_two_pages_moves_nothing() {
    let world = World::new().await;
    for n in 0..6 {
        world.receive(&format!("photo {n}"), None).await;
    }
    let first = world.catalog.photos(world.event, PhotoFilter::All, None, 3).await.unwrap();
    world.receive("late", None).await;
    let second = world.catalog.photos(world.event, PhotoFilter::All, first.next, 3).await.unwrap();
    let names: Vec<_> = first.photos.iter().chain(&second.photos).map(|item| item.name.as_str()).collect();
    assert_eq!(names, ["photo 5", "photo 4", "photo 3", "photo 2", "photo 1", "photo 0"]);
    assert_eq!(second.next, None);
}

#[tokio::test]
async fn another_events_photos_are_not_listed() {
    let world = World::new().await;
    let photo = world.receive("photo", None).await;
    world.index_all().await;
    let other = EventId::random().unwrap();
    world.catalog.create_event(other, "other", &JoinCode::random().unwrap()).await.unwrap();
    assert!(world.catalog.photos(other, PhotoFilter::All, None, 10).await.unwrap().photos.is_empty());
    assert!(world.catalog.photo(other, photo).await.unwrap().is_none());
    assert!(world.catalog.shown_photos(other, &[photo]).await.unwrap().is_empty());
    assert_eq!(world.catalog.shown_photos(world.event, &[photo]).await.unwrap().len(), 1);
    assert!(world.catalog.names(other, 0, 10).await.unwrap().0.is_empty());
}

#[tokio::test]
async fn a_replaced_photo_is_hidden_whichever_of_the_two_arrives_first() {
    for old_first in [true, false] {
        let world = World::new().await;
        let old = PhotoId::of(world.event, &Digest::of(b"old"));
        let new = if old_first {
            world.receive("old", None).await;
            world.index_all().await;
            assert_eq!(world.shown().await, [old]);
            world.receive("new", Some(old)).await
        } else {
            let new = world.receive("new", Some(old)).await;
            world.receive("old", None).await;
            new
        };
        world.index_all().await;
        assert_eq!(world.shown().await, [new], "old first: {old_first}");
        assert!(!world.catalog.photo(world.event, old).await.unwrap().unwrap().shown);
        assert!(world.catalog.shown_photos(world.event, &[old]).await.unwrap().is_empty());
        // Nothing is ever deleted by an upload.
        let all = world.catalog.photos(world.event, PhotoFilter::All, None, 10).await.unwrap();
        assert_eq!(all.photos.len(), 2);
    }
}

#[tokio::test]
async fn preview_and_original_are_one_photo_and_one_job_in_either_order() {
    for preview_first in [true, false] {
        let world = World::new().await;
        let photo = PhotoId::of(world.event, &Digest::of(b"original"));
        let mut order = [(Kind::Preview, "preview"), (Kind::Original, "original")];
        if !preview_first {
            order.reverse();
        }
        for (kind, name) in order {
            world.finish(photo, kind, name, None).await;
        }
        assert_eq!(world.number("SELECT COUNT(*) FROM photos").await, 1);
        assert_eq!(world.number("SELECT COUNT(*) FROM jobs").await, 1);
        let (names, _) = world.catalog.names(world.event, 0, 10).await.unwrap();
        assert_eq!((names.len(), names[0].digest), (1, Digest::of(b"original")));
        assert!(world.claim().await.unwrap().original);
    }
}

#[tokio::test]
async fn the_lists_version_grows_with_every_change_that_they_show() {
    let world = World::new().await;
    let mut version = world.catalog.version(world.event).await.unwrap();
    let mut grew = async |what: &str| {
        let now = world.catalog.version(world.event).await.unwrap();
        assert!(now > version, "{what}");
        version = now;
    };
    world.receive("photo", None).await;
    grew("received").await;
    let claim = world.claim().await.unwrap();
    world.complete(&claim, &JobOutcome::WaitsForModels(indexed())).await.unwrap();
    grew("shown").await;
    world.catalog.wake_waiting_jobs().await.unwrap();
    let claim = world.claim().await.unwrap();
    world.complete(&claim, &JobOutcome::Failed("not-a-photo")).await.unwrap();
    grew("failed").await;
}

// ---- guests ----------------------------------------------------------------------------------

/// A vector that can be recognised in a file, and long enough to spill over to pages of its own.
fn recognisable() -> Vec<u8> {
    (0..256).flat_map(|n: u32| (n.wrapping_mul(2_654_435_761)).to_le_bytes()).collect()
}

/// Whether any file of the folder holds any 32 bytes of the vector.
fn found_in_files(dir: &Path, vector: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        vector.chunks(32).any(|part| bytes.windows(part.len()).any(|window| window == part))
    })
}

async fn guest(world: &World) -> GuestId {
    let guest = GuestId::random().unwrap();
    world.catalog.create_guest(guest, world.event, &Digest::of(guest.as_bytes())).await.unwrap();
    guest
}

#[tokio::test]
async fn erasing_a_guest_leaves_no_byte_of_the_vector_in_any_file() {
    if support::needs_a_file() {
        return;
    }
    let world = World::new().await;
    let (erased, other) = (guest(&world).await, guest(&world).await);
    for guest in [erased, other] {
        world.catalog.record_consent(guest, "text", "en").await.unwrap();
    }
    let vector = recognisable();
    // A new selfie replaces the old one: the old vector must go as well.
    let old: Vec<u8> = vector.iter().map(|byte| byte ^ 0x5A).collect();
    let kept: Vec<u8> = vector.iter().map(|byte| byte ^ 0xA5).collect();
    assert!(world.catalog.enrol(erased, 0, "pack", &old).await.unwrap());
    assert!(world.catalog.enrol(erased, 0, "pack", &vector).await.unwrap());
    assert!(world.catalog.enrol(other, 0, "pack", &kept).await.unwrap());
    assert!(found_in_files(world.dir.path(), &vector), "the test cannot see what it looks for");
    assert_eq!(world.catalog.erase_guest(erased).await.unwrap(), (1, 1));
    assert!(!found_in_files(world.dir.path(), &vector), "the vector is still on the disk");
    assert!(!found_in_files(world.dir.path(), &old), "an earlier vector is still on the disk");
    assert!(world.catalog.enrolments(erased).await.unwrap().is_empty());
    assert!(world.catalog.consents(erased).await.unwrap().is_empty());
    assert_eq!(world.catalog.enrolments(other).await.unwrap().len(), 1, "another guest's is kept");
    assert_eq!(world.catalog.erase_guest(erased).await.unwrap(), (0, 0));
}

#[tokio::test]
async fn without_a_recorded_consent_no_vector_is_stored() {
    let world = World::new().await;
    let guest = guest(&world).await;
    assert!(!world.catalog.enrol(guest, 0, "pack", b"vector").await.unwrap());
    world.catalog.record_consent(guest, "text", "en").await.unwrap();
    assert!(world.catalog.enrol(guest, 0, "pack", b"vector").await.unwrap());
    // The erasure came while a further selfie was being computed: it wins.
    world.catalog.erase_guest(guest).await.unwrap();
    assert!(!world.catalog.enrol(guest, 0, "pack", b"vector").await.unwrap());
    assert!(world.catalog.enrolments(guest).await.unwrap().is_empty());
}

#[tokio::test]
async fn indexing_again_replaces_faces_and_tells_the_galleries() {
    let world = World::new().await;
    world.receive("photo", None).await;
    let claim = world.claim().await.unwrap();
    world.complete(&claim, &JobOutcome::Indexed(indexed(), vec![face(b"a")])).await.unwrap();
    let before = world.catalog.faces_after(world.event, "pack", 0).await.unwrap();
    assert_eq!(before.faces.len(), 1);
    world.sql("INSERT INTO jobs (photo, event) SELECT seq, event FROM photos").await;
    let claim = world.claim().await.unwrap();
    world.complete(&claim, &JobOutcome::Indexed(indexed(), vec![face(b"b")])).await.unwrap();
    let after = world.catalog.faces_after(world.event, "pack", 0).await.unwrap();
    assert_eq!(after.faces.iter().map(|face| face.sealed.vector.as_slice()).collect::<Vec<_>>(), [b"b"]);
    assert_ne!(before.epoch, after.epoch);
    assert_eq!(world.catalog.face_epoch(world.event).await.unwrap(), after.epoch);
    assert!(world.catalog.faces_after(world.event, "another pack", 0).await.unwrap().faces.is_empty());
}

// ---- the file --------------------------------------------------------------------------------

#[tokio::test]
async fn a_file_that_is_no_database_stops_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("findme.sqlite");
    let rubbish = b"this is not a database, and somebody may want it back".repeat(200);
    std::fs::write(&file, &rubbish).unwrap();
    assert!(Catalog::open(&file).await.is_err());
    assert_eq!(std::fs::read(&file).unwrap(), rubbish);
}

#[tokio::test]
async fn a_database_of_a_later_version_stops() {
    let world = World::new().await;
    world.sql("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (99, 'later', TRUE, unhex('00'), 0)").await;
    world.catalog.close().await;
    let opened = support::open(world.dir.path()).await;
    assert!(matches!(opened, Err(CatalogError::Newer { found: 99, .. })), "{opened:?}");
}

#[tokio::test]
async fn rows_that_no_version_writes_are_reported_not_guessed() {
    let world = World::new().await;
    world.receive("photo", None).await;
    world.sql("UPDATE photos SET id = unhex('0102')").await;
    let listed = world.catalog.photos(world.event, PhotoFilter::All, None, 10).await;
    assert!(matches!(listed, Err(CatalogError::Damaged(_))), "{listed:?}");
}
