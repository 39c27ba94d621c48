//! The manifest alone prevents duplicates: against a server that names every upload at random and compares nothing, each
//! content is completed once, whatever the server and the line do.

use std::time::Duration;

use crate::support::photos::{of_size, small};
use crate::support::stand_in::{Mood, StandIn};
use crate::support::{Laptop, Random, chaos, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn one_manifest_is_enough_for_copies_renames_and_reruns() {
    let server = StandIn::start().await;
    let event = server.event();
    let laptop = Laptop::new();
    let contents: Vec<_> = (0..10).map(small).collect();
    for (n, bytes) in contents.iter().enumerate() {
        laptop.put(format!("DSC_{n}.jpg"), bytes);
        laptop.put(format!("copies/{n}.jpg"), bytes);
    }
    let run = laptop.once(&event).await;
    run.assert_exit(0);
    assert_eq!((run.said("uploaded"), run.said("duplicate")), (10, 10));
    for n in 0..10 {
        std::fs::rename(laptop.photos().join(format!("DSC_{n}.jpg")), laptop.photos().join(format!("renamed {n}.jpg")))
            .unwrap();
    }
    // Content that comes back after all its files had gone is known too.
    std::fs::remove_dir_all(laptop.photos().join("copies")).unwrap();
    laptop.once(&event).await.assert_exit(0);
    laptop.put("restored/0.jpg", &contents[0]);
    laptop.once(&event).await.assert_exit(0);
    server.assert_holds_each_once(&contents);
    assert_eq!(server.created(), 10, "uploads were created for known contents");
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_and_a_bad_line_complete_nothing_twice() {
    let mut random = Random::seeded("stand-in");
    let server = StandIn::start().await;
    let line = chaos::Line::bad(server.url().to_owned(), Random::new(random.next()), 5).await;
    let event = server.event();
    let laptop = Laptop::new();
    let contents: Vec<_> = (0..60).map(|n| of_size(n, 20 + (n as usize * 53) % 400)).collect();
    for (n, bytes) in contents.iter().enumerate() {
        laptop.put(format!("DSC_{n}.jpg"), bytes);
        if n % 4 == 0 {
            laptop.put(format!("copies/{n}.jpg"), bytes);
        }
    }
    let through_line = event.through(&line.url());
    for kill in 0..5 {
        let mut watch = laptop.start(laptop.for_event(&through_line));
        let share = contents.len() * kill / 6;
        wait_for("progress over the bad line", async || {
            assert!(watch.is_running(), "it ended by itself: {}", watch.complaints());
            (server.completed().len() >= share).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_micros(random.between(0, 60_000))).await;
        watch.kill();
    }
    assert!(line.cuts() > 0, "the line was good");
    laptop.once(&event).await.assert_exit(0);
    server.assert_holds_each_once(&contents);
    let again = laptop.once(&event).await;
    again.assert_exit(0);
    assert_eq!(again.said("uploaded"), 0);
    server.assert_holds_each_once(&contents);
    let manifest = laptop.manifest(&event);
    assert_eq!(manifest.photos.len(), contents.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_page_is_no_server() {
    let server = StandIn::start().await;
    let event = server.event();
    let laptop = Laptop::new();
    let contents: Vec<_> = (0..5).map(small).collect();
    for (n, bytes) in contents.iter().enumerate() {
        laptop.put(format!("DSC_{n}.jpg"), bytes);
    }
    server.mood(Mood::Portal);
    let mut watch = laptop.start(laptop.for_event(&event));
    server.refused(4).await;
    assert!(watch.is_running());
    assert_eq!(watch.said("uploaded") + watch.said("failed") + watch.said("idle"), 0, "{:#?}", watch.lines());
    server.mood(Mood::Good);
    watch.wait_for("idle", 1).await;
    // In the middle of a run as well.
    server.mood(Mood::Portal);
    let seen = server.refusals();
    laptop.put("later.jpg", &small(5));
    server.refused(seen + 2).await;
    assert_eq!(watch.said("uploaded"), 5);
    server.mood(Mood::Good);
    watch.wait_for("uploaded", 6).await;
    assert_eq!(watch.said("failed"), 0);
    server.assert_holds_each_once(&(0..6).map(small).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_waited_out() {
    let server = StandIn::start().await;
    let event = server.event();
    let laptop = Laptop::new();
    laptop.put("a.jpg", &small(1));
    server.mood(Mood::Full);
    let mut watch = laptop.start(laptop.for_event(&event));
    server.refused(2).await;
    assert!(watch.is_running());
    assert_eq!(watch.said("failed"), 0);
    let said = watch.complaints();
    assert!(said.contains("the server's disk is full") && said.contains("trying again"), "{said}");
    server.mood(Mood::Good);
    watch.wait_for("idle", 1).await;
    server.assert_holds_each_once(&[small(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn success_without_a_receipt_is_none() {
    let server = StandIn::start().await;
    let event = server.event();
    let laptop = Laptop::new();
    laptop.put("a.jpg", &small(1));
    server.mood(Mood::NoReceipt);
    let mut watch = laptop.start(laptop.for_event(&event));
    server.refused(6).await;
    assert_eq!(watch.said("uploaded"), 0, "{:#?}", watch.lines());
    server.mood(Mood::Good);
    watch.wait_for("uploaded", 1).await;
    server.assert_holds_each_once(&[small(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_for_other_bytes_is_a_failure_with_its_name() {
    let server = StandIn::start().await;
    let event = server.event();
    let laptop = Laptop::new();
    let path = laptop.put("a.jpg", &small(1));
    server.mood(Mood::WrongReceipt);
    let run = laptop.once(&event).await;
    run.assert_exit(3);
    assert_eq!(run.word(&path), "failed:receipt-differs");
}
