//! How many photos are sent at the same time: as many as make the line faster, fewer when it breaks.
//!
//! Pure: it is told the time and how many bytes have left. While photos wait, the rate of each window is compared with
//! that of the one before: one more upload is tried and kept if the rate grew with it, and given up again if not. A stall
//! or a broken connection halves the number, because uploads that share a weak line only starve each other.

use std::time::Duration;

use tokio::time::Instant;

use crate::gauge::{Gauge, WINDOW};

/// One more upload is worth it when it brings so much more.
const WORTH_IT: f64 = 1.1;
/// How long a number that was found good is kept before a further one is tried.
const KEEP: Duration = Duration::from_secs(20);
/// The number at the start: what a good line needs at least.
const START: usize = 4;

/// The number of uploads that may run.
#[derive(Debug)]
pub(crate) struct Width {
    now: usize,
    most: usize,
    gauge: Gauge,
    /// The rate before the last upload was added; `None`: none was.
    before_growth: Option<f64>,
    /// The rate of the last window.
    rate: f64,
    /// Not before this moment is another upload tried.
    rest_until: Option<Instant>,
}

impl Width {
    /// At most `most`.
    pub(crate) fn new(most: usize) -> Self {
        let now = START.min(most).max(1);
        Self { now, most: most.max(1), gauge: Gauge::default(), before_growth: None, rate: 0.0, rest_until: None }
    }

    /// How many uploads may run.
    pub(crate) fn may_run(&self) -> usize {
        self.now
    }

    /// Looks at the clock and at the bytes that have left so far. `pressed`: all uploads that may run do, and photos wait.
    pub(crate) fn look(&mut self, now: Instant, gone: u64, pressed: bool) {
        let Some(rate) = self.gauge.look(now, gone, pressed) else { return };
        let last = std::mem::replace(&mut self.rate, rate);
        match self.before_growth.take() {
            Some(before) if rate < before * WORTH_IT => {
                self.now = (self.now - 1).max(1);
                self.rest_until = Some(now + KEEP);
            }
            _ if self.now < self.most && last > 0.0 && self.rest_until.is_none_or(|until| now >= until) => {
                self.before_growth = Some(rate);
                self.now += 1;
            }
            _ => {}
        }
    }

    /// An upload stalled, or its connection broke.
    pub(crate) fn trouble(&mut self, now: Instant) {
        // Several that break together are one trouble.
        if self.rest_until.is_some_and(|until| now + KEEP - WINDOW < until) {
            return;
        }
        self.now = (self.now / 2).max(1);
        (self.gauge, self.before_growth) = (Gauge::default(), None);
        self.rest_until = Some(now + KEEP);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sends for so many seconds over a line whose rate depends on the number of uploads.
    fn send(width: &mut Width, start: Instant, seconds: std::ops::Range<u64>, rate: impl Fn(usize) -> u64) {
        let mut gone = 0;
        for second in seconds {
            gone += rate(width.may_run());
            width.look(start + Duration::from_secs(second), gone, true);
            assert!(width.may_run() >= 1 && width.may_run() <= width.most);
        }
    }

    #[test]
    fn it_grows_while_the_rate_grows_and_stops_there() {
        let start = Instant::now();
        // Each of the first seven uploads brings its share; more bring nothing.
        let mut width = Width::new(64);
        send(&mut width, start, 0..60, |uploads| 1_000_000 * uploads.min(7) as u64);
        assert!((6..=8).contains(&width.may_run()), "{}", width.may_run());
        // A line that one upload fills: never more than one beyond the start, and that one is given up.
        let mut width = Width::new(64);
        send(&mut width, start, 0..15, |_| 5_000_000);
        assert_eq!(width.may_run(), START);
        // The photographer's own limit holds.
        let mut width = Width::new(2);
        send(&mut width, start, 0..60, |uploads| 1_000_000 * uploads as u64);
        assert_eq!(width.may_run(), 2);
    }

    #[test]
    fn trouble_halves_it_and_good_times_bring_it_back() {
        let start = Instant::now();
        let mut width = Width::new(8);
        width.trouble(start);
        width.trouble(start + Duration::from_millis(10));
        assert_eq!(width.may_run(), 2, "connections that break together are one trouble");
        width.trouble(start + Duration::from_secs(5));
        width.trouble(start + Duration::from_secs(10));
        assert_eq!(width.may_run(), 1, "it never ends");
        send(&mut width, start, 11..25, |uploads| 1_000_000 * uploads as u64);
        assert_eq!(width.may_run(), 1, "a while of caution");
        send(&mut width, start, 25..120, |uploads| 1_000_000 * uploads as u64);
        assert_eq!(width.may_run(), 8);
    }

    #[test]
    fn while_nothing_waits_nothing_is_learned() {
        let start = Instant::now();
        let mut width = Width::new(8);
        for second in 0..100 {
            width.look(start + Duration::from_secs(second), second * 1000, false);
        }
        assert_eq!(width.may_run(), START);
    }

    proptest! {
        #[test]
        fn whatever_happens_it_stays_between_one_and_the_most(
            most in 1_usize..20, happenings in proptest::collection::vec((0_u64..5_000, 0_u64..10_000_000, 0_u8..10), 1..200),
        ) {
            let (mut width, mut at, mut gone) = (Width::new(most), Instant::now(), 0);
            for (ms, bytes, what) in happenings {
                at += Duration::from_millis(ms);
                gone += bytes;
                if what == 0 { width.trouble(at) } else { width.look(at, gone, what > 2) }
                prop_assert!((1..=most).contains(&width.may_run()));
            }
        }
    }
}
