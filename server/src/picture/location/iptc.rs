//! Places in IPTC-IIM records, and the Photoshop blocks that hold them.

use std::ops::Range;

/// Datasets of record 2 that name a place: content location code and name, city, sublocation, province, country code and
/// name (IIM 4.2).
const PLACES: [u8; 7] = [26, 27, 90, 92, 95, 100, 101];

/// The values in a run of IIM datasets that name a place; they are replaced by spaces.
pub(super) fn places(records: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    // Marker, record, dataset, length. A length with its highest bit set is an extended one, which no place needs.
    while let Some([0x1C, record, dataset, high @ 0..=0x7F, low]) = records.get(at..at + 5) {
        let value = at + 5..(at + 5 + usize::from(u16::from_be_bytes([*high, *low]))).min(records.len());
        at = value.end;
        if *record == 2 && PLACES.contains(dataset) && !value.is_empty() {
            found.push(value);
        }
    }
    found
}

/// What a Photoshop resource holds that may tell a place.
pub(super) enum Resource {
    Iptc,
    Exif,
    Xmp,
}

/// The resources of a Photoshop block (signature, number, name, length, data; each padded to an even length).
pub(super) fn resources(block: &[u8]) -> Vec<(Resource, Range<usize>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(head) = block.get(at..at + 7).filter(|head| head.starts_with(b"8BIM")) {
        let number = u16::from_be_bytes([head[4], head[5]]);
        let name = (1 + usize::from(head[6])).next_multiple_of(2);
        let Some(length) = block.get(at + 6 + name..at + 10 + name) else { break };
        let length = length.iter().fold(0_usize, |all, byte| all << 8 | usize::from(*byte));
        let start = at + 10 + name;
        let data = start..start.saturating_add(length).min(block.len());
        at = data.start + data.len().next_multiple_of(2);
        let resource = match number {
            0x0404 => Resource::Iptc,
            0x0422 | 0x0423 => Resource::Exif,
            0x0424 => Resource::Xmp,
            _ => continue,
        };
        found.push((resource, data));
    }
    found
}
