//! Whether a picture is nearly the same as another (`--similar`): frames of one burst, not two views of one room.
//!
//! Off by default, because the client has no taste. Two photos are nearly the same when their files were made within
//! seconds and their rough patterns of light hardly differ. Only JPEGs are looked at; nothing is ever moved or deleted.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use findme_common::manifest::{Look, Pattern};
use findme_common::media::Media;
use jpeg_decoder::PixelFormat;

/// Of 64 differences of light, so many may differ within a burst: hands move, and the frame with them.
pub(crate) const ALIKE: u32 = 4;
/// Seconds between two frames of a burst at most.
pub(crate) const NEAR: i64 = 10;
/// Longer side of what the picture is decoded to, in pixels at least.
const SIDE: u16 = 72;

/// What a photo looks like; `None` where it cannot be told. Blocks, and decodes the picture. `made`: as in [`Look`].
pub(crate) fn of(path: &Path, media: Media, made: i64) -> Option<Look> {
    if media != Media::Jpeg {
        return None;
    }
    let mut decoder = jpeg_decoder::Decoder::new(BufReader::new(File::open(path).ok()?));
    decoder.scale(SIDE, SIDE).ok()?;
    let pixels = decoder.decode().ok()?;
    let info = decoder.info()?;
    let light: fn(&[u8]) -> u32 = match info.pixel_format {
        PixelFormat::L8 => |pixel| u32::from(pixel[0]),
        PixelFormat::RGB24 => |pixel| (u32::from(pixel[0]) + 2 * u32::from(pixel[1]) + u32::from(pixel[2])) / 4,
        PixelFormat::L16 | PixelFormat::CMYK32 => return None,
    };
    let (width, height, deep) = (usize::from(info.width), usize::from(info.height), info.pixel_format.pixel_bytes());
    if width < 9 || height < 8 {
        return None;
    }
    let mut small = [[0; 9]; 8];
    for (y, row) in small.iter_mut().enumerate() {
        for (x, cell) in row.iter_mut().enumerate() {
            let (rows, columns) = (y * height / 8..(y + 1) * height / 8, x * width / 9..(x + 1) * width / 9);
            let count = (rows.len() * columns.len()).max(1) as u32;
            let line = |y: usize| pixels.get((y * width + columns.start) * deep..(y * width + columns.end) * deep);
            let sum: u32 = rows.filter_map(line).flat_map(|line| line.chunks_exact(deep)).map(light).sum();
            *cell = u8::try_from(sum / count).unwrap_or(u8::MAX);
        }
    }
    Some(Look { pattern: Pattern::of(&small), made })
}

/// Whether two are frames of one burst.
pub(crate) fn are_alike(one: &Look, other: &Look) -> bool {
    one.made.abs_diff(other.made) <= NEAR.unsigned_abs() && one.pattern.differs_in(other.pattern) <= ALIKE
}

#[cfg(test)]
mod tests {
    use jpeg_encoder::{ColorType, Encoder};

    use super::*;

    /// Some soft lights in a room: `moved` pixels further, with grain of its own.
    fn look(scene: u32, moved: u32, made: i64) -> Look {
        let (width, height) = (960_u32, 640_u32);
        let light = |x: u32, y: u32| {
            let lamp = |n: u32| {
                let (at_x, at_y) = ((scene * 7919 + n * 337) % width, (scene * 104_729 + n * 211) % height);
                let far = (f64::from(x + moved) - f64::from(at_x)).hypot(f64::from(y) - f64::from(at_y));
                220.0 * (-far / 160.0).exp()
            };
            let grain = f64::from((x * 31 + y * 17 + moved * 13) % 5);
            ((0..5).map(lamp).sum::<f64>() + grain).min(255.0) as u8
        };
        let pixels: Vec<u8> = (0..height).flat_map(|y| (0..width).map(move |x| light(x, y))).collect();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jpg");
        Encoder::new_file(&path, 85).unwrap().encode(&pixels, 960, 640, ColorType::Luma).unwrap();
        of(&path, Media::Jpeg, made).unwrap()
    }

    #[test]
    fn frames_of_a_burst_are_alike_and_other_views_or_times_are_not() {
        let first = look(1, 0, 100);
        for moved in [0, 1, 4] {
            let next = look(1, moved, 103);
            assert!(are_alike(&first, &next), "moved by {moved}: {}", first.pattern.differs_in(next.pattern));
        }
        for scene in 2..8 {
            let other = look(scene, 0, 103);
            assert!(!are_alike(&first, &other), "scene {scene}: {}", first.pattern.differs_in(other.pattern));
        }
        assert!(!are_alike(&first, &look(1, 0, 120)), "the same view a while later may have other people in it");
    }

    #[test]
    fn what_cannot_be_told_is_like_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jpg");
        std::fs::write(&path, b"\xFF\xD8\xFF\xE0 no picture").unwrap();
        assert_eq!(of(&path, Media::Jpeg, 0), None);
        assert_eq!(of(&path, Media::Raw, 0), None);
    }
}
