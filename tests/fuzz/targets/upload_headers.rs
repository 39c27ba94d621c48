//! Headers of uploads: lengths, offsets, checksums, metadata.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| findme_server::fuzzing::upload_headers(bytes));
