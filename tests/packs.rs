//! Another face pack: photos are indexed again in the background, and who enrolled before is found all the while.

use std::collections::BTreeSet;

use findme_common::protocol::header;
use reqwest::{Method, StatusCode};

use crate::support::server::command;
use crate::support::{Event, Server, asset, wait_for, workspace};

async fn send(event: &Event, bytes: Vec<u8>) {
    let request = event.request(Method::POST, "/api/uploads").header(header::UPLOAD_LENGTH, bytes.len());
    let request = request.header("content-type", "application/offset+octet-stream");
    assert_eq!(request.body(bytes).send().await.unwrap().status(), StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_are_found_while_the_pack_changes_and_afterwards() {
    let (Some(people), Some(models)) = (asset("photos/people"), asset("models")) else { return };
    let photo = |name: &str| std::fs::read(people.join(name)).unwrap();
    let models = models.to_str().unwrap();
    let mut server = Server::start_with(&["--models", models]).await;
    let event = server.create_event("party");
    for name in ["obama/obama.jpg", "obama/obama3.jpg", "biden/biden.jpg"] {
        send(&event, photo(name)).await;
    }
    assert_eq!(event.rest().await.indexed, 3);
    let early = event.guest().await;
    let found: BTreeSet<_> =
        early.selfie(photo("obama/obama2.jpg")).await.unwrap().you.iter().map(|hit| hit.photo).collect();
    assert_eq!(found.len(), 2);
    server.kill();

    // A pack of the operator's own: the same networks under another name, which their vectors may not know of.
    let file = server.data().join("mine.toml");
    let known = std::fs::read_to_string(workspace().join("server/models.toml")).unwrap();
    let first: Vec<_> = known.split("[[pack]]").take(2).collect();
    let mine = first
        .join("[[pack]]")
        .replace("name = \"yunet-retail\"", "name = \"mine\"")
        .replace("default = true", "non_commercial = true");
    std::fs::write(&file, mine).unwrap();
    let file = file.to_str().unwrap();
    let refused = command().args(["serve", "--pack", file, "--models", models, "--data"]).arg(server.data()).output();
    let said = String::from_utf8(refused.unwrap().stderr).unwrap();
    assert!(said.contains("--accept-non-commercial"), "{said}");

    let options = ["--models", models, "--pack", file, "--accept-non-commercial"];
    let mut server = Server::idle(&options).with_data(&server.data());
    server.run().await;
    let (event, early) = (Event::new(server.url(), event.token, event.join), early.at(&server.url()));
    let mine = async || {
        let held = early.held().await;
        held.matches.iter().map(|hit| hit.photo).collect::<BTreeSet<_>>()
    };
    assert_eq!(mine().await, found, "before anything was indexed again");
    wait_for("the photos to be indexed again", async || {
        assert_eq!(mine().await, found, "meanwhile");
        (event.counts().await.runnable == 0).then_some(())
    })
    .await;
    assert_eq!(mine().await, found, "afterwards");
    // Whoever comes now is found with the new pack, in old photos and in new ones.
    send(&event, photo("obama/obama-1080p.jpg")).await;
    assert_eq!(event.rest().await.indexed, 4);
    let late = event.guest().await.selfie(photo("obama/obama2.jpg")).await.unwrap();
    assert_eq!(late.you.len(), 3);
    assert_eq!(early.selfie(photo("obama/obama2.jpg")).await.unwrap().you.len(), 3, "a new selfie, and they are too");
    server.assert_no_faults();
}
