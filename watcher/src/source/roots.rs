//! The watched folders themselves: whether they are there, and how what happens in them is noticed.
//!
//! Notifications where they can be relied on, listing every few seconds where not, and always one line that says so.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};

use super::{Ended, Source, Told};
use crate::filesystem::{self, Ground};
use crate::limits;

/// Between two listings of a folder that is also watched.
pub(super) const RESCAN: Duration = Duration::from_secs(60);
/// Between two listings of a folder that cannot be watched, or where others write too.
const DEFAULT_POLL: Duration = Duration::from_secs(2);

/// One watched folder.
pub(super) struct Root {
    pub(super) path: Arc<Path>,
    /// Device and file number of the folder that is there now; `None` while it is not.
    identity: Option<(u64, u64)>,
    /// It was there once, so that from now on its comings and goings are told.
    told: bool,
    /// Time between listings.
    pub(super) every: Duration,
    pub(super) next_scan: Instant,
    /// `None`: this folder is only listed.
    watcher: Option<RecommendedWatcher>,
}

impl Root {
    pub(super) fn new(path: PathBuf, now: Instant) -> Self {
        Self { path: path.into(), identity: None, told: false, every: RESCAN, next_scan: now, watcher: None }
    }

    /// Whether it was there at the last look.
    pub(super) fn is_there(&self) -> bool {
        self.identity.is_some()
    }
}

impl Source {
    /// Notices a card that was taken out, put back, or replaced by another.
    pub(super) fn check_roots(&mut self) -> Result<(), Ended> {
        for n in 0..self.roots.len() {
            let root = &mut self.roots[n];
            let identity = filesystem::identity(&root.path);
            if identity == root.identity {
                continue;
            }
            let before = std::mem::replace(&mut root.identity, identity);
            let first = !std::mem::replace(&mut root.told, true);
            root.watcher = None;
            let path = root.path.clone();
            self.watched.retain(|folder| !folder.starts_with(&path));
            let shown = path.display();
            if identity.is_none() {
                self.tell(Told::Notice(format!("{shown} is not there; waiting for it to come back")))?;
                continue;
            }
            if !first {
                let line = match before {
                    None => format!("{shown} is there again"),
                    Some(_) => format!("{shown} is another one now (a card was changed?)"),
                };
                self.tell(Told::Notice(line))?;
                // What could not be read while it went away is looked at again.
                self.tell(Told::Back(path.to_path_buf()))?;
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
        let ground = filesystem::ground(&path);
        if let Ground::Shared(kind) = ground {
            return self.poll_instead(n, &format!("what others put on {kind} is not notified"));
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
        match (armed, ground) {
            (Ok(watcher), Ground::Card(kind)) => {
                // Both: what this laptop writes is notified, what a camera writes is not.
                self.roots[n].watcher = Some(watcher);
                self.poll_instead(n, &format!("a card ({kind}) may be written by others"))
            }
            (Ok(watcher), _) => {
                self.roots[n].every = RESCAN;
                self.roots[n].watcher = Some(watcher);
                Ok(())
            }
            (Err(error), _) => self.poll_instead(n, &why_not(&error)),
        }
    }

    /// Watches one folder, on Linux. `again`: also when it is watched already, because it may be another one now.
    pub(super) fn watch(&mut self, root: usize, folder: &Path, again: bool) -> Result<(), Ended> {
        if !cfg!(target_os = "linux") || (!again && self.watched.contains(folder)) {
            return Ok(());
        }
        let Some(watcher) = &mut self.roots[root].watcher else { return Ok(()) };
        match watcher.watch(folder, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.watched.insert(folder.to_owned());
                self.warn_of_limit()
            }
            Err(error) if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) => {
                // Gives back the watches that it has, for whoever else needs some.
                self.roots[root].watcher = None;
                let path = self.roots[root].path.clone();
                self.watched.retain(|folder| !folder.starts_with(&path));
                self.poll_instead(root, &why_not(&error))
            }
            // It went away, or may not be read: listing it says so.
            Err(_) => Ok(()),
        }
    }

    /// Says once that half of the watches that this system allows are taken by these folders alone.
    fn warn_of_limit(&mut self) -> Result<(), Ended> {
        let limit = self.limit.get_or_insert_with(limits::watches);
        let watched = self.watched.len() as u64;
        match limit {
            Some(half) if watched * 2 > half.most => {
                let line = format!(
                    "{watched} folders are watched, and this system allows {}; before it gets tight: {}",
                    half.most,
                    half.raise(watched)
                );
                *limit = None;
                self.tell(Told::Notice(line))
            }
            _ => Ok(()),
        }
    }

    fn poll_instead(&mut self, n: usize, why: &str) -> Result<(), Ended> {
        let root = &mut self.roots[n];
        root.every = self.poll.unwrap_or(DEFAULT_POLL);
        root.next_scan = root.next_scan.min(Instant::now() + root.every);
        let seconds = root.every.as_secs_f32();
        let line = format!("{}: {why}; looking every {seconds} s", root.path.display());
        self.tell(Told::Notice(line))
    }
}

/// Why a folder cannot be watched, with the way out where there is one.
fn why_not(error: &notify::Error) -> String {
    let advice = |limit: Option<limits::Limit>| {
        limit.map(|limit| format!(" ({}; raise it with: {})", limit.most, limit.raise(0))).unwrap_or_default()
    };
    match &error.kind {
        notify::ErrorKind::MaxFilesWatch => format!("this system allows no more watches{}", advice(limits::watches())),
        notify::ErrorKind::Io(io) if is_too_many(io) => {
            format!("this system lets no more programs watch folders{}", advice(limits::instances()))
        }
        _ => format!("cannot be watched ({error})"),
    }
}

/// `EMFILE`, which the system also answers when too many programs watch.
fn is_too_many(error: &io::Error) -> bool {
    cfg!(unix) && error.raw_os_error() == Some(24)
}
