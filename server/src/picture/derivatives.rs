//! Preview and thumbnails, made in one pass: each from the next larger one, the preview from the decoded pixels.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use super::Pixels;

/// Longer side of a preview at most, in pixels.
pub const PREVIEW_SIDE: u32 = 2048;
/// Longer side of a thumbnail at most, in pixels.
pub const THUMB_SIDE: u32 = 480;
/// Longer side of a small thumbnail at most, in pixels: two for each of a tile's on a phone.
pub const SMALL_SIDE: u32 = 320;

const PREVIEW_QUALITY: u8 = 85;
/// Counting the letters of a whole preview first makes it 4 % smaller and takes as long as writing it, 16 ms that every
/// guest would wait.
const PREVIEW_TABLES: Tables = Tables::Standard;
const THUMB_QUALITY: u8 = 60;
/// Ten of them may be a phone's first screen, which has to come through a thin line; with two pixels for each that one
/// sees, less of what is left out shows.
const SMALL_QUALITY: u8 = 52;

/// Huffman tables of a JPEG.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tables {
    Standard,
    /// Made for the picture.
    Own,
}

/// The pictures that galleries show, as JPEG, upright, without any metadata.
#[derive(Debug, Clone)]
pub struct Derivatives {
    /// Longer side at most [`PREVIEW_SIDE`].
    pub preview: Vec<u8>,
    /// Longer side at most [`THUMB_SIDE`].
    pub thumb: Vec<u8>,
    /// Longer side at most [`SMALL_SIDE`].
    pub small: Vec<u8>,
}

/// A derivative could not be made. Pixels are checked when they are built, so this points at a fault, not at a photo.
#[derive(Debug, thiserror::Error)]
pub enum DerivativeError {
    /// The pixels could not be resized.
    #[error("resizing failed")]
    Resize(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The result could not be encoded.
    #[error("encoding failed")]
    Encode(#[from] jpeg_encoder::EncodingError),
}

/// Makes preview and thumbnails. None is ever larger than the pixels it is made from.
///
/// # Errors
/// See [`DerivativeError`].
pub fn derivatives(pixels: &Pixels) -> Result<Derivatives, DerivativeError> {
    let mut resizer = Resizer::new();
    let shrunk = shrink_to(&mut resizer, pixels, PREVIEW_SIDE)?;
    let preview = shrunk.as_ref().unwrap_or(pixels);
    let shrunk = shrink_to(&mut resizer, preview, THUMB_SIDE)?;
    let thumb = shrunk.as_ref().unwrap_or(preview);
    Ok(Derivatives {
        preview: encode(preview, PREVIEW_QUALITY, PREVIEW_TABLES)?,
        thumb: encode(thumb, THUMB_QUALITY, Tables::Own)?,
        small: small_of(thumb)?,
    })
}

/// The small thumbnail of what a thumbnail shows.
///
/// # Errors
/// See [`DerivativeError`].
pub(crate) fn small_of(thumb: &Pixels) -> Result<Vec<u8>, DerivativeError> {
    let shrunk = shrink_to(&mut Resizer::new(), thumb, SMALL_SIDE)?;
    encode(shrunk.as_ref().unwrap_or(thumb), SMALL_QUALITY, Tables::Own)
}

/// A JPEG whose longer side is at most `side`.
///
/// # Errors
/// See [`DerivativeError`].
pub(crate) fn jpeg_of(pixels: &Pixels, side: u32) -> Result<Vec<u8>, DerivativeError> {
    let shrunk = shrink_to(&mut Resizer::new(), pixels, side)?;
    encode(shrunk.as_ref().unwrap_or(pixels), PREVIEW_QUALITY, PREVIEW_TABLES)
}

/// `None` when the pixels are small enough as they are.
fn shrink_to(resizer: &mut Resizer, pixels: &Pixels, side: u32) -> Result<Option<Pixels>, DerivativeError> {
    let long = pixels.long_side();
    if long <= side {
        return Ok(None);
    }
    let fit = |length: u32| (u64::from(length) * u64::from(side)).div_ceil(long.into()).max(1) as u32;
    let (width, height) = (fit(pixels.width()), fit(pixels.height()));
    let fault = |e: Box<dyn std::error::Error + Send + Sync>| DerivativeError::Resize(e);
    let source = ImageRef::new(pixels.width(), pixels.height(), pixels.rgb(), PixelType::U8x3)
        .map_err(|e| fault(Box::new(e)))?;
    let mut target = Image::new(width, height, PixelType::U8x3);
    // Catmull-Rom keeps edges as crisp as Lanczos at two thirds of the taps.
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
    resizer.resize(&source, &mut target, &options).map_err(|e| fault(Box::new(e)))?;
    Ok(Pixels::new(width, height, target.into_vec()))
}

fn encode(pixels: &Pixels, quality: u8, tables: Tables) -> Result<Vec<u8>, DerivativeError> {
    let mut jpeg = Vec::with_capacity(pixels.rgb().len() / 8);
    let mut encoder = Encoder::new(&mut jpeg, quality);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.set_optimized_huffman_tables(tables == Tables::Own);
    // Both sides come from a picture whose longer side is at most 2048, or from JPEG, which has 16 bits as well.
    let (width, height) = (pixels.width() as u16, pixels.height() as u16);
    encoder.encode(pixels.rgb(), width, height, ColorType::Rgb)?;
    Ok(jpeg)
}
