//! Files against what is promised about them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use findme_common::digest::Hasher;
use findme_common::protocol::Kind;
use findme_common::{Digest, EventId, PhotoId};

use super::Depth;
use crate::store::PhotoStore;

const PIECE: usize = 256 * 1024;

/// A file as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Right,
    Missing,
    Wrong,
}

/// A file, and what it cost to look at it.
#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    pub(super) found: Found,
    /// Bytes that were read.
    pub(super) read: u64,
}

/// Compares a published file with its digest and length; `None`: it only has to be there.
pub(super) fn state(
    store: &PhotoStore,
    (event, photo, kind): (EventId, PhotoId, Kind),
    expected: Option<(Digest, u64)>,
    depth: Depth,
) -> io::Result<State> {
    let Some(length) = store.length(event, photo, kind.into())? else {
        return Ok(State { found: Found::Missing, read: 0 });
    };
    let Some((digest, bytes)) = expected else { return Ok(State { found: Found::Right, read: 0 }) };
    if length != bytes {
        return Ok(State { found: Found::Wrong, read: 0 });
    }
    if depth == Depth::Lengths {
        return Ok(State { found: Found::Right, read: 0 });
    }
    let right = match store.published(event, photo, kind, bytes) {
        Ok(found) => found == Some(digest),
        // A sector that cannot be read is damage too, not the end of the check; a store that is away tells nothing.
        Err(_) if store.has_folders() => false,
        Err(error) => return Err(error),
    };
    Ok(State { found: if right { Found::Right } else { Found::Wrong }, read: length })
}

/// Digest of a whole file, in pieces.
pub(crate) fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let (mut hasher, mut piece) = (Hasher::new(), vec![0; PIECE]);
    loop {
        let n = file.read(&mut piece)?;
        if n == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&piece[..n]);
    }
}
