//! Ends what has had its time: faces, then whole events. The server itself does it, at its start and every hour; nobody has
//! to remember.
//!
//! Order: first nothing new is stored, then the key is destroyed (from then on no copy of the vectors, wherever it is, can
//! be read), then the rows go. A crash in between is made good the next time.

use std::time::Duration;

use anyhow::Context;
use findme_common::{EventId, UploadId};
use tokio_util::sync::CancellationToken;

use crate::Site;
use crate::catalog::{Actor, forget_in_copies};
use crate::clock::now_ms;
use crate::matching::Matching;

/// Faces are kept for so many days unless the operator says otherwise.
pub(crate) const FACES_DAYS: u32 = 30;

/// Events are kept for so many days unless the operator says otherwise.
pub(crate) const PHOTOS_DAYS: u32 = 90;

/// No term is longer than this, in days: three years, after which the strictest of the laws that we know wants faces gone.
pub(crate) const LONGEST_DAYS: u32 = 3 * 365;

/// Version of the line that the operator agrees to. Changing the line means changing this.
pub(crate) const ATTESTED_VERSION: &str = "2026-11-1";

/// What the operator states by creating an event where faces are looked for.
pub const ATTESTED: &str = "everyone at the event was told that faces are found in photos";

/// How often it is looked whether something is due.
const EVERY: Duration = Duration::from_secs(3600);

impl Site {
    /// Ends everything that is due at `now` (milliseconds since the epoch); the events that were touched.
    ///
    /// # Errors
    /// When something cannot be erased; what was due before it is.
    pub(crate) async fn enforce(&self, now: i64) -> anyhow::Result<Vec<EventId>> {
        let due = self.catalog.due(now).await?;
        for event in &due.events {
            self.delete_event(*event, Actor::Server).await?;
            tracing::info!(%event, "the event had its time and was deleted");
        }
        for event in due.faces.iter().filter(|event| !due.events.contains(event)) {
            self.catalog.switch_faces_off(*event).await?;
            self.destroy_key(*event).await?;
            let vectors = self.catalog.erase_faces(*event, now).await?;
            tracing::info!(%event, vectors, "the faces had their time and were erased");
        }
        Ok(due.events.into_iter().chain(due.faces).collect())
    }

    /// Deletes an event with everything; whether there was one. Asked again after a crash, it goes on where it stopped.
    ///
    /// # Errors
    /// When something of it cannot be removed.
    pub(crate) async fn delete_event(&self, event: EventId, actor: Actor) -> anyhow::Result<bool> {
        if self.catalog.event(event).await?.is_none() {
            return Ok(false);
        }
        self.catalog.begin_deletion(event).await?;
        self.destroy_key(event).await?;
        let unfinished = self.catalog.unfinished_uploads().await?;
        let staged: Vec<UploadId> =
            unfinished.into_iter().filter(|row| row.new.event == event).map(|row| row.id).collect();
        // The copies from before migrations know its name, and its guests.
        forget_in_copies(&self.store.root().join("backups"), event).await.context("cannot clear the copies")?;
        // The rows go last, so that whoever asks again after a crash finds the event; then what arrived meanwhile.
        self.remove_files(event, staged.clone()).await?;
        let there = self.catalog.delete_event(event, actor).await?;
        self.remove_files(event, staged).await?;
        Ok(there)
    }

    /// Removes the photos and pictures of an event, and what arrived of its unfinished uploads.
    async fn remove_files(&self, event: EventId, staged: Vec<UploadId>) -> anyhow::Result<()> {
        let store = self.store.clone();
        let removed = crate::uploads::blocking(move || {
            staged.into_iter().try_for_each(|upload| store.discard(upload))?;
            store.remove_event(event)
        });
        removed.await.context("cannot remove the photos")
    }

    async fn destroy_key(&self, event: EventId) -> anyhow::Result<()> {
        let vault = self.vault.clone();
        let destroyed = tokio::task::spawn_blocking(move || vault.destroy(event)).await;
        Ok(destroyed.context("cannot destroy a key")??)
    }
}

/// Enforces until `shutdown`.
pub(crate) async fn run(site: Site, matching: Matching, shutdown: CancellationToken) {
    let mut hourly = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            _ = hourly.tick() => {}
            () = shutdown.cancelled() => return,
        }
        match site.enforce(now_ms()).await {
            Ok(touched) => touched.into_iter().for_each(|event| matching.forget(event)),
            Err(error) => tracing::error!("what has had its time cannot be erased: {error:#}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::DAY_MS;
    use crate::{NewEvent, Site};

    #[tokio::test]
    async fn faces_then_photos_go_when_their_time_has_come_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::open(dir.path()).await.unwrap();
        let short = site.create_event(NewEvent::new("short")).await.unwrap().id;
        let long = NewEvent { faces_days: 0, photos_days: 0, ..NewEvent::new("kept") };
        let long = site.create_event(long).await.unwrap().id;
        let key = |event: EventId| dir.path().join("keys").join(event.to_simple());
        let now = now_ms();
        assert!(site.enforce(now + 29 * DAY_MS).await.unwrap().is_empty());
        assert!(key(short).exists());

        let pending = async |days: i64| site.catalog.erasures_pending(now + days * DAY_MS).await.unwrap();
        assert_eq!((pending(29).await, pending(31).await), (0, 1));
        assert_eq!(site.enforce(now + 31 * DAY_MS).await.unwrap(), [short]);
        assert_eq!((pending(31).await, pending(91).await), (0, 1));
        let event = site.catalog.event(short).await.unwrap().unwrap();
        assert!(!event.faces && event.faces_erased_at.is_some() && !key(short).exists());
        assert!(site.enforce(now + 32 * DAY_MS).await.unwrap().is_empty(), "once is enough");

        assert_eq!(site.enforce(now + 91 * DAY_MS).await.unwrap(), [short]);
        assert!(site.catalog.event(short).await.unwrap().is_none());
        assert!(!dir.path().join("photos").join(short.to_simple()).exists());
        let audited = site.catalog.audited(short).await.unwrap();
        let actions: Vec<_> = audited.iter().map(|(actor, action, _)| (actor.as_str(), action.as_str())).collect();
        assert_eq!(actions, [("server", "faces-erased"), ("server", "event-deleted")]);

        assert!(site.enforce(now + 10_000 * DAY_MS).await.unwrap().is_empty());
        // A deletion that stopped half-way: closed for everybody, and gone on with.
        let half = site.create_event(NewEvent { photos_days: 0, ..NewEvent::new("half") }).await.unwrap().id;
        site.catalog.begin_deletion(half).await.unwrap();
        let event = site.catalog.event(half).await.unwrap().unwrap();
        assert!(!event.faces && !event.gallery_open && event.closed_at.is_some());
        assert_eq!(site.enforce(now_ms()).await.unwrap(), [half]);
        assert!(site.catalog.event(half).await.unwrap().is_none());
        assert!(key(long).exists() && site.catalog.event(long).await.unwrap().is_some());
    }
}
