//! The quick way to read a snapshot that is laid out as this program writes it: each entry on a line of its own.
//!
//! One pass reads, sums and parses. Whatever is not exactly so is left to the reader of any layout, which also says what is
//! wrong: this one believes a snapshot or has no opinion.

use std::fs::File;
use std::io::{self, BufRead, BufReader};

use findme_common::EventId;
use findme_common::manifest::{self, SCHEMA};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{TRAILER_LEN, trailer};
use crate::manifest::State;

/// Read at a time.
const PIECE: usize = 256 * 1024;
/// What content and path of one photo take in a snapshot at least, so that room is made for not too many.
const LEAST_ENTRY: u64 = 420;
/// Behind the last photo.
const FILES: &[u8] = b"],\"files\":[";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    schema: u32,
    event: EventId,
    generation: u64,
    #[serde(rename = "photos")]
    _photos: IgnoredAny,
}

/// Which list a line belongs to.
enum List {
    Photos,
    Files,
}

/// Reads it; `None`: it is laid out otherwise, or damaged.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn read(file: &File) -> io::Result<Option<State>> {
    let length = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(PIECE, file);
    let (mut line, mut crc) = (Vec::new(), crc32fast::Hasher::new());
    reader.read_until(b'\n', &mut line)?;
    crc.update(&line);
    let Some(mut state) = begun(&line) else { return Ok(None) };
    state.make_room(usize::try_from(length / LEAST_ENTRY).unwrap_or(0));
    let mut list = List::Photos;
    loop {
        line.clear();
        reader.read_until(b'\n', &mut line)?;
        if !reader.fill_buf()?.is_empty() {
            crc.update(&line);
            let Some(next) = add(&mut state, list, &line) else { return Ok(None) };
            list = next;
            continue;
        }
        let Some((entry, end)) = line.len().checked_sub(TRAILER_LEN as usize).map(|at| line.split_at(at)) else {
            return Ok(None);
        };
        crc.update(entry);
        let whole = end == trailer(crc.finalize()).as_bytes() && add_last(&mut state, &list, entry).is_some();
        return Ok(whole.then_some(state));
    }
}

/// The state that the first line begins.
fn begun(line: &[u8]) -> Option<State> {
    let start = line.strip_suffix(b"\n")?;
    let Head { schema, event, generation, .. } = serde_json::from_slice(&[start, b"]}"].concat()).ok()?;
    let mut state = State::empty(event);
    state.generation = generation;
    (schema <= SCHEMA).then_some(state)
}

/// Adds the entry of a line that is not the last; answers the list that the next one belongs to.
fn add(state: &mut State, list: List, line: &[u8]) -> Option<List> {
    let line = line.strip_suffix(b"\n")?;
    match (list, line.strip_suffix(b",")) {
        (List::Photos, Some(entry)) => add_photo(state, entry).map(|()| List::Photos),
        (List::Photos, None) => add_photo(state, line.strip_suffix(FILES)?).map(|()| List::Files),
        (List::Files, entry) => add_file(state, entry?).map(|()| List::Files),
    }
}

fn add_last(state: &mut State, list: &List, text: &[u8]) -> Option<()> {
    let entry = text.strip_suffix(b"]")?;
    match list {
        List::Photos => add_photo(state, entry.strip_suffix(FILES)?),
        List::Files => add_file(state, entry),
    }
}

fn add_photo(state: &mut State, entry: &[u8]) -> Option<()> {
    state.add_photo(serde_json::from_slice(entry).ok()?);
    Some(())
}

fn add_file(state: &mut State, entry: &[u8]) -> Option<()> {
    state.add_file(serde_json::from_slice::<manifest::File>(entry).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use findme_common::manifest::{FileState, PhotoState, SkipReason};
    use findme_common::{Digest, PhotoId};
    use proptest::prelude::*;

    use super::*;
    use crate::fingerprint::Fingerprint;
    use crate::manifest::FileRecord;
    use crate::snapshot;

    fn state(photos: u8, files: u8) -> State {
        let mut state = State::empty(EventId::from_bytes([7; 16]));
        state.generation = 9;
        for n in 0..photos {
            let upload = Some(format!("/api/uploads/{n}],\"files\":[\\").into());
            let received = PhotoState::Received { photo: PhotoId::from_bytes([n; 16]), at_ms: n.into() };
            let far = if n % 2 == 0 { received } else { PhotoState::Announced { upload } };
            state.add_photo(manifest::Photo {
                digest: Digest::of(&[n]),
                bytes: n.into(),
                image: None,
                shot: None,
                replaces: None,
                preview: None,
                look: None,
                state: far,
            });
        }
        for n in 0..files {
            let path = format!("/p/\n\"{n}}},\n.jpg");
            let fingerprint = Fingerprint { bytes: n.into(), mtime_ns: -1, inode: 1 };
            let photo = FileState::Photo { digest: Digest::of(&[n]), duplicate: n % 3 == 0 };
            let far = if n % 4 == 0 { FileState::Skipped(SkipReason::Empty) } else { photo };
            state.files.insert(
                std::path::Path::new(&path).as_os_str().into(),
                FileRecord { fingerprint, racy: false, state: far, seen: false },
            );
        }
        state
    }

    fn same(a: &State, b: &State) -> bool {
        (a.event, a.generation, &a.photos, &a.files) == (b.event, b.generation, &b.photos, &b.files)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_in_lines_and_no_bit_of_it_may_differ(
            photos in 0_u8..20, files in 0_u8..20, at in any::<prop::sample::Index>(), bit in 0_u8..8,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("m.json");
            let written = state(photos, files);
            snapshot::write(&path, &written).unwrap();
            let quick = read(&File::open(&path).unwrap()).unwrap();
            prop_assert_eq!(quick.is_some(), photos > 0, "without photos there are too few lines to matter");
            if let Some(quick) = quick {
                prop_assert!(same(&quick, &written));
            }
            prop_assert!(same(&snapshot::read(&path).unwrap(), &written));
            let mut bytes = std::fs::read(&path).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            std::fs::write(&path, bytes).unwrap();
            prop_assert!(snapshot::read(&path).is_err(), "bit {} of byte {}", bit, at);
        }
    }

    #[test]
    fn another_layout_of_the_same_is_read_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.json");
        snapshot::write(&path, &state(3, 3)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let body = &text[..text.len() - TRAILER_LEN as usize];
        for body in [body.replace('\n', ""), body.replace('\n', "\n  ").replace("\"files\":", "\n\"files\": ")] {
            let mut file = File::create(&path).unwrap();
            write!(file, "{body}{}", trailer(crc32fast::hash(body.as_bytes()))).unwrap();
            assert!(same(&snapshot::read(&path).unwrap(), &state(3, 3)), "{body}");
        }
    }
}
