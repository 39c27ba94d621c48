//! How long it takes to look for every guest anew after a change of thresholds.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;

use crate::crew::upload;
use crate::foreign::files_in;
use crate::support::guest::client;
use crate::support::{Server, asset, say, wait_within};
use crate::wire::Wire;

/// Connections that upload.
const WIRES: usize = 4;

/// `photos` portraits, `guests` who enrolled; then bands that begin lower.
pub(crate) async fn run(photos: u64, guests: u64) {
    let (Some(models), Some(people)) = (asset("models"), asset("photos/lfw/identities")) else { return };
    let mut folders: Vec<PathBuf> = std::fs::read_dir(&people).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let portraits: Vec<Vec<u8>> =
        folders.iter().flat_map(|folder| files_in(folder)).map(|file| std::fs::read(file).unwrap()).collect();
    let models = models.to_str().unwrap();
    let rates = ["uploads", "selfies", "joins", "lists", "address"].map(|rate| format!("--rate-{rate}"));
    let mut options = vec!["--models", models];
    rates.iter().for_each(|rate| options.extend([rate.as_str(), "0"]));
    let mut server = Server::start_with(&options).await;
    let event = server.create_event("rematch");
    let began = Instant::now();
    let sent = (0..WIRES).map(|wire| {
        let (event, portraits) = (event.clone(), portraits.clone());
        tokio::spawn(async move {
            let mut line = Wire::to(&event.url).await.unwrap();
            for number in (wire..photos as usize).step_by(WIRES) {
                // What lies behind a picture's end makes it another file and the same faces.
                let bytes = [&portraits[number % portraits.len()][..], &number.to_le_bytes()].concat();
                upload(&mut line, &event, &bytes).await;
            }
        })
    });
    for sent in sent.collect::<Vec<_>>() {
        sent.await.unwrap();
    }
    let all = async || (event.counts().await.indexed == photos).then_some(());
    wait_within(Duration::from_secs(1) * photos as u32, "all to be searchable", all).await;
    for folder in folders.iter().cycle().take(guests as usize) {
        let guest = event.guest().await;
        let selfie = std::fs::read(&files_in(folder)[0]).unwrap();
        // Two of about the same height in one picture: the larger.
        if guest.selfie(selfie.clone()).await.is_err() {
            let request =
                guest.request(Method::POST, "/api/selfie?consent=yes&face=0").header("content-type", "image/jpeg");
            assert!(request.body(selfie).send().await.unwrap().status().is_success());
        }
    }
    say(&format!("{photos} photos indexed and {guests} guests enrolled after {:.0} s", began.elapsed().as_secs_f32()));
    // What they were shown with their selfies is told once; then everything that the lower bands let in.
    let (path, token) = (format!("/api/admin/events/{}/rematch", event.id), server.operator_token());
    let again = async |what: &str, server: &Server| {
        let began = Instant::now();
        let answer = client().post(format!("{}{path}", server.url())).bearer_auth(&token).send().await.unwrap();
        let told: Value = answer.json().await.unwrap();
        let took = began.elapsed().as_secs_f32();
        say(&format!("{what}: {guests} guests in {photos} photos in {took:.2} s, told of {}", told["changed"]));
    };
    again("told of all that they were shown", &server).await;
    again("nothing new", &server).await;
    server.kill();
    let lower = [options, vec!["--you-from", "0.50", "--maybe-from", "0.34"]].concat();
    let mut moved = Server::idle(&lower).with_data(&server.data());
    moved.run().await;
    again("«you» from .50, «maybe» from .34, vectors read anew", &moved).await;
    again("nothing new", &moved).await;
    moved.assert_no_faults();
}
