//! The galleries that are in memory: read when an event is first searched, brought up to date by what changed, and dropped
//! when all of them take too much, the one that was searched longest ago first.
//!
//! Invariant: whoever searches a gallery holds it; that it is dropped here takes nothing from them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use findme_common::EventId;
use tokio::sync::RwLock;

use crate::gallery::Gallery;

/// The gallery of one event as far as it was loaded.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) gallery: Gallery,
    /// Highest face id that is in it.
    pub(super) last: i64,
    pub(super) epoch: i64,
}

/// A gallery in memory.
#[derive(Debug, Default)]
struct Slot {
    loaded: Arc<RwLock<Loaded>>,
    /// When it was last asked for, in askings.
    asked: u64,
    bytes: u64,
}

/// By event and pack.
type Key = (EventId, String);

#[derive(Debug, Default)]
struct Held {
    slots: HashMap<Key, Slot>,
    askings: u64,
}

/// All galleries in memory.
#[derive(Debug)]
pub(super) struct Galleries {
    /// Bytes that they may take together. A single one that takes more stays until another is asked for.
    most: u64,
    held: Mutex<Held>,
}

impl Galleries {
    pub(super) fn new(most: u64) -> Self {
        Self { most, held: Mutex::default() }
    }

    /// The gallery of an event and a pack, empty when it was not in memory.
    pub(super) fn ask(&self, event: EventId, pack: &str) -> Arc<RwLock<Loaded>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.askings += 1;
        let asked = held.askings;
        let slot = held.slots.entry((event, pack.to_owned())).or_default();
        slot.asked = asked;
        slot.loaded.clone()
    }

    /// Tells what a gallery takes now that it is up to date, and makes room; how many others were dropped for it.
    pub(super) fn weigh(&self, event: EventId, pack: &str, bytes: u64) -> usize {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (event, pack.to_owned());
        if let Some(slot) = held.slots.get_mut(&key) {
            slot.bytes = bytes;
        }
        let mut dropped = 0;
        while held.slots.values().map(|slot| slot.bytes).sum::<u64>() > self.most {
            let others = held.slots.iter().filter(|(of, slot)| **of != key && slot.bytes > 0);
            let Some(oldest) = others.min_by_key(|(_, slot)| slot.asked).map(|(of, _)| of.clone()) else { break };
            held.slots.remove(&oldest);
            dropped += 1;
        }
        dropped
    }

    /// Drops what there is of an event.
    pub(super) fn forget(&self, event: EventId) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).slots.retain(|(of, _), _| *of != event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(n: u8) -> EventId {
        EventId::from_bytes([n; 16])
    }

    fn known(galleries: &Galleries) -> Vec<(u8, u64)> {
        let held = galleries.held.lock().unwrap();
        let mut known: Vec<_> = held.slots.iter().map(|((of, _), slot)| (of.as_bytes()[0], slot.bytes)).collect();
        known.sort_unstable();
        known
    }

    #[test]
    fn the_one_that_was_asked_for_longest_ago_makes_room() {
        let galleries = Galleries::new(100);
        let ask = |n: u8, bytes| {
            galleries.ask(event(n), "pack");
            galleries.weigh(event(n), "pack", bytes)
        };
        assert_eq!([ask(1, 40), ask(2, 40), ask(1, 41)], [0, 0, 0]);
        let searched = galleries.ask(event(2), "pack");
        galleries.ask(event(1), "pack");
        assert_eq!(ask(3, 40), 1);
        assert_eq!(known(&galleries), [(1, 41), (3, 40)], "the second was asked for longest ago");
        assert_eq!(searched.try_read().unwrap().last, 0, "who searches it keeps it");
        assert_eq!(ask(4, 500), 2);
        assert_eq!(known(&galleries), [(4, 500)], "one that is larger than all room is searched all the same");
        galleries.forget(event(4));
        assert!(known(&galleries).is_empty());
    }

    proptest! {
        #[test]
        fn they_never_take_more_than_there_is_room_for_but_for_the_one_in_use(
            asked in proptest::collection::vec((0_u8..6, 0_u64..80), 1..60),
        ) {
            let galleries = Galleries::new(100);
            for (n, bytes) in asked {
                galleries.ask(event(n), "pack");
                galleries.weigh(event(n), "pack", bytes);
                let known = known(&galleries);
                prop_assert!(known.contains(&(n, bytes)));
                prop_assert!(known.iter().map(|(_, bytes)| bytes).sum::<u64>() <= 100);
            }
        }
    }
}
