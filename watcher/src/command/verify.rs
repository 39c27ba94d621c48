//! `verify`: reads every photo of some folders anew and compares it with what the server says it has, or with `--deep`
//! with what it sends back. The manifest is asked for one thing only, which pictures
//! were sent before their metadata were rewritten: this is the proof that one may format the card on.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use findme_common::Digest;
use findme_common::digest::Hasher;
use findme_common::manifest::SkipReason;
use findme_common::protocol::{Name, path};
use reqwest::{Method, StatusCode};

use super::{Stop, connect, fatal, names, no_answer, usage};
use crate::Exit;
use crate::config::At;
use crate::events::canonical;
use crate::fingerprint::{self, Reading, Wish};
use crate::manifest::{Location, Manifest};
use crate::names::{Promise, Wanted, has_picture_beside, is_wanted_folder};
use crate::server::{Failure, Server, away};
use crate::terminal::answer;
use crate::totals::plural;

/// What was found, in numbers.
#[derive(Debug, Default)]
struct Tally {
    safe: u64,
    bytes: u64,
    left_out: u64,
    /// Their picture is on the server, with the metadata that it had when it was sent.
    other_metadata: u64,
    missing: u64,
}

pub(super) async fn verify(folders: &[PathBuf], deep: bool, at: At) -> Result<Exit, Stop> {
    let folders = canonical(folders).map_err(usage)?;
    let server = connect(&at)?;
    let held = names(&server).await.map_err(|failure| no_answer(&failure))?;
    let wanted = Wanted::new(&[], &[], false).map_err(fatal)?;
    // Only for the pictures whose metadata were rewritten after they were sent.
    let known = Manifest::peek(Location::new(at.snapshot.clone()), at.token.event).ok();
    let earlier_images = known.as_ref().is_some_and(Manifest::has_earlier_images);
    let wish = Wish { stars: None, earlier_images };
    let mut tally = Tally::default();
    let mut compared: HashMap<Digest, bool> = HashMap::new();
    for folder in &folders {
        let mut waiting = vec![folder.clone()];
        while let Some(next) = waiting.pop() {
            for path in listed(&next, &mut waiting, &mut tally) {
                let below = path.strip_prefix(folder).unwrap_or(&path);
                if let Promise::Skip(reason) = wanted.promise(below) {
                    if reason == SkipReason::Raw && !has_picture_beside(&path) {
                        missing(&mut tally, &path, "RAW without a picture beside it: not sent without --raw");
                    } else {
                        tally.left_out += 1;
                    }
                    continue;
                }
                let reading = {
                    let path = path.clone();
                    tokio::task::spawn_blocking(move || fingerprint::read(&path, wish).0).await.map_err(fatal)?
                };
                let content = match reading {
                    Reading::Photo(content) => content,
                    Reading::NotAPhoto | Reading::Empty => {
                        tally.left_out += 1;
                        continue;
                    }
                    other => {
                        missing(&mut tally, &path, why_not(&other));
                        continue;
                    }
                };
                let Some(name) = held.get(&content.digest) else {
                    let image = content.image.zip(known.as_ref()).and_then(|(image, known)| known.known_image(&image));
                    if image.is_some() {
                        tally.other_metadata += 1;
                    } else {
                        missing(&mut tally, &path, "not on the server");
                    }
                    continue;
                };
                if deep && !comes_back(&server, name, &mut compared).await.map_err(|failure| no_answer(&failure))? {
                    missing(&mut tally, &path, "the server's copy is damaged");
                    continue;
                }
                tally.safe += 1;
                tally.bytes += content.fingerprint.bytes;
            }
        }
    }
    Ok(receipt(&tally, deep, &server, server.is_this_machine().await))
}

/// The files of a folder; its folders are put with those that wait.
fn listed(folder: &Path, waiting: &mut Vec<PathBuf>, tally: &mut Tally) -> Vec<PathBuf> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            missing(tally, folder, &error.to_string());
            return Vec::new();
        }
    };
    let mut files = Vec::new();
    for entry in entries {
        match entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))) {
            Ok((path, kind)) if kind.is_dir() => {
                if path.file_name().is_some_and(|name| is_wanted_folder(&name.to_string_lossy())) {
                    waiting.push(path);
                }
            }
            Ok((path, kind)) if kind.is_file() => files.push(path),
            Ok(_) => tally.left_out += 1,
            Err(error) => missing(tally, folder, &error.to_string()),
        }
    }
    files.sort();
    files
}

fn missing(tally: &mut Tally, path: &Path, why: &str) {
    tally.missing += 1;
    answer(&format!("NOT SAFE  {}: {why}", path.display()), 2);
}

fn why_not(reading: &Reading) -> &str {
    match reading {
        Reading::Truncated => "its end is missing; copy it again",
        Reading::Changed => "it is being written",
        Reading::Gone => "it vanished",
        Reading::CannotBeRead(why) => why,
        Reading::Photo(_) | Reading::Empty | Reading::NotAPhoto | Reading::BelowRating => "",
    }
}

/// Whether the server sends back the very bytes; asked once for each content.
async fn comes_back(server: &Server, name: &Name, compared: &mut HashMap<Digest, bool>) -> Result<bool, Failure> {
    if let Some(known) = compared.get(&name.digest) {
        return Ok(*known);
    }
    let request = server.request(Method::GET, &format!("{}/{}", path::PHOTO, name.id));
    let mut response = request.send().await.map_err(|error| away(&error))?;
    if response.status() != StatusCode::OK {
        return match response.status() {
            StatusCode::NOT_FOUND | StatusCode::INTERNAL_SERVER_ERROR => Ok(false),
            _ => Err(server.read(response).await.failure()),
        };
    }
    let mut hasher = Hasher::new();
    while let Some(piece) = response.chunk().await.map_err(|error| away(&error))? {
        hasher.update(&piece);
    }
    let same = hasher.finish() == name.digest;
    compared.insert(name.digest, same);
    Ok(same)
}

fn receipt(tally: &Tally, deep: bool, server: &Server, this_machine: bool) -> Exit {
    let all = tally.safe + tally.other_metadata + tally.missing;
    let how = if deep { "compared byte for byte with what it sends back" } else { "by the digests that it computed" };
    let (safe, megabytes) = (tally.safe, tally.bytes as f64 / 1e6);
    answer(&format!("{safe} of {} ({megabytes:.1} MB) are on {}, {how}", plural(all, "photo"), server.url("/")), 2);
    if tally.other_metadata > 0 {
        let earlier = plural(tally.other_metadata, "photo");
        answer(&format!("{earlier} with earlier metadata (a rating or a caption was written later)"), 2);
    }
    if tally.left_out > 0 {
        let others = plural(tally.left_out, "other file");
        answer(&format!("{others} (films, sidecars, …): no photos, and not on the server"), 2);
    }
    match (tally.missing, this_machine) {
        (0, true) => println!("copied on this laptop only: not a backup"),
        (0, false) => println!("every photo in the folders is safe on the server"),
        _ => answer(&format!("{} not safe: do not format the card", plural(tally.missing, "photo")), 2),
    }
    if tally.missing == 0 { Exit::Done } else { Exit::SomeFailed }
}
