//! Pictures in which a coloured stripe stands for a face, so that tests of behaviour need neither models nor people.

use findme_server::picture::Pixels;
use jpeg_encoder::{ColorType, Encoder};

/// Somebody whose face the service takes to be too poor.
pub(super) const BLURRED: u8 = 7;
/// Two people who look alike: «maybe» of each other.
pub(super) const TWINS: (u8, u8) = (4, 5);

/// Colours that survive JPEG; black is nobody.
const COLOURS: [[u8; 3]; 8] = [
    [230, 20, 20],
    [20, 200, 20],
    [30, 30, 230],
    [230, 220, 20],
    [220, 30, 220],
    [20, 210, 210],
    [250, 250, 250],
    [120, 120, 120],
];

const WIDE: u16 = 100;
const GAP: u16 = 24;
const HIGH: u16 = 160;

/// A photo of these people; `number` makes it a file of its own.
pub(super) fn photo(number: u64, people: &[u8]) -> Vec<u8> {
    let width = GAP + (people.len().max(1) as u16) * (WIDE + GAP);
    let mut rgb = vec![0; usize::from(width) * usize::from(HIGH) * 3];
    for (n, who) in people.iter().enumerate() {
        let left = usize::from(GAP) + n * usize::from(WIDE + GAP);
        for row in rgb.chunks_exact_mut(usize::from(width) * 3) {
            for pixel in row[left * 3..(left + usize::from(WIDE)) * 3].chunks_exact_mut(3) {
                pixel.copy_from_slice(&COLOURS[usize::from(*who)]);
            }
        }
    }
    let mut jpeg = Vec::new();
    Encoder::new(&mut jpeg, 90).encode(&rgb, width, HIGH, ColorType::Rgb).unwrap();
    jpeg.extend(number.to_le_bytes());
    jpeg
}

/// The people in a picture with their places (left, top, width, height, in fractions).
pub(super) fn read(pixels: &Pixels) -> Vec<(u8, [f32; 4])> {
    let width = pixels.width() as usize;
    let row = &pixels.rgb()[width * 3 * (pixels.height() as usize / 2)..][..width * 3];
    let nearest = |pixel: &[u8]| {
        let far = |colour: &[u8; 3]| -> i32 {
            colour.iter().zip(pixel).map(|(a, b)| (i32::from(*a) - i32::from(*b)).pow(2)).sum()
        };
        let best = COLOURS.iter().enumerate().min_by_key(|(_, colour)| far(colour)).expect("there are colours");
        (far(best.1) < far(&[0; 3])).then_some(best.0 as u8)
    };
    let mut runs: Vec<(Option<u8>, usize, usize)> = Vec::new();
    for (x, pixel) in row.chunks_exact(3).enumerate() {
        match (nearest(pixel), runs.last_mut()) {
            (who, Some(last)) if last.0 == who => last.2 = x + 1,
            (who, _) => runs.push((who, x, x + 1)),
        }
    }
    let wide = usize::from(WIDE) * 3 / 4;
    let faces = runs.into_iter().filter(|(_, from, to)| to - from >= wide);
    let fraction = |x: usize| x as f32 / width as f32;
    faces.filter_map(|(who, from, to)| Some((who?, [fraction(from), 0.0, fraction(to - from), 1.0]))).collect()
}

/// 0 to 100.
pub(super) fn similarity(one: u8, other: u8) -> f32 {
    match (one.min(other), one.max(other)) {
        (one, other) if one == other => 99.6,
        pair if pair == TWINS => 88.0,
        _ => 3.0,
    }
}
