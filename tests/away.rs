//! The server away, at the start and in the middle; and the exit code of each way to end.

use findme_common::{PhotographerToken, Secret};

use crate::support::photos::{of_size, small};
use crate::support::{Event, Laptop, PATIENCE, Server};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_later_gets_everything() {
    let mut server = Server::start().await;
    let event = server.create_event("party");
    server.kill();
    let laptop = Laptop::new();
    let contents: Vec<_> = (0..6).map(small).collect();
    for (n, bytes) in contents.iter().enumerate() {
        laptop.put(format!("DSC_{n}.jpg"), bytes);
    }
    let mut watch = laptop.start(laptop.for_event(&event));
    watch.wait_for("found", 6).await;
    // A photo taken meanwhile is found too; nothing is given up.
    laptop.put("later.jpg", &small(6));
    watch.wait_for("found", 7).await;
    assert!(watch.is_running());
    assert_eq!(watch.said("failed") + watch.said("uploaded") + watch.said("idle"), 0);
    server.run().await;
    watch.wait_for("idle", 1).await;
    assert_eq!(watch.said("uploaded"), 7);
    event.assert_holds_exactly(&(0..7).map(small).collect::<Vec<_>>()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_in_the_middle_loses_nothing() {
    let mut server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let contents: Vec<_> = (0..40).map(|n| of_size(n, 400)).collect();
    for (n, bytes) in contents.iter().enumerate() {
        laptop.put(format!("DSC_{n}.jpg"), bytes);
    }
    let mut watch = laptop.start(laptop.for_event(&event));
    watch.wait_for("uploaded", 5).await;
    server.kill();
    let before = watch.said("uploaded");
    assert!(before < 40, "the server died too late to show anything");
    laptop.put("meanwhile.jpg", &small(99));
    watch.wait_for("found", 41).await;
    assert!(watch.is_running());
    server.run().await;
    watch.wait_for("idle", 1).await;
    assert_eq!((watch.said("uploaded"), watch.said("failed")), (41, 0));
    let mut all = contents;
    all.push(small(99));
    event.assert_holds_exactly(&all).await;
    server.assert_no_faults();
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_4_when_nobody_answers_and_the_next_run_goes_on() {
    let mut server = Server::start().await;
    let event = server.create_event("party");
    server.kill();
    let laptop = Laptop::new();
    laptop.put("a.jpg", &small(1));
    let mut command = laptop.for_event(&event);
    command.args(["--once", "--give-up", "2"]);
    let run = laptop.start(command).end().await;
    run.assert_exit(4);
    assert_eq!((run.total("uploaded"), run.total("left"), run.total("failed")), (0, 1, 0));
    assert!(run.complaints.contains("no answer"), "one clear line: {}", run.complaints);
    server.run().await;
    let again = laptop.once(&event).await;
    again.assert_exit(0);
    assert_eq!(again.said("uploaded"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_5_when_the_token_is_refused() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let wrong = PhotographerToken { event: event.id, secret: Secret::random().unwrap() }.reveal();
    let stranger = Event::new(server.url(), wrong.clone(), event.join.clone());
    let laptop = Laptop::new();
    laptop.put("a.jpg", &small(1));
    // Also without --once: waiting would help nobody.
    let run = laptop.start(laptop.for_event(&stranger)).end().await;
    run.assert_exit(5);
    assert!(run.complaints.contains("token"), "{}", run.complaints);
    assert!(!run.complaints.contains(&wrong), "a token was printed");
    assert!(event.names().await.is_empty());
    laptop.once(&event).await.assert_exit(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_6_when_the_manifest_is_damaged_and_nothing_is_touched() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    laptop.put("a.jpg", &small(1));
    laptop.once(&event).await.assert_exit(0);
    let file = laptop.manifest_file(&event);
    let good = std::fs::read(&file).unwrap();
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    laptop.put("b.jpg", &small(2));
    for damaged in [b"".to_vec(), b"{}".to_vec(), good[..good.len() / 2].to_vec(), flipped] {
        std::fs::write(&file, &damaged).unwrap();
        let run = laptop.once(&event).await;
        run.assert_exit(6);
        assert!(run.complaints.contains("manifest"), "{}", run.complaints);
        assert_eq!(std::fs::read(&file).unwrap(), damaged, "a damaged manifest was changed");
    }
    assert_eq!(event.names().await.len(), 1, "something was sent without a manifest");
    std::fs::write(&file, &good).unwrap();
    let run = laptop.once(&event).await;
    run.assert_exit(0);
    assert_eq!((run.total("known"), run.said("uploaded")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_11_while_another_process_has_the_manifest() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    laptop.put("a.jpg", &small(1));
    let mut first = laptop.start(laptop.for_event(&event));
    first.wait_for("idle", 1).await;
    let second = laptop.once(&event).await;
    second.assert_exit(11);
    assert!(first.is_running());
    // A lock dies with its process, however that ends.
    first.kill();
    laptop.once(&event).await.assert_exit(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_2_for_options_that_make_no_sense() {
    let laptop = Laptop::new();
    let photos = laptop.photos();
    let folder = photos.to_str().unwrap();
    let token =
        PhotographerToken { event: findme_common::EventId::random().unwrap(), secret: Secret::random().unwrap() };
    for (arguments, way_out) in [
        (vec![folder], "--server"),
        (vec!["--server", "http://127.0.0.1:9", "/there/is/no/such/folder"], "no such folder"),
        (vec!["--server", "photos.example", folder], "photos.example"),
        (vec!["--no-such-option", folder], "--no-such-option"),
        (vec![], "Usage"),
    ] {
        let mut command = laptop.command(&[]);
        command.env("FINDME_TOKEN", token.reveal()).args(&arguments);
        let run = laptop.start_and_end_silently(command).await;
        assert_eq!(run.exit, 2, "{arguments:?}: {}", run.complaints);
        assert!(run.complaints.contains(way_out), "{arguments:?}: {}", run.complaints);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_130_when_interrupted_with_work_outstanding() {
    let mut server = Server::start().await;
    let event = server.create_event("party");
    server.kill();
    let laptop = Laptop::new();
    laptop.put("a.jpg", &small(1));
    let mut watch = laptop.start(laptop.for_event(&event));
    watch.wait_for("found", 1).await;
    // The first Ctrl-C finishes what is being sent; a second one, should it take long, parks it.
    watch.interrupt();
    let asked = std::time::Instant::now();
    while watch.is_running() && asked.elapsed() < PATIENCE {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        if watch.is_running() {
            watch.interrupt();
        }
    }
    let run = watch.end().await;
    run.assert_exit(130);
    assert_eq!(run.total("left"), 1);
    server.run().await;
    let again = laptop.once(&event).await;
    again.assert_exit(0);
    event.assert_holds_exactly(&[small(1)]).await;
}
