//! What browsers have in secure contexts alone: the live camera with its hints, and the page without a connection. Also the
//! link back, several people on one phone, and what is saved. The camera plays a picture that is made here from a photo.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::apart::Apart;
use super::phone::Phone;
use super::site::{Assets, Site};
use super::{LATER, SELFIE, TWO_PEOPLE};

/// Width and height of what the camera sees.
const FRAME: (u32, u32) = (640, 480);

/// Of the first person three, of the second two; one shows both.
const PHOTOS: [&str; 4] =
    ["people/obama/obama.jpg", "people/obama/obama3.jpg", "people/biden/biden2.jpg", "groups/ageitgey_two_people.jpg"];
const OTHER_PERSON: &str = "people/biden/biden.jpg";

/// What stands before the camera.
#[derive(Debug, Clone, Copy)]
enum View {
    Dark,
    Far,
    Near,
}

/// Draws a photo as the camera is to see it; the browser does it, which knows every format.
pub(super) const DRAW: &str = r##"
const [bytes, width, height, share, light, done] = arguments;
(async () => {
  const photo = await createImageBitmap(new Blob([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))]));
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#969696";
  pen.fillRect(0, 0, width, height);
  const scale = share * Math.min(width / photo.width, height / photo.height);
  const [w, h] = [photo.width * scale, photo.height * scale];
  pen.drawImage(photo, (width - w) / 2, (height - h) / 2, w, h);
  pen.fillStyle = `rgba(0, 0, 0, ${1 - light})`;
  pen.fillRect(0, 0, width, height);
  done(canvas.toDataURL("image/jpeg", 0.9).split(",")[1]);
})().catch((error) => done(String(error)));
"##;

/// Has the camera see a photo: a film of one picture, as Chromium plays it.
async fn show(phone: &Phone, film: &Path, photo: &Path, view: View) -> anyhow::Result<()> {
    let bytes = STANDARD.encode(std::fs::read(photo).with_context(|| photo.display().to_string())?);
    let share = if matches!(view, View::Far) { 0.3 } else { 1.0 };
    let light = if matches!(view, View::Dark) { 0.08 } else { 1.0 };
    let arguments = vec![json!(bytes), json!(FRAME.0), json!(FRAME.1), json!(share), json!(light)];
    let drawn = phone.client.execute_async(DRAW, arguments).await?;
    let jpeg = STANDARD.decode(drawn.as_str().context("a picture")?).with_context(|| drawn.to_string())?;
    // Put in place at once: the camera may be playing the old one.
    let fresh = film.with_extension("fresh");
    std::fs::write(&fresh, jpeg.repeat(10))?;
    Ok(std::fs::rename(fresh, film)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_uses_the_live_camera_and_comes_back() -> anyhow::Result<()> {
    let Some(assets) = Assets::find(true)? else { return Ok(()) };
    let apart = Apart::not();
    let mut site = Site::start(&apart.address(), Some(&assets.models)).await?;
    for photo in PHOTOS {
        site.upload(&assets.photos.join(photo)).await?;
    }
    site.indexed().await?;
    let folder = tempfile::tempdir()?;
    let film = folder.path().join("camera.mjpeg");
    let flags = ["--use-fake-ui-for-media-stream".to_owned(), "--use-fake-device-for-media-stream".to_owned()];
    let played = format!("--use-file-for-fake-video-capture={}", film.display());
    let phone = Phone::start_with(&apart, &[&flags[..], &[played]].concat()).await?;
    let result = guest(&phone, &mut site, &assets, film).await;
    if result.is_err() {
        phone.shoot("camera-failure").await.ok();
    }
    phone.stop().await;
    result
}

async fn guest(phone: &Phone, site: &mut Site, assets: &Assets, film: PathBuf) -> anyhow::Result<()> {
    phone.go(&site.page(&format!("/e/{}", site.join))).await?;
    ensure!(phone.js("return isSecureContext", vec![]).await? == json!(true));
    phone.click("form[method=post] button").await?;
    phone.until("return location.pathname === '/me'").await?;
    camera(phone, assets, &film).await?;
    people(phone, assets).await?;
    saving(phone).await?;
    let link = link(phone).await?;
    offline(phone, site, assets).await?;
    erased(phone, site, &link).await?;
    // What failed was meant to: nothing answered for a while, and a link that has ended.
    let meant = ["/api/selfie", "/api/", "/me", "/livez", "/static/", "/sw.js", "net::ERR"];
    phone.console_is_clean(&meant).await
}

async fn hint(phone: &Phone, key: &str) -> anyhow::Result<()> {
    phone.until(&format!("return document.querySelector('#camera-dialog').dataset.hint === 'hint-{key}'")).await
}

/// Too dark, too far, two faces; then the picture is taken, and the one who taps their face is found.
async fn camera(phone: &Phone, assets: &Assets, film: &Path) -> anyhow::Result<()> {
    let open = "return document.querySelector('#camera-dialog').open";
    let off =
        "return !document.querySelector('#camera-dialog').open && !document.querySelector('#camera-video').srcObject";
    phone.ready().await?;
    phone.click("label[for=camera]").await?;
    phone.until("return !document.querySelector('#selfie-problem').hidden").await?;
    ensure!(phone.js(open, vec![]).await? == json!(false), "no camera before the tick");
    phone.click("#consent").await?;
    let views = [(SELFIE, View::Dark, "dark"), (SELFIE, View::Far, "far"), (SELFIE, View::Near, "good")];
    for (photo, view, key) in views {
        show(phone, film, &assets.photos.join(photo), view).await?;
        phone.click("label[for=camera]").await?;
        phone.until(open).await?;
        hint(phone, key).await?;
        phone.looks_right(&format!("camera-{key}")).await?;
        phone.click("#camera-close").await?;
        phone.until(off).await?;
    }
    let held = phone.fetch("GET", "/api/me").await?;
    ensure!(held["enrolments"] == 0, "looking keeps nothing: {held}");
    show(phone, film, &assets.photos.join(TWO_PEOPLE), View::Near).await?;
    phone.click("label[for=camera]").await?;
    phone.until(open).await?;
    hint(phone, "two").await?;
    phone.click("#shutter").await?;
    phone.until("return document.querySelectorAll('#faces .face').length === 2").await?;
    phone.click("#faces .face:first-child").await?;
    phone.until("return document.querySelectorAll('#you li').length > 0").await
}

/// Somebody beside the guest is looked for too, under a text of their own.
async fn people(phone: &Phone, assets: &Assets) -> anyhow::Result<()> {
    let mine = phone.js("return document.querySelectorAll('#you li').length", vec![]).await?;
    phone.click("#add-person").await?;
    phone.until("return !document.querySelector('#selfie').hidden").await?;
    phone.looks_right("another-person").await?;
    phone.click("#consent").await?;
    phone.find("#picture").await?.send_keys(&assets.photo(OTHER_PERSON)).await?;
    phone.until(&format!("return document.querySelectorAll('#you li').length > {mine}")).await?;
    let held = phone.fetch("GET", "/api/me").await?;
    ensure!(held["people"] == json!([0, 1]), "{held}");
    let texts: Vec<_> = held["consents"].as_array().context("consents")?.iter().map(|c| c["text"].clone()).collect();
    ensure!(texts.len() == 2 && texts[0] != texts[1], "{held}");
    Ok(())
}

/// All photos in one file, with progress; what is held, as a file.
async fn saving(phone: &Phone) -> anyhow::Result<()> {
    let shown = phone.js("return document.querySelectorAll('#you li').length", vec![]).await?;
    phone.click("#zip").await?;
    phone.until("return document.querySelector('#zip-said').textContent.startsWith('Saved')").await?;
    phone.looks_right("saved").await?;
    let name = phone.js("return document.querySelector('.event').textContent", vec![]).await?;
    let bytes = phone.saved(&format!("{}.zip", name.as_str().context("a name")?)).await?;
    // The end of an archive tells how many files it has.
    let end = bytes.len().checked_sub(22).context("an archive")?;
    ensure!(bytes[end..end + 4] == *b"PK\x05\x06" && json!(bytes[end + 10]) == shown, "{:?}", &bytes[end..]);
    phone.click("#show-held").await?;
    phone.until("return !document.querySelector('#held').hidden").await?;
    phone.click("#held-save").await?;
    let held: serde_json::Value = serde_json::from_slice(&phone.saved("findme-held.json").await?)?;
    ensure!(held["enrolments"] == 2, "{held}");
    Ok(())
}

/// A link that is shown once and lets another browser in as the same guest.
async fn link(phone: &Phone) -> anyhow::Result<String> {
    phone.click("#link-make").await?;
    phone.until("return document.querySelector('#link-text').value.includes('/back#')").await?;
    phone.looks_right("link").await?;
    let link = phone.js("return document.querySelector('#link-text').value", vec![]).await?;
    let link = link.as_str().context("a link")?.to_owned();
    let joined = phone.fetch("GET", "/api/me").await?["joined_at"].clone();
    // As another phone: without the cookie.
    phone.client.delete_all_cookies().await?;
    phone.go("about:blank").await?;
    phone.go(&link).await?;
    phone.until("return location.pathname === '/me' && document.querySelectorAll('#you li').length > 0").await?;
    ensure!(phone.fetch("GET", "/api/me").await?["joined_at"] == joined, "the same guest");
    ensure!(phone.js("return location.hash", vec![]).await? == json!(""), "the secret is out of sight");
    Ok(link)
}

/// Without a connection the open page stays and says so, another page says so too; both go on by themselves.
async fn offline(phone: &Phone, site: &mut Site, assets: &Assets) -> anyhow::Result<()> {
    phone.until("return !!navigator.serviceWorker.controller").await?;
    let kept = "const done = arguments[0]; (async () => { const all = []; for (const name of await caches.keys()) \
        for (const r of await (await caches.open(name)).keys()) all.push(new URL(r.url).pathname); done(all); })()";
    let kept = phone.client.execute_async(kept, vec![]).await?;
    let kept: Vec<&str> = kept.as_array().context("a list")?.iter().filter_map(serde_json::Value::as_str).collect();
    ensure!(kept.len() == 5 && kept.iter().all(|path| *path == "/offline" || path.starts_with("/static/")), "{kept:?}");

    let shown = phone.js("return document.querySelectorAll('#you li').length", vec![]).await?;
    site.stop().await?;
    phone.until("return !document.querySelector('#connection').hidden").await?;
    ensure!(phone.js("return document.querySelectorAll('#you li').length", vec![]).await? == shown, "still there");
    phone.js("scrollTo(0, 0)", vec![]).await?;
    phone.looks_right("no-connection").await?;
    site.go_on().await?;
    site.upload(&assets.photos.join(LATER)).await?;
    let more = format!("return document.querySelectorAll('#you li').length === {shown} + 1");
    phone.until(&more).await?;
    phone.until("return document.querySelector('#connection').hidden").await?;

    site.stop().await?;
    phone.go(&site.page("/me")).await?;
    phone.until("return !!document.querySelector('#again')").await?;
    phone.looks_right("offline").await?;
    site.go_on().await?;
    phone.until("return document.querySelectorAll('#you li').length > 0").await
}

/// Erased, with a receipt to keep; the link leads nowhere any more.
async fn erased(phone: &Phone, site: &Site, link: &str) -> anyhow::Result<()> {
    phone.ready().await?;
    phone.click("#erase").await?;
    phone.click("#erase-dialog [value=yes]").await?;
    phone.until("return !document.querySelector('#receipt').hidden").await?;
    phone.click("#receipt-save").await?;
    let receipt = String::from_utf8(phone.saved("findme-receipt.txt").await?)?;
    ensure!(receipt.contains("Measurements of your face erased: 2") && receipt.contains("Ended"), "{receipt}");
    phone.go("about:blank").await?;
    phone.go(link).await?;
    phone.until("return !document.querySelector('#nowhere').hidden").await?;
    phone.looks_right("link-ended").await?;
    phone.go(&site.page("/me")).await?;
    phone.until("return location.pathname === '/me' && !document.querySelector('#you')").await
}
