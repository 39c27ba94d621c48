//! The power goes while machines upload: what the disk held at a random instant is mounted as after a crash, a server is
//! started on it, and everything that was acknowledged before that instant must be there. The same with a server whose
//! syncs do nothing shows that this would find a loss.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use findme_common::PhotoId;

use crate::crew::{Crew, Habits};
use crate::disks::{self, Pausable};
use crate::examine::{self, Finding};
use crate::ledger::{Ledger, Promise};
use crate::server_kills::assert_done;
use crate::support::{Event, Random, Server, not_tested, say};
use crate::wire::{Wire, head};

/// Room for what is uploaded in all rounds.
const MEGABYTES: u64 = 3000;

/// Cuts the power so often, and some times more with a server that does not sync.
pub(crate) async fn run(cuts: u64, mut random: Random) {
    if !disks::possible() {
        return not_tested("only root can mount disks");
    }
    let honest = round(cuts, &[], &mut random).await;
    assert_eq!((honest.lost, honest.offsets_lost), (0, 0), "what was acknowledged was not on the disk");
    let careless = round((cuts / 6).max(2), &["eatmydata"], &mut random).await;
    assert!(careless.lost > 0, "a server that never syncs lost nothing: this test cannot fail");
}

#[derive(Default)]
struct Outcome {
    lost: u64,
    offsets_lost: u64,
}

async fn round(cuts: u64, through: &[&str], random: &mut Random) -> Outcome {
    let disk = Pausable::of(MEGABYTES);
    let mut server = Server::idle(&["--faces", "off"]).with_data(&disk.data()).through(through);
    server.run().await;
    let event = server.create_event("power");
    if !through.is_empty() {
        // The event itself is not what is looked at.
        disks::shell("sync", &[]);
    }
    let habits = Habits { kilobytes: 120, ..Habits::ROUGH };
    let mut crew = Crew::begin(&event, habits, random);
    let began = Instant::now();
    let (mut outcome, mut promised, mut offsets, mut unreadable) = (Outcome::default(), 0, 0, 0);
    for _ in 0..cuts {
        tokio::time::sleep(Duration::from_millis(random.between(150, 1500))).await;
        let (photos, open) = (crew.ledger.photos(), crew.ledger.offsets());
        let held = disk.cut();
        let before = (promised, offsets);
        promised += photos.len() as u64;
        offsets += open.len() as u64;
        let mount = held.mount();
        let data = mount.path().join("data");
        let seen = after_the_cut(&data, &event, &photos, &open).await;
        let Some((finding, offsets_lost)) = seen else {
            // Only a server that does not sync leaves a folder that cannot be opened.
            assert!(!through.is_empty(), "a server does not start after a power cut");
            (promised, offsets) = before;
            unreadable += 1;
            outcome.lost += photos.len() as u64;
            continue;
        };
        let lost = finding.verdict.lost + finding.verdict.damaged;
        assert!(!through.is_empty() || finding.is_clean(), "{finding}");
        outcome.lost += lost;
        outcome.offsets_lost += offsets_lost;
    }
    crew.finish().await;
    server.kill();
    let finding = examine::folder(&server.data(), event.id, &crew.ledger).await;
    assert_done(&crew, &finding);
    say(&format!(
        "power cuts{}: {cuts} in {:.0} s; {promised} acknowledged photos looked for, {} lost or damaged; {offsets} offsets of \
         unfinished uploads, {} smaller than acknowledged; {unreadable} folders that do not open; in the end {finding}",
        if through.is_empty() { "" } else { " of a server without syncs (control)" },
        began.elapsed().as_secs_f32(),
        outcome.lost,
        outcome.offsets_lost,
    ));
    outcome
}

/// Starts a server on what the disk held; `None` when it does not start.
async fn after_the_cut(
    data: &Path,
    event: &Event,
    photos: &BTreeMap<PhotoId, Promise>,
    open: &BTreeMap<String, u64>,
) -> Option<(Finding, u64)> {
    let mut server = Server::idle(&["--faces", "off"]).with_data(data);
    server.spawn();
    server.listening().await.ok()?;
    let mut wire = Wire::to(&server.url()).await.ok()?;
    let mut lost = 0;
    for (upload, offset) in open {
        let answer = wire.ask(&head("HEAD", upload, &event.token, ""), b"").await.ok()?;
        lost += u64::from(answer.number("upload-offset").is_none_or(|now| now < *offset));
    }
    let names = event.through(&server.url()).names().await;
    let unnamed = photos.keys().filter(|photo| names.iter().all(|name| name.id != **photo)).count();
    server.kill();
    let ledger = Ledger::of(photos);
    let mut finding = examine::folder(data, event.id, &ledger).await;
    if unnamed > 0 {
        finding.complaints.push(format!("{unnamed} acknowledged photos are not listed"));
    }
    Some((finding, lost))
}
