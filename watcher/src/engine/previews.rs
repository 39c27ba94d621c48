//! The part of the loop that knows previews: which photo gets one, and when its original follows. Also what is sent of
//! RAW files.
//!
//! Invariant: an original waits in `originals` only while the server has its preview; it goes when nothing else waits.

use std::path::Path;

use findme_common::Digest;
use findme_common::manifest::{FileState, PhotoState, PreviewState, Shot, SkipReason};
use findme_common::media::Media;
use tokio::time::Instant;

use super::Engine;
use crate::args::PreviewArg;
use crate::fingerprint::Stat;
use crate::queue::{Errand, Job};
use crate::settle::Signal;
use crate::tus::{Parcel, Received};
use crate::{names, preview};

impl Engine {
    /// Whether anything waits to be sent.
    pub(super) fn is_waiting(&self) -> bool {
        !self.queue.is_empty() || !self.originals.is_empty()
    }

    /// Puts a job where it waits its turn.
    pub(super) fn put_in_line(&mut self, job: Job) {
        let age = job.parcel.fingerprint.mtime_ns;
        match job.errand {
            Errand::Photo if self.has_preview(&job.parcel.digest) => self.originals.push(age, job),
            Errand::Photo | Errand::Preview => self.queue.push(age, job),
            // Before all photos: they are small, and what guests see depends on them.
            Errand::Relation | Errand::Release => self.queue.push(i64::MAX, job),
        }
    }

    /// The next job, and what is to be done with it now.
    pub(super) fn next_job(&mut self) -> Option<Job> {
        let job = self.queue.pop().or_else(|| self.originals.pop())?;
        let ahead = job.errand == Errand::Photo && self.goes_ahead(&job);
        Some(if ahead { Job { errand: Errand::Preview, ..job } } else { job })
    }

    fn goes_ahead(&self, job: &Job) -> bool {
        let Parcel { path, media, digest, fingerprint } = &job.parcel;
        if self.is_preview_only(*media) {
            return true;
        }
        let wanted = match self.config.preview {
            PreviewArg::Always => true,
            PreviewArg::Auto => self.line.is_slow(),
            PreviewArg::Never => false,
        };
        let shown_by_another = *media == Media::Raw && names::has_picture_beside(path);
        let possible = preview::is_possible(*media, fingerprint.bytes) && !shown_by_another;
        wanted && possible && !job.without_preview && !self.has_preview(digest)
    }

    /// Whether of such a file only the picture inside is sent.
    pub(super) fn is_preview_only(&self, media: Media) -> bool {
        media == Media::Raw && !self.config.wanted.sends_raw()
    }

    fn has_preview(&self, digest: &Digest) -> bool {
        let photo = self.manifest.photo(digest);
        photo.is_some_and(|photo| matches!(photo.preview, Some(PreviewState::Received { .. })))
    }

    /// The server has the preview of a photo; its original follows, unless it is a RAW file that stays here.
    pub(super) fn preview_received(&mut self, job: Job, received: Received, now: Instant) {
        if self.is_preview_only(job.parcel.media) {
            return self.received(&job, received, now);
        }
        self.totals.preview_bytes += received.bytes;
        self.arrivals.received(received.photo, job.since, now);
        self.put_in_line(Job { errand: Errand::Photo, failures: 0, ..job });
    }

    /// There is no preview, or the server does not take it: the original goes as if there had never been a question.
    pub(super) fn no_preview(&mut self, job: Job) {
        if self.is_preview_only(job.parcel.media) {
            let Parcel { path, digest, fingerprint, .. } = job.parcel;
            self.left(&digest);
            return self.skip(&path, SkipReason::RawWithoutPreview, fingerprint);
        }
        self.put_in_line(Job { errand: Errand::Photo, failures: 0, without_preview: true, ..job });
    }

    // ---- RAW -----------------------------------------------------------------------------------

    /// A RAW file that is not to be sent whole: nothing of it where a picture lies beside it, else the picture inside.
    pub(super) fn sight_raw(&mut self, path: std::path::PathBuf, stat: Stat, signal: Signal) {
        let known = self.manifest.file(&path).is_some_and(|file| matches!(file.state, FileState::Photo { .. }));
        if !known && names::has_picture_beside(&path) {
            return self.skip_raw(&path, stat.fingerprint);
        }
        self.sight_photo(path, stat, signal);
    }

    /// Whether a RAW file is one of a pair whose picture is known: beside it, or of the same `shot` by the same name.
    pub(super) fn is_of_pair(&self, path: &Path, shot: Option<&Shot>) -> bool {
        let by_shot = |shot: &Shot| {
            let mut others = self.manifest.of_shot(shot.key).into_iter().filter_map(|(_, photo)| photo.shot);
            others.any(|other| !other.raw && other.name == shot.name)
        };
        names::has_picture_beside(path) || shot.is_some_and(by_shot)
    }

    /// A picture replaces the RAW file beside it whose inside was sent before it came.
    pub(super) fn meet_raw_beside(&mut self, path: &Path, digest: Digest) {
        if self.config.wanted.sends_raw() || self.manifest.photo(&digest).is_some_and(|photo| photo.replaces.is_some())
        {
            return;
        }
        for ending in Media::raw_endings().flat_map(|ending| [ending.to_owned(), ending.to_uppercase()]) {
            let beside = path.with_extension(ending);
            let Some(FileState::Photo { digest: raw, .. }) = self.manifest.file(&beside).map(|file| file.state) else {
                continue;
            };
            let sent = self.manifest.photo(&raw).map(|photo| photo.state);
            if raw != digest && matches!(sent, Some(PhotoState::PreviewOnly { .. } | PhotoState::Announced { .. })) {
                self.relate(path, digest, raw);
            }
        }
    }
}
