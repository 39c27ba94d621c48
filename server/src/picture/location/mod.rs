//! Which bytes of a photo tell where it was taken, so that guests get the original without them: same length, same
//! pixels, no place.
//!
//! Found are: GPS directories of EXIF (JPEG, PNG, WebP, TIFF, TIFF-based RAW; HEIF, CR3 and other containers by
//! signature), GPS and place properties of XMP (extended XMP too), place fields of IPTC, also in further images behind
//! the first (multi-picture files). Not touched are maker notes, whose layout is the makers' secret, keywords and free
//! text, and BigTIFF.
//!
//! Invariant: whatever the bytes are, the patches lie inside the file, are sorted and do not overlap.

mod containers;
mod iptc;
mod jpeg;
#[cfg(test)]
mod tests;
mod tiff;
mod xmp;

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use findme_common::media::{Media, SNIFF_LEN};

/// A block of metadata that is larger than this is blanked as a whole; real ones have kilobytes.
const LARGEST_BLOCK: u64 = 16 << 20;

/// More patches than any real file needs; a file with more is crafted, and its surplus is merged into spans.
const MOST_PATCHES: usize = 4096;

/// What is put in the place of some bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fill {
    /// Zeros: an empty directory, an empty value.
    Zeros(u64),
    /// Spaces, for text that has to stay well-formed.
    Spaces(u64),
    /// These four bytes: the checksum of a block that was changed.
    Word([u8; 4]),
}

impl Fill {
    const fn length(self) -> u64 {
        match self {
            Self::Zeros(length) | Self::Spaces(length) => length,
            Self::Word(_) => 4,
        }
    }

    /// The same filling, shortened to `length` bytes after leaving out the first `skipped`.
    fn part(self, skipped: u64, length: u64) -> Option<Self> {
        match self {
            _ if length == 0 => None,
            Self::Zeros(_) => Some(Self::Zeros(length)),
            Self::Spaces(_) => Some(Self::Spaces(length)),
            Self::Word(_) => (skipped == 0 && length == 4).then_some(self),
        }
    }
}

/// Bytes of a file that guests get otherwise than they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patch {
    /// First byte.
    pub(crate) at: u64,
    /// What stands there instead.
    pub(crate) fill: Fill,
}

impl Patch {
    const fn zeros(at: u64, length: u64) -> Self {
        Self { at, fill: Fill::Zeros(length) }
    }

    const fn spaces(at: u64, length: u64) -> Self {
        Self { at, fill: Fill::Spaces(length) }
    }

    const fn end(&self) -> u64 {
        self.at.saturating_add(self.fill.length())
    }
}

/// The patches of one file, sorted, apart from each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Patches(Vec<Patch>);

/// Marks of the second number of a stored pair.
const SPACES: u64 = 1 << 63;
const WORD: u64 = 1 << 62;

impl Patches {
    /// Sorts, cuts at the end of the file and takes overlaps apart.
    fn of(mut found: Vec<Patch>, length: u64) -> Self {
        found.sort_by_key(|patch| patch.at);
        let mut patches: Vec<Patch> = Vec::with_capacity(found.len());
        for patch in found {
            let start = patch.at.max(patches.last().map_or(0, Patch::end));
            let end = patch.end().min(length);
            let part = patch.fill.part(start - patch.at, end.saturating_sub(start));
            patches.extend(part.map(|fill| Patch { at: start, fill }));
        }
        while patches.len() > MOST_PATCHES {
            let pairs = patches.chunks(2).map(|pair| {
                let end = pair.last().map_or(0, Patch::end);
                Patch::spaces(pair[0].at, end - pair[0].at)
            });
            patches = pairs.collect();
        }
        Self(patches)
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none: the file is for guests as it is.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Changes a piece of the file that begins at `offset`.
    pub(crate) fn apply(&self, offset: u64, piece: &mut [u8]) {
        let end = offset + piece.len() as u64;
        let first = self.0.partition_point(|patch| patch.end() <= offset);
        for patch in self.0[first..].iter().take_while(|patch| patch.at < end) {
            let (from, to) = (patch.at.max(offset), patch.end().min(end));
            let target = &mut piece[(from - offset) as usize..(to - offset) as usize];
            match patch.fill {
                Fill::Zeros(_) => target.fill(0),
                Fill::Spaces(_) => target.fill(b' '),
                Fill::Word(word) => {
                    let skipped = (from - patch.at) as usize;
                    target.copy_from_slice(&word[skipped..skipped + target.len()]);
                }
            }
        }
    }

    /// As the catalogue stores them: pairs of 64-bit little-endian numbers, first byte and length. The highest bit of the
    /// length: spaces instead of zeros; the one below it: the lowest four bytes stand for themselves.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let pair = |patch: &Patch| {
            let second = match patch.fill {
                Fill::Zeros(length) => length,
                Fill::Spaces(length) => SPACES | length,
                Fill::Word(word) => WORD | u64::from(u32::from_le_bytes(word)),
            };
            [patch.at.to_le_bytes(), second.to_le_bytes()].concat()
        };
        self.0.iter().flat_map(pair).collect()
    }

    /// Reads [`Patches::to_bytes`]; `None` when it did not make these bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (pairs, rest) = bytes.as_chunks::<16>();
        let patch = |pair: &[u8; 16]| {
            let number = |half: &[u8]| half.try_into().map(u64::from_le_bytes).unwrap_or_default();
            let (at, second) = (number(&pair[..8]), number(&pair[8..]));
            let fill = match second {
                n if n & SPACES != 0 => Fill::Spaces(n & !SPACES),
                n if n & WORD != 0 => Fill::Word((n as u32).to_le_bytes()),
                n => Fill::Zeros(n),
            };
            Patch { at, fill }
        };
        let patches: Vec<Patch> = pairs.iter().map(patch).collect();
        let apart = patches.windows(2).all(|two| two[0].end() <= two[1].at);
        (rest.is_empty() && apart).then_some(Self(patches))
    }
}

/// Finds what tells the place in the photo in a file.
///
/// # Errors
/// When the file cannot be read; never for what is in it.
pub(crate) fn find(path: &Path) -> io::Result<Patches> {
    find_in(std::fs::File::open(path)?)
}

/// As [`find`], in anything that can be read.
pub(crate) fn find_in(reader: impl Read + Seek) -> io::Result<Patches> {
    let mut source = Source::new(reader)?;
    let head = source.bytes(0, SNIFF_LEN as u64)?;
    let (mut found, end) = (Vec::new(), source.length);
    match Media::sniff(&head) {
        Some(Media::Jpeg) => jpeg::find(&mut source, &mut found)?,
        Some(Media::Png) => containers::png(&mut source, &mut found)?,
        Some(Media::Webp) => containers::webp(&mut source, &mut found)?,
        // TIFF, TIFF-based RAW, HEIF and whatever else there is.
        _ => {
            tiff::find(&mut source, 0, end, &mut found)?;
            containers::by_signature(&mut source, &mut found)?;
        }
    }
    Ok(Patches::of(found, end))
}

/// A file that is read here and there.
struct Source<R> {
    reader: R,
    length: u64,
}

impl<R: Read + Seek> Source<R> {
    fn new(mut reader: R) -> io::Result<Self> {
        let length = reader.seek(SeekFrom::End(0))?;
        Ok(Self { reader, length })
    }

    /// Up to `count` bytes from `at`; fewer at the end of the file.
    fn bytes(&mut self, at: u64, count: u64) -> io::Result<Vec<u8>> {
        let count = count.min(self.length.saturating_sub(at));
        let mut bytes = vec![0; count as usize];
        if count > 0 {
            self.reader.seek(SeekFrom::Start(at))?;
            self.reader.read_exact(&mut bytes)?;
        }
        Ok(bytes)
    }
}
