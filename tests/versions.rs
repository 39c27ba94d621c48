//! Versions of a shot, with the two real programs: what guests see after edits, exports, undoing, and formatted cards.

use findme_common::Digest;
use findme_common::PhotoId;
use findme_common::protocol::PhotoItem;

use crate::support::photos::{Taken, taken};
use crate::support::{Event, Laptop, Server, wait_for};

/// Names of the photos that guests see, in order.
async fn shown(event: &Event) -> Vec<String> {
    event.rest().await;
    let mut names: Vec<_> = event.guest().await.all_photos().await.into_iter().map(|photo| photo.name).collect();
    names.sort();
    names
}

async fn item(event: &Event, bytes: &[u8]) -> PhotoItem {
    let id = PhotoId::of(event.id, &Digest::of(bytes));
    event.photos().await.into_iter().find(|photo| photo.id == id).expect("it is on the server")
}

/// Three exports of one shot and the shot itself.
fn shots() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let original = taken(1, Taken::camera("42"));
    let edit = taken(2, Taken { software: "Adobe Photoshop Lightroom Classic 13.2", ..Taken::camera("42") });
    let later = Taken { software: "GIMP 2.10", changed: "2026:06:21 10:00:00", ..Taken::camera("42") };
    (original, edit, taken(3, later))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_replaces_its_original_whichever_is_seen_first() {
    for original_first in [true, false] {
        let server = Server::start().await;
        let event = server.create_event("party");
        let laptop = Laptop::new();
        let (original, edit, _) = shots();
        let files = [("card/DSC_1.JPG", &original), ("export/party-17.jpg", &edit)];
        for n in if original_first { [0, 1] } else { [1, 0] } {
            let (name, bytes) = files[n];
            laptop.put(name, bytes);
            laptop.once(&event).await.assert_exit(0);
        }
        assert_eq!(shown(&event).await, ["party-17.jpg"], "original first: {original_first}");
        let of_edit = PhotoId::of(event.id, &Digest::of(&edit));
        assert_eq!(item(&event, &original).await.replaced_by, Some(of_edit));
        assert_eq!(item(&event, &edit).await.replaced_by, None);
        event.assert_holds_exactly(&[original, edit]).await;
        // Nothing is left to say, and nothing is said again.
        let manifest = laptop.manifest(&event);
        let told: Vec<_> = manifest.photos.iter().filter_map(|photo| photo.replaces).map(|of| of.told).collect();
        assert_eq!(told, [true]);
        laptop.once(&event).await.assert_exit(0);
        assert_eq!(shown(&event).await, ["party-17.jpg"]);
        server.assert_no_faults();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_in_place_is_shown_and_undoing_it_shows_the_original_again() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let (original, edit, later) = shots();
    let mut watch = laptop.start(laptop.for_event(&event));
    let guest = event.guest().await;
    for bytes in [&original, &edit, &later, &original, &edit, &original] {
        laptop.put("DSC_1.JPG", bytes);
        wait_for("guests to see this version alone", async || {
            let photos = guest.all_photos().await;
            let ids: Vec<_> = photos.iter().map(|photo| photo.id).collect();
            (ids == [PhotoId::of(event.id, &Digest::of(bytes))]).then_some(())
        })
        .await;
    }
    assert_eq!(watch.said("uploaded"), 3, "each version once");
    assert!(watch.is_running());
    watch.kill();
    event.assert_holds_exactly(&[original, edit, later]).await;
    server.assert_no_faults();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_formatted_card_a_burst_and_a_photo_without_a_serial_number_are_photos_of_their_own() {
    let server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    laptop.put("DSC_1.JPG", &taken(1, Taken::camera("42")));
    laptop.once(&event).await.assert_exit(0);
    // The card was formatted and its counter begins anew.
    laptop.put("DSC_1.JPG", &taken(2, Taken { at: "2026:06:20 19:00:00", ..Taken::camera("42") }));
    // Two frames of a burst with equal sub-seconds, and an edit of one of them.
    laptop.put("DSC_2.JPG", &taken(3, Taken::camera("77")));
    laptop.put("DSC_3.JPG", &taken(4, Taken::camera("77")));
    laptop.put("export/best.jpg", &taken(5, Taken { software: "darktable 4.6", ..Taken::camera("77") }));
    laptop.once(&event).await.assert_exit(0);
    for (name, number) in [("a.jpg", 6), ("b.jpg", 7)] {
        laptop.put(name, &taken(number, Taken { serial: "", software: "GIMP", ..Taken::camera("42") }));
    }
    laptop.once(&event).await.assert_exit(0);
    assert_eq!(shown(&event).await, ["DSC_1.JPG", "DSC_1.JPG", "DSC_2.JPG", "DSC_3.JPG", "a.jpg", "b.jpg", "best.jpg"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_could_not_be_told_is_told_by_the_next_run() {
    let mut server = Server::start().await;
    let event = server.create_event("party");
    let laptop = Laptop::new();
    let (original, edit, _) = shots();
    laptop.put("export/x.jpg", &edit);
    laptop.once(&event).await.assert_exit(0);
    server.kill();
    laptop.put("DSC_1.JPG", &original);
    let mut command = laptop.for_event(&event);
    command.args(["--once", "--give-up", "1"]);
    laptop.start(command).end().await.assert_exit(4);
    server.run().await;
    laptop.once(&event).await.assert_exit(0);
    assert_eq!(shown(&event).await, ["x.jpg"]);
}
