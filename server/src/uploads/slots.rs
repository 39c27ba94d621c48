//! Whose turn it is: one request at a time writes an upload, and the newest wins.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use findme_common::UploadId;
use findme_common::digest::Hasher;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Digest state of the durable prefix of so many bytes, so that it is not read again.
pub(super) type Kept = Option<(u64, Hasher)>;

/// A request's turn; it ends when this is dropped.
pub(super) type Turn<'a> = tokio::sync::MutexGuard<'a, Kept>;

/// The uploads that requests have open.
#[derive(Debug, Clone, Default)]
pub(super) struct Slots(Arc<Mutex<HashMap<UploadId, Arc<Slot>>>>);

/// A request from which nothing came for this long may be dead: a closed laptop, another Wi-Fi.
const QUIET: Duration = Duration::from_millis(500);

/// Who asks where an upload stands is not kept longer by a request that is alive.
const PATIENCE: Duration = Duration::from_millis(1500);

/// One upload that a request has open.
#[derive(Debug)]
pub(super) struct Slot {
    /// Held by the request that writes.
    turn: tokio::sync::Mutex<Kept>,
    /// Asks the present holder to stop.
    stop: Mutex<CancellationToken>,
    /// When something last came from the holder.
    heard: Mutex<Instant>,
}

impl Default for Slot {
    fn default() -> Self {
        Self { turn: Default::default(), stop: Default::default(), heard: Mutex::new(Instant::now()) }
    }
}

impl Slots {
    pub(super) fn of(&self, id: UploadId) -> Arc<Slot> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots.entry(id).or_default().clone()
    }

    /// Drops the slot when nobody else has it and no digest state is kept in it.
    pub(super) fn release(&self, id: UploadId, slot: &Arc<Slot>) {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Two owners: the map and the caller. The map is locked, so nobody can become the third meanwhile.
        if Arc::strong_count(slot) == 2 && slot.turn.try_lock().is_ok_and(|kept| kept.is_none()) {
            slots.remove(&id);
        }
    }
}

impl Slot {
    /// Stops whoever writes and waits for their last byte to be durable.
    pub(super) async fn take_over(&self) -> Turn<'_> {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).cancel();
        self.turn.lock().await
    }

    /// Like [`Slot::take_over`], and stays the writer that a later request can stop.
    pub(super) async fn take_turn(&self) -> (Turn<'_>, CancellationToken) {
        let mine = CancellationToken::new();
        let before = {
            let mut stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *stop, mine.clone())
        };
        before.cancel();
        let turn = self.turn.lock().await;
        self.heard();
        (turn, mine)
    }

    /// Something came from the request that writes.
    pub(super) fn heard(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn quiet_at(&self) -> Instant {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) + QUIET
    }

    /// The turn, if nobody writes or whoever does has gone quiet and is stopped; `None` when a request is alive.
    pub(super) async fn turn_unless_alive(&self) -> Option<Turn<'_>> {
        let patience = Instant::now() + PATIENCE;
        loop {
            let quiet_at = self.quiet_at();
            if let Ok(turn) = tokio::time::timeout_at(quiet_at.min(patience), self.turn.lock()).await {
                return Some(turn);
            }
            let now = Instant::now();
            if self.quiet_at() <= now {
                return Some(self.take_over().await);
            }
            if now >= patience {
                return None;
            }
        }
    }

    /// The turn, unless somebody has it.
    pub(super) fn idle_turn(&self) -> Option<Turn<'_>> {
        self.turn.try_lock().ok()
    }
}
