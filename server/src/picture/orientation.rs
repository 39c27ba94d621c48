//! The eight ways a camera may have been held, and their undoing.

use super::Pixels;

/// EXIF orientation: how the stored picture relates to the upright one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Orientation {
    /// 1: as it is.
    #[default]
    Upright,
    /// 2: mirrored left to right.
    Mirrored,
    /// 3: turned by half.
    Turned180,
    /// 4: mirrored top to bottom.
    MirroredUpsideDown,
    /// 5: mirrored along the falling diagonal.
    Transposed,
    /// 6: the upright picture comes out by a quarter turn clockwise.
    Turned90,
    /// 7: mirrored along the rising diagonal.
    Transversed,
    /// 8: the upright picture comes out by a quarter turn counter-clockwise.
    Turned270,
}

impl Orientation {
    /// From the value of the EXIF tag; anything outside 1 to 8 counts as upright, as every viewer does it.
    pub const fn from_exif(value: u32) -> Self {
        match value {
            2 => Self::Mirrored,
            3 => Self::Turned180,
            4 => Self::MirroredUpsideDown,
            5 => Self::Transposed,
            6 => Self::Turned90,
            7 => Self::Transversed,
            8 => Self::Turned270,
            _ => Self::Upright,
        }
    }

    /// Whether width and height change places.
    pub const fn swaps_sides(self) -> bool {
        matches!(self, Self::Transposed | Self::Turned90 | Self::Transversed | Self::Turned270)
    }

    /// Pixels as they were stored, turned upright.
    pub fn apply(self, pixels: Pixels) -> Pixels {
        let (width, height, reduced) = (pixels.width, pixels.height, pixels.reduced);
        let (w, h) = (width as usize, height as usize);
        let rgb = match self {
            Self::Upright => return pixels,
            // Without a change of sides: a new order of rows, a new order inside each row, or both.
            Self::Mirrored => rows(&pixels.rgb, w, |y| y, true),
            Self::Turned180 => rows(&pixels.rgb, w, |y| h - 1 - y, true),
            Self::MirroredUpsideDown => rows(&pixels.rgb, w, |y| h - 1 - y, false),
            // With it: the upright pixel (x, y) comes from row `x` and column `y`, each counted from either end.
            Self::Transposed => columns(&pixels.rgb, w, h, false, false),
            Self::Turned90 => columns(&pixels.rgb, w, h, true, false),
            Self::Transversed => columns(&pixels.rgb, w, h, true, true),
            Self::Turned270 => columns(&pixels.rgb, w, h, false, true),
        };
        let (width, height) = if self.swaps_sides() { (height, width) } else { (width, height) };
        Pixels { width, height, reduced, rgb }
    }
}

fn rows(rgb: &[u8], width: usize, from: impl Fn(usize) -> usize, mirrored: bool) -> Vec<u8> {
    let stride = width * 3;
    let mut out = vec![0; rgb.len()];
    for (y, line) in out.chunks_exact_mut(stride).enumerate() {
        let row = &rgb[from(y) * stride..][..stride];
        if mirrored {
            let pixels = line.as_chunks_mut::<3>().0.iter_mut().zip(row.as_chunks::<3>().0.iter().rev());
            pixels.for_each(|(pixel, other)| *pixel = *other);
        } else {
            line.copy_from_slice(row);
        }
    }
    out
}

/// Exchanges rows and columns; `rows_back` and `columns_back` count the source's rows and columns from the end.
fn columns(rgb: &[u8], width: usize, height: usize, rows_back: bool, columns_back: bool) -> Vec<u8> {
    // Squares of this many pixels, so that the rows read and the rows written both stay in the first-level cache.
    const TILE: usize = 32;
    let source = rgb.as_chunks::<3>().0;
    let mut out = vec![0; rgb.len()];
    let target = out.as_chunks_mut::<3>().0;
    // The source from left to right, as processors expect it: the other way round takes half as long again.
    for first in (0..width).step_by(TILE) {
        for left in (0..height).step_by(TILE) {
            for column in first..(first + TILE).min(width) {
                let y = if columns_back { width - 1 - column } else { column };
                let line = &mut target[y * height..][..height];
                for (x, pixel) in line.iter_mut().enumerate().take(left + TILE).skip(left) {
                    let row = if rows_back { height - 1 - x } else { x };
                    *pixel = source[row * width + column];
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rows of three pixels, each named by its red value: `1 2 3` over `4 5 6`.
    fn named() -> Pixels {
        Pixels::new(3, 2, (1..=6).flat_map(|n| [n, 0, 100 + n]).collect()).unwrap()
    }

    #[test]
    fn all_eight_as_the_exif_standard_draws_them() {
        let expected: [(u32, u32, [u8; 6]); 8] = [
            (3, 2, [1, 2, 3, 4, 5, 6]),
            (3, 2, [3, 2, 1, 6, 5, 4]),
            (3, 2, [6, 5, 4, 3, 2, 1]),
            (3, 2, [4, 5, 6, 1, 2, 3]),
            (2, 3, [1, 4, 2, 5, 3, 6]),
            (2, 3, [4, 1, 5, 2, 6, 3]),
            (2, 3, [6, 3, 5, 2, 4, 1]),
            (2, 3, [3, 6, 2, 5, 1, 4]),
        ];
        for (value, (width, height, reds)) in (1..).zip(expected) {
            let upright = Orientation::from_exif(value).apply(named());
            assert_eq!((upright.width, upright.height), (width, height), "orientation {value}");
            let seen: Vec<u8> = upright.rgb.iter().step_by(3).copied().collect();
            assert_eq!(seen, reds, "orientation {value}");
            assert!(upright.rgb.as_chunks::<3>().0.iter().all(|p| p[2] == p[0] + 100), "channels stay together");
        }
    }

    #[test]
    fn pictures_larger_than_a_tile_are_turned_whole() {
        let (w, h) = (70_u32, 45_u32);
        let rgb = (0..w * h).flat_map(|n| [(n % 251) as u8, (n / 251) as u8, 7]).collect();
        let picture = Pixels::new(w, h, rgb).unwrap();
        let there = Orientation::Turned90.apply(picture.clone());
        assert_eq!(Orientation::Turned270.apply(there), picture);
        let twice = Orientation::Transversed.apply(Orientation::Transversed.apply(picture.clone()));
        assert_eq!(twice, picture);
    }

    #[test]
    fn unknown_values_are_upright() {
        assert_eq!([0, 9, 65535].map(Orientation::from_exif), [Orientation::Upright; 3]);
    }
}
