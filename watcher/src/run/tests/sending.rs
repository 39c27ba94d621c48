//! What is sent is there once, whatever is cut, lost or killed.

use std::collections::HashSet;
use std::fs;

use super::*;

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
async fn damage_on_the_way_is_sent_again() {
    let scene = Scene::new().await;
    scene.put("a.jpg", &photo(1));
    scene.server.faults(|faults| faults.damage = 1);
    assert_eq!(scene.once(&[]).await, Ok(Exit::Done));
    assert_eq!(scene.server.copies(&photo(1)), 1);
}
