//! Erasing elsewhere what was erased here. The catalogue's list survives everything, so nothing is forgotten: not by a
//! process that ends, nor because the service is away, nor when the event is long gone.

use std::collections::BTreeMap;
use std::time::Duration;

use findme_common::EventId;
use tokio_util::sync::CancellationToken;

use super::{FaceRef, Operation, Remote, RemoteError, ServiceError};
use crate::catalog::Erasure;
use crate::clock::now_ms;

/// How often it is looked whether something is to be erased.
const EVERY: Duration = Duration::from_secs(2);

/// How often it is looked for answers that never came, and whether there is money again.
const RARELY: Duration = Duration::from_secs(60);

/// Longer than any photo is worked on: whoever asked this long ago is gone.
const GIVEN_UP_MS: i64 = 15 * 60_000;

impl Remote {
    /// Erases until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut rarely = tokio::time::interval(RARELY);
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => self.say(self.erase().await),
                _ = rarely.tick() => {
                    self.say(self.find_lost(now_ms() - GIVEN_UP_MS).await);
                    self.say(self.wake_waiting().await);
                }
                () = shutdown.cancelled() => return,
            }
        }
    }

    fn say(&self, result: Result<(), RemoteError>) {
        if let Err(error) = result {
            tracing::warn!(%error, "faces that are to be erased are still kept elsewhere");
        }
    }

    /// Erases what stands in the list.
    ///
    /// # Errors
    /// The first trouble; what is left stays in the list.
    pub(crate) async fn erase(&self) -> Result<(), RemoteError> {
        loop {
            let due = self.catalog.remote_erasures().await?;
            if due.is_empty() {
                return Ok(());
            }
            let mut faces: BTreeMap<EventId, Vec<Erasure>> = BTreeMap::new();
            for erasure in due {
                if erasure.face.is_some() {
                    faces.entry(erasure.event).or_default().push(erasure);
                    continue;
                }
                let event = erasure.event;
                gone(self.call(event, Operation::Delete, None, || self.service.delete(event)).await)?;
                self.gates.made.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&event);
                self.catalog.remotely_erased(&[erasure]).await?;
            }
            for (event, erasures) in faces {
                let name = |erasure: &Erasure| Some(FaceRef { event, name: erasure.face.clone()? });
                let names: Vec<_> = erasures.iter().filter_map(name).collect();
                let call = || self.service.delete_faces(event, &names);
                gone(self.call(event, Operation::DeleteFaces, None, call).await)?;
                self.catalog.remotely_erased(&erasures).await?;
            }
        }
    }

    /// Finds faces that the service keeps although their answer never came to be on record, because the process that
    /// asked for them died: those that nothing refers to are listed for erasing.
    ///
    /// # Errors
    /// The first trouble; it is looked again later.
    pub(crate) async fn find_lost(&self, before: i64) -> Result<(), RemoteError> {
        let mut lost: BTreeMap<EventId, Vec<String>> = BTreeMap::new();
        for (event, name) in self.catalog.unsettled(before).await? {
            lost.entry(event).or_default().push(name);
        }
        for (event, names) in lost {
            let kept = match self.call(event, Operation::List, None, || self.service.list(event)).await {
                Err(RemoteError::Service(ServiceError::NotThere(_))) => Vec::new(),
                kept => kept?,
            };
            for name in names {
                let of_name = kept.iter().filter(|(_, of)| *of == name).map(|(face, _)| face.to_bytes());
                self.catalog.settle(event, &name, &of_name.collect::<Vec<_>>()).await?;
            }
        }
        Ok(())
    }

    /// A new month, or another process's new ceiling: photos that waited for money are looked at.
    async fn wake_waiting(&self) -> Result<(), RemoteError> {
        if !self.is_over_budget().await? {
            self.catalog.wake_waiting_jobs().await?;
        }
        Ok(())
    }

    /// Whether another photo would cost more than this month's budget.
    pub(crate) async fn is_over_budget(&self) -> Result<bool, RemoteError> {
        let Some(super::Dollars(ceiling)) = self.terms.budget else { return Ok(false) };
        Ok(self.catalog.spent_remotely().await? + Operation::Index.price() > ceiling)
    }
}

/// What is not there is erased.
fn gone(done: Result<(), RemoteError>) -> Result<(), RemoteError> {
    match done {
        Err(RemoteError::Service(ServiceError::NotThere(_))) => Ok(()),
        done => done,
    }
}
