//! The quick way to read a snapshot that is laid out as this program writes it: each entry on a line of its own.
//!
//! One pass reads, sums and parses. Whatever is not exactly so is left to the reader of any layout, which also says what is
//! wrong: this one believes a snapshot or has no opinion.

use std::fs::File;
use std::io::{self, Read};

use findme_common::EventId;
use findme_common::manifest::{self, SCHEMA};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{TRAILER_LEN, entries, trailer};
use crate::manifest::State;

/// Read at a time.
const PIECE: usize = 256 * 1024;
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
#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    Photos,
    Files,
}

/// Reads it; `None`: it is laid out otherwise, or damaged.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn read(mut file: &File) -> io::Result<Option<State>> {
    let Some(body) = file.metadata()?.len().checked_sub(TRAILER_LEN) else { return Ok(None) };
    let (mut crc, mut left) = (crc32fast::Hasher::new(), body);
    let mut reading = Reading { state: None, list: List::Photos, roomy: None };
    // The beginning of a line whose end has not come yet, and what comes after it.
    let (mut buffer, mut filled) = (vec![0; PIECE], 0);
    while left > 0 {
        if filled == buffer.len() {
            buffer.resize(buffer.len() * 2, 0);
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len() - filled);
        let read = match file.read(&mut buffer[filled..filled + most]) {
            Ok(0) => return Ok(None),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        crc.update(&buffer[filled..filled + read]);
        (filled, left) = (filled + read, left - read as u64);
        let Some(used) = reading.take(&buffer[..filled], left) else { return Ok(None) };
        buffer.copy_within(used..filled, 0);
        filled -= used;
    }
    let mut end = [0; TRAILER_LEN as usize];
    file.read_exact(&mut end)?;
    if end != *trailer(crc.finalize()).as_bytes() {
        return Ok(None);
    }
    Ok(reading.finish(&buffer[..filled]))
}

/// A snapshot of which a part was read.
struct Reading {
    /// `None`: not even its first line.
    state: Option<State>,
    list: List,
    /// The list for which room was made last.
    roomy: Option<List>,
}

impl Reading {
    /// Takes all whole lines of `text`; answers how much of it they are. So many bytes are to come behind it.
    fn take(&mut self, text: &[u8], left: u64) -> Option<usize> {
        let mut used = 0;
        for end in memchr::memchr_iter(b'\n', text) {
            let line = &text[used..end];
            used = end + 1;
            let Some(state) = &mut self.state else {
                self.state = Some(begun(line)?);
                continue;
            };
            if self.roomy.replace(self.list) != Some(self.list) {
                // As many lines on so many bytes as this piece has; a photo takes two, one in each list.
                let lines = memchr::memchr_iter(b'\n', text).count() as u64;
                let to_come = (left + (text.len() - end) as u64) * lines / text.len() as u64;
                let to_come = usize::try_from(to_come).unwrap_or(0);
                match self.list {
                    List::Photos => state.photos.reserve(to_come / 2),
                    List::Files => state.reserve_files(to_come),
                }
            }
            self.list = add(state, self.list, line)?;
        }
        Some(used)
    }

    /// The whole state, with the last line, which is not followed by another.
    fn finish(self, line: &[u8]) -> Option<State> {
        let (mut state, entry) = (self.state?, line.strip_suffix(b"]")?);
        match self.list {
            List::Photos => add_photo(&mut state, entry.strip_suffix(FILES)?)?,
            List::Files => add_file(&mut state, entry)?,
        }
        Some(state)
    }
}

/// The state that the first line begins.
fn begun(line: &[u8]) -> Option<State> {
    let Head { schema, event, generation, .. } = serde_json::from_slice(&[line, b"]}"].concat()).ok()?;
    let mut state = State::empty(event);
    state.generation = generation;
    (schema <= SCHEMA).then_some(state)
}

/// Adds the entry of a line that is not the last; answers the list that the next one belongs to.
fn add(state: &mut State, list: List, line: &[u8]) -> Option<List> {
    match (list, line.strip_suffix(b",")) {
        (List::Photos, Some(entry)) => add_photo(state, entry).map(|()| List::Photos),
        (List::Photos, None) => add_photo(state, line.strip_suffix(FILES)?).map(|()| List::Files),
        (List::Files, entry) => add_file(state, entry?).map(|()| List::Files),
    }
}

fn add_photo(state: &mut State, entry: &[u8]) -> Option<()> {
    match entries::photo(entry) {
        Some((digest, kept)) => state.photos.insert(digest, kept),
        None => state.add_photo(serde_json::from_slice(entry).ok()?),
    }
    Some(())
}

fn add_file(state: &mut State, entry: &[u8]) -> Option<()> {
    match entries::file(entry) {
        Some((path, record)) => state.put_file(path, record),
        None => state.add_file(serde_json::from_slice::<manifest::File>(entry).ok()?).ok()?,
    }
    Some(())
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
            state.put_file(
                std::path::Path::new(&path).as_os_str().into(),
                FileRecord { fingerprint, racy: false, state: far, seen: false },
            );
        }
        state
    }

    fn same(a: &State, b: &State) -> bool {
        let photos = a.photos.iter().eq(b.photos.iter());
        (a.event, a.generation) == (b.event, b.generation) && photos && a.files().eq(b.files())
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
