//! The part of the loop that knows ratings: what a sidecar or a rating in the file itself lets go.
//!
//! Invariant: a file whose rating lets held photos go is recorded as not looked at for good before anything else is
//! recorded of it, and only when the server has let them go as looked at. A kill in between is made good by the next run.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use findme_common::Digest;
use findme_common::manifest::{FileState, SkipReason};
use findme_common::media::Media;

use super::Engine;
use crate::fingerprint::{Fingerprint, Stat};
use crate::manifest::FileRecord;
use crate::queue::{Errand, Job};
use crate::rating;
use crate::tus::Parcel;

/// A file whose rating lets photos go, while the server is being told.
#[derive(Debug)]
pub(super) struct Heeding {
    fingerprint: Fingerprint,
    waits_for: HashSet<Digest>,
}

impl Engine {
    /// A sidecar was written: photos that wait for a rating are looked at again, held ones may be released. `before`: what
    /// was known of it.
    pub(super) fn heed_sidecar(&mut self, path: &Path, stat: Stat, before: Option<FileRecord>) {
        let is_old = |file: FileRecord| file.fingerprint == stat.fingerprint && !file.racy;
        let is_heeded = self.heeding.get(path).is_some_and(|heeding| heeding.fingerprint == stat.fingerprint);
        if !self.config.heeds_ratings() || is_heeded || before.is_some_and(is_old) {
            return;
        }
        let mut waits_for = HashSet::new();
        for photo in rating::photos_of(path) {
            let Some(file) = self.manifest.file(&photo) else { continue };
            match file.state {
                FileState::Skipped(SkipReason::BelowRating) => {
                    self.uncount_skipped(Some(file));
                    self.manifest.put_file(&photo, FileRecord { seen: false, ..file });
                    self.look_again(&photo);
                }
                // One that is being sent is asked about when the server has it.
                FileState::Photo { digest, .. } => {
                    if self.may_release(&photo, digest) || self.under_way.contains_key(&digest) {
                        waits_for.insert(digest);
                    }
                }
                FileState::Skipped(_) | FileState::Failed(_) => {}
            }
        }
        self.heed(path, stat.fingerprint, waits_for);
    }

    /// Records a file whose rating lets these contents go: at once, or when they are gone.
    pub(super) fn heed(&mut self, path: &Path, fingerprint: Fingerprint, waits_for: HashSet<Digest>) {
        let Some(file) = self.manifest.file(path) else { return };
        self.manifest.put_file(path, FileRecord { fingerprint, racy: !waits_for.is_empty(), ..file });
        if !waits_for.is_empty() {
            self.heeding.insert(path.to_owned(), Heeding { fingerprint, waits_for });
        }
    }

    /// The server was told about a content, or there is nothing to tell.
    pub(super) fn released(&mut self, digest: &Digest) {
        let is_done = |_: &PathBuf, heeding: &mut Heeding| {
            heeding.waits_for.remove(digest);
            heeding.waits_for.is_empty()
        };
        for (path, heeding) in self.heeding.extract_if(is_done).collect::<Vec<_>>() {
            if let Some(file) = self.manifest.file(&path).filter(|file| file.fingerprint == heeding.fingerprint) {
                self.manifest.put_file(&path, FileRecord { racy: false, ..file });
            }
        }
    }

    /// Releases a photo that was held if its rating says so; whether there is anything to find out.
    pub(super) fn may_release(&mut self, path: &Path, digest: Digest) -> bool {
        if self.config.release_rating.is_none() || self.config.dry_run || !self.manifest.is_received(&digest) {
            return false;
        }
        self.restless = true;
        let media = Media::of_name(path).unwrap_or(Media::Jpeg);
        let parcel = Parcel { path: path.to_owned(), digest, media, fingerprint: Fingerprint::default() };
        self.put_in_line(Job::new(parcel, Errand::Release));
        true
    }
}
