//! `findme-server reindex` and `rematch`: beside a running server, or alone.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use findme_common::EventId;
use tokio_util::sync::CancellationToken;

use super::serve::{WorkArgs, cancel_on_signal};
use super::{DataArg, PackArg, folder};
use crate::catalog::Requeue;
use crate::cpu::CpuPool;
use crate::matching::{FaceState, Matching};
use crate::site::is_absent;
use crate::{Elsewhere, Role, Server, Site, picture, roles};

#[derive(Debug, Args)]
pub(super) struct ReindexArgs {
    /// Only this event's photos.
    #[arg(long, value_name = "ID")]
    event: Option<EventId>,
    /// Only photos that failed or are put off.
    #[arg(long)]
    failed: bool,
    #[command(flatten)]
    data: DataArg,
    #[command(flatten)]
    work: WorkArgs,
}

#[derive(Debug, Args)]
pub(super) struct RematchArgs {
    /// Only this event's guests.
    #[arg(long, value_name = "ID")]
    event: Option<EventId>,
    #[command(flatten)]
    pack: PackArg,
    #[command(flatten)]
    data: DataArg,
}

/// Puts photos into the queue again and waits until they are indexed: by the workers that there are, or by its own.
pub(super) async fn reindex(args: ReindexArgs) -> anyhow::Result<()> {
    let elsewhere = args.data.elsewhere();
    let data = folder(args.data)?;
    let site = open(&data, &elsewhere, args.event).await?;
    // On a database server it is not known who works; whoever does so takes what this queues.
    let own = if elsewhere.database.is_some() || roles::somebody_works(&data)? {
        None
    } else {
        let server = Server::open(args.work.config(data, elsewhere, Role::Worker)?).await?;
        if let Some(problem) = server.faces_problem() {
            anyhow::bail!("nothing was queued, since nobody could index it: {problem}");
        }
        Some(server)
    };
    let which = if args.failed { Requeue::Failed } else { Requeue::All };
    let queued = site.catalog.requeue(args.event, which).await?;
    let shutdown = CancellationToken::new();
    tokio::spawn(cancel_on_signal(shutdown.clone()));
    let working = own.map(|server| tokio::spawn(server.work(shutdown.clone())));
    let (open, put_off) = wait(&site, args.event, queued, &shutdown).await?;
    shutdown.cancel();
    if let Some(working) = working {
        working.await.context("the worker died")??;
    }
    println!("{queued} photos were queued, {} are done", queued.saturating_sub(open));
    if put_off > 0 {
        println!("{put_off} are put off by a trouble that may pass; they stay in the queue");
    } else if open > 0 {
        println!("{open} stay in the queue");
    }
    site.close().await;
    Ok(())
}

/// Until nothing is left but what is put off; what is left then, and how much of it is put off.
async fn wait(
    site: &Site,
    event: Option<EventId>,
    queued: u64,
    shutdown: &CancellationToken,
) -> anyhow::Result<(u64, u64)> {
    let mut progress = Progress::new("photos");
    loop {
        let (open, put_off) = site.catalog.open_jobs(event).await?;
        progress.show(queued.saturating_sub(open), queued);
        if open == put_off || shutdown.is_cancelled() {
            progress.end();
            return Ok((open, put_off));
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

/// Tells guests of photos that they were not told of, by today's thresholds.
pub(super) async fn rematch(args: RematchArgs) -> anyhow::Result<()> {
    let pack = args.pack.choose()?;
    let elsewhere = args.data.elsewhere();
    let site = open(&folder(args.data)?, &elsewhere, args.event).await?;
    let events = match args.event {
        Some(event) => vec![event],
        None => site.catalog.events().await?.into_iter().map(|event| event.id).collect(),
    };
    // Comparing takes no models, so none are loaded.
    let (faces, cpu) = (FaceState::Waiting("not needed".to_owned(), pack), CpuPool::new(1)?);
    let matching = Matching::new(site.catalog.clone(), site.vault.clone(), faces, cpu, picture::Limits::default());
    let mut told = 0;
    for event in events {
        let mut progress = Progress::new("guests");
        let done = matching.rematch(event, |done, all| progress.show(done as u64, all as u64)).await;
        progress.end();
        told += done.with_context(|| format!("cannot search the event {event}"))?;
    }
    println!("guests were told of {told} photos that they did not know of");
    site.close().await;
    Ok(())
}

/// The site of a data folder that is there, and the event too.
async fn open(data: &Path, elsewhere: &Elsewhere, event: Option<EventId>) -> anyhow::Result<Site> {
    if elsewhere.database.is_none() && is_absent(&data.join("findme.sqlite"))? {
        anyhow::bail!("there is no catalogue in {}; name its folder with --data", data.display());
    }
    let site = Site::open_with(data, elsewhere).await?;
    if let Some(event) = event {
        site.catalog.event(event).await?.with_context(|| format!("there is no event {event}"))?;
    }
    Ok(site)
}

/// One line that is overwritten on a terminal, a line every ten seconds elsewhere.
pub(super) struct Progress {
    what: &'static str,
    terminal: bool,
    said: Instant,
}

impl Progress {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, terminal: std::io::stderr().is_terminal(), said: Instant::now() }
    }

    fn show(&mut self, done: u64, all: u64) {
        self.show_of(self.what, done, all);
    }

    /// For work of several kinds.
    pub(super) fn show_of(&mut self, what: &str, done: u64, all: u64) {
        let mut out = std::io::stderr();
        // Progress that cannot be shown stops nothing.
        if self.terminal {
            let _ = write!(out, "\r{done} of {all} {what}\x1b[K");
            let _ = out.flush();
        } else if self.said.elapsed() >= Duration::from_secs(10) {
            self.said = Instant::now();
            let _ = writeln!(out, "{done} of {all} {what}");
        }
    }

    pub(super) fn end(&self) {
        if self.terminal {
            let _ = writeln!(std::io::stderr());
        }
    }
}
