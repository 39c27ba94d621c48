//! Notifications on their way from the operating system to the source: each only says that a path is worth a look.
//!
//! They are merged by path, so that a file that is written in a thousand pieces is one hint; when too many paths wait,
//! all are dropped and the folders are listed instead.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use notify::EventKind;
use notify::event::{AccessKind, AccessMode, MetadataKind, ModifyKind, RenameMode};

use crate::settle::Signal;

/// More paths than this are not worth a look each.
const MOST: usize = 20_000;

/// Paths that are worth a look.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    waiting: Mutex<Waiting>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    paths: HashMap<PathBuf, Signal>,
    /// Some were lost: only listing tells.
    lost: bool,
    stopped: bool,
}

impl Hints {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one notification, on the operating system's thread: never blocks for long, never fails.
    pub(crate) fn add(&self, change: notify::Result<notify::Event>) {
        let mut waiting = self.waiting();
        match change {
            Ok(change) if change.need_rescan() => waiting.lost = true,
            Ok(change) => {
                let Some(signal) = signal_of(change.kind) else { return };
                let touched_only = matches!(change.kind, EventKind::Modify(ModifyKind::Metadata(kind)) if kind != MetadataKind::WriteTime);
                for path in change.paths {
                    let before = waiting.paths.get(&path).copied();
                    // A change of rights or times after the closing does not open the file again.
                    let signal = if touched_only { before.unwrap_or(signal) } else { signal };
                    waiting.paths.insert(path, signal);
                }
            }
            Err(_) => waiting.lost = true,
        }
        if waiting.paths.len() > MOST {
            waiting.paths = HashMap::new();
            waiting.lost = true;
        }
        drop(waiting);
        self.news.notify_one();
    }

    /// Takes everything that waits, and whether something was lost.
    pub(crate) fn take(&self) -> (HashMap<PathBuf, Signal>, bool) {
        let mut waiting = self.waiting();
        (std::mem::take(&mut waiting.paths), std::mem::take(&mut waiting.lost))
    }

    /// Waits for news, until `deadline` at most.
    pub(crate) fn wait(&self, deadline: Instant) {
        let patience = deadline.saturating_duration_since(Instant::now());
        let quiet = |waiting: &mut Waiting| waiting.paths.is_empty() && !waiting.lost && !waiting.stopped;
        drop(self.news.wait_timeout_while(self.waiting(), patience, quiet));
    }

    /// Tells the source to end.
    pub(crate) fn stop(&self) {
        self.waiting().stopped = true;
        self.news.notify_all();
    }

    /// Whether it was told to end.
    pub(crate) fn stopped(&self) -> bool {
        self.waiting().stopped
    }
}

/// What a notification means for a file; `None` when it means nothing (our own reading is notified too).
fn signal_of(kind: EventKind) -> Option<Signal> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Signal::Finished),
        EventKind::Access(_) => None,
        // Only Linux says with certainty that a file came in by its new name.
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) if cfg!(target_os = "linux") => Some(Signal::Finished),
        _ => Some(Signal::Changed),
    }
}

#[cfg(test)]
mod tests {
    use notify::Event;
    use notify::event::{CreateKind, DataChange, Flag};

    use super::*;

    fn add(hints: &Hints, kind: EventKind, path: &str) {
        hints.add(Ok(Event::new(kind).add_path(path.into())));
    }

    #[test]
    fn many_changes_of_one_file_are_one_hint() {
        let hints = Hints::default();
        add(&hints, EventKind::Create(CreateKind::File), "a");
        for _ in 0..1000 {
            add(&hints, EventKind::Modify(ModifyKind::Data(DataChange::Any)), "a");
        }
        add(&hints, EventKind::Access(AccessKind::Close(AccessMode::Write)), "a");
        add(&hints, EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)), "a");
        add(&hints, EventKind::Access(AccessKind::Open(AccessMode::Any)), "b");
        assert_eq!(hints.take(), (HashMap::from([("a".into(), Signal::Finished)]), false));
        assert_eq!(hints.take(), (HashMap::new(), false));
    }

    #[test]
    fn writing_after_the_closing_opens_the_file_again() {
        let hints = Hints::default();
        add(&hints, EventKind::Access(AccessKind::Close(AccessMode::Write)), "a");
        add(&hints, EventKind::Modify(ModifyKind::Data(DataChange::Any)), "a");
        assert_eq!(hints.take().0[&PathBuf::from("a")], Signal::Changed);
    }

    #[test]
    fn an_overflow_is_remembered() {
        let hints = Hints::default();
        hints.add(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));
        assert!(hints.take().1);
        for n in 0..=MOST {
            add(&hints, EventKind::Create(CreateKind::File), &n.to_string());
        }
        let (paths, lost) = hints.take();
        assert!(lost && paths.is_empty());
    }
}
