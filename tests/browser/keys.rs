//! The whole way of a guest with the keyboard alone: no pointer touches anything. Only the system's own window for choosing
//! a file, which is none of ours, is stood in for.

use anyhow::{Context, bail, ensure};
use serde_json::json;

use super::apart::Apart;
use super::phone::Phone;
use super::site::{Assets, Site};
use super::{MINE, PHOTOS, SELFIE};

impl Phone {
    /// Presses Tab until the focus is where it is wanted.
    async fn tab_to(&self, selector: &str) -> anyhow::Result<()> {
        for _ in 0..60 {
            self.press("Tab", 9).await?;
            let here = "return Boolean(document.activeElement && document.activeElement.matches(arguments[0]))";
            if self.js(here, vec![json!(selector)]).await? == json!(true) {
                return Ok(());
            }
        }
        bail!("Tab does not lead to {selector}")
    }

    async fn enter(&self) -> anyhow::Result<()> {
        self.press("Enter", 13).await
    }

    async fn types(&self, text: &str) -> anyhow::Result<()> {
        self.devtools("Input.insertText", json!({ "text": text })).await?;
        Ok(())
    }

    /// Whether the focus is there.
    async fn is_at(&self, selector: &str) -> anyhow::Result<()> {
        let here = format!("return Boolean(document.activeElement && document.activeElement.matches('{selector}'))");
        self.until(&here).await.with_context(|| format!("the focus is not at {selector}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_goes_the_whole_way_with_the_keyboard_alone() -> anyhow::Result<()> {
    let Some(assets) = Assets::find(true)? else { return Ok(()) };
    let apart = Apart::not();
    let site = Site::start(&apart.address(), Some(&assets.models)).await?;
    for photo in &PHOTOS[..3] {
        site.upload(&assets.photos.join(photo)).await?;
    }
    site.indexed().await?;
    let phone = Phone::start(&apart).await?;
    let result = way(&phone, &site, &assets).await;
    if result.is_err() {
        phone.shoot("keys-failure").await.ok();
    }
    phone.stop().await;
    result
}

async fn way(phone: &Phone, site: &Site, assets: &Assets) -> anyhow::Result<()> {
    phone.go(&site.page("/")).await?;
    // The first stop leads past what is on every page.
    phone.press("Tab", 9).await?;
    phone.is_at(".skip").await?;
    phone.enter().await?;
    phone.tab_to("#code").await?;
    phone.types(&site.join).await?;
    phone.enter().await?;
    phone.until("return location.pathname.startsWith('/e/')").await?;
    phone.tab_to("form[method=post] button").await?;
    phone.enter().await?;
    phone.until("return location.pathname === '/me'").await?;
    phone.ready().await?;
    phone.tab_to("#consent").await?;
    phone.press(" ", 32).await?;
    phone.until("return document.querySelector('#consent').checked").await?;
    phone.tab_to("#picture").await?;
    phone.find("#picture").await?.send_keys(&assets.photo(SELFIE)).await?;
    phone.until(&format!("return document.querySelectorAll('#you li').length === {}", MINE.len())).await?;
    // Whoever hears the page is where the answer is.
    phone.is_at("#found-title").await?;
    photos(phone).await?;
    erase(phone).await?;
    phone.console_is_clean(&[]).await
}

/// Into a photo, through them, and back to where one was.
async fn photos(phone: &Phone) -> anyhow::Result<()> {
    phone.tab_to("#you li:nth-child(1) a").await?;
    phone.enter().await?;
    phone.until("return document.querySelector('#viewer').open").await?;
    phone.key("ArrowRight").await?;
    phone.until("return document.querySelector('.viewer .where').textContent === '2 of 3'").await?;
    phone.tab_to(".viewer .save").await?;
    phone.tab_to(".viewer .close").await?;
    phone.enter().await?;
    phone.until("return !document.querySelector('#viewer').open").await?;
    phone.is_at("#you li:nth-child(2) a").await
}

/// What is held, and its end; the receipt is where the focus is.
async fn erase(phone: &Phone) -> anyhow::Result<()> {
    phone.tab_to("#show-held").await?;
    phone.enter().await?;
    phone.until("return document.querySelector('#show-held').getAttribute('aria-expanded') === 'true'").await?;
    phone.tab_to("#erase").await?;
    phone.enter().await?;
    phone.until("return document.querySelector('#erase-dialog').open").await?;
    // The answer that does nothing comes first.
    phone.is_at("#erase-dialog [value=no]").await?;
    phone.enter().await?;
    phone.until("return !document.querySelector('#erase-dialog').open").await?;
    phone.is_at("#erase").await?;
    phone.enter().await?;
    phone.until("return document.querySelector('#erase-dialog').open").await?;
    phone.tab_to("#erase-dialog [value=yes]").await?;
    phone.enter().await?;
    phone.until("return !document.querySelector('#receipt').hidden").await?;
    phone.is_at("#receipt").await?;
    let held = phone.fetch("GET", "/api/me").await?;
    ensure!(held["enrolments"] == 0, "{held}");
    phone.tab_to("#receipt-save").await
}
