//! What the server says, and who else may answer.

use findme_common::Digest;
use findme_common::manifest::{FailReason, FileState, PhotoState, SkipReason};

use super::*;

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
async fn it_waits_until_the_server_is_at_rest() {
    let scene = Scene::new().await;
    scene.put("a.jpg", &photo(1));
    scene.server.faults(|faults| faults.jobs = 3);
    assert_eq!(scene.once(&[]).await, Ok(Exit::Done));
    assert!(scene.server.requests("GET list") >= 4);
}
