//! Places in PNG and WebP by their chunks, and in every other container (HEIF, AVIF, RAW) by the signatures with which
//! metadata begins, wherever it lies.

use std::io::{self, Read, Seek};

use super::jpeg::search;
use super::{Fill, LARGEST_BLOCK, Patch, Patches, Source, tiff, xmp};

/// Chunks and signatures that are looked at in one file.
const MOST_BLOCKS: usize = 4096;

/// PNG: length, type, data, checksum. A chunk that changes gets the checksum of what it then holds.
pub(super) fn png<R: Read + Seek>(source: &mut Source<R>, found: &mut Vec<Patch>) -> io::Result<()> {
    let mut at = 8;
    for _ in 0..MOST_BLOCKS {
        let head = source.bytes(at, 8)?;
        let [a, b, c, d, kind @ ..] = &head[..] else { break };
        let length = u64::from(u32::from_be_bytes([*a, *b, *c, *d]));
        let data = at + 8;
        if matches!(kind, b"eXIf" | b"iTXt" | b"tEXt" | b"zTXt") && data + length + 4 <= source.length {
            let mut here = Vec::new();
            match kind {
                b"eXIf" => tiff::find(source, data, data + length, &mut here)?,
                _ => png_text(source, kind, data, length, &mut here)?,
            }
            if !here.is_empty() {
                let patches = Patches::of(here, data + length);
                let checksum = checksum(source, at + 4, length + 4, &patches)?;
                found.extend(patches.0);
                found.push(Patch { at: data + length, fill: Fill::Word(checksum.to_be_bytes()) });
            }
        }
        at = data + length + 4;
    }
    Ok(())
}

/// The checksum of a chunk as it is after the change, in pieces.
fn checksum<R: Read + Seek>(source: &mut Source<R>, at: u64, length: u64, patches: &Patches) -> io::Result<u32> {
    let (mut hasher, mut done) = (crc32fast::Hasher::new(), 0);
    while done < length {
        let mut piece = source.bytes(at + done, (length - done).min(1 << 16))?;
        if piece.is_empty() {
            break;
        }
        patches.apply(at + done, &mut piece);
        hasher.update(&piece);
        done += piece.len() as u64;
    }
    Ok(hasher.finalize())
}

/// Text of a PNG: XMP in the clear is searched; compressed XMP, and profiles written out in digits, are blanked.
fn png_text<R: Read + Seek>(
    source: &mut Source<R>,
    kind: &[u8],
    at: u64,
    length: u64,
    found: &mut Vec<Patch>,
) -> io::Result<()> {
    let head = source.bytes(at, length.min(80))?;
    let Some(named) = memchr::memchr(0, &head) else { return Ok(()) };
    let keyword = head[..named].to_ascii_lowercase();
    let says = |word: &str| memchr::memmem::find(&keyword, word.as_bytes()).is_some();
    let rest = at + named as u64 + 1;
    let left = length - named as u64 - 1;
    if says("raw profile type") || says("gps") || says("latitude") || says("longitude") || says("location") {
        // The text only: flags and compression method stay what they are.
        let flags = match kind {
            b"zTXt" => 1,
            b"iTXt" => 2,
            _ => 0,
        };
        let text = left.saturating_sub(flags);
        let fill = if kind == b"tEXt" { Fill::Spaces(text) } else { Fill::Zeros(text) };
        found.push(Patch { at: rest + flags.min(left), fill });
    } else if says("xmp") {
        let compressed = head.get(named + 1) == Some(&1) || kind == b"zTXt";
        if compressed || left > LARGEST_BLOCK {
            let flags = left.min(4);
            found.push(Patch::zeros(rest + flags, left - flags));
        } else {
            let packet = source.bytes(rest, left)?;
            // Language and translated keyword end with zeros; markup begins after them.
            let begin = memchr::memchr(b'<', &packet).unwrap_or(packet.len());
            let places = xmp::places(&packet[begin..]);
            found.extend(places.iter().map(|r| Patch::spaces(rest + (begin + r.start) as u64, r.len() as u64)));
        }
    }
    Ok(())
}

/// WebP: RIFF chunks, each padded to an even length.
pub(super) fn webp<R: Read + Seek>(source: &mut Source<R>, found: &mut Vec<Patch>) -> io::Result<()> {
    let mut at = 12;
    for _ in 0..MOST_BLOCKS {
        let head = source.bytes(at, 8)?;
        let [kind @ .., a, b, c, d] = &head[..] else { break };
        let length = u64::from(u32::from_le_bytes([*a, *b, *c, *d]));
        let data = at + 8;
        match kind {
            b"EXIF" => {
                // Some writers put the JPEG segment's name before the block.
                let named = source.bytes(data, 6)? == b"Exif\0\0";
                tiff::find(source, data + if named { 6 } else { 0 }, data + length, found)?;
            }
            b"XMP " if length > LARGEST_BLOCK => found.push(Patch::spaces(data, length)),
            b"XMP " => {
                let packet = source.bytes(data, length)?;
                found.extend(xmp::places(&packet).iter().map(|r| Patch::spaces(data + r.start as u64, r.len() as u64)));
            }
            _ => {}
        }
        at = data + length.next_multiple_of(2);
    }
    Ok(())
}

/// Anything else: EXIF blocks by the name and byte order that they begin with, XMP packets by their root element. Metadata
/// lies in the clear in all containers of photos.
pub(super) fn by_signature<R: Read + Seek>(source: &mut Source<R>, found: &mut Vec<Patch>) -> io::Result<()> {
    for signature in [&b"Exif\0\0II"[..], b"Exif\0\0MM", b"CMT1", b"CMT2", b"CMT4"] {
        let mut at = 0;
        for _ in 0..MOST_BLOCKS {
            let look = |window: &[u8]| memchr::memmem::find(window, signature);
            let Some(start) = search(source, at, look, signature.len() as u64)? else { break };
            let (end, base) = (source.length, start + if signature.len() > 4 { 6 } else { 4 });
            match signature {
                b"CMT4" => tiff::find_gps(source, base, end, found)?,
                _ => tiff::find(source, base, end, found)?,
            }
            at = start + 4;
        }
    }
    let mut at = 0;
    for _ in 0..64 {
        let Some(start) = search(source, at, |w| memchr::memmem::find(w, b"<x:xmpmeta"), 10)? else { break };
        let close = b"</x:xmpmeta>";
        let end = search(source, start, |w| memchr::memmem::find(w, close), close.len() as u64)?;
        let end = end.map_or(source.length, |end| end + close.len() as u64).min(start + LARGEST_BLOCK);
        let packet = source.bytes(start, end - start)?;
        found.extend(xmp::places(&packet).iter().map(|r| Patch::spaces(start + r.start as u64, r.len() as u64)));
        at = end;
    }
    Ok(())
}
