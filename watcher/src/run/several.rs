//! Several events from one program: each has its token, its manifest and its pace of failing; one voice tells of all.

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Shutdown, run_one};
use crate::Exit;
use crate::config::Config;
use crate::report::{Event, Report, worst};

/// Watches and sends for one or several events until everything is done (`--once`) or it is told to end. An event that
/// cannot go on does not stop the others.
///
/// # Errors
/// With the exit code and one line for the user.
pub async fn run(configs: Vec<Config>, shutdown: watch::Receiver<Shutdown>) -> Result<Exit, (Exit, String)> {
    let Some(first) = configs.first() else { return Err((Exit::Usage, "no folder to watch".to_owned())) };
    let events: Vec<_> = configs.iter().map(Config::event).collect();
    let mut reports = Report::several(first.output, first.dry_run, &events);
    if let ([report], 1) = (reports.as_slice(), configs.len()) {
        let report = report.clone();
        let config = configs.into_iter().next().ok_or((Exit::Usage, String::new()))?;
        return run_one(config, report, shutdown).await;
    }
    let mut runs = JoinSet::new();
    for (n, config) in configs.into_iter().enumerate() {
        let (report, shutdown) = (reports[n].clone(), shutdown.clone());
        runs.spawn(async move { (n, run_one(config, report, shutdown).await) });
    }
    let mut exits = Vec::new();
    while let Some(ended) = runs.join_next().await {
        let (n, exit) = ended.map_err(|error| (Exit::Fatal, format!("a part of the program failed: {error}")))?;
        let exit = exit.unwrap_or_else(|(exit, line)| {
            reports[n].tell(&Event::Alarm(&format!(
                "findme-watch: event {}: {line}",
                events[n].map_or_else(String::new, |event| event.to_string())
            )));
            exit
        });
        reports[n].ended(exit as u8);
        exits.push(exit);
    }
    let code = worst(exits.iter().map(|exit| *exit as u8));
    Ok(exits.into_iter().find(|exit| *exit as u8 == code).unwrap_or(Exit::Done))
}
