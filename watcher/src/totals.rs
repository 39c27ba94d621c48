//! Where everything stands, and how numbers are said.

use crate::arrivals::Arrived;
use crate::times::HalfAndMost;

/// Where everything stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Received in an earlier run.
    pub(crate) known: u64,
    /// Received in this run.
    pub(crate) uploaded: u64,
    /// Content that another path holds too.
    pub(crate) duplicate: u64,
    pub(crate) skipped: u64,
    pub(crate) failed: u64,
    /// Not finished: settling, being read, waiting or being sent.
    pub(crate) on_the_way: u64,
    /// Of these: guests have the preview, the original waits.
    pub(crate) previews: u64,
    /// Bytes of the photos received in this run.
    pub(crate) bytes: u64,
    /// Bytes of photos that were handed to connections, those that had to be sent again included.
    pub(crate) bytes_sent: u64,
    /// Bytes of the previews that the server has got ahead of photos in this run.
    pub(crate) preview_bytes: u64,
    /// Photos that are nearly the same as another one, as far as that is looked for.
    pub(crate) similar: u64,
    /// Bytes of the photos that are not on the server yet, as far as they were read.
    pub(crate) bytes_left: u64,
    /// What the server has told of the photos received in this run.
    pub(crate) arrived: Arrived,
}

impl Totals {
    pub(crate) fn safe(&self) -> u64 {
        self.known + self.uploaded
    }

    pub(crate) fn found(&self) -> u64 {
        self.known + self.uploaded + self.duplicate + self.skipped + self.failed + self.on_the_way
    }
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.known += other.known;
        self.uploaded += other.uploaded;
        self.duplicate += other.duplicate;
        self.skipped += other.skipped;
        self.failed += other.failed;
        self.on_the_way += other.on_the_way;
        self.bytes += other.bytes;
        self.bytes_sent += other.bytes_sent;
        self.preview_bytes += other.preview_bytes;
        self.similar += other.similar;
        self.bytes_left += other.bytes_left;
        self.arrived.indexed += other.arrived.indexed;
        self.arrived.failed += other.arrived.failed;
        // The longer times are true of both.
        let longer = |a: HalfAndMost, b: HalfAndMost| match (a, b) {
            (Some(a), Some(b)) => Some((a.0.max(b.0), a.1.max(b.1))),
            (one, None) | (None, one) => one,
        };
        self.arrived.to_server = longer(self.arrived.to_server, other.arrived.to_server);
        self.arrived.to_guests = longer(self.arrived.to_guests, other.arrived.to_guests);
    }
}

impl Arrived {
    /// «1,190 indexed»; nothing while the server has told nothing.
    pub(crate) fn counts(&self) -> Vec<String> {
        let mut words = Vec::new();
        if self.failed > 0 {
            words.push(format!("{} NOT indexed", number(self.failed)));
        }
        if self.indexed > 0 {
            words.push(format!("{} indexed", number(self.indexed)));
        }
        words
    }

    /// «to guests 0.9 s (95%: 1.4)», «to server 0.4 s (95%: 1.1)»: half and most, the one that matters more first.
    pub(crate) fn times(&self) -> Vec<String> {
        let known = [("guests", self.to_guests), ("server", self.to_server)];
        let words = |(whom, times): (&str, HalfAndMost)| {
            let (half, most) = times?;
            Some(format!("to {whom} {:.1} s (95%: {:.1})", half.as_secs_f32(), most.as_secs_f32()))
        };
        known.into_iter().filter_map(words).collect()
    }

    /// Both, in one line.
    pub(crate) fn words(&self) -> String {
        [self.counts(), self.times()].concat().join(", ")
    }
}

/// How long it takes yet, in the words of a person who waits.
pub(crate) fn time_left(bytes: u64, bytes_per_second: f64) -> Option<String> {
    if bytes == 0 || bytes_per_second < 1.0 {
        return None;
    }
    let seconds = (bytes as f64 / bytes_per_second).ceil() as u64;
    Some(match seconds {
        0..60 => format!("{seconds} s left"),
        60..5400 => format!("{} min left", seconds.div_ceil(60)),
        _ => format!("{} h left", seconds.div_ceil(3600)),
    })
}

/// 1204 → «1,204»
pub(crate) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(crate) fn plural(n: u64, word: &str) -> String {
    format!("{} {word}{}", number(n), if n == 1 { "" } else { "s" })
}

pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..10_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_told_as_people_do() {
        assert_eq!(time_left(0, 1e6), None);
        assert_eq!(time_left(5_000_000, 0.0), None, "nobody knows");
        for (bytes, words) in [(4_500_000, "5 s left"), (600_000_000, "10 min left"), (9_000_000_000, "3 h left")] {
            assert_eq!(time_left(bytes, 1e6).as_deref(), Some(words));
        }
    }
}
