//! Fetches one file from its official place: resumed where it was cut, never longer than announced, used only when its
//! digest is the expected one.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use findme_common::Digest;
use reqwest::{Client, StatusCode, header};

use super::InstallError;

/// A server that does not answer, or stops in the middle, is given up after this long.
const IDLE: Duration = Duration::from_secs(20);
/// Attempts for one file; each goes on where the last one stopped.
const ATTEMPTS: u32 = 4;

/// What is to be fetched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// Where it lies.
    pub(super) url: &'a str,
    /// Its length.
    pub(super) bytes: u64,
    /// Its digest.
    pub(super) sha256: Digest,
}

/// A client that trusts the operating system's certificates and follows its proxy settings.
pub(super) fn client() -> Result<Client, InstallError> {
    // Somebody else in this process may have chosen one already; both are ring.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let built = Client::builder().connect_timeout(IDLE).read_timeout(IDLE).build();
    built.map_err(|error| InstallError::Network { url: String::new(), problem: error.to_string() })
}

/// Fetches a file to `part`, and checks it. `report` hears how many bytes are there.
///
/// # Errors
/// [`InstallError::Network`] when it cannot be had now (what came is kept for the next time), [`InstallError::Digest`]
/// when it is something else (and is removed), [`InstallError::Io`].
pub(super) async fn fetch(
    client: &Client,
    wanted: Wanted<'_>,
    part: &Path,
    report: &mut (dyn FnMut(u64) + Send),
) -> Result<Vec<u8>, InstallError> {
    let mut last = None;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(Duration::from_millis(300) * 2_u32.pow(attempt)).await;
        }
        match go_on(client, wanted, part, report).await {
            Ok(()) => {
                let bytes = fs::read(part)?;
                let found = Digest::of(&bytes);
                if found == wanted.sha256 {
                    return Ok(bytes);
                }
                fs::remove_file(part)?;
                return Err(InstallError::Digest { name: wanted.url.to_owned(), found });
            }
            Err(error @ InstallError::Network { .. }) => last = Some(error),
            Err(other) => return Err(other),
        }
    }
    Err(last.unwrap_or(InstallError::Network { url: wanted.url.to_owned(), problem: "no attempt".to_owned() }))
}

async fn go_on(
    client: &Client,
    wanted: Wanted<'_>,
    part: &Path,
    report: &mut (dyn FnMut(u64) + Send),
) -> Result<(), InstallError> {
    let network = |problem: String| InstallError::Network { url: wanted.url.to_owned(), problem };
    let mut file = OpenOptions::new().create(true).read(true).write(true).truncate(false).open(part)?;
    let mut there = file.metadata()?.len();
    if there > wanted.bytes {
        there = 0;
    }
    if there == wanted.bytes {
        return Ok(());
    }
    let mut request = client.get(wanted.url);
    if there > 0 {
        request = request.header(header::RANGE, format!("bytes={there}-"));
    }
    let mut answer = request.send().await.map_err(|error| network(because(&error)))?;
    let begins = match answer.status() {
        StatusCode::OK => 0,
        StatusCode::PARTIAL_CONTENT if continues_at(&answer, there) => there,
        status => return Err(network(format!("it answered {status}"))),
    };
    file.set_len(begins)?;
    file.seek(SeekFrom::Start(begins))?;
    let mut written = begins;
    while let Some(piece) = answer.chunk().await.map_err(|error| network(because(&error)))? {
        written += piece.len() as u64;
        if written > wanted.bytes {
            drop(file);
            fs::remove_file(part)?;
            return Err(network(format!("it is longer than {} bytes; a captive portal?", wanted.bytes)));
        }
        file.write_all(&piece)?;
        report(written);
    }
    file.sync_all()?;
    if written == wanted.bytes { Ok(()) } else { Err(network("the connection broke".to_owned())) }
}

/// Whether a partial answer begins where it was asked to.
fn continues_at(answer: &reqwest::Response, offset: u64) -> bool {
    let range = answer.headers().get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {offset}-")))
}

/// The innermost cause: what people can do something about.
fn because(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
