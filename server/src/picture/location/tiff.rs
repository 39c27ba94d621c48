//! Places in TIFF structures: EXIF blocks, TIFF files, TIFF-based RAW. The GPS directory becomes an empty one and its
//! values zeros; the pointer to it stays.

use std::collections::HashSet;
use std::io::{self, Read, Seek};

use super::{LARGEST_BLOCK, Patch, Source, iptc, xmp};

/// Directories that are looked into; real files have a dozen.
const MOST_DIRECTORIES: usize = 64;

/// Magic numbers behind the byte order: TIFF, and the RAW formats of two makers that are the same otherwise.
const MAGIC: [u16; 4] = [42, 0x55, 0x4F52, 0x5352];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Directory {
    Any,
    Gps,
}

/// Finds places in the TIFF structure in `base..end`, if there is one.
pub(super) fn find<R: Read + Seek>(
    source: &mut Source<R>,
    base: u64,
    end: u64,
    found: &mut Vec<Patch>,
) -> io::Result<()> {
    walk(source, base, end, Directory::Any, found)
}

/// As [`find`], where the first directory is the GPS one itself (CR3).
pub(super) fn find_gps<R: Read + Seek>(
    source: &mut Source<R>,
    base: u64,
    end: u64,
    found: &mut Vec<Patch>,
) -> io::Result<()> {
    walk(source, base, end, Directory::Gps, found)
}

fn walk<R: Read + Seek>(
    source: &mut Source<R>,
    base: u64,
    end: u64,
    first: Directory,
    found: &mut Vec<Patch>,
) -> io::Result<()> {
    let end = end.min(source.length);
    let head = source.bytes(base, 8)?;
    let little = match head.get(..2) {
        Some(b"II") => true,
        Some(b"MM") => false,
        _ => return Ok(()),
    };
    let order = Order { little };
    if head.len() < 8 || end < base + 8 || !MAGIC.contains(&order.short(&head[2..4])) {
        return Ok(());
    }
    let mut block = Block { source, base, end, order, found };
    let mut left = vec![(order.long(&head[4..8]), first)];
    let mut seen = HashSet::new();
    while let Some((offset, kind)) = left.pop() {
        if seen.len() < MOST_DIRECTORIES && seen.insert((offset, kind == Directory::Gps)) {
            block.directory(offset, kind, &mut left)?;
        }
    }
    Ok(())
}

/// Byte order of a block.
#[derive(Clone, Copy)]
struct Order {
    little: bool,
}

impl Order {
    fn short(self, bytes: &[u8]) -> u16 {
        let bytes = [bytes[0], bytes[1]];
        if self.little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) }
    }

    fn long(self, bytes: &[u8]) -> u64 {
        let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
        u64::from(if self.little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }
}

struct Block<'a, R> {
    source: &'a mut Source<R>,
    base: u64,
    end: u64,
    order: Order,
    found: &'a mut Vec<Patch>,
}

impl<R: Read + Seek> Block<'_, R> {
    fn directory(&mut self, offset: u64, kind: Directory, left: &mut Vec<(u64, Directory)>) -> io::Result<()> {
        let at = self.base + offset;
        if at + 2 > self.end {
            return Ok(());
        }
        let count = u64::from(self.order.short(&self.source.bytes(at, 2)?));
        let entries = self.source.bytes(at + 2, (count * 12).min(self.end - at - 2))?;
        if kind == Directory::Gps {
            self.found.push(Patch::zeros(at, 2 + entries.len() as u64));
        }
        for (n, entry) in entries.as_chunks::<12>().0.iter().enumerate() {
            let tag = self.order.short(&entry[..2]);
            let value = self.value(at + 2 + 12 * n as u64, entry);
            match (kind, tag) {
                (Directory::Gps, _) if value.1 > 4 => self.found.push(Patch::zeros(value.0, value.1)),
                (Directory::Gps, _) => {}
                (_, 0x8825) => left.push((self.order.long(&entry[8..]), Directory::Gps)),
                (_, 0x8769 | 0xA005) => left.push((self.order.long(&entry[8..]), Directory::Any)),
                (_, 0x014A) => {
                    let offsets = self.source.bytes(value.0, value.1.min(4 * 32))?;
                    left.extend(offsets.as_chunks::<4>().0.iter().map(|o| (self.order.long(o), Directory::Any)));
                }
                (_, 0x02BC) => self.xmp(value)?,
                (_, 0x83BB) => self.iptc(value)?,
                (_, 0x8649) => self.photoshop(value)?,
                _ => {}
            }
        }
        let next = self.source.bytes(at + 2 + count * 12, 4)?;
        if kind == Directory::Any && next.len() == 4 {
            left.push((self.order.long(&next), Directory::Any));
        }
        Ok(())
    }

    /// Where an entry's value is in the file, and how many bytes of it lie in the block.
    fn value(&self, entry_at: u64, entry: &[u8; 12]) -> (u64, u64) {
        let size = match self.order.short(&entry[2..4]) {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 => 8,
            _ => 0,
        };
        let bytes = size * self.order.long(&entry[4..8]);
        if bytes <= 4 {
            return (entry_at + 8, bytes);
        }
        let at = self.base + self.order.long(&entry[8..]);
        (at, bytes.min(self.end.saturating_sub(at)))
    }

    fn block(&mut self, (at, length): (u64, u64)) -> io::Result<Vec<u8>> {
        if length > LARGEST_BLOCK {
            self.found.push(Patch::spaces(at, length));
            return Ok(Vec::new());
        }
        self.source.bytes(at, length)
    }

    fn xmp(&mut self, value: (u64, u64)) -> io::Result<()> {
        let packet = self.block(value)?;
        self.found.extend(xmp::places(&packet).iter().map(|r| Patch::spaces(value.0 + r.start as u64, r.len() as u64)));
        Ok(())
    }

    fn iptc(&mut self, value: (u64, u64)) -> io::Result<()> {
        let records = self.block(value)?;
        let places = iptc::places(&records);
        self.found.extend(places.iter().map(|r| Patch::spaces(value.0 + r.start as u64, r.len() as u64)));
        Ok(())
    }

    fn photoshop(&mut self, value: (u64, u64)) -> io::Result<()> {
        let block = self.block(value)?;
        super::jpeg::photoshop(self.source, &block, value.0, self.found)
    }
}
