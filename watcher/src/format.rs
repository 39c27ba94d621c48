//! Whether a picture file is whole, by its own format: a stalled writer defeats every test of «has not changed for a
//! while», the end of the format does not lie.
//!
//! Bytes are pushed piece by piece while they are hashed, so that a file is read once. Lengths inside the file are
//! believed for skipping only; nothing is allocated by them.

use findme_common::media::Media;

use crate::pixels::{ImageKeys, Pixels};

/// Whether the file ends as its format demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Complete,
    Truncated,
}

/// Follows a file to the end of its format.
#[derive(Debug)]
pub(crate) struct EndCheck {
    /// Bytes to pass over before the next step.
    skip: u64,
    /// The beginning of a structure whose end has not come yet; at most 16 bytes.
    partial: Vec<u8>,
    step: Step,
    /// JPEG: digest of everything but metadata (application segments and comments): what a decoder turns into pixels, and
    /// what the camera appended. Other formats are not followed that closely.
    pixels: Option<Pixels>,
    /// What is passed over now is metadata.
    in_metadata: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// JPEG: a marker is next.
    Marker,
    /// JPEG: compressed data until the next marker.
    Scan,
    /// PNG: length and type of a chunk are next.
    Chunk,
    /// ISO base media file: length and type of a box are next.
    Box,
    /// RIFF: the whole length is next.
    Riff,
    /// TIFF: the place of the first directory is next.
    Tiff,
    /// The end of the format was seen; what follows is the camera's business.
    Complete,
    /// A last structure reaches exactly as far as `skip` says; the end of the file decides.
    Last,
    /// The bytes contradict the format: what a file looks like whose middle is not written yet.
    Broken,
}

/// How a step went on with the bytes that it was given.
enum Progress {
    /// So many bytes are used up; pass over `skip` more, then do `step`.
    Go { used: usize, skip: u64, step: Step },
    /// The structure is not whole yet.
    More,
}

impl EndCheck {
    /// For a file whose first bytes say `media`. `earlier`: the image keys of earlier programs are wanted too.
    pub(crate) fn new(media: Media, earlier: bool) -> Self {
        let (skip, step) = match media {
            Media::Jpeg => (2, Step::Marker),
            Media::Png => (8, Step::Chunk),
            Media::Webp => (4, Step::Riff),
            Media::Heif | Media::Avif => (0, Step::Box),
            Media::Tiff => (0, Step::Tiff),
            // By its first bytes a RAW file that is no TIFF: CR3 (boxes) cannot be told here from RAF and ORF.
            Media::Raw => (0, Step::Complete),
        };
        let pixels = (media == Media::Jpeg).then(|| Pixels::new(earlier));
        Self { skip, partial: Vec::new(), step, pixels, in_metadata: false }
    }

    /// What the picture is without its metadata, shown in this `orientation`. `None` where that cannot be told.
    pub(crate) fn image(&self, orientation: u8) -> Option<ImageKeys> {
        self.pixels.as_ref().map(|pixels| pixels.keys(orientation))
    }

    /// Takes the next bytes of the file.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.partial.is_empty() {
                let used = self.advance(bytes);
                bytes = &bytes[used..];
                if used == 0 {
                    self.partial.extend_from_slice(bytes);
                    return;
                }
            } else {
                // A structure across two pieces: byte by byte until it is whole. It has 16 bytes at most.
                let mut partial = std::mem::take(&mut self.partial);
                partial.push(bytes[0]);
                bytes = &bytes[1..];
                let used = self.advance(&partial);
                partial.drain(..used);
                self.partial = partial;
            }
        }
    }

    /// Goes on as far as whole structures reach; answers how many bytes are used up.
    fn advance(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            let pass = usize::try_from(self.skip).unwrap_or(usize::MAX).min(rest.len());
            self.skip -= pass as u64;
            used += pass;
            self.keep(&rest[..pass]);
            let rest = &rest[pass..];
            if rest.is_empty() {
                return used;
            }
            match self.step.run(rest) {
                Progress::More => return used,
                Progress::Go { used: more, skip, step } => {
                    used += more;
                    self.in_metadata = match self.step {
                        // APP0 to APP15 and COM; APP14 says how the colours are to be understood.
                        Step::Marker => matches!(rest, [0xFF, 0xE0..=0xED | 0xEF | 0xFE, ..]),
                        _ => false,
                    };
                    self.keep(&rest[..more]);
                    (self.skip, self.step) = (skip, step);
                }
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if let (Some(pixels), false) = (&mut self.pixels, self.in_metadata) {
            pixels.update(bytes);
        }
    }

    /// The verdict, after the last byte of a file of `len` bytes.
    pub(crate) fn finish(self, len: u64) -> End {
        let complete = match self.step {
            Step::Complete => true,
            Step::Last => self.skip == 0,
            // Boxes end where the file ends; a file of no box was never pushed.
            Step::Box => self.skip == 0 && self.partial.is_empty() && len > 0,
            _ => false,
        };
        if complete { End::Complete } else { End::Truncated }
    }
}

fn go(used: usize, skip: u64, step: Step) -> Progress {
    Progress::Go { used, skip, step }
}

fn be32(bytes: &[u8]) -> u64 {
    bytes.iter().take(4).fold(0, |n, b| n << 8 | u64::from(*b))
}

fn le32(bytes: &[u8]) -> u64 {
    bytes.iter().take(4).rev().fold(0, |n, b| n << 8 | u64::from(*b))
}

impl Step {
    fn run(self, bytes: &[u8]) -> Progress {
        match self {
            Self::Marker => marker(bytes),
            Self::Scan => scan(bytes),
            Self::Chunk => chunk(bytes),
            Self::Box => iso_box(bytes),
            Self::Riff => riff(bytes),
            Self::Tiff => tiff(bytes),
            Self::Complete | Self::Last | Self::Broken => go(bytes.len(), 0, self),
        }
    }
}

/// ITU-T T.81, B.1.1: `FF`, fill bytes, a code; all but a few codes carry a length that includes itself.
fn marker(bytes: &[u8]) -> Progress {
    match bytes {
        [0xFF, 0xFF, ..] => go(1, 0, Step::Marker),
        [0xFF, 0xD9, ..] => go(2, 0, Step::Complete),
        [0xFF, 0x01 | 0xD0..=0xD8, ..] => go(2, 0, Step::Marker),
        [0xFF, 0x00, ..] => go(2, 0, Step::Broken),
        [0xFF, code, high, low, ..] => match u64::from(*high) << 8 | u64::from(*low) {
            0 | 1 => go(4, 0, Step::Broken),
            // Start of scan: after its header come the compressed data.
            length => go(4, length - 2, if *code == 0xDA { Step::Scan } else { Step::Marker }),
        },
        [0xFF, ..] => Progress::More,
        _ => go(bytes.len(), 0, Step::Broken),
    }
}

/// Compressed data: `FF 00` is data, restart markers belong to it, any other code ends it.
fn scan(bytes: &[u8]) -> Progress {
    for at in memchr::memchr_iter(0xFF, bytes) {
        match bytes.get(at + 1) {
            Some(0x00 | 0xD0..=0xD7 | 0xFF) => {}
            Some(_) => return go(at, 0, Step::Marker),
            // The code is in the next piece. Alone in `partial` it must not be used up.
            None if at == 0 => return Progress::More,
            None => return go(at, 0, Step::Scan),
        }
    }
    go(bytes.len(), 0, Step::Scan)
}

/// PNG, 5.3: length of the data, type, data, CRC.
fn chunk(bytes: &[u8]) -> Progress {
    let Some((head, _)) = bytes.split_at_checked(8) else { return Progress::More };
    match &head[4..] {
        b"IEND" => go(8, 4, Step::Last),
        kind if kind.iter().all(u8::is_ascii_alphabetic) => go(8, be32(head) + 4, Step::Chunk),
        _ => go(8, 0, Step::Broken),
    }
}

/// ISO/IEC 14496-12, 4.2: 32-bit length that includes the header, type; 1: a 64-bit length follows; 0: to the end.
fn iso_box(bytes: &[u8]) -> Progress {
    let Some((head, rest)) = bytes.split_at_checked(8) else { return Progress::More };
    if !head[4..].iter().all(|c| c.is_ascii_graphic() || *c == b' ' || *c == 0xA9) {
        return go(8, 0, Step::Broken);
    }
    match (be32(head), rest.split_at_checked(8)) {
        (0, _) => go(8, 0, Step::Complete),
        (1, None) => Progress::More,
        (1, Some((long, _))) => match (be32(long) << 32 | be32(&long[4..])).checked_sub(16) {
            Some(skip) => go(16, skip, Step::Box),
            None => go(16, 0, Step::Broken),
        },
        (length, _) if length >= 8 => go(8, length - 8, Step::Box),
        _ => go(8, 0, Step::Broken),
    }
}

/// RIFF: a little-endian length of everything behind it.
fn riff(bytes: &[u8]) -> Progress {
    match bytes.split_at_checked(4) {
        Some((length, _)) => go(4, le32(length), Step::Last),
        None => Progress::More,
    }
}

/// TIFF 6.0, section 2: byte order, 42, place of the first directory, which must begin inside the file.
fn tiff(bytes: &[u8]) -> Progress {
    let Some((head, _)) = bytes.split_at_checked(8) else { return Progress::More };
    if head[2] == 43 || head[3] == 43 {
        return go(8, 8, Step::Last); // BigTIFF: only that its header is whole.
    }
    let first = if head[0] == b'I' { le32(&head[4..]) } else { be32(&head[4..]) };
    // The directory's count of entries takes two bytes.
    match (first + 2).checked_sub(8) {
        Some(skip) if first >= 8 => go(8, skip, Step::Last),
        _ => go(8, 0, Step::Broken),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A JPEG by its structure: an APP1 segment with an embedded preview of its own, a scan, an end.
    pub(crate) fn jpeg(scan_bytes: usize) -> Vec<u8> {
        let preview = [0xFF, 0xD8, 0xFF, 0xDA, 0, 2, 1, 2, 0xFF, 0xD9];
        let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xE1, 0, 2 + preview.len() as u8];
        bytes.extend(preview);
        bytes.extend([0xFF, 0xDB, 0, 4, 9, 9, 0xFF, 0xFF, 0xDA, 0, 3, 7]);
        bytes.extend((0..scan_bytes).map(|n| (n % 251) as u8));
        bytes.extend([0xFF, 0x00, 0xFF, 0xD3, 5, 0xFF, 0xDA, 0, 2, 8, 8, 0xFF, 0xD9]);
        bytes
    }

    fn png() -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
        for (kind, data) in [(b"IHDR", &[1_u8; 13][..]), (b"IDAT", &[2; 300]), (b"IEND", &[])] {
            bytes.extend((data.len() as u32).to_be_bytes());
            bytes.extend(kind);
            bytes.extend(data);
            bytes.extend([0; 4]);
        }
        bytes
    }

    fn heif() -> Vec<u8> {
        let mut bytes = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic".to_vec();
        bytes.extend(b"\0\0\0\x0cmeta\0\0\0\0\0\0\0\x01mdat\0\0\0\0\0\0\0\x20");
        bytes.extend([7; 16]);
        bytes
    }

    fn webp() -> Vec<u8> {
        let mut bytes = b"RIFF\x14\0\0\0WEBPVP8 ".to_vec();
        bytes.extend([0; 12]);
        bytes
    }

    fn tiff() -> Vec<u8> {
        let mut bytes = b"II*\0\x10\0\0\0".to_vec();
        bytes.extend([0; 10]);
        bytes
    }

    fn verdict(bytes: &[u8], pieces: usize) -> End {
        let mut check = EndCheck::new(Media::sniff(bytes).unwrap(), false);
        bytes.chunks(pieces).for_each(|piece| check.push(piece));
        check.finish(bytes.len() as u64)
    }

    #[test]
    fn whole_files_are_complete_and_every_prefix_is_not() {
        for whole in [jpeg(600), png(), heif(), webp(), tiff()] {
            assert_eq!(verdict(&whole, 64), End::Complete);
            for cut in 16..whole.len() {
                // A box file that ends exactly between two boxes cannot be told from a whole one.
                let between_boxes = whole[4..8] == *b"ftyp" && (cut == 24 || cut == 36);
                assert_eq!(verdict(&whole[..cut], 64) == End::Complete, between_boxes, "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_preallocated_file_is_not_complete() {
        for whole in [jpeg(600), png()] {
            for written in 16..whole.len() - 1 {
                let mut file = vec![0; whole.len()];
                file[..written].copy_from_slice(&whole[..written]);
                // The end of a PNG's last CRC is zero here, as is the filling.
                let same = file == whole;
                let tail_is_crc = whole.len() - written <= 4 && whole[0] == 0x89;
                assert_eq!(verdict(&file, 100) == End::Complete, same || tail_is_crc, "{written} written");
            }
        }
    }

    #[test]
    fn what_a_camera_appends_is_allowed() {
        let mut bytes = jpeg(100);
        bytes.extend([0x55; 999]);
        assert_eq!(verdict(&bytes, 10), End::Complete);
    }

    fn image(bytes: &[u8], pieces: usize) -> Option<ImageKeys> {
        let mut check = EndCheck::new(Media::sniff(bytes).unwrap(), false);
        bytes.chunks(pieces).for_each(|piece| check.push(piece));
        check.image(1)
    }

    #[test]
    fn the_image_is_what_is_not_metadata() {
        let plain = jpeg(500);
        let with = |segment: &[u8]| [&plain[..2], segment, &plain[2..]].concat();
        let same = image(&plain, 64);
        assert!(same.is_some());
        for metadata in [&[0xFF, 0xE1, 0, 5, 1, 2, 3][..], &[0xFF, 0xFE, 0, 3, 9], &[0xFF, 0xED, 0, 2]] {
            assert_eq!(image(&with(metadata), 7), same, "{metadata:?}");
        }
        let trailer = [plain.as_slice(), &[1, 2, 3]].concat();
        assert_ne!(image(&trailer, 3), same, "what is appended may be a film");
        let mut edited = plain.clone();
        let last = edited.len() - 20;
        edited[last] ^= 1;
        assert_ne!(image(&edited, 64), same);
        assert_ne!(image(&with(&[0xFF, 0xEE, 0, 3, 1]), 64), same, "the colour transform changes the picture");
        assert_eq!(image(&png(), 64), None);
    }

    proptest! {
        #[test]
        fn the_pieces_make_no_difference(scan in 0_usize..900, pieces in 1_usize..400, cut in 0_usize..1000) {
            for whole in [jpeg(scan), png(), heif(), webp(), tiff()] {
                let cut = &whole[..whole.len() - cut.min(whole.len() - 16)];
                prop_assert_eq!(verdict(cut, pieces), verdict(cut, usize::MAX));
                prop_assert_eq!(image(cut, pieces), image(cut, usize::MAX));
            }
        }

        #[test]
        fn no_input_panics(mut bytes in proptest::collection::vec(any::<u8>(), 16..600), head in 0_usize..5) {
            let start = [jpeg(0), png(), heif(), webp(), tiff()][head][..12].to_vec();
            bytes[..12].copy_from_slice(&start);
            verdict(&bytes, 7);
        }
    }
}
