//! What a browser of a phone adds in secure contexts: the share sheet, which is stood in for here and told of, and a place
//! on the home screen, which Chromium judges by its own rules.

use anyhow::{Context, ensure};
use serde_json::json;

use super::apart::Apart;
use super::phone::Phone;
use super::site::Site;
use crate::support::photos::jpeg;

/// A sheet that takes files and says what it was given: the real one opens outside of the page.
const SHEET: &str = r#"
window.given = [];
navigator.canShare = (what) => Boolean(what.files && what.files.length);
navigator.share = async (what) => {
  const files = await Promise.all((what.files || []).map(async (file) =>
    ({ name: file.name, type: file.type, bytes: [...new Uint8Array(await file.arrayBuffer())] })));
  window.given.push({ files, url: what.url || null });
};
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_goes_to_the_share_sheet_and_the_page_to_the_home_screen() -> anyhow::Result<()> {
    if super::Assets::find(true)?.is_none() {
        return Ok(());
    }
    let apart = Apart::not();
    let site = Site::start(&apart.address(), None).await?;
    let photo = jpeg(3, 900, 600);
    site.send("DSC_0003.JPG", photo.clone(), "").await?;
    let phone = Phone::start(&apart).await?;
    let result = share(&phone, &site, &photo).await;
    phone.stop().await;
    result
}

async fn share(phone: &Phone, site: &Site, photo: &[u8]) -> anyhow::Result<()> {
    phone.devtools("Page.enable", json!({})).await?;
    phone.devtools("Page.addScriptToEvaluateOnNewDocument", json!({ "source": SHEET })).await?;
    phone.go(&site.page(&format!("/e/{}", site.join))).await?;
    phone.click("form[method=post] button").await?;
    phone.until("return location.pathname === '/me'").await?;
    phone.go(&site.page("/gallery")).await?;
    phone.until("return document.querySelectorAll('#all li').length === 1").await?;
    phone.ready().await?;
    phone.click("#all li a").await?;
    phone.until("return !!document.querySelector('.viewer .large.there')").await?;
    phone.looks_right("share").await?;
    phone.click(".viewer .share").await?;
    phone.until("return window.given.length === 1").await?;
    let given = phone.js("return window.given[0].files", vec![]).await?;
    ensure!(given[0]["name"] == "DSC_0003.JPG" && given[0]["type"] == "image/jpeg", "{}", given[0]["name"]);
    ensure!(given[0]["bytes"] == json!(photo), "the very file was handed over");
    ensure!(phone.js("return document.querySelector('.viewer .said').hidden", vec![]).await? == json!(true));
    installable(phone).await?;
    phone.console_is_clean(&[]).await
}

/// Chromium finds nothing that keeps the page from being installed, and reads the manifest as it was meant.
async fn installable(phone: &Phone) -> anyhow::Result<()> {
    phone.until("return !!navigator.serviceWorker.controller").await?;
    let found = phone.devtools("Page.getInstallabilityErrors", json!({})).await?;
    let errors = found["installabilityErrors"].as_array().context("a list")?;
    // Headless browsers have no profile that anything could be installed into.
    let real: Vec<_> = errors.iter().filter(|error| error["errorId"] != "in-incognito").collect();
    ensure!(real.is_empty(), "{found}");
    let manifest = phone.devtools("Page.getAppManifest", json!({})).await?;
    ensure!(manifest["errors"] == json!([]), "{manifest}");
    let said: serde_json::Value = serde_json::from_str(manifest["data"].as_str().context("a manifest")?)?;
    ensure!(said["start_url"] == "/me" && said["display"] == "standalone", "{said}");
    for icon in said["icons"].as_array().context("icons")? {
        let source = icon["src"].as_str().context("a file")?;
        let size = "const [src, done] = arguments; const i = new Image(); \
            i.onload = () => done([i.naturalWidth, i.naturalHeight]); i.onerror = () => done(null); \
            i.src = new URL(src, document.querySelector('link[rel=manifest]').href)";
        let drawn = phone.client.execute_async(size, vec![json!(source)]).await?;
        let wanted = icon["sizes"].as_str().context("sizes")?;
        let side = wanted.split('x').next().and_then(|side| side.parse::<u64>().ok());
        ensure!(
            drawn.is_array() && side.is_none_or(|side| drawn == json!([side, side])),
            "{source}: {drawn}, {wanted}"
        );
    }
    Ok(())
}
