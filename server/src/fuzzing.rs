//! Entry points of the fuzz targets in `tests/fuzz`, built by them alone.

use std::io::Cursor;

pub use crate::http::fuzzing::*;
use crate::picture::location;
use crate::zip::{DosTime, Entry, Writer, length, unique_names};

/// Where a photo was taken: whatever the bytes are, patches lie inside, their stored form is read back as it was, and a
/// file that is sent in pieces is the file that is sent at once.
pub fn location(bytes: &[u8], piece: usize) {
    let Ok(patches) = location::find_in(Cursor::new(bytes)) else { return };
    assert_eq!(location::Patches::from_bytes(&patches.to_bytes()), Some(patches.clone()));
    let mut whole = bytes.to_vec();
    patches.apply(0, &mut whole);
    let mut pieces = bytes.to_vec();
    let size = piece.max(1);
    for (number, piece) in pieces.chunks_mut(size).enumerate() {
        patches.apply((number * size) as u64, piece);
    }
    assert!(whole == pieces, "in pieces of {size}");
}

/// Bytes as the catalogue might give them back for the patches of a photo.
pub fn stored_patches(bytes: &[u8]) {
    if let Some(patches) = location::Patches::from_bytes(bytes) {
        patches.apply(1 << 20, &mut [7; 4096]);
    }
}

/// An archive of these files, and their names in it: as long as was promised.
pub fn archive(files: &[(String, Vec<u8>, String)]) -> (Vec<u8>, Vec<String>) {
    let names = unique_names(files.iter().map(|(name, ..)| name.as_str()));
    let entries: Vec<Entry> = names
        .iter()
        .zip(files)
        .map(|(name, (_, bytes, taken))| Entry {
            name: name.clone(),
            length: bytes.len() as u64,
            modified: DosTime::of_capture(Some(taken)),
        })
        .collect();
    let (mut writer, mut archive) = (Writer::default(), Vec::new());
    for (entry, (_, bytes, _)) in entries.iter().zip(files) {
        archive.extend(writer.begin(entry));
        archive.extend(bytes);
        archive.extend(writer.end(entry, crc32fast::hash(bytes)));
    }
    archive.extend(writer.finish());
    assert_eq!(archive.len() as u64, length(&entries));
    (archive, names)
}

/// The announced length of an archive of files of any size: no overflow, and never shorter than the files.
pub fn archive_length(lengths: &[u64]) {
    let total: u64 = lengths.iter().sum();
    let entry = |length: &u64| Entry { name: "n".to_owned(), length: *length, modified: DosTime::of_capture(None) };
    let entries: Vec<Entry> = lengths.iter().map(entry).collect();
    assert!(length(&entries) > total);
}
