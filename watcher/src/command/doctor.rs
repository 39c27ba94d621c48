//! `doctor`: thirty seconds before the ceremony. One line for each thing that could go wrong, with the way out.

mod rate;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use findme_common::protocol::path;
use reqwest::Method;

use super::{Stop, connect, no_answer, usage};
use crate::Exit;
use crate::config::At;
use crate::events::canonical;
use crate::filesystem::{self, Ground};
use crate::limits;
use crate::manifest::{Location, Manifest};
use crate::server::{Server, away};
use crate::terminal::answer;
use crate::totals::{plural, size};

/// Clocks that differ by more than this sort photos of two cameras wrongly.
const CLOCK: Duration = Duration::from_secs(60);
/// The manifest of a long event needs some tens of megabytes, twice while it is compacted.
const ROOM: u64 = 200_000_000;
/// What a camera's photo is taken for when times are told.
const PHOTO: u64 = 8_000_000;

/// Where the text of each line begins.
const INDENT: usize = 6;

/// What was looked at, line by line.
#[derive(Debug, Default)]
struct Findings {
    bad: u32,
}

impl Findings {
    fn good(&self, what: &str) {
        answer(&format!("ok    {what}"), INDENT);
    }

    fn note(&self, what: &str) {
        answer(&format!("note  {what}"), INDENT);
    }

    fn bad(&mut self, what: &str) {
        self.bad += 1;
        answer(&format!("BAD   {what}"), INDENT);
    }
}

pub(super) async fn doctor(folders: &[PathBuf], at: At) -> Result<Exit, Stop> {
    let mut findings = Findings::default();
    let folders = canonical(folders).map_err(usage)?;
    folders.iter().for_each(|folder| look_at_folder(&mut findings, folder));
    if !folders.is_empty() {
        look_at_limits(&mut findings, &folders);
    }
    look_at_manifest(&mut findings, &at);
    look_at_disk(&mut findings, &at.snapshot);
    let server = connect(&at)?;
    look_at_server(&mut findings, &server).await?;
    match rate::measure(&server).await {
        Ok(rate) => {
            let seconds = (PHOTO as f64 / rate).ceil();
            let photo = size(PHOTO);
            findings.good(&format!("{:.1} MB/s to the server: a photo of {photo} takes {seconds} s", rate / 1e6));
        }
        Err(failure) => findings.bad(&format!("the server takes no upload: {failure}")),
    }
    match findings.bad {
        0 => println!("ready"),
        1 => println!("one thing to mend first"),
        bad => println!("{bad} things to mend first"),
    }
    Ok(if findings.bad == 0 { Exit::Done } else { Exit::Fatal })
}

fn look_at_folder(findings: &mut Findings, folder: &Path) {
    findings.good(&format!("{} can be read", folder.display()));
    match filesystem::ground(folder) {
        Ground::Own => {}
        Ground::Shared(kind) => {
            findings.note(&format!("{} lies on {kind}: new photos are found by listing it", folder.display()));
        }
        Ground::Card(kind) => {
            findings.note(&format!("{} lies on a card ({kind}): it is listed every 2 s", folder.display()));
        }
    }
}

/// All folders together share what the system allows.
fn look_at_limits(findings: &mut Findings, folders: &[PathBuf]) {
    let count = folders.iter().map(|folder| folders_below(folder)).sum();
    match limits::watches() {
        Some(limit) if count > limit.most => findings.bad(&format!(
            "{count} folders, but this system allows {} watches, so they would only be listed: {}",
            limit.most,
            limit.raise(count)
        )),
        Some(limit) if count * 2 > limit.most => findings.note(&format!(
            "{count} folders are more than half of the {} watches that this system allows: {}",
            limit.most,
            limit.raise(count)
        )),
        _ => findings.good(&format!("{} can be watched", plural(count, "folder"))),
    }
    if let Some(limit) = limits::instances().filter(|limit| limit.most < 16) {
        findings.note(&format!("only {} programs may watch folders: {}", limit.most, limit.raise(0)));
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

fn look_at_manifest(findings: &mut Findings, at: &At) {
    match Manifest::peek(Location::new(at.snapshot.clone()), at.token.event) {
        Err(error) => findings.bad(&error.to_string()),
        Ok(manifest) => {
            let counts = manifest.counts();
            findings.good(&format!("the manifest knows {} on the server", plural(counts.received, "photo")));
            if counts.announced + counts.refused + counts.failed > 0 {
                let left = counts.announced;
                findings.note(&format!("{left} are still to be sent, {} failed", counts.refused + counts.failed));
            }
        }
    }
}

/// Whether the manifest has room to grow. `snapshot` need not be there yet.
fn look_at_disk(findings: &mut Findings, snapshot: &Path) {
    let Some(folder) = snapshot.ancestors().skip(1).find(|folder| folder.is_dir()) else { return };
    match filesystem::free(folder) {
        Some(free) if free < ROOM => findings.bad(&format!(
            "{} free where the manifest is kept ({}): make room, or give --data a folder with more",
            size(free),
            folder.display()
        )),
        Some(free) => findings.good(&format!("{} free for the manifest", size(free))),
        None => findings.note("how much disk is free cannot be told here"),
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
