//! HEIC, HEIF and AVIF, by the system's libheif (cargo feature `heif`).
//!
//! The library turns the picture upright itself, as the container says; the EXIF orientation beside it tells of the same
//! turn and is not applied again.

use std::io::Read;

use findme_common::media::Media;
use libheif_rs::{ColorSpace, HeifContext, HeifError, HeifErrorCode, ImageHandle, ItemId, LibHeif, RgbChroma};

use super::metadata::Metadata;
use super::{Limits, Orientation, Picture, PictureError, Pixels, check_pixels, colour, reduction, shrink, upright};

pub(super) fn decode(mut reader: impl Read, media: Media, limits: &Limits) -> Result<Picture, PictureError> {
    let mut bytes = Vec::new();
    reader.by_ref().take(limits.max_bytes).read_to_end(&mut bytes).map_err(|error| match error.kind() {
        std::io::ErrorKind::TimedOut => PictureError::TooSlow,
        _ => PictureError::Io(error),
    })?;
    let refusal = |error| refusal(&error, media);
    let mut context = HeifContext::read_from_bytes(&bytes).map_err(refusal)?;
    // Photos are worked on in parallel, so more threads a photo would only fight.
    context.set_max_decoding_threads(0);
    let handle = context.primary_image_handle().map_err(refusal)?;
    let (width, height) = (handle.width(), handle.height());
    check_pixels(width, height, limits)?;
    // Planes of the codec, the library's RGB and ours are there at the same time.
    if u64::from(width) * u64::from(height) * 9 > limits.max_bytes {
        return Err(PictureError::TooLarge { pixels: u64::from(width) * u64::from(height) });
    }
    let profile = handle.color_profile_raw().map(|profile| profile.data);
    let metadata = Metadata { orientation: Orientation::Upright, ..Metadata::read(exif(&handle)) };
    let image = LibHeif::new().decode(&handle, ColorSpace::Rgb(RgbChroma::Rgb), None).map_err(refusal)?;
    let planes = image.planes();
    let rgb = planes.interleaved.ok_or(PictureError::Damaged)?;
    let row = rgb.width as usize * 3;
    let rows = rgb.data.chunks(rgb.stride.max(row).max(1)).take(rgb.height as usize);
    let packed: Vec<u8> = rows.filter_map(|line| line.get(..row)).flatten().copied().collect();
    let (width, height) = (rgb.width, rgb.height);
    let pixels = Pixels::new(width, height, packed).ok_or(PictureError::Damaged)?;
    let by = reduction(width, height);
    let mut pixels = match by {
        1 => pixels,
        _ => shrink::to_size(&pixels, width.div_ceil(by), height.div_ceil(by)).reduced_by(by),
    };
    colour::to_srgb(profile.as_deref(), &mut pixels.rgb);
    Ok(upright(pixels, (width, height), metadata))
}

/// The EXIF block of a picture, without the four bytes before it that say where it begins.
fn exif(handle: &ImageHandle) -> Option<Vec<u8>> {
    let mut ids: [ItemId; 1] = [0];
    (handle.metadata_block_ids(&mut ids, b"Exif") > 0).then_some(())?;
    let block = handle.metadata(ids[0]).ok()?;
    let (begin, rest) = block.split_first_chunk::<4>()?;
    rest.get(u32::from_be_bytes(*begin) as usize..).map(<[u8]>::to_vec)
}

fn refusal(error: &HeifError, media: Media) -> PictureError {
    match error.code {
        // Also a codec that this machine's library was built without.
        HeifErrorCode::UnsupportedFileType | HeifErrorCode::UnsupportedFeature | HeifErrorCode::DecoderPluginError => {
            PictureError::Unsupported(media)
        }
        _ => PictureError::Damaged,
    }
}
