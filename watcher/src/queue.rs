//! What waits to be sent, in which order, and whether the server may be bothered. Pure: it is told the time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use tokio::time::Instant;

use crate::tus::Parcel;

/// First pause after a failure; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Which photo goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Order {
    /// What the guests are waiting for.
    #[default]
    Newest,
    /// As it was taken.
    Oldest,
}

/// A heap that gives the newest (or oldest) first.
#[derive(Debug)]
pub(crate) struct ByAge<T> {
    order: Order,
    heap: BinaryHeap<Aged<T>>,
    count: u64,
}

#[derive(Debug)]
struct Aged<T> {
    key: (i64, Reverse<u64>),
    item: T,
}

impl<T> PartialEq for Aged<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<T> Eq for Aged<T> {}

impl<T> PartialOrd for Aged<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Aged<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

impl<T> ByAge<T> {
    pub(crate) fn new(order: Order) -> Self {
        Self { order, heap: BinaryHeap::new(), count: 0 }
    }

    /// Adds something that was made at `time_ns`. Of the same time, what came first goes first.
    pub(crate) fn push(&mut self, time_ns: i64, item: T) {
        let time = if self.order == Order::Newest { time_ns } else { time_ns.saturating_neg() };
        self.heap.push(Aged { key: (time, Reverse(self.count)), item });
        self.count += 1;
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        self.heap.pop().map(|aged| aged.item)
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

/// A photo that waits to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) parcel: Parcel,
    /// When it was finished by the camera, as far as was seen.
    pub(crate) since: Instant,
    /// Attempts that failed for reasons of its own.
    pub(crate) failures: u32,
}

/// A pause that doubles with each failure, never longer than 30 s, spread so that many do not come at once.
/// `spread` is a random number from 0 to 1.
pub(crate) fn pause_after(failures: u32, spread: f64) -> Duration {
    let full = FIRST_PAUSE.saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE);
    full.mul_f64(0.75 + 0.25 * spread.clamp(0.0, 1.0))
}

/// Whether the server may be bothered. After a failure that concerns everything, one request tries the way; when it
/// comes through, all follow.
#[derive(Debug, Default)]
pub(crate) enum Gate {
    /// All may go.
    #[default]
    Open,
    /// Nobody may go before `until`, then one.
    Closed { until: Instant, failures: u32, probing: bool },
}

impl Gate {
    /// Whether a request may go now; counts it as the probe where only one may.
    pub(crate) fn may_go(&mut self, now: Instant) -> bool {
        match self {
            Self::Open => true,
            Self::Closed { until, probing, .. } if !*probing && now >= *until => {
                *probing = true;
                true
            }
            Self::Closed { .. } => false,
        }
    }

    /// When [`Gate::may_go`] is worth asking again; `None` while it is open or the probe is under way.
    pub(crate) fn opens_at(&self) -> Option<Instant> {
        match self {
            Self::Closed { until, probing: false, .. } => Some(*until),
            _ => None,
        }
    }

    /// A request came through. Answers whether that is news.
    pub(crate) fn succeeded(&mut self) -> bool {
        matches!(std::mem::take(self), Self::Closed { .. })
    }

    /// A request met nobody, or was told to wait for `after`. Answers whether that is news.
    pub(crate) fn failed(&mut self, now: Instant, after: Option<Duration>, spread: f64) -> bool {
        let (before, news) = match self {
            Self::Open => (0, true),
            // Requests that were under way when the first one failed say nothing new.
            Self::Closed { failures, probing, .. } if *probing => (*failures, false),
            Self::Closed { .. } => return false,
        };
        let pause = after.unwrap_or_else(|| pause_after(before, spread));
        *self = Self::Closed { until: now + pause, failures: before + 1, probing: false };
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_first_and_first_come_among_equals() {
        let mut queue = ByAge::new(Order::Newest);
        for (time, name) in [(5, "b"), (9, "a"), (5, "c"), (-1, "d")] {
            queue.push(time, name);
        }
        assert_eq!(std::iter::from_fn(|| queue.pop()).collect::<String>(), "abcd");
        let mut queue = ByAge::new(Order::Oldest);
        for (time, name) in [(5, "b"), (i64::MIN, "a"), (9, "c")] {
            queue.push(time, name);
        }
        assert_eq!(std::iter::from_fn(|| queue.pop()).collect::<String>(), "abc");
    }

    #[test]
    fn pauses_double_up_to_the_cap() {
        assert_eq!(pause_after(0, 1.0), FIRST_PAUSE);
        assert_eq!(pause_after(1, 1.0), FIRST_PAUSE * 2);
        for failures in 7..100 {
            assert!(pause_after(failures, 1.0) == LONGEST_PAUSE && pause_after(failures, 0.0) > LONGEST_PAUSE / 2);
        }
    }

    #[test]
    fn one_request_tries_the_way_for_all() {
        let now = Instant::now();
        let mut gate = Gate::default();
        assert!(gate.may_go(now) && gate.may_go(now));
        assert!(gate.failed(now, None, 1.0), "the first failure is news");
        assert!(!gate.failed(now, None, 1.0), "those under way are not");
        assert!(!gate.may_go(now));
        let later = gate.opens_at().unwrap();
        assert!(gate.may_go(later), "one may try");
        assert!(!gate.may_go(later), "and only one");
        assert!(!gate.failed(later, None, 1.0));
        assert_eq!(gate.opens_at().unwrap() - later, FIRST_PAUSE * 2);
        assert!(gate.succeeded() && !gate.succeeded());
        assert!(gate.may_go(later));
    }

    #[test]
    fn the_server_says_how_long_to_wait() {
        let now = Instant::now();
        let mut gate = Gate::default();
        gate.failed(now, Some(Duration::from_secs(77)), 0.0);
        assert_eq!(gate.opens_at().unwrap() - now, Duration::from_secs(77));
    }
}
