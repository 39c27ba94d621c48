//! Colours as a profile describes them, brought to sRGB: what browsers, previews and the face models take for granted.
//!
//! A profile that cannot be read is no profile: it never fails a photo.

use std::sync::Arc;

use moxcms::{ColorProfile, DataColorSpace, Layout, Transform8BitExecutor, TransformOptions};

/// Bytes of a profile; printing houses' reach two megabytes.
const MAX_PROFILE: usize = 4 << 20;
/// Pixels that are converted at a time.
const AT_ONCE: usize = 1 << 14;
/// Profiles that move no colour by more than this are sRGB under another name.
const SAME: u8 = 3;

fn transform(profile: Option<&[u8]>, space: DataColorSpace, layout: Layout) -> Option<Arc<Transform8BitExecutor>> {
    let profile = profile.filter(|bytes| bytes.len() <= MAX_PROFILE)?;
    let profile = ColorProfile::new_from_slice(profile).ok().filter(|profile| profile.color_space == space)?;
    profile.create_transform_8bit(layout, &ColorProfile::new_srgb(), Layout::Rgb, TransformOptions::default()).ok()
}

/// Converts RGB pixels of a profile in place.
pub(super) fn to_srgb(profile: Option<&[u8]>, rgb: &mut [u8]) {
    let Some(transform) = transform(profile, DataColorSpace::Rgb, Layout::Rgb) else { return };
    if is_nothing(&*transform) {
        return;
    }
    let mut part = vec![0; AT_ONCE * 3];
    for pixels in rgb.chunks_mut(AT_ONCE * 3) {
        let converted = &mut part[..pixels.len()];
        if transform.transform(pixels, converted).is_err() {
            return;
        }
        pixels.copy_from_slice(converted);
    }
}

/// Converts CMYK pixels (0 is no ink) of a profile; `None` without a profile that says how.
pub(super) fn cmyk_to_srgb(profile: Option<&[u8]>, cmyk: &[u8]) -> Option<Vec<u8>> {
    let transform = transform(profile, DataColorSpace::Cmyk, Layout::Rgba)?;
    let mut rgb = vec![0; cmyk.len() / 4 * 3];
    for (from, to) in cmyk.chunks(AT_ONCE * 4).zip(rgb.chunks_mut(AT_ONCE * 3)) {
        transform.transform(from, to).ok()?;
    }
    Some(rgb)
}

/// Whether a transformation leaves all colours where they are: most profiles are sRGB, and converting costs a second
/// pass over the picture.
fn is_nothing(transform: &Transform8BitExecutor) -> bool {
    let steps = || (0..=255_u8).step_by(51);
    let samples: Vec<u8> =
        steps().flat_map(|r| steps().flat_map(move |g| steps().flat_map(move |b| [r, g, b]))).collect();
    let mut converted = vec![0; samples.len()];
    let done = transform.transform(&samples, &mut converted).is_ok();
    done && samples.iter().zip(&converted).all(|(a, b)| a.abs_diff(*b) <= SAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_profile_moves_colours_and_srgb_does_not() {
        let green = [60, 200, 90];
        let through = |profile: ColorProfile| {
            let mut rgb = green.repeat(40_000);
            to_srgb(Some(&profile.encode().unwrap()), &mut rgb);
            assert!(rgb.chunks(3).all(|pixel| pixel == &rgb[..3]), "all pixels alike");
            [rgb[0], rgb[1], rgb[2]]
        };
        assert_eq!(through(ColorProfile::new_srgb()), green);
        let [red, stronger, _] = through(ColorProfile::new_display_p3());
        assert!(red < 60 && stronger >= 200, "the same numbers mean a stronger green there: {red} {stronger}");
    }

    #[test]
    fn what_is_no_profile_changes_nothing() {
        for profile in [None, Some(&b"not a profile"[..]), Some(&[0; 200][..])] {
            let mut rgb = vec![1, 2, 3, 250, 251, 252];
            to_srgb(profile, &mut rgb);
            assert_eq!(rgb, [1, 2, 3, 250, 251, 252]);
            assert!(cmyk_to_srgb(profile, &[0; 8]).is_none());
        }
        let grey = ColorProfile::new_gray_with_gamma(2.2).encode().unwrap();
        let mut rgb = vec![9; 30];
        to_srgb(Some(&grey), &mut rgb);
        assert_eq!(rgb, [9; 30], "a profile of another kind of picture");
    }
}
