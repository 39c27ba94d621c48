//! Whether the line is slow, so that previews are worth their bytes (`--preview auto`).
//!
//! The rule: previews go first from the moment in which a photo of the usual size takes more than 3 s at the measured
//! rate, until it takes less than 1.5 s. The rate is measured over 2 s while photos wait, and never above `--limit-rate`;
//! before anything was measured the line is taken for a fast one, unless `--limit-rate` says otherwise. Pure: it is told
//! the time.

use tokio::time::Instant;

use crate::gauge::Gauge;

/// A photo that takes longer is worth a preview.
const SLOW: f64 = 3.0;
/// One that takes less is not; between the two it stays as it was.
const FAST: f64 = 1.5;
/// What a photo weighs before any was seen, in bytes.
const USUAL: f64 = 8e6;

/// What is known of the line.
#[derive(Debug)]
pub(crate) struct Line {
    slow: bool,
    /// Bytes a second.
    rate: Option<f64>,
    usual: f64,
    gauge: Gauge,
    limit: Option<f64>,
}

impl Line {
    /// `limit`: bytes a second that the photographer allows.
    pub(crate) fn new(limit: Option<u64>) -> Self {
        let limit = limit.map(|limit| limit as f64);
        let mut line = Self { slow: false, rate: limit, usual: USUAL, gauge: Gauge::default(), limit };
        line.judge();
        line
    }

    /// Whether previews go first.
    pub(crate) fn is_slow(&self) -> bool {
        self.slow
    }

    /// A photo of this size is to be sent.
    pub(crate) fn met(&mut self, bytes: u64) {
        self.usual += (bytes as f64 - self.usual) / 8.0;
        self.judge();
    }

    /// Looks at the clock and at the bytes that have left so far. `pressed`: photos wait for others to be sent.
    pub(crate) fn look(&mut self, now: Instant, gone: u64, pressed: bool) {
        let Some(rate) = self.gauge.look(now, gone, pressed) else { return };
        let rate = self.limit.map_or(rate, |limit| rate.min(limit));
        self.rate = Some(self.rate.map_or(rate, |known| (known + rate) / 2.0));
        self.judge();
    }

    fn judge(&mut self) {
        let Some(rate) = self.rate else { return };
        let takes = self.usual / rate.max(1.0);
        self.slow = if self.slow { takes >= FAST } else { takes > SLOW };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Sends at this rate for so many seconds.
    fn send(line: &mut Line, start: &mut (Instant, u64), seconds: u32, rate: u64) {
        for _ in 0..seconds {
            start.0 += Duration::from_secs(1);
            start.1 += rate;
            line.look(start.0, start.1, true);
        }
    }

    #[test]
    fn slow_and_fast_are_apart_so_that_it_does_not_waver() {
        let (mut line, mut at) = (Line::new(None), (Instant::now(), 0));
        assert!(!line.is_slow(), "nothing is known yet");
        send(&mut line, &mut at, 20, 600_000);
        assert!(line.is_slow(), "8 MB take 13 s");
        send(&mut line, &mut at, 30, 4_000_000);
        assert!(line.is_slow(), "2 s: not fast enough to change back");
        send(&mut line, &mut at, 30, 20_000_000);
        assert!(!line.is_slow());
        send(&mut line, &mut at, 30, 4_000_000);
        assert!(!line.is_slow(), "2 s: not slow enough to change");
        // Small photos over the same line.
        send(&mut line, &mut at, 20, 600_000);
        (0..60).for_each(|_| line.met(400_000));
        assert!(!line.is_slow());
    }

    #[test]
    fn a_limit_is_believed_at_once_and_idle_time_is_no_rate() {
        assert!(Line::new(Some(500_000)).is_slow());
        let (mut line, mut now) = (Line::new(None), Instant::now());
        for _ in 0..100 {
            now += Duration::from_secs(1);
            line.look(now, 10, false);
        }
        assert!(!line.is_slow());
    }
}
