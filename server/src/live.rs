//! Spreads the live log: one reader of the table per process, any number of listeners. The table is the truth; what is
//! sent here is only a copy of it, and whoever falls behind reads the table again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::catalog::{Catalog, LiveEntry, LiveTail};
use crate::clock::now_ms;

/// Entries that a slow listener may be behind before it reads the table instead.
const BACKLOG: usize = 1024;

/// The table is read this often even when nobody said that something was written.
const POLL: Duration = Duration::from_secs(2);

/// Entries are kept for this long: who was away for longer loads its lists anew anyway.
const KEPT: Duration = Duration::from_secs(7 * 86_400);

/// How often older ones are dropped.
const TRIM_EVERY: Duration = Duration::from_secs(3600);

/// The log of one process's listeners.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    catalog: Catalog,
    news: Arc<Notify>,
    sender: broadcast::Sender<LiveEntry>,
    /// Differs from before when somebody may have lost what they had, see [`Catalog::standing`].
    standing: watch::Sender<i64>,
}

impl Live {
    pub(crate) fn new(catalog: Catalog) -> Self {
        Self { catalog, news: Arc::default(), sender: broadcast::channel(BACKLOG).0, standing: watch::Sender::new(0) }
    }

    /// Says that something was written to the log.
    pub(crate) fn wake(&self) {
        self.news.notify_one();
    }

    /// Entries from now on. Subscribe before reading the table, and drop what was read already.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<LiveEntry> {
        self.sender.subscribe()
    }

    /// Changes when listeners have to look whether they may go on: always before an entry is spread that was written
    /// after the reason.
    pub(crate) fn standing(&self) -> watch::Receiver<i64> {
        self.standing.subscribe()
    }

    /// Reads the table and spreads what is new, until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut last = None;
        while !shutdown.is_cancelled() {
            if let Err(error) = self.spread(&mut last).await {
                tracing::error!(%error, "the live log cannot be read");
            }
            tokio::select! {
                () = self.news.notified() => {}
                () = tokio::time::sleep(POLL) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    /// Drops what is older than [`KEPT`], once an hour, until `shutdown`.
    pub(crate) async fn trim(self, shutdown: CancellationToken) {
        loop {
            match self.catalog.trim_live(now_ms() - KEPT.as_millis() as i64).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "the live log cannot be trimmed"),
            }
            tokio::select! {
                () = tokio::time::sleep(TRIM_EVERY) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    async fn spread(&self, last: &mut Option<LiveTail>) -> crate::catalog::Result<()> {
        loop {
            let tail = match last {
                Some(tail) => tail,
                None => last.insert(self.catalog.live_tail().await?),
            };
            let (entries, next) = self.catalog.live_more(tail).await?;
            // Read behind the entries and told before them: none goes to somebody who lost their standing before it.
            let standing = self.catalog.standing().await?;
            self.standing.send_if_modified(|told| std::mem::replace(told, standing) != standing);
            *tail = next;
            if entries.is_empty() {
                return Ok(());
            }
            for entry in entries {
                // No listener is no error.
                let _ = self.sender.send(entry);
            }
        }
    }
}
