//! Short runs of the harness's faults: the server killed, its disk full, its power cut, while machines upload.
//! `FINDME_SERVER_KILLS`, `FINDME_FULL_DISKS` and `FINDME_POWER_CUTS` make them longer.

use crate::support::{Random, number};
use crate::{full_disk, power_cuts, server_kills};

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
