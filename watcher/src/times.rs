//! How many took how long, in a space that does not grow with their number.

use std::time::Duration;

/// Steps to a doubling: a time is known to 9 in 100.
const STEPS: f64 = 8.0;

/// How many took how long: as large with a hundred thousand times as with one.
#[derive(Debug)]
pub(crate) struct Times {
    counts: [u32; 8 * 24],
    all: u64,
}

impl Default for Times {
    fn default() -> Self {
        Self { counts: [0; 8 * 24], all: 0 }
    }
}

/// The time that half of all did not exceed, and the one that 95 of 100 did not.
pub(crate) type HalfAndMost = Option<(Duration, Duration)>;

impl Times {
    pub(crate) fn add(&mut self, time: Duration) {
        let ms = (time.as_secs_f64() * 1e3).max(1.0);
        let step = ((ms.log2() * STEPS) as usize).min(self.counts.len() - 1);
        self.counts[step] += 1;
        self.all += 1;
    }

    /// Half and most; `None` while there are none.
    pub(crate) fn half_and_most(&self) -> HalfAndMost {
        self.at(0.5).zip(self.at(0.95))
    }

    /// The time that this share of all did not exceed; `None` while there is none.
    fn at(&self, share: f64) -> Option<Duration> {
        let wanted = (self.all as f64 * share).ceil() as u64;
        let mut seen = 0;
        let step = self.counts.iter().position(|&count| {
            seen += u64::from(count);
            seen >= wanted && seen > 0
        })?;
        Some(Duration::from_secs_f64(((step + 1) as f64 / STEPS).exp2() / 1e3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_times_are_right_to_a_tenth() {
        let mut times = Times::default();
        assert_eq!(times.at(0.5), None);
        (1..=1000).for_each(|n| times.add(Duration::from_millis(n)));
        for (share, ms) in [(0.5, 500.0), (0.95, 950.0), (1.0, 1000.0)] {
            let got = times.at(share).unwrap().as_secs_f64() * 1e3;
            assert!((ms..ms * 1.1).contains(&got), "{share}: {got}");
        }
        times.add(Duration::MAX);
        assert!(times.at(1.0).is_some());
    }
}
