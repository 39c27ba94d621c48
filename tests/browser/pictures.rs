//! The README's pictures: our own pages over scenes that are drawn here, with nobody in them. Checked in every run; written
//! with `FINDME_WRITE_PICTURES=1 cargo test --workspace --test e2e pictures`.

use std::path::Path;

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{Rgb, RgbImage};
use serde_json::json;

use super::apart::Apart;
use super::phone::Phone;
use super::site::{Assets, Site};
use crate::support::Random;

/// Scenes, and how many of them stand upright.
const SCENES: u64 = 14;

/// Mixes two colours.
fn mix(a: [u8; 3], b: [u8; 3], share: f32) -> Rgb<u8> {
    let one = |at: usize| (f32::from(a[at]) * (1.0 - share) + f32::from(b[at]) * share) as u8;
    Rgb([one(0), one(1), one(2)])
}

/// A disc with a soft edge.
fn glow(image: &mut RgbImage, (x, y): (f32, f32), radius: f32, colour: [u8; 3], strength: f32) {
    let reach = |centre: f32, limit: u32| {
        ((centre - radius).max(0.0) as u32)..((centre + radius).max(0.0) as u32 + 1).min(limit)
    };
    for row in reach(y, image.height()) {
        for column in reach(x, image.width()) {
            let far = ((column as f32 - x).powi(2) + (row as f32 - y).powi(2)).sqrt() / radius;
            if far < 1.0 {
                let pixel = image.get_pixel(column, row).0;
                image.put_pixel(column, row, mix(pixel, colour, strength * (1.0 - far * far)));
            }
        }
    }
}

/// An evening outside: sky, hills, strings of lamps, lanterns on tables.
fn scene(number: u64) -> anyhow::Result<Vec<u8>> {
    let mut random = Random::new(number * 77 + 5);
    let mut between = |low: u64, high: u64| random.between(low, high) as f32;
    let (width, height): (u32, u32) = if number % 4 == 1 { (800, 1200) } else { (1200, 800) };
    let skies = [
        ([28, 36, 74], [232, 150, 104]),
        ([38, 60, 96], [246, 196, 140]),
        ([60, 40, 84], [240, 128, 112]),
        ([96, 150, 196], [236, 228, 206]),
    ];
    let (above, below) = skies[(number % 4) as usize];
    let mut image = RgbImage::from_fn(width, height, |_, y| mix(above, below, y as f32 / height as f32 / 0.7));
    let (w, h) = (width as f32, height as f32);
    glow(&mut image, (between(10, 90) / 100.0 * w, h * 0.52), h * 0.3, [255, 226, 170], 0.8);
    for layer in 0..3_u8 {
        let (base, wave, phase) = (h * (0.56 + 0.12 * f32::from(layer)), between(20, 70), between(0, 600) / 100.0);
        let shade = mix([70, 92, 84], [24, 30, 34], f32::from(layer) / 2.0);
        for x in 0..width {
            let top = base + wave * (x as f32 / w * 5.0 + phase).sin() + 0.3 * wave * (x as f32 / w * 17.0).sin();
            for y in (top.max(0.0) as u32).min(height)..height {
                image.put_pixel(x, y, shade);
            }
        }
    }
    for string in 0..2_u8 {
        let sag = between(60, 160);
        for lamp in 0..14_u8 {
            let at = f32::from(lamp) / 13.0;
            let y = h * (0.12 + 0.14 * f32::from(string)) + sag * (1.0 - (2.0 * at - 1.0).powi(2));
            glow(&mut image, (at * w, y), 26.0, [255, 206, 120], 0.55);
            glow(&mut image, (at * w, y), 7.0, [255, 246, 214], 1.0);
        }
    }
    for _ in 0..5 {
        let (x, y) = (between(5, 95) / 100.0 * w, h * between(78, 94) / 100.0);
        glow(&mut image, (x, y), 60.0, [255, 170, 80], 0.5);
        glow(&mut image, (x, y), 14.0, [255, 236, 190], 1.0);
    }
    let mut jpeg = Vec::new();
    let encoder = jpeg_encoder::Encoder::new(&mut jpeg, 88);
    encoder.encode(image.as_raw(), width as u16, height as u16, jpeg_encoder::ColorType::Rgb)?;
    Ok(jpeg)
}

/// Keeps a picture of what is to be seen, when it was asked for.
async fn keep(phone: &Phone, name: &str, (width, height): (u32, u32), scheme: &str) -> anyhow::Result<()> {
    let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
    phone.devtools("Emulation.setDeviceMetricsOverride", metrics).await?;
    let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
    phone.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await?;
    phone.until("return [...document.images].filter((i) => i.src && i.getBoundingClientRect().top < innerHeight).every((i) => i.complete)").await?;
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    let shot = phone.devtools("Page.captureScreenshot", json!({ "format": "webp", "quality": 72 })).await?;
    let bytes = STANDARD.decode(shot["data"].as_str().context("a picture")?)?;
    ensure!(bytes.len() > 3000 && bytes.len() < 80_000, "{name}: {} bytes", bytes.len());
    if std::env::var_os("FINDME_WRITE_PICTURES").is_some() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../server/pictures");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("{name}.webp")), bytes)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_of_our_pages_over_drawn_scenes() -> anyhow::Result<()> {
    let Some(assets) = Assets::find(true)? else { return Ok(()) };
    let apart = Apart::not();
    let site = Site::start(&apart.address(), Some(&assets.models)).await?;
    let mut uploads = Vec::new();
    for number in 0..SCENES {
        uploads.push(site.send(&format!("DSC_{:04}.JPG", 4100 + number), scene(number)?, "").await?);
    }
    site.indexed().await?;
    // How long an unoptimised build takes is nobody's business: of uploads that are gone the board tells nothing.
    for upload in uploads {
        site.free(&upload).await?;
    }
    let phone = Phone::start(&apart).await?;
    let result = walk(&phone, &site).await;
    if result.is_err() {
        phone.shoot("pictures-failure").await.ok();
    }
    phone.stop().await;
    result
}

async fn walk(phone: &Phone, site: &Site) -> anyhow::Result<()> {
    const SMALL: (u32, u32) = (360, 640);
    const LARGE: (u32, u32) = (1200, 750);
    phone.go(&site.page(&format!("/e/{}", site.join))).await?;
    keep(phone, "invitation", SMALL, "light").await?;
    phone.click("form[method=post] button").await?;
    phone.until("return location.pathname === '/me'").await?;
    keep(phone, "selfie", SMALL, "light").await?;
    phone.go(&site.page("/gallery")).await?;
    phone.until(&format!("return document.querySelector('#count').textContent === '{SCENES} photos'")).await?;
    keep(phone, "gallery", SMALL, "dark").await?;
    keep(phone, "gallery-wide", LARGE, "light").await?;
    phone.ready().await?;
    phone.click("#all li:nth-child(3) a").await?;
    phone.until("return !!document.querySelector('.viewer .large.there')").await?;
    keep(phone, "full-screen", SMALL, "dark").await?;
    phone.go(&site.page(&format!("/live#{}", site.token))).await?;
    phone.until(&format!("return document.querySelectorAll('#photos li').length === {SCENES}")).await?;
    keep(phone, "board", LARGE, "light").await?;
    phone.go(&site.page("/wall")).await?;
    phone.until("return !!document.querySelector('.slide.there')").await?;
    keep(phone, "wall", LARGE, "dark").await
}
