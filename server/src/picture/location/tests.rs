//! Files with places in every corner that is known, read back by a reader of others' making.

use std::io::Cursor;

use exif::{In, Reader, Tag};
use image::ImageEncoder;
use proptest::prelude::*;

use super::*;

/// A TIFF block with a date, a GPS directory (latitude by value elsewhere, reference in place), in either byte order.
fn exif_block(little: bool) -> Vec<u8> {
    let short = |n: u16| if little { n.to_le_bytes() } else { n.to_be_bytes() };
    let long = |n: u32| if little { n.to_le_bytes() } else { n.to_be_bytes() };
    let entry = |tag: u16, kind: u16, count: u32, value: [u8; 4]| {
        [&short(tag)[..], &short(kind), &long(count), &value].concat()
    };
    let mut block = if little { b"II*\0".to_vec() } else { b"MM\0*".to_vec() };
    block.extend(long(8));
    // First directory at 8 (2 + 2 × 12 + 4 = 30), Exif at 38 (2 + 12 + 4 = 18), GPS at 56 (2 + 3 × 12 + 4 = 42).
    block.extend([&short(2)[..], &entry(0x8769, 4, 1, long(38)), &entry(0x8825, 4, 1, long(56)), &long(0)].concat());
    block.extend([&short(1)[..], &entry(0x9003, 2, 20, long(98)), &long(0)].concat());
    let gps = [entry(1, 2, 2, *b"N\0\0\0"), entry(2, 5, 3, long(118)), entry(7, 5, 3, long(142))].concat();
    block.extend([&short(3)[..], &gps, &long(0)].concat());
    block.extend(b"2026:06:20 15:00:04\0");
    for number in [48, 1, 51, 1, 2951, 100, 13, 1, 0, 1, 4, 1] {
        block.extend(long(number));
    }
    block
}

const PACKET: &str = r#"<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><!-- <exif:GPSLatitude> in a comment -->
<rdf:Description exif:GPSLatitude="48,51.49N" xmp:Rating="5" photoshop:City='Paris > all' drone-dji:GpsLongitude = "2.35">
<photoshop:Country>France</photoshop:Country><dc:title>Kept &lt;Paris-free&gt;</dc:title>
<Iptc4xmpExt:LocationShown><rdf:Bag><rdf:li><Iptc4xmpExt:City>Lyon</Iptc4xmpExt:City></rdf:li></rdf:Bag></Iptc4xmpExt:LocationShown>
<exif:GPSAltitude/></rdf:Description></rdf:RDF></x:xmpmeta>"#;

const TOLD: [&[u8]; 7] = [b"48,51", b"Paris >", b"2.35", b"France", b"Lyon", b"GPSAltitude/", b"Iptc4xmpExt"];

fn pixels() -> Vec<u8> {
    (0..64 * 48 * 3).map(|n: u32| (n / 7) as u8).collect()
}

fn segment(marker: u8, payload: &[&[u8]]) -> Vec<u8> {
    let payload = payload.concat();
    [&[0xFF, marker][..], &(payload.len() as u16 + 2).to_be_bytes(), &payload].concat()
}

/// A JPEG with all that is known, and a second one with its own place behind it.
fn jpeg() -> Vec<u8> {
    let mut plain = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut plain, 90);
    encoder.encode(&pixels(), 64, 48, jpeg_encoder::ColorType::Rgb).unwrap();
    let (first, second) = PACKET.as_bytes().split_at(PACKET.find("France").unwrap() + 3);
    let extended = |offset: usize, part: &[u8]| {
        let (whole, offset) = ((PACKET.len() as u32).to_be_bytes(), (offset as u32).to_be_bytes());
        segment(0xE1, &[b"http://ns.adobe.com/xmp/extension/\0", &[b'A'; 32], &whole, &offset, part])
    };
    let iptc = [&[0x1C, 2, 5, 0, 4][..], b"Kept", &[0x1C, 2, 90, 0, 6], b"Nantes"].concat();
    let resource =
        [&b"Photoshop 3.0\0"[..], b"8BIM", &[4, 4, 0, 0], &(iptc.len() as u32).to_be_bytes(), &iptc].concat();
    let with = |exif: &[u8]| {
        [
            &plain[..2],
            &segment(0xE1, &[b"Exif\0\0", exif]),
            &segment(0xE1, &[b"http://ns.adobe.com/xap/1.0/\0", PACKET.as_bytes()]),
            // The parts may come in any order.
            &extended(first.len(), second),
            &extended(0, first),
            &segment(0xED, &[&resource]),
            &plain[2..],
        ]
        .concat()
    };
    [with(&exif_block(true)), b"\0\0padding".to_vec(), with(&exif_block(false))].concat()
}

fn png() -> Vec<u8> {
    let mut plain = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut plain);
    encoder.write_image(&pixels(), 64, 48, image::ExtendedColorType::Rgb8).unwrap();
    let chunk = |kind: &[u8], data: &[u8]| {
        let checksum = crc32fast::hash(&[kind, data].concat()).to_be_bytes();
        [&(data.len() as u32).to_be_bytes()[..], kind, data, &checksum].concat()
    };
    // Behind the header chunk: 8 + 25 bytes.
    let (head, rest) = plain.split_at(33);
    let xmp = [&b"XML:com.adobe.xmp\0\0\0\0\0"[..], PACKET.as_bytes()].concat();
    let profile = b"Raw profile type exif\0France Lyon";
    [head, &chunk(b"eXIf", &exif_block(false)), &chunk(b"iTXt", &xmp), &chunk(b"tEXt", profile), rest].concat()
}

fn webp() -> Vec<u8> {
    let mut plain = Vec::new();
    let encoder = image::codecs::webp::WebPEncoder::new_lossless(&mut plain);
    encoder.write_image(&pixels(), 64, 48, image::ExtendedColorType::Rgb8).unwrap();
    let chunk = |kind: &[u8], data: &[u8]| {
        let padding = vec![0; data.len() % 2];
        [kind, &(data.len() as u32).to_le_bytes(), data, &padding].concat()
    };
    // Extended format: EXIF and XMP are announced, canvas of 64 × 48.
    let extended = chunk(b"VP8X", &[0x0C, 0, 0, 0, 63, 0, 0, 47, 0, 0]);
    let body =
        [&b"WEBP"[..], &extended, &plain[12..], &chunk(b"EXIF", &exif_block(true)), &chunk(b"XMP ", PACKET.as_bytes())]
            .concat();
    [&b"RIFF"[..], &(body.len() as u32).to_le_bytes(), &body].concat()
}

/// What a container of unknown layout looks like from here.
fn heif() -> Vec<u8> {
    let head = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic";
    [&head[..], &[7; 300], b"\0\0\0\x06Exif\0\0", &exif_block(false), &[9; 50], PACKET.as_bytes(), &[1; 70]].concat()
}

fn guests_copy(file: &[u8]) -> Vec<u8> {
    let patches = find_in(Cursor::new(file)).unwrap();
    assert_eq!(Patches::from_bytes(&patches.to_bytes()), Some(patches.clone()));
    let mut copy = file.to_vec();
    patches.apply(0, &mut copy);
    // The same when it is sent in pieces.
    for size in [1, 7, 1000] {
        let mut pieces = file.to_vec();
        for (n, piece) in pieces.chunks_mut(size).enumerate() {
            patches.apply((n * size) as u64, piece);
        }
        assert!(pieces == copy, "in pieces of {size}");
    }
    copy
}

fn holds(file: &[u8], text: &[u8]) -> bool {
    memchr::memmem::find(file, text).is_some()
}

/// No place is left; date and title are.
fn assert_clean(exif: &[u8], copy: &[u8]) {
    let read = Reader::new().continue_on_error(true).read_raw(exif.to_vec());
    let read = read.or_else(|error| error.distill_partial_result(|_| {})).unwrap();
    let gps: Vec<_> = read.fields().filter(|field| field.tag.context() == exif::Context::Gps).collect();
    assert!(gps.is_empty(), "{gps:?}");
    assert!(read.get_field(Tag::DateTimeOriginal, In::PRIMARY).is_some());
    for told in TOLD {
        assert!(!holds(copy, told), "{} is left", String::from_utf8_lossy(told));
    }
    assert!(holds(copy, b"Kept &lt;Paris-free&gt;") && holds(copy, b"xmp:Rating=\"5\""));
}

/// The EXIF block of the copy, where the whole file had it.
fn block_of(file: &[u8], copy: &[u8], little: bool) -> Vec<u8> {
    let block = exif_block(little);
    let at = memchr::memmem::find(file, &block).unwrap();
    copy[at..at + block.len()].to_vec()
}

#[test]
fn nothing_tells_the_place_and_the_picture_is_the_same() {
    let (jpeg, png, webp, heif) = (jpeg(), png(), webp(), heif());
    for (file, order) in [(&jpeg, true), (&jpeg, false), (&png, false), (&webp, true), (&heif, false)] {
        // The test's own file is sound: it tells.
        let before = Reader::new().read_raw(exif_block(order)).unwrap();
        assert_eq!(before.fields().filter(|field| field.tag.context() == exif::Context::Gps).count(), 3);
        let copy = guests_copy(file);
        assert_eq!(copy.len(), file.len());
        assert_clean(&block_of(file, &copy, order), &copy);
        assert!(!holds(&copy, b"Nantes"));
    }
    for file in [jpeg, png, webp] {
        let limits = crate::picture::Limits::default();
        let copy = crate::picture::from_bytes(&guests_copy(&file), &limits).unwrap();
        assert_eq!(copy, crate::picture::from_bytes(&file, &limits).unwrap());
    }
}

#[test]
fn a_changed_png_chunk_has_the_checksum_of_what_it_holds() {
    let copy = guests_copy(&png());
    let mut at = 8;
    let mut chunks = 0;
    while at < copy.len() {
        let length = u32::from_be_bytes(copy[at..at + 4].try_into().unwrap()) as usize;
        let checksum = crc32fast::hash(&copy[at + 4..at + 8 + length]);
        assert_eq!(checksum.to_be_bytes(), copy[at + 8 + length..at + 12 + length], "at {at}");
        at += 12 + length;
        chunks += 1;
    }
    assert!(chunks >= 6);
}

#[test]
fn what_has_no_place_is_left_alone() {
    let mut plain = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut plain, 90);
    encoder.encode(&pixels(), 64, 48, jpeg_encoder::ColorType::Rgb).unwrap();
    assert!(find_in(Cursor::new(&plain)).unwrap().is_empty());
    assert!(find_in(Cursor::new(b"")).unwrap().is_empty());
}

#[test]
fn derivatives_carry_no_metadata_at_all() {
    let picture = crate::picture::from_bytes(&jpeg(), &crate::picture::Limits::default()).unwrap();
    let made = crate::picture::derivatives(&picture.pixels).unwrap();
    for bytes in [made.preview, made.thumb, made.small] {
        for name in [&b"Exif"[..], b"http://", b"Photoshop", b"8BIM", b"GPS"] {
            assert!(!holds(&bytes, name), "{}", String::from_utf8_lossy(name));
        }
    }
}

#[test]
fn xmp_that_is_cut_off_or_in_wide_characters_is_blanked_to_its_end() {
    let cut = &PACKET.as_bytes()[..PACKET.find("Lyon").unwrap() + 4];
    let last = xmp::places(cut).pop().unwrap();
    assert_eq!(last.end, cut.len());
    let wide: Vec<u8> = PACKET.encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert_eq!(xmp::places(&wide).first(), Some(&(0..wide.len())));
}

/// Whatever the file is: no panic, patches inside, apart, in order; and once they are applied, the same again finds
/// nothing further to change.
fn assert_sound(file: &[u8]) {
    let patches = find_in(Cursor::new(file)).unwrap();
    assert!(patches.0.windows(2).all(|two| two[0].end() <= two[1].at));
    assert!(patches.0.iter().all(|patch| patch.end() <= file.len() as u64 && patch.fill.length() > 0));
    let mut copy = file.to_vec();
    patches.apply(0, &mut copy);
}

proptest! {
    #[test]
    fn any_bytes_are_borne(body in proptest::collection::vec(any::<u8>(), 0..600), kind in 0..6_usize) {
        let heads: [&[u8]; 6] =
            [b"", b"\xFF\xD8\xFF", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"II*\0\x08\0\0\0", b"\0\0\0\x18ftypheic"];
        assert_sound(&[heads[kind], &body].concat());
    }

    #[test]
    fn damaged_files_are_borne(which in 0..4_usize, hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12), cut in any::<prop::sample::Index>()) {
        let mut file = [jpeg, png, webp, heif][which]();
        for (at, byte) in hits {
            let at = at.index(file.len());
            file[at] = byte;
        }
        let length = cut.index(file.len() + 1);
        assert_sound(&file);
        assert_sound(&file[..length]);
    }

    #[test]
    fn any_text_is_borne(text in "[<>/=\"' a-zA-Z:!?-]{0,300}") {
        for place in xmp::places(text.as_bytes()) {
            prop_assert!(place.start <= place.end && place.end <= text.len());
        }
    }
}
