//! `kill -9` of the server at random moments while machines upload over bad connections; some kills come while it starts.

use std::time::{Duration, Instant};

use crate::crew::{Crew, Habits};
use crate::examine::{self, Finding};
use crate::ledger;
use crate::support::{Random, Server, peak_memory, say};

/// Photos are compared after so many kills, and all of them at the end.
const LOOK_EVERY: u64 = 25;

/// Kills the server so often; everything that it acknowledged must be there in the end, once.
pub(crate) async fn run(kills: u64, mut random: Random) {
    let mut server = Server::start().await;
    let event = server.create_event("kills");
    let mut crew = Crew::begin(&event, Habits::ROUGH, &mut random);
    let began = Instant::now();
    let mut at_start = 0;
    for kill in 1..=kills {
        let before = crew.ledger.count();
        let wanted = before + random.between(0, 12) as usize;
        let longest = Instant::now() + Duration::from_secs(5);
        while crew.ledger.count() < wanted && Instant::now() < longest {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_micros(random.between(0, 30_000))).await;
        server.kill();
        if random.between(0, 8) == 0 {
            // Once more, while it recovers.
            at_start += 1;
            server.spawn();
            tokio::time::sleep(Duration::from_micros(random.between(0, 60_000))).await;
            server.kill();
        }
        if kill % LOOK_EVERY == 0 {
            let verdict = ledger::files(&server.data(), event.id, &crew.ledger.photos()).await;
            assert_eq!((verdict.lost, verdict.damaged), (0, 0), "after {kill} kills: {verdict}");
        }
        server.run().await;
    }
    crew.finish().await;
    let took = began.elapsed();
    event.rest().await;
    let published = server.published();
    let (promised, names) = (crew.ledger.photos(), event.names().await);
    let unnamed = promised.keys().filter(|photo| names.iter().all(|name| name.id != **photo)).count();
    let memory = peak_memory(server.pid()).unwrap_or(0) >> 20;
    server.kill();
    let finding = examine::folder(&server.data(), event.id, &crew.ledger).await;
    say(&format!(
        "kills: {kills} of the server ({at_start} more while it started), {} cut connections, {} races of two writers, {:.0} s; \
         {finding}; the last server peaked at {memory} MiB; answers {}",
        crew.cuts.load(std::sync::atomic::Ordering::Relaxed),
        crew.races.load(std::sync::atomic::Ordering::Relaxed),
        took.as_secs_f32(),
        crew.ledger.answers(),
    ));
    assert_done(&crew, &finding);
    assert_eq!((unnamed, names.len()), (0, crew.ledger.count()), "the list differs from what was acknowledged");
    assert_eq!(published, names.len(), "files without a photo, or photos without a file");
    assert_eq!(crew.ledger.answers_of(500), 0, "the server failed");
    server.assert_no_faults();
    examine::can_fail(&server, event.id, &crew.ledger).await;
}

/// Nothing was lost, doubled or damaged, and no answer was wrong.
pub(crate) fn assert_done(crew: &Crew, finding: &Finding) {
    let faults = crew.ledger.faults();
    assert!(
        faults.is_empty(),
        "{} wrong answers, the first: {}",
        faults.len(),
        faults[..faults.len().min(5)].join("\n")
    );
    assert!(finding.is_clean(), "{finding}");
}
