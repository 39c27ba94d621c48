//! What to do with a file, decided from what the manifest knows and nothing else. Pure.
//!
//! The manifest alone must suffice: whatever the server calls its uploads, no content is sent twice.

use findme_common::Digest;
use findme_common::manifest::{FileState, PhotoState};

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

/// Decides from the path's entry and, where it names a content, from that content's state.
pub(crate) fn before_reading(
    file: Option<&FileRecord>,
    photo: Option<&PhotoState>,
    found: Fingerprint,
) -> BeforeReading {
    let Some(file) = file.filter(|file| file.fingerprint == found && !file.racy) else {
        return BeforeReading::Read;
    };
    match (file.state, photo) {
        (FileState::Photo { .. }, Some(PhotoState::Received { .. } | PhotoState::Deleted)) => {
            BeforeReading::Known(file.state)
        }
        // A refusal may have had a reason that is gone; each run asks once.
        (FileState::Photo { digest, .. }, Some(PhotoState::Announced { .. } | PhotoState::Refused(_))) => {
            BeforeReading::Send(digest)
        }
        // The content's line was lost with a power cut, the path's was not.
        (FileState::Photo { .. }, None) | (FileState::Failed(_), _) => BeforeReading::Read,
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
        Some(PhotoState::Received { .. }) if same_here => AfterReading::Unchanged,
        Some(PhotoState::Received { .. }) => AfterReading::Duplicate,
        _ if under_way && same_here => AfterReading::Unchanged,
        _ if under_way => AfterReading::Duplicate,
        _ => AfterReading::Send,
    }
}
