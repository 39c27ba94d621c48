//! The loop: source → settle → fingerprint → plan → upload → manifest → report, one direction.
//!
//! One task owns all of it and decides; readings and uploads run beside it and only hand back what happened. A file is
//! at every moment in exactly one place: settling, waiting to be read, waiting to be sent, being sent, or done.

mod listing;
mod outcomes;
mod previews;
mod ratings;
mod sending;
mod standing;
mod versions;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use findme_common::manifest::{FailReason, FileState, ImageKey, PhotoState, SkipReason};
use findme_common::media::Media;
use findme_common::{Digest, EventId};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::ratings::Heeding;
use crate::alarm::Alarm;
use crate::args::SimilarArg;
use crate::arrivals::Arrivals;
use crate::config::Config;
use crate::fingerprint::{self, Content, Fingerprint, Reading, Stat, Wish};
use crate::line::Line;
use crate::look;
use crate::manifest::{FileRecord, Manifest, PhotoRecord};
use crate::names::Promise;
use crate::plan::{AfterReading, BeforeReading, after_reading, before_reading};
use crate::queue::{ByAge, Errand, Gate, Job};
use crate::report::{Event, Report};
use crate::server::{Failure, Server};
use crate::settle::{Settling, Signal, Step, Why};
use crate::source::{Kind, Sighting};
use crate::totals::Totals;
use crate::tus::{Parcel, Received};
use crate::width::Width;

/// A file that could not be sent in this run.
struct Failed {
    stat: Stat,
    digest: Option<Digest>,
}

/// Nothing more can be done.
#[derive(Debug)]
pub(crate) enum Fatal {
    TokenRefused(String),
    /// The server is newer than this program; what to do.
    TooNew(String),
    Manifest(crate::journal::WriteError),
}

/// Everything that one run knows. Its parts are driven by `run`.
pub(crate) struct Engine {
    pub(crate) config: Config,
    pub(crate) server: Server,
    pub(crate) event: EventId,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) report: Report,
    settling: HashMap<PathBuf, Settling>,
    timers: BinaryHeap<Reverse<(Instant, PathBuf)>>,
    to_read: ByAge<PathBuf>,
    pub(crate) readings: JoinSet<(PathBuf, Reading, Option<Stat>)>,
    readers: usize,
    queue: ByAge<Job>,
    /// Photos whose previews the server has; they go when nothing else waits.
    originals: ByAge<Job>,
    line: Line,
    /// Jobs that failed for reasons of their own, and when they are tried again.
    later: Vec<(Instant, Job)>,
    pub(crate) uploads: JoinSet<(Job, Result<Received, Failure>)>,
    gate: Gate,
    /// Contents that wait to be sent or are being sent.
    under_way: HashMap<Digest, Option<ImageKey>>,
    /// Files whose picture is under way with other metadata (in this content): they wait for what becomes of it.
    same_image: Vec<(Digest, PathBuf)>,
    /// Files whose ratings let photos go, while the server is being told.
    heeding: HashMap<PathBuf, Heeding>,
    refused: HashMap<Digest, FailReason>,
    failed: HashMap<PathBuf, Failed>,
    /// Skipped paths that are not worth an entry in the manifest.
    unrecorded: HashSet<PathBuf>,
    totals: Totals,
    /// What became of the photos on the server.
    pub(crate) arrivals: Arrivals,
    /// Of the photos that are being sent.
    sending_bytes: u64,
    width: Width,
    alarm: Option<Alarm>,
    /// Something happened since the last rest.
    pub(crate) restless: bool,
}

impl Engine {
    pub(crate) fn new(config: Config, server: Server, event: EventId, manifest: Arc<Manifest>, report: Report) -> Self {
        let order = config.order;
        let width = Width::new(config.jobs);
        let alarm = config.alarm.map(|after| Alarm::new(after, Instant::now()));
        let line = Line::new(config.manner.pace.limit());
        let readers = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(1, 4));
        let mut engine = Self {
            config,
            server,
            event,
            manifest,
            report,
            settling: HashMap::new(),
            timers: BinaryHeap::new(),
            to_read: ByAge::new(order),
            readings: JoinSet::new(),
            readers,
            queue: ByAge::new(order),
            originals: ByAge::new(order),
            line,
            later: Vec::new(),
            uploads: JoinSet::new(),
            gate: Gate::default(),
            under_way: HashMap::new(),
            same_image: Vec::new(),
            heeding: HashMap::new(),
            refused: HashMap::new(),
            failed: HashMap::new(),
            unrecorded: HashSet::new(),
            totals: Totals::default(),
            arrivals: Arrivals::default(),
            sending_bytes: 0,
            width,
            alarm,
            restless: true,
        };
        engine.tell_untold();
        engine
    }

    // ---- source → settle -----------------------------------------------------------------------

    /// The source has seen something.
    pub(crate) fn sight(&mut self, sighting: Sighting) {
        let promise = match &sighting.kind {
            Kind::File(_) => Some(self.config.wanted.promise(sighting.below())),
            _ => None,
        };
        let Sighting { path, kind, signal, .. } = sighting;
        match kind {
            Kind::Gone => self.gone(&path),
            Kind::Symlink => self.skip_by_name(&path, SkipReason::Symlink, Fingerprint::default()),
            Kind::Special => self.skip_by_name(&path, SkipReason::SpecialFile, Fingerprint::default()),
            Kind::Unlistable(why) => {
                if !self.failed.contains_key(&path) {
                    let stat = Stat { fingerprint: Fingerprint::default(), changed_ns: 0 };
                    self.fail(&path, stat, FailReason::CannotBeRead, &why, None);
                }
            }
            Kind::File(stat) => match promise.unwrap_or(Promise::Photo) {
                Promise::Photo => self.sight_photo(path, stat, signal),
                Promise::Skip(SkipReason::Raw) => self.sight_raw(path, stat, signal),
                Promise::Skip(SkipReason::Sidecar) => {
                    let before = self.manifest.file(&path);
                    self.skip_by_name(&path, SkipReason::Sidecar, stat.fingerprint);
                    self.heed_sidecar(&path, stat, before);
                }
                Promise::Skip(reason) => self.skip_by_name(&path, reason, stat.fingerprint),
            },
        }
    }

    fn gone(&mut self, path: &Path) {
        // One that is being read will say so itself.
        self.failed.remove(path);
        // A temporary name that became a photo's was not left out.
        if self.unrecorded.remove(path) {
            self.totals.skipped = self.totals.skipped.saturating_sub(1);
        }
        if let Some(followed) = self.settling.get(path)
            && !followed.is_being_read()
        {
            self.settling.remove(path);
        }
    }

    /// This folder was away: what could not be read there may be readable now.
    pub(crate) fn try_again_below(&mut self, folder: &Path) {
        self.failed.retain(|path, _| !path.starts_with(folder));
    }

    /// The laptop slept, or its clock was set: connections may be dead without a word, so the next ones are new, and
    /// nobody waits for a pause to end that began before.
    pub(crate) fn wake(&mut self) {
        self.report.tell(&Event::Notice("the laptop slept or its clock was set; looking through the folders again"));
        self.gate = Gate::default();
        self.server.connect_anew();
    }

    fn sight_photo(&mut self, path: PathBuf, stat: Stat, signal: Signal) {
        let now = Instant::now();
        if let Some(followed) = self.settling.get_mut(&path) {
            let step = followed.seen(&self.config.patience, now, stat, signal);
            return self.step(path, step);
        }
        if self.failed.get(&path).is_some_and(|failed| failed.stat == stat) {
            return;
        }
        let (file, photo) = self.manifest.known(&path);
        let plan = match file.map(|file| file.state) {
            // An earlier run was asked to leave it out.
            Some(FileState::Skipped(SkipReason::Similar)) if self.config.similar != Some(SimilarArg::Skip) => {
                BeforeReading::Read
            }
            _ => before_reading(file.as_ref(), photo.as_ref(), stat.fingerprint, self.config.wanted.sends_raw()),
        };
        match plan {
            BeforeReading::Known(state) => self.count_known(&path, state),
            BeforeReading::Send(digest) if self.under_way.contains_key(&digest) => {}
            BeforeReading::Send(digest) => self.send_known(path, stat, digest),
            BeforeReading::Read => {
                self.restless = true;
                if file.is_none_or(|file| file.fingerprint != stat.fingerprint) {
                    self.report.tell(&Event::Found { path: &path, bytes: stat.fingerprint.bytes });
                    self.met_a_new_one(now);
                }
                let (settling, step) = Settling::begin(&self.config.patience, now, stat, stat.age(), signal);
                self.settling.insert(path.clone(), settling);
                self.step(path, step);
            }
        }
    }

    fn count_known(&mut self, path: &Path, state: FileState) {
        if !self.manifest.mark_seen(path) {
            self.count(state);
        }
    }

    fn count(&mut self, state: FileState) {
        match state {
            FileState::Photo { duplicate: true, .. } => self.totals.duplicate += 1,
            FileState::Photo { .. } => self.totals.known += 1,
            FileState::Skipped(_) | FileState::Failed(_) => self.totals.skipped += 1,
        }
    }

    /// Sends a content that was read in an earlier run.
    fn send_known(&mut self, path: PathBuf, stat: Stat, digest: Digest) {
        self.restless = true;
        if let Some(reason) = self.refused.get(&digest).copied() {
            return self.fail(&path, stat, reason, "", Some(digest));
        }
        self.manifest.mark_seen(&path);
        self.report.tell(&Event::Found { path: &path, bytes: stat.fingerprint.bytes });
        let media = Media::of_name(&path).unwrap_or(Media::Jpeg);
        let parcel = Parcel { path, digest, media, fingerprint: stat.fingerprint };
        self.enqueue(Job::new(parcel, Errand::Photo));
    }

    fn step(&mut self, path: PathBuf, step: Step) {
        match step {
            Step::Busy => {}
            Step::WaitUntil(at) => self.timers.push(Reverse((at, path))),
            Step::Read => {
                let time = self.settling.get(&path).map_or(0, |f| f.stat().fingerprint.mtime_ns);
                self.to_read.push(time, path);
            }
            Step::GiveUp(why) => self.give_up(&path, why, ""),
        }
    }

    fn give_up(&mut self, path: &Path, why: Why, detail: &str) {
        let Some(followed) = self.settling.remove(path) else { return };
        let stat = followed.stat();
        if !path.exists() && std::fs::symlink_metadata(path).is_err() {
            return;
        }
        match why {
            Why::Skip(reason) => self.skip(path, reason, stat.fingerprint),
            Why::Fail(reason) => self.fail(path, stat, reason, detail, None),
        }
    }

    /// Does what has become due, and tells when to come again.
    pub(crate) fn tick(&mut self, now: Instant) -> Option<Instant> {
        while let Some(Reverse((at, _))) = self.timers.peek()
            && *at <= now
        {
            let Some(Reverse((_, path))) = self.timers.pop() else { break };
            if let Some(followed) = self.settling.get_mut(&path) {
                let step = followed.due(&self.config.patience, now);
                self.step(path, step);
            }
        }
        let due: Vec<_> = self.later.extract_if(.., |(at, _)| *at <= now).collect();
        due.into_iter().for_each(|(_, job)| self.put_in_line(job));
        let settling = self.timers.peek().map(|Reverse((at, _))| *at);
        let later = self.later.iter().map(|(at, _)| *at).min();
        let gate = if self.is_waiting() { self.gate.opens_at() } else { None };
        [settling, later, gate].into_iter().flatten().min()
    }

    // ---- fingerprint ---------------------------------------------------------------------------

    /// Starts as many readings as may run.
    pub(crate) fn start_readings(&mut self) {
        while self.readings.len() < self.readers {
            let Some(path) = self.to_read.pop() else { return };
            let wish = Wish { stars: self.config.min_rating, earlier_images: self.manifest.has_earlier_images() };
            let looks = self.config.similar.is_some();
            self.readings.spawn_blocking(move || {
                let (mut reading, found) = fingerprint::read(&path, wish);
                if let (Reading::Photo(content), true) = (&mut reading, looks) {
                    content.look = look::of(&path, content.media, content.fingerprint.mtime_ns / 1_000_000_000);
                }
                (path, reading, found)
            });
        }
    }

    /// A reading is done.
    pub(crate) fn read(&mut self, path: PathBuf, reading: Reading, found: Option<Stat>) {
        let now = Instant::now();
        let patience = self.config.patience;
        let Some(settling) = self.settling.get_mut(&path) else { return };
        let (why, detail) = match reading {
            Reading::Photo(content) if settling.agrees_with(&content.fingerprint) => {
                let since = settling.changed_at();
                self.settling.remove(&path);
                return self.settled(path, content, since);
            }
            Reading::Photo(_) | Reading::Changed => {
                let step = settling.changed_while_read(&patience, now);
                return self.step(path, step);
            }
            Reading::Gone => {
                self.settling.remove(&path);
                return;
            }
            Reading::BelowRating => {
                let fingerprint = found.map_or(Fingerprint::default(), |stat| stat.fingerprint);
                self.settling.remove(&path);
                return self.skip(&path, SkipReason::BelowRating, fingerprint);
            }
            Reading::Empty => (Why::Skip(SkipReason::Empty), String::new()),
            Reading::NotAPhoto => (Why::Skip(SkipReason::NotAPhoto), String::new()),
            Reading::Truncated => (Why::Fail(FailReason::Truncated), String::new()),
            Reading::CannotBeRead(detail) => (Why::Fail(FailReason::CannotBeRead), detail),
        };
        match settling.not_whole(&patience, now, why, found) {
            Step::GiveUp(why) => self.give_up(&path, why, &detail),
            step => self.step(path, step),
        }
    }

    // ---- plan ----------------------------------------------------------------------------------

    fn settled(&mut self, path: PathBuf, content: Content, since: Instant) {
        let Content { digest, media, image, shot, look, fingerprint, racy } = content;
        let file = self.manifest.file(&path);
        let photo = self.manifest.photo(&digest);
        let state = photo.as_ref().map(|photo| &photo.state);
        let under_way = self.under_way.contains_key(&digest);
        let decision = after_reading(file.as_ref(), state, digest, under_way);
        let record =
            |duplicate| FileRecord { fingerprint, racy, state: FileState::Photo { digest, duplicate }, seen: true };
        self.failed.remove(&path);
        match decision {
            AfterReading::Unchanged => {
                let duplicate = file.is_some_and(|f| matches!(f.state, FileState::Photo { duplicate: true, .. }));
                self.put_back(&path, digest, file.as_ref());
                self.may_release(&path, digest);
                self.manifest.put_file(&path, record(duplicate));
                if !file.is_some_and(|file| file.seen) && !under_way {
                    if duplicate { self.totals.duplicate += 1 } else { self.totals.known += 1 }
                }
            }
            AfterReading::Duplicate => {
                self.uncount_skipped(file);
                self.put_back(&path, digest, file.as_ref());
                self.manifest.put_file(&path, record(true));
                self.totals.duplicate += 1;
                let photo = match state {
                    Some(PhotoState::Received { photo, .. }) => Some(*photo),
                    _ => None,
                };
                self.report.tell(&Event::Duplicate { path: &path, digest, photo, bytes: fingerprint.bytes });
            }
            AfterReading::Deleted => self.skip(&path, SkipReason::DeletedOnServer, fingerprint),
            AfterReading::Send => {
                if let Some(reason) = self.refused.get(&digest).copied() {
                    let stat = Stat { fingerprint, changed_ns: 0 };
                    return self.fail(&path, stat, reason, "", Some(digest));
                }
                // Announced: it was planned before the picture was received, so it goes.
                if state.is_none()
                    && let Some(image) = image
                {
                    if let Some(known) = self.manifest.known_image(&image) {
                        let twin = self.manifest.with_image(&known).filter(|_| file.is_some());
                        if let Some(twin) = twin {
                            self.put_back(&path, twin, file.as_ref());
                        }
                        self.skip(&path, SkipReason::MetadataOnly, fingerprint);
                        if let Some(twin) = twin.filter(|twin| self.may_release(&path, *twin)) {
                            self.heed(&path, fingerprint, [twin].into());
                        }
                        return;
                    }
                    let twin = self.under_way.iter().find(|(_, under_way)| **under_way == Some(image.now));
                    if let Some((twin, _)) = twin {
                        return self.same_image.push((*twin, path));
                    }
                }
                if self.is_preview_only(media) && self.is_of_pair(&path, shot.as_deref()) {
                    return self.skip(&path, SkipReason::RawOfPair, fingerprint);
                }
                // An edit is a version, not a second frame.
                if state.is_none() && !shot.as_ref().is_some_and(|shot| shot.edited) && self.leaves_out(&path, look) {
                    return self.skip(&path, SkipReason::Similar, fingerprint);
                }
                if !matches!(state, Some(PhotoState::Announced { .. })) {
                    let image = image.map(|image| image.now);
                    let record = PhotoRecord { image, shot, look, ..PhotoRecord::announced(fingerprint.bytes) };
                    // Nobody waits for this line: without it the file is read once more, that is all.
                    drop(self.manifest.put_photo(digest, record));
                    self.meet(&path, digest, versions::lay_here(file.as_ref(), digest));
                    self.meet_raw_beside(&path, digest);
                }
                self.uncount_skipped(file);
                self.manifest.put_file(&path, record(false));
                let parcel = Parcel { path, digest, media, fingerprint };
                self.enqueue(Job { since, ..Job::new(parcel, Errand::Photo) });
            }
        }
    }

    fn enqueue(&mut self, job: Job) {
        let image = self.manifest.photo(&job.parcel.digest).and_then(|photo| photo.image);
        self.under_way.insert(job.parcel.digest, image);
        if self.config.dry_run {
            let Parcel { path, fingerprint, .. } = &job.parcel;
            return self.report.tell(&Event::WouldSend { path, bytes: fingerprint.bytes });
        }
        self.line.met(job.parcel.fingerprint.bytes);
        self.put_in_line(job);
    }
}
