//! A zip archive written as a stream, whose length is known before its first byte: entries are stored, not compressed
//! (photos are compressed already), and each checksum follows its entry in a data descriptor (APPNOTE 6.3.10, 4.3.9).
//!
//! Invariant: the same entries give the same bytes, so that a length may be promised and kept. ZIP64 fields stand where
//! a number needs them and only there.

use crate::names::safe_name;

/// Largest number of a 32-bit field; this and larger ones go into ZIP64 fields.
const MOST_32: u64 = 0xFFFF_FFFF;
const MOST_16: u64 = 0xFFFF;

/// Names are UTF-8 (bit 11), sizes and checksum come behind the data (bit 3).
const FLAGS: u16 = 1 << 11 | 1 << 3;

/// 1980-01-01 00:00, the earliest that the format knows.
const EARLIEST: DosTime = DosTime { date: 1 << 5 | 1, time: 0 };

/// One file of the archive, before its bytes are read.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Its name; see [`unique_names`].
    pub(crate) name: String,
    /// Bytes that it will have, exactly.
    pub(crate) length: u64,
    /// What its modification time says.
    pub(crate) modified: DosTime,
}

/// A time as MS-DOS kept it: local, two seconds fine, from 1980 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DosTime {
    date: u16,
    time: u16,
}

impl DosTime {
    /// From a capture time as the camera wrote it (`2026-06-20T15:00:04…`); the earliest there is when it is none.
    pub(crate) fn of_capture(text: Option<&str>) -> Self {
        Self::read(text.unwrap_or_default()).unwrap_or(EARLIEST)
    }

    fn read(text: &str) -> Option<Self> {
        let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u16>().ok();
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
        let fits = (1980..=2107).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
        let fits = fits && hour < 24 && minute < 60 && second <= 60;
        fits.then(|| Self {
            date: (year - 1980) << 9 | month << 5 | day,
            time: hour << 11 | minute << 5 | (second.min(59) / 2),
        })
    }
}

/// The archive on its way: what was written so far.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    at: u64,
    central: Vec<u8>,
    entries: u64,
}

impl Writer {
    /// What comes before an entry's bytes.
    pub(crate) fn begin(&mut self, entry: &Entry) -> Vec<u8> {
        let large = entry.length >= MOST_32;
        let mut head = Vec::with_capacity(30 + entry.name.len() + 20);
        head.extend(0x0403_4B50_u32.to_le_bytes());
        head.extend(version(large).to_le_bytes());
        common(&mut head, entry);
        // Checksum and sizes: behind the data. Where the sizes need 64 bits, the extra field says so.
        let size = if large { u32::MAX } else { 0 };
        for number in [0, size, size] {
            head.extend(number.to_le_bytes());
        }
        head.extend((entry.name.len() as u16).to_le_bytes());
        head.extend(if large { 20_u16 } else { 0 }.to_le_bytes());
        head.extend(entry.name.as_bytes());
        if large {
            extra(&mut head, &[0, 0]);
        }
        self.at += head.len() as u64;
        head
    }

    /// What comes behind an entry's bytes: their checksum (CRC-32) and number.
    pub(crate) fn end(&mut self, entry: &Entry, checksum: u32) -> Vec<u8> {
        let large = entry.length >= MOST_32;
        let start = self.at - head_length(entry);
        let mut tail = Vec::with_capacity(24);
        tail.extend(0x0807_4B50_u32.to_le_bytes());
        tail.extend(checksum.to_le_bytes());
        for _ in 0..2 {
            match large {
                true => tail.extend(entry.length.to_le_bytes()),
                false => tail.extend((entry.length as u32).to_le_bytes()),
            }
        }
        self.remember(entry, checksum, start);
        self.at += entry.length + tail.len() as u64;
        tail
    }

    /// Adds an entry to the directory at the archive's end.
    fn remember(&mut self, entry: &Entry, checksum: u32, start: u64) {
        let (large, far) = (entry.length >= MOST_32, start >= MOST_32);
        let mut numbers = if large { vec![entry.length, entry.length] } else { Vec::new() };
        numbers.extend(far.then_some(start));
        let head = &mut self.central;
        head.extend(0x0201_4B50_u32.to_le_bytes());
        // Made on Unix, so that the permissions below count.
        head.extend((3 << 8 | version(large || far)).to_le_bytes());
        head.extend(version(large || far).to_le_bytes());
        common(head, entry);
        head.extend(checksum.to_le_bytes());
        for _ in 0..2 {
            head.extend((entry.length.min(MOST_32) as u32).to_le_bytes());
        }
        head.extend((entry.name.len() as u16).to_le_bytes());
        head.extend(if numbers.is_empty() { 0 } else { 4 + 8 * numbers.len() as u16 }.to_le_bytes());
        // No comment, first disk, no internal attributes.
        head.extend([0; 6]);
        head.extend((0o100_644_u32 << 16).to_le_bytes());
        head.extend((start.min(MOST_32) as u32).to_le_bytes());
        head.extend(entry.name.as_bytes());
        if !numbers.is_empty() {
            extra(head, &numbers);
        }
        self.entries += 1;
    }

    /// What ends the archive: its directory.
    pub(crate) fn finish(self) -> Vec<u8> {
        let (size, start) = (self.central.len() as u64, self.at);
        let mut tail = self.central;
        if self.entries >= MOST_16 || size >= MOST_32 || start >= MOST_32 {
            let record = start + size;
            tail.extend(0x0606_4B50_u32.to_le_bytes());
            tail.extend(44_u64.to_le_bytes());
            tail.extend((3 << 8 | version(true)).to_le_bytes());
            tail.extend(version(true).to_le_bytes());
            tail.extend([0; 8]);
            for number in [self.entries, self.entries, size, start] {
                tail.extend(number.to_le_bytes());
            }
            tail.extend(0x0706_4B50_u32.to_le_bytes());
            tail.extend([0; 4]);
            tail.extend(record.to_le_bytes());
            tail.extend(1_u32.to_le_bytes());
        }
        tail.extend(0x0605_4B50_u32.to_le_bytes());
        tail.extend([0; 4]);
        for _ in 0..2 {
            tail.extend((self.entries.min(MOST_16) as u16).to_le_bytes());
        }
        tail.extend((size.min(MOST_32) as u32).to_le_bytes());
        tail.extend((start.min(MOST_32) as u32).to_le_bytes());
        tail.extend([0; 2]);
        tail
    }
}

/// Bytes of the whole archive of these entries.
pub(crate) fn length(entries: &[Entry]) -> u64 {
    // The very code that writes it, without the data.
    let mut writer = Writer::default();
    for entry in entries {
        writer.begin(entry);
        writer.end(entry, 0);
    }
    let before = writer.at;
    before + writer.finish().len() as u64
}

/// 4.5 knows ZIP64, 2.0 all the rest.
const fn version(large: bool) -> u16 {
    if large { 45 } else { 20 }
}

fn head_length(entry: &Entry) -> u64 {
    30 + entry.name.len() as u64 + if entry.length >= MOST_32 { 20 } else { 0 }
}

/// Flags, method (stored) and time: alike in both headers.
fn common(head: &mut Vec<u8>, entry: &Entry) {
    for number in [FLAGS, 0, entry.modified.time, entry.modified.date] {
        head.extend(number.to_le_bytes());
    }
}

/// The ZIP64 extra field.
fn extra(head: &mut Vec<u8>, numbers: &[u64]) {
    head.extend(1_u16.to_le_bytes());
    head.extend((8 * numbers.len() as u16).to_le_bytes());
    for number in numbers {
        head.extend(number.to_le_bytes());
    }
}

/// Names for the files of one folder on anybody's disk: no path in them, none twice (also where a system does not tell
/// capital letters from small ones), none too long. The same names in the same order give the same.
pub(crate) fn unique_names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut taken = std::collections::HashSet::new();
    names
        .map(|name| {
            let name = safe_name(name);
            let (stem, extension) = match name.rfind('.') {
                Some(at) if at > 0 => name.split_at(at),
                _ => (name.as_str(), ""),
            };
            let numbered = (2_u64..).map(|n| format!("{stem} ({n}){extension}"));
            let mut candidates = std::iter::once(name.clone()).chain(numbered);
            candidates.find(|name| taken.insert(name.to_lowercase())).unwrap_or_default()
        })
        .collect()
}

#[cfg(test)]
mod tests;
