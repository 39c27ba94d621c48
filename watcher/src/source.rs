//! Where files come from: listing the folders is the truth, notifications are hints that it is time to look.
//!
//! One thread of its own, because listing blocks. Folders are listed at the start, every minute, when notifications
//! were lost, and when a folder appears (at once, after 0.5 s and after 2 s). On Linux each folder is watched before it
//! is listed, so that nothing falls between the two. Symbolic links are never followed.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::filesystem;
use crate::fingerprint::Stat;
use crate::hints::Hints;
use crate::names;
use crate::settle::Signal;

/// Between two listings of a folder that is also watched.
const RESCAN: Duration = Duration::from_secs(60);
/// Between two listings of a folder that cannot be watched.
const DEFAULT_POLL: Duration = Duration::from_secs(2);
/// Between two looks whether the watched folders are still the same ones.
const ROOT_CHECK: Duration = Duration::from_secs(2);
/// When a folder that appeared is listed again.
const RELIST: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];
/// Sightings handed over at a time.
const BATCH: usize = 256;

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
    /// The same below the watched folder.
    pub(crate) below: PathBuf,
    pub(crate) kind: Kind,
    pub(crate) signal: Signal,
}

/// What the source tells.
#[derive(Debug)]
pub(crate) enum Told {
    Sightings(Vec<Sighting>),
    /// All folders have been listed once from end to end.
    Scanned,
    /// One line for the photographer.
    Notice(String),
}

/// Starts the source's thread. It ends when the receiver is dropped or the guard is.
pub(crate) fn start(roots: Vec<PathBuf>, poll: Option<Duration>) -> io::Result<(mpsc::Receiver<Told>, Guard)> {
    let (out, told) = mpsc::channel(16);
    let hints = Arc::new(Hints::default());
    let source = Source::new(roots, poll, out, Arc::clone(&hints));
    std::thread::Builder::new().name("source".into()).spawn(move || source.run())?;
    Ok((told, Guard(hints)))
}

/// Ends the source when dropped.
#[derive(Debug)]
pub(crate) struct Guard(Arc<Hints>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.stop();
    }
}

struct Root {
    path: PathBuf,
    /// Device and file number of the folder that is there now; `None` while it is not.
    identity: Option<(u64, u64)>,
    /// The photographer was told that it went away.
    told_gone: bool,
    /// Time between listings.
    every: Duration,
    next_scan: Instant,
    /// `None`: this folder is only listed.
    watcher: Option<RecommendedWatcher>,
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
}

/// The receiver is gone: the program ends.
struct Ended;

impl Source {
    fn new(roots: Vec<PathBuf>, poll: Option<Duration>, out: mpsc::Sender<Told>, hints: Arc<Hints>) -> Self {
        let now = Instant::now();
        let roots = roots
            .into_iter()
            .map(|path| Root { path, identity: None, told_gone: false, every: RESCAN, next_scan: now, watcher: None })
            .collect();
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
            self.scan.extend(due.map(|(n, root)| (n, root.path.clone())));
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
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // A whole card that went away is told by `check_roots`.
            Err(_) if folder == self.roots[root].path => return Ok(()),
            Err(error) => {
                return self.see(root, folder.to_owned(), Kind::Unlistable(error.to_string()), Signal::Listed);
            }
        };
        for entry in entries.flatten() {
            // Of the entry itself, not of what a link points to.
            let Ok(metadata) = entry.metadata() else { continue };
            let path = entry.path();
            if metadata.is_dir() {
                if names::is_wanted_folder(&entry.file_name().to_string_lossy()) {
                    if urgent { self.urgent.push((root, path)) } else { self.scan.push((root, path)) }
                }
                continue;
            }
            self.see(root, path, kind_of(&metadata), Signal::Listed)?;
        }
        Ok(())
    }

    fn see(&mut self, root: usize, path: PathBuf, kind: Kind, signal: Signal) -> Result<(), Ended> {
        let below = path.strip_prefix(&self.roots[root].path).unwrap_or(&path).to_owned();
        self.batch.push(Sighting { path, below, kind, signal });
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
        if wanted && folder != self.roots[root].path {
            let now = Instant::now();
            self.relist.extend(RELIST.map(|after| (now + after, root, folder.clone())));
            self.urgent.push((root, folder));
        }
    }

    fn rescan_now(&mut self) {
        let now = Instant::now();
        self.roots.iter_mut().for_each(|root| root.next_scan = now);
    }

    /// Notices a card that was taken out, put back, or replaced by another.
    fn check_roots(&mut self) -> Result<(), Ended> {
        for n in 0..self.roots.len() {
            let root = &mut self.roots[n];
            let identity = filesystem::identity(&root.path);
            if identity == root.identity {
                continue;
            }
            root.identity = identity;
            root.watcher = None;
            let back = std::mem::replace(&mut root.told_gone, identity.is_none());
            let path = root.path.clone();
            self.watched.retain(|folder| !folder.starts_with(&path));
            if identity.is_none() {
                self.tell(Told::Notice(format!("{} is not there; waiting for it to come back", path.display())))?;
                continue;
            }
            if back {
                self.tell(Told::Notice(format!("{} is there again", path.display())))?;
            }
            self.arm(n)?;
            self.roots[n].next_scan = Instant::now();
        }
        Ok(())
    }

    /// Chooses between notifications and polling for one watched folder.
    fn arm(&mut self, n: usize) -> Result<(), Ended> {
        let path = self.roots[n].path.clone();
        if let Some(every) = self.poll {
            self.roots[n].every = every;
            return Ok(());
        }
        if let Some(kind) = filesystem::needs_polling(&path) {
            return self.poll_instead(n, &format!("a {kind} file system gives no notifications"));
        }
        let hints = Arc::clone(&self.hints);
        let config = notify::Config::default().with_follow_symlinks(false);
        let armed = RecommendedWatcher::new(move |change| hints.add(change), config).and_then(|mut watcher| {
            // On Linux each folder gets its own watch just before it is listed.
            if !cfg!(target_os = "linux") {
                watcher.watch(&path, RecursiveMode::Recursive)?;
            }
            Ok(watcher)
        });
        match armed {
            Ok(watcher) => {
                self.roots[n].every = RESCAN;
                self.roots[n].watcher = Some(watcher);
                Ok(())
            }
            Err(error) => self.poll_instead(n, &error.to_string()),
        }
    }

    /// Watches one folder, on Linux. `again`: also when it is watched already, because it may be another one now.
    fn watch(&mut self, root: usize, folder: &Path, again: bool) -> Result<(), Ended> {
        if !cfg!(target_os = "linux") || (!again && self.watched.contains(folder)) {
            return Ok(());
        }
        let Some(watcher) = &mut self.roots[root].watcher else { return Ok(()) };
        match watcher.watch(folder, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.watched.insert(folder.to_owned());
                Ok(())
            }
            Err(error) if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) => {
                self.roots[root].watcher = None;
                self.poll_instead(
                    root,
                    "this system allows no more watches (raise it with: sudo sysctl fs.inotify.max_user_watches=524288)",
                )
            }
            // It went away, or may not be read: listing it says so.
            Err(_) => Ok(()),
        }
    }

    fn poll_instead(&mut self, n: usize, why: &str) -> Result<(), Ended> {
        let root = &mut self.roots[n];
        root.every = self.poll.unwrap_or(DEFAULT_POLL);
        let every = root.every.as_secs_f32();
        let line = format!("{}: {why}; looking every {every} s instead", root.path.display());
        self.tell(Told::Notice(line))
    }
}

fn kind_of(metadata: &fs::Metadata) -> Kind {
    match metadata.file_type() {
        kind if kind.is_symlink() => Kind::Symlink,
        kind if kind.is_file() => Kind::File(Stat::of(metadata)),
        _ => Kind::Special,
    }
}
