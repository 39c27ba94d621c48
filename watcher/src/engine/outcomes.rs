//! The words that files get which are not sent: failed, or skipped with a reason, each counted once.

use std::path::Path;

use findme_common::Digest;
use findme_common::manifest::{FailReason, FileState, Look, SkipReason};

use super::{Engine, Failed};
use crate::args::SimilarArg;
use crate::fingerprint::{Fingerprint, Stat};
use crate::manifest::FileRecord;
use crate::names;
use crate::report::Event;

impl Engine {
    pub(super) fn fail(&mut self, path: &Path, stat: Stat, reason: FailReason, detail: &str, digest: Option<Digest>) {
        self.restless = true;
        self.uncount_skipped(self.manifest.file(path));
        // A refused content keeps its digest: the path is known, the content says why it was not taken.
        let state = match digest {
            Some(digest) if self.refused.contains_key(&digest) => FileState::Photo { digest, duplicate: false },
            _ => FileState::Failed(reason),
        };
        let record = FileRecord { fingerprint: stat.fingerprint, racy: false, state, seen: true };
        self.manifest.put_file(path, record);
        self.failed.insert(path.to_owned(), Failed { stat, digest });
        self.report.tell(&Event::Failed { path, reason, detail, digest });
    }

    pub(super) fn skip(&mut self, path: &Path, reason: SkipReason, fingerprint: Fingerprint) {
        self.restless = true;
        self.failed.remove(path);
        self.uncount_skipped(self.manifest.file(path));
        let record = FileRecord { fingerprint, racy: false, state: FileState::Skipped(reason), seen: true };
        self.manifest.put_file(path, record);
        self.totals.skipped += 1;
        self.report.tell(&Event::Skipped { path, reason, bytes: fingerprint.bytes });
    }

    /// Whether a photo is nearly the same as another one that goes, and is not to be sent for that; says so in any case.
    pub(super) fn leaves_out(&mut self, path: &Path, look: Option<Look>) -> bool {
        let Some(other) = look.and_then(|look| self.manifest.similar(&look)) else { return false };
        self.totals.similar += 1;
        let other = self.manifest.other_path(&other, path);
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let other = other.map_or_else(|| "another photo".to_owned(), |other| name(&other));
        let leaves_out = self.config.similar == Some(SimilarArg::Skip);
        let what = if leaves_out { "left out" } else { "sent all the same" };
        self.report.tell(&Event::Notice(&format!("{} is nearly the same as {other}; {what}", name(path))));
        leaves_out
    }

    /// Skips what its name or kind excludes, once.
    pub(super) fn skip_by_name(&mut self, path: &Path, reason: SkipReason, fingerprint: Fingerprint) {
        if matches!(reason, SkipReason::Hidden | SkipReason::TemporaryName) {
            if self.unrecorded.insert(path.to_owned()) {
                self.totals.skipped += 1;
                self.report.tell(&Event::Skipped { path, reason, bytes: fingerprint.bytes });
            }
            return;
        }
        match self.manifest.file(path) {
            Some(file) if file.state == FileState::Skipped(reason) => self.count_known(path, file.state),
            _ => self.skip(path, reason, fingerprint),
        }
    }

    /// Skips a RAW file; whether a picture lies beside it is looked up once.
    pub(super) fn skip_raw(&mut self, path: &Path, fingerprint: Fingerprint) {
        let state = self.manifest.file(path).filter(|file| file.seen).map(|file| file.state);
        if matches!(state, Some(FileState::Skipped(SkipReason::Raw | SkipReason::RawOfPair))) {
            return;
        }
        let paired = names::has_picture_beside(path);
        self.skip_by_name(path, if paired { SkipReason::RawOfPair } else { SkipReason::Raw }, fingerprint);
    }

    /// A path that was counted as skipped in this run gets another word.
    pub(super) fn uncount_skipped(&mut self, before: Option<FileRecord>) {
        if before.is_some_and(|file| file.seen && matches!(file.state, FileState::Skipped(_))) {
            self.totals.skipped = self.totals.skipped.saturating_sub(1);
        }
    }
}
