//! Faces found and compared by Rekognition, over HTTP against a stand-in of the service (cargo feature `rekognition`):
//! what it is asked and how often, that nothing is lost in a storm, and that nothing is left of what was erased.

#[path = "rekognition/service.rs"]
mod service;
#[path = "rekognition/signature.rs"]
mod signature;
#[path = "rekognition/stripes.rs"]
mod stripes;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, Stdio};

use findme_common::PhotoId;
use findme_common::protocol::{Band, Code, ErasureReceipt, Held, PhotoList, header};
use findme_server::face::{Engine, default_pack};
use reqwest::{Method, StatusCode};
use service::{Busy, Eyes, Service};
use stripes::photo;

use crate::support::guest::client;
use crate::support::live::Listener;
use crate::support::{Event, Guest, Server, asset, wait_for};

/// A server that asks the service, not running yet.
fn idle(service: &Service, options: &[&str]) -> Server {
    let environment = service.environment();
    let rate: &[&str] = if options.contains(&"--rekognition-rate") { &[] } else { &["--rekognition-rate", "500"] };
    let options = [&["--faces", "rekognition"], rate, options].concat();
    Server::idle(&options).through(&environment.iter().map(String::as_str).collect::<Vec<_>>())
}

async fn start(service: &Service, options: &[&str]) -> Server {
    let mut server = idle(service, options);
    server.run().await;
    server
}

/// A worker process beside a server.
struct Worker(Child);

impl Worker {
    fn start(server: &Server, service: &Service, workers: &str) -> Self {
        let environment = service.environment();
        let mut command = Command::new(&environment[0]);
        command.args(&environment[1..]).arg(env!("CARGO_BIN_EXE_e2e-server"));
        command.args(["serve", "--role", "worker", "--faces", "rekognition", "--rekognition-rate", "500"]);
        command.args(["--workers", workers, "--data"]).arg(server.data()).stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Sends a photo; its id.
async fn send(event: &Event, bytes: Vec<u8>) -> PhotoId {
    let request = event.request(Method::POST, "/api/uploads").header(header::UPLOAD_LENGTH, bytes.len());
    let answer = request.header("content-type", "application/offset+octet-stream").body(bytes).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    answer.headers()[header::FINDME_PHOTO].to_str().unwrap().parse().unwrap()
}

/// Photos of a guest with their bands, as the list shows them.
async fn mine(guest: &Guest) -> BTreeMap<PhotoId, Band> {
    let list: PhotoList = guest.get("/api/my-photos?limit=1000").await.json().await.unwrap();
    list.photos.into_iter().map(|photo| (photo.id, photo.band.expect("it says how sure it is"))).collect()
}

async fn wait_until_mine(guest: &Guest, wanted: &BTreeMap<PhotoId, Band>) {
    wait_for("the guest to be shown these photos", async || (mine(guest).await == *wanted).then_some(())).await;
}

/// Waits until the service keeps faces under so many names, and nothing else is to be erased.
async fn wait_until_kept(service: &Service, faces: usize) {
    wait_for("the service to have erased the rest", async || (service.names().len() == faces).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_costs_one_call_and_the_collection_is_made_once() {
    let service = Service::start(Eyes::Stripes).await;
    let server = start(&service, &["--role", "web"]).await;
    let event = server.create_event("party");
    let mut photos = Vec::new();
    for n in 0..24 {
        let people: &[u8] = if n % 2 == 0 { &[0, 1] } else { &[2, 1] };
        photos.push(send(&event, photo(n, people)).await);
    }
    let _workers = ["3", "3", "2"].map(|workers| Worker::start(&server, &service, workers));
    assert_eq!(event.rest().await.indexed, 24);
    let calls = |of: &[(&str, u64)]| of.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect::<BTreeMap<_, _>>();
    assert_eq!(service.all_calls(), calls(&[("CreateCollection", 1), ("IndexFaces", 24)]));

    // A guest costs two, and looking at photos costs nothing.
    let guest = event.guest().await;
    let found = guest.selfie(photo(100, &[0])).await.unwrap();
    assert_eq!(found.you.len(), 12, "{found:?}");
    let wanted: BTreeMap<_, _> = photos.iter().step_by(2).map(|id| (*id, Band::You)).collect();
    for _ in 0..3 {
        assert_eq!(mine(&guest).await, wanted);
        let thumb = guest.get(&format!("/api/photo/{}/thumb", photos[0])).await;
        assert_eq!(thumb.status(), StatusCode::OK);
    }
    assert_eq!(service.all_calls(), calls(&[("CreateCollection", 1), ("IndexFaces", 25), ("SearchFaces", 1)]));
    service.assert_content();
    server.assert_no_faults();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_arrival_does_not_matter() {
    let service = Service::start(Eyes::Stripes).await;
    let server = start(&service, &[]).await;
    let event = server.create_event("party");
    let (twin, other) = stripes::TWINS;
    // One comes before the photos, one after them.
    let early = event.guest().await;
    assert!(early.selfie(photo(100, &[twin])).await.unwrap().you.is_empty());
    let mut listener = Listener::open(early.request(Method::GET, "/api/live"), None).await;
    let own = send(&event, photo(0, &[twin, 1])).await;
    let alike = send(&event, photo(1, &[other])).await;
    send(&event, photo(2, &[0, 1, 2, 3])).await;
    assert_eq!(event.rest().await.indexed, 3);
    let wanted = BTreeMap::from([(own, Band::You), (alike, Band::Maybe)]);
    assert_eq!(listener.wait_for("you").await.photo(), own.to_string(), "told without asking");
    assert_eq!(listener.wait_for("maybe").await.photo(), alike.to_string());
    wait_until_mine(&early, &wanted).await;
    let late = event.guest().await;
    late.selfie(photo(101, &[twin])).await.unwrap();
    assert_eq!(mine(&late).await, wanted);

    // Whom a selfie is of is asked, as everywhere.
    let two = late.selfie(photo(102, &[0, 1])).await.unwrap_err();
    assert_eq!((two.code, two.faces.map(|faces| faces.len())), (Code::ManyFaces, Some(2)));
    assert_eq!(late.selfie(photo(103, &[])).await.unwrap_err().code, Code::NoFace);
    // Faces that the service does not keep are counted, with its reasons.
    send(&event, photo(3, &[stripes::BLURRED, 1])).await;
    assert_eq!(event.rest().await.indexed, 4);
    let metrics = client().get(format!("{}/metrics", server.url())).bearer_auth(server.operator_token());
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    for line in ["findme_faces_total{outcome=\"unindexed-low-sharpness\"} 1", "findme_rekognition_cost_dollars_total "]
    {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    // Three selfies more were of no use, and nothing is kept of them: 8 faces of photos, 2 of guests.
    wait_until_kept(&service, 2 + 1 + 4 + 1 + 2).await;
    service.assert_content();
    server.assert_no_faults();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_budget_stops_it_and_more_money_goes_on() {
    let service = Service::start(Eyes::Stripes).await;
    let mut server = start(&service, &["--rekognition-budget", "0.005"]).await;
    let event = server.create_event("party");
    for n in 0..12 {
        send(&event, photo(n, &[0])).await;
    }
    let counts = event.rest().await;
    assert_eq!((counts.indexed, counts.received, counts.failed), (5, 7, 0), "{counts:?}");
    assert_eq!(service.calls("IndexFaces"), 5);
    let refused = event.guest().await.selfie(photo(100, &[0])).await.unwrap_err();
    assert_eq!(refused.code, Code::FacesUnavailable);
    server.kill();
    let mut server = idle(&service, &["--rekognition-budget", "1"]).with_data(&server.data());
    server.run().await;
    let event = Event::new(server.url(), event.token, event.join);
    wait_for("the rest to be indexed", async || (event.counts().await.indexed == 12).then_some(())).await;
    assert_eq!(service.calls("IndexFaces"), 12, "none of the first was asked for again");
    service.assert_content();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_throttles_loses_nothing_and_the_rate_is_kept() {
    let service = Service::start(Eyes::Stripes).await;
    service.is_busy(Busy::Share(60));
    let server = start(&service, &["--workers", "8", "--rekognition-rate", "20"]).await;
    let event = server.create_event("party");
    for n in 0..30 {
        send(&event, photo(n, &[0, 1])).await;
    }
    wait_for("the storm to be weathered", async || (event.counts().await.indexed == 30).then_some(())).await;
    assert!(service.throttled() > 20, "that was no storm: {}", service.throttled());
    assert_eq!((service.calls("CreateCollection"), service.calls("IndexFaces")), (1, 30));
    assert!(service.most_in_a_second("IndexFaces") <= 22, "{} in a second", service.most_in_a_second("IndexFaces"));
    service.is_busy(Busy::Never);
    wait_until_kept(&service, 60).await;
    let found = event.guest().await.selfie(photo(100, &[1])).await.unwrap();
    assert_eq!(found.you.len(), 30);
    service.assert_content();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_erased_here_is_erased_there() {
    let service = Service::start(Eyes::Stripes).await;
    let server = start(&service, &[]).await;
    let event = server.create_event("party");
    let mut photos = Vec::new();
    for n in 0..4 {
        photos.push(send(&event, photo(n, &[0, 1, n as u8 % 2 + 2])).await);
    }
    assert_eq!(event.rest().await.indexed, 4);
    let (guest, never) = (event.guest().await, event.guest().await);
    guest.selfie(photo(100, &[0])).await.unwrap();
    // Who agreed was told where the picture goes, and that is on record.
    let held: Held = guest.request(Method::GET, "/api/me").send().await.unwrap().json().await.unwrap();
    assert!(held.consents[0].text.ends_with("+2026-11-4"), "{held:?}");
    for page in ["/privacy", "/me"] {
        let text = guest.request(Method::GET, page).send().await.unwrap().text().await.unwrap();
        assert!(text.contains("Amazon Rekognition") && !text.contains("Nothing is sent to another company"), "{page}");
    }
    assert_eq!(service.names().len(), 13);

    // A new selfie takes the place of the old one; erasing oneself leaves none.
    guest.selfie(photo(101, &[0])).await.unwrap();
    wait_until_kept(&service, 13).await;
    let receipt: ErasureReceipt =
        guest.request(Method::DELETE, "/api/selfie").send().await.unwrap().json().await.unwrap();
    assert_eq!((receipt.enrolments, receipt.matches), (1, 4));
    wait_until_kept(&service, 12).await;

    // A photo that its photographer deletes, and one that is indexed again.
    event.request(Method::DELETE, &format!("/api/photo/{}", photos[0])).send().await.unwrap();
    wait_until_kept(&service, 9).await;
    assert!(!service.names().contains(&photos[0].to_simple()));
    let operate = |method: Method, path: &str| {
        client().request(method, format!("{}{path}", server.url())).bearer_auth(server.operator_token())
    };
    let again = format!("/api/admin/events/{}/reindex", event.id);
    operate(Method::POST, &again).json(&serde_json::json!({ "failed": false })).send().await.unwrap();
    event.rest().await;
    wait_until_kept(&service, 9).await;
    assert_eq!(service.calls("IndexFaces"), 4 + 2 + 3);

    // Never again: the faces that are there go at once, those that come are found by nobody.
    let request = never.request(Method::POST, "/api/never-match?consent=yes").header("content-type", "image/jpeg");
    let answer = request.body(photo(102, &[1])).send().await.unwrap();
    assert_eq!(answer.json::<serde_json::Value>().await.unwrap(), serde_json::json!({ "state": "active" }));
    wait_until_kept(&service, 7).await;
    let later = send(&event, photo(10, &[1, 2])).await;
    event.rest().await;
    let twin = event.guest().await;
    assert!(twin.selfie(photo(103, &[1])).await.unwrap().you.is_empty(), "a face that is never matched was found");
    let other = event.guest().await;
    let found: BTreeSet<_> = other.selfie(photo(104, &[2])).await.unwrap().you.iter().map(|hit| hit.photo).collect();
    assert!(found.contains(&later));

    // The whole event.
    let path = format!("/api/admin/events/{}", event.id);
    assert_eq!(operate(Method::DELETE, &path).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    wait_for("the collection to be erased", async || (service.collections() == 0).then_some(())).await;
    assert_eq!(service.calls("CreateCollection"), 1);
    service.assert_content();
    server.assert_no_faults();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_event_is_told_alike_by_both_engines() {
    let (Some(people), Some(models)) = (asset("photos/people"), asset("models")) else { return };
    let mut files = Vec::new();
    for folder in std::fs::read_dir(&people).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        let inside = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        files.extend(inside.filter(|path| path.extension().is_some_and(|end| end == "jpg")));
    }
    files.sort();
    // The service's scale is such that its bands begin where those of the local engine do, in an event of this size.
    let engine = Box::new(Engine::open(&models, default_pack()).unwrap());
    let bands = default_pack().thresholds.bands(files.len());
    let scale = [(-1.0, 0.0), (bands.maybe.get(), 80.0), (bands.you.get(), 95.0), (1.0, 100.0)];
    let service = Service::start(Eyes::Models { engine, scale }).await;
    let servers = [Server::start_with(&["--models", models.to_str().unwrap()]).await, start(&service, &[]).await];
    let mut told = Vec::new();
    for server in &servers {
        let event = server.create_event("party");
        let mut names = BTreeMap::new();
        for file in &files {
            names.insert(send(&event, std::fs::read(file).unwrap()).await, file.file_name().unwrap().to_owned());
        }
        assert_eq!(event.rest().await.indexed, files.len() as u64);
        let mut all = Vec::new();
        for selfie in ["obama/obama2.jpg", "biden/biden.jpg"] {
            let guest = event.guest().await;
            let answer = guest.selfie(std::fs::read(people.join(selfie)).unwrap()).await.unwrap();
            let list = mine(&guest).await;
            let told: BTreeSet<_> = answer.you.iter().chain(&answer.maybe).map(|hit| hit.photo).collect();
            assert_eq!(told, list.keys().copied().collect(), "answer and list agree");
            let you = list.into_iter().filter(|(_, band)| *band == Band::You);
            all.push(you.map(|(id, _)| names[&id].clone()).collect::<BTreeSet<_>>());
            assert_eq!(guest.held().await.enrolments, 1);
        }
        assert!(all.iter().all(|photos| photos.len() >= 2), "{all:?}");
        told.push(all);
    }
    assert_eq!(told[0], told[1]);
    service.assert_content();
}
