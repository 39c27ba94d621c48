//! What goes wrong at an event, made on purpose: each of these spoils a photo in one way and in a stated measure.

use crate::face::Rect;
use crate::picture::{Pixels, shrink};

/// One way to spoil a photo.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Harm {
    /// Nothing: what the others are compared with.
    None,
    /// Out of focus: three box blurs of together this standard deviation, in parts of the face's height.
    Blur(f32),
    /// Light from behind: this share of the light is left, under a veil.
    Backlight(f32),
    /// A dark hall: grain of this standard deviation, in steps of 255.
    Noise(f32),
    /// The lower half of the face covered, as by a mask.
    Mask,
    /// A dark band over the eyes.
    Glasses,
    /// Far away: shrunk until the face is this many pixels high.
    Height(f32),
}

impl Harm {
    pub(super) const ALL: [Self; 12] = [
        Self::None,
        Self::Blur(0.015),
        Self::Blur(0.03),
        Self::Backlight(0.3),
        Self::Backlight(0.12),
        Self::Noise(20.0),
        Self::Noise(45.0),
        Self::Mask,
        Self::Glasses,
        Self::Height(48.0),
        Self::Height(32.0),
        Self::Height(26.0),
    ];

    pub(super) fn name(self) -> String {
        match self {
            Self::None => "as they are".to_owned(),
            Self::Blur(part) => format!("blur, {:.1} % of the face", part * 100.0),
            Self::Backlight(left) => format!("backlight, {:.0} % of the light", left * 100.0),
            Self::Noise(steps) => format!("noise, {steps:.0} of 255"),
            Self::Mask => "lower half covered".to_owned(),
            Self::Glasses => "eyes covered".to_owned(),
            Self::Height(pixels) => format!("faces {pixels:.0} px high"),
        }
    }

    /// Spoils a photo whose face is `face`, in its pixels; `None` where it cannot be, because the face is smaller.
    pub(super) fn apply(self, pixels: &Pixels, face: &Rect) -> Option<Pixels> {
        let (width, height) = (pixels.width(), pixels.height());
        let map = |value: &dyn Fn(u8) -> u8| {
            Pixels::new(width, height, pixels.rgb().iter().map(|&byte| value(byte)).collect())
        };
        match self {
            Self::None => Some(pixels.clone()),
            Self::Blur(part) => Some(blur(pixels, part * face.height)),
            // Light adds up linearly, bytes do not: 2.2 is close enough to sRGB's curve.
            Self::Backlight(left) => map(&|byte| {
                let light = (f32::from(byte) / 255.0).powf(2.2) * left + 0.01;
                (255.0 * light.powf(1.0 / 2.2)) as u8
            }),
            Self::Noise(deviation) => Some(noise(pixels, deviation)),
            Self::Mask => Some(cover(pixels, face, 0.55, 1.0)),
            Self::Glasses => Some(cover(pixels, face, 0.25, 0.5)),
            Self::Height(wanted) => {
                let scale = wanted / face.height;
                let fit = |length: u32| ((length as f32 * scale).round() as u32).max(1);
                (scale < 1.0).then(|| shrink::to_size(pixels, fit(width), fit(height)))
            }
        }
    }
}

/// Three box blurs, which together are close to a Gaussian of this standard deviation.
fn blur(pixels: &Pixels, deviation: f32) -> Pixels {
    // The variance of a box of width w is (w² − 1) / 12; three of them add up.
    let radius = (((4.0 * deviation * deviation + 1.0).sqrt() - 1.0) / 2.0).round().max(0.0) as usize;
    let (width, height) = (pixels.width() as usize, pixels.height() as usize);
    let mut rgb = pixels.rgb().to_vec();
    for _ in 0..3 {
        for channel in 0..3 {
            (0..height).for_each(|y| run(&mut rgb, y * width * 3 + channel, 3, width, radius));
            (0..width).for_each(|x| run(&mut rgb, x * 3 + channel, width * 3, height, radius));
        }
    }
    Pixels::new(pixels.width(), pixels.height(), rgb).unwrap_or_else(|| pixels.clone())
}

/// Blurs one line of one channel; the border goes on outside.
fn run(rgb: &mut [u8], start: usize, step: usize, length: usize, radius: usize) {
    let line: Vec<u32> = (0..length).map(|n| rgb[start + n * step].into()).collect();
    let at = |n: isize| line[n.clamp(0, length as isize - 1) as usize];
    let reach = radius as isize;
    let mut sum: u32 = (-reach..=reach).map(at).sum();
    for n in 0..length as isize {
        rgb[start + n as usize * step] = (sum / (2 * radius as u32 + 1)) as u8;
        sum = sum + at(n + reach + 1) - at(n - reach);
    }
}

/// Grain, the same for every photo of a size: twelve even draws are close to a normal one.
fn noise(pixels: &Pixels, deviation: f32) -> Pixels {
    let mut state = 7_u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let mut grain = || (0..12).map(|_| draw()).sum::<f32>() - 6.0;
    let rgb = pixels.rgb().iter().map(|&byte| (f32::from(byte) + deviation * grain()) as u8).collect();
    Pixels::new(pixels.width(), pixels.height(), rgb).unwrap_or_else(|| pixels.clone())
}

/// Covers a part of the face's height with one dark colour.
fn cover(pixels: &Pixels, face: &Rect, from: f32, to: f32) -> Pixels {
    let (width, mut rgb) = (pixels.width() as usize, pixels.rgb().to_vec());
    let span =
        |start: f32, end: f32, length: u32| start.max(0.0) as usize..(end.max(0.0) as usize).min(length as usize);
    for y in span(face.y + from * face.height, face.y + to * face.height, pixels.height()) {
        for x in span(face.x, face.x + face.width, pixels.width()) {
            rgb[(y * width + x) * 3..][..3].copy_from_slice(&[45, 50, 60]);
        }
    }
    Pixels::new(pixels.width(), pixels.height(), rgb).unwrap_or_else(|| pixels.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACE: Rect = Rect { x: 20.0, y: 10.0, width: 40.0, height: 60.0 };

    fn stripes() -> Pixels {
        let rgb =
            (0..80 * 100).flat_map(|n: u32| if (n % 80 / 4).is_multiple_of(2) { [40; 3] } else { [220; 3] }).collect();
        Pixels::new(80, 100, rgb).unwrap()
    }

    fn spread(pixels: &Pixels) -> f64 {
        let values: Vec<f64> = pixels.rgb().iter().map(|&byte| byte.into()).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
    }

    #[test]
    fn each_harm_does_what_it_says() {
        let whole = stripes();
        let of = |harm: Harm| harm.apply(&whole, &FACE).unwrap();
        assert_eq!(of(Harm::None), whole);
        assert!(
            spread(&of(Harm::Blur(0.06))) < spread(&of(Harm::Blur(0.03)))
                && spread(&of(Harm::Blur(0.03))) < spread(&whole)
        );
        let mean = |pixels: &Pixels| pixels.rgb().iter().map(|&byte| f64::from(byte)).sum::<f64>();
        assert!(
            mean(&of(Harm::Backlight(0.12))) < mean(&of(Harm::Backlight(0.3)))
                && mean(&of(Harm::Backlight(0.3))) < mean(&whole)
        );
        assert!(spread(&of(Harm::Noise(20.0))) > spread(&whole) - 5.0 && of(Harm::Noise(20.0)) != whole);
        let covered = of(Harm::Mask);
        assert_eq!((covered.at(40, 60), covered.at(40, 20)), (Some(&[45, 50, 60]), whole.at(40, 20)));
        let small = of(Harm::Height(24.0));
        assert_eq!((small.width(), small.height()), (32, 40));
        assert!(Harm::Height(61.0).apply(&whole, &FACE).is_none(), "nothing is made larger");
    }

    #[test]
    fn a_flat_picture_stays_flat_under_blur() {
        let flat = Pixels::new(9, 7, vec![77; 189]).unwrap();
        assert_eq!(Harm::Blur(0.5).apply(&flat, &FACE).unwrap(), flat);
    }
}
