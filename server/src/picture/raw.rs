//! RAW: the largest JPEG that the camera put into the file beside its sensor's data. Every camera does, for its own
//! screen; it is what the photographer saw.
//!
//! The file is read in pieces and never held: it may have a hundred megabytes.

use std::io::{BufRead, Read, Seek, SeekFrom};

use findme_common::media::Media;
use jpeg_decoder::Decoder;

use super::metadata::{self, Metadata};
use super::{Limits, Picture, PictureError, jpeg};

/// How a JPEG begins.
const BEGINNING: &[u8] = &[0xFF, 0xD8, 0xFF];
/// Beginnings that are looked at; a sensor's data holds some by chance.
const MOST: usize = 400;
/// A preview whose longer side is shorter than this shows nobody.
const LEAST_SIDE: u32 = 600;
/// Bytes of a file in which its fields are looked for.
const HEAD: u64 = 2 << 20;
/// Bytes read at a time.
const PIECE: usize = 1 << 20;

/// Whether a TIFF is what a camera wrote: only cameras add their maker's own notes, and DNG says so itself.
pub(super) fn is_raw(reader: &mut (impl BufRead + Seek)) -> std::io::Result<bool> {
    let exif = metadata::parse(head(reader)?);
    let dng = exif::Tag(exif::Context::Tiff, 0xC612);
    let has = |exif: &exif::Exif, tag| exif.get_field(tag, exif::In::PRIMARY).is_some();
    Ok(exif.is_some_and(|exif| has(&exif, exif::Tag::MakerNote) || has(&exif, dng)))
}

/// The beginning of a file, where RAW formats have their fields. Leaves the reader at the beginning.
fn head(reader: &mut (impl BufRead + Seek)) -> std::io::Result<Vec<u8>> {
    reader.rewind()?;
    let mut head = Vec::new();
    reader.by_ref().take(HEAD).read_to_end(&mut head)?;
    reader.rewind()?;
    Ok(head)
}

/// Decodes the embedded picture.
pub(super) fn decode(mut reader: impl BufRead + Seek, limits: &Limits) -> Result<Picture, PictureError> {
    let own = Metadata::read(Some(head(&mut reader)?));
    let mut best: Option<(u64, u64)> = None;
    for at in beginnings(&mut reader)? {
        reader.seek(SeekFrom::Start(at))?;
        let mut decoder = Decoder::new(&mut reader);
        // Lossless sensor data begins in the same way and is refused here.
        let Some(info) = decoder.read_info().ok().and_then(|()| decoder.info()) else { continue };
        let (width, height) = (u32::from(info.width), u32::from(info.height));
        let pixels = u64::from(width) * u64::from(height);
        if width.max(height) >= LEAST_SIDE && best.is_none_or(|(most, _)| pixels > most) {
            best = Some((pixels, at));
        }
    }
    let (_, at) = best.ok_or(PictureError::Unsupported(Media::Raw))?;
    reader.seek(SeekFrom::Start(at))?;
    jpeg::decode(Inside { reader, start: at }, limits, Some(own))
}

/// Where JPEGs seem to begin.
fn beginnings(reader: &mut (impl BufRead + Seek)) -> std::io::Result<Vec<u64>> {
    reader.rewind()?;
    let (mut found, mut piece, mut start) = (Vec::new(), Vec::with_capacity(PIECE), 0_u64);
    loop {
        let kept = piece.len();
        if reader.by_ref().take((PIECE - kept) as u64).read_to_end(&mut piece)? == 0 {
            return Ok(found);
        }
        found.extend(memchr::memmem::find_iter(&piece, BEGINNING).map(|at| start + at as u64));
        if found.len() >= MOST {
            found.truncate(MOST);
            return Ok(found);
        }
        // A beginning may lie across two pieces; one that was seen whole is not seen again.
        let keep = piece.len().min(BEGINNING.len() - 1);
        start += (piece.len() - keep) as u64;
        piece.drain(..piece.len() - keep);
    }
}

/// A part of a file, from `start` on, whose own beginning is 0.
struct Inside<R> {
    reader: R,
    start: u64,
}

impl<R: Read> Read for Inside<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.reader.read(buffer)
    }
}

impl<R: BufRead> BufRead for Inside<R> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.reader.consume(amount);
    }
}

impl<R: Seek> Seek for Inside<R> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => SeekFrom::Start(self.start.saturating_add(at)),
            other => other,
        };
        Ok(self.reader.seek(to)?.saturating_sub(self.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn jpeg(side: u16) -> Vec<u8> {
        let mut jpeg = Vec::new();
        let rgb = [200, 90, 30].repeat(usize::from(side) * usize::from(side));
        jpeg_encoder::Encoder::new(&mut jpeg, 90).encode(&rgb, side, side, jpeg_encoder::ColorType::Rgb).unwrap();
        jpeg
    }

    #[test]
    fn the_largest_picture_in_a_file_is_taken_wherever_it_lies() {
        // The larger one lies across two pieces, and chance wrote a beginning before it.
        let mut file = vec![7; PIECE - 1];
        file.splice(100..103, BEGINNING.iter().copied());
        file.splice(5000..5000, jpeg(160));
        file.truncate(PIECE - 1);
        file.extend(jpeg(640));
        file.extend(vec![1; 3000]);
        let picture = decode(Cursor::new(&file), &Limits::default()).unwrap();
        assert_eq!((picture.source_width, picture.source_height), (640, 640));
        let none = decode(Cursor::new([vec![7; 300], jpeg(160)].concat()), &Limits::default());
        assert!(matches!(none, Err(PictureError::Unsupported(Media::Raw))), "a thumbnail shows nobody: {none:?}");
    }
}
