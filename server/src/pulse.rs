//! Hears of what other processes did to the same catalogue: web and worker processes tell each other nothing but what
//! stands in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::catalog::{Catalog, Changes};
use crate::live::Live;
use crate::matching::Matching;
use crate::vault::Vault;

/// How long a catalogue that cannot be read is left alone.
const AFTER_A_FAULT: Duration = Duration::from_millis(200);

/// How long the key of an event that another process deleted may stay in this one's memory.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// Those who are woken.
#[derive(Debug)]
pub(crate) struct Pulse {
    pub(crate) catalog: Catalog,
    pub(crate) live: Live,
    pub(crate) work: Arc<Notify>,
    pub(crate) vault: Vault,
    pub(crate) matching: Matching,
}

impl Pulse {
    /// Looks until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut changes: Option<Changes> = None;
        let mut forgot = Instant::now();
        loop {
            let changed = tokio::select! {
                changed = self.changed(&mut changes) => changed,
                () = shutdown.cancelled() => return,
            };
            if changed {
                self.live.wake();
                self.work.notify_one();
                self.apply_suppressions().await;
            }
            if forgot.elapsed() > FORGET_EVERY {
                forgot = Instant::now();
                self.vault.forget_destroyed().into_iter().for_each(|event| self.matching.forget(event));
            }
        }
    }

    /// Faces that are never to be matched go, whoever said so: another process, or a vector that was carried over.
    async fn apply_suppressions(&self) {
        if let Err(error) = self.matching.apply_suppressions().await {
            tracing::warn!(%error, "faces that are never to be matched are still there");
        }
    }

    /// Waits for the next look; whether anything was written since the last one, also when that cannot be told.
    async fn changed(&self, changes: &mut Option<Changes>) -> bool {
        let seen = match changes {
            Some(changes) => changes.wait().await,
            None => self.catalog.changes().await.map(|new| {
                *changes = Some(new);
                true
            }),
        };
        match seen {
            Ok(changed) => changed,
            Err(error) => {
                tracing::warn!(%error, "cannot look for other processes' changes");
                *changes = None;
                tokio::time::sleep(AFTER_A_FAULT).await;
                true
            }
        }
    }
}
