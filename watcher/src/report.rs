//! What the photographer (or another program) is told. Received, skipped and failed are different words, with counts.
//!
//! One [`Report`] for each event that is sent to; together they speak with one voice ([`voice`]): they are at rest when
//! all are, and the summary comes when all have ended.

mod voice;
mod words;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use findme_common::manifest::{FailReason, SkipReason};
use findme_common::{Digest, EventId, PhotoId};

use self::voice::Voice;
use crate::args::Output;
use crate::totals::Totals;

/// What a venue prints first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Serving {
    pub(crate) url: String,
    pub(crate) event: String,
    pub(crate) join: String,
    pub(crate) photographer_token: String,
    pub(crate) operator_token: Option<String>,
    /// For a terminal: a QR code of `join`, and what keeps guests from it.
    pub(crate) poster: String,
    pub(crate) warnings: Vec<String>,
}

/// Something to tell.
#[derive(Debug)]
#[cfg_attr(not(feature = "venue"), allow(dead_code))]
pub(crate) enum Event<'a> {
    Serving(&'a Serving),
    Found {
        path: &'a Path,
        bytes: u64,
    },
    /// With `--dry-run`, in place of sending.
    WouldSend {
        path: &'a Path,
        bytes: u64,
    },
    Uploaded {
        path: &'a Path,
        digest: Digest,
        photo: PhotoId,
        bytes: u64,
        took: Duration,
    },
    Duplicate {
        path: &'a Path,
        digest: Digest,
        photo: Option<PhotoId>,
        bytes: u64,
    },
    Skipped {
        path: &'a Path,
        reason: SkipReason,
        bytes: u64,
    },
    Failed {
        path: &'a Path,
        reason: FailReason,
        detail: &'a str,
        digest: Option<Digest>,
    },
    Idle(Totals),
    Summary {
        totals: Totals,
        exit: u8,
        took: Duration,
    },
    /// One line about the way things go, not about one file.
    Notice(&'a str),
    /// The same, for somebody who does not look at the screen.
    Alarm(&'a str),
}

/// Exit codes, the one that most needs to be known first; those that are not here come before all.
const WORST_FIRST: [u8; 7] = [6, 11, 5, 4, 3, 130, 0];

/// What one event's run has to tell, told together with the others'.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    shared: Arc<Mutex<Shared>>,
    part: usize,
}

#[derive(Debug)]
struct Shared {
    voice: Voice,
    parts: Vec<Part>,
}

/// Where one event's run stands.
#[derive(Debug, Default)]
struct Part {
    /// Named where there are several.
    of: Option<EventId>,
    totals: Totals,
    gone: u64,
    at_rest: bool,
    ended: Option<(u8, Duration)>,
}

impl Shared {
    fn totals(&self) -> Totals {
        self.parts.iter().fold(Totals::default(), |mut sum, part| {
            sum += part.totals;
            sum
        })
    }
}

impl Report {
    /// One for each event; `None`: the event is not known yet.
    pub(crate) fn several(output: Output, dry_run: bool, events: &[Option<EventId>]) -> Vec<Self> {
        let named = |of: &Option<EventId>| of.filter(|_| events.len() > 1);
        let parts = events.iter().map(|of| Part { of: named(of), ..Part::default() }).collect();
        let shared = Arc::new(Mutex::new(Shared { voice: Voice::new(output, dry_run), parts }));
        (0..events.len()).map(|part| Self { shared: Arc::clone(&shared), part }).collect()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This event's run has ended, perhaps before it could say so itself.
    pub(crate) fn ended(&mut self, exit: u8) {
        let totals = {
            let shared = self.shared();
            let part = &shared.parts[self.part];
            part.ended.is_none().then_some(part.totals)
        };
        if let Some(totals) = totals {
            self.tell(&Event::Summary { totals, exit, took: Duration::ZERO });
        }
    }

    /// From now on nothing is called safe.
    pub(crate) fn on_this_machine_only(&mut self) {
        self.shared().voice.on_this_machine_only();
    }

    /// Tells one thing.
    pub(crate) fn tell(&mut self, event: &Event<'_>) {
        let mut shared = self.shared();
        let shared = &mut *shared;
        let part = &mut shared.parts[self.part];
        match event {
            Event::Idle(totals) => {
                (part.totals, part.at_rest) = (*totals, true);
                if shared.parts.iter().all(|part| part.at_rest || part.ended.is_some()) {
                    let totals = shared.totals();
                    shared.voice.tell(&Event::Idle(totals), None);
                }
            }
            Event::Summary { totals, exit, took } => {
                (part.totals, part.ended) = (*totals, Some((*exit, *took)));
                let ended: Option<Vec<_>> = shared.parts.iter().map(|part| part.ended).collect();
                if let Some(ended) = ended {
                    let exit = worst(ended.iter().map(|(exit, _)| *exit));
                    let took = ended.iter().map(|(_, took)| *took).max().unwrap_or_default();
                    let totals = shared.totals();
                    shared.voice.tell(&Event::Summary { totals, exit, took }, None);
                }
            }
            other => {
                if !matches!(other, Event::Serving(_) | Event::Notice(_) | Event::Alarm(_)) {
                    part.at_rest = false;
                }
                let of = part.of;
                shared.voice.tell(other, of);
            }
        }
    }

    /// Gives a sign of life when there was none for a while. Called often. `gone`: bytes that have left so far.
    pub(crate) fn pulse(&mut self, totals: Totals, gone: u64) {
        let mut shared = self.shared();
        let part = &mut shared.parts[self.part];
        (part.totals, part.gone) = (totals, gone);
        let (totals, gone) = (shared.totals(), shared.parts.iter().map(|part| part.gone).sum());
        shared.voice.pulse(totals, gone);
    }

    /// A file is being sent.
    pub(crate) fn started(&mut self, path: &Path, bytes: u64, sent: Arc<std::sync::atomic::AtomicU64>) {
        self.shared().voice.started(path, bytes, sent);
    }

    /// A file is not being sent any more.
    pub(crate) fn stopped(&mut self, path: &Path) {
        self.shared().voice.stopped(path);
    }
}

/// The exit code that says most about how several runs went.
pub(crate) fn worst(exits: impl Iterator<Item = u8>) -> u8 {
    exits.min_by_key(|exit| WORST_FIRST.iter().position(|known| known == exit).map_or(0, |at| at + 1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_events_are_at_rest_when_all_are_and_end_with_the_worst_word() {
        let events = [1, 2].map(|n| Some(EventId::from_bytes([n; 16])));
        let mut reports = Report::several(Output::Quiet, false, &events);
        let totals = |uploaded| Totals { uploaded, ..Totals::default() };
        reports[0].tell(&Event::Idle(totals(3)));
        reports[0].tell(&Event::Found { path: Path::new("a.jpg"), bytes: 1 });
        reports[1].tell(&Event::Idle(totals(4)));
        let at_rest = |report: &Report| report.shared().parts.iter().filter(|part| part.at_rest).count();
        assert_eq!(at_rest(&reports[0]), 1, "the first has work again");
        reports[0].pulse(totals(5), 10);
        assert_eq!(reports[1].shared().totals().uploaded, 9);
        for (exits, expected) in [(vec![0, 0], 0), (vec![0, 3], 3), (vec![3, 5], 5), (vec![5, 1, 130], 1)] {
            assert_eq!(worst(exits.into_iter()), expected);
        }
    }
}
