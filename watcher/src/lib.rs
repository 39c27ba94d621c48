//! The watcher: sends each finished photo of some folders to a FindMe server, and nothing twice.
//!
//! One direction, one file for each step:
//! [`source`] (what is there) → [`settle`] (is it finished) → [`fingerprint`] and [`format`] (what is it) → [`plan`]
//! (is it new) → [`queue`] and [`tus`] (send it) → [`manifest`] (remember it) → [`report`] (say so).
//! [`engine`] connects the steps, [`run`](mod@run) drives it; [`command`] is what there is beside watching.

mod alarm;
mod args;
mod arrivals;
mod clocks;
mod command;
mod config;
mod embedded;
mod engine;
mod events;
mod filesystem;
mod fingerprint;
mod format;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod gauge;
mod hints;
mod journal;
mod json;
mod limits;
mod line;
mod listen;
mod look;
mod manifest;
mod names;
mod pace;
mod pixels;
mod plan;
mod portion;
mod preview;
mod progress;
mod queue;
mod rating;
mod report;
mod run;
mod server;
mod settle;
mod shot;
mod snapshot;
mod source;
#[cfg(test)]
mod stand_in;
mod terminal;
mod times;
mod totals;
mod tus;
#[cfg(feature = "venue")]
mod venue;
mod versions;
mod width;
mod xmp;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use tokio::sync::watch;

pub use args::{Args, Cli, Command, Faces, OrderArg, Output, Place, ServiceAction};
pub use config::{Config, ConfigError};
pub use events::Mapping;
pub use run::{Shutdown, run};

/// How the program ends; the number is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Every photo has its receipt.
    Done = 0,
    /// Something broke that has no code of its own.
    Fatal = 1,
    /// The options make no sense.
    Usage = 2,
    /// Some photos could not be sent.
    SomeFailed = 3,
    /// The server gave no answer.
    NoAnswer = 4,
    /// The server refuses the token.
    TokenRefused = 5,
    /// The manifest cannot be believed.
    ManifestUnreadable = 6,
    /// Another process has the manifest.
    ManifestInUse = 11,
    /// Interrupted with work outstanding.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What was asked for.
enum Work {
    Watch(Vec<Config>),
    Command(Command, Option<String>),
}

/// The whole program: arguments, logging, signals, runtime.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    start_logging();
    // The only time that this process chooses; a second choice would be refused, and be the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let token = std::env::var("FINDME_TOKEN").ok();
    let work = match cli.command {
        Some(command) => Work::Command(command, token),
        None => match Config::resolve(cli.watch, token) {
            Ok(configs) => Work::Watch(configs),
            Err(error) => return complain(Exit::Usage, &error.to_string()),
        },
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return complain(Exit::Fatal, &format!("the program cannot start: {error}")),
    };
    let exit = runtime.block_on(async {
        let (wish, shutdown) = watch::channel(Shutdown::Run);
        tokio::spawn(signals(wish));
        match work {
            Work::Watch(configs) => run(configs, shutdown).await,
            Work::Command(command, token) => command::run(command, token, shutdown).await,
        }
    });
    // A reading of a slow card may still hang in the operating system; nobody waits for it.
    runtime.shutdown_background();
    match exit {
        Ok(exit) => exit.into(),
        Err((exit, line)) => complain(exit, &line),
    }
}

fn complain(exit: Exit, line: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{}", terminal::fitted(&format!("findme-watch: {line}")));
    exit.into()
}

fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("FINDME_LOG");
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    // https://no-color.org: present and not empty.
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colours = !unwanted && std::io::IsTerminal::is_terminal(&std::io::stderr());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    let _ = log.try_init();
}

/// The first signal drains, the second parks.
async fn signals(wish: watch::Sender<Shutdown>) {
    loop {
        signal().await;
        wish.send_modify(|wish| *wish = if *wish == Shutdown::Run { Shutdown::Drain } else { Shutdown::Park });
    }
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        },
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}

#[cfg(not(unix))]
async fn signal() {
    drop(tokio::signal::ctrl_c().await);
}
