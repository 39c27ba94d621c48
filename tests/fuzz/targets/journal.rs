//! The manifest's journal.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| findme_watch::fuzzing::journal(bytes));
