//! Who may change this machine's networks while whose browser looks on: a browser ends whatever it is loading when a
//! network device comes or goes, and every test makes its own.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static DEVICES: RwLock<()> = RwLock::new(());

/// Until it is dropped, no other test adds or removes a network device; waits for those that do.
pub(crate) fn unchanged() -> RwLockReadGuard<'static, ()> {
    DEVICES.read().unwrap_or_else(PoisonError::into_inner)
}

/// Held while network devices are added or removed; waits for those who want them unchanged.
pub(crate) fn changing() -> RwLockWriteGuard<'static, ()> {
    DEVICES.write().unwrap_or_else(PoisonError::into_inner)
}
