//! Places in JPEG files: EXIF, XMP, extended XMP and Photoshop segments, of every image in the file.

use std::io::{self, Read, Seek};

use super::iptc::{self, Resource};
use super::{Patch, Source, tiff, xmp};

/// Images that one file is searched for; multi-picture files have two or three.
const MOST_IMAGES: usize = 32;

/// Bytes that are looked through at once.
const WINDOW: u64 = 256 << 10;

const EXIF: &[u8] = b"Exif\0\0";
const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
const EXTENDED_XMP: &[u8] = b"http://ns.adobe.com/xmp/extension/\0";
const PHOTOSHOP: &[u8] = b"Photoshop 3.0\0";

/// Behind the name of an extended XMP segment: digest, length of the whole, offset of this part.
const EXTENDED_HEAD: usize = 32 + 4 + 4;

pub(super) fn find<R: Read + Seek>(source: &mut Source<R>, found: &mut Vec<Patch>) -> io::Result<()> {
    let mut start = Some(0);
    for _ in 0..MOST_IMAGES {
        let Some(at) = start else { break };
        let end = image(source, at + 2, found)?;
        start = search(source, end, |w| memchr::memmem::find(w, &[0xFF, 0xD8, 0xFF]), 3)?;
    }
    Ok(())
}

/// A part of an extended XMP: whose, where it belongs, where it is in the file, its bytes.
type Part = (Vec<u8>, u32, u64, Vec<u8>);

/// One image from behind its start marker; where it ends.
fn image<R: Read + Seek>(source: &mut Source<R>, mut at: u64, found: &mut Vec<Patch>) -> io::Result<u64> {
    let mut extended = Vec::new();
    loop {
        let head = source.bytes(at, 4)?;
        let (marker, length) = match head[..] {
            [0xFF, 0xFF, ..] => {
                at += 1;
                continue;
            }
            [0xFF, 0xD9, ..] | [] | [_] => break,
            [0xFF, 0x01 | 0xD0..=0xD8, ..] => {
                at += 2;
                continue;
            }
            [0xFF, marker, high, low] if marker != 0 => (marker, u64::from(u16::from_be_bytes([high, low]))),
            _ => {
                // Data between markers: of a scan, or what a damaged file has there. The next marker goes on.
                match search(source, at + 1, marker_in, 2)? {
                    Some(next) => at = next,
                    None => break,
                }
                continue;
            }
        };
        let payload = (at + 4, length.saturating_sub(2));
        match marker {
            0xE1 => extended.extend(app1(source, payload, found)?),
            0xED => {
                let block = source.bytes(payload.0, payload.1)?;
                if let Some(resources) = block.strip_prefix(PHOTOSHOP) {
                    photoshop(source, resources, payload.0 + PHOTOSHOP.len() as u64, found)?;
                }
            }
            _ => {}
        }
        at += 2 + length.max(2);
        if marker == 0xDA {
            match search(source, at, marker_in, 2)? {
                Some(next) => at = next,
                None => break,
            }
        }
    }
    extended_xmp(extended, found);
    Ok(at)
}

/// A segment that may be EXIF or XMP; a part of an extended XMP is given back.
fn app1<R: Read + Seek>(
    source: &mut Source<R>,
    (at, length): (u64, u64),
    found: &mut Vec<Patch>,
) -> io::Result<Option<Part>> {
    let bytes = source.bytes(at, length)?;
    let begin = |name: &[u8]| at + name.len() as u64;
    if bytes.starts_with(EXIF) {
        tiff::find(source, begin(EXIF), at + length, found)?;
    } else if let Some(packet) = bytes.strip_prefix(XMP) {
        found.extend(xmp::places(packet).iter().map(|r| Patch::spaces(begin(XMP) + r.start as u64, r.len() as u64)));
    } else if let Some(part) = bytes.strip_prefix(EXTENDED_XMP)
        && part.len() > EXTENDED_HEAD
    {
        let (head, data) = part.split_at(EXTENDED_HEAD);
        let offset = u32::from_be_bytes([head[36], head[37], head[38], head[39]]);
        let data_at = begin(EXTENDED_XMP) + EXTENDED_HEAD as u64;
        return Ok(Some((head[..32].to_vec(), offset, data_at, data.to_vec())));
    }
    Ok(None)
}

/// Puts the parts together, because a property may lie across two of them, and the places back to where they are.
fn extended_xmp(mut parts: Vec<Part>, found: &mut Vec<Patch>) {
    parts.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    for whole in parts.chunk_by(|a, b| a.0 == b.0) {
        let packet: Vec<u8> = whole.iter().flat_map(|part| &part.3).copied().collect();
        for place in xmp::places(&packet) {
            let mut start = 0;
            for (_, _, at, data) in whole {
                let (from, to) = (place.start.max(start), place.end.min(start + data.len()));
                if from < to {
                    found.push(Patch::spaces(at + (from - start) as u64, (to - from) as u64));
                }
                start += data.len();
            }
        }
    }
}

/// Places in the resources of a Photoshop block that begins at `at`.
pub(super) fn photoshop<R: Read + Seek>(
    source: &mut Source<R>,
    block: &[u8],
    at: u64,
    found: &mut Vec<Patch>,
) -> io::Result<()> {
    for (resource, range) in iptc::resources(block) {
        let (start, data) = (at + range.start as u64, &block[range]);
        let places = match resource {
            Resource::Iptc => iptc::places(data),
            Resource::Xmp => xmp::places(data),
            Resource::Exif => {
                tiff::find(source, start, start + data.len() as u64, found)?;
                Vec::new()
            }
        };
        found.extend(places.iter().map(|r| Patch::spaces(start + r.start as u64, r.len() as u64)));
    }
    Ok(())
}

/// A marker in data: not a stuffed zero, not a restart, not filling.
fn marker_in(window: &[u8]) -> Option<usize> {
    memchr::memchr_iter(0xFF, window)
        .find(|at| window.get(at + 1).is_some_and(|next| !matches!(next, 0 | 0xD0..=0xD7 | 0xFF)))
}

/// Looks for something `long` bytes long from `at` on, window by window.
pub(super) fn search<R: Read + Seek>(
    source: &mut Source<R>,
    mut at: u64,
    look: impl Fn(&[u8]) -> Option<usize>,
    long: u64,
) -> io::Result<Option<u64>> {
    while at < source.length {
        let window = source.bytes(at, WINDOW)?;
        if let Some(found) = look(&window) {
            return Ok(Some(at + found as u64));
        }
        if (window.len() as u64) < WINDOW {
            break;
        }
        // What lies across the border is found in the next window.
        at += WINDOW - (long - 1);
    }
    Ok(None)
}
