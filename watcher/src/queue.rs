//! What waits to be sent, in which order, and whether the server may be bothered. Pure: it is told the time.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::tus::Parcel;

/// First pause after a failure; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Longest pause between two attempts: one request tries the way for all, and a server that is back is not kept waiting.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Which photo goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Order {
    /// What the guests are waiting for.
    #[default]
    Newest,
    /// As it was taken.
    Oldest,
}

/// Of so many that go, one is the one that has waited longest: a stream of new photos starves no old one.
const AGEING: u64 = 4;

/// Gives the newest (or oldest) first, and now and then whoever has waited longest.
#[derive(Debug)]
pub(crate) struct ByAge<T> {
    order: Order,
    items: BTreeMap<(i64, Reverse<u64>), T>,
    /// The same by their arrival.
    waiting: BTreeMap<u64, i64>,
    arrived: u64,
    gone: u64,
}

impl<T> ByAge<T> {
    pub(crate) fn new(order: Order) -> Self {
        Self { order, items: BTreeMap::new(), waiting: BTreeMap::new(), arrived: 0, gone: 0 }
    }

    /// Adds something that was made at `time_ns`. Of the same time, what came first goes first.
    pub(crate) fn push(&mut self, time_ns: i64, item: T) {
        let time = if self.order == Order::Newest { time_ns } else { time_ns.saturating_neg() };
        self.items.insert((time, Reverse(self.arrived)), item);
        self.waiting.insert(self.arrived, time);
        self.arrived += 1;
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        self.gone += 1;
        let first = if self.order == Order::Newest && self.gone.is_multiple_of(AGEING) {
            self.waiting.first_key_value().map(|(arrival, time)| (*time, Reverse(*arrival)))
        } else {
            self.items.last_key_value().map(|(key, _)| *key)
        }?;
        self.waiting.remove(&first.1.0);
        self.items.remove(&first)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
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
    pub(crate) errand: Errand,
    /// It was tried to send a preview ahead, and there is none.
    pub(crate) without_preview: bool,
}

impl Job {
    /// Begun now.
    pub(crate) fn new(parcel: Parcel, errand: Errand) -> Self {
        Self { parcel, since: Instant::now(), failures: 0, errand, without_preview: false }
    }

    /// Whether it sends bytes of a photo.
    pub(crate) fn sends(&self) -> bool {
        matches!(self.errand, Errand::Photo | Errand::Preview)
    }
}

/// What is to be done with a photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Errand {
    /// Send it.
    Photo,
    /// Send a smaller picture ahead of it.
    Preview,
    /// The server has it; tell which other photo it replaces.
    Relation,
    /// The server has it; let guests see it if its rating says so.
    Release,
}

/// A pause that doubles with each failure, never longer than 10 s, spread so that many do not come at once.
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
    use proptest::prelude::*;

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
    fn a_stream_of_new_photos_starves_no_old_one() {
        let mut queue = ByAge::new(Order::Newest);
        (0..100).for_each(|n| queue.push(n, n));
        // For each that goes a newer one comes, for ever.
        let mut went = Vec::new();
        for new in 0..400 {
            queue.push(1000 + new, 1000 + new);
            went.push(queue.pop().unwrap());
        }
        assert_eq!(queue.len(), 100);
        let old: Vec<_> = went.iter().filter(|n| **n < 100).copied().collect();
        assert_eq!(old, (0..100).collect::<Vec<_>>(), "each fourth is the one that has waited longest");
        assert!(went.chunks(4).all(|four| four[..3].is_sorted() && four[0] >= 1000), "the others are new ones");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_doubled_and_nothing_waits_for_ever(
            pushes in proptest::collection::vec((any::<i8>(), 0_u8..3), 1..300), newest: bool,
        ) {
            let mut queue = ByAge::new(if newest { Order::Newest } else { Order::Oldest });
            let (mut waiting, mut went) = (Vec::new(), Vec::new());
            for (n, (time, pops)) in pushes.iter().enumerate() {
                queue.push(i64::from(*time), n);
                waiting.push(n);
                for _ in 0..*pops {
                    if let Some(n) = queue.pop() {
                        waiting.retain(|waits| *waits != n);
                        went.push(n);
                    }
                }
                prop_assert_eq!(queue.len(), waiting.len());
                prop_assert_eq!(queue.iter().count(), waiting.len());
            }
            // With one in four of its own, the one that has waited longest goes within four turns.
            if let (true, Some(longest)) = (newest, waiting.first()) {
                let next: Vec<_> = (0..4).filter_map(|_| queue.pop()).collect();
                prop_assert!(next.contains(longest));
                went.extend(next);
            }
            went.extend(std::iter::from_fn(|| queue.pop()));
            went.sort_unstable();
            prop_assert_eq!(went, (0..pushes.len()).collect::<Vec<_>>());
        }
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
