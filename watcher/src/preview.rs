//! The picture that goes ahead of a photo: the camera's own preview where it is good enough, else one made here. Also
//! what is sent of a RAW file that has no JPEG beside it.
//!
//! Invariant: the same file gives the same bytes, so that a preview whose upload was cut off goes on where it was. How a
//! photo is turned goes with it; where it was taken does not.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use bytes::Bytes;
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use findme_common::Digest;
use findme_common::media::Media;
use jpeg_decoder::PixelFormat;
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use crate::embedded::{self, Place};
use crate::shot;

/// Longer side of a preview that is made here, in pixels.
const SIDE: u32 = 2048;
/// Longer side of a camera's preview that is good enough, in pixels at least.
const GOOD: u32 = 1600;
/// Largest embedded picture that is taken, in bytes: it is in memory once.
const MOST: u64 = 24 * 1024 * 1024;
/// Pixels of a photo at most for which a preview is made here.
const MOST_PIXELS: u64 = 120_000_000;
const QUALITY: u8 = 82;
/// How much of a file's beginning is looked at.
const HEAD: u64 = 256 * 1024;
/// A photo that is not larger than this goes at once: its preview would hardly be smaller.
pub(crate) const SMALL: u64 = 700_000;

/// A picture ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Preview {
    pub(crate) bytes: Bytes,
    pub(crate) digest: Digest,
}

/// Whether a preview can be had of such a file at all.
pub(crate) fn is_possible(media: Media, bytes: u64) -> bool {
    match media {
        Media::Jpeg => bytes > SMALL,
        Media::Raw => true,
        Media::Png | Media::Webp | Media::Tiff | Media::Heif | Media::Avif => false,
    }
}

/// Finds or makes the preview of a file; `None` when there is none that can be shown. Blocks.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn of(path: &Path, media: Media) -> io::Result<Option<Preview>> {
    let mut file = File::open(path)?;
    let mut head = Vec::new();
    file.by_ref().take(HEAD).read_to_end(&mut head)?;
    let turned = shot::orientation(&head);
    let places = match media {
        Media::Raw => embedded::in_raw(&mut file)?,
        _ => embedded::in_jpeg(&head).into_iter().collect(),
    };
    for place in places {
        if let Some(bytes) = taken_out(&mut file, place, turned)? {
            return Ok(Some(preview(bytes)));
        }
    }
    if media != Media::Jpeg {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(made(file, turned).map(preview))
}

fn preview(bytes: Vec<u8>) -> Preview {
    Preview { digest: Digest::of(&bytes), bytes: bytes.into() }
}

/// An embedded picture, if it is large enough; turned as the photo is, unless it says so itself.
fn taken_out(file: &mut File, place: Place, turned: u8) -> io::Result<Option<Vec<u8>>> {
    if place.length > MOST {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(place.at))?;
    let mut bytes = Vec::new();
    file.by_ref().take(place.length).read_to_end(&mut bytes)?;
    let good = shot::jpeg_size(&bytes).is_some_and(|(width, height)| width.max(height) >= GOOD);
    if !good || bytes.len() as u64 != place.length {
        return Ok(None);
    }
    let says = shot::orientation(&bytes);
    Ok(Some(if says == 1 && turned != 1 { with_orientation(&bytes, turned) } else { bytes }))
}

/// The JPEG with one more segment behind its beginning, which says how it is turned.
fn with_orientation(jpeg: &[u8], turned: u8) -> Vec<u8> {
    let exif: [u8; 26] =
        [b'I', b'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 0x01, 3, 0, 1, 0, 0, 0, turned, 0, 0, 0, 0, 0, 0, 0];
    let start = jpeg.get(..2).unwrap_or_default();
    let rest = jpeg.get(2..).unwrap_or_default();
    [start, &[0xFF, 0xE1, 0, 34], b"Exif\0\0", &exif, rest].concat()
}

/// A smaller JPEG of a JPEG, made here; `None` when it is none that can be decoded.
fn made(file: File, turned: u8) -> Option<Vec<u8>> {
    let mut decoder = jpeg_decoder::Decoder::new(io::BufReader::new(file));
    decoder.read_info().ok()?;
    let info = decoder.info()?;
    if u64::from(info.width) * u64::from(info.height) > MOST_PIXELS {
        return None;
    }
    // The decoder makes it smaller by halves while it decodes; never below what is wanted.
    let long = u32::from(info.width.max(info.height)).max(1);
    let wanted = |length: u16| (u32::from(length) * SIDE.min(long)).div_ceil(long) as u16;
    decoder.scale(wanted(info.width), wanted(info.height)).ok()?;
    let pixels = decoder.decode().ok()?;
    let info = decoder.info()?;
    let (kind, colour) = match info.pixel_format {
        PixelFormat::RGB24 => (PixelType::U8x3, ColorType::Rgb),
        PixelFormat::L8 => (PixelType::U8, ColorType::Luma),
        PixelFormat::L16 | PixelFormat::CMYK32 => return None,
    };
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    let long = width.max(height);
    let fit = |length: u32| (u64::from(length) * u64::from(SIDE)).div_ceil(long.into()).max(1) as u32;
    let (to_width, to_height) = if long > SIDE { (fit(width), fit(height)) } else { (width, height) };
    let source = ImageRef::new(width, height, &pixels, kind).ok()?;
    let mut target = Image::new(to_width, to_height, kind);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
    Resizer::new().resize(&source, &mut target, &options).ok()?;
    let mut jpeg = Vec::new();
    let mut encoder = Encoder::new(&mut jpeg, QUALITY);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.encode(target.buffer(), to_width as u16, to_height as u16, colour).ok()?;
    Some(if turned == 1 { jpeg } else { with_orientation(&jpeg, turned) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::tests::raws;

    fn photo(width: u16, height: u16) -> Vec<u8> {
        let rgb: Vec<u8> = (0..usize::from(width) * usize::from(height) * 3).map(|n| (n / 7 % 251) as u8).collect();
        let mut jpeg = Vec::new();
        Encoder::new(&mut jpeg, 60).encode(&rgb, width, height, ColorType::Rgb).unwrap();
        jpeg
    }

    fn of_bytes(name: &str, bytes: &[u8], media: Media) -> Option<Vec<u8>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let found = of(&path, media).unwrap();
        assert_eq!(found, of(&path, media).unwrap(), "the same bytes each time");
        found.map(|preview| preview.bytes.to_vec())
    }

    #[test]
    fn a_large_photo_gets_a_small_preview_turned_as_it_is() {
        let large = photo(2600, 1800);
        let preview = of_bytes("a.jpg", &with_orientation(&large, 6), Media::Jpeg).unwrap();
        assert_eq!(shot::jpeg_size(&preview), Some((2048, 1418)));
        assert_eq!(shot::orientation(&preview), 6);
        let plain = of_bytes("a.jpg", &large, Media::Jpeg).unwrap();
        assert_eq!(shot::orientation(&plain), 1);
        assert!(of_bytes("a.jpg", b"\xFF\xD8\xFF\xE0 no picture", Media::Jpeg).is_none());
    }

    #[test]
    fn of_a_raw_file_the_largest_good_picture_goes() {
        let large = photo(1920, 1280);
        for (name, bytes) in raws(&large) {
            let found = of_bytes(&format!("a.{name}"), &bytes, Media::Raw);
            assert!(found.as_deref() == Some(&large[..]), "{name}");
        }
        for (name, bytes) in raws(&photo(640, 480)) {
            assert_eq!(of_bytes(&format!("a.{name}"), &bytes, Media::Raw), None, "{name}: too small to be shown");
        }
    }

    #[test]
    fn small_photos_and_other_formats_go_as_they_are() {
        assert!(is_possible(Media::Jpeg, SMALL + 1) && !is_possible(Media::Jpeg, SMALL));
        assert!(!is_possible(Media::Heif, 1 << 30) && is_possible(Media::Raw, 10));
    }
}
