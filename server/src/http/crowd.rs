//! How many of something one key has open at a time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Open places by key. Keys without any are forgotten.
#[derive(Debug)]
pub(crate) struct Crowd<K>(Arc<Mutex<HashMap<K, u32>>>);

impl<K> Default for Crowd<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Hash + Eq + Clone> Crowd<K> {
    /// A place for one more; `None` when the key has `most` already.
    pub(crate) fn enter(&self, key: K, most: u32) -> Option<Place<K>> {
        let mut crowd = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = crowd.entry(key.clone()).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place { crowd: Self(self.0.clone()), key })
    }
}

/// One place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place<K: Hash + Eq> {
    crowd: Crowd<K>,
    key: K,
}

impl<K: Hash + Eq> Drop for Place<K> {
    fn drop(&mut self) {
        let mut crowd = self.crowd.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = crowd.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                crowd.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_by_key_and_given_back() {
        let crowd = Crowd::default();
        let first = crowd.enter("one", 2).unwrap();
        let _second = crowd.enter("one", 2).unwrap();
        assert!(crowd.enter("one", 2).is_none());
        drop(crowd.enter("another", 2).unwrap());
        drop(first);
        assert!(crowd.enter("one", 2).is_some());
        assert_eq!(crowd.0.lock().unwrap().len(), 1, "who left is forgotten");
    }
}
