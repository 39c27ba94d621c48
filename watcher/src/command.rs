//! The commands beside watching. Each ends with an exit code, and with one line where something is wrong.

mod doctor;
mod login;
mod photos;
mod repair;
mod service;
mod status;
mod verify;

use std::collections::HashMap;

use findme_common::protocol::{Name, NameList, path};
use findme_common::{Digest, PhotographerToken};
use reqwest::{Method, StatusCode};
use tokio::sync::watch;

use crate::Exit;
use crate::args::Command;
use crate::config::{At, ConfigError};
use crate::run::Shutdown;
use crate::server::{Failure, Server, away, not_ours};

/// An exit code and one line for the user.
type Stop = (Exit, String);

/// Does one of the commands.
///
/// # Errors
/// With the exit code and one line for the user.
pub(crate) async fn run(
    command: Command,
    token: Option<String>,
    mut shutdown: watch::Receiver<Shutdown>,
) -> Result<Exit, Stop> {
    let work = async {
        match command {
            Command::Login { server } => login::login(server),
            Command::Status { place } => status::status(At::resolve(place, token).map_err(usage)?).await,
            Command::Verify { folders, deep, place } => {
                verify::verify(&folders, deep, At::resolve(place, token).map_err(usage)?).await
            }
            Command::Doctor { folders, place } => {
                doctor::doctor(&folders, At::resolve(place, token).map_err(usage)?).await
            }
            Command::Withdraw { last, place } => {
                photos::withdraw(last, At::resolve(place, token).map_err(usage)?).await
            }
            Command::Retry { place } => photos::retry(At::resolve(place, token).map_err(usage)?).await,
            Command::Completions { shell } => {
                let mut command = <crate::Cli as clap::CommandFactory>::command();
                clap_complete::generate(shell, &mut command, "findme-watch", &mut std::io::stdout());
                Ok(Exit::Done)
            }
            Command::Service { action } => service::service(action),
            Command::Man { folder } => man(folder.as_deref()).map_err(fatal),
            Command::Repair { place } => repair::repair(At::resolve(place, token).map_err(usage)?).await,
        }
    };
    tokio::select! {
        done = work => done,
        Ok(_) = shutdown.wait_for(|wish| *wish != Shutdown::Run) => Err((Exit::Interrupted, "interrupted".to_owned())),
    }
}

fn man(folder: Option<&std::path::Path>) -> std::io::Result<Exit> {
    let command = <crate::Cli as clap::CommandFactory>::command();
    match folder {
        Some(folder) => {
            std::fs::create_dir_all(folder)?;
            clap_mangen::generate_to(command, folder)?;
        }
        None => clap_mangen::Man::new(command).render(&mut std::io::stdout())?,
    }
    Ok(Exit::Done)
}

fn usage(error: ConfigError) -> Stop {
    (Exit::Usage, error.to_string())
}

fn fatal(error: impl std::fmt::Display) -> Stop {
    (Exit::Fatal, error.to_string())
}

fn no_answer(failure: &Failure) -> Stop {
    match failure {
        Failure::TokenRefused(_) => (Exit::TokenRefused, failure.to_string()),
        Failure::Away(_) | Failure::Busy { .. } => (Exit::NoAnswer, failure.to_string()),
        _ => (Exit::Fatal, failure.to_string()),
    }
}

fn connect(at: &At) -> Result<Server, Stop> {
    let token: &PhotographerToken = &at.token;
    Server::new(at.url.clone(), token, at.authority.as_deref()).map_err(fatal)
}

/// All originals that the server has of the event, by their digest.
async fn names(server: &Server) -> Result<HashMap<Digest, Name>, Failure> {
    let (mut all, mut after) = (HashMap::new(), String::new());
    loop {
        let request = server.request(Method::GET, &format!("{}?limit=1000{after}", path::NAMES));
        let response = request.send().await.map_err(|error| away(&error))?;
        if response.status() != StatusCode::OK {
            return Err(server.read(response).await.failure());
        }
        let body = response.bytes().await.map_err(|error| away(&error))?;
        let list: NameList = serde_json::from_slice(&body).map_err(|_| not_ours("the list of names is none"))?;
        all.extend(list.photos.into_iter().map(|name| (name.digest, name)));
        match list.next {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(all),
        }
    }
}
