//! The part of the loop that sends: which job goes when, and what becomes of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use findme_common::Digest;
use findme_common::manifest::{FailReason, FileState, PhotoState, SkipReason};
use tokio::time::Instant;

use super::{Engine, Fatal};
use crate::fingerprint::Stat;
use crate::manifest::FileRecord;
use crate::queue::{Errand, Job, pause_after};
use crate::report::Event;
use crate::server::Failure;
use crate::settle::Signal;
use crate::tus::{self, Parcel, Received};

/// How long a file that vanished may take to come up under another name.
const VANISHED_TRIES: u32 = 4;
/// After so many failures of one photo the photographer is told.
const WORTH_A_LINE: u32 = 4;

impl Engine {
    /// Starts as many uploads as may run.
    pub(crate) fn start_uploads(&mut self, now: Instant) {
        while self.uploads.len() < self.width.may_run() && self.is_waiting() && self.gate.may_go(now) {
            let Some(job) = self.next_job() else { return };
            let sent = Arc::new(AtomicU64::new(0));
            let bytes = job.parcel.fingerprint.bytes;
            if job.sends() {
                self.sending_bytes += bytes;
                self.report.started(&job.parcel.path, bytes, Arc::clone(&sent));
            }
            let (server, manifest, event) = (self.server.clone(), Arc::clone(&self.manifest), self.event);
            let manner = self.config.manner.clone();
            self.uploads.spawn(async move {
                let of = (&job.parcel, job.since.into_std());
                let result = match job.errand {
                    Errand::Photo => tus::send(&server, &manifest, event, of, &manner, &sent).await,
                    Errand::Preview => tus::send_preview(&server, &manifest, event, of, &manner, &sent).await,
                    Errand::Relation => tus::tell(&server, &manifest, event, &job.parcel, &manner).await,
                    Errand::Release => tus::release(&server, &manifest, event, &job.parcel, &manner).await,
                };
                (job, result)
            });
        }
    }

    /// An upload is done, one way or the other.
    pub(crate) fn sent(&mut self, job: Job, result: Result<Received, Failure>) -> Result<(), Fatal> {
        let now = Instant::now();
        self.report.stopped(&job.parcel.path);
        if job.sends() {
            self.sending_bytes = self.sending_bytes.saturating_sub(job.parcel.fingerprint.bytes);
        }
        match result {
            Ok(_) if !job.sends() => {
                self.reached();
                self.told(&job);
            }
            Ok(received) if job.errand == Errand::Preview => {
                self.reached();
                self.preview_received(job, received, now);
            }
            Ok(received) => {
                self.reached();
                self.received(&job, received, now);
            }
            Err(Failure::TokenRefused(why)) => {
                // It is left for the next run, and counted so.
                self.put_in_line(job);
                return Err(Fatal::TokenRefused(why));
            }
            Err(failure @ Failure::TooNew(_)) => {
                self.put_in_line(job);
                return Err(Fatal::TooNew(failure.to_string()));
            }
            Err(Failure::Manifest(error)) => return Err(Fatal::Manifest(error)),
            Err(failure @ Failure::Away(_)) => {
                self.width.trouble(now);
                self.wait_for_server(job, now, None, &failure);
            }
            Err(failure @ (Failure::Busy { after, .. } | Failure::Full { after })) => {
                self.wait_for_server(job, now, after, &failure);
            }
            // Whatever else happened, the server was there.
            Err(failure) => {
                self.reached();
                if !job.sends() && !matches!(failure, Failure::Again { .. }) {
                    // A server that knows no versions, or a photo that is gone: nothing is lost by it.
                    tracing::debug!(%failure, errand = ?job.errand, "the server was not told");
                    self.told(&job);
                    return Ok(());
                }
                if job.errand == Errand::Preview && failure.is_of_preview(self.is_preview_only(job.parcel.media)) {
                    tracing::debug!(%failure, path = %job.parcel.path.display(), "no preview");
                    self.no_preview(job);
                    return Ok(());
                }
                self.not_sent(job, failure, now);
            }
        }
        Ok(())
    }

    /// The server knows what it had to be told, or does not want to.
    fn told(&mut self, job: &Job) {
        if job.errand == Errand::Release {
            self.released(&job.parcel.digest);
        }
    }

    /// The server answered.
    fn reached(&mut self) {
        if self.gate.succeeded() {
            self.report.tell(&Event::Notice("the server answers again"));
        }
    }

    pub(super) fn received(&mut self, job: &Job, received: Received, now: Instant) {
        let Parcel { path, digest, fingerprint, .. } = &job.parcel;
        self.left(digest);
        self.failed.retain(|_, failed| failed.digest != Some(*digest));
        self.totals.uploaded += 1;
        self.totals.bytes += received.bytes;
        self.arrivals.received(received.photo, job.since, now);
        self.report.tell(&Event::Uploaded {
            path,
            digest: *digest,
            photo: received.photo,
            bytes: fingerprint.bytes,
            took: now - job.since,
        });
        if received.changed_since {
            self.look_again(path);
        }
        // It was learnt while the photo was being sent.
        self.tell_relation(*digest, path);
        self.may_release(path, *digest);
    }

    fn wait_for_server(&mut self, job: Job, now: Instant, after: Option<Duration>, failure: &Failure) {
        if self.gate.failed(now, after, spread()) {
            self.report.tell(&Event::Notice(&format!("{failure}; trying again until it works")));
        }
        tracing::debug!(%failure, path = %job.parcel.path.display(), "not sent");
        self.put_in_line(job);
    }

    fn not_sent(&mut self, mut job: Job, failure: Failure, now: Instant) {
        tracing::debug!(%failure, path = %job.parcel.path.display(), "not sent");
        job.failures += 1;
        let (digest, path) = (job.parcel.digest, job.parcel.path.clone());
        let pause = pause_after(job.failures, spread());
        if job.failures == WORTH_A_LINE {
            let line = format!("{}: {failure}; trying again", path.display());
            self.report.tell(&Event::Notice(&line));
        }
        match failure {
            Failure::Again { tries, .. } if tries.is_none_or(|tries| job.failures < tries) => {
                self.later.push((now + pause, job));
            }
            _ if !job.sends() => {}
            Failure::Vanished => match self.manifest.other_path(&digest, &path) {
                Some(other) => self.send_from(job, other),
                // Its new name may not have been seen yet.
                None if job.failures < VANISHED_TRIES => self.later.push((now + pause, job)),
                None => self.fail_job(&job, FailReason::Vanished, ""),
            },
            Failure::CannotBeRead(why) => self.fail_job(&job, FailReason::CannotBeRead, &why),
            Failure::Refused { reason, ref why } => {
                self.refused.insert(digest, reason);
                let bytes = job.parcel.fingerprint.bytes;
                drop(self.manifest.put_state(digest, bytes, PhotoState::Refused(reason)));
                self.fail_job(&job, reason, why);
            }
            Failure::Deleted => {
                self.left(&digest);
                drop(self.manifest.put_state(digest, job.parcel.fingerprint.bytes, PhotoState::Deleted));
                self.skip(&path, SkipReason::DeletedOnServer, job.parcel.fingerprint);
            }
            Failure::Changed => {
                self.left(&digest);
                // Another path may still hold what was read here.
                if let Some(other) = self.manifest.other_path(&digest, &path) {
                    let image = self.manifest.photo(&digest).and_then(|photo| photo.image);
                    self.under_way.insert(digest, image);
                    self.send_from(job, other);
                }
                self.look_again(&path);
            }
            other => self.fail_job(&job, FailReason::Rejected, &other.to_string()),
        }
    }

    /// Sends the same content from another path that holds it.
    fn send_from(&mut self, mut job: Job, path: PathBuf) {
        let Some(file) = self.manifest.file(&path) else { return };
        let (digest, duplicate) = (job.parcel.digest, false);
        self.manifest.put_file(&path, FileRecord { state: FileState::Photo { digest, duplicate }, ..file });
        job.parcel = Parcel { path, fingerprint: file.fingerprint, ..job.parcel };
        self.put_in_line(job);
    }

    pub(super) fn look_again(&mut self, path: &Path) {
        if let Ok(metadata) = std::fs::symlink_metadata(path)
            && metadata.is_file()
        {
            self.sight_photo(path.to_owned(), Stat::of(&metadata), Signal::Changed);
        }
    }

    /// A content is under way no more. Files with the same picture and other metadata waited for what becomes of it.
    pub(super) fn left(&mut self, digest: &Digest) {
        self.under_way.remove(digest);
        for (_, path) in self.same_image.extract_if(.., |(of, _)| of == digest).collect::<Vec<_>>() {
            self.look_again(&path);
        }
    }

    fn fail_job(&mut self, job: &Job, reason: FailReason, detail: &str) {
        let Parcel { path, digest, fingerprint, .. } = &job.parcel;
        self.left(digest);
        let stat = std::fs::symlink_metadata(path).map(|metadata| Stat::of(&metadata));
        let stat = stat.unwrap_or(Stat { fingerprint: *fingerprint, changed_ns: 0 });
        self.fail(path, stat, reason, detail, Some(*digest));
    }
}

/// A random number from 0 to 1, to keep many from coming at once. Without randomness, one half.
fn spread() -> f64 {
    let mut byte = [128];
    let _ = getrandom::fill(&mut byte);
    f64::from(byte[0]) / 255.0
}
