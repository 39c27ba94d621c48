//! Query strings: cursors, limits, faces.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| findme_server::fuzzing::query(text));
