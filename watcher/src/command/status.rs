//! `status`: the manifest's word and the server's, side by side. Only reads; a running watcher is not disturbed.

use findme_common::protocol::{PhotoList, path};
use reqwest::{Method, StatusCode};

use super::{Stop, connect, no_answer};
use crate::Exit;
use crate::config::At;
use crate::manifest::{Location, Manifest};
use crate::run::exit_of;
use crate::server::{Failure, away, not_ours};

pub(super) async fn status(at: At) -> Result<Exit, Stop> {
    let manifest = Manifest::peek(Location::new(at.snapshot.clone()), at.token.event);
    let manifest = manifest.map_err(|error| (exit_of(&error), error.to_string()))?;
    let counts = manifest.counts();
    println!("manifest  {}", at.snapshot.display());
    println!("  received {}, on the way {}, refused {}", counts.received, counts.announced, counts.refused);
    println!("  files: {} photos, {} skipped, {} failed", counts.files, counts.skipped, counts.failed);
    let server = connect(&at)?;
    println!("server    {}", server.url("/"));
    let list = list(&server).await.map_err(|failure| no_answer(&failure))?;
    let of = list.counts;
    println!("  received {}, indexed {}, failed {}", of.received, of.indexed, of.failed);
    if server.is_this_machine().await {
        println!("  copied on this laptop only: not a backup");
    }
    let outstanding = counts.announced + counts.failed + counts.refused;
    Ok(if outstanding == 0 { Exit::Done } else { Exit::SomeFailed })
}

async fn list(server: &crate::server::Server) -> Result<PhotoList, Failure> {
    let request = server.request(Method::GET, &format!("{}?limit=1", path::ALL_PHOTOS));
    let response = request.send().await.map_err(|error| away(&error))?;
    if response.status() != StatusCode::OK {
        return Err(server.read(response).await.failure());
    }
    let body = response.bytes().await.map_err(|error| away(&error))?;
    serde_json::from_slice(&body).map_err(|_| not_ours("the list is none"))
}
