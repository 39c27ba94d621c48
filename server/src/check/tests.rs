//! Every kind of problem is found, put right where it can be, and found no more.

use findme_common::Digest;
use findme_common::protocol::Kind;

use super::*;
use crate::catalog::{Accepted, NewUpload};
use crate::{Config, Faces, NewEvent, Server};

struct World {
    dir: tempfile::TempDir,
    site: Site,
    event: EventId,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::open(dir.path()).await.unwrap();
        let event = site.create_event(NewEvent::new("party")).await.unwrap().id;
        Self { dir, site, event }
    }

    /// A photo as an upload leaves it.
    async fn photo(&self, content: &[u8]) -> PhotoId {
        let digest = Digest::of(content);
        let photo = PhotoId::of(self.event, &digest);
        let new = NewUpload {
            event: self.event,
            photo,
            kind: Kind::Original,
            length: content.len() as u64,
            digest: Some(digest),
            metadata: String::new(),
            name: "a.jpg".into(),
            replaces: None,
            held: false,
            token: None,
        };
        let accepted = self.site.catalog.create_upload(UploadId::random().unwrap(), &new, None).await.unwrap();
        let Accepted::Upload(row) = accepted else { panic!("{accepted:?}") };
        std::fs::write(self.file(photo), content).unwrap();
        self.site.catalog.finish_upload(&row, &digest).await.unwrap();
        photo
    }

    fn file(&self, photo: PhotoId) -> PathBuf {
        self.site.store.path(self.event, photo, Rendition::Original)
    }

    async fn check(&self, repair: bool) -> (Vec<Problem>, Summary) {
        let mut problems = Vec::new();
        let mut report = |problem: &Problem, _: Option<&str>| problems.push(problem.clone());
        let summary = check(&self.site, Depth::Digests, repair, &mut report, &mut |_, _| {}).await.unwrap();
        (problems, summary)
    }

    /// The problem is found, put right, and gone.
    async fn assert_repaired(&self, expected: Problem) {
        assert_eq!(self.check(false).await.0, vec![expected.clone()]);
        let (problems, summary) = self.check(true).await;
        assert_eq!((problems, summary.repaired), (vec![expected], 1));
        assert_eq!(self.check(false).await.0, vec![], "after the repair");
    }

    fn lost(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("lost")).map_or(0, Iterator::count)
    }
}

#[tokio::test]
async fn a_sound_folder_has_no_problems() {
    let world = World::new().await;
    world.photo(b"one").await;
    world.photo(b"").await;
    let (problems, summary) = world.check(false).await;
    assert_eq!(problems, vec![]);
    assert_eq!((summary.photos, summary.bytes), (2, 3));
}

#[tokio::test]
async fn a_missing_folder_is_made_again() {
    let world = World::new().await;
    for parent in ["photos", "derived"] {
        std::fs::remove_dir(world.dir.path().join(parent).join(world.event.to_simple())).unwrap();
        world.assert_repaired(Problem::NoFolder(world.event)).await;
    }
}

#[tokio::test]
async fn a_missing_original_is_taken_again() {
    let world = World::new().await;
    let photo = world.photo(b"one").await;
    std::fs::remove_file(world.file(photo)).unwrap();
    world.assert_repaired(Problem::Missing(world.event, photo, What(Rendition::Original))).await;
    let again = world.photo(b"one").await;
    assert_eq!(again, photo);
    assert_eq!(world.check(false).await.0, vec![]);
    let (names, _) = world.site.catalog.names(world.event, 0, 10).await.unwrap();
    assert_eq!(names.len(), 1);
    assert_eq!(world.site.catalog.queue_depth().await.unwrap().0, 1, "it is indexed again");
}

#[tokio::test]
async fn a_damaged_original_is_put_aside_and_taken_again() {
    let world = World::new().await;
    let photo = world.photo(b"one").await;
    for damage in [b"onf".as_slice(), b"on", b""] {
        std::fs::write(world.file(photo), damage).unwrap();
        world.assert_repaired(Problem::Damaged(world.event, photo, What(Rendition::Original))).await;
        world.photo(b"one").await;
    }
    assert_eq!(world.lost(), 3, "nothing is thrown away");
}

#[tokio::test]
async fn a_file_without_a_row_becomes_its_photo_or_is_put_aside() {
    let world = World::new().await;
    let digest = Digest::of(b"forgotten");
    let photo = PhotoId::of(world.event, &digest);
    std::fs::write(world.file(photo), b"forgotten").unwrap();
    world.assert_repaired(Problem::Stray(world.file(photo))).await;
    let (names, _) = world.site.catalog.names(world.event, 0, 10).await.unwrap();
    assert_eq!((names[0].id, names[0].digest), (photo, digest));
    // What its name does not prove, or what was deleted, is no photo.
    let unproven = world.file(PhotoId::random().unwrap());
    std::fs::write(&unproven, b"who knows").unwrap();
    world.assert_repaired(Problem::Stray(unproven)).await;
    assert!(world.site.catalog.delete_photo(world.event, photo).await.unwrap());
    world.site.catalog.set_swept(world.event, photo).await.unwrap();
    world.assert_repaired(Problem::Stray(world.file(photo))).await;
    assert_eq!(world.lost(), 2);
}

#[tokio::test]
async fn staged_bytes_without_an_upload_are_put_aside() {
    let world = World::new().await;
    let id = UploadId::random().unwrap();
    std::fs::write(world.site.store.staged(id), b"x").unwrap();
    world.assert_repaired(Problem::StagedStray(id)).await;
    assert_eq!(world.lost(), 1);
}

#[tokio::test]
async fn a_lost_key_stops_the_server_until_it_is_repaired() {
    let world = World::new().await;
    world.photo(b"one").await;
    let config = || Config { faces: Faces::Off, workers: Some(1), ..Config::new(world.dir.path()) };
    std::fs::remove_file(world.dir.path().join("keys").join(world.event.to_simple())).unwrap();
    // Its key is still in this process's memory; a new one does not have it.
    let site = Site::open(world.dir.path()).await.unwrap();
    let stopped = Server::open(config()).await.map(drop).unwrap_err().to_string();
    assert!(stopped.contains("check --repair") && stopped.contains(&world.event.to_string()), "{stopped}");
    let mut problems = Vec::new();
    let mut report = |problem: &Problem, done: Option<&str>| problems.push((problem.clone(), done.is_some()));
    check(&site, Depth::Lengths, true, &mut report, &mut |_, _| {}).await.unwrap();
    assert_eq!(problems, vec![(Problem::NoKey(world.event), true)]);
    assert_eq!(site.catalog.queue_depth().await.unwrap().0, 1);
    Server::open(config()).await.unwrap();
}

#[tokio::test]
async fn pages_of_rubbish_in_the_catalogue_are_seen() {
    let world = World::new().await;
    for n in 0..200_u32 {
        world.photo(&n.to_le_bytes()).await;
    }
    world.site.clone().close().await;
    let file = world.dir.path().join("findme.sqlite");
    let mut bytes = std::fs::read(&file).unwrap();
    // Several pages: one alone may be free.
    let pages = bytes.len() / 4096;
    bytes.chunks_exact_mut(4096).skip(pages / 2).for_each(|page| page[..2048].fill(0xA5));
    std::fs::write(&file, bytes).unwrap();
    let found = async {
        let site = Site::open(world.dir.path()).await?;
        let summary = check(&site, Depth::Lengths, false, &mut |_, _| {}, &mut |_, _| {}).await?;
        anyhow::Ok(summary.problems)
    };
    assert!(found.await.map_or(true, |problems| problems > 0), "it passed for sound");
}
