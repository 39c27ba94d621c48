//! `findme-server inspect`: what the engine finds in a photo, drawn into a copy and told as a table.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::{DataArg, PackArg, RuntimeArg, folder};
use crate::face::{Detection, Engine, Face, Purpose};
use crate::models;
use crate::picture::{self, Limits, Pixels};

/// Digits as three columns of five rows, top row first, three bits each.
const DIGITS: [u16; 10] = [
    0b111_101_101_101_111,
    0b010_110_010_010_111,
    0b111_001_111_100_111,
    0b111_001_111_001_111,
    0b101_101_111_001_001,
    0b111_100_111_001_111,
    0b111_100_111_101_111,
    0b111_001_010_010_010,
    0b111_101_111_101_111,
    0b111_101_111_001_111,
];

const GOOD: [u8; 3] = [40, 230, 80];
const POOR: [u8; 3] = [255, 200, 0];
const LEFT_OUT: [u8; 3] = [255, 60, 60];

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// The photo.
    photo: PathBuf,
    /// Where the drawing goes (PNG): green boxes, yellow ones where more is asked for to be sure, red ones of faces that
    /// are too small to be compared.
    #[arg(short, long, value_name = "PNG")]
    out: PathBuf,
    /// Look at it as at a guest's selfie.
    #[arg(long)]
    selfie: bool,
    /// Folder with the model files; only read [default: `models` in the data folder].
    #[arg(long, env = "FINDME_MODELS", value_name = "DIR")]
    models: Option<PathBuf>,
    #[command(flatten)]
    pack: PackArg,
    #[command(flatten)]
    runtime: RuntimeArg,
    #[command(flatten)]
    data: DataArg,
}

/// Looks, draws and tells.
pub(super) fn inspect(args: InspectArgs) -> anyhow::Result<()> {
    let models = match args.models {
        Some(models) => models,
        None => models::folder_in(&folder(args.data)?),
    };
    let engine = Engine::open_on(&models, args.pack.choose()?, args.runtime.library().as_deref())?;
    let picture = picture::open(&args.photo, &Limits::default());
    let picture = picture.with_context(|| format!("cannot read {}", args.photo.display()))?;
    let purpose = if args.selfie { Purpose::Selfie } else { Purpose::Photo };
    let detections = engine.detect(&picture.pixels, purpose)?;
    let faces = engine.faces(&picture.pixels, purpose)?;
    let mut canvas = Canvas::of(&picture.pixels);
    let left_out = |found: &&Detection| faces.iter().all(|face| face.detection.rect != found.rect);
    let small: Vec<&Detection> = detections.iter().filter(left_out).collect();
    small.iter().for_each(|found| canvas.frame(found, LEFT_OUT));
    println!(
        "{} × {} pixels, {} faces, {} too small",
        picture.source_width,
        picture.source_height,
        faces.len(),
        small.len()
    );
    println!("  no  score  height  sharp  turned");
    for (number, Face { detection, quality, .. }) in faces.iter().enumerate() {
        canvas.frame(detection, if quality.is_poor() { POOR } else { GOOD });
        canvas.number(number, detection);
        let poor = if quality.is_poor() { "  poor" } else { "" };
        println!(
            "{number:>4}   {:.2}  {:>5.0}px  {:>5.2}   {:>5.2}{poor}",
            detection.score, quality.pixels, quality.sharpness, quality.turned
        );
    }
    canvas.save(&args.out).with_context(|| format!("cannot write {}", args.out.display()))
}

/// Pixels to draw on.
struct Canvas {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
    /// Thickness of a line.
    line: i64,
}

impl Canvas {
    fn of(pixels: &Pixels) -> Self {
        let line = i64::from(pixels.long_side() / 900).max(1);
        Self { width: pixels.width(), height: pixels.height(), rgb: pixels.rgb().to_vec(), line }
    }

    /// Fills a rectangle as far as it is inside.
    fn fill(&mut self, (x, y): (i64, i64), (width, height): (i64, i64), colour: [u8; 3]) {
        for row in y.max(0)..(y + height).min(self.height.into()) {
            for column in x.max(0)..(x + width).min(self.width.into()) {
                let at = (row * i64::from(self.width) + column) as usize * 3;
                self.rgb[at..at + 3].copy_from_slice(&colour);
            }
        }
    }

    /// A box and the five landmarks.
    fn frame(&mut self, found: &Detection, colour: [u8; 3]) {
        let (rect, line) = (&found.rect, self.line);
        let (x, y, width, height) = (rect.x as i64, rect.y as i64, rect.width as i64, rect.height as i64);
        self.fill((x, y), (width, line), colour);
        self.fill((x, y + height - line), (width, line), colour);
        self.fill((x, y), (line, height), colour);
        self.fill((x + width - line, y), (line, height), colour);
        for [px, py] in found.landmarks {
            self.fill((px as i64, py as i64), (line + 1, line + 1), colour);
        }
    }

    /// The face's number above its box.
    fn number(&mut self, number: usize, found: &Detection) {
        let dot = 2 * self.line;
        let (mut x, y) = (found.rect.x as i64, (found.rect.y as i64 - 6 * dot).max(0));
        for digit in number.to_string().bytes().map(|byte| DIGITS[usize::from(byte - b'0')]) {
            self.fill((x - dot, y - dot), (5 * dot, 7 * dot), [0; 3]);
            for bit in (0..15).filter(|bit| digit >> (14 - bit) & 1 == 1) {
                self.fill((x + bit % 3 * dot, y + bit / 3 * dot), (dot, dot), [255; 3]);
            }
            x += 4 * dot;
        }
    }

    fn save(self, path: &std::path::Path) -> anyhow::Result<()> {
        let picture =
            image::RgbImage::from_raw(self.width, self.height, self.rgb).context("the drawing has no size")?;
        Ok(picture.save_with_format(path, image::ImageFormat::Png)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::Rect;

    #[test]
    fn what_reaches_beyond_the_picture_is_drawn_as_far_as_it_goes() {
        let mut canvas = Canvas::of(&Pixels::new(20, 20, vec![9; 1200]).expect("20 × 20 pixels of three bytes"));
        let rect = Rect { x: -5.0, y: 12.0, width: 15.0, height: 30.0 };
        let found = Detection { rect, score: 0.9, landmarks: [[100.0, -100.0]; 5] };
        canvas.frame(&found, GOOD);
        canvas.number(17, &found);
        let at = |x: usize, y: usize| &canvas.rgb[(y * 20 + x) * 3..][..3];
        assert_eq!((at(3, 12), at(9, 19), at(15, 15)), (&GOOD[..], &GOOD[..], &[9, 9, 9][..]));
    }
}
