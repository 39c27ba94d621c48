//! Measures the queue alone: photos a second through it with 1, 4 and 16 worker processes whose engine does nothing.
//!
//! ```text
//! queue [JOBS] [DATABASE]   JOBS per run [2000]; DATABASE, postgres://…/NAME, in which NAME_… are made [a file]
//! ```

use anyhow::{Context, Result};
use findme_server::measure::{self, QueueRun};

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let jobs: u64 = arguments.next().map_or(Ok(2000), |n| n.parse()).context("JOBS is a number")?;
    let database = arguments.next();
    println!("claimers events batch jobs/s");
    for (claimers, events) in [(1, 1), (4, 1), (16, 1), (1, 64), (4, 64), (16, 64)] {
        for batch in [1, 4, 16] {
            let run = QueueRun { claimers, jobs, events, batch };
            let folder =
                std::env::temp_dir().join(format!("findme-queue-{}-{claimers}-{events}-{batch}", std::process::id()));
            std::fs::create_dir_all(&folder)?;
            let place = database.as_ref().map(|url| format!("{url}_{claimers}_{events}_{batch}"));
            let took = measure::queue(&folder, place.as_deref(), run).await;
            std::fs::remove_dir_all(&folder)?;
            println!("{claimers:>8} {events:>6} {batch:>5} {:>6.0}", jobs as f64 / took?.as_secs_f64());
        }
    }
    Ok(())
}
