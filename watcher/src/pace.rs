//! How fast all uploads together send, and (`--limit-rate`) may send. A photographer shares the venue's line with the
//! till.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::portion::Portions;

/// Largest piece that is handed to a connection at a time.
const PIECE: usize = 256 * 1024;
/// Smallest; with smaller ones the overhead would be worth mentioning.
const LEAST_PIECE: usize = 4 * 1024;

/// The pace of all uploads of this program. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pace {
    limited: Option<Limited>,
    /// Bytes of photos that were handed to connections so far.
    gone: Arc<AtomicU64>,
    /// What one request carries.
    pub(crate) portions: Portions,
}

#[derive(Debug, Clone)]
struct Limited {
    bytes_per_second: u64,
    /// When the bytes that were let go so far will have left.
    free_at: Arc<Mutex<Instant>>,
}

impl Pace {
    /// At most so many bytes a second; `None`: as fast as it goes.
    pub(crate) fn new(bytes_per_second: Option<u64>) -> Self {
        let limited = |bytes: u64| Limited { bytes_per_second: bytes.max(1), free_at: Arc::new(Instant::now().into()) };
        Self { limited: bytes_per_second.map(limited), ..Self::default() }
    }

    /// How much to send at a time, so that a slow line does not look like a dead one.
    pub(crate) fn piece(&self) -> usize {
        let Some(limited) = &self.limited else { return PIECE };
        usize::try_from(limited.bytes_per_second / 4).unwrap_or(PIECE).clamp(LEAST_PIECE, PIECE)
    }

    /// Waits until so many bytes may leave.
    pub(crate) async fn wait(&self, bytes: usize) {
        if let Some(turn) = self.turn(bytes, Instant::now()) {
            tokio::time::sleep_until(turn).await;
        }
        self.gone.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The same pace, shared with this one, for uploads that are counted apart.
    pub(crate) fn counted_apart(&self) -> Self {
        Self { limited: self.limited.clone(), ..Self::default() }
    }

    /// Bytes a second at most.
    pub(crate) fn limit(&self) -> Option<u64> {
        self.limited.as_ref().map(|limited| limited.bytes_per_second)
    }

    /// Bytes that were handed to connections so far, those that were sent again included.
    pub(crate) fn gone(&self) -> u64 {
        self.gone.load(Ordering::Relaxed)
    }

    /// When these bytes may leave, if there is a limit; the line is taken for as long as they need.
    fn turn(&self, bytes: usize, now: Instant) -> Option<Instant> {
        let limited = self.limited.as_ref()?;
        let mut free_at = limited.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*free_at).max(now);
        *free_at = turn + Duration::from_secs_f64(bytes as f64 / limited.bytes_per_second as f64);
        Some(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_together_keep_to_the_rate() {
        let (pace, began) = (Pace::new(Some(100_000)), Instant::now());
        let shared = pace.clone();
        let turns: Vec<_> = (0..40).map(|n| if n % 2 == 0 { &pace } else { &shared }.turn(25_000, began)).collect();
        // A million bytes at a hundred thousand a second; the first leave at once.
        let last = turns[39].unwrap() - turns[0].unwrap();
        assert!(last.abs_diff(Duration::from_millis(9_750)) < Duration::from_millis(1), "{last:?}");
        // Nobody sent for a minute: that is not made good in a burst.
        let later = began + Duration::from_secs(60);
        assert_eq!(pace.turn(25_000, later), Some(later));
        assert!(pace.turn(1, later).unwrap() > later);
        assert_eq!(Pace::default().turn(1, began), None);
        assert_eq!((pace.piece(), Pace::default().piece()), (25_000, PIECE));
    }
}
