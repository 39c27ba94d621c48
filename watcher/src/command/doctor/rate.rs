//! How fast the way to the server is, without making a photo: an upload that is begun, measured, and taken back.

use std::time::{Duration, Instant};

use findme_common::protocol::{OFFSET_OCTET_STREAM, header, path};
use reqwest::Method;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};

use crate::server::{Failure, Server, away, not_ours};

/// Sent one after the other; the last one counts.
const PIECES: [usize; 3] = [256 << 10, 1 << 20, 4 << 20];
/// After so long what was measured is good enough.
const ENOUGH: Duration = Duration::from_secs(3);
/// A piece that takes longer says how slow the way is, or that there is none.
const LONGEST: Duration = Duration::from_secs(20);

/// Bytes a second, as the server acknowledges them.
///
/// # Errors
/// When the server does not take an upload.
pub(super) async fn measure(server: &Server) -> Result<f64, Failure> {
    // One byte more than is ever sent, so that it never becomes a photo.
    let length = PIECES.iter().sum::<usize>() + 1;
    let request = server.request(Method::POST, path::UPLOADS).header(header::UPLOAD_LENGTH, length);
    let answer = server.short(request.header(CONTENT_LENGTH, 0)).await?;
    if answer.status.as_u16() != 201 {
        return Err(answer.failure());
    }
    let location = answer.text(LOCATION.as_str()).and_then(|location| server.upload_path(location));
    let upload = location.ok_or_else(|| not_ours("no upload address"))?;
    let measured = send(server, &upload).await;
    // Whatever came of it; the server forgets it by itself too.
    let _ = server.short(server.request(Method::DELETE, &upload)).await;
    measured
}

async fn send(server: &Server, upload: &str) -> Result<f64, Failure> {
    let (mut offset, mut rate, began) = (0, 0.0, Instant::now());
    for piece in PIECES {
        // Random, because a line that compresses would look faster than it is for photos.
        let mut bytes = vec![0; piece];
        getrandom::fill(&mut bytes).map_err(|error| Failure::Again { why: error.to_string(), tries: None })?;
        let request = server.request(Method::PATCH, upload).header(header::UPLOAD_OFFSET, offset);
        let request = request.header(CONTENT_TYPE, OFFSET_OCTET_STREAM).body(bytes).timeout(LONGEST);
        let sent = Instant::now();
        let answer = server.understood(request.send().await.map_err(|error| away(&error))?).await?;
        if !answer.status.is_success() {
            return Err(answer.failure());
        }
        offset += piece;
        rate = piece as f64 / sent.elapsed().as_secs_f64().max(1e-6);
        if began.elapsed() > ENOUGH {
            break;
        }
    }
    Ok(rate)
}
