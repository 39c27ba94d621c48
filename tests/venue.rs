//! `--serve`: one command on the photographer's laptop is watcher and server, and guests find themselves on it.

use std::path::Path;
use std::process::Command;

use findme_common::protocol::Code;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::support::photos::small;
use crate::support::{Event, Laptop, Watch, asset};

/// The command of a venue on this laptop.
pub(crate) fn venue(laptop: &Laptop, models: Option<&Path>) -> Command {
    let mut command = laptop.command(&[]);
    command.args(["--serve", "--listen", "127.0.0.1:0", "--output", "json"]).arg(laptop.photos());
    if let Some(models) = models {
        command.arg("--models").arg(models);
    }
    command
}

/// What the first line says.
pub(crate) async fn serving(watch: &mut Watch) -> Event {
    let line = watch.wait_for("serving", 1).await;
    assert_eq!(watch.lines()[0], line, "`serving` is the first line");
    let text = |key: &str| line[key].as_str().unwrap_or_else(|| panic!("{key} in {line}")).to_owned();
    assert!(text("operator_token").len() > 20);
    let (url, join) = (text("url"), text("join"));
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    let code = join.rsplit("/e/").next().unwrap().to_owned();
    Event::new(url, text("photographer_token"), code)
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_find_themselves_and_a_restart_finds_the_event() {
    let (Some(people), Some(models)) = (asset("photos/people"), asset("models")) else { return };
    let read = |name: &str| std::fs::read(people.join(name)).unwrap();
    let laptop = Laptop::new();
    laptop.put("obama.jpg", &read("obama/obama.jpg"));
    laptop.put("obama-1080p.jpg", &read("obama/obama-1080p.jpg"));
    laptop.put("biden.jpg", &read("biden/biden.jpg"));
    laptop.put("nobody.jpg", &small(1));
    let mut watch = laptop.start(venue(&laptop, Some(&models)));
    let event = serving(&mut watch).await;
    watch.wait_for("idle", 1).await;
    assert_eq!(watch.said("uploaded"), 4);
    assert!(!watch.complaints().contains("close the lid"), "on its own laptop nothing is safe");
    let counts = event.counts().await;
    assert_eq!((counts.indexed, counts.received, counts.failed), (4, 0, 0));

    let guest = event.guest().await;
    let problem = guest.request(Method::POST, "/api/selfie").header("content-type", "image/jpeg");
    let problem = problem.body(read("obama/obama2.jpg")).send().await.unwrap();
    assert_eq!(problem.status(), StatusCode::FORBIDDEN, "no search without consent");
    let nobody = guest.selfie(small(2)).await.unwrap_err();
    assert_eq!(nobody.code, Code::NoFace);
    let found = guest.selfie(read("obama/obama2.jpg")).await.unwrap();
    let names = |ids: Vec<_>, photos: &[findme_common::protocol::PhotoItem]| -> Vec<String> {
        ids.iter().map(|id| photos.iter().find(|photo| photo.id == *id).unwrap().name.clone()).collect()
    };
    let photos = event.photos().await;
    let mut you = names(found.you.iter().map(|hit| hit.photo).collect(), &photos);
    you.sort();
    assert_eq!(you, ["obama-1080p.jpg", "obama.jpg"], "{found:?}");
    assert_eq!(guest.held().await.enrolments, 1);
    for suffix in ["", "/preview", "/thumb"] {
        let answer = guest.get(&format!("/api/photo/{}{suffix}", found.you[0].photo)).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(answer.headers()["cache-control"].to_str().unwrap().contains("immutable"));
    }

    // A photo that is taken now is found without a further selfie.
    laptop.put("later.jpg", &read("obama/obama3.jpg"));
    watch.wait_for("uploaded", 5).await;
    event.rest().await;
    assert_eq!(mine(&guest).await, 3);

    watch.interrupt();
    watch.end().await.assert_exit(0);
    let mut again = laptop.start(venue(&laptop, Some(&models)));
    let same = serving(&mut again).await;
    assert_eq!((same.id, &same.token, &same.join), (event.id, &event.token, &event.join));
    again.wait_for("idle", 1).await;
    assert_eq!(again.said("uploaded"), 0, "{:#?}", again.lines());
    // The guest's phone, on the port that the restarted venue has.
    let guest = guest.at(&same.url);
    assert_eq!(mine(&guest).await, 3);
    let receipt: Value = guest.request(Method::DELETE, "/api/selfie").send().await.unwrap().json().await.unwrap();
    assert_eq!(receipt["enrolments"], 1, "{receipt}");
    assert_eq!(mine(&guest).await, 0);
    assert_eq!(guest.held().await.enrolments, 0);
}

async fn mine(guest: &crate::support::Guest) -> usize {
    let list: findme_common::protocol::PhotoList = guest.get("/api/my-photos").await.json().await.unwrap();
    list.photos.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_models_photos_are_stored_and_shown_and_faces_wait() {
    let laptop = Laptop::new();
    for n in 0..3 {
        laptop.put(format!("DSC_{n}.jpg"), &small(n));
    }
    let mut watch = laptop.start(venue(&laptop, None));
    let event = serving(&mut watch).await;
    // Jobs that wait for models do not hold it up.
    watch.wait_for("idle", 1).await;
    let counts = event.counts().await;
    assert_eq!((counts.received, counts.indexed, counts.failed, counts.runnable), (3, 0, 0, 0));
    let guest = event.guest().await;
    let shown: findme_common::protocol::PhotoList = guest.get("/api/all-photos").await.json().await.unwrap();
    assert_eq!(shown.photos.len(), 3, "they are shown meanwhile");
    assert_eq!(guest.selfie(small(9)).await.unwrap_err().code, Code::FacesUnavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_folder_has_an_event_of_its_own() {
    let laptop = Laptop::new();
    laptop.put("a.jpg", &small(1));
    let mut first = laptop.start(venue(&laptop, None));
    let event = serving(&mut first).await;
    first.wait_for("idle", 1).await;
    first.interrupt();
    first.end().await.assert_exit(0);
    let other = laptop.place("another wedding");
    std::fs::create_dir(&other).unwrap();
    let mut command = laptop.command(&[]);
    command.args(["--serve", "--listen", "127.0.0.1:0", "--output", "json"]).arg(&other);
    let mut second = laptop.start(command);
    let line = second.wait_for("serving", 1).await;
    assert_eq!(line["event"], "another wedding");
    let second_event = serving(&mut second).await;
    assert_ne!(second_event.id, event.id);
    second.wait_for("idle", 1).await;
    assert!(second_event.names().await.is_empty());
}
