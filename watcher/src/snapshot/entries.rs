//! The two commonest entries of a snapshot, read letter by letter as this program writes them: a photo that the server has,
//! and a file that holds one. A manifest may have hundreds of thousands of them, and nothing can start before they are read.
//!
//! Whatever differs in one letter is nobody's here: the reader of any JSON takes it, with the same result.

use std::ffi::OsStr;

use findme_common::digest::from_hex;
use findme_common::manifest::{FileState, ImageKey};
use findme_common::{Digest, PhotoId};

use crate::fingerprint::Fingerprint;
use crate::manifest::{FileRecord, Kept, PackedShot};

/// What is left of an entry.
struct Rest<'a>(&'a [u8]);

/// A photo that the server has and of which nothing rare is known.
pub(super) fn photo(entry: &[u8]) -> Option<(Digest, Kept)> {
    let mut rest = Rest(entry);
    rest.pass(b"{\"digest\":\"")?;
    let digest = Digest::from_bytes(rest.hex()?);
    rest.pass(b"\",\"bytes\":")?;
    let bytes = rest.number()?;
    let image = match rest.pass(b",\"image\":\"") {
        Some(()) => Some(rest.text()?.parse::<ImageKey>().ok()?),
        None => None,
    };
    let shot = match rest.pass(b",\"shot\":{\"key\":\"") {
        Some(()) => Some(rest.shot()?),
        None => None,
    };
    rest.pass(b",\"state\":{\"received\":{\"photo\":\"")?;
    let photo: PhotoId = rest.text()?.parse().ok()?;
    rest.pass(b",\"at_ms\":")?;
    let at_ms = rest.number()?;
    rest.ends_with(b"}}}")?;
    Some((digest, Kept::received(bytes, image, shot, photo, at_ms)))
}

/// A file that holds a photo.
pub(super) fn file(entry: &[u8]) -> Option<(Box<OsStr>, FileRecord)> {
    let mut rest = Rest(entry);
    rest.pass(b"{\"path\":\"")?;
    let path = rest.text()?;
    rest.pass(b",\"bytes\":")?;
    let bytes = rest.number()?;
    rest.pass(b",\"mtime_ns\":")?;
    let mtime_ns = i64::try_from(rest.number()?).ok()?;
    rest.pass(b",\"inode\":")?;
    let inode = rest.number()?;
    rest.pass(b",\"state\":{\"photo\":{\"digest\":\"")?;
    let digest = Digest::from_bytes(rest.hex()?);
    rest.pass(b"\",\"duplicate\":")?;
    let duplicate = rest.pass(b"true").is_some();
    if !duplicate {
        rest.pass(b"false")?;
    }
    rest.ends_with(b"}}}")?;
    let state = FileState::Photo { digest, duplicate };
    let fingerprint = Fingerprint { bytes, mtime_ns, inode };
    Some((OsStr::new(path).into(), FileRecord { fingerprint, racy: false, state, seen: false }))
}

impl<'a> Rest<'a> {
    /// Passes over these letters, when they are next.
    fn pass(&mut self, letters: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(letters)?;
        Some(())
    }

    /// Whether nothing but these letters is left.
    fn ends_with(self, letters: &[u8]) -> Option<()> {
        (self.0 == letters).then_some(())
    }

    /// A camera's own picture: no RAW file, and no program's work.
    fn shot(&mut self) -> Option<PackedShot> {
        let key = self.text()?.parse().ok()?;
        self.pass(b",\"long\":")?;
        let long = u32::try_from(self.number()?).ok()?;
        self.pass(b",\"short\":")?;
        let short = u32::try_from(self.number()?).ok()?;
        self.pass(b",\"made\":")?;
        let made = i64::try_from(self.number()?).ok()?;
        self.pass(b",\"name\":\"")?;
        let name = self.text()?;
        self.pass(b"}")?;
        Some(PackedShot::camera_s_own(key, long, short, made, name))
    }

    /// `N` bytes as hexadecimal digits.
    fn hex<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (digits, rest) = self.0.split_at_checked(2 * N)?;
        self.0 = rest;
        from_hex(std::str::from_utf8(digits).ok()?)
    }

    /// A text up to its closing quote, which is passed over too; none in which anything is escaped.
    fn text(&mut self) -> Option<&'a str> {
        let end = memchr::memchr2(b'"', b'\\', self.0).filter(|at| self.0[*at] == b'"')?;
        let (text, rest) = self.0.split_at(end);
        self.0 = &rest[1..];
        std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|letter| letter >= b' '))
    }

    /// A number without sign, in the one way to write it.
    fn number(&mut self) -> Option<u64> {
        let digits = self.0.iter().take_while(|letter| letter.is_ascii_digit()).count();
        let (number, rest) = self.0.split_at(digits);
        if digits == 0 || digits > 19 || (digits > 1 && number[0] == b'0') {
            return None;
        }
        self.0 = rest;
        Some(number.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
    }
}

#[cfg(test)]
mod tests {
    use findme_common::manifest::{self, PhotoState, Shot, ShotKey};
    use proptest::prelude::*;

    use super::*;
    use crate::manifest::PhotoRecord;

    fn a_photo(digest: [u8; 32], bytes: u64, image: Option<[u8; 32]>, at_ms: u64) -> (Digest, PhotoRecord) {
        let state = PhotoState::Received { photo: PhotoId::from_bytes([9; 16]), at_ms };
        let key = ShotKey::of("1", "2", "3");
        let shot = Shot { key, long: 3, short: 0, raw: false, edited: false, made: 5, name: "dsc 1 é".into() };
        let shot = image.map(|_| Box::new(shot));
        let image = image.map(|of| ImageKey::blake3(&of));
        (Digest::from_bytes(digest), PhotoRecord { image, shot, state, ..PhotoRecord::announced(bytes) })
    }

    proptest! {
        /// Whatever is read here is what the reader of any JSON reads, and what is common is read here.
        #[test]
        fn no_letter_is_read_otherwise(
            digest in any::<[u8; 32]>(), bytes in 0_u64..1 << 60, image in any::<Option<[u8; 32]>>(),
            name in "\\PC*", mtime_ns in any::<i64>(), duplicate in any::<bool>(),
            at in any::<prop::sample::Index>(), letter in any::<u8>(),
        ) {
            let (digest, record) = a_photo(digest, bytes, image, bytes / 3);
            let mut text = serde_json::to_vec(&record.clone().published(digest)).unwrap();
            prop_assert_eq!(photo(&text), Some((digest, record.into())));
            let at_photo = at.index(text.len());
            text[at_photo] = letter;
            if let Some((digest, kept)) = photo(&text) {
                let other: manifest::Photo = serde_json::from_slice(&text).unwrap();
                prop_assert_eq!(kept.record().published(digest), other);
            }

            let state = FileState::Photo { digest, duplicate };
            let fingerprint = Fingerprint { bytes, mtime_ns, inode: bytes / 7 };
            let record = FileRecord { fingerprint, racy: false, state, seen: false };
            let path = OsStr::new(&name);
            let mut text = serde_json::to_vec(&record.published(path)).unwrap();
            let plain = mtime_ns >= 0 && !name.contains(['"', '\\']);
            prop_assert_eq!(file(&text), plain.then(|| (path.into(), record)));
            let at_file = at.index(text.len());
            text[at_file] = letter;
            if let Some((path, record)) = file(&text) {
                let other: manifest::File = serde_json::from_slice(&text).unwrap();
                prop_assert_eq!(record.published(&path), other);
            }
        }
    }
}
