//! Camera-like JPEGs made here: unique by content, with the EXIF data that cameras write.

use jpeg_encoder::{ColorType, Encoder};

use super::Random;

/// A small photo that differs from those of all other numbers: a few kilobytes.
pub(crate) fn small(number: u64) -> Vec<u8> {
    jpeg(number, 320, 216)
}

/// A photo of `kilobytes` at least. What a camera appends after the picture (here: noise) belongs to the file.
pub(crate) fn of_size(number: u64, kilobytes: usize) -> Vec<u8> {
    let mut bytes = small(number);
    let mut random = Random::new(number ^ 0x5EED);
    while bytes.len() < kilobytes * 1024 {
        bytes.extend(random.next().to_le_bytes());
    }
    bytes
}

/// Soft light with grain, as cameras see it.
pub(crate) fn jpeg(number: u64, width: u16, height: u16) -> Vec<u8> {
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
    encoder.add_exif_metadata(&exif(number)).unwrap();
    encoder.encode(&rgb, width, height, ColorType::Rgb).unwrap();
    bytes
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
