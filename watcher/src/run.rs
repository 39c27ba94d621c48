//! One run: opens the parts, drives the engine until it is told to end, and leaves everything in order.

mod several;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use findme_common::PhotographerToken;
use reqwest::Url;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::Exit;
use crate::config::{Config, Destination, snapshot_of};
use crate::engine::{Engine, Fatal};
use crate::listen::{Ear, Heard};
use crate::manifest::{Location, Manifest, OpenError};
use crate::report::{Event, Report};
use crate::server::{BuildError, Failure, Rest, Server};
use crate::source::{self, Told};

pub use several::run;

/// Between two signs of life.
const PULSE: Duration = Duration::from_millis(200);
/// Between two questions whether the server is at rest: at first, and at most.
const REST_POLL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Between two compactions of the manifest while the program goes on.
const COMPACTION: Duration = Duration::from_secs(60);

/// How the program is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Shutdown {
    /// Not at all.
    #[default]
    Run,
    /// Finish what is being sent, start nothing.
    Drain,
    /// Park what is being sent; the next run goes on there.
    Park,
}

/// Watches and sends for one event until everything is done (`--once`) or it is told to end.
///
/// # Errors
/// With the exit code and one line for the user.
async fn run_one(
    config: Config,
    mut report: Report,
    mut shutdown: watch::Receiver<Shutdown>,
) -> Result<Exit, (Exit, String)> {
    let fatal = |error: &dyn std::fmt::Display| (Exit::Fatal, error.to_string());
    #[cfg(feature = "venue")]
    let mut venue = None;
    let mut authority = None;
    let (url, token): (Url, PhotographerToken) = match &config.destination {
        Destination::Server { url, token, authority: of } => {
            authority = of.clone();
            (url.clone(), token.clone())
        }
        #[cfg(feature = "venue")]
        Destination::Venue(wanted) => {
            let folder = config.folders.first().ok_or((Exit::Usage, "no folder".to_owned()))?;
            let started =
                crate::venue::start(wanted, folder).await.map_err(|error| (Exit::Fatal, format!("{error:#}")))?;
            report.on_this_machine_only();
            report.tell(&Event::Serving(&started.serving));
            let destination = (started.url.clone(), started.token.clone());
            venue = Some(started);
            destination
        }
        #[cfg(not(feature = "venue"))]
        Destination::Venue(_) => return Err((Exit::Usage, "this program was built without --serve".into())),
    };
    // The folders are listed, and the manifest is read, while the rest is made ready.
    let (told, guard) = source::start(config.folders.clone(), config.poll).map_err(|error| fatal(&error))?;
    let location = Location::new(snapshot_of(&config.data, config.manifest.as_deref(), token.event));
    let (event, looks_only) = (token.event, config.dry_run);
    let manifest = tokio::task::spawn_blocking(move || match looks_only {
        true => Manifest::peek(location, event),
        false => Manifest::open(location, event),
    });
    let server = Server::new(url, &token, authority.as_deref()).map_err(|error: BuildError| fatal(&error))?;
    if server.is_this_machine().await {
        report.on_this_machine_only();
    }
    let manifest = manifest.await.map_err(|error| died(&error))?;
    let manifest = Arc::new(manifest.map_err(|error| (exit_of(&error), error.to_string()))?);
    report.tell(&Event::Notice(&beginning(&config, &server)));
    let ear = (!config.dry_run).then(|| Ear::open(server.clone()));
    let engine = Engine::new(config, server, token.event, Arc::clone(&manifest), report);
    let mut driver = Driver {
        began: Instant::now(),
        engine,
        told,
        guard: Some(guard),
        ear,
        scanned: false,
        told_idle: false,
        asking: None,
        asked: 0,
        needed_since: None,
        compacted: None,
    };
    let work = driver.drive(&mut shutdown);
    #[cfg(feature = "venue")]
    let exit = match &mut venue {
        Some(venue) => tokio::select! {
            exit = work => exit,
            died = venue.died() => Err((Exit::Fatal, format!("the server in this program ended: {died}"))),
        },
        None => work.await,
    };
    #[cfg(not(feature = "venue"))]
    let exit = work.await;
    let exit = driver.finish(exit);
    #[cfg(feature = "venue")]
    if let Some(venue) = venue {
        venue.stop().await;
    }
    exit
}

/// What is about to happen, in one line.
fn beginning(config: &Config, server: &Server) -> String {
    let folders: Vec<_> = config.folders.iter().map(|folder| folder.display().to_string()).collect();
    let what = match (config.dry_run, config.once) {
        (true, _) => "looking through",
        (false, true) => "sending what is in",
        (false, false) => "watching",
    };
    format!("{what} {} → {}", folders.join(", "), server.url("/"))
}

pub(crate) fn exit_of(error: &OpenError) -> Exit {
    match error {
        OpenError::InUse(_) => Exit::ManifestInUse,
        OpenError::Unreadable { .. } => Exit::ManifestUnreadable,
        OpenError::OtherEvent { .. } | OpenError::Unwritable { .. } => Exit::Fatal,
    }
}

type Asking = tokio::task::JoinHandle<Result<Rest, Failure>>;

struct Driver {
    began: Instant,
    engine: Engine,
    told: mpsc::Receiver<Told>,
    /// `None`: the source was told to end.
    guard: Option<source::Guard>,
    /// `None`: the server does not tell what becomes of photos.
    ear: Option<Ear>,
    /// All folders were listed once.
    scanned: bool,
    told_idle: bool,
    /// A question to the server whether it is at rest.
    asking: Option<Asking>,
    asked: u32,
    /// Since when the server is needed without a break.
    needed_since: Option<std::time::Instant>,
    compacted: Option<Instant>,
}

impl Driver {
    async fn drive(&mut self, shutdown: &mut watch::Receiver<Shutdown>) -> Result<Exit, (Exit, String)> {
        let mut pulse = tokio::time::interval(PULSE);
        pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut wish = *shutdown.borrow_and_update();
        loop {
            let now = Instant::now();
            let due = self.engine.tick(now);
            if wish == Shutdown::Run {
                self.engine.start_readings();
                self.engine.start_uploads(now);
                if let Some(exit) = self.rest()? {
                    return Ok(exit);
                }
            } else if self.engine.uploads.is_empty() || wish == Shutdown::Park {
                return Ok(self.interrupted());
            }
            self.give_up()?;
            tokio::select! {
                told = self.told.recv(), if self.guard.is_some() => self.hear(told)?,
                Some(done) = self.engine.readings.join_next() => {
                    let (path, reading, found) = done.map_err(|error| died(&error))?;
                    self.engine.read(path, reading, found);
                }
                Some(done) = self.engine.uploads.join_next() => {
                    let (job, result) = done.map_err(|error| died(&error))?;
                    self.engine.sent(job, result).map_err(ended)?;
                }
                answer = answered(&mut self.asking) => {
                    if let Some(exit) = self.hear_rest(answer)? {
                        return Ok(exit);
                    }
                }
                heard = next_heard(&mut self.ear) => self.note(heard),
                () = until(due) => {}
                _ = pulse.tick() => self.engine.pulse(),
                Ok(()) = shutdown.changed() => {
                    wish = *shutdown.borrow_and_update();
                    self.wind_down(wish);
                }
            }
        }
    }

    fn hear(&mut self, told: Option<Told>) -> Result<(), (Exit, String)> {
        match told {
            Some(Told::Listed(listing)) => self.engine.list(listing),
            Some(Told::Sightings(sightings)) => sightings.into_iter().for_each(|s| self.engine.sight(s)),
            Some(Told::Scanned) => self.scanned = true,
            Some(Told::Back(folder)) => self.engine.try_again_below(&folder),
            Some(Told::Woke) => self.wake(),
            Some(Told::Notice(line)) => self.engine.report.tell(&Event::Notice(&line)),
            None => return Err((Exit::Fatal, "the folder watcher ended unexpectedly".into())),
        }
        Ok(())
    }

    /// The laptop slept, or its clock was set: nothing that was agreed with the server before is relied on.
    fn wake(&mut self) {
        self.engine.wake();
        if self.ear.is_some() {
            self.ear = Some(Ear::open(self.engine.server.clone()));
        }
    }

    /// Takes note of what became of a photo. When nothing is left to hear of, the server is probably at rest: it is asked
    /// at once.
    fn note(&mut self, heard: Option<Heard>) {
        let Some(heard) = heard else {
            self.ear = None;
            return;
        };
        tracing::debug!(?heard, "the server has told");
        if self.engine.arrivals.heard(heard, Instant::now())
            && let Some(asking) = self.asking.take()
        {
            asking.abort();
            self.asked = 0;
        }
    }

    fn wind_down(&mut self, wish: Shutdown) {
        // Nothing new from here on; the receiver is not read any more either.
        self.guard = None;
        self.told.close();
        let left = self.engine.totals().on_the_way;
        if wish == Shutdown::Drain && !self.engine.uploads.is_empty() {
            let line = format!("finishing what is being sent ({left} on the way); Ctrl-C again parks it");
            self.engine.report.tell(&Event::Notice(&line));
        }
    }

    fn interrupted(&mut self) -> Exit {
        let totals = self.engine.totals();
        if let Some(left) = self.engine.names_left() {
            self.engine.report.tell(&Event::Notice(&left));
        }
        self.engine.uploads.abort_all();
        match (totals.on_the_way, totals.failed) {
            (0, _) if !self.scanned => Exit::Interrupted,
            (0, 0) => Exit::Done,
            (0, _) => Exit::SomeFailed,
            _ => Exit::Interrupted,
        }
    }

    /// Notices when everything has its word and the server is at rest too.
    fn rest(&mut self) -> Result<Option<Exit>, (Exit, String)> {
        if !self.scanned || !self.engine.is_done() {
            self.asking = None;
            self.asked = 0;
            return Ok(None);
        }
        if !self.engine.restless && self.told_idle {
            return Ok(None);
        }
        if self.engine.config.dry_run {
            return Ok(self.at_rest());
        }
        if self.asking.is_none() {
            let server = self.engine.server.clone();
            let wait = REST_POLL.0.saturating_mul(1 << self.asked.min(5)).min(REST_POLL.1);
            let wait = if self.asked == 0 { Duration::ZERO } else { wait };
            self.asked += 1;
            self.asking = Some(tokio::spawn(async move {
                tokio::time::sleep(wait).await;
                server.rest().await
            }));
        }
        Ok(None)
    }

    fn hear_rest(&mut self, answer: Result<Rest, Failure>) -> Result<Option<Exit>, (Exit, String)> {
        self.asking = None;
        match answer {
            Ok(Rest::AtRest) => return Ok(self.at_rest()),
            Ok(Rest::Working(jobs)) => tracing::debug!(jobs, "the server is indexing"),
            Err(Failure::TokenRefused(why)) => return Err(ended(Fatal::TokenRefused(why))),
            Err(failure @ Failure::TooNew(_)) => return Err(ended(Fatal::TooNew(failure.to_string()))),
            Err(failure) => tracing::debug!(%failure, "the server was asked whether it is at rest"),
        }
        Ok(None)
    }

    fn at_rest(&mut self) -> Option<Exit> {
        self.engine.restless = false;
        self.told_idle = true;
        self.needed_since = None;
        if self.engine.config.once || self.compacted.is_none_or(|at| at.elapsed() >= COMPACTION) {
            self.compact();
        }
        let totals = self.engine.totals();
        self.engine.report.tell(&Event::Idle(totals));
        let exit = if totals.failed == 0 { Exit::Done } else { Exit::SomeFailed };
        (self.engine.config.once || self.engine.config.dry_run).then_some(exit)
    }

    fn compact(&mut self) {
        self.compacted = Some(Instant::now());
        let compacted = tokio::task::block_in_place(|| self.engine.manifest.compact());
        if let Err(error) = compacted {
            // The journal still holds everything.
            self.engine.report.tell(&Event::Notice(&format!("the manifest was not tidied up: {error}")));
        }
    }

    /// Ends the run when the server was needed and not heard of for too long.
    fn give_up(&mut self) -> Result<(), (Exit, String)> {
        let needed = self.engine.needs_server() || self.asking.is_some();
        if !needed {
            self.needed_since = None;
            return Ok(());
        }
        let since = *self.needed_since.get_or_insert_with(std::time::Instant::now);
        let silent = since.max(self.engine.server.last_answer.at()).elapsed();
        match self.engine.config.give_up {
            Some(limit) if silent >= limit => {
                let line = format!(
                    "no answer from the server at {} for {} s; the next run goes on from here",
                    self.engine.server.url("/"),
                    silent.as_secs()
                );
                Err((Exit::NoAnswer, line))
            }
            _ => Ok(()),
        }
    }

    fn finish(&mut self, exit: Result<Exit, (Exit, String)>) -> Result<Exit, (Exit, String)> {
        self.guard = None;
        self.engine.uploads.abort_all();
        let code = match &exit {
            Ok(exit) | Err((exit, _)) => *exit,
        };
        if !self.engine.config.dry_run {
            self.compact();
        }
        let totals = self.engine.totals();
        self.engine.report.tell(&Event::Summary { totals, exit: code as u8, took: self.began.elapsed() });
        exit
    }
}

fn died(error: &tokio::task::JoinError) -> (Exit, String) {
    (Exit::Fatal, format!("a part of the program failed: {error}"))
}

fn ended(fatal: Fatal) -> (Exit, String) {
    match fatal {
        Fatal::TokenRefused(why) => (
            Exit::TokenRefused,
            format!("the server refuses the photographer token ({why}); ask the operator for a new one"),
        ),
        Fatal::TooNew(why) => (Exit::Fatal, why),
        Fatal::Manifest(error) => (Exit::Fatal, error.to_string()),
    }
}

async fn answered(asking: &mut Option<Asking>) -> Result<Rest, Failure> {
    match asking {
        Some(task) => task.await.unwrap_or_else(|error| Err(Failure::Away(error.to_string()))),
        None => pending().await,
    }
}

async fn next_heard(ear: &mut Option<Ear>) -> Option<Heard> {
    match ear {
        Some(ear) => ear.next().await,
        None => pending().await,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
