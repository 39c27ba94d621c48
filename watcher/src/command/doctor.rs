//! `doctor`: thirty seconds before the ceremony. One line for each thing that could go wrong, with the way out.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use findme_common::protocol::path;
use reqwest::Method;

use super::{Stop, connect, no_answer, usage};
use crate::Exit;
use crate::config::{At, canonical};
use crate::filesystem::needs_polling;
use crate::manifest::{Location, Manifest};
use crate::server::{Server, away};

/// Clocks that differ by more than this sort photos of two cameras wrongly.
const CLOCK: Duration = Duration::from_secs(60);

/// What was looked at, line by line.
#[derive(Debug, Default)]
struct Findings {
    bad: u32,
}

impl Findings {
    fn good(&self, what: &str) {
        println!("ok    {what}");
    }

    fn note(&self, what: &str) {
        println!("note  {what}");
    }

    fn bad(&mut self, what: &str) {
        self.bad += 1;
        println!("BAD   {what}");
    }
}

pub(super) async fn doctor(folders: &[PathBuf], at: At) -> Result<Exit, Stop> {
    let mut findings = Findings::default();
    for folder in canonical(folders).map_err(usage)? {
        look_at_folder(&mut findings, &folder);
    }
    look_at_manifest(&mut findings, &at);
    look_at_server(&mut findings, &connect(&at)?).await?;
    match findings.bad {
        0 => println!("ready"),
        bad => println!("{bad} things to mend first"),
    }
    Ok(if findings.bad == 0 { Exit::Done } else { Exit::Fatal })
}

fn look_at_folder(findings: &mut Findings, folder: &Path) {
    findings.good(&format!("{} can be read", folder.display()));
    if let Some(kind) = needs_polling(folder) {
        findings.note(&format!("{} lies on {kind}: new photos are found by listing it", folder.display()));
    }
    let count = folders_below(folder);
    match watch_limit() {
        Some(limit) if count > limit => findings.bad(&format!(
            "{count} folders, but the system watches {limit} only: sudo sysctl fs.inotify.max_user_watches={}",
            (2 * count).next_power_of_two()
        )),
        _ => findings.good(&format!("{count} folders below can be watched")),
    }
}

/// The folder and all below it.
fn folders_below(folder: &Path) -> u64 {
    let (mut count, mut waiting) = (0, vec![folder.to_owned()]);
    while let Some(next) = waiting.pop() {
        count += 1;
        let entries = std::fs::read_dir(next).into_iter().flatten().flatten();
        waiting.extend(entries.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()));
    }
    count
}

#[cfg(target_os = "linux")]
fn watch_limit() -> Option<u64> {
    std::fs::read_to_string("/proc/sys/fs/inotify/max_user_watches").ok()?.trim().parse().ok()
}

#[cfg(not(target_os = "linux"))]
fn watch_limit() -> Option<u64> {
    None
}

fn look_at_manifest(findings: &mut Findings, at: &At) {
    match Manifest::peek(Location::new(at.snapshot.clone()), at.token.event) {
        Err(error) => findings.bad(&error.to_string()),
        Ok(manifest) => {
            let counts = manifest.counts();
            findings.good(&format!("the manifest knows {} photos that are safe", counts.received));
            if counts.announced + counts.refused + counts.failed > 0 {
                let left = counts.announced;
                findings.note(&format!("{left} are still to be sent, {} failed", counts.refused + counts.failed));
            }
        }
    }
}

async fn look_at_server(findings: &mut Findings, server: &Server) -> Result<(), Stop> {
    let began = Instant::now();
    let request = server.request(Method::GET, &format!("{}?limit=1", path::ALL_PHOTOS));
    let response = request.timeout(Duration::from_secs(10)).send().await.map_err(|error| no_answer(&away(&error)))?;
    let took = began.elapsed();
    let date = response.headers().get("date").and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
    let answer = server.read(response).await;
    if !answer.status.is_success() {
        return Err(no_answer(&answer.failure()));
    }
    findings.good(&format!("{} answers in {} ms and takes the token", server.url("/"), took.as_millis()));
    if let Some(date) = date {
        let now = SystemTime::now();
        let apart = now.duration_since(date).or_else(|_| date.duration_since(now)).unwrap_or_default();
        match apart > CLOCK {
            true => findings.note(&format!("the clocks of laptop and server are {} s apart", apart.as_secs())),
            false => findings.good("the clocks agree"),
        }
    }
    let ready = server.short(server.request(Method::GET, path::READYZ)).await.map_err(|failure| no_answer(&failure))?;
    match ready.status.is_success() {
        true => findings.good("the server is ready to take photos"),
        false => findings.bad("the server says that it is not ready (its /readyz tells why)"),
    }
    if server.is_this_machine().await {
        findings.note("the server is this laptop: photos are copied on it only, which is not a backup");
    }
    Ok(())
}
