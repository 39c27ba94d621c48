//! The pictures inside picture files: the camera's own JPEGs in RAW files, and the preview in the EXIF data of a JPEG.
//!
//! | family | where its JPEGs are |
//! |---|---|
//! | CR2, NEF, NRW, ARW, SR2, DNG, PEF, SRW, 3FR, IIQ, ERF (TIFF) | `JPEGInterchangeFormat` or a strip of JPEG data in any directory, `SubIFDs` included |
//! | ORF (Olympus, TIFF by another number) | the same; the preview's place in the maker note is relative, so it is looked for by its bytes |
//! | RW2 (Panasonic, TIFF by another number) | tag `JpgFromRaw` (0x002E) |
//! | RAF (Fuji) | place and length in the header |
//! | CR3 (ISO base media file) | a `PRVW` box, and a track in `mdat` that begins as JPEGs do |
//!
//! Invariant: places and lengths in files are believed only inside the file, and nothing is allocated by them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use crate::fingerprint::read_full;

/// Where a JPEG lies in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) at: u64,
    pub(crate) length: u64,
}

/// Directories that are followed: cameras have less than ten, and a chain may be a circle.
const MOST_DIRECTORIES: usize = 64;
/// Entries of one directory that are read.
const MOST_ENTRIES: u16 = 1024;
/// How much of a file is looked through for JPEGs whose place nobody tells.
const MOST_SEARCHED: u64 = 8 * 1024 * 1024;
/// What is smaller is no picture to be shown.
const LEAST: u64 = 256;

/// All JPEGs that a RAW file says it has, largest first.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn in_raw(file: &mut File) -> io::Result<Vec<Place>> {
    let length = file.metadata()?.len();
    let mut head = [0; 108];
    let filled = read_at(file, 0, &mut head)?;
    let head = &head[..filled];
    let mut found = Vec::new();
    if head.starts_with(b"FUJIFILMCCD-RAW") {
        // The picture's place and length, big-endian, behind the camera's name.
        if let (Some(at), Some(length)) = (be32(head, 84), be32(head, 88)) {
            found.push(Place { at, length });
        }
    } else if head.get(4..8) == Some(b"ftyp") {
        found.extend(searched(file, length)?);
    } else if let Some(order) = order_of(head) {
        let mut walk = Walk { file: &mut *file, order, base: 0, found: Vec::new(), left: MOST_DIRECTORIES };
        walk.follow(walk.order.u32(&head[4..8]).into())?;
        found = walk.found;
        if found.iter().all(|place| place.length < LEAST) {
            found = searched(file, length)?;
        }
    }
    found.retain(|place| place.length >= LEAST && place.at.checked_add(place.length).is_some_and(|end| end <= length));
    found.sort_by_key(|place| std::cmp::Reverse(place.length));
    found.dedup();
    let mut good = Vec::new();
    for place in found {
        let mut start = [0; 3];
        if read_at(file, place.at, &mut start)? == 3 && start == [0xFF, 0xD8, 0xFF] {
            good.push(place);
        }
    }
    Ok(good)
}

/// The preview in the EXIF data of a JPEG, which `head` begins; its place in the file.
pub(crate) fn in_jpeg(head: &[u8]) -> Option<Place> {
    let mut at = 2;
    while let [0xFF, code, high, low, ..] = head.get(at..)? {
        let length = usize::from(*high) << 8 | usize::from(*low);
        let data = head.get(at + 4..at + 2 + length)?;
        match code {
            0xDA | 0xD9 => return None,
            0xE1 if data.starts_with(b"Exif\0\0") => {
                let tiff = &data[6..];
                let order = order_of(tiff)?;
                let place = thumbnail(tiff, order)?;
                return Some(Place { at: at as u64 + 10 + place.at, ..place });
            }
            _ => at += 2 + length,
        }
    }
    None
}

/// What the second directory of an EXIF block points to.
fn thumbnail(tiff: &[u8], order: Order) -> Option<Place> {
    let first = order.u32(tiff.get(4..8)?) as usize;
    let entries = usize::from(order.u16(tiff.get(first..first + 2)?));
    let next = first + 2 + 12 * entries;
    let second = order.u32(tiff.get(next..next + 4)?) as usize;
    let count = usize::from(order.u16(tiff.get(second..second + 2)?));
    let value = |tag: u16| {
        let entries = tiff.get(second + 2..second + 2 + 12 * count)?.chunks_exact(12);
        let mut entries = entries.filter(|entry| order.u16(entry) == tag);
        entries.next().map(|entry| u64::from(order.u32(&entry[8..])))
    };
    let place = Place { at: value(0x0201)?, length: value(0x0202)? };
    let end = place.at.checked_add(place.length)?;
    (second > 0 && end <= tiff.len() as u64).then_some(place)
}

#[derive(Debug, Clone, Copy)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u16(self, bytes: &[u8]) -> u16 {
        let bytes = [bytes[0], bytes[1]];
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    fn u32(self, bytes: &[u8]) -> u32 {
        let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }
}

/// Byte order of a TIFF, also of those with a maker's own number in it.
fn order_of(head: &[u8]) -> Option<Order> {
    match head.get(..8)? {
        [b'I', b'I', 42, 0, ..] | [b'I', b'I', b'R', b'O' | b'S', ..] | [b'I', b'I', 0x55, 0, ..] => {
            Some(Order::Little)
        }
        [b'M', b'M', 0, 42, ..] | [b'M', b'M', b'O', b'R', ..] => Some(Order::Big),
        _ => None,
    }
}

fn be32(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 4).map(|bytes| u64::from(Order::Big.u32(bytes)))
}

/// A walk through the directories of a TIFF.
struct Walk<'a> {
    file: &'a mut File,
    order: Order,
    base: u64,
    found: Vec<Place>,
    left: usize,
}

impl Walk<'_> {
    /// Follows a chain of directories and everything below them.
    fn follow(&mut self, mut at: u64) -> io::Result<()> {
        while at > 0 && self.left > 0 {
            self.left -= 1;
            let mut count = [0; 2];
            if read_at(self.file, self.base + at, &mut count)? < 2 {
                return Ok(());
            }
            let count = self.order.u16(&count);
            if count > MOST_ENTRIES {
                return Ok(());
            }
            let mut entries = vec![0; usize::from(count) * 12 + 4];
            let filled = read_at(self.file, self.base + at + 2, &mut entries)?;
            if filled < usize::from(count) * 12 {
                return Ok(());
            }
            self.directory(&entries[..usize::from(count) * 12])?;
            at = if filled == entries.len() { self.order.u32(&entries[filled - 4..]).into() } else { 0 };
        }
        Ok(())
    }

    fn directory(&mut self, entries: &[u8]) -> io::Result<()> {
        let order = self.order;
        let value = |entry: &[u8]| match order.u16(&entry[2..]) {
            3 => u64::from(order.u16(&entry[8..])),
            _ => u64::from(order.u32(&entry[8..])),
        };
        let one = |tag: u16| entries.chunks_exact(12).find(|entry| order.u16(entry) == tag);
        let number = |tag| one(tag).map(value);
        let single = |tag: u16| one(tag).filter(|entry| order.u32(&entry[4..]) == 1).map(value);
        if let (Some(at), Some(length)) = (number(0x0201), number(0x0202)) {
            self.found.push(Place { at, length });
        }
        // A single strip of JPEG data (compression 6 or 7): CR2's large picture, DNG's preview. Lossless RAW data is
        // compressed so as well; whoever looks at the picture finds out.
        if let (Some(6 | 7), Some(at), Some(length)) = (number(0x0103), single(0x0111), single(0x0117)) {
            self.found.push(Place { at, length });
        }
        // Panasonic's `JpgFromRaw`: the entry itself is the picture.
        if let Some(entry) = one(0x002E).filter(|entry| order.u32(&entry[4..]) > 4) {
            self.found.push(Place { at: order.u32(&entry[8..]).into(), length: order.u32(&entry[4..]).into() });
        }
        let mut below = Vec::new();
        if let Some(entry) = one(0x014A) {
            let count = order.u32(&entry[4..]).min(16) as usize;
            let mut places = vec![0; count * 4];
            if count == 1 {
                places.copy_from_slice(&entry[8..12]);
            } else {
                let filled = read_at(self.file, self.base + u64::from(order.u32(&entry[8..])), &mut places)?;
                places.truncate(filled / 4 * 4);
            }
            below.extend(places.chunks_exact(4).map(|place| u64::from(order.u32(place))));
        }
        for at in below {
            if self.left > 0 {
                self.left -= 1;
                self.follow(at)?;
            }
        }
        Ok(())
    }
}

/// JPEGs in the first part of a file, found by their bytes: each from its start to its end.
fn searched(file: &mut File, length: u64) -> io::Result<Vec<Place>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.by_ref().take(length.min(MOST_SEARCHED)).read_to_end(&mut bytes)?;
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some(start) = memchr::memmem::find(&bytes[from..], &[0xFF, 0xD8, 0xFF]).map(|at| from + at) {
        match end_of_jpeg(&bytes[start..]) {
            Some(length) => {
                found.push(Place { at: start as u64, length: length as u64 });
                from = start + length;
            }
            None => from = start + 3,
        }
    }
    Ok(found)
}

/// Length of the JPEG that these bytes begin with, when its end is among them.
fn end_of_jpeg(bytes: &[u8]) -> Option<usize> {
    let mut at = 2;
    loop {
        match bytes.get(at..at + 4)? {
            [0xFF, 0xD9, ..] => return Some(at + 2),
            [0xFF, 0xFF, ..] => at += 1,
            [0xFF, 0xDA, high, low] => {
                at += 2 + (usize::from(*high) << 8 | usize::from(*low));
                loop {
                    at += memchr::memchr(0xFF, bytes.get(at..)?)?;
                    match bytes.get(at + 1)? {
                        0x00 | 0xD0..=0xD7 => at += 2,
                        0xD9 => return Some(at + 2),
                        0xFF => at += 1,
                        _ => break,
                    }
                }
            }
            [0xFF, 0x01 | 0xD0..=0xD8, ..] => at += 2,
            [0xFF, 0x00, ..] => return None,
            [0xFF, _, high, low] => at += 2 + (usize::from(*high) << 8 | usize::from(*low)).max(2),
            _ => return None,
        }
    }
}

/// Fills the buffer from a place in the file, as far as the file reaches.
fn read_at(file: &mut File, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
    file.seek(SeekFrom::Start(at))?;
    read_full(file, buffer)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A JPEG by its structure, with so many bytes of scan.
    fn picture(scan: usize) -> Vec<u8> {
        let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xDB, 0, 4, 9, 9, 0xFF, 0xDA, 0, 3, 7];
        bytes.extend((0..scan).map(|n| (n % 250) as u8));
        bytes.extend([0xFF, 0xD9]);
        bytes
    }

    struct Tiff {
        big: bool,
        bytes: Vec<u8>,
    }

    impl Tiff {
        fn new(magic: [u8; 4]) -> Self {
            let big = magic[0] == b'M';
            Self { big, bytes: [&magic[..], &[0; 4]].concat() }
        }

        fn number(&self, value: u32) -> [u8; 4] {
            if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
        }

        fn short(&self, value: u16) -> [u8; 2] {
            if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
        }

        fn data(&mut self, data: &[u8]) -> u32 {
            let at = self.bytes.len() as u32;
            self.bytes.extend(data);
            at
        }

        /// A directory of (tag, type, count, value); answers its place.
        fn directory(&mut self, entries: &[(u16, u16, u32, u32)], next: u32) -> u32 {
            let at = self.bytes.len() as u32;
            self.bytes.extend(self.short(entries.len() as u16));
            for (tag, kind, count, value) in entries {
                self.bytes.extend(self.short(*tag));
                self.bytes.extend(self.short(*kind));
                self.bytes.extend(self.number(*count));
                let value = match kind {
                    3 => [&self.short(*value as u16)[..], &[0, 0]].concat(),
                    _ => self.number(*value).to_vec(),
                };
                self.bytes.extend(value);
            }
            self.bytes.extend(self.number(next));
            at
        }

        fn first(mut self, directory: u32) -> Vec<u8> {
            let place = self.number(directory);
            self.bytes[4..8].copy_from_slice(&place);
            self.bytes
        }
    }

    /// One file of each family, each with a small and a large picture in it.
    pub(crate) fn raws(large: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
        let small = picture(300);
        let mut all = Vec::new();
        // Nikon, Sony: sub-directories with `JPEGInterchangeFormat`.
        for (name, magic) in [("nef", *b"MM\0*"), ("arw", *b"II*\0"), ("orf", *b"IIRO")] {
            let mut tiff = Tiff::new(magic);
            let (at, small_at) = (tiff.data(large), tiff.data(&small));
            let one = tiff.directory(&[(0x0201, 4, 1, at), (0x0202, 4, 1, large.len() as u32)], 0);
            let two = tiff.directory(&[(0x0201, 4, 1, small_at), (0x0202, 4, 1, small.len() as u32)], 0);
            let both = [tiff.number(one), tiff.number(two)].concat();
            let places = tiff.data(&both);
            let first = tiff.directory(&[(0x0103, 3, 1, 1), (0x014A, 4, 2, places)], 0);
            all.push((name, tiff.first(first)));
        }
        // Canon, DNG: a strip of JPEG data in the first directory, a thumbnail in the next.
        for (name, compression) in [("cr2", 6), ("dng", 7)] {
            let mut tiff = Tiff::new(*b"II*\0");
            let (at, small_at) = (tiff.data(large), tiff.data(&small));
            let next = tiff.directory(&[(0x0201, 4, 1, small_at), (0x0202, 4, 1, small.len() as u32)], 0);
            let entries = [(0x0103, 3, 1, compression), (0x0111, 4, 1, at), (0x0117, 4, 1, large.len() as u32)];
            let first = tiff.directory(&entries, next);
            all.push((name, tiff.first(first)));
        }
        let mut tiff = Tiff::new(*b"IIU\0");
        let at = tiff.data(large);
        let first = tiff.directory(&[(0x002E, 7, large.len() as u32, at)], 0);
        all.push(("rw2", tiff.first(first)));
        let mut raf = b"FUJIFILMCCD-RAW 0201FF129502X-T3".to_vec();
        raf.resize(84, 0);
        raf.extend(148_u32.to_be_bytes());
        raf.extend((large.len() as u32).to_be_bytes());
        raf.resize(148, 0);
        raf.extend(large);
        all.push(("raf", raf));
        let mut cr3 = b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom".to_vec();
        cr3.extend((small.len() as u32 + 8).to_be_bytes());
        cr3.extend(b"PRVW");
        cr3.extend(&small);
        cr3.extend((large.len() as u32 + 8).to_be_bytes());
        cr3.extend(b"mdat");
        cr3.extend(large);
        all.push(("cr3", cr3));
        all
    }

    fn in_bytes(bytes: &[u8]) -> Vec<Place> {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, bytes).unwrap();
        in_raw(&mut file).unwrap()
    }

    #[test]
    fn the_large_picture_of_each_family_is_found_first() {
        let large = picture(3000);
        for (name, bytes) in raws(&large) {
            let found = in_bytes(&bytes);
            let Place { at, length } = *found.first().unwrap_or_else(|| panic!("nothing in {name}"));
            assert_eq!(&bytes[at as usize..(at + length) as usize], large, "{name}");
        }
    }

    #[test]
    fn a_raw_file_without_pictures_has_none() {
        let mut tiff = Tiff::new(*b"II*\0");
        let first = tiff.directory(&[(0x0100, 4, 1, 6000)], 0);
        assert_eq!(in_bytes(&tiff.first(first)), []);
        assert_eq!(in_bytes(b""), []);
    }

    #[test]
    fn directories_in_a_circle_come_to_an_end() {
        let mut tiff = Tiff::new(*b"II*\0");
        let at = tiff.bytes.len() as u32;
        tiff.directory(&[(0x014A, 4, 1, at)], at);
        assert_eq!(in_bytes(&tiff.first(at)), []);
    }

    #[test]
    fn the_preview_of_a_jpeg_is_found_in_its_exif() {
        let preview = picture(500);
        let mut tiff = Tiff::new(*b"II*\0");
        let at = tiff.data(&preview);
        let second = tiff.directory(&[(0x0201, 4, 1, at), (0x0202, 4, 1, preview.len() as u32)], 0);
        let first = tiff.directory(&[(0x0112, 3, 1, 6)], second);
        let block = tiff.first(first);
        let mut jpeg = vec![0xFF, 0xD8, 0xFF, 0xE1];
        jpeg.extend((block.len() as u16 + 8).to_be_bytes());
        jpeg.extend(b"Exif\0\0");
        jpeg.extend(block);
        jpeg.extend(&picture(9)[2..]);
        let Place { at, length } = in_jpeg(&jpeg).unwrap();
        assert_eq!(&jpeg[at as usize..(at + length) as usize], preview);
        assert!((0..jpeg.len()).all(|cut| in_jpeg(&jpeg[..cut]).is_none_or(|place| place.length == length)));
        assert_eq!(in_jpeg(&picture(9)), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn whatever_a_file_says_places_lie_inside_it(
            family in 0_usize..8, changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let mut bytes = raws(&picture(900)).swap_remove(family).1;
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            for place in in_bytes(&bytes) {
                prop_assert!(place.at + place.length <= bytes.len() as u64);
            }
        }
    }
}
