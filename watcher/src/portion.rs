//! How much of a photo one request carries: all of it over a quick line; over a slow one what gets through in about half
//! a second.
//!
//! What a connection has taken and not delivered when it breaks is sent again. With a request for each portion that is
//! never more than the portion; a quick line has its few hundred kilobytes again in no time, and is spared the requests.
//! Learns from requests that came through; the time is told to it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of a request while nothing is known of the line.
const FIRST: u64 = 512 * 1024;
/// Fewest; with fewer the requests themselves would be worth mentioning.
const LEAST: u64 = 64 * 1024;
/// A line of so many bytes a second is a quick one.
const QUICK: f64 = 3e6;
/// How long a request should take, at least and at most.
const TIME: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(2));

/// What is known of the line. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Portions(Arc<Mutex<Known>>);

#[derive(Debug)]
struct Known {
    /// Bytes a second of all requests together; `None`: not known, or not any more.
    rate: Option<f64>,
    /// What a request without bytes takes.
    empty: Option<Duration>,
    /// Bytes of the next request while the rate is not known.
    first: u64,
    under_way: u32,
}

impl Default for Known {
    fn default() -> Self {
        Self { rate: None, empty: None, first: FIRST, under_way: 0 }
    }
}

impl Known {
    fn portion(&self) -> u64 {
        match self.rate {
            None => self.first,
            Some(rate) if rate >= QUICK => u64::MAX,
            Some(rate) => {
                // Where each answer is long on its way, fewer of them are waited for.
                let time = (self.empty.unwrap_or_default() * 2).clamp(TIME.0, TIME.1).as_secs_f64();
                ((rate * time / f64::from(self.under_way.max(1))) as u64).max(LEAST)
            }
        }
    }
}

impl Portions {
    fn known(&self) -> MutexGuard<'_, Known> {
        // Numbers only: each is whole at every moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request without bytes was answered after so long.
    pub(crate) fn answered(&self, after: Duration) {
        let mut known = self.known();
        // The quickest ones tell what cannot be had quicker; they count for long, in case the way has become another.
        known.empty = Some(match known.empty {
            Some(least) if least < after => least + (after - least) / 16,
            _ => after,
        });
    }

    /// Begins a request with bytes.
    pub(crate) fn begin(&self, now: Instant) -> Portion {
        let mut known = self.known();
        known.under_way += 1;
        Portion { portions: self.clone(), most: known.portion(), beside: known.under_way, began: now }
    }
}

/// A request with bytes that is under way.
#[derive(Debug)]
pub(crate) struct Portion {
    portions: Portions,
    most: u64,
    /// Requests that were under way when it began, itself included.
    beside: u32,
    began: Instant,
}

impl Portion {
    /// How many bytes it may carry.
    pub(crate) fn most(&self) -> u64 {
        self.most
    }

    /// The server has these bytes.
    pub(crate) fn arrived(self, bytes: u64, now: Instant) {
        // The last piece of a file says little about the line.
        if bytes < LEAST {
            return;
        }
        let mut known = self.portions.known();
        let took = now - self.began;
        let sending = took.saturating_sub(known.empty.unwrap_or_default()).max(took / 4).as_secs_f64().max(1e-6);
        let together = f64::from(self.beside + known.under_way) / 2.0;
        let rate = bytes as f64 / sending * together;
        known.rate = Some(known.rate.map_or(rate, |before| (before + rate) / 2.0));
        known.first = FIRST;
    }

    /// It broke. If much was on its way, the line is not what it was taken for: it is measured anew, with less.
    pub(crate) fn broke(self) {
        let mut known = self.portions.known();
        if known.rate.is_none_or(|rate| rate >= QUICK) {
            known.rate = None;
            known.first = (known.first / 2).max(LEAST);
        }
    }
}

impl Drop for Portion {
    fn drop(&mut self) {
        let mut known = self.portions.known();
        known.under_way = known.under_way.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One request alone over a line of so many bytes a second, of a file that has much left.
    fn send(portions: &Portions, rate: u64) -> u64 {
        let now = Instant::now();
        let portion = portions.begin(now);
        let bytes = portion.most().min(8_000_000);
        portion.arrived(bytes, now + Duration::from_secs_f64(bytes as f64 / rate as f64));
        bytes
    }

    #[test]
    fn a_quick_line_pays_with_one_request_and_a_slow_one_gets_half_seconds() {
        let portions = Portions::default();
        assert_eq!(send(&portions, 50_000_000), FIRST);
        assert_eq!(send(&portions, 50_000_000), 8_000_000, "from now on all at once");
        let portions = Portions::default();
        send(&portions, 600_000);
        for _ in 0..3 {
            assert!(send(&portions, 600_000).abs_diff(300_000) < 1000);
        }
        // The line becomes quick.
        (0..20).for_each(|_| assert!(send(&portions, 20_000_000) > 0));
        assert_eq!(send(&portions, 20_000_000), 8_000_000);
    }

    #[test]
    fn several_share_what_the_line_carries() {
        let (portions, now) = (Portions::default(), Instant::now());
        let four: Vec<_> = (0..4).map(|_| portions.begin(now)).collect();
        // Each has a quarter of 800 KB/s.
        for (n, portion) in four.into_iter().enumerate() {
            portion.arrived(FIRST, now + Duration::from_secs_f64(FIRST as f64 / 200_000.0));
            assert_eq!(portions.known().under_way, 3 - n as u32);
        }
        let alone = portions.begin(now);
        assert!((100_000..500_000).contains(&alone.most()), "{}", alone.most());
        assert!(portions.begin(now).most() < alone.most(), "the second one gets half");
        drop(alone);
        assert_eq!(portions.known().under_way, 0);
    }

    #[test]
    fn where_answers_are_long_on_their_way_portions_are_larger() {
        let portions = Portions::default();
        let now = Instant::now();
        portions.answered(Duration::from_millis(600));
        portions.answered(Duration::from_secs(30));
        let portion = portions.begin(now);
        portion.arrived(FIRST, now + Duration::from_millis(2600));
        // Two seconds for half a megabyte, and 0.6 s (a little more by now) for the answer.
        assert!(portions.begin(now).most() > 262_144 * 11 / 10);
    }

    #[test]
    fn a_break_makes_it_measure_anew() {
        let portions = Portions::default();
        send(&portions, 50_000_000);
        portions.begin(Instant::now()).broke();
        assert_eq!(portions.known().portion(), FIRST / 2);
        (0..20).for_each(|_| portions.begin(Instant::now()).broke());
        assert_eq!(portions.known().portion(), LEAST);
        send(&portions, 600_000);
        let slow = portions.known().portion();
        portions.begin(Instant::now()).broke();
        assert_eq!(portions.known().portion(), slow, "a slow line that breaks is as slow as it was");
    }

    proptest! {
        #[test]
        fn whatever_happens_a_request_carries_something(
            happenings in proptest::collection::vec((0_u8..4, 1_u64..10_000_000, 0_u64..100_000), 1..100),
        ) {
            let (portions, now) = (Portions::default(), Instant::now());
            for (what, bytes, ms) in happenings {
                let portion = portions.begin(now);
                prop_assert!(portion.most() >= LEAST);
                match what {
                    0 => portion.broke(),
                    1 => portions.answered(Duration::from_millis(ms)),
                    _ => portion.arrived(bytes, now + Duration::from_millis(ms)),
                }
                prop_assert!(portions.known().under_way == 0 || what == 1);
            }
        }
    }
}
