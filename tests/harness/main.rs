//! Longer runs against the real server on this machine: `tests/harness/run SUBJECT [KEY=NUMBER…]`. Each prints its
//! figures; those that compare run both sides in the same run. Every load goes to loopback, is bounded, and ends by
//! itself; processes that were not started here are never touched.

#![allow(clippy::unwrap_used)] // what is unexpected ends the run
#![allow(dead_code)] // what is shared with the tests is not all used here

mod bad_input;
mod bad_pictures;
mod camera;
mod contenders;
mod crew;
mod disks;
mod examine;
mod faces;
mod figures;
mod foreign;
mod full_disk;
mod known;
mod ledger;
mod listeners;
mod lists;
mod load;
mod manifest_kills;
mod photo_bytes;
mod power_cuts;
mod rematch;
mod schema;
mod seeds;
mod server_kills;
mod shaped;
mod soak;
mod speed;
#[allow(unused_imports)]
#[path = "../support/mod.rs"]
mod support;
mod tus_clients;
mod uploaders;
mod wire;

use support::{Random, say};

/// `KEY=NUMBER` arguments.
struct Numbers(Vec<(String, u64)>);

impl Numbers {
    fn get(&self, key: &str, default: u64) -> u64 {
        self.0.iter().find(|(known, _)| known == key).map_or(default, |(_, number)| *number)
    }
}

#[tokio::main]
async fn main() {
    // `cargo bench` adds an option of its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let (numbers, subjects): (Vec<_>, Vec<_>) = words.into_iter().partition(|word| word.contains('='));
    let numbers = Numbers(
        numbers
            .iter()
            .filter_map(|word| word.split_once('='))
            .map(|(key, n)| (key.to_owned(), n.parse().unwrap()))
            .collect(),
    );
    for subject in &subjects {
        let began = std::time::Instant::now();
        run(subject, &numbers).await;
        say(&format!("{subject}: done in {:.0} s", began.elapsed().as_secs_f32()));
    }
    if subjects.is_empty() {
        say("which subject? see run --help");
    }
}

async fn run(subject: &str, numbers: &Numbers) {
    let random = Random::seeded(subject);
    match subject {
        "kills" => server_kills::run(numbers.get("kills", 500), random).await,
        "manifest-kills" => {
            manifest_kills::run(numbers.get("kills", 300), numbers.get("entries", 3000), random).await;
        }
        "full-disk" => full_disk::run(numbers.get("moments", 100), random).await,
        "power-cuts" => power_cuts::run(numbers.get("cuts", 30), random).await,
        "tus-clients" => tus_clients::run(numbers.get("cuts", 500), random).await,
        "large" => load::large(numbers.get("clients", 100), numbers.get("megabytes", 50), random).await,
        "small" => {
            load::small(numbers.get("rate", 2000), numbers.get("seconds", 10), numbers.get("kilobytes", 4), random)
                .await
        }
        "soak" => soak::photos(numbers.get("photos", 20_000)).await,
        "listeners" => listeners::run(numbers.get("listeners", 1000), numbers.get("photos", 50)).await,
        "speed" => speed::run(numbers.get("photos", 100), numbers.get("megabytes", 8), numbers.get("rounds", 3)).await,
        "lists" => lists::pages(numbers.get("rows", 100_000)).await,
        "bytes" => {
            photo_bytes::run(numbers.get("photos", 40), numbers.get("seconds", 6), numbers.get("rounds", 3)).await
        }
        "uploaders" => {
            uploaders::run(uploaders::Amounts {
                singles: numbers.get("singles", 5),
                steady: numbers.get("steady", 12),
                burst: numbers.get("burst", 50),
                folder: numbers.get("folder", 300),
                first_run: numbers.get("files", 2000),
                outage: numbers.get("outage", 60),
                tools: numbers.get("tools", 63),
            })
            .await
        }
        "known" => known::run(numbers.get("files", 100_000), numbers.get("tools", 31)).await,
        "bad-input" => bad_input::requests(numbers.get("requests", 12_000), random).await,
        "bad-pictures" => bad_pictures::run(numbers.get("files", 3000), random).await,
        "schema" => schema::run(numbers.get("examples", 50), numbers.get("seed", 1)).await,
        "shaped" => {
            shaped::run(&shaped::Weather::of(numbers.get("photos", 20), numbers.get("blackout", 30)), random).await
        }
        "camera" => {
            camera::run(numbers.get("photos", 100), numbers.get("guests", 12), numbers.get("megapixels", 24)).await
        }
        "faces" => faces::speed(numbers.get("photos", 10), numbers.get("megapixels", 24)).await,
        "search" => faces::search(numbers.get("faces", 1_000_000), random).await,
        "evaluate" => {
            faces::evaluate(numbers.get("first", 21), numbers.get("seeds", 5), numbers.get("megapixels", 24));
        }
        "rematch" => rematch::run(numbers.get("photos", 10_000), numbers.get("guests", 200)).await,
        "seeds" => seeds::write(),
        other => panic!("there is no subject {other}"),
    }
}
