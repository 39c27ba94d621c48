//! The pages of those who work: a photographer at the board, what guests see of it on paper and on a screen, an operator.

use anyhow::ensure;
use serde_json::{Value, json};

use super::apart::Apart;
use super::phone::Phone;
use super::site::{Assets, Site};
use crate::support::photos::jpeg;

/// `hold yes`, as metadata has it.
const HELD: &str = ",hold eWVz";

#[tokio::test(flavor = "multi_thread")]
async fn a_photographer_and_an_operator_work_on_a_phone() -> anyhow::Result<()> {
    if Assets::find(true)?.is_none() {
        return Ok(());
    }
    let apart = Apart::new();
    let site = Site::start(&apart.address(), None).await?;
    for n in 0..4 {
        site.send(&format!("DSC_{n:04}.JPG"), jpeg(n, 900, 600), "").await?;
    }
    site.send("DSC_0004.JPG", jpeg(4, 900, 600), HELD).await?;
    site.send("notes.jpg", b"no photo at all".to_vec(), "").await?;
    let phone = Phone::start(&apart).await?;
    let result = work(&phone, &site).await;
    if result.is_err() {
        phone.shoot("desk-failure").await.ok();
    }
    phone.stop().await;
    result
}

async fn work(phone: &Phone, site: &Site) -> anyhow::Result<()> {
    sign_in(phone, site).await?;
    board(phone, site).await?;
    seen_by_guests(phone, site).await?;
    operator(phone, site).await?;
    phone.console_is_clean(&["/api/desk"]).await
}

/// A wrong token is told; the right one is taken, also from the address, which does not keep it.
async fn sign_in(phone: &Phone, site: &Site) -> anyhow::Result<()> {
    phone.go(&site.page("/live")).await?;
    phone.looks_right("sign-in").await?;
    phone.find("#token").await?.send_keys("fmp.wrong").await?;
    phone.click("#sign-in button").await?;
    phone.until("return document.querySelector('#said').textContent !== ''").await?;
    phone.looks_right("sign-in-refused").await?;
    phone.go("about:blank").await?;
    phone.go(&site.page(&format!("/live#{}", site.token))).await?;
    phone.until("return !!document.querySelector('#photos')").await?;
    ensure!(
        phone.js("return location.hash + document.cookie", vec![]).await? == json!(""),
        "the token is out of sight"
    );
    Ok(())
}

async fn photos_of(phone: &Phone, filter: &str, expected: usize) -> anyhow::Result<()> {
    phone.js("document.querySelector(`[name=filter][value=${arguments[0]}]`).click()", vec![json!(filter)]).await?;
    phone.until(&format!("return document.querySelectorAll('#photos li').length === {expected}")).await
}

/// Figures, marks; release, hide, show and delete, which guests' lists follow.
async fn board(phone: &Phone, site: &Site) -> anyhow::Result<()> {
    phone.until("return document.querySelector('#received').textContent === '6'").await?;
    phone.until("return document.querySelector('#failed').textContent === '1'").await?;
    phone.until("return document.querySelector('#machines').textContent.includes('6 uploads')").await?;
    photos_of(phone, "all", 6).await?;
    phone.until("return [...document.querySelectorAll('.picks img[src]')].some((i) => i.naturalWidth)").await?;
    phone.looks_right("board").await?;
    photos_of(phone, "failed", 1).await?;
    ensure!(phone.text(".picks .mark").await? == "failed: not-a-photo");
    photos_of(phone, "held", 1).await?;
    choose_first(phone, "release").await?;
    photos_of(phone, "held", 0).await?;
    photos_of(phone, "all", 6).await?;
    choose_first(phone, "hide").await?;
    photos_of(phone, "hidden", 1).await?;
    choose_first(phone, "show").await?;
    photos_of(phone, "hidden", 0).await?;
    // Another photo arrives while the page is open.
    site.send("DSC_0005.JPG", jpeg(5, 900, 600), "").await?;
    photos_of(phone, "all", 7).await?;
    phone.click("#photos li:first-child label").await?;
    phone.looks_right("board-chosen").await?;
    phone.click("[data-do=delete]").await?;
    phone.looks_right("board-delete").await?;
    phone.click("#delete-dialog [value=yes]").await?;
    photos_of(phone, "all", 6).await
}

/// Chooses the first photo and does something with it, until the page says that it is done.
async fn choose_first(phone: &Phone, what: &str) -> anyhow::Result<()> {
    phone.click("#photos li:first-child label").await?;
    phone.until("return document.querySelector('#chosen').textContent === '1 photo chosen'").await?;
    phone.click(&format!("[data-do={what}]")).await?;
    phone.until("return document.querySelector('#chosen').textContent === 'Done: 1 photo changed.'").await
}

/// The poster says what is done with faces; the wall shows what guests may see, and only that.
async fn seen_by_guests(phone: &Phone, site: &Site) -> anyhow::Result<()> {
    phone.go(&site.page("/poster")).await?;
    let drawn = "return [...document.querySelectorAll('.qr')].every((i) => i.complete && i.naturalWidth)";
    phone.until(drawn).await?;
    let poster = phone.text(".sheet").await?;
    ensure!(poster.contains(&site.join) && poster.contains("compares the faces"), "{poster}");
    phone.looks_right("poster").await?;
    let sheets = phone.print("poster").await?;
    ensure!(sheets == 2, "a poster and a sheet of cards, not {sheets} sheets");
    phone.go(&site.page("/wall")).await?;
    phone.until("return !!document.querySelector('.slide.there')").await?;
    let shown = phone.js("return document.querySelector('.slide.there').dataset.id", vec![]).await?;
    phone.looks_right("wall").await?;
    // What is hidden leaves the screen.
    let hide = "const [id, done] = arguments; fetch('/api/photos/hide', { method: 'POST', \
        headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ photos: [id] }) }) \
        .then((r) => r.json()).then(done, (e) => done(String(e)))";
    let hidden = phone.client.execute_async(hide, vec![shown.clone()]).await?;
    ensure!(hidden == json!({ "changed": 1 }), "{hidden}");
    let gone = format!("return document.querySelector('.slide.there').dataset.id !== {shown}");
    phone.until(&gone).await
}

/// An event made, a machine let in and out again, the event deleted.
async fn operator(phone: &Phone, site: &Site) -> anyhow::Result<()> {
    phone.go(&site.page("/admin")).await?;
    phone.until("return !!document.querySelector('#sign-in')").await?;
    phone.go("about:blank").await?;
    phone.go(&site.page(&format!("/admin#{}", site.operator))).await?;
    phone.until("return document.querySelectorAll('#events li.card').length === 1").await?;
    phone.until("return document.querySelector('#attention').textContent.includes('not-a-photo')").await?;
    phone.find("#new [name=name]").await?.send_keys("Second <event>").await?;
    phone.click("#new [name=faces]").await?;
    phone.click("#new .button").await?;
    phone.until("return document.querySelectorAll('#events li.card').length === 2").await?;
    ensure!(phone.text("#created").await?.contains("fmp."), "its token is shown");
    ensure!(phone.text("#events li.card h3").await? == "Second <event>");
    phone.looks_right("admin-events").await?;
    phone.click("#events .manage > summary").await?;
    phone.click("#events .tokens > summary").await?;
    phone.until("return document.querySelectorAll('#events .machines li').length === 1").await?;
    phone.looks_right("admin").await?;
    phone.click("#events .machines .button").await?;
    phone.until("return document.querySelector('#events .machines').textContent.includes('revoked')").await?;
    phone.click("#events .delete").await?;
    phone.looks_right("admin-delete").await?;
    phone.click("#delete-dialog [value=yes]").await?;
    phone.until("return document.querySelectorAll('#events li.card').length === 1").await?;
    let events: Value = phone.fetch("GET", "/api/admin/events").await?;
    ensure!(events.as_array().is_some_and(|all| all.len() == 1), "{events}");
    phone.click("#sign-out").await?;
    phone.until("return !!document.querySelector('#sign-in')").await
}
