//! `findme-server serve`: flags over environment over defaults, then the server until a signal.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{DataArg, PackArg, RuntimeArg, folder, show_operator_token};
use crate::{Config, Elsewhere, Faces, Limits, Network, PhotoUrls, RemoteTerms, Role, Server, TlsFiles};

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
    /// Who is responsible for the events, and how to reach them; guests read it on the page about privacy.
    #[arg(long, env = "FINDME_CONTACT", value_name = "TEXT")]
    contact: Option<String>,
    #[command(flatten)]
    work: WorkArgs,
    /// What this process does. Any number of workers may index beside one that serves, on the same data folder.
    #[arg(long, env = "FINDME_ROLE", value_enum, default_value_t)]
    role: Role,
    /// Certificate for https, PEM, with those that vouch for it; read again when it changes.
    #[arg(long, env = "FINDME_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM.
    #[arg(long, env = "FINDME_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Proxy that is believed what it says about its clients (`Forwarded`, `X-Forwarded-For`, `-Proto` and `-Host`); an
    /// address or a network. May be given several times.
    #[arg(long = "trusted-proxy", env = "FINDME_TRUSTED_PROXY", value_name = "NETWORK", value_delimiter = ',')]
    trusted_proxies: Vec<Network>,
    /// Where pages load pictures from: `streamed` through this server, or `signed`, from the object store at addresses that
    /// work for five minutes. What is taken out of photos for guests, scripts and programs go through this server anyway.
    #[arg(long, env = "FINDME_PHOTO_URLS", value_enum, default_value_t, value_name = "HOW")]
    photo_urls: PhotoUrlsArg,
    /// Where browsers reach the object store, with `--photo-urls signed`, for example https://photos.example; https where
    /// pages are [default: where this server does].
    #[arg(long, env = "FINDME_STORE_URL", value_name = "URL")]
    store_url: Option<String>,
    /// Address for /metrics alone [default: on the main one, for the operator's token].
    #[arg(long, env = "FINDME_METRICS_LISTEN", value_name = "ADDR")]
    metrics_listen: Option<SocketAddr>,
    #[command(flatten)]
    limits: Limits,
}

/// See [`PhotoUrls`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum PhotoUrlsArg {
    #[default]
    Streamed,
    Signed,
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
    #[command(flatten)]
    pack: PackArg,
    #[command(flatten)]
    runtime: RuntimeArg,
    #[command(flatten)]
    remote: RemoteTerms,
    /// Photos that are indexed at the same time [default: one per core].
    #[arg(long, env = "FINDME_WORKERS", value_name = "N")]
    workers: Option<usize>,
}

impl WorkArgs {
    /// What a process of this role needs to know.
    ///
    /// # Errors
    /// When the face pack cannot be chosen.
    pub(super) fn config(self, data: PathBuf, elsewhere: Elsewhere, role: Role) -> anyhow::Result<Config> {
        Ok(Config {
            models: self.models,
            faces: self.faces,
            pack: self.pack.choose()?,
            onnxruntime: self.runtime.library(),
            remote: self.remote,
            workers: self.workers,
            role,
            elsewhere,
            ..Config::new(data)
        })
    }
}

/// Serves until a signal.
pub(super) async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let elsewhere = args.data.elsewhere();
    let config = Config {
        public_url: args.public_url,
        contact: args.contact,
        photo_urls: match args.photo_urls {
            PhotoUrlsArg::Streamed => PhotoUrls::Streamed,
            PhotoUrlsArg::Signed => PhotoUrls::Signed { store: args.store_url },
        },
        limits: args.limits,
        trusted_proxies: args.trusted_proxies,
        tls: args.tls_cert.zip(args.tls_key).map(|(certificate, key)| TlsFiles { certificate, key }),
        ..args.work.config(folder(args.data)?, elsewhere, args.role)?
    };
    let shutdown = CancellationToken::new();
    tokio::spawn(cancel_on_signal(shutdown.clone()));
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let listener = match args.role {
        Role::Worker => None,
        Role::All | Role::Web => Some(bind(args.listen, "--listen").await?),
    };
    let metrics = match args.metrics_listen {
        Some(address) => Some(bind(address, "--metrics-listen").await?),
        None => None,
    };
    let mut server = Server::open(config).await?;
    if let Some(problem) = server.faces_problem() {
        tracing::warn!("{problem}");
    }
    // What follows on standard output is for programs that start servers on port 0.
    let announce_metrics = |metrics: &TcpListener| -> std::io::Result<()> {
        println!("metrics on http://{}{}", metrics.local_addr()?, findme_common::protocol::path::METRICS);
        Ok(())
    };
    let Some(listener) = listener else {
        println!("working");
        if let Some(metrics) = metrics {
            announce_metrics(&metrics)?;
            server.show_metrics_on(metrics);
        }
        return server.work(shutdown).await;
    };
    show_operator_token(server.first_operator_token());
    println!("listening on {scheme}://{}", listener.local_addr()?);
    if let Some(metrics) = metrics {
        announce_metrics(&metrics)?;
        server.show_metrics_on(metrics);
    }
    server.serve(listener, shutdown).await
}

async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("cannot listen on {address}; choose another address with {flag}"))
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
