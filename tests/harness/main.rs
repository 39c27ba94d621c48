//! Longer runs against the real server on this machine: `tests/harness/run SUBJECT [KEY=NUMBER…]`. Each prints its
//! figures; those that compare run both sides in the same run. Every load goes to loopback, is bounded, and ends by
//! itself; processes that were not started here are never touched.

#![allow(clippy::unwrap_used)] // what is unexpected ends the run
#![allow(dead_code)] // what is shared with the tests is not all used here

mod crew;
mod disks;
mod examine;
mod foreign;
mod full_disk;
mod ledger;
mod power_cuts;
mod server_kills;
#[allow(unused_imports)]
#[path = "../support/mod.rs"]
mod support;
mod tus_clients;
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
        "full-disk" => full_disk::run(numbers.get("moments", 100), random).await,
        "power-cuts" => power_cuts::run(numbers.get("cuts", 30), random).await,
        "tus-clients" => tus_clients::run(numbers.get("cuts", 500), random).await,
        other => panic!("there is no subject {other}"),
    }
}
