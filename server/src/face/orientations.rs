//! However a camera was held and whatever it writes, the same faces are found.

use std::path::Path;

use image::ImageEncoder;

use crate::face::{Embedding, Engine, Purpose, Rect, default_pack};
use crate::picture::tests::shared;
use crate::picture::{self, Limits, Orientation, Pixels};

/// A block of EXIF data that says nothing but the orientation.
fn exif(orientation: u16) -> Vec<u8> {
    let mut block = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    block.extend(u32::from(orientation).to_le_bytes());
    block.extend([0; 4]);
    block
}

/// The pixels as a camera stores them that says this orientation of them.
fn stored(upright: &Pixels, orientation: u16) -> Pixels {
    let undo = match orientation {
        6 => 8,
        8 => 6,
        other => other,
    };
    Orientation::from_exif(undo.into()).apply(upright.clone())
}

fn jpeg(pixels: &Pixels, orientation: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 96);
    encoder.add_app_segment(1, [b"Exif\0\0".as_slice(), &exif(orientation)].concat()).unwrap();
    let (width, height) = (pixels.width() as u16, pixels.height() as u16);
    encoder.encode(pixels.rgb(), width, height, jpeg_encoder::ColorType::Rgb).unwrap();
    bytes
}

fn png(pixels: &Pixels, orientation: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::png::PngEncoder::new(&mut bytes);
    encoder.set_exif_metadata(exif(orientation)).unwrap();
    encoder.write_image(pixels.rgb(), pixels.width(), pixels.height(), image::ExtendedColorType::Rgb8).unwrap();
    bytes
}

/// What a phone writes: the turn in the container. Debian's `heif-enc` writes none, so it is put into its file here:
/// `irot` in quarters against the clock, then `imir` from left to right (ISO/IEC 23008-12, 6.5.10 and 6.5.12).
#[cfg(feature = "heif")]
fn heic(pixels: &Pixels, orientation: u16) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let [from, to] = ["from.png", "to.heic"].map(|name| folder.path().join(name));
    image::save_buffer(&from, pixels.rgb(), pixels.width(), pixels.height(), image::ExtendedColorType::Rgb8).unwrap();
    let mut encoder = std::process::Command::new("heif-enc");
    let done = encoder.args(["-q", "95", "-o"]).arg(&to).arg(&from).output();
    assert!(done.expect("Debian's libheif-examples are installed").status.success());
    let mut file = std::fs::read(to).unwrap();
    let (quarters, mirrored) =
        [(0, false), (0, true), (2, false), (2, true), (3, true), (3, false), (1, true), (1, false)]
            [usize::from(orientation) - 1];
    let mut boxes = vec![[b"\0\0\0\x09irot".as_slice(), &[quarters]].concat()];
    boxes.extend(mirrored.then(|| b"\0\0\0\x09imir\x01".to_vec()));
    // The boxes before the picture's data; the first place with such a name is the box.
    let place = |file: &[u8], name: &[u8]| file.windows(4).position(|four| four == name).unwrap();
    let number = |file: &[u8], at: usize| u32::from_be_bytes(file[at..at + 4].try_into().unwrap());
    let add = |file: &mut [u8], at: usize, by: usize| {
        let sum = number(file, at) + by as u32;
        file[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    };
    // Properties are numbered from 1 in their order; the picture is said to have both new ones.
    let (properties, list) = (place(&file, b"ipco"), place(&file, b"ipma"));
    let (mut end, mut known) = (properties + 4, 0);
    while end < list - 4 {
        end += number(&file, end) as usize;
        known += 1;
    }
    assert_eq!(number(&file, list + 8), 1, "one picture");
    let count = list + 14;
    let last = count + 1 + usize::from(file[count]);
    file[count] += boxes.len() as u8;
    file.splice(last..last, (1..=boxes.len() as u8).map(|number| known + number));
    let grown = boxes.concat().len();
    file.splice(end..end, boxes.concat());
    let both = grown + boxes.len();
    for (name, by) in [(b"ipco", grown), (b"ipma", boxes.len()), (b"iprp", both), (b"meta", both)] {
        let at = place(&file, name) - 4;
        add(&mut file, at, by);
    }
    // Where the data begins, of the only item.
    let at = place(&file, b"iloc") + 16;
    add(&mut file, at, both);
    file
}

/// The photo, small enough that many of it are looked at quickly. Its sides are even: of others `heif-enc` makes a grid.
fn portrait(shared: &Path) -> Pixels {
    let photo = picture::open(&shared.join("photos/people/obama/obama.jpg"), &Limits::default()).unwrap().pixels;
    let small = picture::jpeg_of(&photo, 640).unwrap();
    let small = picture::from_bytes(&small, &Limits::default()).unwrap().pixels;
    small.part(0, 0, small.width() & !1, small.height() & !1)
}

#[test]
fn all_orientations_of_all_formats_give_the_same_faces() {
    let Some(shared) = shared() else { return };
    let engine = Engine::open(&shared.join("models"), default_pack()).unwrap();
    let upright = portrait(&shared);
    let look = |pixels: &Pixels| -> (Rect, Embedding) {
        let faces = engine.faces(pixels, Purpose::Photo).unwrap();
        assert_eq!(faces.len(), 1);
        (faces[0].detection.rect, faces[0].embedding.clone())
    };
    let (place, known) = look(&upright);
    type Write = fn(&Pixels, u16) -> Vec<u8>;
    let formats: &[(&str, Write)] = &[
        ("JPEG", jpeg),
        ("PNG", png),
        #[cfg(feature = "heif")]
        ("HEIC", heic),
    ];
    for (format, write) in formats {
        for orientation in 1..=8 {
            let file = write(&stored(&upright, orientation), orientation);
            let read = picture::from_bytes(&file, &Limits::default()).unwrap().pixels;
            assert_eq!((read.width(), read.height()), (upright.width(), upright.height()), "{format} {orientation}");
            let (found, embedding) = look(&read);
            let far = [found.x - place.x, found.y - place.y, found.width - place.width, found.height - place.height];
            let likeness = embedding.similarity(&known).get();
            println!("{format} {orientation}: {likeness:.4}, {far:?}");
            assert!(far.iter().all(|pixels| pixels.abs() < 3.0), "{format} {orientation}: {far:?}");
            assert!(likeness > 0.98, "{format} {orientation}: {likeness}");
        }
    }
}

#[cfg(feature = "heif")]
#[test]
fn pictures_of_phones_are_decoded() {
    let Some(shared) = shared() else { return };
    for name in ["iphone_7.heic", "IMG_2682.heic", "example.heic", "example.avif", "8bit-sRGB.avif"] {
        let picture = picture::open(&shared.join("photos/heic_raw").join(name), &Limits::default()).unwrap();
        let (width, height) = (picture.source_width, picture.source_height);
        println!("{name}: {width} × {height}, taken {:?}", picture.taken_at);
        let long = u64::from(picture.pixels.width()) * u64::from(height);
        assert!(
            long.abs_diff(u64::from(picture.pixels.height()) * u64::from(width)) < u64::from(width.max(height)) * 2
        );
    }
}
