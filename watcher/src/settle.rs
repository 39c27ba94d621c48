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
            // Once more, because its last change may not have been told.
            Some(_) if quiet_for >= patience.hard => self.read(now),
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

    /// The reading showed that the file is not (yet) a whole photo. `found`: the file as it was when it was opened,
    /// where it could be.
    pub(crate) fn not_whole(&mut self, patience: &Patience, now: Instant, why: Why, found: Option<Stat>) -> Step {
        let Phase::Reading { mut changed_meanwhile, finished_meanwhile } = self.phase else { return Step::Busy };
        self.phase = Phase::Waiting;
        self.tried = true;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        if let Some(found) = found.filter(|found| *found != self.stat && !changed_meanwhile) {
            // A change that nobody told of.
            (self.stat, self.changed_at, self.age) = (found, now, Duration::ZERO);
            changed_meanwhile = true;
        }
        if finished_meanwhile {
            return self.read(now);
        }
        if changed_meanwhile {
            // What was read is not what is there now.
            return self.due(patience, now);
        }
        self.last = Some(why);
        let quiet_for = (now - self.changed_at).saturating_add(self.age);
        if quiet_for >= patience.hard { Step::GiveUp(why) } else { self.due(patience, now) }
    }

    /// The file changed while it was read, so the reading says nothing.
    pub(crate) fn changed_while_read(&mut self, patience: &Patience, now: Instant) -> Step {
        self.changed_at = now;
        self.age = Duration::ZERO;
        if let Phase::Reading { changed_meanwhile, .. } = &mut self.phase {
            *changed_meanwhile = true;
        }
        self.not_whole(patience, now, Why::Fail(FailReason::StillBeingWritten), None)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATIENCE: Patience =
        Patience { quiet: Duration::from_millis(400), hard: Duration::from_secs(60), busy: None };

    fn stat(version: u64) -> Stat {
        let fingerprint = Fingerprint { bytes: version, mtime_ns: version as i64, inode: 1 };
        Stat { fingerprint, changed_ns: version as i64 }
    }

    /// What a program does to a file: after a pause, one more piece of it.
    #[derive(Debug, Clone)]
    struct Write {
        pause_ms: u64,
        /// Whether the notification arrives.
        noticed: bool,
    }

    #[derive(Debug, PartialEq)]
    enum Outcome {
        Taken { after: Duration },
        GivenUp { why: Why, after: Duration },
    }

    struct Told {
        outcome: Outcome,
        readings: usize,
    }

    /// Plays a writer against the machine in invented time. The file is whole when its last piece is there, if
    /// `whole`. Folders are listed every minute.
    fn play(patience: Patience, writes: &[Write], whole: bool, closes: bool, read_ms: u64) -> Told {
        let start = Instant::now();
        let mut at = 0;
        let times: Vec<u64> = writes
            .iter()
            .map(|write| {
                at += write.pause_ms;
                at
            })
            .collect();
        let last = *times.last().unwrap();
        let version_at = |ms: u64| times.iter().filter(|time| **time <= ms).count() as u64;
        let mut news: Vec<(u64, Signal)> =
            times.iter().zip(writes).filter(|(_, w)| w.noticed).map(|(at, _)| (*at, Signal::Changed)).collect();
        news.extend((0..10_000).map(|n| (n * 60_000 + 777, Signal::Listed)));
        if closes {
            news.push((last, Signal::Finished));
        }
        news.sort_by_key(|(at, _)| *at);
        let mut machine: Option<Settling> = None;
        let (mut wake, mut reading, mut readings) = (None, None, 0);
        let mut news = news.into_iter().filter(|(at, _)| version_at(*at) > 0).peekable();
        loop {
            let next_news = news.peek().map(|(at, _)| *at).unwrap();
            let now = [Some(next_news), wake, reading.map(|(end, _)| end)].into_iter().flatten().min().unwrap();
            assert!(now < 9_000_000, "the machine waits for ever");
            let instant = start + Duration::from_millis(now);
            let step = if let Some((end, begun)) = reading
                && end == now
            {
                reading = None;
                let machine = machine.as_mut().unwrap();
                if version_at(now) != begun {
                    machine.changed_while_read(&patience, instant)
                } else if whole && begun == times.len() as u64 {
                    if machine.agrees_with(&stat(begun).fingerprint) {
                        let after = Duration::from_millis(now - last);
                        return Told { outcome: Outcome::Taken { after }, readings };
                    }
                    machine.changed_while_read(&patience, instant)
                } else {
                    machine.not_whole(&patience, instant, Why::Fail(FailReason::Truncated), Some(stat(begun)))
                }
            } else if next_news == now {
                let signal = news.next().unwrap().1;
                let stat = stat(version_at(now));
                match &mut machine {
                    Some(machine) => machine.seen(&patience, instant, stat, signal),
                    None => {
                        let (begun, step) = Settling::begin(&patience, instant, stat, Duration::ZERO, signal);
                        machine = Some(begun);
                        step
                    }
                }
            } else {
                wake = None;
                machine.as_mut().unwrap().due(&patience, instant)
            };
            match step {
                Step::Busy => {}
                Step::WaitUntil(at) => {
                    let at = (at - start).as_millis() as u64;
                    wake = Some(wake.map_or(at, |wake: u64| wake.min(at)).max(now + 1));
                }
                Step::Read => {
                    assert!(reading.is_none(), "two readings at a time");
                    readings += 1;
                    reading = Some((now + read_ms, version_at(now)));
                }
                Step::GiveUp(why) => {
                    let after = Duration::from_millis(now.saturating_sub(last));
                    return Told { outcome: Outcome::GivenUp { why, after }, readings };
                }
            }
        }
    }

    fn writes(longest_pause_ms: u64) -> impl Strategy<Value = Vec<Write>> {
        let write = (1..longest_pause_ms, any::<bool>()).prop_map(|(pause_ms, noticed)| Write { pause_ms, noticed });
        proptest::collection::vec(write, 1..30)
    }

    proptest! {
        #[test]
        fn a_file_that_becomes_whole_is_taken(
            mut writes in writes(16_000), closes: bool, read_ms in 1_u64..300,
        ) {
            // Somebody hears of it at last, by a notification or by the listing.
            writes[0].noticed = true;
            let heard = closes || writes.last().unwrap().noticed;
            let told = play(PATIENCE, &writes, true, closes, read_ms);
            let Outcome::Taken { after } = told.outcome else { panic!("given up: {:?}", told.outcome) };
            let longest = if heard { LONGEST_PAUSE } else { Duration::from_secs(60) + LONGEST_PAUSE };
            prop_assert!(after <= longest + Duration::from_secs(2), "taken only {after:?} after its last change");
            prop_assert!(told.readings <= 2 * writes.len() + 2, "{} readings", told.readings);
        }

        #[test]
        fn a_file_that_never_becomes_whole_is_given_up_in_time(writes in writes(16_000), closes: bool) {
            let told = play(PATIENCE, &writes, false, closes, 10);
            let Outcome::GivenUp { why, after } = told.outcome else { panic!("taken") };
            prop_assert_eq!(why, Why::Fail(FailReason::Truncated));
            if closes || writes.last().unwrap().noticed {
                prop_assert!(after >= PATIENCE.hard, "{after:?}");
            }
            // A last change that nobody told of is noticed by the next listing.
            prop_assert!(after <= PATIENCE.hard * 2 + LONGEST_PAUSE + Duration::from_secs(1), "{after:?}");
        }

        #[test]
        fn with_once_even_a_file_that_never_rests_ends(writes in writes(900)) {
            let busy = Some(Duration::from_secs(5));
            let patience = Patience { hard: Duration::from_secs(10), busy, ..PATIENCE };
            let told = play(patience, &writes, false, false, 10);
            let given_up = matches!(told.outcome, Outcome::GivenUp { .. });
            prop_assert!(given_up);
        }
    }

    #[test]
    fn a_closed_file_is_read_at_once() {
        let now = Instant::now();
        let (machine, step) = Settling::begin(&PATIENCE, now, stat(1), Duration::ZERO, Signal::Finished);
        assert_eq!((step, machine.is_being_read()), (Step::Read, true));
    }

    #[test]
    fn an_old_file_is_decided_at_once() {
        let now = Instant::now();
        let age = Duration::from_secs(3600);
        let (mut machine, step) = Settling::begin(&PATIENCE, now, stat(1), age, Signal::Listed);
        assert_eq!(step, Step::Read);
        let why = Why::Skip(SkipReason::Empty);
        assert_eq!(machine.not_whole(&PATIENCE, now, why, Some(stat(1))), Step::GiveUp(why));
    }

    #[test]
    fn a_fresh_file_waits_for_quiet_and_a_change_begins_anew() {
        let now = Instant::now();
        let (mut machine, step) = Settling::begin(&PATIENCE, now, stat(1), Duration::ZERO, Signal::Listed);
        assert_eq!(step, Step::WaitUntil(now + PATIENCE.quiet));
        let later = now + Duration::from_millis(300);
        assert_eq!(machine.seen(&PATIENCE, later, stat(2), Signal::Changed), Step::WaitUntil(later + PATIENCE.quiet));
        assert_eq!(machine.due(&PATIENCE, later + PATIENCE.quiet), Step::Read);
    }

    #[test]
    fn a_file_that_is_touched_without_end_is_read_all_the_same() {
        let now = Instant::now();
        let (mut machine, _) = Settling::begin(&PATIENCE, now, stat(0), Duration::ZERO, Signal::Changed);
        let read_at = (1..).find(|n| {
            let step = machine.seen(&PATIENCE, now + Duration::from_millis(n * 100), stat(*n), Signal::Changed);
            step == Step::Read
        });
        assert_eq!(read_at, Some(50), "after the longest pause, in tenths of a second");
    }
}
