//! `findme-server serve`: flags over environment over defaults, then the server until a signal.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{DataArg, folder, show_operator_token};
use crate::{Config, Faces, Role, Server};

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    data: DataArg,
    /// Address to listen on.
    #[arg(long, env = "FINDME_LISTEN", default_value = "127.0.0.1:8420", value_name = "ADDR")]
    listen: SocketAddr,
    /// What guests' links begin with [default: taken from each request].
    #[arg(long, env = "FINDME_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    #[command(flatten)]
    work: WorkArgs,
    /// What this process does. Any number of workers may index beside one that serves, on the same data folder.
    #[arg(long, env = "FINDME_ROLE", value_enum, default_value_t)]
    role: Role,
}

/// How photos are indexed.
#[derive(Debug, Args)]
pub(super) struct WorkArgs {
    /// Folder with the model files; only read [default: `models` in the data folder].
    #[arg(long, env = "FINDME_MODELS", value_name = "DIR")]
    models: Option<PathBuf>,
    /// How faces are found.
    #[arg(long, env = "FINDME_FACES", value_enum, default_value_t)]
    faces: Faces,
    /// Photos that are indexed at the same time [default: one per core].
    #[arg(long, env = "FINDME_WORKERS", value_name = "N")]
    workers: Option<usize>,
}

impl WorkArgs {
    /// What a process of this role needs to know.
    pub(super) fn config(self, data: PathBuf, role: Role) -> Config {
        Config { models: self.models, faces: self.faces, workers: self.workers, role, ..Config::new(data) }
    }
}

/// Serves until a signal.
pub(super) async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let config = Config { public_url: args.public_url, ..args.work.config(folder(args.data)?, args.role) };
    let shutdown = CancellationToken::new();
    tokio::spawn(cancel_on_signal(shutdown.clone()));
    if args.role == Role::Worker {
        let server = Server::open(config).await?;
        if let Some(problem) = server.faces_problem() {
            tracing::warn!("{problem}");
        }
        // On standard output, for programs that start workers.
        println!("working");
        return server.work(shutdown).await;
    }
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
    server.serve(listener, shutdown).await
}

/// Ctrl-C, and on Unix also SIGTERM: what service managers send.
pub(super) async fn cancel_on_signal(shutdown: CancellationToken) {
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
