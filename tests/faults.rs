//! Short runs of the harness's faults: the server killed, its disk full, its power cut, the line weak, while machines
//! upload, and the watcher killed while it writes its manifest. `FINDME_SERVER_KILLS`, `FINDME_FULL_DISKS`,
//! `FINDME_POWER_CUTS`, `FINDME_WEAK_LINE=<photos>` and `FINDME_MANIFEST_KILLS` make them longer.

use crate::support::{Random, number};
use crate::{full_disk, manifest_kills, power_cuts, server_kills, shaped};

#[tokio::test(flavor = "multi_thread")]
async fn kills_of_the_server_under_load_lose_nothing() {
    server_kills::run(number("FINDME_SERVER_KILLS", 20), Random::seeded("kills of the server")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing() {
    full_disk::run(number("FINDME_FULL_DISKS", 6), Random::seeded("full disk")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_takes_nothing_that_was_acknowledged() {
    power_cuts::run(number("FINDME_POWER_CUTS", 3), Random::seeded("power cuts")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weak_line_loses_nothing_and_carries_little_twice() {
    let weather = match number("FINDME_WEAK_LINE", 0) {
        0 => shaped::Weather::short(),
        photos => shaped::Weather::of(photos, 30),
    };
    shaped::run(&weather, Random::seeded("weak line")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_while_the_manifest_is_written_forget_no_receipt() {
    let kills = number("FINDME_MANIFEST_KILLS", 9);
    manifest_kills::run(kills, kills.clamp(300, 3000), Random::seeded("kills while the manifest is written")).await;
}
