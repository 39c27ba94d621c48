//! Where a photo was taken: EXIF, XMP and IPTC of every format, and what the catalogue keeps of it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let piece = bytes.last().map_or(1, |last| usize::from(*last) + 1);
    findme_server::fuzzing::location(bytes, piece);
    findme_server::fuzzing::stored_patches(bytes);
});
