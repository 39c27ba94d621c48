//! Short runs of the harness's bad input, and of many listeners. `FINDME_BAD_REQUESTS` and `FINDME_BAD_PICTURES` make
//! them longer, `FINDME_SEED` repeats one.

use crate::support::{Random, number};
use crate::{bad_input, bad_pictures, listeners};

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_get_a_reason_and_nothing_else() {
    bad_input::requests(number("FINDME_BAD_REQUESTS", 1500), Random::seeded("bad requests")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_pictures_are_received_and_do_no_harm() {
    bad_pictures::run(number("FINDME_BAD_PICTURES", 200), Random::seeded("bad pictures")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_listener_hears_of_every_photo() {
    listeners::run(60, 10).await;
}
