//! The part of the loop that knows versions of a shot: what a new content, or a file that was put back, means for the
//! others of its shot, and that the server is told.

use std::path::{Path, PathBuf};

use findme_common::Digest;
use findme_common::manifest::{FileState, PhotoState, SkipReason};
use findme_common::media::Media;

use super::Engine;
use crate::fingerprint::Fingerprint;
use crate::manifest::{FileRecord, PhotoRecord};
use crate::queue::{Errand, Job};
use crate::tus::Parcel;
use crate::versions::{Relation, Version, relations};

/// The content that lay at a path whose content is `now` another one.
pub(super) fn lay_here(file: Option<&FileRecord>, now: Digest) -> Option<Digest> {
    match file?.state {
        FileState::Photo { digest, .. } if digest != now => Some(digest),
        _ => None,
    }
}

fn version(digest: Digest, record: &PhotoRecord) -> Option<Version> {
    let shot = record.shot.as_deref()?.clone();
    Some(Version { digest, shot, replaces: record.replaces.map(|of| of.photo) })
}

impl Engine {
    /// A content that was never seen is to be sent: which others of its shot it replaces, and which replace it.
    pub(super) fn meet(&mut self, path: &Path, digest: Digest, here: Option<Digest>) {
        let Some((newcomer, known)) = self.siblings(digest) else { return };
        for Relation { new, old } in relations(&newcomer, &known, here) {
            self.relate(path, new, old);
        }
    }

    /// A content that is known came (back) to a path that held another one: an edit was undone, or done again.
    pub(super) fn put_back(&mut self, path: &Path, digest: Digest, before: Option<&FileRecord>) {
        let Some((back, known)) = self.siblings(digest) else { return };
        let here = match before.map(|file| file.state) {
            // What was put back then had other metadata; it replaced this content by its twin.
            Some(FileState::Skipped(SkipReason::MetadataOnly)) => {
                known.iter().find(|other| other.replaces == Some(back.digest)).map(|other| other.digest)
            }
            _ => lay_here(before, digest),
        };
        if let Some(here) = here.filter(|here| known.iter().any(|other| other.digest == *here)) {
            self.relate(path, digest, here);
        }
    }

    /// The content and the others of its shot that the server has or is to get. RAW files that are sent whole are no
    /// versions: a pair is two photos then.
    fn siblings(&self, digest: Digest) -> Option<(Version, Vec<Version>)> {
        let record = self.manifest.photo(&digest)?;
        let this = version(digest, &record)?;
        let is_version = |record: &PhotoRecord| match record.state {
            PhotoState::Announced { .. } | PhotoState::Received { .. } => !record.is_raw(),
            PhotoState::PreviewOnly { .. } => true,
            PhotoState::Deleted | PhotoState::Refused(_) => false,
        };
        let others = self.manifest.of_shot(this.shot.key).into_iter();
        let others = others.filter(|(of, record)| *of != digest && is_version(record));
        Some((this, others.filter_map(|(of, record)| version(of, &record)).collect()))
    }

    /// Records that `new` replaces `old`; the server is told with the photo, or at once when it has the photo.
    pub(super) fn relate(&mut self, path: &Path, new: Digest, old: Digest) {
        self.restless = true;
        self.manifest.put_replaces(new, old);
        // The other one may have got a word to say, too.
        for digest in [old, new] {
            self.tell_relation(digest, path);
        }
    }

    /// Lets the server know what a content replaces that it has already.
    pub(super) fn tell_relation(&mut self, digest: Digest, path: &Path) {
        let Some(record) = self.manifest.photo(&digest).filter(PhotoRecord::is_untold) else { return };
        if self.config.dry_run {
            return;
        }
        let path = self.manifest.other_path(&digest, Path::new("")).unwrap_or_else(|| path.to_owned());
        let fingerprint = Fingerprint { bytes: record.bytes, ..Fingerprint::default() };
        let media = Media::of_name(&path).unwrap_or(Media::Jpeg);
        let parcel = Parcel { path, digest, media, fingerprint };
        self.put_in_line(Job::new(parcel, Errand::Relation));
    }

    /// What an earlier run could not tell.
    pub(super) fn tell_untold(&mut self) {
        for digest in self.manifest.untold() {
            self.tell_relation(digest, &PathBuf::new());
        }
    }
}
