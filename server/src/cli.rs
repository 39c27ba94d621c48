//! The command line of `findme-server`: one file per kind of command.

mod again;
mod evaluate;
mod event;
mod inspect;
#[cfg(feature = "postgres")]
mod migrate;
mod models;
mod serve;
mod suppression;
mod upkeep;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::{Elsewhere, Site};
use again::{ReindexArgs, RematchArgs};
use evaluate::EvaluateArgs;
use event::{EventCommand, TokenCommand};
use inspect::InspectArgs;
use models::ModelsCommand;
use serve::ServeArgs;
use suppression::SuppressionCommand;
use upkeep::{BackupArgs, CheckArgs, RestoreArgs, SupportArgs};

/// Stores an event's photos, finds the faces in them, lets each guest find theirs.
#[derive(Debug, Parser)]
#[command(name = "findme-server", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
    /// How the log is written, on standard error.
    #[arg(long, env = "FINDME_LOG_FORMAT", value_enum, default_value_t, global = true)]
    log_format: LogFormat,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take uploads and answer guests (the default).
    Serve(Box<ServeArgs>),
    /// Create and list events.
    #[command(subcommand)]
    Event(EventCommand),
    /// Tokens of the machines that upload.
    #[command(subcommand)]
    Token(TokenCommand),
    /// People who are never matched.
    #[command(subcommand)]
    Suppression(SuppressionCommand),
    /// Face models.
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Index photos again, beside a running server or alone; what is searchable stays so meanwhile.
    Reindex(ReindexArgs),
    /// Tell guests of photos that they were not told of, after thresholds have changed.
    Rematch(RematchArgs),
    /// Draw what is found in a photo into a copy of it.
    Inspect(InspectArgs),
    /// Measure error rates on photos whose people are known; leaves nothing behind but the figures.
    Evaluate(EvaluateArgs),
    /// Prove that every photo has its file and every file its photo; may run beside a server.
    Check(CheckArgs),
    /// Copy everything but the faces to a folder; may run beside a server.
    Backup(BackupArgs),
    /// Bring a backup back into a new data folder.
    Restore(RestoreArgs),
    /// Move a small server to a database server and an object store.
    #[cfg(feature = "postgres")]
    Migrate(migrate::MigrateArgs),
    /// Facts for whoever helps, without personal data.
    Support(SupportArgs),
}

#[derive(Debug, Args)]
struct DataArg {
    /// Folder of the catalogue, the photos and the keys [default: the system's data folder].
    #[arg(long, env = "FINDME_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Database server that holds the catalogue, for many machines: postgres://USER:PASSWORD@HOST/DATABASE [default: a
    /// file in the data folder].
    #[arg(long, env = "FINDME_DATABASE", value_name = "URL", hide_env_values = true)]
    database: Option<String>,
    /// Object store that holds the photos, for many machines: s3://BUCKET/PREFIX; credentials, region and endpoint as the
    /// environment says (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT) [default: the data folder].
    #[arg(long, env = "FINDME_PHOTOS", value_name = "URL")]
    photos: Option<String>,
    /// Folder of the events' keys, which all machines reach and no backup holds [default: `keys` in the data folder].
    #[arg(long, env = "FINDME_KEYS", value_name = "DIR")]
    keys: Option<PathBuf>,
}

impl DataArg {
    /// What lies elsewhere than in the data folder.
    fn elsewhere(&self) -> Elsewhere {
        Elsewhere { database: self.database.clone(), photos: self.photos.clone(), keys: self.keys.clone() }
    }
}

/// Opens what the arguments name.
async fn site(data: DataArg) -> anyhow::Result<Site> {
    let elsewhere = data.elsewhere();
    Site::open_with(&folder(data)?, &elsewhere).await
}

/// What runs the face models.
#[derive(Debug, Args)]
struct RuntimeArg {
    /// Library file of onnxruntime to run the face models on [default: rten, which is built in].
    #[cfg(feature = "ort")]
    #[arg(long, env = "ORT_DYLIB_PATH", value_name = "FILE")]
    onnxruntime: Option<PathBuf>,
}

impl RuntimeArg {
    #[cfg(feature = "ort")]
    fn library(self) -> Option<PathBuf> {
        self.onnxruntime
    }

    #[cfg(not(feature = "ort"))]
    const fn library(self) -> Option<PathBuf> {
        None
    }
}

/// Which models find and compare faces.
#[derive(Debug, Args)]
struct PackArg {
    /// Face pack: one that `models list` names, or a file that describes another as `models.toml` does [default: the
    /// default pack]. Photos are indexed again in the background; until then, and for guests who enrolled before, the
    /// faces of the earlier pack serve.
    #[arg(long, env = "FINDME_PACK", value_name = "NAME|FILE")]
    pack: Option<String>,
    /// You state that your use is not commercial, for a pack whose licence asks for that.
    #[arg(long, env = "FINDME_ACCEPT_NON_COMMERCIAL")]
    accept_non_commercial: bool,
    /// Cosine from which a photo is shown as «you» [default: the pack's]. Counts from the next search on, nothing is
    /// indexed again; `rematch` tells guests of what they now see.
    #[arg(long, env = "FINDME_YOU_FROM", value_name = "COSINE")]
    you_from: Option<f32>,
    /// Cosine that «maybe you?» never reaches below [default: the pack's].
    #[arg(long, env = "FINDME_MAYBE_FROM", value_name = "COSINE")]
    maybe_from: Option<f32>,
}

impl PackArg {
    /// The pack, with a word about its licence where that is narrow.
    ///
    /// # Errors
    /// When it cannot be chosen.
    fn choose(&self) -> Result<&'static crate::face::Pack, crate::face::PackError> {
        let pack = match &self.pack {
            Some(choice) => crate::face::chosen(choice, self.accept_non_commercial)?,
            None => crate::face::default_pack(),
        };
        if pack.non_commercial {
            tracing::warn!("{} is not for commercial use: {}", pack.name, pack.licence);
        }
        if self.you_from.is_some() || self.maybe_from.is_some() {
            let value = crate::face::Threshold::new;
            return pack.with_thresholds(self.you_from.map(value), self.maybe_from.map(value));
        }
        Ok(pack)
    }
}

/// The program: reads the command line, does it, reports one clear line when it cannot.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // A line for each photo would hide how far it is.
    let level = if matches!(cli.command, Some(Command::Reindex(_) | Command::Rematch(_) | Command::Evaluate(_))) {
        "warn"
    } else {
        "info"
    };
    start_log(cli.log_format, level);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("findme-server: {error}");
            return ExitCode::FAILURE;
        }
    };
    let command = cli.command.unwrap_or(Command::Serve(Box::new(cli.serve)));
    match runtime.block_on(run(command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("findme-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_log(format: LogFormat, level: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("FINDME_LOG").unwrap_or_else(|_| level.into());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(args) => serve::serve(*args).await,
        Command::Event(command) => event::event(command).await,
        Command::Token(command) => event::token(command).await,
        Command::Suppression(command) => suppression::suppression(command).await,
        Command::Models(command) => models::models(command).await,
        Command::Reindex(args) => again::reindex(args).await,
        Command::Rematch(args) => again::rematch(args).await,
        Command::Evaluate(args) => evaluate::evaluate(args).await,
        Command::Inspect(args) => tokio::task::block_in_place(|| inspect::inspect(args)),
        Command::Check(args) => upkeep::check(args).await,
        Command::Backup(args) => upkeep::backup(args).await,
        Command::Restore(args) => upkeep::restore(args).await,
        #[cfg(feature = "postgres")]
        Command::Migrate(args) => migrate::migrate(args).await,
        Command::Support(args) => upkeep::support(args).await,
    }
}

fn show_operator_token(token: Option<&findme_common::OperatorToken>) {
    if let Some(token) = token {
        println!("operator token      {}  (shown only now)", token.reveal());
    }
}

fn folder(data: DataArg) -> anyhow::Result<PathBuf> {
    if let Some(folder) = data.data {
        return Ok(folder);
    }
    let system = directories::ProjectDirs::from("", "", "findme-server")
        .context("this system has no data folder; name one with --data")?;
    Ok(system.data_dir().to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_arguments_are_sound() {
        <super::Cli as clap::CommandFactory>::command().debug_assert();
    }
}
