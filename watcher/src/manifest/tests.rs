//! The manifest on disk: what was recorded is there again, whatever was cut, damaged or interrupted.

use std::ffi::OsStr;

use findme_common::manifest::{self as published, FailReason, Pattern, Shot, SkipReason};

use super::*;
use crate::fingerprint::Fingerprint;
use crate::pixels::Pixels;
use crate::snapshot;

fn event() -> EventId {
    EventId::from_bytes([7; 16])
}

fn location(dir: &tempfile::TempDir) -> Location {
    Location::new(dir.path().join("m/manifest.json"))
}

fn open(dir: &tempfile::TempDir) -> Manifest {
    Manifest::open(location(dir), event()).unwrap()
}

fn file(n: u8, state: FileState) -> FileRecord {
    let fingerprint = Fingerprint { bytes: n.into(), mtime_ns: -5, inode: u64::MAX };
    FileRecord { fingerprint, racy: n == 1, state, seen: false }
}

fn images(n: u8) -> ImageKeys {
    Pixels::new(false).keys(n)
}

async fn receive(manifest: &Manifest, n: u8) {
    let digest = Digest::of(&[n]);
    manifest.put_file(Path::new(&format!("/p/{n}.jpg")), file(n, FileState::Photo { digest, duplicate: false }));
    manifest.put_received(digest, n.into(), PhotoId::from_bytes([n; 16])).wait().await.unwrap();
}

fn received(manifest: &Manifest) -> Vec<u8> {
    let is = |n: &u8| {
        let photo = manifest.photo(&Digest::of(&[*n]));
        matches!(photo, Some(PhotoRecord { state: PhotoState::Received { .. }, .. }))
    };
    (0..=255).filter(is).collect()
}

fn files(dir: &tempfile::TempDir) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = dir.path().join("m");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

fn put_back(files: &[(PathBuf, Vec<u8>)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("m")).unwrap();
    for (path, bytes) in files {
        fs::write(dir.path().join("m").join(path.file_name().unwrap()), bytes).unwrap();
    }
    dir
}

#[tokio::test]
async fn what_was_recorded_is_there_again_with_and_without_a_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = open(&dir);
    receive(&manifest, 1).await;
    let upload = PhotoState::Announced { upload: Some("/api/uploads/x".into()) };
    let shot = Shot {
        key: ShotKey::of("1", "2", "3"),
        long: 3,
        short: 2,
        raw: false,
        edited: true,
        made: -4,
        name: "a b".into(),
    };
    let look = Look { pattern: Pattern::of(&[[1, 2, 3, 4, 5, 4, 3, 2, 1]; 8]), made: -3 };
    let announced = PhotoRecord {
        bytes: 2,
        image: Some(images(1).now),
        shot: Some(Box::new(shot.clone())),
        replaces: Some(Replaces { photo: Digest::of(b"a"), told: false }),
        preview: Some(PreviewState::Received { at_ms: 7 }),
        look: Some(look),
        state: upload,
    };
    manifest.put_photo(Digest::of(b"b"), announced.clone()).wait().await.unwrap();
    manifest.put_file(Path::new("/p/t.jpg"), file(3, FileState::Failed(FailReason::Truncated)));
    manifest.compact().unwrap();
    receive(&manifest, 4).await;
    manifest.put_file(Path::new("/p/e.jpg"), file(5, FileState::Skipped(SkipReason::Empty)));
    drop(manifest);
    let manifest = open(&dir);
    assert_eq!(received(&manifest), [1, 4]);
    assert_eq!(manifest.photo(&Digest::of(b"b")), Some(announced));
    let state = |path: &str| manifest.file(Path::new(path)).unwrap();
    assert_eq!(state("/p/t.jpg"), file(3, FileState::Failed(FailReason::Truncated)));
    assert_eq!(state("/p/e.jpg"), file(5, FileState::Skipped(SkipReason::Empty)));
    assert!(state("/p/1.jpg").racy);
    let image = images(1);
    assert_eq!(manifest.known_image(&image), None, "it is announced only");
    manifest.put_received(Digest::of(b"b"), 2, PhotoId::from_bytes([2; 16])).wait().await.unwrap();
    assert_eq!(manifest.known_image(&image), Some(image.now));
    drop(manifest);
    let manifest = open(&dir);
    assert_eq!(manifest.known_image(&image), Some(image.now));
    assert!(!manifest.has_earlier_images());
    assert_eq!(manifest.with_image(&image.now), Some(Digest::of(b"b")));
    assert_eq!(manifest.untold(), [Digest::of(b"b")]);
    assert_eq!(manifest.of_shot(shot.key).len(), 1);
    assert!(manifest.of_shot(ShotKey::FIRST).is_empty());
    assert_eq!(manifest.similar(&Look { made: 4, ..look }), Some(Digest::of(b"b")));
    assert_eq!(manifest.similar(&Look { made: 40, ..look }), None);
}

/// Manifests as earlier programs left them, snapshot and journal.
#[tokio::test]
async fn the_manifests_of_earlier_programs_are_read_and_go_on() {
    let of_2 = [&include_bytes!("fixtures/2.manifest.json")[..], include_bytes!("fixtures/2.manifest.journal")];
    let of_3 = [&include_bytes!("fixtures/3.manifest.json")[..], include_bytes!("fixtures/3.manifest.journal")];
    let of_4 = [&include_bytes!("fixtures/4.manifest.json")[..], include_bytes!("fixtures/4.manifest.journal")];
    for (version, [snapshot, journal]) in [(2, of_2), (3, of_3), (4, of_4)] {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("m")).unwrap();
        fs::write(dir.path().join("m/manifest.json"), snapshot).unwrap();
        fs::write(dir.path().join("m/manifest.journal"), journal).unwrap();
        let manifest = open(&dir);
        assert_eq!(received(&manifest), [1, 4]);
        let earlier = Some(ImageKey::sha256(&Digest::of(b"i")));
        assert!(manifest.has_earlier_images());
        assert_eq!(manifest.known_image(&ImageKeys { earlier, ..images(1) }), earlier);
        assert_eq!(manifest.known_image(&images(1)), None);
        assert!(matches!(manifest.file(Path::new("/p/e.jpg")).unwrap().state, FileState::Skipped(SkipReason::Empty)));
        let shots = {
            let state = manifest.state();
            let records: Vec<_> = state.photos.iter().map(|(_, kept)| kept.record()).collect();
            let count = |is_it: fn(&PhotoRecord) -> bool| records.iter().filter(|record| is_it(record)).count();
            (count(|record| record.shot.is_some()), count(|record| record.preview.is_some()))
        };
        assert_eq!(shots, if version == 2 { (0, 0) } else { (1, 1) });
        receive(&manifest, 9).await;
        manifest.compact().unwrap();
        drop(manifest);
        let snapshot = fs::read_to_string(dir.path().join("m/manifest.json")).unwrap();
        assert!(snapshot.starts_with(&format!("{{\"schema\":{},", published::SCHEMA)));
        assert_eq!(received(&open(&dir)), [1, 4, 9]);
    }
}

#[tokio::test]
async fn what_was_said_the_other_way_round_is_not_said_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = open(&dir);
    receive(&manifest, 1).await;
    receive(&manifest, 2).await;
    let (one, two) = (Digest::of(&[1]), Digest::of(&[2]));
    manifest.put_replaces(two, one);
    manifest.put_replaces(one, two);
    assert_eq!(manifest.untold(), [one]);
    manifest.put_told(one, Digest::of(b"another")).wait().await.unwrap();
    assert_eq!(manifest.untold(), [one], "something else was told meanwhile");
    manifest.put_told(one, two).wait().await.unwrap();
    assert!(manifest.untold().is_empty());
    manifest.put_replaces(two, one);
    assert_eq!(manifest.untold(), [two], "done again: to be told again");
}

#[tokio::test]
async fn the_snapshot_is_what_the_schema_says_and_the_journal_empty_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = open(&dir);
    for n in 0..5 {
        receive(&manifest, n).await;
    }
    manifest.put_file(Path::new("/p/e.jpg"), file(5, FileState::Skipped(SkipReason::NotAPhoto)));
    #[cfg(unix)]
    {
        let odd = <OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"/p/\xff.jpg");
        manifest.put_file(Path::new(odd), file(6, FileState::Failed(FailReason::CannotBeRead)));
    }
    manifest.compact().unwrap();
    let snapshot = fs::read(dir.path().join("m/manifest.json")).unwrap();
    let snapshot: serde_json::Value = serde_json::from_slice(&snapshot).unwrap();
    let schema = serde_json::from_str(&published::schema_json()).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let errors: Vec<_> = validator.iter_errors(&snapshot).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(snapshot["photos"].as_array().unwrap().len(), 5);
    assert_eq!(fs::metadata(dir.path().join("m/manifest.journal")).unwrap().len(), 0);
    assert!(dir.path().join("m/manifest.previous.json").exists());
}

#[tokio::test]
async fn every_cut_of_the_journal_opens_and_later_lines_follow() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = open(&dir);
    for n in 0..3 {
        receive(&manifest, n).await;
    }
    drop(manifest);
    let files = files(&dir);
    let journal = files.iter().position(|(path, _)| path.ends_with("manifest.journal")).unwrap();
    for cut in (0..=files[journal].1.len()).step_by(7) {
        let mut cut_files = files.clone();
        cut_files[journal].1.truncate(cut);
        let dir = put_back(&cut_files);
        let manifest = open(&dir);
        let before = received(&manifest);
        assert!(before == (0..before.len() as u8).collect::<Vec<_>>(), "cut at {cut}");
        receive(&manifest, 9).await;
        drop(manifest);
        assert_eq!(received(&open(&dir)), [before, vec![9]].concat(), "cut at {cut}");
    }
}

#[tokio::test]
async fn damage_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = open(&dir);
    for n in 0..3 {
        receive(&manifest, n).await;
    }
    manifest.compact().unwrap();
    receive(&manifest, 3).await;
    receive(&manifest, 4).await;
    drop(manifest);
    let whole = files(&dir);
    let refused = |name: &str, damage: &dyn Fn(&mut Vec<u8>)| {
        let mut damaged = whole.clone();
        damage(&mut damaged.iter_mut().find(|(path, _)| path.ends_with(name)).unwrap().1);
        let dir = put_back(&damaged);
        let error = Manifest::open(location(&dir), event()).unwrap_err();
        assert!(matches!(error, OpenError::Unreadable { .. }), "{name}: {error}");
        let after = files(&dir);
        assert!(after.iter().zip(&damaged).all(|(a, b)| a.1 == b.1), "{name} was changed");
    };
    refused("manifest.json", &|bytes| bytes.truncate(100));
    refused("manifest.json", &|bytes| bytes.clear());
    refused("manifest.json", &|bytes| bytes[200] ^= 1);
    refused("manifest.journal", &|bytes| bytes[20] ^= 1);
    refused("manifest.journal", &|bytes| drop(bytes.drain(..10)));
    let missing = |name: &str| {
        let left: Vec<_> = whole.iter().filter(|(path, _)| !path.ends_with(name)).cloned().collect();
        let dir = put_back(&left);
        let error = Manifest::open(location(&dir), event()).unwrap_err();
        assert!(matches!(error, OpenError::Unreadable { .. }), "{name}: {error}");
    };
    missing("manifest.json");
    missing("manifest.journal");
}

#[tokio::test]
async fn every_crash_of_a_compaction_leaves_everything() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = open(&dir);
    receive(&manifest, 0).await;
    manifest.compact().unwrap();
    receive(&manifest, 1).await;
    let before = files(&dir);
    // The steps of `compact`, one after the other; a crash may come after any of them.
    let mut crashes = vec![before];
    {
        let mut state = manifest.state();
        state.generation += 1;
        snapshot::write(&manifest.location.temp(), &state).unwrap();
        crashes.push(files(&dir));
        // A snapshot that was half written lies under another name.
        let mut half = files(&dir);
        half.iter_mut().filter(|(path, _)| path.ends_with("manifest.json.tmp")).for_each(|f| f.1.truncate(50));
        crashes.push(half);
        prepare_snapshot(&manifest.location, &state).unwrap();
        crashes.push(files(&dir));
        place_snapshot(&manifest.location).unwrap();
        crashes.push(files(&dir));
    }
    manifest.journal.as_ref().unwrap().reset().unwrap();
    crashes.push(files(&dir));
    for (n, crash) in crashes.iter().enumerate() {
        let dir = put_back(crash);
        let manifest = open(&dir);
        assert_eq!(received(&manifest), [0, 1], "crash {n}");
        receive(&manifest, 2).await;
        drop(manifest);
        assert_eq!(received(&open(&dir)), [0, 1, 2], "after crash {n}");
    }
}

#[tokio::test]
async fn a_crash_at_the_very_beginning_begins_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("m")).unwrap();
    File::create(location(&dir).lock()).unwrap();
    File::create(location(&dir).journal()).unwrap();
    fs::write(location(&dir).temp(), b"{\"schema\":1,").unwrap();
    let manifest = open(&dir);
    receive(&manifest, 1).await;
    assert_eq!(received(&manifest), [1]);
}

#[test]
fn one_process_per_manifest_and_one_event() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = open(&dir);
    assert!(matches!(Manifest::open(location(&dir), event()), Err(OpenError::InUse(_))));
    drop(manifest);
    let other = EventId::from_bytes([8; 16]);
    assert!(matches!(Manifest::open(location(&dir), other), Err(OpenError::OtherEvent { .. })));
    drop(open(&dir));
}

#[tokio::test]
async fn looking_takes_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = open(&dir);
    receive(&manifest, 1).await;
    let before = files(&dir);
    let peeked = Manifest::peek(location(&dir), event()).unwrap();
    assert_eq!(received(&peeked), [1]);
    receive(&peeked, 2).await;
    peeked.compact().unwrap();
    assert_eq!(files(&dir), before);
}
