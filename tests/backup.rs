//! A drill: backups while photos come in, then the server is lost and a backup is brought back. And what `support` says.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;

use findme_common::Digest;

use crate::support::photos::of_size;
use crate::support::server::command;
use crate::support::{Laptop, Server, asset, say, wait_for};

fn run(arguments: &[&str], data: &Path) -> Output {
    command().args(arguments).arg("--data").arg(data).output().unwrap()
}

fn ok(arguments: &[&str], data: &Path) -> String {
    let output = run(arguments, data);
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_before_a_backup_began_comes_back() {
    let mut server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let contents: Vec<_> = (0..60).map(|n| of_size(n, 30 + (n as usize * 37) % 300)).collect();
    let place = tempfile::tempdir().unwrap();
    let (backup, restored) = (place.path().join("backup"), place.path().join("restored"));
    let dir = backup.to_str().unwrap();
    let mut watch = laptop.start(laptop.for_event(&event));
    // Photos come in while backups are made, one after another into the same folder.
    let mut before = BTreeSet::new();
    for (round, some) in contents.chunks(20).enumerate() {
        for (n, bytes) in some.iter().enumerate() {
            laptop.put(format!("DSC_{round}{n:03}.JPG"), bytes);
        }
        let enough = round * 20 + 3;
        wait_for("photos to arrive", async || (event.names().await.len() >= enough).then_some(())).await;
        before = event.names().await.iter().map(|name| name.digest).collect();
        ok(&["backup", dir], &server.data());
        ok(&["check"], &server.data());
    }
    watch.kill();
    server.kill();
    // The machine is gone; what is left is the backup.
    ok(&["restore", dir], &restored);
    assert!(!run(&["restore", dir], &restored).status.success(), "a restore over data");
    let mut again = Server::idle(&["--faces", "off"]).with_data(&restored);
    again.run().await;
    let there = event.through(&again.url());
    let names = there.names().await;
    let held: BTreeSet<_> = names.iter().map(|name| name.digest).collect();
    assert!(held.is_superset(&before), "{} of {} that were acknowledged before", held.len(), before.len());
    let kept: Vec<_> = contents.iter().filter(|bytes| held.contains(&Digest::of(bytes))).cloned().collect();
    there.assert_holds_exactly(&kept).await;
    there.rest().await;
    ok(&["check"], &restored);
    // The watcher, asked to prove it, brings the rest: nothing is lost, nothing is there twice.
    say(&format!("backup: {} photos acknowledged before the last one began, {} in it", before.len(), held.len()));
    again.assert_no_faults();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_broken_off_is_recognised_and_a_deleted_photo_leaves() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    for n in 0..3 {
        laptop.put(format!("{n}.jpg"), &of_size(n, 30));
    }
    laptop.once(&event).await.assert_exit(0);
    event.rest().await;
    let place = tempfile::tempdir().unwrap();
    let (backup, restored) = (place.path().join("backup"), place.path().join("restored"));
    let dir = backup.to_str().unwrap();
    ok(&["backup", dir], &server.data());
    let photos = || std::fs::read_dir(backup.join("photos").join(event.id.to_simple())).unwrap().count();
    assert_eq!(photos(), 3);
    let gone = event.names().await[0].id;
    event.request(reqwest::Method::DELETE, &format!("/api/photo/{gone}")).send().await.unwrap();
    ok(&["backup", dir], &server.data());
    assert_eq!(photos(), 2, "a deleted photo lives on in the backup");
    let catalogues = std::fs::read_dir(&backup)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("catalogue-"));
    assert_eq!(catalogues.count(), 1);
    std::fs::remove_file(backup.join("backup.json")).unwrap();
    let refused = run(&["restore", dir], &restored);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no complete backup"), "{refused:?}");
    assert!(!restored.join("findme.sqlite").exists());
    // A folder with something else in it is nobody's backup.
    let other = place.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("thesis.doc"), b"mine").unwrap();
    assert!(!run(&["backup", other.to_str().unwrap()], &server.data()).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_are_found_again_after_a_restore() {
    let (Some(people), Some(models)) = (asset("photos/people"), asset("models")) else { return };
    let read = |name: &str| std::fs::read(people.join(name)).unwrap();
    let mut server = Server::start_with_models(&models).await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    laptop.put("a.jpg", &read("obama/obama.jpg"));
    laptop.once(&event).await.assert_exit(0);
    event.rest().await;
    let guest = event.guest().await;
    assert_eq!(guest.selfie(read("obama/obama2.jpg")).await.unwrap().you.len(), 1);
    let place = tempfile::tempdir().unwrap();
    let (backup, restored) = (place.path().join("backup"), place.path().join("restored"));
    ok(&["backup", backup.to_str().unwrap()], &server.data());
    server.kill();
    ok(&["restore", backup.to_str().unwrap()], &restored);
    let mut again = Server::idle(&["--models", models.to_str().unwrap()]).with_data(&restored);
    again.run().await;
    let event = event.through(&again.url());
    event.rest().await;
    // The session lives on; the face must be shown again.
    let guest = guest.at(&again.url());
    assert_eq!(guest.selfie(read("obama/obama2.jpg")).await.unwrap().you.len(), 1);
    let mine: findme_common::protocol::PhotoList = guest.get("/api/my-photos").await.json().await.unwrap();
    assert_eq!(mine.photos.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_to_helpers_names_nobody() {
    let server = Server::start().await;
    let event = server.create_event("Anna's and Ben's wedding");
    let laptop = Laptop::new();
    let bytes = of_size(1, 30);
    laptop.put("secret-guest.jpg", &bytes);
    laptop.once(&event).await.assert_exit(0);
    event.rest().await;
    let output = run(&["support"], &server.data());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let facts: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(facts["photos"]["count"], 1);
    assert_eq!(facts["events"][0]["counts"]["indexed"], 1);
    let name = &event.names().await[0];
    let secrets = [
        "Anna".to_owned(),
        "secret-guest".to_owned(),
        event.token.clone(),
        event.token.rsplit('.').next().unwrap().to_owned(),
        event.join.clone(),
        event.id.to_string(),
        event.id.to_simple(),
        name.id.to_string(),
        name.digest.to_string(),
        server.data().display().to_string(),
    ];
    for secret in secrets {
        assert!(!text.contains(&secret), "{secret} is in what is sent to helpers");
    }
}
