//! Byte ranges.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: (u64, &str)| findme_server::fuzzing::range(input.1, input.0));
