//! Pictures of every format that is decoded; a decoder's panic counts, although the server survives it.
#![no_main]

use findme_server::picture::{Limits, from_bytes};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // Small, so that many are tried; the limits hold all the same.
    let limits = Limits { max_pixels: 1_000_000, max_bytes: 16 << 20, max_time: std::time::Duration::from_secs(5) };
    if let Ok(picture) = from_bytes(bytes, &limits) {
        let pixels = &picture.pixels;
        assert_eq!(pixels.rgb().len(), pixels.width() as usize * pixels.height() as usize * 3);
    }
});
