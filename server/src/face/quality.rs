//! How good a face is for comparing: its size, its sharpness, how far it is turned aside.
//!
//! Poor faces resemble each other more than good ones do, so more is asked of them (see [`super::Thresholds`]).

use super::align::Crop;
use super::detect::Detection;

/// Lower than this many pixels, a face says less about who it is.
const SMALL: f32 = 32.0;
/// Below this a face is a smear.
const BLURRED: f32 = 0.22;
/// Beyond this one eye is hardly to be seen.
const ASIDE: f32 = 0.75;

/// What is known about a face beside who it resembles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    /// Height in pixels of the file.
    pub pixels: f32,
    /// 0 (a smear) to 1 (crisp), of the aligned face.
    pub sharpness: f32,
    /// 0 (looks into the camera) to 1 (seen from the side), by the landmarks.
    pub turned: f32,
}

impl Quality {
    /// Of a face that was found in pixels of which each stands for `reduced × reduced` of the file.
    pub(super) fn of(detection: &Detection, crop: &Crop, reduced: u32) -> Self {
        Self {
            pixels: detection.rect.height * reduced as f32,
            sharpness: sharpness(crop),
            turned: turned(&detection.landmarks),
        }
    }

    /// Whether it takes a greater likeness to be sure.
    pub fn is_poor(&self) -> bool {
        self.pixels < SMALL || self.sharpness < BLURRED || self.turned > ASIDE
    }
}

/// How far the nose lies off the middle between the eyes, along the line through them: at one eye's height it is 1.
fn turned([left, right, nose, ..]: &[[f32; 2]; 5]) -> f32 {
    let (dx, dy) = (right[0] - left[0], right[1] - left[1]);
    let along = (nose[0] - (left[0] + right[0]) / 2.0) * dx + (nose[1] - (left[1] + right[1]) / 2.0) * dy;
    let aside = 2.0 * along.abs() / (dx * dx + dy * dy);
    // Eyes in one place are those of a profile.
    if aside.is_finite() { aside.min(1.0) } else { 1.0 }
}

/// The share of fine detail: the mean square of the Laplacian against the variance of the brightness, which a weak light
/// scales alike.
fn sharpness(crop: &Crop) -> f32 {
    let size = crop.size as usize;
    let grey: Vec<f32> = crop
        .rgb
        .as_chunks::<3>()
        .0
        .iter()
        .map(|&[r, g, b]| 0.299 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b))
        .collect();
    // The middle: hair, collars and what is behind are sharp or not for themselves.
    let (from, to) = (size / 5, size - size / 5);
    let (mut sum, mut square, mut detail, mut count) = (0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64);
    for y in from..to {
        for x in from..to {
            let at = |x: usize, y: usize| grey[y * size + x];
            let value = at(x, y);
            let laplacian = at(x - 1, y) + at(x + 1, y) + at(x, y - 1) + at(x, y + 1) - 4.0 * value;
            sum += f64::from(value);
            square += f64::from(value).powi(2);
            detail += f64::from(laplacian).powi(2);
            count += 1.0;
        }
    }
    let variance = square / count - (sum / count).powi(2);
    // 0.08 is what crisp faces have, 0.002 those that are out of focus by 3 % of their height; a flat crop has no detail.
    let share = if variance > 1.0 { detail / count / variance } else { 0.0 };
    (12.5 * share).sqrt().min(1.0) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::Rect;

    fn crop(value: impl Fn(f32, f32) -> f32) -> Crop {
        let size = 128_u32;
        let pixel = |n: u32| [value((n % size) as f32, (n / size) as f32) as u8; 3];
        Crop { size, rgb: (0..size * size).flat_map(pixel).collect() }
    }

    #[test]
    fn a_smear_is_less_sharp_than_a_crisp_face_in_any_light() {
        let waves = |period: f32, contrast: f32| {
            crop(move |x, y| {
                128.0
                    + contrast * (x * std::f32::consts::TAU / period).sin() * (y * std::f32::consts::TAU / period).cos()
            })
        };
        let (crisp, soft) = (sharpness(&waves(12.0, 100.0)), sharpness(&waves(60.0, 100.0)));
        assert!(crisp > 2.0 * soft, "{crisp} {soft}");
        assert!((sharpness(&waves(40.0, 100.0)) - sharpness(&waves(40.0, 60.0))).abs() < 0.1, "light does not count");
        assert_eq!(sharpness(&crop(|_, _| 90.0)), 0.0);
    }

    #[test]
    fn a_nose_at_an_eye_is_a_profile() {
        let face = |nose: f32| [[30.0, 40.0], [70.0, 40.0], [nose, 60.0], [35.0, 80.0], [66.0, 79.0]];
        assert_eq!(turned(&face(50.0)), 0.0);
        assert_eq!(turned(&face(60.0)), 0.5);
        assert_eq!((turned(&face(20.0)), turned(&[[3.0; 2]; 5])), (1.0, 1.0));
    }

    #[test]
    fn pixels_are_those_of_the_file() {
        let rect = Rect { x: 0.0, y: 0.0, width: 10.0, height: 15.0 };
        let landmarks = [[30.0, 40.0], [70.0, 40.0], [50.0, 60.0], [35.0, 80.0], [66.0, 79.0]];
        let detection = Detection { rect, score: 0.9, landmarks };
        let sharp = crop(|x, y| if (x + y) as u32 % 4 < 2 { 50.0 } else { 200.0 });
        let quality = Quality::of(&detection, &sharp, 2);
        assert_eq!(quality.pixels, 30.0);
        assert!(quality.is_poor() && !Quality::of(&detection, &sharp, 4).is_poor());
    }
}
