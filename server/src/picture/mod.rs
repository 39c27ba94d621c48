//! From the bytes of a photo to upright RGB pixels, bounded in pixels, in memory and in what bad input can do.
//!
//! Invariant: whatever the bytes are, the answer is a [`Picture`] or a [`PictureError`]; a decoder's panic ends as
//! [`PictureError::Damaged`]. Pixels are upright: the orientation of the very stream that was decoded is applied.

mod colour;
mod derivatives;
#[cfg(feature = "heif")]
mod heif;
mod jpeg;
pub(crate) mod location;
mod metadata;
mod orientation;
mod other;
mod raw;
pub(crate) mod shrink;
mod timed;

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use findme_common::media::{Media, SNIFF_LEN};

pub use derivatives::{DerivativeError, Derivatives, PREVIEW_SIDE, SMALL_SIDE, THUMB_SIDE, derivatives};
pub(crate) use derivatives::{jpeg_of, small_of};
pub use orientation::Orientation;
use timed::Timed;

/// Decoding shrinks by 2, 4 or 8 as long as the longer side keeps at least this many pixels: enough for a preview and
/// for faces of 24 pixels in camera pictures, at half the time and a quarter of the memory of a full decode.
pub const KEEP_SIDE: u32 = 2600;

/// What decoding one picture may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Pixels that the header may announce.
    pub max_pixels: u64,
    /// Bytes that the decoder may hold at a time, by estimate from the header.
    pub max_bytes: u64,
    /// Time that reading the picture may take, all decoding in between included.
    pub max_time: Duration,
}

impl Default for Limits {
    /// The server's, see [`crate::Limits`].
    fn default() -> Self {
        crate::Limits::default().picture()
    }
}

/// Upright RGB pixels, 8 bits a channel, row by row without padding.
#[derive(Clone, PartialEq, Eq)]
pub struct Pixels {
    width: u32,
    height: u32,
    reduced: u32,
    rgb: Vec<u8>,
}

impl Pixels {
    /// Takes over pixels; `None` unless there are exactly `width × height × 3` bytes and at least one pixel.
    pub fn new(width: u32, height: u32, rgb: Vec<u8>) -> Option<Self> {
        let bytes = u64::from(width) * u64::from(height) * 3;
        (bytes > 0 && rgb.len() as u64 == bytes).then_some(Self { width, height, reduced: 1, rgb })
    }

    /// The same pixels, known to stand for `reduced × reduced` pixels of the file each.
    fn reduced_by(self, reduced: u32) -> Self {
        Self { reduced, ..self }
    }

    /// Columns.
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// The longer side in pixels.
    pub fn long_side(&self) -> u32 {
        self.width.max(self.height)
    }

    /// How many pixels of the file one of these stands for along a side: 1, 2, 4 or 8.
    pub const fn reduced(&self) -> u32 {
        self.reduced
    }

    /// Red, green and blue of every pixel, row by row.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// One pixel; `None` outside the picture.
    pub(crate) fn at(&self, x: i64, y: i64) -> Option<&[u8; 3]> {
        let inside = (0..i64::from(self.width)).contains(&x) && (0..i64::from(self.height)).contains(&y);
        self.rgb.as_chunks().0.get(inside.then(|| (y * i64::from(self.width) + x) as usize)?)
    }

    /// A pixel, its neighbour to the right and the two below; `None` where one of them is outside.
    pub(crate) fn square(&self, x: i64, y: i64) -> Option<[&[u8; 3]; 4]> {
        let (width, height) = (i64::from(self.width), i64::from(self.height));
        let inside = (0..width - 1).contains(&x) && (0..height - 1).contains(&y);
        let (upper, pixels) = (inside.then(|| (y * width + x) as usize)?, self.rgb.as_chunks().0);
        let lower = upper + self.width as usize;
        let ([a, b], [c, d]) = (pixels.get(upper..)?.first_chunk()?, pixels.get(lower..)?.first_chunk()?);
        Some([a, b, c, d])
    }

    /// A copy of the part that begins at `(x, y)`, cut off where the picture ends.
    ///
    /// # Panics
    /// When it begins outside the picture.
    pub(crate) fn part(&self, x: u32, y: u32, width: u32, height: u32) -> Self {
        assert!(x < self.width && y < self.height, "a part begins inside its picture");
        let (width, height) = (width.clamp(1, self.width - x), height.clamp(1, self.height - y));
        let stride = self.width as usize * 3;
        let rows = self.rgb.chunks_exact(stride).skip(y as usize).take(height as usize);
        let mut rgb = Vec::with_capacity(width as usize * height as usize * 3);
        rows.for_each(|row| rgb.extend_from_slice(&row[x as usize * 3..][..width as usize * 3]));
        Self { width, height, reduced: self.reduced, rgb }
    }
}

impl std::fmt::Debug for Pixels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pixels({} × {}, reduced {})", self.width, self.height, self.reduced)
    }
}

/// A decoded photo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Upright, scaled down where the file has more than is needed (see [`KEEP_SIDE`]).
    pub pixels: Pixels,
    /// Columns of the upright picture at full size.
    pub source_width: u32,
    /// Rows of the upright picture at full size.
    pub source_height: u32,
    /// EXIF `DateTimeOriginal` as the camera wrote it, never converted: `2026-06-20T15:00:04`, with `.25` where it wrote
    /// sub-seconds and `+02:00` only where it wrote an offset.
    pub taken_at: Option<String>,
}

/// Why there are no pixels. [`PictureError::reason`] is the stable word for it.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// The bytes are no picture's.
    #[error("this is not a photo")]
    NotAPicture,
    /// A picture in a format, or a variant of one, that is not decoded.
    #[error("{} is not supported", .0.content_type())]
    Unsupported(Media),
    /// The header announces more than the limits allow.
    #[error("{pixels} pixels are more than the limit")]
    TooLarge {
        /// Pixels that the header announces.
        pixels: u64,
    },
    /// Decoding takes longer than the limits allow.
    #[error("the photo takes too long to decode")]
    TooSlow,
    /// The picture breaks off or contradicts itself.
    #[error("the photo is damaged")]
    Damaged,
    /// The file could not be read; says nothing about the picture.
    #[error("the photo could not be read")]
    Io(#[from] std::io::Error),
}

impl PictureError {
    /// The stable word that surfaces show; `None` for a reading error, which is about the disk and worth a retry.
    pub const fn reason(&self) -> Option<&'static str> {
        match self {
            Self::NotAPicture => Some("not-a-photo"),
            Self::Unsupported(_) => Some("unsupported-format"),
            Self::TooLarge { .. } => Some("too-large"),
            Self::TooSlow => Some("too-slow"),
            Self::Damaged => Some("damaged"),
            Self::Io(_) => None,
        }
    }
}

/// Decodes the photo in a file.
///
/// # Errors
/// See [`PictureError`]; only [`PictureError::Io`] may pass by itself.
pub fn open(path: &Path, limits: &Limits) -> Result<Picture, PictureError> {
    decode(BufReader::with_capacity(1 << 16, File::open(path)?), limits)
}

/// Decodes a photo whose bytes are at hand, a selfie for example.
///
/// # Errors
/// See [`PictureError`].
pub fn from_bytes(bytes: &[u8], limits: &Limits) -> Result<Picture, PictureError> {
    decode(Cursor::new(bytes), limits)
}

fn decode<R: Read + Seek + std::io::BufRead>(mut reader: R, limits: &Limits) -> Result<Picture, PictureError> {
    let mut head = Vec::with_capacity(SNIFF_LEN);
    reader.by_ref().take(SNIFF_LEN as u64).read_to_end(&mut head)?;
    reader.rewind()?;
    let media = Media::sniff(&head).ok_or(PictureError::NotAPicture)?;
    let mut reader = Timed::new(reader, limits.max_time);
    // The decoders are safe Rust: a panic leaves nothing behind but their own buffers, which unwinding frees.
    catch_unwind(AssertUnwindSafe(|| match media {
        Media::Jpeg => jpeg::decode(reader, limits, None),
        // Most RAW formats are TIFF inside, with a picture for ants as their first.
        Media::Tiff if raw::is_raw(&mut reader)? => raw::decode(reader, limits),
        Media::Raw => raw::decode(reader, limits),
        Media::Png | Media::Webp | Media::Tiff => other::decode(reader, media, limits),
        #[cfg(feature = "heif")]
        Media::Heif | Media::Avif => heif::decode(reader, media, limits),
        #[cfg(not(feature = "heif"))]
        Media::Heif | Media::Avif => Err(PictureError::Unsupported(media)),
    }))
    .unwrap_or(Err(PictureError::Damaged))
}

/// How far a picture of this size is shrunk while it is decoded: the largest of 8, 4, 2 and 1 that keeps [`KEEP_SIDE`].
fn reduction(width: u32, height: u32) -> u32 {
    [8, 4, 2].into_iter().find(|by| width.max(height) / by >= KEEP_SIDE).unwrap_or(1)
}

fn check_pixels(width: u32, height: u32, limits: &Limits) -> Result<(), PictureError> {
    let pixels = u64::from(width) * u64::from(height);
    match pixels {
        0 => Err(PictureError::Damaged),
        _ if pixels > limits.max_pixels => Err(PictureError::TooLarge { pixels }),
        _ => Ok(()),
    }
}

/// Turns pixels upright and puts the picture together.
fn upright(pixels: Pixels, source: (u32, u32), metadata: metadata::Metadata) -> Picture {
    let turned = metadata.orientation.swaps_sides();
    let (source_width, source_height) = if turned { (source.1, source.0) } else { source };
    let pixels = metadata.orientation.apply(pixels);
    Picture { pixels, source_width, source_height, taken_at: metadata.taken_at }
}

#[cfg(test)]
pub(crate) mod tests;
