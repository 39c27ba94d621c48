//! The picture that a face service is sent: the preview that guests see, within what services take.

use bytes::Bytes;

use crate::picture::{self, DerivativeError, PREVIEW_SIDE, Pixels};

/// Bytes that services take (Rekognition: 5 MB of the raw picture).
pub(super) const MOST_BYTES: usize = 5_000_000;

/// Pixels that either side must have (Rekognition: 80).
const FEWEST_PIXELS: u32 = 80;

/// The picture as it is sent: `preview`, where there is one and it fits, else made from the pixels. `None` when the
/// picture is too narrow for services to take.
///
/// # Errors
/// When it cannot be encoded, which points at a fault, not at a photo.
pub(crate) fn to_send(pixels: &Pixels, preview: Option<Vec<u8>>) -> Result<Option<Bytes>, DerivativeError> {
    let shrunk = |side: u32| side.min(pixels.long_side()) as f32 / pixels.long_side() as f32;
    let narrow = |side: u32| (pixels.width().min(pixels.height()) as f32 * shrunk(side)) < FEWEST_PIXELS as f32;
    if let Some(preview) = preview.filter(|preview| preview.len() <= MOST_BYTES && !narrow(PREVIEW_SIDE)) {
        return Ok(Some(preview.into()));
    }
    let mut side = PREVIEW_SIDE;
    while !narrow(side) {
        let jpeg = picture::jpeg_of(pixels, side)?;
        if jpeg.len() <= MOST_BYTES {
            return Ok(Some(jpeg.into()));
        }
        side = side * 3 / 4;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(width: u32, height: u32) -> Pixels {
        let mut state = 1_u32;
        let mut byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        Pixels::new(width, height, (0..width * height * 3).map(|_| byte()).collect()).unwrap()
    }

    #[test]
    fn what_is_sent_is_within_the_bounds() {
        let noisy = noise(2048, 2048);
        let small = to_send(&noisy, Some(vec![1, 2, 3])).unwrap();
        assert_eq!(small.as_deref(), Some([1, 2, 3].as_slice()), "the preview as it is");
        let made = to_send(&noisy, Some(vec![0; MOST_BYTES + 1])).unwrap().unwrap();
        assert!(made.len() <= MOST_BYTES && made.starts_with(&[0xFF, 0xD8]), "{} bytes", made.len());
        assert!(to_send(&noise(2048, 79), None).unwrap().is_none());
        assert!(to_send(&noise(2048, 80), None).unwrap().is_some());
        assert!(to_send(&noise(4096, 100), Some(vec![1])).unwrap().is_none(), "too narrow once it is shrunk");
    }
}
