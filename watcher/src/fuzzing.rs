//! Entry points of the fuzz targets in `tests/fuzz`, built by them alone.

use findme_common::media::Media;

use crate::format::EndCheck;
use crate::journal;

/// A journal as a disk may give it back; then with checksums that are right, so that the lines themselves are read.
pub fn journal(bytes: &[u8]) {
    replay(bytes);
    let mut sealed = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        sealed.extend_from_slice(line);
        sealed.extend_from_slice(format!(",\"crc\":\"{:08x}\"}}\n", crc32fast::hash(line)).as_bytes());
    }
    replay(&sealed);
}

fn replay(bytes: &[u8]) {
    let mut records = 0;
    let replayed = journal::replay(bytes, 1, |_| {
        records += 1;
        Ok(())
    });
    if let Ok(journal::Replayed::Good { bytes: good, lines }) = replayed {
        assert!(good <= bytes.len() as u64 && lines == records);
    }
}

/// Whether a file is whole, however it is cut into pieces.
pub fn file_end(bytes: &[u8], piece: usize) {
    let Some(media) = Media::sniff(bytes) else { return };
    let (mut whole, mut pieces) = (EndCheck::new(media, false), EndCheck::new(media, false));
    whole.push(bytes);
    bytes.chunks(piece.max(1)).for_each(|piece| pieces.push(piece));
    assert_eq!(whole.image(1), pieces.image(1));
    let length = bytes.len() as u64;
    assert_eq!(format!("{:?}", whole.finish(length)), format!("{:?}", pieces.finish(length)));
}
