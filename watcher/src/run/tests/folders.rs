//! What lies in the folders, what comes and goes there, and that it stays as it was.

use std::fs::{self, File};
use std::io::Write;

use findme_common::manifest::{FailReason, FileState, SkipReason};

use super::*;

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
