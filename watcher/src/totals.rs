//! Where everything stands, and how numbers are said.

use crate::arrivals::Arrived;

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
    /// Bytes of the photos received in this run.
    pub(crate) bytes: u64,
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

impl Arrived {
    /// «, 1,190 indexed, guests after 0.9 s»; nothing while the server has told nothing.
    pub(crate) fn words(&self) -> String {
        let mut words = String::new();
        if self.indexed > 0 {
            words += &format!(", {} indexed", number(self.indexed));
        }
        if self.failed > 0 {
            words += &format!(", {} NOT indexed", number(self.failed));
        }
        if let Some((half, most)) = self.to_guests {
            words += &format!(", guests after {:.1} s (95 of 100: {:.1} s)", half.as_secs_f32(), most.as_secs_f32());
        }
        words
    }
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
    format!("{:.1} MB", bytes as f64 / 1e6)
}
