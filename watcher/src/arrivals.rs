//! What became of the photos of this run on the server, and after what time: from the file's close, as the watcher
//! knows it, to the receipt, and to the server's word that the photo is indexed, so that guests can see it.

use std::collections::{HashMap, HashSet, VecDeque};

use findme_common::PhotoId;
use tokio::time::Instant;

use crate::listen::Heard;
use crate::times::{HalfAndMost, Times};

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
    to_server: Times,
    to_guests: Times,
}

/// Where the photos of this run stand on the server, as far as it has told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// Guests can find them.
    pub(crate) indexed: u64,
    /// Stored, but they could not be indexed.
    pub(crate) failed: u64,
    /// From the file's close to the receipt.
    pub(crate) to_server: HalfAndMost,
    /// From the file's close to the moment when guests could find it.
    pub(crate) to_guests: HalfAndMost,
}

impl Arrivals {
    /// The server has acknowledged at `now` a photo whose file was closed at `closed`.
    pub(crate) fn received(&mut self, photo: PhotoId, closed: Instant, now: Instant) {
        self.to_server.add(now - closed);
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
                self.to_guests.add(now - closed);
            }
            Heard::Failed(_) => self.failed += 1,
        }
        self.waiting.is_empty()
    }

    /// Where they stand.
    pub(crate) fn arrived(&self) -> Arrived {
        let (to_server, to_guests) = (self.to_server.half_and_most(), self.to_guests.half_and_most());
        Arrived { indexed: self.indexed, failed: self.failed, to_server, to_guests }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn photo(n: u8) -> PhotoId {
        PhotoId::from_bytes([n; 16])
    }

    #[test]
    fn each_photo_of_the_run_counts_once_whichever_came_first() {
        let (mut arrivals, closed) = (Arrivals::default(), Instant::now());
        let after = |ms| closed + Duration::from_millis(ms);
        arrivals.received(photo(1), closed, after(300));
        arrivals.received(photo(2), closed, after(300));
        assert!(!arrivals.heard(Heard::Indexed(photo(1)), after(400)));
        assert!(!arrivals.heard(Heard::Indexed(photo(9)), after(1)), "another machine's");
        assert!(!arrivals.heard(Heard::Indexed(photo(3)), after(500)), "before its receipt");
        assert!(arrivals.heard(Heard::Failed(photo(2)), after(500)), "nothing is left to hear of");
        arrivals.received(photo(3), closed, after(300));
        // Indexed again, sent again.
        arrivals.heard(Heard::Indexed(photo(1)), after(9000));
        arrivals.received(photo(1), closed, after(300));
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
}
