//! What a place for published files promises, whichever it is: every test here runs on a folder and, where
//! `FINDME_TEST_STORE` names one (`tests/on-store`), on an object store. Each promise stands once.

use std::fs;
#[cfg(feature = "s3")]
use std::io::Read;
use std::path::Path;

use super::*;
use crate::http::Opened;
use crate::picture::location::Patches;

/// A place in the object store for a folder's tests; `None`: published files are in the folder.
pub(crate) fn place(folder: &Path) -> Option<String> {
    if !cfg!(feature = "s3") {
        return None;
    }
    let store = std::env::var("FINDME_TEST_STORE").ok()?;
    Some(format!("{store}/{}", Digest::of(folder.as_os_str().as_encoded_bytes())))
}

/// One store, and what it is called.
struct World {
    name: &'static str,
    _folder: tempfile::TempDir,
    store: PhotoStore,
    event: EventId,
}

/// One of each kind that there is here, each with an event.
async fn worlds() -> Vec<World> {
    let mut made = Vec::new();
    for name in ["folder", "object store"] {
        let folder = tempfile::tempdir().unwrap();
        let mut store = PhotoStore::open(folder.path()).unwrap();
        if name == "object store" {
            let Some(place) = place(folder.path()) else {
                eprintln!("skipped: FINDME_TEST_STORE names no object store (tests/on-store)");
                continue;
            };
            store = store.with_files_at(&place).await.unwrap();
        }
        let event = EventId::random().unwrap();
        store.create_event(event).unwrap();
        made.push(World { name, _folder: folder, store, event });
    }
    made
}

/// Runs a test on each kind of store, where methods may block.
async fn on_each(test: impl Fn(&World) + Clone + Send + 'static) {
    for world in worlds().await {
        let test = test.clone();
        tokio::task::spawn_blocking(move || test(&world)).await.unwrap();
    }
}

impl World {
    fn stage(&self, bytes: &[u8]) -> UploadId {
        let id = UploadId::random().unwrap();
        let mut staged = self.store.open_staged(id, 0, None).unwrap();
        staged.write(bytes).unwrap();
        staged.sync().unwrap();
        id
    }

    fn publish(&self, photo: PhotoId, bytes: &[u8]) {
        self.store.publish(self.stage(bytes), self.event, photo, Kind::Original).unwrap();
    }

    fn read(&self, photo: PhotoId, rendition: Rendition) -> io::Result<Vec<u8>> {
        fs::read(&*self.store.local(self.event, photo, rendition)?)
    }

    /// Names of all files, as `check` sees them.
    fn names(&self) -> Vec<(EventId, PhotoId, Rendition)> {
        self.store.files().unwrap().into_iter().map(|file| file.name.unwrap()).collect()
    }
}

fn photo() -> PhotoId {
    PhotoId::random().unwrap()
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_is_whole_and_nothing_is_staged_any_more() {
    on_each(|world| {
        for length in [0, 1, 70_000] {
            let (photo, bytes) = (photo(), bytes(length));
            let found = |length| world.store.published(world.event, photo, Kind::Original, length).unwrap();
            assert_eq!(found(length as u64), None, "{}: before", world.name);
            assert_eq!(world.read(photo, Rendition::Original).unwrap_err().kind(), io::ErrorKind::NotFound);
            world.publish(photo, &bytes);
            world.store.confirm(world.event, photo, Kind::Original).unwrap();
            assert_eq!(found(length as u64), Some(Digest::of(&bytes)), "{}: {length}", world.name);
            assert_eq!(found(length as u64 + 1), None, "{}: of another length", world.name);
            assert_eq!(world.read(photo, Rendition::Original).unwrap(), bytes, "{}: {length}", world.name);
        }
        assert!(world.store.staged_uploads().unwrap().is_empty(), "{}", world.name);
        assert!(world.store.answers().is_ok(), "{}", world.name);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_files_are_whole() {
    on_each(|world| {
        // An object store gets them in pieces of 8 MiB: two whole ones and a part, exactly two, and one byte more than one.
        for length in [17 << 20, 16 << 20, (8 << 20) + 1] {
            let (photo, bytes) = (photo(), bytes(length));
            world.publish(photo, &bytes);
            assert!(world.read(photo, Rendition::Original).unwrap() == bytes, "{}: {length}", world.name);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_twice_is_publishing_once() {
    on_each(|world| {
        for length in [3000, 9 << 20] {
            let (photo, bytes) = (photo(), bytes(length));
            let uploads: Vec<_> = (0..4).map(|_| world.stage(&bytes)).collect();
            // At once, as two nodes might that both finish it.
            std::thread::scope(|scope| {
                for upload in uploads {
                    scope.spawn(move || world.store.publish(upload, world.event, photo, Kind::Original).unwrap());
                }
            });
            world.publish(photo, &bytes);
            assert!(world.read(photo, Rendition::Original).unwrap() == bytes, "{}: {length}", world.name);
            let found = world.names().iter().filter(|(_, of, _)| *of == photo).count();
            assert_eq!(found, 1, "{}", world.name);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_upload_left_that_was_never_acknowledged_is_replaced() {
    on_each(|world| {
        for (left, right) in [(500, 501), (9 << 20, 300), (300, 9 << 20)] {
            let (photo, right) = (photo(), bytes(right));
            world.publish(photo, &vec![7; left]);
            world.publish(photo, &right);
            assert!(world.read(photo, Rendition::Original).unwrap() == right, "{}", world.name);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_part_of_a_file_is_read_and_none_beyond_its_end() {
    for world in worlds().await {
        let (photo, bytes) = (photo(), bytes(200_000));
        let (world, bytes) = tokio::task::spawn_blocking(move || {
            world.publish(photo, &bytes);
            (world, bytes)
        })
        .await
        .unwrap();
        let open = async |photo| Opened::of(&world.store, world.event, photo, Rendition::Original).await;
        assert_eq!(open(photo).await.unwrap().length(), 200_000, "{}", world.name);
        for (first, length) in [(0, 200_000), (0, 1), (199_999, 1), (65_535, 65_538), (7, 0)] {
            let mut part = open(photo).await.unwrap().part(first, length, Patches::default());
            let mut read = Vec::new();
            while let Some(piece) = part.next().await.unwrap() {
                read.extend(piece);
            }
            assert!(read == bytes[first as usize..(first + length) as usize], "{}: {first} {length}", world.name);
        }
        let mut beyond = open(photo).await.unwrap().part(199_990, 20, Patches::default());
        assert!(beyond.next().await.is_err(), "{}: less than was promised", world.name);
        let none = open(PhotoId::random().unwrap()).await.unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::NotFound, "{}", world.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_files_are_listed_by_name_and_what_is_removed_is_gone() {
    on_each(|world| {
        let (kept, gone) = (photo(), photo());
        let other = EventId::random().unwrap();
        world.store.create_event(other).unwrap();
        for photo in [kept, gone] {
            world.publish(photo, b"original");
            world.store.publish(world.stage(b"ahead"), world.event, photo, Kind::Preview).unwrap();
            for rendition in [Rendition::Preview, Rendition::Thumb] {
                world.store.put_derived(world.event, photo, rendition, b"made").unwrap();
                world.store.put_derived(world.event, photo, rendition, b"made here").unwrap();
                assert_eq!(world.read(photo, rendition).unwrap(), b"made here", "{}", world.name);
            }
        }
        world.store.publish(world.stage(b"theirs"), other, kept, Kind::Original).unwrap();
        assert_eq!(world.names().len(), 9, "{}", world.name);
        world.store.remove_photo(world.event, gone).unwrap();
        world.store.remove_photo(world.event, gone).unwrap();
        let left = world.names();
        assert!(left.len() == 5 && left.iter().all(|(_, of, _)| *of == kept), "{}: {left:?}", world.name);
        assert_eq!(world.read(gone, Rendition::Thumb).unwrap_err().kind(), io::ErrorKind::NotFound);
        world.store.remove_event(world.event).unwrap();
        world.store.remove_event(world.event).unwrap();
        assert_eq!(world.names(), [(other, kept, Rendition::Original)], "{}: another event's", world.name);
    })
    .await;
}

#[test]
fn resuming_without_the_hasher_reads_the_prefix_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = PhotoStore::open(dir.path()).unwrap();
    let id = UploadId::random().unwrap();
    let mut staged = store.open_staged(id, 0, None).unwrap();
    staged.write(b"hello, torn").unwrap();
    drop(staged);
    let mut staged = store.open_staged(id, 5, None).unwrap();
    staged.write(b" world").unwrap();
    assert_eq!(staged.hasher().clone().finish(), Digest::of(b"hello world"));
}

#[test]
fn what_is_left_of_a_derivative_goes_when_nobody_writes_it_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let store = PhotoStore::open(dir.path()).unwrap();
    let (event, photo) = (EventId::random().unwrap(), photo());
    store.create_event(event).unwrap();
    store.put_derived(event, photo, Rendition::Thumb, b"thumb").unwrap();
    // An event that was deleted meanwhile.
    store.remove_event(event).unwrap();
    assert!(store.put_derived(event, photo, Rendition::Thumb, b"thumb").is_err());
    let staging = dir.path().join("staging");
    assert_eq!(fs::read_dir(&staging).unwrap().count(), 0, "a picture is left over");
    // A crash.
    let (part, upload) = (staging.join("of a picture.1-0.part"), UploadId::random().unwrap());
    fs::write(&part, b"half").unwrap();
    store.open_staged(upload, 0, None).unwrap();
    assert_eq!(store.remove_parts(Duration::from_secs(3600)).unwrap(), 0, "it may be being written");
    assert_eq!(store.remove_parts(Duration::ZERO).unwrap(), 1);
    assert!(!part.exists() && store.staged_uploads().unwrap() == [upload]);
}

#[test]
fn a_staged_file_shorter_than_its_offset_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let store = PhotoStore::open(dir.path()).unwrap();
    let id = UploadId::random().unwrap();
    store.open_staged(id, 0, None).unwrap().write(b"abc").unwrap();
    assert_eq!(store.open_staged(id, 4, None).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

/// A store that fails: nothing is acknowledged, nothing is lost, and the same upload ends well when it works again.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_is_told_of_and_what_was_staged_stays() {
    on_each(|world| {
        let photo = photo();
        let broken = broken(world);
        for length in [400, 9 << 20] {
            let bytes = bytes(length);
            let upload = world.stage(&bytes);
            assert!(broken.publish(upload, world.event, photo, Kind::Original).is_err(), "{}", world.name);
            assert_eq!(world.store.staged_length(upload).unwrap(), Some(length as u64), "{}: it stays", world.name);
            assert!(world.read(photo, Rendition::Original).is_err(), "{}: no part of it is there", world.name);
            mend(world);
            world.store.publish(upload, world.event, photo, Kind::Original).unwrap();
            assert!(world.read(photo, Rendition::Original).unwrap() == bytes, "{}", world.name);
            world.store.remove_photo(world.event, photo).unwrap();
            broken_again(world);
        }
        assert!(broken.put_derived(world.event, photo, Rendition::Thumb, b"thumb").is_err(), "{}", world.name);
        if world.name == "object store" {
            assert!(broken.answers().is_err() && broken.published(world.event, photo, Kind::Original, 4).is_err());
        }
    })
    .await;
}

/// The same store in its failing state: a folder that is gone, or an object store that answers 503.
fn broken(world: &World) -> PhotoStore {
    broken_again(world);
    #[cfg(feature = "s3")]
    if world.store.bucket.is_some() {
        let builder = object_store::aws::AmazonS3Builder::from_env().with_endpoint(failing());
        let bucket = Bucket::with(builder, "s3://photos/failing", std::time::Duration::from_millis(300)).unwrap();
        return PhotoStore { bucket: Some(bucket), ..world.store.clone() };
    }
    world.store.clone()
}

/// Address of a server that answers 503 to everything, for as long as the tests run.
#[cfg(feature = "s3")]
fn failing() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let _ = connection.read(&mut [0; 4096]);
            let _ = connection.write_all(b"HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    format!("http://{address}")
}

fn broken_again(world: &World) {
    if world.name == "folder" {
        for folder in ["photos", "derived"] {
            fs::remove_dir_all(world.store.root.join(folder).join(world.event.to_simple())).unwrap();
        }
    }
}

fn mend(world: &World) {
    world.store.create_event(world.event).unwrap();
}
