//! Whether a file is whole: the same in one piece and in many.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| findme_watch::fuzzing::file_end(bytes, usize::from(bytes.first().copied().unwrap_or(1))));
