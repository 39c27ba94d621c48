//! The whole watcher against a server that names every upload at random: whatever is cut, lost, renamed or killed, each
//! content is there once, and each file has its word.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Parser;
use findme_common::Digest;
use findme_common::manifest::{self as published, FailReason, FileState, PhotoState, SkipReason};

use std::io::Write;

use super::*;
use crate::format::tests::jpeg;
use crate::stand_in::StandIn;

const TOKEN: &str = "fmp.00112233445566778899aabbccddeeff.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A folder to watch, a data folder, and a server.
struct Scene {
    server: StandIn,
    folder: tempfile::TempDir,
    data: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { server: StandIn::start().await, folder, data: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    /// Writes a file that was finished long ago.
    fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(7200)).unwrap();
    }

    fn config(&self, more: &[&str]) -> Config {
        let server = format!("http://{}", self.server.address);
        let folder = self.folder.path().to_str().unwrap();
        let mut args = vec!["findme-watch", folder, "--output", "quiet", "--settle", "20", "--server", &server];
        args.extend(["--data", self.data.path().to_str().unwrap()]);
        args.extend(more);
        let mut config = Config::for_test(crate::Cli::try_parse_from(args).unwrap().watch, TOKEN);
        config.patience.hard = config.patience.hard.min(Duration::from_secs(1));
        config
    }

    async fn once(&self, more: &[&str]) -> Result<Exit, (Exit, String)> {
        let (_wish, shutdown) = watch::channel(Shutdown::Run);
        let config = self.config(&[&["--once"], more].concat());
        run(vec![config], shutdown).await
    }

    fn manifest(&self) -> published::Manifest {
        let path = self.data.path().join("events/00112233445566778899aabbccddeeff/manifest.json");
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    fn state(&self, name: &str) -> FileState {
        let path = self.path(name);
        let files = self.manifest().files;
        files.iter().find(|file| file.to_path().unwrap() == path).unwrap_or_else(|| panic!("{name}: no entry")).state
    }
}

/// Different photos of a few hundred kilobytes.
fn photo(n: u8) -> Vec<u8> {
    let mut bytes = jpeg(300_000 + usize::from(n));
    bytes.extend([n; 5]);
    bytes
}

fn sent(n: u8, duplicate: bool) -> FileState {
    FileState::Photo { digest: Digest::of(&photo(n)), duplicate }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("did not happen: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reruns_copies_renames_and_a_second_folder_send_nothing_twice() {
    let scene = Scene::new().await;
    (0..5).for_each(|n| scene.put(&format!("{n}.jpg"), &photo(n)));
    scene.put("copy of 0.jpg", &photo(0));
    assert_eq!(scene.once(&[]).await, Ok(Exit::Done));
    assert_eq!(scene.server.received().len(), 5);
    assert_eq!(scene.once(&[]).await, Ok(Exit::Done));
    fs::rename(scene.path("1.jpg"), scene.path("renamed.jpg")).unwrap();
    scene.put("below/2 again.jpg", &photo(2));
    let other = tempfile::tempdir().unwrap();
    (0..5).for_each(|n| fs::write(other.path().join(format!("x{n}.jpg")), photo(n)).unwrap());
    assert_eq!(scene.once(&[other.path().to_str().unwrap()]).await, Ok(Exit::Done));
    assert_eq!(scene.server.received().len(), 5);
    assert_eq!(scene.server.requests("POST"), 5);
    assert_eq!(scene.state("renamed.jpg"), sent(1, true));
    assert_eq!(scene.state("below/2 again.jpg"), sent(2, true));
    let of_zero = [scene.state("0.jpg"), scene.state("copy of 0.jpg")];
    assert!(of_zero.contains(&sent(0, false)) && of_zero.contains(&sent(0, true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_makes_no_second_photo() {
    let scene = Scene::new().await;
    (0..4).for_each(|n| scene.put(&format!("{n}.jpg"), &photo(n)));
    scene.server.faults(|faults| faults.lose_answers = 3);
    assert_eq!(scene.once(&[]).await, Ok(Exit::Done));
    (0..4).for_each(|n| assert_eq!(scene.server.copies(&photo(n)), 1, "photo {n}"));
    assert!(scene.server.requests("HEAD") >= 3, "the offset is asked for before anything is sent again");
    let mut patches = scene.server.inner().log.clone();
    patches.retain(|line| line.starts_with("PATCH"));
    let places: HashSet<_> = patches.iter().collect();
    assert_eq!(places.len(), patches.len(), "what had arrived was sent again: {patches:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_creation_leaves_an_empty_upload_and_no_photo() {
    let scene = Scene::new().await;
    scene.put("a.jpg", &photo(1));
    scene.server.faults(|faults| faults.lose_creations = 2);
    assert_eq!(scene.once(&[]).await, Ok(Exit::Done));
    assert_eq!(scene.server.copies(&photo(1)), 1);
    assert_eq!(scene.server.copies(&[]), 2, "orphans without a byte");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_upload_goes_on_where_it_was_cut() {
    let scene = Scene::new().await;
    scene.put("a.jpg", &photo(1));
    scene.server.faults(|faults| faults.cuts = vec![7, 100_000]);
    assert_eq!(scene.once(&[]).await, Ok(Exit::Done));
    assert_eq!(scene.server.copies(&photo(1)), 1);
    assert_eq!(scene.server.requests("POST"), 1);
    let log = scene.server.inner().log.clone();
    assert!(log.iter().any(|line| line.ends_with(" 100000")) && log.iter().any(|line| line.ends_with(" 100007")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_program_goes_on_with_the_same_upload() {
    let scene = Scene::new().await;
    (0..2).for_each(|n| scene.put(&format!("{n}.jpg"), &photo(n)));
    scene.server.faults(|faults| faults.hang = true);
    let (wish, shutdown) = watch::channel(Shutdown::Run);
    let running = tokio::spawn(run(vec![scene.config(&["--once"])], shutdown));
    until("both are stored, unanswered", || scene.server.received().len() == 2).await;
    wish.send(Shutdown::Drain).unwrap();
    wish.send(Shutdown::Park).unwrap();
    assert_eq!(running.await.unwrap(), Ok(Exit::Interrupted));
    scene.server.faults(|faults| faults.hang = false);
    assert_eq!(scene.once(&[]).await, Ok(Exit::Done));
    assert_eq!(scene.server.requests("POST"), 2);
    assert_eq!(scene.server.received().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_stalls_is_asked_for_again() {
    let scene = Scene::new().await;
    scene.put("a.jpg", &photo(1));
    scene.server.faults(|faults| faults.hang = true);
    let mut config = scene.config(&["--once"]);
    config.manner.stall = Duration::from_millis(300);
    let (_wish, shutdown) = watch::channel(Shutdown::Run);
    // All bytes are there, and no answer ever comes: there is no limit for the whole, only for silence.
    assert_eq!(run(vec![config], shutdown).await, Ok(Exit::Done));
    assert_eq!((scene.server.copies(&photo(1)), scene.server.requests("PATCH")), (1, 1));
    assert!(scene.server.requests("HEAD") >= 1, "it asks before it sends again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_page_is_no_receipt() {
    let scene = Scene::new().await;
    scene.put("a.jpg", &photo(1));
    scene.server.faults(|faults| faults.portal = true);
    assert_eq!(scene.once(&["--give-up", "1"]).await.unwrap_err().0, Exit::NoAnswer);
    assert!(matches!(scene.manifest().photos[0].state, PhotoState::Announced { .. }));
    scene.server.faults(|faults| faults.portal = false);
    let (_wish, shutdown) = watch::channel(Shutdown::Run);
    let running = tokio::spawn(run(vec![scene.config(&["--once"])], shutdown));
    assert_eq!(running.await.unwrap(), Ok(Exit::Done));
    assert_eq!(scene.server.copies(&photo(1)), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_a_receipt_is_none() {
    let scene = Scene::new().await;
    scene.put("a.jpg", &photo(1));
    scene.server.faults(|faults| faults.no_receipts = true);
    let (_wish, shutdown) = watch::channel(Shutdown::Run);
    let running = tokio::spawn(run(vec![scene.config(&["--once"])], shutdown));
    until("it asks again", || scene.server.requests("HEAD") >= 2).await;
    assert!(!running.is_finished());
    scene.server.faults(|faults| faults.no_receipts = false);
    assert_eq!(running.await.unwrap(), Ok(Exit::Done));
    assert_eq!(scene.server.copies(&photo(1)), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_on_the_way_is_sent_again() {
    let scene = Scene::new().await;
    scene.put("a.jpg", &photo(1));
    scene.server.faults(|faults| faults.damage = 1);
    assert_eq!(scene.once(&[]).await, Ok(Exit::Done));
    assert_eq!(scene.server.copies(&photo(1)), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_photo_fails_with_its_reason_and_blocks_nobody() {
    let scene = Scene::new().await;
    (0..5).for_each(|n| scene.put(&format!("{n}.jpg"), &photo(n)));
    scene.server.faults(|faults| {
        faults.refuse.insert("0.jpg".into(), (413, "too-large"));
        faults.refuse.insert("1.jpg".into(), (415, "unsupported-media-type"));
        faults.refuse.insert("2.jpg".into(), (410, "photo-deleted"));
        faults.refuse.insert("3.jpg".into(), (422, "not-a-picture"));
    });
    assert_eq!(scene.once(&[]).await, Ok(Exit::SomeFailed));
    assert_eq!(scene.server.received(), ["4.jpg"]);
    let of = |n: u8| scene.manifest().photos.into_iter().find(|p| p.digest == Digest::of(&photo(n))).unwrap().state;
    assert_eq!(of(0), PhotoState::Refused(FailReason::TooLarge));
    assert_eq!(of(1), PhotoState::Refused(FailReason::UnsupportedMediaType));
    assert_eq!(of(3), PhotoState::Refused(FailReason::Rejected));
    assert_eq!(of(2), PhotoState::Deleted);
    assert_eq!(scene.state("2.jpg"), FileState::Skipped(SkipReason::DeletedOnServer));
    // What the photographer deleted stays deleted; what was refused is asked for once in each run.
    scene.server.faults(|faults| faults.refuse.clear());
    assert_eq!(scene.once(&[]).await, Ok(Exit::Done));
    assert_eq!(scene.server.received(), ["0.jpg", "1.jpg", "3.jpg", "4.jpg"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_or_full_server_is_waited_for() {
    for (status, code) in [(503, "busy"), (507, "insufficient-storage"), (429, "too-many-requests"), (500, "internal")]
    {
        let scene = Scene::new().await;
        (0..3).for_each(|n| scene.put(&format!("{n}.jpg"), &photo(n)));
        scene.server.faults(|faults| faults.refuse_all = Some((status, code, 4)));
        assert_eq!(scene.once(&[]).await, Ok(Exit::Done), "{status}");
        assert_eq!(scene.server.received().len(), 3, "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_ends_the_run() {
    let scene = Scene::new().await;
    scene.put("a.jpg", &photo(1));
    scene.server.faults(|faults| faults.refuse_all = Some((401, "token-refused", u32::MAX)));
    let (exit, line) = scene.once(&[]).await.unwrap_err();
    assert_eq!(exit, Exit::TokenRefused);
    assert!(line.contains("token") && !line.contains("AAAA"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_a_later_version_ends_the_run_and_nothing_is_sent() {
    let scene = Scene::new().await;
    scene.put("a.jpg", &photo(1));
    scene.server.faults(|faults| faults.protocol = Some(2));
    let (exit, line) = scene.once(&[]).await.unwrap_err();
    assert_eq!(exit, Exit::Fatal);
    assert!(line.contains("version 2") && line.contains("newer findme-watch"), "{line}");
    assert_eq!(scene.server.requests("PATCH"), 0);
    scene.server.faults(|faults| faults.protocol = Some(1));
    assert_eq!(scene.once(&[]).await, Ok(Exit::Done));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_another_exit() {
    let scene = Scene::new().await;
    scene.put("a.jpg", &photo(1));
    // A port that was free a moment ago.
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut config = scene.config(&["--once", "--give-up", "1"]);
    let token = TOKEN.parse().unwrap();
    config.destination =
        Destination::Server { url: Url::parse(&format!("http://{nobody}")).unwrap(), token, authority: None };
    let (_wish, shutdown) = watch::channel(Shutdown::Run);
    assert_eq!(run(vec![config], shutdown).await.unwrap_err().0, Exit::NoAnswer);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_file_ends_in_its_word() {
    let scene = Scene::new().await;
    scene.put("good.jpg", &photo(1));
    scene.put("text.jpg", b"this is no photo, whatever its name says");
    scene.put("empty.jpg", b"");
    scene.put("cut.jpg", &photo(2)[..1000]);
    scene.put("notes.txt", b"x");
    scene.put("raw.nef", b"II*\0\x08\0\0\0\0\0\0\0\0\0");
    scene.put("pair.nef", b"II*\0");
    scene.put("pair.jpg", &photo(3));
    let mut heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic\0\0\0\x20mdat".to_vec();
    heic.extend([5; 24]);
    scene.put("phone.heic", &heic);
    #[cfg(unix)]
    std::os::unix::fs::symlink(scene.path("good.jpg"), scene.path("link.jpg")).unwrap();
    assert_eq!(scene.once(&[]).await, Ok(Exit::SomeFailed));
    assert_eq!(scene.server.received(), ["good.jpg", "pair.jpg", "phone.heic"]);
    for (name, state) in [
        ("text.jpg", FileState::Skipped(SkipReason::NotAPhoto)),
        ("empty.jpg", FileState::Skipped(SkipReason::Empty)),
        ("cut.jpg", FileState::Failed(FailReason::Truncated)),
        ("notes.txt", FileState::Skipped(SkipReason::NotAPhoto)),
        ("raw.nef", FileState::Skipped(SkipReason::RawWithoutPreview)),
        ("pair.nef", FileState::Skipped(SkipReason::RawOfPair)),
        #[cfg(unix)]
        ("link.jpg", FileState::Skipped(SkipReason::Symlink)),
    ] {
        assert_eq!(scene.state(name), state, "{name}");
    }
    // The rest of a file that was cut comes later.
    scene.put("cut.jpg", &photo(2));
    assert_eq!(scene.once(&[]).await, Ok(Exit::Done));
    assert_eq!(scene.server.copies(&photo(2)), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_until_the_server_is_at_rest() {
    let scene = Scene::new().await;
    scene.put("a.jpg", &photo(1));
    scene.server.faults(|faults| faults.jobs = 3);
    assert_eq!(scene.once(&[]).await, Ok(Exit::Done));
    assert!(scene.server.requests("GET list") >= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_folder_sends_what_comes_and_ends_in_order() {
    let scene = Scene::new().await;
    scene.put("before.jpg", &photo(0));
    let (wish, shutdown) = watch::channel(Shutdown::Run);
    let running = tokio::spawn(run(vec![scene.config(&[])], shutdown));
    until("the first", || scene.server.received().len() == 1).await;
    // Written at once, under a temporary name first, and in a folder that was not there.
    fs::write(scene.path("direct.jpg"), photo(1)).unwrap();
    fs::write(scene.path("x.jpg.part"), photo(2)).unwrap();
    fs::rename(scene.path("x.jpg.part"), scene.path("renamed.jpg")).unwrap();
    fs::create_dir_all(scene.path("a/b/c")).unwrap();
    fs::write(scene.path("a/b/c/deep.jpg"), photo(3)).unwrap();
    until("all", || scene.server.received().len() == 4).await;
    // A slow writer: half of it, then the rest.
    let mut slow = File::create(scene.path("slow.jpg")).unwrap();
    slow.write_all(&photo(4)[..5000]).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(scene.server.received().len(), 4, "half a file was sent");
    slow.write_all(&photo(4)[5000..]).unwrap();
    drop(slow);
    until("the slow one", || scene.server.received().len() == 5).await;
    wish.send(Shutdown::Drain).unwrap();
    assert_eq!(running.await.unwrap(), Ok(Exit::Done));
    (0..5).for_each(|n| assert_eq!(scene.server.copies(&photo(n)), 1, "photo {n}"));
    let journal = scene.data.path().join("events/00112233445566778899aabbccddeeff/manifest.journal");
    assert_eq!(fs::metadata(journal).unwrap().len(), 0, "a clean exit leaves the journal empty");
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_finds_what_notifications_would() {
    let scene = Scene::new().await;
    let (wish, shutdown) = watch::channel(Shutdown::Run);
    let running = tokio::spawn(run(vec![scene.config(&["--poll", "1"])], shutdown));
    until("it is at rest", || scene.server.requests("GET list") > 0).await;
    fs::create_dir(scene.path("new")).unwrap();
    fs::write(scene.path("new/a.jpg"), photo(1)).unwrap();
    until("the photo", || scene.server.copies(&photo(1)) == 1).await;
    wish.send(Shutdown::Drain).unwrap();
    assert_eq!(running.await.unwrap(), Ok(Exit::Done));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_goes_away_and_comes_back_loses_nothing() {
    let scene = Scene::new().await;
    let (card, away) = (scene.path("card"), scene.path("away"));
    scene.put("card/DCIM/a.jpg", &photo(1));
    let (wish, shutdown) = watch::channel(Shutdown::Run);
    let mut config = scene.config(&[]);
    config.folders = vec![card.clone()];
    let running = tokio::spawn(run(vec![config], shutdown));
    until("the first", || scene.server.received().len() == 1).await;
    fs::rename(&card, &away).unwrap();
    fs::write(away.join("DCIM/b.jpg"), photo(2)).unwrap();
    // Long enough that the watcher has looked and found nothing there.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    fs::rename(&away, &card).unwrap();
    until("what was taken meanwhile", || scene.server.copies(&photo(2)) == 1).await;
    fs::write(card.join("DCIM/c.jpg"), photo(3)).unwrap();
    until("what comes after", || scene.server.copies(&photo(3)) == 1).await;
    wish.send(Shutdown::Drain).unwrap();
    assert_eq!(running.await.unwrap(), Ok(Exit::Done));
    assert_eq!(scene.server.requests("POST"), 3, "what was known was not sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_in_use_and_a_damaged_one_are_their_own_exits() {
    let scene = Scene::new().await;
    scene.put("a.jpg", &photo(1));
    assert_eq!(scene.once(&[]).await, Ok(Exit::Done));
    let folder = scene.data.path().join("events/00112233445566778899aabbccddeeff");
    let lock = File::open(folder.join("manifest.lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(scene.once(&[]).await.unwrap_err().0, Exit::ManifestInUse);
    drop(lock);
    fs::write(folder.join("manifest.json"), b"{}").unwrap();
    let (exit, line) = scene.once(&[]).await.unwrap_err();
    assert_eq!(exit, Exit::ManifestUnreadable);
    assert!(line.contains("manifest.json"), "{line}");
    assert_eq!(scene.server.requests("POST"), 1, "nothing was sent without knowing what is known");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_sends_and_records_nothing() {
    let scene = Scene::new().await;
    scene.put("a.jpg", &photo(1));
    assert_eq!(scene.once(&["--dry-run"]).await, Ok(Exit::Done));
    assert_eq!(scene.server.inner().log.len(), 0);
    assert!(fs::read_dir(scene.data.path()).unwrap().next().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_name_excludes_is_not_opened() {
    let scene = Scene::new().await;
    scene.put("keep/a.jpg", &photo(1));
    scene.put("rejects/b.jpg", &photo(2));
    scene.put("keep/c.nef", b"II*\0\x08\0\0\0\0\0");
    assert_eq!(scene.once(&["--exclude", "rejects/**", "--raw"]).await, Ok(Exit::Done));
    assert_eq!(scene.server.received(), ["a.jpg", "c.nef"]);
    assert_eq!(scene.state("rejects/b.jpg"), FileState::Skipped(SkipReason::Excluded));
}

/// Nothing in the watched folders is ever written, moved or deleted.
#[tokio::test(flavor = "multi_thread")]
async fn the_folder_is_as_it_was() {
    let scene = Scene::new().await;
    (0..3).for_each(|n| scene.put(&format!("d/{n}.jpg"), &photo(n)));
    let look = || {
        let mut all: Vec<_> = fs::read_dir(scene.path("d"))
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.path(), fs::read(entry.path()).unwrap(), entry.metadata().unwrap().modified().unwrap()))
            .collect();
        all.sort();
        all
    };
    let before = look();
    assert_eq!(scene.once(&[]).await, Ok(Exit::Done));
    assert!(before == look());
    assert_eq!(fs::read_dir(Path::new(scene.folder.path())).unwrap().count(), 1);
}
