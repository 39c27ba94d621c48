//! Pictures as they come: every kind, every orientation, and everything that is none.

use std::path::PathBuf;

use image::{DynamicImage, ImageFormat};
use jpeg_encoder::{ColorType, Encoder};
use proptest::prelude::*;

use super::*;

/// The folder of photos and models that tests share; `None`, loudly, where there is none.
pub(crate) fn shared() -> Option<PathBuf> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared"));
    let folder = std::env::var_os("FINDME_SHARED").map_or_else(beside, PathBuf::from);
    if folder.join("photos").is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("FINDME_REQUIRE_ASSETS").is_none(), "{} has no photos", folder.display());
    eprintln!("SKIPPED: {} has no photos; set FINDME_SHARED", folder.display());
    None
}

/// Soft colours that survive JPEG: red grows to the right, green downwards.
fn gradient(width: u32, height: u32) -> Vec<u8> {
    let at = |n: u32, of: u32| (n * 255 / of.max(1)) as u8;
    (0..height).flat_map(|y| (0..width).flat_map(move |x| [at(x, width), at(y, height), 60])).collect()
}

/// An EXIF block with one short and one text in two directories, as small as it gets.
fn exif(orientation: u16, taken: &str) -> Vec<u8> {
    let mut block = b"II*\0\x08\0\0\0\x02\0".to_vec();
    let mut entry = |tag: u16, kind: u16, count: u32, value: u32| {
        block.extend(tag.to_le_bytes().into_iter().chain(kind.to_le_bytes()));
        block.extend(count.to_le_bytes().into_iter().chain(value.to_le_bytes()));
    };
    entry(0x0112, 3, 1, orientation.into());
    entry(0x8769, 4, 1, 38);
    block.extend([0; 4]);
    block.extend(1_u16.to_le_bytes());
    block.extend(0x9003_u16.to_le_bytes().into_iter().chain(2_u16.to_le_bytes()));
    block.extend((taken.len() as u32 + 1).to_le_bytes().into_iter().chain(56_u32.to_le_bytes()));
    block.extend([0; 4]);
    block.extend(taken.bytes().chain([0]));
    block
}

fn jpeg(width: u16, height: u16, exif: Option<Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 92);
    if let Some(block) = exif {
        encoder.add_exif_metadata(&block).unwrap();
    }
    encoder.encode(&gradient(width.into(), height.into()), width, height, ColorType::Rgb).unwrap();
    bytes
}

fn decode_all(bytes: &[u8]) -> Result<Picture, PictureError> {
    from_bytes(bytes, &Limits::default())
}

fn pixel(picture: &Picture, x: u32, y: u32) -> [u8; 3] {
    *picture.pixels.at(x.into(), y.into()).unwrap()
}

fn near(a: [u8; 3], b: [u8; 3], most: u8) -> bool {
    a.iter().zip(b).all(|(x, y)| x.abs_diff(y) <= most)
}

#[test]
fn orientation_and_time_of_a_jpeg_are_applied() {
    let picture = decode_all(&jpeg(200, 100, Some(exif(6, "2026:06:20 15:00:04")))).unwrap();
    assert_eq!((picture.source_width, picture.source_height), (100, 200));
    assert_eq!((picture.pixels.width(), picture.pixels.height()), (100, 200));
    assert_eq!(picture.taken_at.as_deref(), Some("2026-06-20T15:00:04"));
    // Turned clockwise: the stored lower left corner is the upright upper left one.
    assert!(near(pixel(&picture, 0, 0), [0, 252, 60], 8), "{:?}", pixel(&picture, 0, 0));
}

#[test]
fn large_pictures_are_decoded_smaller_and_know_it() {
    for (width, by) in [(5199, 1), (5200, 2), (10_401, 4), (20_801, 8)] {
        let picture = decode_all(&jpeg(width, 24, None)).unwrap();
        assert_eq!((picture.source_width, picture.source_height), (width.into(), 24));
        assert_eq!((picture.pixels.width(), picture.pixels.reduced()), (u32::from(width).div_ceil(by), by));
        let middle = pixel(&picture, picture.pixels.width() / 2, 1);
        assert!(near(middle, [127, middle[1], 60], 4), "{middle:?}");
    }
}

#[test]
fn other_formats_and_sixteen_bits_give_the_same_colours() {
    let rgb = image::RgbImage::from_raw(60, 40, gradient(60, 40)).unwrap();
    let deep = DynamicImage::ImageRgb8(rgb.clone()).into_rgb16();
    for (image, format) in [
        (DynamicImage::ImageRgb8(rgb.clone()), ImageFormat::Png),
        (DynamicImage::ImageRgb16(deep.clone()), ImageFormat::Png),
        (DynamicImage::ImageRgb16(deep), ImageFormat::Tiff),
        (DynamicImage::ImageRgb8(rgb.clone()), ImageFormat::WebP),
    ] {
        let mut file = Cursor::new(Vec::new());
        image.write_to(&mut file, format).unwrap();
        let picture = decode_all(file.get_ref()).unwrap();
        assert_eq!(picture.pixels.rgb(), rgb.as_raw().as_slice(), "{format:?}");
    }
}

#[test]
fn grey_and_cmyk_jpegs_come_out_in_colour() {
    let mut grey = Vec::new();
    Encoder::new(&mut grey, 95).encode(&[200; 64], 8, 8, ColorType::Luma).unwrap();
    assert!(near(pixel(&decode_all(&grey).unwrap(), 3, 3), [200; 3], 2));
    let ink: Vec<u8> = [255, 0, 0, 51].repeat(64);
    for kind in [ColorType::Cmyk, ColorType::CmykAsYcck] {
        let mut cmyk = Vec::new();
        Encoder::new(&mut cmyk, 95).encode(&ink, 8, 8, kind).unwrap();
        let seen = pixel(&decode_all(&cmyk).unwrap(), 3, 3);
        assert!(near(seen, [0, 204, 204], 6), "{kind:?}: {seen:?}");
    }
}

#[test]
fn what_is_no_photo_gets_its_word() {
    let whole = jpeg(64, 64, None);
    let heic = if cfg!(feature = "heif") { "damaged" } else { "unsupported-format" };
    let cases: [(&[u8], &str); 7] = [
        (b"", "not-a-photo"),
        (b"just text in a file called .jpg", "not-a-photo"),
        (&whole[..whole.len() / 2], "damaged"),
        (&whole[..30], "damaged"),
        (&[0xFF, 0xD8, 0xFF, 0xD9], "damaged"),
        (b"\x89PNG\r\n\x1A\n", "damaged"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", heic),
    ];
    for (bytes, word) in cases {
        let error = decode_all(bytes).unwrap_err();
        assert_eq!(error.reason(), Some(word), "{:?}: {error:?}", &bytes[..bytes.len().min(40)]);
    }
}

#[test]
fn limits_hold_before_anything_is_decoded() {
    let bytes = jpeg(64, 64, None);
    let few = Limits { max_pixels: 64 * 64 - 1, ..Limits::default() };
    assert!(matches!(from_bytes(&bytes, &few), Err(PictureError::TooLarge { pixels: 4096 })));
    let no_time = Limits { max_time: std::time::Duration::ZERO, ..Limits::default() };
    assert_eq!(from_bytes(&bytes, &no_time).unwrap_err().reason(), Some("too-slow"));
    let little = Limits { max_bytes: 1000, ..Limits::default() };
    assert_eq!(from_bytes(&bytes, &little).unwrap_err().reason(), Some("too-large"));
    // A header that announces 65,535 × 65,535 and brings no pixels.
    let mut bomb = bytes;
    let frame = bomb.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    bomb[frame + 5..frame + 9].fill(0xFF);
    assert_eq!(decode_all(&bomb).unwrap_err().reason(), Some("too-large"));
}

#[test]
fn a_missing_file_says_nothing_about_a_photo() {
    let error = open(Path::new("does/not/exist.jpg"), &Limits::default()).unwrap_err();
    assert_eq!(error.reason(), None);
}

#[test]
fn derivatives_are_upright_bounded_and_never_grow() {
    let large = decode_all(&jpeg(3000, 1500, None)).unwrap();
    let made = derivatives(&large.pixels).unwrap();
    let size = |bytes: &[u8]| decode_all(bytes).map(|p| (p.source_width, p.source_height)).unwrap();
    assert_eq!((size(&made.preview), size(&made.thumb), size(&made.small)), ((2048, 1024), (480, 240), (320, 160)));
    assert!(made.small.len() < made.thumb.len());
    let small = derivatives(&decode_all(&jpeg(90, 50, None)).unwrap().pixels).unwrap();
    assert_eq!((size(&small.preview), size(&small.thumb), size(&small.small)), ((90, 50), (90, 50), (90, 50)));
    let thin = derivatives(&Pixels::new(1, 60_000, vec![9; 180_000]).unwrap()).unwrap();
    assert_eq!(size(&thin.thumb), (1, 480));
}

#[test]
fn the_eight_orientation_fixtures_look_alike() {
    let Some(shared) = shared() else { return };
    for (name, size) in [("Landscape", (1800, 1200)), ("Portrait", (1200, 1800))] {
        let mut seen: Vec<Pixels> = Vec::new();
        for n in 0..=8 {
            let path = shared.join(format!("photos/exif_orientation/{name}_{n}.jpg"));
            let picture = open(&path, &Limits::default()).unwrap();
            assert_eq!((picture.source_width, picture.source_height), size, "{name}_{n}");
            seen.push(shrink::to_size(&picture.pixels, size.0 / 50, size.1 / 50));
        }
        for (n, other) in seen.iter().enumerate() {
            let apart: u32 = seen[1].rgb().iter().zip(other.rgb()).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
            let mean = f64::from(apart) / other.rgb().len() as f64;
            println!("{name}_{n}: mean difference to {name}_1 {mean:.2} of 255");
            assert!(mean < 3.0, "{name}_{n} does not look like {name}_1");
        }
    }
}

#[test]
fn camera_times_are_as_written() {
    let Some(shared) = shared() else { return };
    for (file, taken) in [
        ("camera/HMD_Nokia_8.3_5G.jpg", Some("2022-08-14T14:12:31+03:00")),
        ("camera/iphone_hdr_YES.jpg", Some("2015-04-10T20:12:23.550")),
        ("camera/Canon_40D.jpg", Some("2008-05-30T15:56:01.00")),
        ("camera/DSCN0010.jpg", Some("2008-10-22T16:28:39")),
        ("heic_raw/denali.webp", Some("2010-08-13T21:00:01.85")),
        ("exif_face/portrait.jpg", None),
    ] {
        let picture = open(&shared.join("photos").join(file), &Limits::default()).unwrap();
        assert_eq!(picture.taken_at.as_deref(), taken, "{file}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Broken in any place, a picture is decoded or refused; the process and the limits survive.
    #[test]
    fn damage_never_ends_the_process(at in 2_usize..2000, bytes in proptest::collection::vec(any::<u8>(), 1..8), png in any::<bool>()) {
        let mut file = if png {
            let mut out = Cursor::new(Vec::new());
            let rgb = image::RgbImage::from_raw(40, 30, gradient(40, 30)).unwrap();
            rgb.write_to(&mut out, ImageFormat::Png).unwrap();
            out.into_inner()
        } else {
            jpeg(40, 30, Some(exif(3, "2026:06:20 15:00:04")))
        };
        for (index, byte) in bytes.iter().enumerate() {
            let place = (at + index) % file.len();
            file[place] ^= byte;
        }
        let limits = Limits { max_pixels: 1_000_000, max_bytes: 32 << 20, ..Limits::default() };
        if let Ok(picture) = from_bytes(&file, &limits) {
            prop_assert!(u64::from(picture.pixels.width()) * u64::from(picture.pixels.height()) <= 1_000_000);
        }
    }
}

/// A progressive grey picture: one scan of the means, then so many that say «nothing» for all blocks in a few bytes.
fn of_many_scans(side: u16, scans: usize) -> Vec<u8> {
    let segment = |marker: u8, content: &[u8]| {
        let length = (content.len() as u16 + 2).to_be_bytes();
        [&[0xFF, marker], length.as_slice(), content].concat()
    };
    let blocks = usize::from(side).div_ceil(8).pow(2);
    let sides = side.to_be_bytes();
    // One code in either table, the bit 0: «no difference» for means, «a run of 2^14 blocks without» for the rest.
    let table = |class: u8, value: u8| [&[class, 1], [0; 15].as_slice(), &[value]].concat();
    let mut bytes = vec![0xFF, 0xD8];
    bytes.extend(segment(0xDB, &[&[0], [1; 64].as_slice()].concat()));
    bytes.extend(segment(0xC2, &[8, sides[0], sides[1], sides[0], sides[1], 1, 1, 0x11, 0]));
    bytes.extend(segment(0xC4, &table(0x00, 0)));
    bytes.extend(segment(0xC4, &table(0x10, 0xE0)));
    bytes.extend(segment(0xDA, &[1, 1, 0, 0, 0, 0]));
    bytes.extend(vec![0; blocks.div_ceil(8)]);
    for _ in 0..scans {
        bytes.extend(segment(0xDA, &[1, 1, 0, 1, 63, 0]));
        bytes.extend([0, 0]); // one code and its 14 bits: a run of 2^14
    }
    bytes.extend([0xFF, 0xD9]);
    bytes
}

#[test]
fn a_picture_of_very_many_scans_is_refused_before_they_are_decoded() {
    assert!(decode_all(&of_many_scans(800, 20)).is_ok());
    let bomb = decode_all(&of_many_scans(800, 5000));
    assert!(matches!(bomb, Err(PictureError::Unsupported(Media::Jpeg))), "{bomb:?}");
}

#[test]
fn scans_are_not_counted_in_segments_nor_behind_the_end() {
    let mut bytes = of_many_scans(80, 20);
    let noise = [0xFF, 0xDA].repeat(1000);
    let comment = [&[0xFF, 0xFE], (noise.len() as u16 + 2).to_be_bytes().as_slice(), &noise].concat();
    bytes.splice(2..2, comment);
    bytes.extend(noise);
    assert!(decode_all(&bytes).is_ok());
}
