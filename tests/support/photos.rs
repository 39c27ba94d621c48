//! Camera-like JPEGs made here: unique by content, with the EXIF data that cameras write.

use jpeg_encoder::{ColorType, Encoder};

use super::Random;

/// A small photo that differs from those of all other numbers: a few kilobytes.
pub(crate) fn small(number: u64) -> Vec<u8> {
    jpeg(number, 320, 216)
}

/// A photo of `kilobytes` at least. What a camera appends after the picture (here: noise) belongs to the file.
pub(crate) fn of_size(number: u64, kilobytes: usize) -> Vec<u8> {
    filled_up(small(number), number, kilobytes)
}

/// The same of a photo that is there already.
pub(crate) fn filled_up(mut bytes: Vec<u8>, number: u64, kilobytes: usize) -> Vec<u8> {
    let mut random = Random::new(number ^ 0x5EED);
    while bytes.len() < kilobytes * 1024 {
        bytes.extend(random.next().to_le_bytes());
    }
    bytes
}

/// What a photo says of itself; empty texts are left out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken<'a> {
    pub(crate) at: &'a str,
    pub(crate) sub_seconds: &'a str,
    pub(crate) serial: &'a str,
    pub(crate) software: &'a str,
    pub(crate) changed: &'a str,
    pub(crate) orientation: u16,
}

impl<'a> Taken<'a> {
    /// Straight from a camera.
    pub(crate) fn camera(sub_seconds: &'a str) -> Self {
        let at = "2026:06:20 18:03:07";
        Self { at, sub_seconds, serial: "6012345", software: "Ver.01.20", changed: "", orientation: 1 }
    }
}

/// A small photo that says this of itself; each number is another picture.
pub(crate) fn taken(number: u64, says: Taken<'_>) -> Vec<u8> {
    jpeg_with(number, 320, 216, &exif_of(says))
}

/// Soft light with grain, as cameras see it.
pub(crate) fn jpeg(number: u64, width: u16, height: u16) -> Vec<u8> {
    jpeg_with(number, width, height, &exif(number))
}

/// The same with these EXIF data.
pub(crate) fn jpeg_with(number: u64, width: u16, height: u16, exif: &[u8]) -> Vec<u8> {
    let mut random = Random::new(number);
    let (red, green) = (random.between(40, 200) as u32, random.between(40, 200) as u32);
    let mut rgb = Vec::with_capacity(usize::from(width) * usize::from(height) * 3);
    for y in 0..u32::from(height) {
        for x in 0..u32::from(width) {
            let grain = (random.next() >> 60) as u32;
            let light = 60 * x / u32::from(width) + 60 * y / u32::from(height);
            rgb.extend([(red + grain + light) as u8, (green + grain) as u8, (90 + grain + light) as u8]);
        }
    }
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 88);
    encoder.add_exif_metadata(exif).unwrap();
    encoder.encode(&rgb, width, height, ColorType::Rgb).unwrap();
    bytes
}

/// Width and height that a JPEG says it has.
pub(crate) fn jpeg_size(jpeg: &[u8]) -> (u16, u16) {
    let word = |at: usize| u16::from_be_bytes([jpeg[at], jpeg[at + 1]]);
    let mut at = 2;
    // Frames begin with C0 … CF; of these, C4, C8 and CC are something else.
    while !matches!(jpeg[at + 1], 0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF) {
        at += 2 + usize::from(word(at + 2));
    }
    (word(at + 7), word(at + 5))
}

/// A TIFF block with make, model, and capture time (each number one second after the one before).
fn exif(number: u64) -> Vec<u8> {
    let time = format!("2026:06:20 {:02}:{:02}:{:02}\0", number / 3600 % 24, number / 60 % 60, number % 60);
    let texts: [(u16, &[u8]); 3] =
        [(0x010F, b"NIKON CORPORATION\0"), (0x0110, b"NIKON Z 6_2\0"), (0x0132, time.as_bytes())];
    // Header, one directory of four entries, then what does not fit into four bytes.
    let mut tiff = b"II*\0\x08\0\0\0".to_vec();
    let mut data: Vec<u8> = Vec::new();
    let data_at = 8 + 2 + 4 * 12 + 4;
    tiff.extend(4_u16.to_le_bytes());
    let mut entry = |tag: u16, kind: u16, count: u32, value: u32| {
        tiff.extend(tag.to_le_bytes());
        tiff.extend(kind.to_le_bytes());
        tiff.extend(count.to_le_bytes());
        tiff.extend(value.to_le_bytes());
    };
    for (tag, text) in &texts[..2] {
        entry(*tag, 2, text.len() as u32, (data_at + data.len()) as u32);
        data.extend(*text);
    }
    entry(0x0112, 3, 1, 1);
    let (tag, text) = texts[2];
    entry(tag, 2, text.len() as u32, (data_at + data.len()) as u32);
    data.extend(text);
    tiff.extend([0; 4]);
    tiff.extend(data);
    tiff
}

/// A TIFF block (little-endian) with one directory and the EXIF directory behind it.
pub(crate) fn exif_of(says: Taken<'_>) -> Vec<u8> {
    let first = |pointer| directory(8, says.orientation, &[(0x0131, says.software), (0x0132, says.changed)], pointer);
    let second_at = 8 + first(Some(0)).len() as u32;
    let mut tiff = b"II*\0\x08\0\0\0".to_vec();
    tiff.extend(first(Some(second_at)));
    tiff.extend(directory(second_at, 0, &[(0x9003, says.at), (0x9291, says.sub_seconds), (0xA431, says.serial)], None));
    tiff
}

/// A directory that begins at `at`: the orientation (0: none), these texts, a pointer to the EXIF directory.
fn directory(at: u32, orientation: u16, texts: &[(u16, &str)], pointer: Option<u32>) -> Vec<u8> {
    let texts: Vec<_> = texts.iter().filter(|(_, text)| !text.is_empty()).collect();
    let count = texts.len() + usize::from(pointer.is_some()) + usize::from(orientation > 0);
    let (mut entries, mut data) = ((count as u16).to_le_bytes().to_vec(), Vec::<u8>::new());
    let mut data_at = at + 2 + 12 * count as u32 + 4;
    let mut entry = |tag: u16, kind: u16, count: u32, value: [u8; 4]| {
        entries.extend(tag.to_le_bytes());
        entries.extend(kind.to_le_bytes());
        entries.extend(count.to_le_bytes());
        entries.extend(value);
    };
    if orientation > 0 {
        entry(0x0112, 3, 1, u32::from(orientation).to_le_bytes());
    }
    for (tag, text) in texts {
        let bytes = [text.as_bytes(), &[0]].concat();
        let mut value = [0; 4];
        if bytes.len() <= 4 {
            value[..bytes.len()].copy_from_slice(&bytes);
        } else {
            value = data_at.to_le_bytes();
            data_at += bytes.len() as u32;
            data.extend(&bytes);
        }
        entry(*tag, 2, bytes.len() as u32, value);
    }
    if let Some(to) = pointer {
        entry(0x8769, 4, 1, to.to_le_bytes());
    }
    entries.extend([0; 4]);
    entries.extend(data);
    entries
}
