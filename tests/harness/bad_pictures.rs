//! Files that no camera writes: synthetic pictures of each format, spoiled, cut short, and with headers that promise far
//! more pixels than there are bytes. Each is received and ends as indexed or failed; no decoder's panic, no runaway memory.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::time::{Duration, Instant};

use findme_common::protocol::PhotoState;
use image::{DynamicImage, ImageFormat};
use jpeg_encoder::{ColorType, Encoder};

use crate::bad_input::spoil_bytes;
use crate::crew::upload;
use crate::figures::Memory;
use crate::support::photos::small;
use crate::support::{Random, Server, say, wait_within};
use crate::wire::Wire;

/// More than this the server may not need for two decoders, in MiB: what two pictures of the largest kind hold.
const MEMORY: f64 = 1200.0;

/// Longest that one picture may take on average, with two workers.
const PATIENCE: Duration = Duration::from_secs(2);

/// Sends so many files and waits until each was looked at.
pub(crate) async fn run(count: u64, mut random: Random) {
    let server = Server::start_with(&["--faces", "off", "--workers", "2"]).await;
    let event = server.create_event("bad pictures");
    let seeds = seeds();
    let mut wire = Wire::to(&event.url).await.unwrap();
    let (began, mut bytes_sent, mut sent) = (Instant::now(), 0, 0);
    while sent < count {
        // Not more at once than the disk and the queue are meant for.
        for _ in 0..100.min(count - sent) {
            let bytes = spoiled(&seeds, sent, &mut random);
            bytes_sent += bytes.len();
            upload(&mut wire, &event, &bytes).await;
            sent += 1;
        }
        wait_within(100 * PATIENCE, "bad pictures to be looked at", async || {
            (event.counts().await.runnable == 0).then_some(())
        })
        .await;
    }
    let mut ends = BTreeMap::<String, u64>::new();
    for photo in event.photos().await {
        let word = format!("{:?} {}", photo.state, photo.reason.unwrap_or_default());
        assert_ne!(photo.state, PhotoState::Received, "{} was never looked at", photo.id);
        *ends.entry(word.trim().to_owned()).or_default() += 1;
    }
    let memory = Memory::of(server.pid());
    let panics = server.log().matches("panicked").count();
    say(&format!(
        "bad pictures: {count} files, {} MiB, {:.0} s: {ends:?}; {panics} panics; {memory}",
        bytes_sent >> 20,
        began.elapsed().as_secs_f32()
    ));
    let complaints: Vec<_> =
        server.log().lines().filter(|line| line.contains("panicked")).map(str::to_owned).take(5).collect();
    assert_eq!(panics, 0, "{}", complaints.join("\n"));
    assert!(memory.peak < MEMORY, "{memory}");
    server.assert_no_faults();
}

/// One good picture of each kind.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let (width, height) = (97_u16, 61_u16);
    let mut random = Random::new(7);
    let rgb: Vec<u8> = (0..usize::from(width) * usize::from(height) * 3).map(|_| random.next() as u8).collect();
    let mut seeds = vec![small(1), small(2)];
    for (progressive, interval) in [(true, 0), (false, 3)] {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 80);
        if progressive {
            encoder.set_progressive_scans(64);
        }
        if interval > 0 {
            encoder.set_restart_interval(interval);
        }
        encoder.encode(&rgb, width, height, ColorType::Rgb).unwrap();
        seeds.push(bytes);
    }
    let picture = DynamicImage::ImageRgb8(image::RgbImage::from_raw(width.into(), height.into(), rgb).unwrap());
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Tiff] {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        seeds.push(bytes.into_inner());
    }
    // HEIC and AVIF by their first box, a RAW by its TIFF header, and what is no picture at all.
    for brand in [b"heic", b"mif1", b"avif"] {
        let mut bytes = b"\0\0\0\x18ftyp".to_vec();
        bytes.extend_from_slice(brand);
        bytes.extend_from_slice(b"\0\0\0\0mif1heic\0\0\x01\0meta\0\0\0\0\0\0\0\x21hdlr");
        bytes.resize(4000, 0x5A);
        seeds.push(bytes);
    }
    seeds.push(b"II*\0\x10\0\0\0CR\x02\0".repeat(50));
    seeds.push(b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>".to_vec());
    seeds.push(b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;".to_vec());
    seeds
}

fn spoiled(seeds: &[Vec<u8>], number: u64, random: &mut Random) -> Vec<u8> {
    let mut bytes = seeds[random.between(0, seeds.len() as u64) as usize].clone();
    match random.between(0, 4) {
        0 => promise_more(&mut bytes, random),
        1 => {
            promise_more(&mut bytes, random);
            spoil_bytes(&mut bytes, random);
        }
        // In the head, where formats are decided.
        2 => {
            let rest = bytes.split_off(bytes.len().min(300));
            spoil_bytes(&mut bytes, random);
            bytes.extend(rest);
        }
        _ => spoil_bytes(&mut bytes, random),
    }
    // Each is a file of its own.
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes
}

/// Writes other dimensions into the header of a JPEG or PNG.
fn promise_more(bytes: &mut [u8], random: &mut Random) {
    let mut side = || match random.between(0, 4) {
        0 => 65_500_u32,
        1 => 9_400,
        2 => random.between(1, 12_000) as u32,
        _ => random.between(0, 100) as u32,
    };
    let (height, width) = (side(), side());
    let frame = bytes.windows(2).position(|pair| matches!(pair, [0xFF, 0xC0..=0xC2]));
    if bytes.starts_with(b"\x89PNG") && bytes.len() > 24 {
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
    } else if let Some(at) = frame.filter(|at| at + 9 < bytes.len()) {
        bytes[at + 5..at + 7].copy_from_slice(&(height as u16).to_be_bytes());
        bytes[at + 7..at + 9].copy_from_slice(&(width as u16).to_be_bytes());
    }
}
