//! The disk becomes full at random moments while machines upload, and free again: nothing acknowledged is lost, what was
//! refused arrives later, and the server starts also on a full disk or says clearly why not.

use std::time::{Duration, Instant};

use crate::crew::{Crew, Habits};
use crate::disks::{self, Small};
use crate::examine;
use crate::server_kills::assert_done;
use crate::support::{Random, Server, not_tested, say, wait_within};

/// More than the server keeps free, and room for what is uploaded.
const MEGABYTES: u64 = 1400;

/// Fills the disk so often: half of the times of a server that keeps some of it free for itself, half of one that does
/// not, whose every write may fail.
pub(crate) async fn run(moments: u64, mut random: Random) {
    if !disks::possible() {
        return not_tested("only root can mount a small disk");
    }
    round(moments / 2, &["--faces", "off"], &mut random).await;
    round(moments - moments / 2, &["--faces", "off", "--disk-reserve", "0"], &mut random).await;
}

async fn round(moments: u64, options: &[&str], random: &mut Random) {
    let disk = Small::of(MEGABYTES);
    let mut server = Server::idle(options).with_data(&disk.data());
    server.run().await;
    let event = server.create_event("full");
    // Small photos: the disk has to hold them all.
    let habits = Habits { kilobytes: 60, slow_one_in: 3, ..Habits::ROUGH };
    let mut crew = Crew::begin(&event, habits, random);
    let began = Instant::now();
    let (mut kills, mut refused_starts) = (0, 0);
    for moment in 1..=moments {
        let wanted = crew.ledger.count() + random.between(1, 12) as usize;
        let longest = Instant::now() + Duration::from_secs(20);
        while crew.ledger.count() < wanted {
            assert!(Instant::now() < longest, "no progress with a free disk; answers {}", crew.ledger.answers());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_micros(random.between(0, 20_000))).await;
        // To the last byte, or nearly: then some writes succeed and others do not.
        let unseen = moment == moments && crew.ledger.answers_of(507) == 0;
        let left = if unseen || random.between(0, 2) == 0 { 0 } else { random.between(0, 2 << 20) };
        disk.fill(left);
        if unseen {
            // On a busy machine moments may pass in which nobody writes.
            let refused = async || (crew.ledger.answers_of(507) > 0).then_some(());
            wait_within(Duration::from_secs(30), "a write to find the disk full", refused).await;
        }
        tokio::time::sleep(Duration::from_millis(random.between(20, 250))).await;
        if random.between(0, 6) == 0 {
            kills += 1;
            server.kill();
            server.spawn();
            if let Err(why) = server.listening().await {
                refused_starts += 1;
                assert!(!why.contains("panicked"), "{why}");
                server.kill();
            }
        }
        disk.free();
        if !server.is_up() {
            server.run().await;
        }
    }
    crew.finish().await;
    event.rest().await;
    let names = event.names().await;
    server.kill();
    let finding = examine::folder(&server.data(), event.id, &crew.ledger).await;
    say(&format!(
        "full disk ({}): {moments} moments, {kills} kills on a full disk ({refused_starts} starts refused until there was room), \
         {:.0} s; {finding}; answers {}",
        options.join(" "),
        began.elapsed().as_secs_f32(),
        crew.ledger.answers(),
    ));
    assert_done(&crew, &finding);
    assert_eq!(names.len(), crew.ledger.count());
    assert!(!server.log().contains("panicked"), "a panic");
    assert!(crew.ledger.answers_of(507) > 0, "the disk was never full for anybody");
    assert_eq!(crew.ledger.answers_of(500), 0, "a full disk is 507");
}
