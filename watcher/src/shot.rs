//! What a file's own data say about the shot that it is of: who took it when, how large it is, and whether a program has
//! had it in hand. Read from the file's beginning; what is not there is not guessed.

use exif::{Exif, In, Tag, Value};
use findme_common::manifest::{Shot, ShotKey};
use findme_common::media::Media;

use crate::xmp;

/// `Software` says which program wrote a file. Cameras write their firmware there; these are programs for pictures.
const PROGRAMS: [&str; 34] = [
    "lightroom",
    "photoshop",
    "camera raw",
    "adobe",
    "capture one",
    "darktable",
    "rawtherapee",
    "gimp",
    "affinity",
    "dxo",
    "photolab",
    "luminar",
    "on1",
    "imagemagick",
    "graphicsmagick",
    "digikam",
    "snapseed",
    "picasa",
    "nx studio",
    "viewnx",
    "capture nx",
    "digital photo professional",
    "silkypix",
    "imaging edge",
    "acdsee",
    "faststone",
    "irfanview",
    "xnview",
    "paint",
    "pixelmator",
    "photoscape",
    "vsco",
    "exposure x",
    "zoner",
];

/// A file that was changed this many seconds after it was taken was changed by a program: cameras write both times
/// together.
const LATER: i64 = 2;

/// What is read from the beginning of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Which shot; `None` where the data do not say so for certain.
    pub(crate) shot: Option<Shot>,
    /// Stars, where somebody gave any: 0 to 5, -1 for rejected.
    pub(crate) rating: Option<i8>,
    /// How the picture is turned, 1 to 8. A program that turns a photo writes only this.
    pub(crate) orientation: u8,
}

/// Reads the beginning of a file. `name`: its name without the ending; `mtime`: by the file system, in seconds.
pub(crate) fn told(head: &[u8], media: Media, name: &str, mtime: i64) -> Told {
    let exif = exif_of(head);
    let packet = xmp::packet(head);
    let orientation = turned(exif.as_ref());
    let rating = stars(exif.as_ref(), packet);
    let shot = exif.as_ref().and_then(|exif| shot(exif, packet, head, media, name, mtime));
    Told { shot, rating, orientation }
}

/// How the picture is turned, 1 to 8, by the beginning of its file.
pub(crate) fn orientation(head: &[u8]) -> u8 {
    turned(exif_of(head).as_ref())
}

/// The stars in the file itself, by its beginning.
pub(crate) fn rating(head: &[u8]) -> Option<i8> {
    stars(exif_of(head).as_ref(), xmp::packet(head))
}

fn number(exif: Option<&Exif>, tag: Tag) -> Option<u32> {
    exif?.get_field(tag, In::PRIMARY)?.value.get_uint(0)
}

fn turned(exif: Option<&Exif>) -> u8 {
    let turned = number(exif, Tag::Orientation).and_then(|turned| u8::try_from(turned).ok());
    turned.filter(|turned| (1..=8).contains(turned)).unwrap_or(1)
}

fn stars(exif: Option<&Exif>, packet: Option<&str>) -> Option<i8> {
    // `Rating` of EXIF, as Windows writes it.
    let stars = number(exif, Tag(exif::Context::Tiff, 0x4746)).map(|stars| stars.min(5) as i8);
    packet.and_then(xmp::rating).or(stars)
}

fn exif_of(head: &[u8]) -> Option<Exif> {
    let mut reader = exif::Reader::new();
    reader.continue_on_error(true);
    let read = reader.read_from_container(&mut std::io::Cursor::new(head));
    let read = read.or_else(|error| error.distill_partial_result(|_| {})).ok();
    // CR3 keeps its directories in a box of its own.
    let canon = || {
        let at = memchr::memmem::find(head, b"CMT1")? + 4;
        let mut reader = exif::Reader::new();
        reader.continue_on_error(true);
        let read = reader.read_raw(head.get(at..)?.to_vec());
        read.or_else(|error| error.distill_partial_result(|_| {})).ok()
    };
    read.or_else(canon)
}

fn text(exif: &Exif, tag: Tag) -> Option<String> {
    let field = exif.get_field(tag, In::PRIMARY)?;
    let Value::Ascii(parts) = &field.value else { return None };
    let text = String::from_utf8_lossy(parts.first()?).trim_matches(['\0', ' ']).to_owned();
    (!text.is_empty()).then_some(text)
}

fn shot(exif: &Exif, packet: Option<&str>, head: &[u8], media: Media, name: &str, mtime: i64) -> Option<Shot> {
    let taken = text(exif, Tag::DateTimeOriginal)?;
    let taken_at = seconds(&taken)?;
    // Some cameras write zeros because they measure none: nothing to tell two frames apart by.
    let sub_seconds = text(exif, Tag::SubSecTimeOriginal)?;
    let digits = sub_seconds.bytes().all(|digit| digit.is_ascii_digit());
    if !digits || sub_seconds.bytes().all(|digit| digit == b'0') {
        return None;
    }
    // In DNG the body's number has a tag of its own.
    let serial = text(exif, Tag(exif::Context::Exif, 0xA431)).or_else(|| text(exif, Tag(exif::Context::Tiff, 0xC62F)));
    let serial = serial.or_else(|| packet.and_then(xmp::serial).map(str::to_owned))?;
    let changed = text(exif, Tag::DateTime).and_then(|changed| seconds(&changed));
    let program = text(exif, Tag::Software).is_some_and(|software| is_program(&software));
    let later = changed.is_some_and(|changed| changed - taken_at >= LATER);
    let edited = media != Media::Raw && (program || later || packet.is_some_and(xmp::is_edited));
    let (width, height) = size(exif, head);
    Some(Shot {
        key: ShotKey::of(serial.trim(), &taken, &sub_seconds),
        long: width.max(height),
        short: width.min(height),
        raw: media == Media::Raw,
        edited,
        made: if edited { changed.unwrap_or(mtime) } else { taken_at },
        name: name.to_lowercase().into(),
    })
}

fn is_program(software: &str) -> bool {
    let software = software.to_lowercase();
    PROGRAMS.iter().any(|program| software.contains(program))
}

/// «2026:06:20 18:03:07» in seconds, for comparing such times with each other.
fn seconds(text: &str) -> Option<i64> {
    let mut numbers = text.split([':', ' ', '-', 'T']).map(|part| part.parse::<i64>().ok());
    let mut next = || numbers.next().flatten();
    let (year, month, day) = (next()?, next()?, next()?);
    let (hour, minute, second) = (next()?, next()?, next().unwrap_or(0));
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days from the civil calendar, counted in years that begin in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// Pixels, from the JPEG's own frame where there is one, else from what EXIF says; zeros where nobody says.
fn size(exif: &Exif, head: &[u8]) -> (u32, u32) {
    jpeg_size(head).unwrap_or_else(|| {
        let number = |tag| exif.get_field(tag, In::PRIMARY).and_then(|field| field.value.get_uint(0)).unwrap_or(0);
        (number(Tag::PixelXDimension), number(Tag::PixelYDimension))
    })
}

/// Width and height from the frame header of a JPEG (ITU-T T.81, B.2.2), if it lies in these bytes.
pub(crate) fn jpeg_size(head: &[u8]) -> Option<(u32, u32)> {
    let mut rest = head.strip_prefix(&[0xFF, 0xD8])?;
    loop {
        match rest {
            [0xFF, 0xFF, ..] => rest = &rest[1..],
            // Baseline, extended and progressive: what can be shown. RAW data is lossless.
            [0xFF, 0xC0..=0xC2, _, _, _, h1, h2, w1, w2, ..] => {
                return Some((u32::from(*w1) << 8 | u32::from(*w2), u32::from(*h1) << 8 | u32::from(*h2)));
            }
            [0xFF, 0xD9 | 0xDA, ..] => return None,
            [0xFF, ..] => rest = after_segment(rest)?,
            _ => return None,
        }
    }
}

fn after_segment(bytes: &[u8]) -> Option<&[u8]> {
    let length = usize::from(*bytes.get(2)?) << 8 | usize::from(*bytes.get(3)?);
    bytes.get(2 + length..)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What a test's photo says of itself.
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Says<'a> {
        pub(crate) taken: &'a str,
        pub(crate) sub: &'a str,
        pub(crate) serial: &'a str,
        pub(crate) software: &'a str,
        pub(crate) changed: &'a str,
    }

    pub(crate) const CAMERA: Says<'static> = Says {
        taken: "2026:06:20 18:03:07",
        sub: "42",
        serial: "6012345",
        software: "Ver.01.20",
        changed: "2026:06:20 18:03:07",
    };

    /// An EXIF block (TIFF, little-endian) with these texts; empty ones are left out.
    pub(crate) fn exif_block(says: Says<'_>) -> Vec<u8> {
        let directory = |at: u32, texts: &[(u16, &str)], pointer: Option<(u16, u32)>| {
            let texts: Vec<_> = texts.iter().filter(|(_, text)| !text.is_empty()).collect();
            let count = texts.len() + usize::from(pointer.is_some());
            let mut data_at = at + 2 + 12 * count as u32 + 4;
            let (mut entries, mut data) = ((count as u16).to_le_bytes().to_vec(), Vec::<u8>::new());
            let mut entry = |tag: u16, kind: u16, count: u32, value: [u8; 4]| {
                entries.extend(tag.to_le_bytes());
                entries.extend(kind.to_le_bytes());
                entries.extend(count.to_le_bytes());
                entries.extend(value);
            };
            for (tag, text) in texts {
                let mut bytes = text.as_bytes().to_vec();
                bytes.push(0);
                let mut value = [0; 4];
                if bytes.len() <= 4 {
                    value[..bytes.len()].copy_from_slice(&bytes);
                } else {
                    value = data_at.to_le_bytes();
                    data_at += bytes.len() as u32;
                    data.extend(&bytes);
                }
                entry(*tag, 2, bytes.len() as u32, value);
            }
            if let Some((tag, to)) = pointer {
                entry(tag, 4, 1, to.to_le_bytes());
            }
            entries.extend([0; 4]);
            entries.extend(data);
            entries
        };
        let first = [(0x010F, "NIKON"), (0x0131, says.software), (0x0132, says.changed)];
        let length = directory(8, &first, Some((0x8769, 0))).len() as u32;
        let mut block = b"II*\0\x08\0\0\0".to_vec();
        block.extend(directory(8, &first, Some((0x8769, 8 + length))));
        let second = [(0x9003, says.taken), (0x9291, says.sub), (0xA431, says.serial)];
        block.extend(directory(8 + length, &second, None));
        block
    }

    /// A JPEG by its structure, of this size, with these data; `scan` makes its picture another one.
    pub(crate) fn jpeg(says: Says<'_>, (width, height): (u16, u16), scan: u8) -> Vec<u8> {
        let block = exif_block(says);
        let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xE1];
        bytes.extend((block.len() as u16 + 8).to_be_bytes());
        bytes.extend(b"Exif\0\0");
        bytes.extend(block);
        bytes.extend([0xFF, 0xC0, 0, 11, 8]);
        bytes.extend(height.to_be_bytes());
        bytes.extend(width.to_be_bytes());
        bytes.extend([1, 1, 0x11, 0, 0xFF, 0xDA, 0, 3, 7, scan, scan, scan, 0xFF, 0xD9]);
        bytes
    }

    fn of(says: Says<'_>) -> Option<Shot> {
        told(&jpeg(says, (6000, 4000), 1), Media::Jpeg, "DSC_1", 7).shot
    }

    #[test]
    fn a_shot_is_named_by_serial_time_and_sub_seconds() {
        let shot = of(CAMERA).unwrap();
        assert_eq!((shot.long, shot.short, shot.edited, &*shot.name), (6000, 4000, false, "dsc_1"));
        assert_eq!(shot.key, of(Says { software: "", changed: "", ..CAMERA }).unwrap().key);
        for other in [
            Says { taken: "2026:06:20 18:03:08", changed: "", ..CAMERA },
            Says { sub: "43", ..CAMERA },
            Says { serial: "6012346", ..CAMERA },
        ] {
            assert_ne!(of(other).unwrap().key, shot.key, "{other:?}");
        }
        for none in [
            Says { sub: "", ..CAMERA },
            Says { sub: "00", ..CAMERA },
            Says { serial: "", ..CAMERA },
            Says { taken: "", ..CAMERA },
            Says { taken: "0000:00:00 00:00:00", ..CAMERA },
        ] {
            assert_eq!(of(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_program_leaves_its_mark() {
        let edited = |says| of(says).unwrap().edited;
        assert!(!edited(CAMERA));
        assert!(!edited(Says { changed: "2026:06:20 18:03:08", ..CAMERA }), "a long exposure");
        assert!(edited(Says { software: "Adobe Photoshop Lightroom Classic 13.2 (Macintosh)", ..CAMERA }));
        assert!(edited(Says { changed: "2026:06:20 21:15:00", ..CAMERA }));
        assert_eq!(
            of(Says { changed: "2026:06:20 18:03:17", ..CAMERA }).unwrap().made,
            seconds(CAMERA.taken).unwrap() + 10
        );
    }

    #[test]
    fn times_are_compared_in_seconds() {
        assert_eq!(seconds("1970:01:01 00:00:00"), Some(0));
        assert_eq!(seconds("2024:02:29 12:00:00").unwrap() + 86_400, seconds("2024:03:01 12:00:00").unwrap());
        for none in ["", "2026", "2026:13:01 00:00:00", "not a time", "    :  :     :  :  "] {
            assert_eq!(seconds(none), None, "{none}");
        }
    }

    #[test]
    fn the_size_is_that_of_the_frame() {
        assert_eq!(jpeg_size(&jpeg(CAMERA, (300, 200), 1)), Some((300, 200)));
        let whole = jpeg(CAMERA, (300, 200), 1);
        assert!((0..150).all(|cut| jpeg_size(&whole[..cut]).is_none()), "cut off before its frame");
        assert_eq!(jpeg_size(b"\xFF\xD8\xFF\xD9"), None);
    }
}
