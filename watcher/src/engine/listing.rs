//! What a folder's listing says of each file, with a short way for those of which everything is known: most of them, at
//! every listing.

use std::path::Path;

use findme_common::manifest::FileState;

use super::Engine;
use crate::names::Promise;
use crate::plan::{BeforeReading, before_reading};
use crate::settle::Signal;
use crate::source::{Kind, Listing, Sighting};

impl Engine {
    /// The source has listed a folder.
    pub(crate) fn list(&mut self, listing: Listing) {
        let Listing { root, folder, entries } = listing;
        let mut below = folder.strip_prefix(&root).unwrap_or(&folder).to_owned();
        let mut path = folder;
        for (name, kind) in entries {
            path.push(&name);
            below.push(&name);
            if !self.is_counted(&path, &below, &kind) {
                let (path, root) = (path.clone(), root.clone());
                self.sight(Sighting { path, root, kind, signal: Signal::Listed });
            }
            path.pop();
            below.pop();
        }
    }

    /// Whether nothing is to be done about a file because its photo is on the server, as far as one look at the manifest
    /// tells; then it is counted. `false` decides nothing.
    fn is_counted(&mut self, path: &Path, below: &Path, kind: &Kind) -> bool {
        let Kind::File(stat) = kind else { return false };
        if self.settling.contains_key(path)
            || self.failed.contains_key(path)
            || self.config.wanted.promise(below) != Promise::Photo
        {
            return false;
        }
        let raw = self.config.wanted.sends_raw();
        let known =
            self.manifest.look_at(path, |file, photo| match before_reading(Some(file), photo, stat.fingerprint, raw) {
                BeforeReading::Known(state @ FileState::Photo { .. }) => {
                    Some((state, std::mem::replace(&mut file.seen, true)))
                }
                _ => None,
            });
        if let Some((state, false)) = known.flatten() {
            self.count(state);
        }
        known.flatten().is_some()
    }
}
