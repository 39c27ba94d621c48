//! Tokens, cookies, join codes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| findme_server::fuzzing::keys(bytes));
