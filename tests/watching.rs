//! Nothing is overlooked: new folders, thousands of folders, too few watches, a card that comes and goes, a laptop that
//! slept. And nothing outside of the folders is looked at.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::disks;
use crate::support::photos::small;
use crate::support::{Laptop, Server, not_tested, signal, wait_for, wait_within};

/// Shorter than the minute after which everything is listed anyway.
const BEFORE_THE_RESCAN: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread")]
async fn folders_that_appear_with_all_their_photos_at_once() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let mut watch = laptop.start(laptop.for_event(&event));
    watch.wait_for("idle", 1).await;
    // A tethering program's session folder, and one that is moved in, folders below it included.
    for n in 0..300 {
        laptop.put(format!("session/{n}.jpg"), &small(n));
    }
    let outside = laptop.place("card");
    for n in 300..350 {
        let folder = outside.join(format!("DCIM/{}", n % 5));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{n}.jpg")), small(n)).unwrap();
    }
    fs::rename(outside, laptop.photos().join("card")).unwrap();
    wait_within(BEFORE_THE_RESCAN, "all of them", async || (watch.said("uploaded") == 350).then_some(())).await;
    event.assert_holds_exactly(&(0..350).map(small).collect::<Vec<_>>()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_folders_and_none_outside() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    for n in 0..3000 {
        fs::create_dir_all(laptop.photos().join(format!("{}/{n}", n % 50))).unwrap();
    }
    let private = laptop.place("private");
    fs::create_dir(&private).unwrap();
    fs::write(private.join("mine.jpg"), small(99)).unwrap();
    // Out of the tree, round in a circle, and to nowhere.
    for (from, to) in [(&*private, "linked"), (&*laptop.photos(), "circle"), (Path::new("/nowhere"), "broken.jpg")] {
        std::os::unix::fs::symlink(from, laptop.photos().join(to)).unwrap();
    }
    let mut watch = laptop.start(laptop.for_event(&event));
    watch.wait_for("idle", 1).await;
    for n in [0, 1499, 2999] {
        laptop.put(format!("{}/{n}/new.jpg", n % 50), &small(n));
    }
    fs::write(private.join("later.jpg"), small(98)).unwrap();
    wait_within(BEFORE_THE_RESCAN, "the new ones", async || (watch.said("uploaded") == 3).then_some(())).await;
    // A link that takes the place of a folder that was watched leads nowhere either.
    fs::remove_dir(laptop.photos().join("7/7")).unwrap();
    std::os::unix::fs::symlink(&private, laptop.photos().join("7/7")).unwrap();
    laptop.put("8/8/last.jpg", &small(8));
    watch.wait_for("uploaded", 4).await;
    watch.interrupt();
    watch.end().await.assert_exit(0);
    event.assert_holds_exactly(&[0, 1499, 2999, 8].map(small)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_that_the_system_drops_are_made_up_for() {
    let said = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").ok();
    let Some(most) = said.and_then(|most| most.trim().parse::<u64>().ok()) else {
        return not_tested("lost notifications: this system does not say how many may wait");
    };
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    laptop.put("first.jpg", &small(1));
    let mut watch = laptop.start(laptop.for_event(&event));
    watch.wait_for("idle", 1).await;
    // Nobody fetches them, until there are too many; those of the photos are not among them any more.
    signal("STOP", watch.pid());
    let noise = laptop.photos().join(".noise");
    for _ in 0..=most / 2 {
        fs::File::create(&noise).unwrap();
        fs::remove_file(&noise).unwrap();
    }
    (2..12).for_each(|n| drop(laptop.put(format!("{n}.jpg"), &small(n))));
    laptop.put("new/12.jpg", &small(12));
    signal("CONT", watch.pid());
    wait_within(BEFORE_THE_RESCAN, "all of them", async || (watch.said("uploaded") == 12).then_some(())).await;
    watch.interrupt();
    watch.end().await.assert_exit(0);
    event.assert_holds_exactly(&(1..13).map(small).collect::<Vec<_>>()).await;
}

/// A watcher in a namespace of its own in which the system allows less. `None` where that is forbidden.
fn with_limit(laptop: &Laptop, limit: &str) -> Option<Command> {
    let script = format!("{limit} && exec \"$0\" \"$@\"");
    let wrapper = ["unshare", "--user", "--map-root-user", "sh", "-c", &script];
    let may = Command::new(wrapper[0]).args(&wrapper[1..]).arg("true").output();
    if may.is_ok_and(|tried| tried.status.success()) {
        return Some(laptop.command(&wrapper));
    }
    not_tested("watch limits: this user may make no namespaces");
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_watches_are_said_with_the_way_out_and_nothing_is_lost() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let Some(mut command) = with_limit(&laptop, "echo 20 > /proc/sys/user/max_inotify_watches") else { return };
    (0..8).for_each(|n| fs::create_dir(laptop.photos().join(n.to_string())).unwrap());
    laptop.add_event(&mut command, &event);
    let mut watch = laptop.start(command);
    watch.wait_for("idle", 1).await;
    laptop.put("3/a.jpg", &small(1));
    watch.wait_for("uploaded", 1).await;
    assert!(!watch.complaints().contains("sysctl"), "nine of twenty are few enough: {}", watch.complaints());
    // More than half: said before it gets tight. Too many, in the middle: it goes on without.
    (8..12).for_each(|n| fs::create_dir(laptop.photos().join(n.to_string())).unwrap());
    let said = async |what: &str| {
        wait_for(what, async || watch.complaints().contains(what).then_some(())).await;
    };
    said("before it gets tight: sudo sysctl user.max_inotify_watches=524288").await;
    (12..40).for_each(|n| fs::create_dir(laptop.photos().join(n.to_string())).unwrap());
    said("allows no more watches (20; raise it with: sudo sysctl user.max_inotify_watches=524288); looking every 2 s")
        .await;
    laptop.put("0/b.jpg", &small(2));
    laptop.put("39/c.jpg", &small(3));
    watch.wait_for("uploaded", 3).await;
    watch.interrupt();
    watch.end().await.assert_exit(0);
    event.assert_holds_exactly(&[1, 2, 3].map(small)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_lets_nobody_watch_is_polled() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let Some(mut command) = with_limit(&laptop, "echo 0 > /proc/sys/user/max_inotify_instances") else { return };
    laptop.add_event(&mut command, &event);
    let mut watch = laptop.start(command);
    watch.wait_for("idle", 1).await;
    let said = watch.complaints();
    assert!(said.contains("(0; raise it with: sudo sysctl user.max_inotify_instances=512)"), "{said}");
    laptop.put("new/a.jpg", &small(1));
    watch.wait_for("uploaded", 1).await;
}

/// One that preloads the library that lies about the time; `None` where it is missing.
fn library_of_lies() -> Option<String> {
    let found = Command::new("sh").args(["-c", "ls /usr/lib/*/faketime/libfaketime.so.1"]).output().ok()?;
    let path = String::from_utf8(found.stdout).ok()?.lines().next().map(str::to_owned);
    if path.is_none() {
        not_tested("a clock that jumps: faketime is not installed");
    }
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_sleep_the_folders_are_looked_through() {
    let Some(library) = library_of_lies() else { return };
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let clock = laptop.place("clock");
    fs::write(&clock, "+0").unwrap();
    let mut command = laptop.for_event(&event);
    command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", &clock).env("FAKETIME_NO_CACHE", "1");
    // Only the clock on the wall goes on while a laptop sleeps.
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").args(["--poll", "86400"]);
    let mut watch = laptop.start(command);
    watch.wait_for("idle", 1).await;
    laptop.put("meanwhile.jpg", &small(1));
    fs::write(&clock, "+7200").unwrap();
    watch.wait_for("uploaded", 1).await;
    assert!(watch.complaints().contains("slept or its clock was set"), "{}", watch.complaints());
    // Back again, as when the network corrects it.
    laptop.put("later.jpg", &small(2));
    fs::write(&clock, "+0").unwrap();
    watch.wait_for("uploaded", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cards_that_come_and_go_at_one_place() {
    if !disks::possible() {
        return not_tested("cards: only root can mount");
    }
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let card = |name: &str, photos: std::ops::Range<u64>| {
        let folder = laptop.place(name).join("DCIM/100CANON");
        fs::create_dir_all(&folder).unwrap();
        // The same names on both, as after formatting.
        photos.clone().for_each(|n| fs::write(folder.join(format!("IMG_{}.jpg", n - photos.start)), small(n)).unwrap());
        laptop.place(name)
    };
    let (first, second) = (card("first", 0..5), card("second", 10..15));
    let reader = laptop.photos();
    let mounted = disks::Mount::new(&reader, &["--bind"], &first);
    let mut watch = laptop.start(laptop.for_event(&event));
    watch.wait_for("uploaded", 5).await;
    for (n, next) in [&second, &first].into_iter().enumerate() {
        let said = watch.complaints().matches("is another one now").count();
        disks::shell("umount", &[reader.to_str().unwrap()]);
        wait_for("the empty place to be noticed", async || {
            (watch.complaints().matches("is another one now").count() > said).then_some(())
        })
        .await;
        fs::write(next.join(format!("DCIM/100CANON/late-{n}.jpg")), small(100 + n as u64)).unwrap();
        disks::shell("mount", &["--bind", next.to_str().unwrap(), reader.to_str().unwrap()]);
        watch.wait_for("uploaded", 5 + 6 * (1 - n) + 7 * n).await;
    }
    // Notifications work again on the card that came back.
    laptop.put("DCIM/100CANON/now.jpg", &small(200));
    watch.wait_for("uploaded", 13).await;
    watch.interrupt();
    let run = watch.end().await;
    run.assert_exit(0);
    assert_eq!(run.total("failed"), 0);
    let all: Vec<_> = (0..5).chain(10..15).chain([100, 101, 200]).map(small).collect();
    event.assert_holds_exactly(&all).await;
    drop(mounted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_removed_and_comes_back_needs_no_restart() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    laptop.put("a.jpg", &small(1));
    let mut watch = laptop.start(laptop.for_event(&event));
    watch.wait_for("uploaded", 1).await;
    fs::remove_dir_all(laptop.photos()).unwrap();
    wait_for("a word about it", async || watch.complaints().contains("is not there; waiting").then_some(())).await;
    assert!(watch.is_running());
    laptop.put("a.jpg", &small(1));
    laptop.put("b/b.jpg", &small(2));
    watch.wait_for("uploaded", 2).await;
    assert!(watch.complaints().contains("is there again"), "{}", watch.complaints());
    laptop.put("b/c.jpg", &small(3));
    watch.wait_for("uploaded", 3).await;
    watch.interrupt();
    watch.end().await.assert_exit(0);
    event.assert_holds_exactly(&[1, 2, 3].map(small)).await;
}
