//! `--alarm`: says so when the camera has gone quiet. A cable that came loose is noticed during the dance, not after.
//!
//! Pure: it is told the time.

use std::time::Duration;

use tokio::time::Instant;

/// Listens for new photos.
#[derive(Debug)]
pub(crate) struct Alarm {
    after: Duration,
    /// When the last new file was met, or watching began.
    last: Instant,
    rung: bool,
}

impl Alarm {
    /// Rings when for so long no new file is met.
    pub(crate) fn new(after: Duration, now: Instant) -> Self {
        Self { after, last: now, rung: false }
    }

    /// A new file was met; whether it had rung, so that the end of the quiet is worth a line.
    pub(crate) fn met(&mut self, now: Instant) -> bool {
        self.last = now;
        std::mem::take(&mut self.rung)
    }

    /// For how long it has been quiet, when that is to be said now: once for each quiet time.
    pub(crate) fn rings(&mut self, now: Instant) -> Option<Duration> {
        let quiet = now - self.last;
        (quiet >= self.after && !std::mem::replace(&mut self.rung, quiet >= self.after)).then_some(quiet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rings_once_for_each_quiet_time() {
        let start = Instant::now();
        let minute = |n: u64| start + Duration::from_secs(60 * n);
        let mut alarm = Alarm::new(Duration::from_secs(600), start);
        assert!(!alarm.met(minute(5)), "it had not rung");
        assert_eq!(alarm.rings(minute(14)), None);
        assert_eq!(alarm.rings(minute(16)), Some(Duration::from_secs(660)));
        assert_eq!(alarm.rings(minute(17)), None, "it was said");
        assert!(alarm.met(minute(20)) && !alarm.met(minute(20)));
        assert_eq!(alarm.rings(minute(29)), None);
        assert!(alarm.rings(minute(30)).is_some());
    }
}
