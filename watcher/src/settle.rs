//! When a file is finished: one state machine per file, none for the folder, so that a steady stream of other files
//! holds nothing up.
//!
//! Pure: it is told what was seen, when, and what a reading showed, and answers what to do next. A file is read when it
//! has been closed or quiet; when the reading shows that it is not whole, it waits for the next change; when nothing
//! changes for the hard maximum, it is given up with a reason. A later change begins anew.

use std::time::Duration;

use findme_common::manifest::{FailReason, SkipReason};
use tokio::time::Instant;

use crate::fingerprint::{Fingerprint, Stat};

/// Longest pause between two readings of a file that keeps changing.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How patient the machine is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Without a word from the file system: a file is read when it has not changed for so long.
    pub(crate) quiet: Duration,
    /// A file that is not whole and has not changed for so long is given up.
    pub(crate) hard: Duration,
    /// A file that never stops changing is given up after so long; `None`: never.
    pub(crate) busy: Option<Duration>,
}

/// Who says that a file is there, and what they know about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// It was closed after writing, or moved in whole (Linux tells).
    Finished,
    /// Something happened to it.
    Changed,
    /// It was met in a folder.
    Listed,
}

/// What to do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing before this moment.
    WaitUntil(Instant),
    /// Read it, then tell what it showed.
    Read,
    /// Nothing; the reading that is going on will decide.
    Busy,
    /// It is not sent.
    GiveUp(Why),
}

/// Why a file is not sent as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    Skip(SkipReason),
    Fail(FailReason),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Reading { changed_meanwhile: bool, finished_meanwhile: bool },
}

/// One file on its way to being finished.
#[derive(Debug)]
pub(crate) struct Settling {
    stat: Stat,
    first_seen: Instant,
    changed_at: Instant,
    /// How old the last change was already when it was first seen.
    age: Duration,
    /// Pause before the next reading of a file that is not whole.
    pause: Duration,
    /// When it was last read (or first seen).
    read_at: Instant,
    /// A reading showed that it was not whole.
    tried: bool,
    /// What the last reading showed of the file as it is now.
    last: Option<Why>,
    phase: Phase,
}

impl Settling {
    /// A file that was not followed so far. `age` is how long ago it changed by its own times.
    pub(crate) fn begin(patience: &Patience, now: Instant, stat: Stat, age: Duration, signal: Signal) -> (Self, Step) {
        let mut settling = Self {
            stat,
            first_seen: now,
            changed_at: now,
            age,
            pause: patience.quiet,
            read_at: now,
            tried: false,
            last: None,
            phase: Phase::Waiting,
        };
        let step = if signal == Signal::Finished { settling.read(now) } else { settling.due(patience, now) };
        (settling, step)
    }

    /// The file as it was last seen.
    pub(crate) fn stat(&self) -> Stat {
        self.stat
    }

    /// Whether a reading is under way or waits for its turn.
    pub(crate) fn is_being_read(&self) -> bool {
        matches!(self.phase, Phase::Reading { .. })
    }

    /// Whether a reading of this fingerprint shows the file as it is now, as far as was seen.
    pub(crate) fn agrees_with(&self, read: &Fingerprint) -> bool {
        let changed = matches!(self.phase, Phase::Reading { changed_meanwhile: true, .. });
        !changed || self.stat.fingerprint == *read
    }

    /// When the file last changed as far as was seen.
    pub(crate) fn changed_at(&self) -> Instant {
        self.changed_at
    }

    /// The file was seen again.
    pub(crate) fn seen(&mut self, patience: &Patience, now: Instant, stat: Stat, signal: Signal) -> Step {
        let changed = stat != self.stat;
        if changed {
            self.stat = stat;
            self.changed_at = now;
            self.age = Duration::ZERO;
            self.last = None;
        }
        match &mut self.phase {
            Phase::Reading { changed_meanwhile, finished_meanwhile } => {
                *changed_meanwhile |= changed;
                *finished_meanwhile |= signal == Signal::Finished;
                Step::Busy
            }
            Phase::Waiting if signal == Signal::Finished && self.last.is_none() => self.read(now),
            Phase::Waiting => self.due(patience, now),
        }
    }

    /// The moment that was asked for has come (or another; asking too early does no harm).
    pub(crate) fn due(&mut self, patience: &Patience, now: Instant) -> Step {
        if let Phase::Reading { .. } = self.phase {
            return Step::Busy;
        }
        if self.tried && patience.busy.is_some_and(|busy| now - self.first_seen >= busy) {
            return Step::GiveUp(self.last.unwrap_or(Why::Fail(FailReason::StillBeingWritten)));
        }
        let quiet_for = (now - self.changed_at).saturating_add(self.age);
        match self.last {
            Some(why) if quiet_for >= patience.hard => Step::GiveUp(why),
            // It was read as it is now: only a change or the hard maximum brings news.
            Some(_) => Step::WaitUntil(self.give_up_at(patience)),
            // A file that is touched without end is read all the same; the reading shows whether it is whole.
            None if quiet_for >= self.pause || now - self.read_at >= LONGEST_PAUSE => self.read(now),
            None => {
                let quiet_at = self.changed_at + self.pause.saturating_sub(self.age);
                Step::WaitUntil(quiet_at.min(self.read_at + LONGEST_PAUSE))
            }
        }
    }

    /// The reading showed that the file is not (yet) a whole photo.
    pub(crate) fn not_whole(&mut self, patience: &Patience, now: Instant, why: Why) -> Step {
        let Phase::Reading { changed_meanwhile, finished_meanwhile } = self.phase else { return Step::Busy };
        self.phase = Phase::Waiting;
        self.tried = true;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        if finished_meanwhile {
            return self.read(now);
        }
        // What was read is not what is there now.
        self.last = if changed_meanwhile { None } else { Some(why) };
        self.due(patience, now)
    }

    /// The file changed while it was read, so the reading says nothing.
    pub(crate) fn changed_while_read(&mut self, patience: &Patience, now: Instant) -> Step {
        self.changed_at = now;
        self.age = Duration::ZERO;
        if let Phase::Reading { changed_meanwhile, .. } = &mut self.phase {
            *changed_meanwhile = true;
        }
        self.not_whole(patience, now, Why::Fail(FailReason::StillBeingWritten))
    }

    fn read(&mut self, now: Instant) -> Step {
        self.read_at = now;
        self.last = None;
        self.phase = Phase::Reading { changed_meanwhile: false, finished_meanwhile: false };
        Step::Read
    }

    fn give_up_at(&self, patience: &Patience) -> Instant {
        let hard = self.changed_at + patience.hard.saturating_sub(self.age);
        patience.busy.map_or(hard, |busy| hard.min(self.first_seen + busy))
    }
}
