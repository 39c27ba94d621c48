//! A person's time from the scanned code to the first photo of themselves, on a slow phone on 3G. What the machine takes is
//! measured; what a person takes stands here and is added, not waited for. Only while they read does the phone go on at no
//! cost, for as long as the reading takes.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::apart::Apart;
use super::camera::DRAW;
use super::many::{DOWN, LATENCY_MS, SLOWER, UP};
use super::phone::Phone;
use super::site::{Assets, Site};
use super::{PHOTOS, SELFIE};
use crate::support::number;

/// What a person does, and the seconds that it takes somebody who is not in a hurry.
const READS_INVITATION: f64 = 5.0;
const TAPS: f64 = 0.8;
const READS_CONSENT: f64 = 6.0;
/// The phone's camera opens, they look at it, press, and take the picture that it shows.
const TAKES_SELFIE: f64 = 8.0;

/// Words a minute of somebody who reads every one of them.
const WORDS_A_MINUTE: f64 = 240.0;

/// What a phone's camera takes: 12 megapixels.
const CAMERA: (u32, u32) = (4032, 3024);

/// Seconds within which half of them are to see themselves, on a machine that does nothing else. The figures are told; a
/// fault for sure is only what takes twice as long.
const HALF_A_MINUTE: f64 = 30.0;

/// One step: what it is, the person's seconds, the machine's.
type Step = (&'static str, f64, f64);

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_themselves_within_half_a_minute() -> anyhow::Result<()> {
    let Some(assets) = Assets::find(true)? else { return Ok(()) };
    let apart = Apart::new();
    let site = Site::start(&apart.address(), Some(&assets.models)).await?;
    for photo in PHOTOS {
        site.upload(&assets.photos.join(photo)).await?;
    }
    site.indexed().await?;
    let phone = Phone::start(&apart).await?;
    let result = runs(&phone, &site, &assets).await;
    phone.stop().await;
    result
}

async fn runs(phone: &Phone, site: &Site, assets: &Assets) -> anyhow::Result<()> {
    phone.go(&site.page("/privacy")).await?;
    let bytes = STANDARD.encode(std::fs::read(assets.photos.join(SELFIE))?);
    let arguments = vec![json!(bytes), json!(CAMERA.0), json!(CAMERA.1), json!(1), json!(1)];
    let drawn = phone.client.execute_async(DRAW, arguments).await?;
    let folder = tempfile::tempdir()?;
    let selfie = folder.path().join("IMG_0001.JPG");
    std::fs::write(&selfie, STANDARD.decode(drawn.as_str().context("a picture")?)?)?;
    let selfie = selfie.display().to_string();
    let line = json!({ "offline": false, "latency": LATENCY_MS, "downloadThroughput": DOWN, "uploadThroughput": UP });
    phone.devtools("Network.enable", json!({})).await?;
    phone.devtools("Network.emulateNetworkConditions", line).await?;
    phone.devtools("Emulation.setCPUThrottlingRate", json!({ "rate": SLOWER })).await?;
    let mut done: Vec<Vec<Step>> = Vec::new();
    let whole = |steps: &[Step]| steps.iter().map(|(_, person, machine)| person + machine).sum::<f64>();
    let middle = |done: &[Vec<Step>]| done.get(done.len() / 2).map_or(f64::MAX, |steps| whole(steps));
    let mut words = 0.0;
    for _ in 0..number("FINDME_PEOPLE", 1) {
        phone.devtools("Network.clearBrowserCache", json!({})).await?;
        phone.devtools("Network.clearBrowserCookies", json!({})).await?;
        phone.go("about:blank").await?;
        let (steps, read) = run(phone, site, &selfie).await?;
        done.push(steps);
        done.sort_by(|a, b| whole(a).total_cmp(&whole(b)));
        words = read;
    }
    let kbit = DOWN / 125;
    println!(
        "3G ({LATENCY_MS} ms, {kbit} kbit/s down), processor {SLOWER} times slower; of {} runs the middle one, to reach: {HALF_A_MINUTE} s",
        done.len()
    );
    println!("{:>8} {:>8}", "person s", "phone s");
    for (step, person, machine) in &done[done.len() / 2] {
        println!("{person:8.1} {machine:8.1}  {step}");
    }
    let (fast, slow) = (whole(&done[0]), whole(&done[done.len() - 1]));
    println!("to the first own photo: p50 {:.1} s ({fast:.1} to {slow:.1})", middle(&done));
    let every_word = words / WORDS_A_MINUTE * 60.0 - READS_INVITATION - READS_CONSENT;
    println!("who reads each of the {words:.0} words on both pages takes {every_word:.1} s more");
    ensure!(middle(&done) < 2.0 * HALF_A_MINUTE, "{done:#?}");
    Ok(())
}

/// One guest's way; its steps, and how many words they were shown before the selfie.
async fn run(phone: &Phone, site: &Site, selfie: &str) -> anyhow::Result<(Vec<Step>, f64)> {
    let mut steps = Vec::new();
    let mut at = Instant::now();
    let mut step = |name: &'static str, person: f64, began: &mut Instant| {
        let took = began.elapsed().as_secs_f64();
        let reads = name.starts_with("they read");
        steps.push((name, person, if reads { (took - person).max(0.0) } else { took }));
        *began = Instant::now();
    };
    // Of what is read before one goes on; what is below concerns those who look for it.
    let words = "return arguments[0].map((s) => document.querySelector(s).innerText).join(' ').split(/\\s+/).length";
    phone.go(&site.page(&format!("/e/{}", site.join))).await?;
    step("the scanned link opens the invitation", 0.0, &mut at);
    let mut read = phone.js(words, vec![json!(["main"])]).await?.as_f64().context("a number")?;
    step("they read what it is", READS_INVITATION, &mut at);
    phone.click("form[method=post] button").await?;
    phone.until("return location.pathname === '/me' && !!document.querySelector('#consent')").await?;
    step("they tap «join»; the next page comes", TAPS, &mut at);
    read += phone.js(words, vec![json!(["#selfie .lead", "#selfie .consent"])]).await?.as_f64().context("a number")?;
    phone.ready().await?;
    step("they read what they agree to", READS_CONSENT, &mut at);
    phone.click("#consent").await?;
    step("they tick the box", TAPS, &mut at);
    step("they tap «take a selfie» and take it", TAPS + TAKES_SELFIE, &mut at);
    phone.find("#camera").await?.send_keys(selfie).await?;
    phone.until("return [...document.querySelectorAll('#you img')].some((i) => i.complete && i.naturalWidth)").await?;
    step("the selfie is made small, sent, and answered with the first photo", 0.0, &mut at);
    tokio::time::timeout(Duration::from_secs(30), phone.ready()).await??;
    Ok((steps, read))
}
