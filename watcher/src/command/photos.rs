//! What a photographer does about photos that are on the server: take the last ones back from the guests' eyes, and
//! have those looked at again that could not be indexed.

use findme_common::protocol::{Changed, PhotoList, PhotoSelection, RetryRequest, path};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Stop, connect, no_answer};
use crate::Exit;
use crate::config::At;
use crate::server::{Failure, Server, away, not_ours};

/// `withdraw --last N`: guests see the last N accepted photos no more; nothing is deleted.
pub(super) async fn withdraw(last: u16, at: At) -> Result<Exit, Stop> {
    let server = connect(&at)?;
    let work = async {
        let list: PhotoList =
            ask(&server, Method::GET, &format!("{}?limit={last}", path::ALL_PHOTOS), None::<&()>).await?;
        let photos: Vec<_> = list.photos.iter().map(|photo| photo.id).collect();
        let changed: Changed = ask(&server, Method::POST, path::HIDE, Some(&PhotoSelection { photos })).await?;
        Ok((list, changed))
    };
    let (list, changed) = work.await.map_err(|failure: Failure| no_answer(&failure))?;
    list.photos.iter().for_each(|photo| println!("hidden  {}", photo.name));
    println!("{} photos are hidden from guests now; nothing was deleted", changed.changed);
    Ok(Exit::Done)
}

/// `retry`: photos that could not be indexed are put into the server's queue again.
pub(super) async fn retry(at: At) -> Result<Exit, Stop> {
    let server = connect(&at)?;
    let request = RetryRequest { photos: Vec::new(), all: true };
    let changed: Changed =
        ask(&server, Method::POST, path::RETRY, Some(&request)).await.map_err(|failure| no_answer(&failure))?;
    println!("{} photos are indexed again; files that failed here are tried at every start", changed.changed);
    Ok(Exit::Done)
}

async fn ask<T: DeserializeOwned>(
    server: &Server,
    method: Method,
    path: &str,
    body: Option<&impl Serialize>,
) -> Result<T, Failure> {
    let mut request = server.request(method, path);
    if let Some(body) = body {
        request = request.json(body);
    }
    let response = request.send().await.map_err(|error| away(&error))?;
    if response.status() != StatusCode::OK {
        return Err(server.read(response).await.failure());
    }
    let body = response.bytes().await.map_err(|error| away(&error))?;
    serde_json::from_slice(&body).map_err(|_| not_ours("the answer is not understood"))
}
