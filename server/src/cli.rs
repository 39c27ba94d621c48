//! The command line of `findme-server`: flags over environment over defaults.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use findme_common::EventId;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{Config, Faces, NewEvent, Server, Site, face};

/// Stores an event's photos, finds the faces in them, lets each guest find theirs.
#[derive(Debug, Parser)]
#[command(name = "findme-server", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take uploads and answer guests (the default).
    Serve(ServeArgs),
    /// Create and list events.
    #[command(subcommand)]
    Event(EventCommand),
    /// Tokens of the machines that upload.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Face models.
    #[command(subcommand)]
    Models(ModelsCommand),
}

#[derive(Debug, Subcommand)]
enum EventCommand {
    /// Create an event; prints its join code and a first photographer token.
    Create {
        /// Name that guests see.
        name: String,
        #[command(flatten)]
        data: DataArg,
    },
    /// List all events, newest first.
    List {
        #[command(flatten)]
        data: DataArg,
    },
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Create a photographer token for a further machine.
    Create {
        /// Id of the event.
        event: EventId,
        /// Which machine it is for.
        #[arg(long, default_value = "machine")]
        label: String,
        #[command(flatten)]
        data: DataArg,
    },
}

#[derive(Debug, Subcommand)]
enum ModelsCommand {
    /// List the packs, their files, licences and sources.
    List,
}

#[derive(Debug, Args)]
struct DataArg {
    /// Folder of the catalogue, the photos and the keys [default: the system's data folder].
    #[arg(long, env = "FINDME_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ServeArgs {
    #[command(flatten)]
    data: DataArg,
    /// Address to listen on.
    #[arg(long, env = "FINDME_LISTEN", default_value = "127.0.0.1:8420", value_name = "ADDR")]
    listen: SocketAddr,
    /// What guests' links begin with [default: taken from each request].
    #[arg(long, env = "FINDME_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// Folder with the model files; only read.
    #[arg(long, env = "FINDME_MODELS", value_name = "DIR")]
    models: Option<PathBuf>,
    /// How faces are found.
    #[arg(long, env = "FINDME_FACES", value_enum, default_value_t)]
    faces: Faces,
    /// Photos that are indexed at the same time [default: one per core].
    #[arg(long, env = "FINDME_WORKERS", value_name = "N")]
    workers: Option<usize>,
}

/// The program: reads the command line, does it, reports one clear line when it cannot.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("FINDME_LOG").unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("findme-server: {error}");
            return ExitCode::FAILURE;
        }
    };
    let command = cli.command.unwrap_or(Command::Serve(cli.serve));
    match runtime.block_on(run(command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("findme-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(args) => serve(args).await,
        Command::Event(EventCommand::Create { name, data }) => {
            let site = Site::open(&folder(data)?).await?;
            show_operator_token(site.first_operator_token.as_ref());
            let created = site.create_event(NewEvent { name }).await?;
            println!("event               {}", created.id);
            println!("join code           {}", created.join);
            println!("guests' link        <your address>/e/{}", created.join);
            println!("photographer token  {}", created.photographer.reveal());
            println!("The photographer token is shown only now: put it into FINDME_TOKEN, or a file for --token-file.");
            site.close().await;
            Ok(())
        }
        Command::Event(EventCommand::List { data }) => {
            let site = Site::open(&folder(data)?).await?;
            for (id, name, join) in site.events().await? {
                println!("{id}  {join}  {name}");
            }
            site.close().await;
            Ok(())
        }
        Command::Token(TokenCommand::Create { event, label, data }) => {
            let site = Site::open(&folder(data)?).await?;
            println!("{}", site.create_photographer_token(event, &label).await?.reveal());
            site.close().await;
            Ok(())
        }
        Command::Models(ModelsCommand::List) => {
            list_models();
            Ok(())
        }
    }
}

async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let config = Config {
        data: folder(args.data)?,
        public_url: args.public_url,
        models: args.models,
        faces: args.faces,
        workers: args.workers,
    };
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}; choose another address with --listen", args.listen))?;
    let server = Server::open(config).await?;
    show_operator_token(server.first_operator_token());
    if let Some(problem) = server.faces_problem() {
        tracing::warn!("{problem}");
    }
    // On standard output, for programs that start the server on port 0.
    println!("listening on http://{}", listener.local_addr()?);
    let shutdown = CancellationToken::new();
    tokio::spawn(cancel_on_signal(shutdown.clone()));
    server.serve(listener, shutdown).await
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

fn list_models() {
    for pack in face::packs() {
        println!("{}{}", pack.name, if pack.default { "  (default)" } else { "" });
        println!("  {}", pack.licence);
        println!("  {}", pack.notice);
        for file in pack.files() {
            println!("  {}  {} bytes", file.file, file.bytes);
            println!("    sha256 {}", file.sha256);
            for source in &file.sources {
                println!("    {}", source.url);
            }
        }
    }
}

/// Ctrl-C, and on Unix also SIGTERM: what service managers send.
async fn cancel_on_signal(shutdown: CancellationToken) {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                tokio::select! {
                    _ = tokio::signal::ctrl_c() => {}
                    _ = terminate.recv() => {}
                }
            }
            Err(_) => drop(tokio::signal::ctrl_c().await),
        }
    }
    #[cfg(not(unix))]
    drop(tokio::signal::ctrl_c().await);
    tracing::info!("stopping");
    shutdown.cancel();
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_arguments_are_sound() {
        <super::Cli as clap::CommandFactory>::command().debug_assert();
    }
}
