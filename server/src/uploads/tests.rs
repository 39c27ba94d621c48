//! The state machine without HTTP: whatever is done to an upload, in whatever order, and wherever the process dies, a
//! quiet run afterwards ends in exactly the bytes, once.

mod histories;
mod writers;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::Duration;

use findme_common::protocol::Kind;
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::*;
use crate::catalog::PhotoFilter;
use crate::store::Rendition;

type Piece = Result<Bytes, &'static str>;

/// A data folder with one event.
struct World {
    dir: TempDir,
    event: EventId,
    catalog: Catalog,
    uploads: Uploads,
}

async fn machine(dir: &Path) -> (Catalog, Uploads) {
    let catalog = crate::catalog::tests::support::catalog(dir).await;
    let uploads = Uploads::new(catalog.clone(), PhotoStore::open(dir).unwrap(), Arc::default());
    (catalog, uploads)
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (catalog, uploads) = machine(dir.path()).await;
        let event = EventId::random().unwrap();
        uploads.store.create_event(event).unwrap();
        catalog.create_event(event, "event", &findme_common::JoinCode::random().unwrap()).await.unwrap();
        Self { dir, event, catalog, uploads }
    }

    /// What a new process finds: everything in memory is gone, recovery runs.
    async fn reopen(&mut self) {
        self.catalog.close().await;
        (self.catalog, self.uploads) = machine(self.dir.path()).await;
        self.uploads.recover().await.unwrap();
    }

    fn new_upload(&self, bytes: &[u8]) -> NewUpload {
        let digest = Digest::of(bytes);
        NewUpload {
            event: self.event,
            photo: PhotoId::of(self.event, &digest),
            kind: Kind::Original,
            length: bytes.len() as u64,
            digest: Some(digest),
            metadata: "filename YQ==".to_owned(),
            name: "a".to_owned(),
            token: None,
            replaces: None,
            held: false,
        }
    }

    async fn create(&self, bytes: &[u8]) -> Standing {
        self.uploads.create(self.new_upload(bytes)).await.unwrap()
    }

    async fn append(&self, id: UploadId, offset: u64, bytes: &[u8]) -> Result<Standing, UploadError> {
        self.uploads.append(self.event, id, offset, whole(bytes, 7000)).await
    }

    fn staged(&self, id: UploadId) -> PathBuf {
        self.dir.path().join("staging").join(id.to_simple())
    }

    fn published(&self, bytes: &[u8]) -> PathBuf {
        self.uploads.store.path(self.event, self.new_upload(bytes).photo, Rendition::Original)
    }

    /// Changes rows behind the machine's back.
    async fn sql(&self, statements: &str) {
        self.catalog.behind_its_back(statements).await;
    }

    /// Exactly one photo, of exactly these bytes, with exactly one job, and nothing left over.
    async fn assert_one_photo(&self, bytes: &[u8]) {
        assert_eq!(std::fs::read(self.published(bytes)).unwrap(), bytes, "stored bytes");
        let (names, _) = self.catalog.names(self.event, 0, 10).await.unwrap();
        assert_eq!(names.len(), 1, "photos");
        assert_eq!((names[0].digest, names[0].bytes), (Digest::of(bytes), bytes.len() as u64));
        assert_eq!(names[0].id, self.new_upload(bytes).photo);
        let counts = self.catalog.counts(self.event, PhotoFilter::All).await.unwrap();
        assert_eq!((counts.received, counts.runnable), (1, 1), "one photo row, one job");
        assert!(self.uploads.store.staged_uploads().unwrap().is_empty(), "staged files are left over");
    }
}

fn pieces(bytes: &[u8], size: usize) -> Vec<Piece> {
    bytes.chunks(size.max(1)).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect()
}

fn whole(bytes: &[u8], size: usize) -> impl Stream<Item = Piece> + Unpin + Send + 'static {
    futures_util::stream::iter(pieces(bytes, size))
}

/// These bytes, then a broken connection.
fn cut(bytes: &[u8], size: usize) -> impl Stream<Item = Piece> + Unpin + Send + 'static {
    futures_util::stream::iter(pieces(bytes, size).into_iter().chain([Err("reset")]))
}

/// These bytes, then silence for ever; the receiver hears when all of them were taken.
fn stalling(bytes: &[u8], size: usize) -> (impl Stream<Item = Piece> + Unpin + Send + 'static, oneshot::Receiver<()>) {
    let (tell, told) = oneshot::channel();
    let silence = Box::pin(futures_util::stream::once(async move {
        let _ = tell.send(());
        std::future::pending::<Piece>().await
    }));
    (futures_util::stream::iter(pieces(bytes, size)).chain(silence), told)
}

fn sha1_of(bytes: &[u8]) -> Checksum {
    use base64::Engine;
    use sha1::Digest as _;
    let digest = base64::engine::general_purpose::STANDARD.encode(sha1::Sha1::digest(bytes));
    format!("sha1 {digest}").parse().unwrap()
}

/// Bytes that no two lengths share a prefix pattern with by chance.
fn content(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

#[tokio::test]
async fn creating_again_finds_the_same_upload_where_it_stands() {
    let world = World::new().await;
    let bytes = content(1000, 1);
    let first = world.create(&bytes).await;
    world.append(first.id, 0, &bytes[..300]).await.unwrap();
    let again = world.create(&bytes).await;
    assert_eq!((again.id, again.offset, again.receipt), (first.id, 300, None));
    world.append(first.id, 300, &bytes[300..]).await.unwrap();
    let done = world.create(&bytes).await;
    let receipt = Receipt { photo: world.new_upload(&bytes).photo, digest: Digest::of(&bytes) };
    assert_eq!((done.id, done.offset, done.receipt), (first.id, 1000, Some(receipt)));
    world.assert_one_photo(&bytes).await;
}

#[tokio::test]
async fn wrong_bytes_start_over_and_the_right_ones_are_taken() {
    let world = World::new().await;
    let bytes = content(400_000, 2);
    let id = world.create(&bytes).await.id;
    let mut wrong = bytes.clone();
    wrong[7] ^= 1;
    world.append(id, 0, &wrong[..200_000]).await.unwrap();
    let refused = world.append(id, 200_000, &wrong[200_000..]).await;
    assert!(matches!(refused, Err(UploadError::DigestMismatch)), "{refused:?}");
    assert_eq!(world.uploads.stand(world.event, id).await.unwrap().offset, 0);
    assert!(world.catalog.names(world.event, 0, 1).await.unwrap().0.is_empty(), "wrong bytes became a photo");
    world.append(id, 0, &bytes).await.unwrap();
    world.assert_one_photo(&bytes).await;
}

#[tokio::test]
async fn wrong_bytes_that_were_complete_at_a_crash_start_over() {
    let mut world = World::new().await;
    let bytes = content(5000, 3);
    let id = world.create(&bytes).await.id;
    // All bytes recorded, one wrong, and the process died before it compared the digest.
    world.append(id, 0, &bytes[..4999]).await.unwrap();
    let mut file = bytes.clone();
    file[0] ^= 1;
    std::fs::write(world.staged(id), &file).unwrap();
    world.sql("UPDATE uploads SET \"offset\" = length").await;
    world.reopen().await;
    assert_eq!(world.uploads.stand(world.event, id).await.unwrap().offset, 0);
    world.append(id, 0, &bytes).await.unwrap();
    world.assert_one_photo(&bytes).await;
}

#[tokio::test]
async fn a_client_that_names_nothing_gets_the_digest_of_what_it_sent() {
    let world = World::new().await;
    let bytes = content(10, 4);
    let new = NewUpload { digest: None, photo: PhotoId::random().unwrap(), ..world.new_upload(&bytes) };
    let id = world.uploads.create(new.clone()).await.unwrap().id;
    let receipt = world.append(id, 0, &bytes).await.unwrap().receipt;
    assert_eq!(receipt, Some(Receipt { photo: new.photo, digest: Digest::of(&bytes) }));
}

#[tokio::test]
async fn the_same_key_with_another_length_is_refused() {
    let world = World::new().await;
    let new = world.new_upload(b"hello");
    world.uploads.create(new.clone()).await.unwrap();
    let other = world.uploads.create(NewUpload { length: 6, ..new }).await;
    assert!(matches!(other, Err(UploadError::OtherLength)), "{other:?}");
}

#[tokio::test]
async fn a_deleted_photo_is_not_taken_again() {
    let world = World::new().await;
    let bytes = content(10, 5);
    let id = world.create(&bytes).await.id;
    world.append(id, 0, &bytes).await.unwrap();
    world
        .sql(
            "INSERT INTO tombstones (event, photo, deleted_at) SELECT event, id, 0 FROM photos;
             DELETE FROM photos; DELETE FROM uploads",
        )
        .await;
    let again = world.uploads.create(world.new_upload(&bytes)).await;
    assert!(matches!(again, Err(UploadError::Deleted)), "{again:?}");
}

#[tokio::test]
async fn another_events_upload_is_not_found() {
    let world = World::new().await;
    let id = world.create(b"hello").await.id;
    let other = EventId::random().unwrap();
    assert!(matches!(world.uploads.stand(other, id).await, Err(UploadError::NotFound)));
    assert!(matches!(world.uploads.append(other, id, 0, whole(b"hello", 5)).await, Err(UploadError::NotFound)));
    assert!(matches!(world.uploads.terminate(other, id).await, Err(UploadError::NotFound)));
}

#[tokio::test]
async fn an_empty_upload_is_complete_at_once() {
    let world = World::new().await;
    let standing = world.create(b"").await;
    assert_eq!(standing.receipt.map(|receipt| receipt.digest), Some(Digest::of(b"")));
    world.assert_one_photo(b"").await;
}

#[tokio::test]
async fn only_abandoned_uploads_expire() {
    let world = World::new().await;
    let (old, new, done) = (content(10, 6), content(11, 7), content(12, 8));
    let old_id = world.create(&old).await.id;
    world.append(old_id, 0, &old[..5]).await.unwrap();
    let done_id = world.create(&done).await.id;
    world.append(done_id, 0, &done).await.unwrap();
    world.sql("UPDATE uploads SET touched_at = 1000").await;
    let new_id = world.create(&new).await.id;
    assert_eq!(world.uploads.expire(2000).await.unwrap(), 1);
    assert!(matches!(world.uploads.stand(world.event, old_id).await, Err(UploadError::NotFound)));
    assert!(!world.staged(old_id).exists());
    assert!(world.uploads.stand(world.event, new_id).await.is_ok());
    assert!(
        world.uploads.stand(world.event, done_id).await.unwrap().receipt.is_some(),
        "a complete upload answers for good"
    );
    assert_eq!(world.uploads.expire(2000).await.unwrap(), 0);
}

#[tokio::test]
async fn an_upload_that_is_being_written_does_not_expire() {
    let world = World::new().await;
    let id = world.create(b"hello").await.id;
    world.sql("UPDATE uploads SET touched_at = 1000").await;
    let (stalled, taken) = stalling(b"he", 2);
    let (uploads, event) = (world.uploads.clone(), world.event);
    let writing = tokio::spawn(async move { uploads.append(event, id, 0, stalled).await });
    taken.await.unwrap();
    assert_eq!(world.uploads.expire(2000).await.unwrap(), 0);
    assert_eq!(world.uploads.stand(event, id).await.unwrap().offset, 2);
    assert!(matches!(writing.await.unwrap(), Err(UploadError::TakenOver)));
}

#[tokio::test]
async fn staged_bytes_that_are_gone_deactivate_the_upload() {
    let mut world = World::new().await;
    let bytes = content(1000, 9);
    let id = world.create(&bytes).await.id;
    world.append(id, 0, &bytes[..600]).await.unwrap();
    std::fs::File::options().write(true).open(world.staged(id)).unwrap().set_len(100).unwrap();
    // Never a smaller offset for the same upload: it is gone, and a new one begins at 0.
    let lost = world.append(id, 600, &bytes[600..]).await;
    assert!(matches!(lost, Err(UploadError::Lost)), "{lost:?}");
    assert!(matches!(world.uploads.stand(world.event, id).await, Err(UploadError::NotFound)));
    let again = world.create(&bytes).await;
    assert_ne!(again.id, id);
    world.append(again.id, 0, &bytes[..600]).await.unwrap();
    std::fs::remove_file(world.staged(again.id)).unwrap();
    world.reopen().await;
    assert!(matches!(world.uploads.stand(world.event, again.id).await, Err(UploadError::NotFound)));
}

#[tokio::test]
async fn a_request_that_is_dropped_keeps_what_had_arrived() {
    let world = World::new().await;
    let bytes = content(600_000, 10);
    let id = world.create(&bytes).await.id;
    let (stalled, taken) = stalling(&bytes[..400_000], 50_000);
    // What a server does with the request of a client that went away: it drops the future, wherever that stands.
    tokio::select! {
        result = world.uploads.append(world.event, id, 0, stalled) => panic!("{result:?}"),
        _ = taken => {}
    }
    let standing = world.uploads.stand(world.event, id).await.unwrap();
    assert_eq!(standing.offset, 400_000);
    world.append(id, 400_000, &bytes[400_000..]).await.unwrap();
    world.assert_one_photo(&bytes).await;
}

#[tokio::test]
async fn a_client_that_goes_away_after_the_last_byte_still_has_its_photo() {
    let world = World::new().await;
    let bytes = content(300_000, 11);
    let id = world.create(&bytes).await.id;
    let (tell, taken) = oneshot::channel();
    let last = futures_util::stream::once(async move {
        let _ = tell.send(());
        Ok::<_, Infallible>(Bytes::new())
    });
    let body = futures_util::stream::iter([Ok(Bytes::copy_from_slice(&bytes))]).chain(Box::pin(last));
    tokio::select! {
        biased;
        _ = taken => {}
        result = world.uploads.append(world.event, id, 0, body) => panic!("the body's end came first: {result:?}"),
    }
    let receipt = world.uploads.stand(world.event, id).await.unwrap().receipt;
    assert_eq!(receipt.map(|receipt| receipt.digest), Some(Digest::of(&bytes)));
    world.assert_one_photo(&bytes).await;
}

#[tokio::test]
async fn bytes_that_arrive_after_their_photo_was_deleted_leave_no_file() {
    let world = World::new().await;
    let bytes = content(10_000, 6);
    let first = world.create(&bytes).await.id;
    world.append(first, 0, &bytes).await.unwrap();
    world.uploads.terminate(world.event, first).await.unwrap();
    let second = world.create(&bytes).await.id;
    let (tell, told) = oneshot::channel::<()>();
    let rest = Bytes::copy_from_slice(&bytes[5_000..]);
    let held_back = Box::pin(futures_util::stream::once(async move {
        told.await.unwrap();
        Ok::<_, &'static str>(rest)
    }));
    let (begun, began) = oneshot::channel();
    let mut begun = Some(begun);
    let head = futures_util::stream::iter(pieces(&bytes[..5_000], 5_000)).inspect(move |_| {
        let _ = begun.take().map(|begun| begun.send(()));
    });
    let (uploads, event) = (world.uploads.clone(), world.event);
    let late = tokio::spawn(async move { uploads.append(event, second, 0, head.chain(held_back)).await });
    began.await.unwrap();
    let photo = world.new_upload(&bytes).photo;
    assert!(world.catalog.delete_photo(world.event, photo).await.unwrap());
    world.uploads.store.remove_photo(world.event, photo).unwrap();
    tell.send(()).unwrap();
    let late = late.await.unwrap();
    assert!(matches!(late, Err(UploadError::Deleted)), "{late:?}");
    assert!(!world.published(&bytes).exists(), "a deleted photo is back");
}

#[tokio::test]
async fn a_wrong_checksum_keeps_what_was_there_and_nothing_else() {
    let mut world = World::new().await;
    let bytes = content(40_000_000, 12);
    let id = world.create(&bytes).await.id;
    world.append(id, 0, &bytes[..1000]).await.unwrap();
    // Longer than a checkpoint: none may be made of bytes that can still be wrong.
    let rest = || whole(&bytes[1000..], 1_000_000);
    let wrong = world.uploads.append_checked(world.event, id, 1000, rest(), Some(sha1_of(b"other"))).await;
    assert!(matches!(wrong, Err(UploadError::ChecksumMismatch { offset: 1000 })), "{wrong:?}");
    assert_eq!(std::fs::metadata(world.staged(id)).unwrap().len(), 1000, "the wrong bytes lie around");
    world.reopen().await;
    assert_eq!(world.uploads.stand(world.event, id).await.unwrap().offset, 1000);
    let right = sha1_of(&bytes[1000..]);
    world.uploads.append_checked(world.event, id, 1000, rest(), Some(right)).await.unwrap();
    world.assert_one_photo(&bytes).await;
}

#[tokio::test]
async fn a_question_does_not_stop_a_request_that_is_alive() {
    let world = World::new().await;
    let bytes = content(1000, 13);
    let id = world.create(&bytes).await.id;
    let (feed, fed) = tokio::sync::mpsc::unbounded_channel::<Piece>();
    let body = Box::pin(futures_util::stream::unfold(fed, |mut fed| async { Some((fed.recv().await?, fed)) }));
    let (uploads, event) = (world.uploads.clone(), world.event);
    let writing = tokio::spawn(async move { uploads.append(event, id, 0, body).await });
    let asking = world.uploads.stand(world.event, id);
    tokio::pin!(asking);
    // A byte at a time, for as long as it takes to be believed alive.
    let mut sent = 0;
    let standing = loop {
        tokio::select! {
            standing = &mut asking => break standing.unwrap(),
            () = tokio::time::sleep(Duration::from_millis(20)) => {
                feed.send(Ok(Bytes::copy_from_slice(&bytes[sent..=sent]))).unwrap();
                sent += 1;
            }
        }
    };
    assert_eq!(standing.offset, 0, "bytes that are not on stable storage were counted");
    feed.send(Ok(Bytes::copy_from_slice(&bytes[sent..]))).unwrap();
    drop(feed);
    assert!(writing.await.unwrap().unwrap().receipt.is_some());
    world.assert_one_photo(&bytes).await;
}

#[tokio::test]
async fn an_earlier_preview_of_equal_length_does_not_pass_for_a_new_one() {
    let world = World::new().await;
    let (old, new) = (content(500, 14), content(500, 15));
    let unnamed = |bytes: &[u8]| NewUpload {
        kind: Kind::Preview,
        digest: None,
        photo: PhotoId::of(world.event, &Digest::of(b"the original")),
        ..world.new_upload(bytes)
    };
    let first = world.uploads.create(unnamed(&old)).await.unwrap().id;
    world.append(first, 0, &old).await.unwrap();
    world.uploads.terminate(world.event, first).await.unwrap();
    let second = world.uploads.create(unnamed(&new)).await.unwrap().id;
    world.uploads.recover().await.unwrap();
    assert_eq!(world.uploads.stand(world.event, second).await.unwrap().receipt, None);
    let done = world.append(second, 0, &new).await.unwrap();
    assert_eq!(done.receipt.map(|receipt| receipt.digest), Some(Digest::of(&new)));
}
