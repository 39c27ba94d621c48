//! How real programs write photos: whatever they do on the way, what arrives is what they meant, whole and once.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use reqwest::Method;

use crate::support::photos::{of_size, small};
use crate::support::watch::Run;
use crate::support::{Event, Laptop, Server, Watch};

/// Several times as long as a file must be quiet: whoever takes quiet for the end takes half a photo here.
const STALL: Duration = Duration::from_millis(700);

/// A watcher at rest over an empty folder.
struct Scene {
    server: Server,
    event: Event,
    laptop: Laptop,
    watch: Watch,
}

impl Scene {
    async fn new() -> Self {
        let server = Server::start().await;
        let event = server.create_event("party");
        let laptop = Laptop::new();
        let mut command = laptop.for_event(&event);
        command.args(["--settle", "100"]);
        let mut watch = laptop.start(command);
        watch.wait_for("idle", 1).await;
        Self { server, event, laptop, watch }
    }

    fn create(&self, name: &str) -> File {
        File::create(self.laptop.photos().join(name)).unwrap()
    }

    /// Waits until so many photos were sent, ends the watcher, and looks at what the server has.
    async fn holds_exactly(mut self, contents: &[Vec<u8>]) -> Run {
        self.watch.wait_for("uploaded", contents.len()).await;
        self.ends_with(contents).await
    }

    /// The same without waiting.
    async fn ends_with(self, contents: &[Vec<u8>]) -> Run {
        self.watch.interrupt();
        let run = self.watch.end().await;
        run.assert_exit(0);
        assert_eq!((run.total("failed"), run.total("left")), (0, 0), "{:#?}", run.lines);
        self.event.assert_holds_exactly(contents).await;
        self.server.assert_no_faults();
        run
    }
}

async fn stall() {
    tokio::time::sleep(STALL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn written_in_one_go() {
    let scene = Scene::new().await;
    scene.laptop.put("a.jpg", &small(1));
    scene.holds_exactly(&[small(1)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn written_slowly_with_stalls() {
    let scene = Scene::new().await;
    let bytes = of_size(2, 300);
    let mut file = scene.create("slow.jpg");
    for piece in bytes.chunks(bytes.len().div_ceil(4)) {
        file.write_all(piece).unwrap();
        file.sync_data().unwrap();
        stall().await;
    }
    // Only what a camera appends behind the picture was missing in the last stalls: as a JPEG it was whole before. That is
    // a photo of its own then, and the watcher must have taken none while the picture itself was cut.
    drop(file);
    let mut scene = scene;
    scene.watch.wait_for("idle", 2).await;
    let names = scene.event.names().await;
    assert!(!names.is_empty() && names.iter().all(|name| bytes.len() as u64 >= name.bytes));
    let last = findme_common::Digest::of(&bytes);
    assert!(names.iter().any(|name| name.digest == last), "the whole file is there");
    for name in names {
        let got = scene.event.request(Method::GET, &format!("/api/photo/{}", name.id)).send().await.unwrap();
        let got = got.bytes().await.unwrap();
        assert!(bytes.starts_with(&got) && got.len() > small(2).len() - 1, "a picture without its end was taken");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_stalls_in_its_middle_is_taken_whole() {
    let mut scene = Scene::new().await;
    let bytes = small(3);
    let mut file = scene.create("stalled.jpg");
    for piece in bytes.chunks(bytes.len().div_ceil(3)) {
        file.write_all(piece).unwrap();
        file.sync_data().unwrap();
        stall().await;
        // Meanwhile others are not held up.
        let other = u64::try_from(piece.as_ptr() as usize - bytes.as_ptr() as usize).unwrap() + 100;
        let sent = scene.watch.said("uploaded");
        scene.laptop.put(format!("{other}.jpg"), &small(other));
        scene.watch.wait_for("uploaded", sent + 1).await;
    }
    drop(file);
    let others: Vec<_> = (0..3).map(|n| small((n * bytes.len().div_ceil(3)) as u64 + 100)).collect();
    scene.holds_exactly(&[others, vec![bytes]].concat()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn written_under_another_name_and_renamed() {
    let scene = Scene::new().await;
    let folder = scene.laptop.photos();
    // In the folder, in a hidden one below it, and from outside.
    let outside = scene.laptop.place("outside");
    for (n, name) in ["a.jpg.part", ".incoming/b", "~c.tmp"].iter().enumerate() {
        let temporary = scene.laptop.put(name, &small(n as u64));
        fs::rename(temporary, folder.join(format!("{n}.jpg"))).unwrap();
    }
    fs::write(&outside, small(3)).unwrap();
    fs::rename(outside, folder.join("3.jpg")).unwrap();
    scene.holds_exactly(&(0..4).map(small).collect::<Vec<_>>()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn preallocated_and_then_filled() {
    let scene = Scene::new().await;
    let bytes = small(5);
    // Samba and copying programs give a file its full size first: its size never changes again.
    let mut file = scene.create("filled.jpg");
    file.set_len(bytes.len() as u64).unwrap();
    stall().await;
    let half = bytes.len() / 2;
    file.write_all(&bytes[..half]).unwrap();
    file.sync_data().unwrap();
    stall().await;
    file.write_all(&bytes[half..]).unwrap();
    drop(file);
    scene.holds_exactly(&[bytes]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filled_from_its_end() {
    let scene = Scene::new().await;
    let bytes = small(6);
    let mut file = scene.create("backwards.jpg");
    let half = bytes.len() / 2;
    file.seek(SeekFrom::Start(half as u64)).unwrap();
    file.write_all(&bytes[half..]).unwrap();
    file.sync_data().unwrap();
    stall().await;
    file.rewind().unwrap();
    file.write_all(&bytes[..half]).unwrap();
    drop(file);
    scene.holds_exactly(&[bytes]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_and_rewritten_in_place() {
    let mut scene = Scene::new().await;
    scene.laptop.put("a.jpg", &small(7));
    scene.watch.wait_for("uploaded", 1).await;
    let after = small(8);
    let mut file = scene.create("a.jpg");
    stall().await;
    file.write_all(&after[..after.len() / 2]).unwrap();
    file.sync_data().unwrap();
    stall().await;
    file.write_all(&after[after.len() / 2..]).unwrap();
    drop(file);
    scene.holds_exactly(&[small(7), after]).await;
}

/// The same picture with a rating, as cataloguing programs write it into the file.
fn rated(photo: &[u8], rating: u8) -> Vec<u8> {
    let packet = format!(
        "http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF \
         xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'><rdf:Description \
         xmlns:xmp='http://ns.adobe.com/xap/1.0/' xmp:Rating='{rating}'/></rdf:RDF></x:xmpmeta>"
    );
    let length = u16::try_from(packet.len() + 2).unwrap().to_be_bytes();
    [&photo[..2], &[0xFF, 0xE1], &length, packet.as_bytes(), &photo[2..]].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rating_written_into_it_after_it_was_sent() {
    let mut scene = Scene::new().await;
    let path = scene.laptop.put("a.jpg", &small(9));
    scene.watch.wait_for("uploaded", 1).await;
    for rating in [3, 5] {
        fs::write(&path, rated(&small(9), rating)).unwrap();
        scene.watch.wait_for("skipped", 1).await;
    }
    scene.laptop.put("after.jpg", &small(10));
    let run = scene.holds_exactly(&[small(9), small(10)]).await;
    assert_eq!(run.word(&path), "skipped:metadata-only");
}

#[tokio::test(flavor = "multi_thread")]
async fn hard_links() {
    let mut scene = Scene::new().await;
    let folder = scene.laptop.photos();
    // A further name of a photo that is known, and one that comes into the folder by its link alone.
    let first = scene.laptop.put("a.jpg", &small(11));
    scene.watch.wait_for("uploaded", 1).await;
    fs::hard_link(&first, folder.join("again.jpg")).unwrap();
    let line = scene.watch.wait_for("duplicate", 1).await;
    assert!(line["path"].as_str().unwrap().ends_with("again.jpg"), "{line}");
    let outside = scene.laptop.place("outside.jpg");
    fs::write(&outside, small(12)).unwrap();
    fs::hard_link(&outside, folder.join("linked.jpg")).unwrap();
    fs::remove_file(outside).unwrap();
    scene.holds_exactly(&[small(11), small(12)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sparse_file() {
    let scene = Scene::new().await;
    let mut bytes = small(13);
    let mut file = scene.create("sparse.jpg");
    // A hole behind the picture, and something behind the hole.
    file.write_all(&bytes).unwrap();
    file.seek(SeekFrom::Start(3_000_000)).unwrap();
    file.write_all(b"end").unwrap();
    drop(file);
    bytes.resize(3_000_000, 0);
    bytes.extend(b"end");
    scene.holds_exactly(&[bytes]).await;
}

fn age(path: &Path, seconds: u64) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_keep_their_times() {
    let mut scene = Scene::new().await;
    let folder = scene.laptop.photos();
    // As `cp -p` does, and as a folder that is moved in.
    age(&scene.laptop.put("copied.jpg", &small(14)), 86_400);
    let outside = scene.laptop.place("card");
    fs::create_dir(&outside).unwrap();
    for n in 15..18 {
        let path = outside.join(format!("{n}.jpg"));
        fs::write(&path, small(n)).unwrap();
        age(&path, 40 * 86_400);
    }
    fs::rename(outside, folder.join("card")).unwrap();
    scene.watch.wait_for("uploaded", 4).await;
    // Another photo under a known name, of the same length and time, moved over it.
    let (old, mut new) = (of_size(18, 64), of_size(19, 64));
    new.truncate(old.len());
    let (path, aside) = (scene.laptop.put("same.jpg", &old), scene.laptop.place("aside"));
    age(&path, 3600);
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    scene.watch.wait_for("uploaded", 5).await;
    fs::write(&aside, &new).unwrap();
    File::options().write(true).open(&aside).unwrap().set_modified(time).unwrap();
    assert_eq!(fs::metadata(&aside).unwrap().len(), fs::metadata(&path).unwrap().len());
    fs::rename(aside, path).unwrap();
    let contents: Vec<_> = (14..18).map(small).chain([old, new]).collect();
    scene.holds_exactly(&contents).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_before_it_was_read() {
    let mut scene = Scene::new().await;
    let mut kept = Vec::new();
    for n in 20..40 {
        let path = scene.laptop.put(format!("{n}.jpg"), &small(n)[..2000]);
        fs::remove_file(path).unwrap();
        kept.push(small(100 + n));
        scene.laptop.put(format!("kept-{n}.jpg"), &small(100 + n));
    }
    scene.watch.wait_for("uploaded", kept.len()).await;
    scene.watch.wait_for("idle", 2).await;
    scene.ends_with(&kept).await;
}
