//! Places in XMP (ISO 16684-1): properties whose names say GPS, latitude, longitude or a place, under whatever prefix.
//! They are replaced by spaces as a whole, so that the rest stays well-formed.

use std::ops::Range;

/// Names (in lower case, without prefix) of properties that name a place: Photoshop, IPTC Core and Extension, WGS84.
const PLACES: [&str; 19] = [
    "city",
    "state",
    "country",
    "countrycode",
    "countryname",
    "location",
    "locationcreated",
    "locationshown",
    "locationname",
    "locationid",
    "sublocation",
    "provincestate",
    "worldregion",
    "lat",
    "long",
    "geotag",
    "geotagging",
    "regionname",
    "poi",
];

/// A packet with more places than this is blanked as a whole.
const MOST: usize = 512;

/// The ranges of a packet that tell a place.
pub(super) fn places(packet: &[u8]) -> Vec<Range<usize>> {
    // UTF-16 and UTF-32 are allowed and practically unknown; such a packet is blanked as a whole.
    if packet.iter().take(512).filter(|byte| **byte == 0).count() > 16 {
        return std::iter::once(0..packet.len()).collect();
    }
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(token) = next(packet, at) {
        at = token.end;
        let Kind::Open { name, closed } = &token.kind else { continue };
        if is_place(name) {
            if !closed {
                at = end_of(packet, name, at);
            }
            found.push(token.start..at);
        } else {
            found.extend(attributes(packet, token.start + 1 + name.len(), token.end));
        }
        if found.len() > MOST {
            return std::iter::once(0..packet.len()).collect();
        }
    }
    found
}

fn is_place(name: &[u8]) -> bool {
    let local = name.rsplit(|byte| *byte == b':').next().unwrap_or_default().to_ascii_lowercase();
    let says = |word: &[u8]| memchr::memmem::find(&local, word).is_some();
    local.starts_with(b"gps") || says(b"latitude") || says(b"longitude") || PLACES.iter().any(|p| p.as_bytes() == local)
}

enum Kind<'a> {
    Open { name: &'a [u8], closed: bool },
    Close { name: &'a [u8] },
    Other,
}

struct Token<'a> {
    start: usize,
    end: usize,
    kind: Kind<'a>,
}

/// The next markup at or after `at`.
fn next(packet: &[u8], at: usize) -> Option<Token<'_>> {
    let start = at + memchr::memchr(b'<', packet.get(at..)?)?;
    let rest = &packet[start..];
    let other = |end: &[u8]| {
        let length = memchr::memmem::find(rest, end).map_or(rest.len(), |found| found + end.len());
        Some(Token { start, end: start + length, kind: Kind::Other })
    };
    if rest.starts_with(b"<!--") {
        return other(b"-->");
    } else if rest.starts_with(b"<![CDATA[") {
        return other(b"]]>");
    } else if rest.starts_with(b"<?") {
        return other(b"?>");
    } else if rest.starts_with(b"<!") {
        return other(b">");
    }
    let close = rest.get(1) == Some(&b'/');
    let from = if close { 2 } else { 1 };
    let named = rest[from.min(rest.len())..].iter().take_while(|byte| is_name(**byte)).count();
    let name = &rest[from.min(rest.len())..][..named];
    let end = start + tag_length(rest);
    let closed = packet[..end].ends_with(b"/>");
    let kind = if close { Kind::Close { name } } else { Kind::Open { name, closed } };
    Some(Token { start, end, kind })
}

/// Bytes up to and with the `>` that ends a tag; one in a quoted value does not.
fn tag_length(tag: &[u8]) -> usize {
    let mut quote = None;
    for (at, &byte) in tag.iter().enumerate() {
        match quote {
            Some(open) if byte == open => quote = None,
            Some(_) => {}
            None if byte == b'>' => return at + 1,
            None if matches!(byte, b'"' | b'\'') => quote = Some(byte),
            None => {}
        }
    }
    tag.len()
}

fn is_name(byte: u8) -> bool {
    !matches!(byte, b'>' | b'/' | b'=' | b'<' | b'"' | b'\'') && !byte.is_ascii_whitespace()
}

/// Behind the end of the element `name` that was opened before `at`; the packet's end when it is never closed.
fn end_of(packet: &[u8], name: &[u8], mut at: usize) -> usize {
    let mut depth = 1;
    while let Some(token) = next(packet, at) {
        at = token.end;
        match token.kind {
            Kind::Open { name: inner, closed: false } if inner == name => depth += 1,
            Kind::Close { name: inner } if inner == name => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    packet.len()
}

/// The attributes of a tag that tell a place, with their values.
fn attributes(packet: &[u8], mut at: usize, end: usize) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    while at < end {
        if !is_name(packet[at]) {
            at += 1;
            continue;
        }
        let start = at;
        while at < end && is_name(packet[at]) {
            at += 1;
        }
        let name = &packet[start..at];
        let skip = |mut at: usize| {
            while at < end && packet[at].is_ascii_whitespace() {
                at += 1;
            }
            at
        };
        let equals = skip(at);
        if packet.get(equals) != Some(&b'=') || equals >= end {
            continue;
        }
        let open = skip(equals + 1);
        let Some(&quote) = packet[..end].get(open).filter(|byte| matches!(byte, b'"' | b'\'')) else {
            at = open;
            continue;
        };
        at = memchr::memchr(quote, &packet[open + 1..end]).map_or(end, |length| open + 1 + length + 1);
        if is_place(name) {
            found.push(start..at);
        }
    }
    found
}
