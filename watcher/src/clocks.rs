//! Notices that the laptop slept or that somebody set its clock: both make what was known about the folders doubtful.

use std::time::{Duration, Instant, SystemTime};

/// Clocks that drift apart by more than this were set, or one of them stood still.
const JUMP: Duration = Duration::from_secs(5);

/// The clock on the wall beside one that nobody sets.
///
/// The second stands still while a laptop with Linux or macOS sleeps. Where it goes on (Windows), the next rescan is due
/// at the moment of waking anyway.
#[derive(Debug)]
pub(crate) struct Clocks {
    wall: SystemTime,
    steady: Instant,
}

impl Clocks {
    /// As they stand now.
    pub(crate) fn new(wall: SystemTime, steady: Instant) -> Self {
        Self { wall, steady }
    }

    /// Whether they went apart since the last look.
    pub(crate) fn jumped(&mut self, wall: SystemTime, steady: Instant) -> bool {
        let expected = self.wall + steady.saturating_duration_since(self.steady);
        let apart = wall.duration_since(expected).unwrap_or_else(|behind| behind.duration());
        *self = Self { wall, steady };
        apart > JUMP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_and_a_clock_that_was_set_are_noticed_once() {
        let (wall, steady) = (SystemTime::now(), Instant::now());
        let at = |seconds: u64| steady + Duration::from_secs(seconds);
        let mut clocks = Clocks::new(wall, steady);
        assert!(!clocks.jumped(wall + Duration::from_secs(3600), at(3600)), "an hour passed on both");
        // An hour of sleep: only the wall clock went on.
        assert!(clocks.jumped(wall + Duration::from_secs(7202), at(3602)));
        assert!(!clocks.jumped(wall + Duration::from_secs(7204), at(3604)), "it was said");
        // Somebody set it back by a day, or the network did by a second.
        assert!(clocks.jumped(wall - Duration::from_secs(86_400), at(3606)));
        assert!(!clocks.jumped(wall - Duration::from_secs(86_399), at(3606)));
    }
}
