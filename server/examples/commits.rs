//! Measures group commit: uploads created and finished (rows only) by 1, 8 and 64 writers at once, with one commit for
//! each write and with shared commits, in one run.
//!
//! ```text
//! commits [UPLOADS] [FOLDER]   UPLOADS per run [1000]; FOLDER lies on the disk to be measured [the system's temporary]
//! ```

use std::path::PathBuf;

use anyhow::{Context, Result};
use findme_server::measure;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let uploads: u64 = arguments.next().map_or(Ok(1000), |n| n.parse()).context("UPLOADS is a number")?;
    let root = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    for writers in [1, 8, 64] {
        let mut rates = Vec::new();
        for (what, batch) in [("one each", 1), ("shared", 64)] {
            let folder = root.join(format!("findme-commits-{}-{writers}-{batch}", std::process::id()));
            std::fs::create_dir_all(&folder)?;
            let run = measure::uploads(&folder, writers, uploads, batch).await;
            std::fs::remove_dir_all(&folder)?;
            let run = run?;
            let seconds = run.took.as_secs_f64();
            let rate = run.uploads as f64 / seconds;
            println!(
                "{writers:>2} writers, commits {what:<8}: {:>6.0} commits/s, {:>6.0} writes/s, {rate:>6.0} uploads/s",
                run.commits as f64 / seconds,
                2.0 * rate,
            );
            rates.push(rate);
        }
        println!("{writers:>2} writers: x {:.1}", rates[1] / rates[0]);
    }
    Ok(())
}
