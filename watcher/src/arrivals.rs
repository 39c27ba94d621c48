//! What became of the photos of this run on the server, and after what time guests could see them: from the file's
//! close, as the watcher knows it, to the server's word that the photo is indexed.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use findme_common::PhotoId;
use tokio::time::Instant;

use crate::listen::Heard;

/// Words that came before the receipt they belong to, or that belong to another machine's photos.
const EARLY: usize = 1024;

/// Photos of this run on their way to the guests.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    /// Received, not heard of since; the time that the file was closed.
    waiting: HashMap<PhotoId, Instant>,
    early: VecDeque<(Heard, Instant)>,
    done: HashSet<PhotoId>,
    indexed: u64,
    failed: u64,
    times: Times,
}

/// Where the photos of this run stand on the server, as far as it has told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// Guests can find them.
    pub(crate) indexed: u64,
    /// Stored, but they could not be indexed.
    pub(crate) failed: u64,
    /// Half of the indexed ones took no longer than this from the file's close, and 95 of 100 no longer than the second.
    pub(crate) to_guests: Option<(Duration, Duration)>,
}

impl Arrivals {
    /// The server has a photo whose file was closed at `closed`.
    pub(crate) fn received(&mut self, photo: PhotoId, closed: Instant) {
        if self.done.contains(&photo) {
            return; // a second path, or a second try: it was counted
        }
        self.waiting.insert(photo, closed);
        let heard = self.early.iter().position(|(Heard::Indexed(of) | Heard::Failed(of), _)| *of == photo);
        if let Some((heard, at)) = heard.and_then(|at| self.early.remove(at)) {
            self.heard(heard, at);
        }
    }

    /// The server has told something; whether nothing of this run is left to hear of.
    pub(crate) fn heard(&mut self, heard: Heard, now: Instant) -> bool {
        let (Heard::Indexed(photo) | Heard::Failed(photo)) = heard;
        let Some(closed) = self.waiting.remove(&photo) else {
            if !self.done.contains(&photo) {
                self.early.push_back((heard, now));
                self.early.drain(..self.early.len().saturating_sub(EARLY));
            }
            return false;
        };
        self.done.insert(photo);
        match heard {
            Heard::Indexed(_) => {
                self.indexed += 1;
                self.times.add(now - closed);
            }
            Heard::Failed(_) => self.failed += 1,
        }
        self.waiting.is_empty()
    }

    /// Where they stand.
    pub(crate) fn arrived(&self) -> Arrived {
        let to_guests = self.times.at(0.5).zip(self.times.at(0.95));
        Arrived { indexed: self.indexed, failed: self.failed, to_guests }
    }
}

/// Steps to a doubling: a time is known to 9 in 100.
const STEPS: f64 = 8.0;

/// How many took how long: as large with a hundred thousand times as with one.
#[derive(Debug)]
struct Times {
    counts: [u32; 8 * 24],
    all: u64,
}

impl Default for Times {
    fn default() -> Self {
        Self { counts: [0; 8 * 24], all: 0 }
    }
}

impl Times {
    fn add(&mut self, time: Duration) {
        let ms = (time.as_secs_f64() * 1e3).max(1.0);
        let step = ((ms.log2() * STEPS) as usize).min(self.counts.len() - 1);
        self.counts[step] += 1;
        self.all += 1;
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

    fn photo(n: u8) -> PhotoId {
        PhotoId::from_bytes([n; 16])
    }

    #[test]
    fn each_photo_of_the_run_counts_once_whichever_came_first() {
        let (mut arrivals, closed) = (Arrivals::default(), Instant::now());
        let after = |ms| closed + Duration::from_millis(ms);
        arrivals.received(photo(1), closed);
        arrivals.received(photo(2), closed);
        assert!(!arrivals.heard(Heard::Indexed(photo(1)), after(400)));
        assert!(!arrivals.heard(Heard::Indexed(photo(9)), after(1)), "another machine's");
        assert!(!arrivals.heard(Heard::Indexed(photo(3)), after(500)), "before its receipt");
        assert!(arrivals.heard(Heard::Failed(photo(2)), after(500)), "nothing is left to hear of");
        arrivals.received(photo(3), closed);
        // Indexed again, sent again.
        arrivals.heard(Heard::Indexed(photo(1)), after(9000));
        arrivals.received(photo(1), closed);
        arrivals.heard(Heard::Indexed(photo(1)), after(9000));
        let arrived = arrivals.arrived();
        assert_eq!((arrived.indexed, arrived.failed), (2, 1));
        let (half, most) = arrived.to_guests.unwrap();
        assert!((400..450).contains(&half.as_millis()) && (500..550).contains(&most.as_millis()), "{arrived:?}");
    }

    #[test]
    fn other_machines_photos_are_not_collected() {
        let mut arrivals = Arrivals::default();
        for n in 0..3 * EARLY as u32 {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&n.to_be_bytes());
            arrivals.heard(Heard::Indexed(PhotoId::from_bytes(id)), Instant::now());
        }
        assert!(arrivals.early.len() <= EARLY);
        assert_eq!(arrivals.arrived(), Arrived::default());
    }

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
