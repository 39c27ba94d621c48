//! Figures of many measurements, and the memory of a process.

use std::time::Duration;

/// A server whose rates are not bounded: what is measured is what it can do.
pub(crate) const UNLIMITED: [&str; 10] =
    ["--faces", "off", "--rate-lists", "0", "--rate-bytes", "0", "--rate-uploads", "0", "--rate-address", "0"];

/// Times of requests.
#[derive(Debug, Default, Clone)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that `percent` of all do not exceed; nothing for none.
    pub(crate) fn percentile(&self, percent: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |percent| self.percentile(percent).as_secs_f64() * 1000.0;
        write!(f, "p50 {:.2} ms, p99 {:.2} ms, longest {:.1} ms", ms(50.0), ms(99.0), ms(100.0))
    }
}

/// Memory that a process has now and had at most, in MiB.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    pub(crate) now: f64,
    pub(crate) peak: f64,
    /// Without pages of files: what no other process could share.
    pub(crate) own: f64,
}

impl Memory {
    /// Nothing where the system does not say.
    pub(crate) fn of(pid: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let value = |key: &str| {
            let line = status.lines().find(|line| line.starts_with(key));
            let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
            kilobytes.unwrap_or(0.0) / 1024.0
        };
        Self { now: value("VmRSS:"), peak: value("VmHWM:"), own: value("RssAnon:") }
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0} MiB resident ({:.0} its own), {:.0} at most", self.now, self.own, self.peak)
    }
}
