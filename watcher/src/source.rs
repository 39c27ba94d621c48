//! Where files come from: listing the folders is the truth, notifications are hints that it is time to look.
//!
//! One thread of its own, because listing blocks. Folders are listed at the start, every minute, when notifications
//! were lost, after the laptop slept or its clock was set, and when a folder appears (at once, after 0.5 s and after
//! 2 s). On Linux each folder is watched before it is listed, so that nothing falls between the two. Symbolic links are
//! never followed.

mod roots;

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;

use self::roots::{RESCAN, Root};
use crate::clocks::Clocks;
use crate::fingerprint::Stat;
use crate::hints::Hints;
use crate::limits::Limit;
use crate::names;
use crate::settle::Signal;

/// Between two looks whether the watched folders are still the same ones.
const ROOT_CHECK: Duration = Duration::from_secs(2);
/// When a folder that appeared is listed again.
const RELIST: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];
/// Sightings handed over at a time.
const BATCH: usize = 256;
/// Batches that may wait: the folders are listed while the manifest is read.
const WAITING: usize = 256;

/// What there is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    File(Stat),
    Symlink,
    Special,
    /// Nothing any more.
    Gone,
    /// A folder that cannot be listed, and what the operating system says.
    Unlistable(String),
}

/// One look at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sighting {
    pub(crate) path: PathBuf,
    /// The watched folder that it lies in.
    pub(crate) root: Arc<Path>,
    pub(crate) kind: Kind,
    pub(crate) signal: Signal,
}

/// One folder, or a part of a large one, as it was listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listing {
    /// The watched folder that it lies in, or is.
    pub(crate) root: Arc<Path>,
    pub(crate) folder: PathBuf,
    /// What lies in it, but folders. Names only: a hundred thousand whole paths would be a lot of memory.
    pub(crate) entries: Vec<(OsString, Kind)>,
}

/// What the source tells.
#[derive(Debug)]
pub(crate) enum Told {
    Listed(Listing),
    Sightings(Vec<Sighting>),
    /// All folders have been listed once from end to end.
    Scanned,
    /// This watched folder was away and is there again.
    Back(PathBuf),
    /// The laptop slept, or its clock was set: connections may be dead without a word.
    Woke,
    /// One line for the photographer.
    Notice(String),
}

/// Starts the source's thread. It ends when the receiver is dropped or the guard is.
pub(crate) fn start(roots: Vec<PathBuf>, poll: Option<Duration>) -> io::Result<(mpsc::Receiver<Told>, Guard)> {
    let (out, told) = mpsc::channel(WAITING);
    let hints = Arc::new(Hints::default());
    let source = Source::new(roots, poll, out, Arc::clone(&hints));
    std::thread::Builder::new().name("source".into()).spawn(move || source.run())?;
    Ok((told, Guard(hints)))
}

/// Ends the source when dropped.
#[derive(Debug)]
pub(crate) struct Guard(Arc<Hints>);

impl Sighting {
    /// The path below the watched folder.
    pub(crate) fn below(&self) -> &Path {
        self.path.strip_prefix(&self.root).unwrap_or(&self.path)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.stop();
    }
}

struct Source {
    roots: Vec<Root>,
    poll: Option<Duration>,
    out: mpsc::Sender<Told>,
    hints: Arc<Hints>,
    /// Folders with a watch of their own (Linux).
    watched: HashSet<PathBuf>,
    /// Folders still to list: (root, folder).
    scan: Vec<(usize, PathBuf)>,
    scan_began: Instant,
    /// The same out of turn, because something happened there.
    urgent: Vec<(usize, PathBuf)>,
    /// Folders to list again later.
    relist: Vec<(Instant, usize, PathBuf)>,
    batch: Vec<Sighting>,
    /// Folders that could not be listed at the last look.
    unlistable: HashSet<PathBuf>,
    /// How many watches there may be; `Some(None)` when there is no limit or it was spoken of.
    limit: Option<Option<Limit>>,
    clocks: Clocks,
}

/// The receiver is gone: the program ends.
struct Ended;

impl Source {
    fn new(roots: Vec<PathBuf>, poll: Option<Duration>, out: mpsc::Sender<Told>, hints: Arc<Hints>) -> Self {
        let now = Instant::now();
        let roots = roots.into_iter().map(|path| Root::new(path, now)).collect();
        Self {
            roots,
            poll,
            out,
            hints,
            watched: HashSet::new(),
            scan: Vec::new(),
            scan_began: now,
            urgent: Vec::new(),
            relist: Vec::new(),
            batch: Vec::new(),
            unlistable: HashSet::new(),
            limit: None,
            clocks: Clocks::new(SystemTime::now(), now),
        }
    }

    fn run(mut self) {
        let _: Result<(), Ended> = (|| {
            self.check_roots()?;
            let mut next_check = Instant::now() + ROOT_CHECK;
            loop {
                if self.hints.stopped() {
                    return Err(Ended);
                }
                let now = Instant::now();
                if now >= next_check {
                    self.check_clocks(now)?;
                    self.check_roots()?;
                    next_check = Instant::now() + ROOT_CHECK;
                }
                self.take_hints()?;
                self.take_due(now);
                if let Some((root, folder)) = self.urgent.pop() {
                    self.list(root, &folder, true)?;
                } else if let Some((root, folder)) = self.scan.pop() {
                    self.list(root, &folder, false)?;
                    self.finish_scan()?;
                } else {
                    self.hand_over()?;
                    self.hints.wait(next_check.min(self.next_due()));
                }
            }
        })();
    }

    /// Moves what is due into the lists of folders to look at.
    fn take_due(&mut self, now: Instant) {
        let due = self.relist.extract_if(.., |(at, _, _)| *at <= now);
        self.urgent.extend(due.map(|(_, root, folder)| (root, folder)));
        if self.scan.is_empty() {
            let due = self.roots.iter().enumerate().filter(|(_, root)| root.next_scan <= now);
            self.scan.extend(due.map(|(n, root)| (n, root.path.to_path_buf())));
            self.scan_began = now;
        }
    }

    fn next_due(&self) -> Instant {
        let relist = self.relist.iter().map(|(at, _, _)| *at);
        let scans = self.roots.iter().map(|root| root.next_scan);
        relist.chain(scans).min().unwrap_or_else(|| Instant::now() + RESCAN)
    }

    fn finish_scan(&mut self) -> Result<(), Ended> {
        if !self.scan.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        // Never busy more than a sixth of the time with listing.
        let at_least = (now - self.scan_began) * 5;
        for root in self.roots.iter_mut().filter(|root| root.next_scan <= self.scan_began) {
            root.next_scan = now + root.every.max(at_least);
        }
        self.hand_over()?;
        self.tell(Told::Scanned)
    }

    /// Lists one folder; the folders in it come after it.
    fn list(&mut self, root: usize, folder: &Path, urgent: bool) -> Result<(), Ended> {
        self.watch(root, folder, urgent)?;
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            // A whole card that went away is told by `check_roots`.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(_) if !self.roots[root].is_there() => return Ok(()),
            Err(error) => {
                self.unlistable.insert(folder.to_owned());
                return self.see(root, folder.to_owned(), Kind::Unlistable(error.to_string()), Signal::Listed);
            }
        };
        if self.unlistable.remove(folder) {
            self.see(root, folder.to_owned(), Kind::Gone, Signal::Listed)?;
        }
        let mut files = Vec::new();
        for entry in entries.flatten() {
            // Of the entry itself, not of what a link points to.
            let Ok(metadata) = entry.metadata() else { continue };
            let name = entry.file_name();
            if !metadata.is_dir() {
                files.push((name, kind_of(&metadata)));
                if files.len() == BATCH {
                    self.tell_listed(root, folder, std::mem::take(&mut files))?;
                }
            } else if names::is_wanted_folder(&name.to_string_lossy()) {
                let below = (root, folder.join(name));
                if urgent { self.urgent.push(below) } else { self.scan.push(below) }
            }
        }
        self.tell_listed(root, folder, files)
    }

    fn tell_listed(&mut self, root: usize, folder: &Path, entries: Vec<(OsString, Kind)>) -> Result<(), Ended> {
        // What was seen before is told before.
        self.hand_over()?;
        if entries.is_empty() {
            return Ok(());
        }
        let root = Arc::clone(&self.roots[root].path);
        self.tell(Told::Listed(Listing { root, folder: folder.to_owned(), entries }))
    }

    fn see(&mut self, root: usize, path: PathBuf, kind: Kind, signal: Signal) -> Result<(), Ended> {
        let root = Arc::clone(&self.roots[root].path);
        self.batch.push(Sighting { path, root, kind, signal });
        if self.batch.len() >= BATCH { self.hand_over() } else { Ok(()) }
    }

    fn hand_over(&mut self) -> Result<(), Ended> {
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() { Ok(()) } else { self.tell(Told::Sightings(batch)) }
    }

    fn tell(&self, told: Told) -> Result<(), Ended> {
        self.out.blocking_send(told).map_err(|_| Ended)
    }

    /// Looks at every path that a notification named.
    fn take_hints(&mut self) -> Result<(), Ended> {
        let (paths, lost) = self.hints.take();
        if lost {
            self.rescan_now();
        }
        let any = !paths.is_empty();
        for (path, signal) in paths {
            let Some(root) = self.roots.iter().position(|root| path.starts_with(&root.path)) else { continue };
            let Ok(below) = path.strip_prefix(&self.roots[root].path) else { continue };
            let folders = below.parent().into_iter().flat_map(Path::iter);
            if !folders.map(|name| name.to_string_lossy()).all(|name| names::is_wanted_folder(&name)) {
                continue;
            }
            match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_dir() => self.folder_appeared(root, path),
                Ok(metadata) => self.see(root, path, kind_of(&metadata), signal)?,
                Err(_) => {
                    self.watched.remove(&path);
                    self.see(root, path, Kind::Gone, signal)?;
                }
            }
        }
        if any { self.hand_over() } else { Ok(()) }
    }

    fn folder_appeared(&mut self, root: usize, folder: PathBuf) {
        let wanted = folder.file_name().is_none_or(|name| names::is_wanted_folder(&name.to_string_lossy()));
        if wanted && folder != *self.roots[root].path {
            let now = Instant::now();
            self.relist.extend(RELIST.map(|after| (now + after, root, folder.clone())));
            self.urgent.push((root, folder));
        }
    }

    /// Notices that the laptop slept: whatever happened meanwhile may not have been notified.
    fn check_clocks(&mut self, now: Instant) -> Result<(), Ended> {
        if !self.clocks.jumped(SystemTime::now(), now) {
            return Ok(());
        }
        self.rescan_now();
        self.tell(Told::Woke)
    }

    fn rescan_now(&mut self) {
        let now = Instant::now();
        self.roots.iter_mut().for_each(|root| root.next_scan = now);
    }
}

fn kind_of(metadata: &fs::Metadata) -> Kind {
    match metadata.file_type() {
        kind if kind.is_symlink() => Kind::Symlink,
        kind if kind.is_file() => Kind::File(Stat::of(metadata)),
        _ => Kind::Special,
    }
}
