//! What to do with a file, decided from what the manifest knows and nothing else. Pure.
//!
//! The manifest alone must suffice: whatever the server calls its uploads, no content is sent twice.

use findme_common::Digest;
use findme_common::manifest::{FileState, PhotoState, SkipReason};

use crate::fingerprint::Fingerprint;
use crate::manifest::FileRecord;

/// What to do with a file before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BeforeReading {
    /// Its fate is known and final.
    Known(FileState),
    /// Its content is known and was not received yet: send it without reading it again.
    Send(Digest),
    /// Wait until it is finished and read it.
    Read,
}

/// Decides from the path's entry and, where it names a content, from that content's state. `raw`: RAW files are to be sent
/// whole.
pub(crate) fn before_reading(
    file: Option<&FileRecord>,
    photo: Option<&PhotoState>,
    found: Fingerprint,
    raw: bool,
) -> BeforeReading {
    let Some(file) = file.filter(|file| file.fingerprint == found && !file.racy) else {
        return BeforeReading::Read;
    };
    match (file.state, photo) {
        (FileState::Photo { digest, .. }, Some(PhotoState::PreviewOnly { .. })) if raw => BeforeReading::Send(digest),
        (
            FileState::Photo { .. },
            Some(PhotoState::Received { .. } | PhotoState::PreviewOnly { .. } | PhotoState::Deleted),
        ) => BeforeReading::Known(file.state),
        // A refusal may have had a reason that is gone; each run asks once.
        (FileState::Photo { digest, .. }, Some(PhotoState::Announced { .. } | PhotoState::Refused(_))) => {
            BeforeReading::Send(digest)
        }
        // The content's line was lost with a power cut, the path's was not.
        (FileState::Photo { .. }, None) | (FileState::Failed(_), _) => BeforeReading::Read,
        // Earlier programs sent nothing of a RAW file.
        (FileState::Skipped(SkipReason::Raw), _) => BeforeReading::Read,
        (FileState::Skipped(SkipReason::RawOfPair | SkipReason::RawWithoutPreview), _) if raw => BeforeReading::Read,
        // Once in each run: the rating may lie in another file, and what is asked for may be less.
        (FileState::Skipped(SkipReason::BelowRating), _) if !file.seen => BeforeReading::Read,
        (FileState::Skipped(_), _) => BeforeReading::Known(file.state),
    }
}

/// What to do with a file whose content is known now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterReading {
    /// The content is new, or was never received: send it from here.
    Send,
    /// The content was received, or is on its way, from another path.
    Duplicate,
    /// The same path holds the same content as before.
    Unchanged,
    /// The photographer deleted this content on the server.
    Deleted,
}

/// Decides from the content's state. `under_way`: this run is sending the content already.
pub(crate) fn after_reading(
    file: Option<&FileRecord>,
    photo: Option<&PhotoState>,
    digest: Digest,
    under_way: bool,
) -> AfterReading {
    let same_here = file.is_some_and(|file| matches!(file.state, FileState::Photo { digest: of, .. } if of == digest));
    match photo {
        Some(PhotoState::Deleted) => AfterReading::Deleted,
        Some(PhotoState::Received { .. } | PhotoState::PreviewOnly { .. }) if same_here => AfterReading::Unchanged,
        Some(PhotoState::Received { .. } | PhotoState::PreviewOnly { .. }) => AfterReading::Duplicate,
        _ if under_way && same_here => AfterReading::Unchanged,
        _ if under_way => AfterReading::Duplicate,
        _ => AfterReading::Send,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use findme_common::PhotoId;
    use proptest::prelude::*;

    use super::*;

    /// What happens in a folder and to the program, in small numbers so that contents and names meet often.
    #[derive(Debug, Clone)]
    enum Happening {
        Write {
            path: u8,
            content: u8,
        },
        Copy {
            from: u8,
            to: u8,
        },
        Rename {
            from: u8,
            to: u8,
        },
        Remove {
            path: u8,
        },
        /// One listing of everything.
        Scan,
        /// The server takes what is under way; `recorded`: the receipt reaches the manifest.
        Deliver {
            recorded: bool,
        },
        /// The program is killed: only the manifest stays.
        Kill,
    }

    fn happening() -> impl Strategy<Value = Happening> {
        let small = 0_u8..4;
        prop_oneof![
            (small.clone(), small.clone()).prop_map(|(path, content)| Happening::Write { path, content }),
            (small.clone(), small.clone()).prop_map(|(from, to)| Happening::Copy { from, to }),
            (small.clone(), small.clone()).prop_map(|(from, to)| Happening::Rename { from, to }),
            small.prop_map(|path| Happening::Remove { path }),
            Just(Happening::Scan),
            any::<bool>().prop_map(|recorded| Happening::Deliver { recorded }),
            Just(Happening::Kill),
        ]
    }

    #[derive(Default)]
    struct World {
        /// Path → (content, fingerprint). Each write has a fingerprint of its own.
        disk: BTreeMap<u8, (u8, u64)>,
        clock: u64,
        files: BTreeMap<u8, FileRecord>,
        photos: BTreeMap<u8, PhotoState>,
        /// Contents that are being sent now, each as often as it was planned.
        under_way: Vec<u8>,
        /// Uploads on a server that names each at random: content of each.
        uploads: Vec<u8>,
        /// What was announced with its upload's address, which the manifest holds before a byte is sent.
        addresses: BTreeMap<u8, usize>,
    }

    fn digest(content: u8) -> Digest {
        Digest::of(&[content])
    }

    fn fingerprint(number: u64) -> Fingerprint {
        Fingerprint { bytes: 1, mtime_ns: number as i64, inode: 0 }
    }

    impl World {
        fn happen(&mut self, happening: &Happening) {
            self.clock += 1;
            match *happening {
                Happening::Write { path, content } => drop(self.disk.insert(path, (content, self.clock))),
                Happening::Copy { from, to } => {
                    if let Some((content, _)) = self.disk.get(&from).copied() {
                        self.disk.insert(to, (content, self.clock));
                    }
                }
                Happening::Rename { from, to } => {
                    if let Some(file) = self.disk.remove(&from) {
                        self.disk.insert(to, file);
                    }
                }
                Happening::Remove { path } => drop(self.disk.remove(&path)),
                Happening::Scan => self.scan(),
                Happening::Deliver { recorded } => self.deliver(recorded),
                Happening::Kill => self.under_way.clear(),
            }
        }

        fn scan(&mut self) {
            for (path, (content, number)) in self.disk.clone() {
                let file = self.files.get(&path).copied();
                let of = |file: &FileRecord| match file.state {
                    FileState::Photo { digest: of, .. } => (0..4).find(|content| digest(*content) == of),
                    _ => None,
                };
                let known = file.as_ref().and_then(of).and_then(|content| self.photos.get(&content));
                match before_reading(file.as_ref(), known, fingerprint(number), false) {
                    BeforeReading::Known(_) => continue,
                    BeforeReading::Send(of) => {
                        assert_eq!(of, digest(content), "the fingerprint stands for the content");
                        // As the engine does: what is under way already is not planned again.
                        if !self.under_way.contains(&content) {
                            self.under_way.push(content);
                        }
                        continue;
                    }
                    BeforeReading::Read => {}
                }
                let under_way = self.under_way.contains(&content);
                let decision = after_reading(file.as_ref(), self.photos.get(&content), digest(content), under_way);
                if decision == AfterReading::Send {
                    self.under_way.push(content);
                    self.photos.entry(content).or_insert(PhotoState::Announced { upload: None });
                }
                let duplicate = decision == AfterReading::Duplicate;
                let state = FileState::Photo { digest: digest(content), duplicate };
                let record = FileRecord { fingerprint: fingerprint(number), racy: false, state, seen: true };
                self.files.insert(path, record);
            }
        }

        fn deliver(&mut self, recorded: bool) {
            // All at the same time: each creates an upload unless an earlier run has left an address.
            let before = self.addresses.clone();
            for content in std::mem::take(&mut self.under_way) {
                if !before.contains_key(&content) {
                    self.uploads.push(content);
                    self.addresses.insert(content, self.uploads.len());
                }
                if recorded {
                    let state = PhotoState::Received { photo: PhotoId::from_bytes([content; 16]), at_ms: 0 };
                    self.photos.insert(content, state);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_happens_each_content_is_on_the_server_once(
            happenings in proptest::collection::vec(happening(), 1..60),
        ) {
            let mut world = World::default();
            happenings.iter().for_each(|happening| world.happen(happening));
            // A quiet run at the end.
            [Happening::Kill, Happening::Scan, Happening::Deliver { recorded: true }, Happening::Scan]
                .iter()
                .for_each(|happening| world.happen(happening));
            prop_assert!(world.under_way.is_empty(), "a second listing finds nothing to send");
            let mut sent = world.uploads.clone();
            sent.sort_unstable();
            sent.dedup();
            prop_assert_eq!(sent.len(), world.uploads.len(), "a content was sent twice");
            for (path, (content, _)) in &world.disk {
                prop_assert!(sent.contains(content), "{} on path {} was lost", content, path);
                prop_assert!(world.files.contains_key(path), "the manifest says nothing about path {}", path);
            }
        }
    }

    fn file(state: FileState, racy: bool) -> FileRecord {
        FileRecord { fingerprint: fingerprint(1), racy, state, seen: false }
    }

    #[test]
    fn a_known_file_is_not_read() {
        let state = FileState::Photo { digest: digest(1), duplicate: false };
        let received = PhotoState::Received { photo: PhotoId::from_bytes([1; 16]), at_ms: 0 };
        let known = BeforeReading::Known(state);
        assert_eq!(before_reading(Some(&file(state, false)), Some(&received), fingerprint(1), false), known);
        assert_eq!(
            before_reading(Some(&file(state, true)), Some(&received), fingerprint(1), false),
            BeforeReading::Read
        );
        assert_eq!(
            before_reading(Some(&file(state, false)), Some(&received), fingerprint(2), false),
            BeforeReading::Read
        );
        let skipped = FileState::Skipped(SkipReason::Empty);
        let before = |state, photo, raw| before_reading(Some(&file(state, false)), photo, fingerprint(1), raw);
        assert_eq!(before(skipped, None, false), BeforeReading::Known(skipped));
        let only = PhotoState::PreviewOnly { photo: PhotoId::from_bytes([1; 16]), at_ms: 0 };
        assert_eq!(before(state, Some(&only), false), BeforeReading::Known(state));
        assert_eq!(before(state, Some(&only), true), BeforeReading::Send(digest(1)), "--raw sends it now");
        for (reason, raw, read) in [
            (SkipReason::Raw, false, true),
            (SkipReason::RawOfPair, false, false),
            (SkipReason::RawOfPair, true, true),
            (SkipReason::RawWithoutPreview, true, true),
            (SkipReason::BelowRating, false, true),
        ] {
            let state = FileState::Skipped(reason);
            let expected = if read { BeforeReading::Read } else { BeforeReading::Known(state) };
            assert_eq!(before(state, None, raw), expected, "{reason:?}");
        }
    }

    #[test]
    fn what_the_photographer_deleted_is_not_sent_again() {
        assert_eq!(after_reading(None, Some(&PhotoState::Deleted), digest(1), false), AfterReading::Deleted);
    }
}
