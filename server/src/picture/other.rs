//! PNG, WebP and TIFF, decoded whole within the limits and then shrunk by the same rule as JPEG.

use std::io::{BufRead, Seek};

use findme_common::media::Media;
use image::error::{DecodingError, ImageError};
use image::{DynamicImage, ImageDecoder, ImageReader};

use super::metadata::Metadata;
use super::{Limits, Orientation, Picture, PictureError, Pixels, check_pixels, colour, reduction, shrink, upright};

pub(super) fn decode(reader: impl BufRead + Seek, media: Media, limits: &Limits) -> Result<Picture, PictureError> {
    let format = match media {
        Media::Webp => image::ImageFormat::WebP,
        Media::Tiff => image::ImageFormat::Tiff,
        _ => image::ImageFormat::Png,
    };
    let refusal = |error| refusal(error, media);
    let mut decoder = ImageReader::with_format(reader, format).into_decoder().map_err(refusal)?;
    let (width, height) = decoder.dimensions();
    check_pixels(width, height, limits)?;
    // The decoded picture and its 8-bit copy are there at the same time.
    let rgb = u64::from(width) * u64::from(height) * 3;
    if decoder.total_bytes().saturating_add(rgb) > limits.max_bytes {
        return Err(PictureError::TooLarge { pixels: u64::from(width) * u64::from(height) });
    }
    let mut allowed = image::Limits::no_limits();
    allowed.max_alloc = Some(limits.max_bytes);
    decoder.set_limits(allowed).map_err(refusal)?;
    let mut metadata = Metadata::read(decoder.exif_metadata().ok().flatten());
    if media == Media::Tiff {
        // A TIFF carries the tag itself, not in a block of its own.
        metadata.orientation = Orientation::from_exif(decoder.orientation().map_or(1, |o| o.to_exif()).into());
    }
    let profile = decoder.icc_profile().ok().flatten();
    let decoded = DynamicImage::from_decoder(decoder).map_err(refusal)?;
    let pixels = Pixels::new(width, height, decoded.into_rgb8().into_raw()).ok_or(PictureError::Damaged)?;
    let by = reduction(width, height);
    let mut pixels = match by {
        1 => pixels,
        _ => shrink::to_size(&pixels, width.div_ceil(by), height.div_ceil(by)).reduced_by(by),
    };
    colour::to_srgb(profile.as_deref(), &mut pixels.rgb);
    Ok(upright(pixels, (width, height), metadata))
}

fn refusal(error: ImageError, media: Media) -> PictureError {
    match error {
        ImageError::IoError(e) if e.kind() == std::io::ErrorKind::TimedOut => PictureError::TooSlow,
        ImageError::Limits(_) => PictureError::TooLarge { pixels: 0 },
        ImageError::Unsupported(_) => PictureError::Unsupported(media),
        ImageError::IoError(e) if e.kind() != std::io::ErrorKind::UnexpectedEof => PictureError::Io(e),
        ImageError::Decoding(e) => decoding(e),
        _ => PictureError::Damaged,
    }
}

fn decoding(_: DecodingError) -> PictureError {
    PictureError::Damaged
}
