//! The pages in a real browser, as a guest's phone meets them: over plain http, from another machine's address.
//!
//! As root on Linux, chromedriver and Chromium run in a network namespace of their own and reach the server through a
//! pair of virtual Ethernet devices, by a private address: no secure context, no localhost exception. Elsewhere the
//! server listens on 127.0.0.2; the test prints which. Screenshots go to `target/screenshots` for people to look at.

mod apart;
mod axe;
mod camera;
mod desk;
mod keys;
mod many;
mod person;
mod phone;
mod pictures;
mod reader;
mod roaming;
mod share;
mod site;

use std::time::Duration;

use anyhow::{Context, ensure};
use fantoccini::Locator;
use serde_json::{Value, json};

use apart::Apart;
use phone::Phone;
use site::{Assets, Site};

/// Uploaded before the guest comes. The guest is in the first three.
const PHOTOS: [&str; 8] = [
    "people/obama/obama.jpg",
    "people/obama/obama3.jpg",
    "groups/ageitgey_two_people.jpg",
    "people/biden/biden.jpg",
    "people/biden/biden2.jpg",
    "groups/codeland_group.jpg",
    "groups/sotm2017_group.jpg",
    "groups/dlib_2007_007763.jpg",
];
const MINE: [&str; 3] = ["obama.jpg", "obama3.jpg", "ageitgey_two_people.jpg"];
const SELFIE: &str = "people/obama/obama2.jpg";
/// The guest is on the left.
const TWO_PEOPLE: &str = "groups/ageitgey_two_people.jpg";
/// Taken while the guest looks at the page.
const LATER: &str = "groups/ageitgey_obama_and_biden.jpg";

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_finds_saves_and_erases_themselves_on_a_phone() -> anyhow::Result<()> {
    let Some(assets) = Assets::find(true)? else { return Ok(()) };
    let apart = Apart::new();
    println!("the browser reaches the server {}", apart.words());
    let site = Site::start(&apart.address(), Some(&assets.models)).await?;
    for photo in PHOTOS {
        site.upload(&assets.photos.join(photo)).await?;
    }
    site.indexed().await?;
    let phone = Phone::start(&apart).await?;
    let result = guest(&phone, &site, &assets, apart.is_another_machine()).await;
    if result.is_err() {
        phone.shoot("failure").await.ok();
    }
    phone.stop().await;
    result
}

/// The whole way of one guest.
async fn guest(phone: &Phone, site: &Site, assets: &Assets, another_machine: bool) -> anyhow::Result<()> {
    phone.go(&site.page("/")).await?;
    let secure = phone.js("return isSecureContext", vec![]).await? == json!(true);
    ensure!(secure != another_machine, "a secure context: {secure}; another machine: {another_machine}");
    join(phone, site).await?;
    selfie(phone, assets).await?;
    look(phone, site, assets).await?;
    erase(phone).await?;
    gallery(phone, site).await?;
    never(phone, site, assets).await?;
    others(phone, site).await?;
    phone.console_is_clean(&["/api/selfie", "/nothing", "/e/0000000000"]).await
}

/// The code, typed as people type; then what joining means, and one button.
async fn join(phone: &Phone, site: &Site) -> anyhow::Result<()> {
    phone.looks_right("home").await?;
    let (first, rest) = site.join.split_at(5);
    phone.find("#code").await?.send_keys(&format!("{}-{}", first.to_lowercase(), rest.to_lowercase())).await?;
    phone.click(".code button").await?;
    phone.until("return location.pathname.startsWith('/e/')").await?;
    ensure!(phone.js("return document.cookie", vec![]).await? == json!(""), "looking joins nobody");
    phone.stood_still().await?;
    phone.looks_right("invitation").await?;
    phone.click("form[method=post] button").await?;
    phone.until("return location.pathname === '/me'").await
}

/// No picture without the tick; the question which face; the answer.
async fn selfie(phone: &Phone, assets: &Assets) -> anyhow::Result<()> {
    phone.ready().await?;
    phone.looks_right("selfie").await?;
    phone.find("#camera").await?.send_keys(&assets.photo(SELFIE)).await?;
    phone.until("return !document.querySelector('#selfie-problem').hidden").await?;
    let held = phone.fetch("GET", "/api/me").await?;
    ensure!(held["consents"] == json!([]) && held["enrolments"] == 0, "nothing was looked at: {held}");
    phone.looks_right("not-agreed").await?;

    phone.click("#consent").await?;
    phone.find("#picture").await?.send_keys(&assets.photo(TWO_PEOPLE)).await?;
    phone.until("return document.querySelectorAll('#faces .face').length === 2").await?;
    phone.looks_right("which-face").await?;
    phone.click("#faces .face:first-child").await?;
    phone.until("return document.querySelectorAll('#you li').length > 0").await?;

    // Another picture; each is agreed to anew.
    phone.click("#new-selfie").await?;
    phone.until("return !document.querySelector('#consent').checked").await?;
    phone.click("#consent").await?;
    phone.find("#camera").await?.send_keys(&assets.photo(SELFIE)).await?;
    phone.until("return document.querySelectorAll('#you li').length > 0").await
}

/// The right photos, a new one as it comes, full screen, saving.
async fn look(phone: &Phone, site: &Site, assets: &Assets) -> anyhow::Result<()> {
    phone.until(&format!("return document.querySelectorAll('#you li').length === {}", MINE.len())).await?;
    let mine = phone.fetch("GET", "/api/my-photos").await?;
    let mut names: Vec<_> = mine["photos"].as_array().context("photos")?.iter().filter_map(name).collect();
    names.sort_unstable();
    let mut wanted = MINE;
    wanted.sort_unstable();
    ensure!(names == wanted, "{names:?}");
    phone.client.refresh().await?;
    phone.until("return [...document.querySelectorAll('#you img')].some((i) => i.complete && i.naturalWidth)").await?;
    phone.stood_still().await?;
    phone.looks_right("found").await?;

    phone.ready().await?;
    site.upload(&assets.photos.join(LATER)).await?;
    phone.until(&format!("return document.querySelectorAll('#you li').length === {}", MINE.len() + 1)).await?;
    let said = phone.text("#found-count").await?;
    ensure!(said == "4 photos · 1 new photo of you", "{said}");

    phone.click("#you li:nth-child(2) a").await?;
    phone.until("return !!document.querySelector('.viewer .large.there')").await?;
    ensure!(phone.text(".viewer .where").await? == "2 of 4");
    phone.looks_right("full-screen").await?;
    phone.key("ArrowRight").await?;
    phone.until("return document.querySelector('.viewer .where').textContent === '3 of 4'").await?;
    phone.swipe(".viewer .stage", 120).await?;
    phone.until("return document.querySelector('.viewer .where').textContent === '2 of 4'").await?;
    let id = mine["photos"][0]["id"].as_str().context("id")?;
    let saved = "const a = document.querySelector('.viewer .save'); return [new URL(a.href).pathname, a.download]";
    ensure!(phone.js(saved, vec![]).await? == json!([format!("/api/photo/{id}"), mine["photos"][0]["name"]]));
    phone.key("Escape").await?;
    phone.until("return !document.querySelector('#viewer').open").await?;
    let back = "return document.activeElement === document.querySelector('#you li:nth-child(2) a')";
    phone.until(back).await?;
    // The phone's back button closes the photo and leaves the page where it is.
    phone.click("#you li:nth-child(1) a").await?;
    phone.until("return document.querySelector('#viewer').open").await?;
    phone.client.back().await?;
    phone.until("return !document.querySelector('#viewer').open && location.pathname === '/me'").await
}

fn name(photo: &Value) -> Option<&str> {
    photo["name"].as_str()
}

/// What is held, erased with a receipt, and nothing left.
async fn erase(phone: &Phone) -> anyhow::Result<()> {
    phone.click("#show-held").await?;
    phone.until("return !document.querySelector('#held').hidden").await?;
    phone.js("document.querySelector('#held').scrollIntoView({block: 'end'})", vec![]).await?;
    phone.looks_right("held").await?;
    phone.click("#erase").await?;
    phone.looks_right("erase").await?;
    phone.click("#erase-dialog [value=yes]").await?;
    phone.until("return !document.querySelector('#receipt').hidden").await?;
    phone.looks_right("erased").await?;
    let receipt = phone.text("#receipt-list").await?;
    ensure!(receipt.starts_with("Measurements of your face erased\n1\n"), "{receipt}");
    let held = phone.fetch("GET", "/api/me").await?;
    ensure!(held["enrolments"] == 0 && held["consents"] == json!([]) && held["matches"] == json!([]), "{held}");
    let mine = phone.fetch("GET", "/api/my-photos").await?;
    ensure!(mine["photos"] == json!([]), "{mine}");
    phone.client.refresh().await?;
    phone.until("return !document.querySelector('#selfie').hidden && document.querySelector('#found').hidden").await
}

/// All photos, page by page.
async fn gallery(phone: &Phone, site: &Site) -> anyhow::Result<()> {
    phone.go(&site.page("/gallery")).await?;
    let all = PHOTOS.len() + 1;
    phone.until(&format!("return document.querySelectorAll('#all li').length === {all}")).await?;
    phone.until("return [...document.querySelectorAll('#all img')].some((i) => i.complete && i.naturalWidth)").await?;
    phone.ready().await?;
    phone.stood_still().await?;
    phone.looks_right("gallery").await?;
    phone.click("#all li:last-child a").await?;
    phone.until(&format!("return document.querySelector('.viewer .where').textContent === '{all} of {all}'")).await?;
    // «Take this photo down»: asked, said, and gone from the page without a reload.
    phone.click(".viewer .report").await?;
    phone.looks_right("take-down").await?;
    phone.click("#report-dialog [value=yes]").await?;
    phone
        .until("return !document.querySelector('.viewer .said').hidden || !document.querySelector('#viewer').open")
        .await?;
    phone.until(&format!("return document.querySelectorAll('#all li').length === {}", all - 1)).await?;
    phone
        .js("const v = document.querySelector('#viewer'); if (v.open) v.querySelector('.close').click()", vec![])
        .await?;
    phone.until("return !document.querySelector('#viewer').open").await
}

/// «Never match me»: a tick and a selfie; then not even the same face finds anything, until it is lifted.
async fn never(phone: &Phone, site: &Site, assets: &Assets) -> anyhow::Result<()> {
    phone.go(&site.page("/me")).await?;
    phone.ready().await?;
    phone.click("#never-open").await?;
    phone.looks_right("never").await?;
    phone.click("#never-consent").await?;
    phone.find("#never-camera").await?.send_keys(&assets.photo(SELFIE)).await?;
    phone.until("return !document.querySelector('#never-on').hidden").await?;
    phone.looks_right("never-matched").await?;
    let held = phone.fetch("GET", "/api/me").await?;
    ensure!(held["never_matched"] == true && held["enrolments"] == 0, "{held}");
    phone.click("#never-lift").await?;
    phone.until("return document.querySelector('#never-on').hidden").await
}

/// The pages that only say something, and the other language.
async fn others(phone: &Phone, site: &Site) -> anyhow::Result<()> {
    phone.go(&site.page("/privacy")).await?;
    phone.looks_right("privacy").await?;
    phone.go(&site.page("/nothing")).await?;
    phone.looks_right("not-found").await?;
    phone.go(&site.page("/e/0000000000")).await?;
    phone.looks_right("unknown-code").await?;
    phone.go(&site.page("/me")).await?;
    phone.click("[hreflang=fr]").await?;
    phone.until("return document.documentElement.lang === 'fr'").await?;
    phone.go(&site.page("/me")).await?;
    ensure!(phone.js("return document.documentElement.lang", vec![]).await? == json!("fr"), "the choice is kept");
    phone.looks_right("french").await
}

/// Without a browser: what a form of another site, a link preview and an old bookmark get.
#[tokio::test]
async fn nobody_joins_by_accident() -> anyhow::Result<()> {
    let site = Site::start("127.0.0.1", None).await?;
    let invitation = site.page(&format!("/e/{}", site.join));
    let http = site.http();
    let looked = http.get(&invitation).send().await?;
    ensure!(looked.status() == 200 && looked.headers().get("set-cookie").is_none());
    let foreign = [None, Some(("origin", "http://evil.example")), Some(("origin", "null"))];
    for header in foreign.into_iter().chain([Some(("sec-fetch-site", "cross-site"))]) {
        let mut request = http.post(&invitation);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let answer = request.send().await?;
        ensure!(answer.status() == 403 && answer.headers().get("set-cookie").is_none(), "{header:?}");
    }
    let own = site.page("");
    let joined = http.post(&invitation).header("origin", &own).send().await?;
    ensure!(joined.status() == 303 && joined.headers()["location"] == "/me", "{joined:?}");
    let cookie = joined.headers()["set-cookie"].to_str()?.to_owned();
    ensure!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    let session = cookie.split(';').next().context("a cookie")?.to_owned();
    let again = http.post(&invitation).header("origin", &own).header("cookie", &session).send().await?;
    ensure!(again.status() == 303 && again.headers().get("set-cookie").is_none(), "one guest, tapped twice");
    let known = http.get(&invitation).header("cookie", &session).send().await?;
    ensure!(known.status() == 303 && known.headers()["location"] == "/me");
    ensure!(http.get(site.page("/me")).send().await?.status() == 401);
    let me = http.get(site.page("/me")).header("cookie", &session).header("accept-language", "fr").send().await?;
    ensure!(me.headers()["content-language"] == "fr" && me.status() == 200);
    let policy = me.headers()["content-security-policy"].to_str()?.to_owned();
    ensure!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
    // No models: nobody can be looked for, and the page says so instead of asking for a selfie.
    let body = me.text().await?;
    ensure!(!body.contains("id=\"camera\"") && body.contains("La recherche n’est pas encore possible"), "{body}");
    // Whatever is asked for, people get a page and programs a problem.
    for (path, status) in [("/e/%ff", 400), ("/e?code=a&code=b", 422), ("/e?code=0123", 422), ("/nothing", 404)] {
        let answer = http.get(site.page(path)).header("accept", "text/html,*/*").send().await?;
        let kind = answer.headers()["content-type"].to_str()?.to_owned();
        ensure!(answer.status() == status && kind.starts_with("text/html"), "{path}: {answer:?}");
    }
    let nothing = http.get(site.page("/api/nothing")).header("accept", "text/html").send().await?;
    ensure!(nothing.headers()["content-type"] == "application/problem+json");
    static_files(&site, &body).await
}

/// Kept for good under the name of their version, and only there.
async fn static_files(site: &Site, body: &str) -> anyhow::Result<()> {
    let css = body.split('"').find(|part| part.ends_with("/findme.css")).context("a style sheet")?;
    let file = site.http().get(site.page(css)).send().await?;
    ensure!(file.headers()["cache-control"] == "public, max-age=31536000, immutable", "{file:?}");
    let tag = file.headers()["etag"].clone();
    let same = site.http().get(site.page(css)).header("if-none-match", tag).send().await?;
    ensure!(same.status() == 304);
    let old = site.http().get(site.page("/static/0123456789abcdef/findme.css")).send().await?;
    ensure!(old.status() == 200 && old.headers()["cache-control"] == "no-cache");
    ensure!(site.http().get(site.page("/static/0123456789abcdef/../main.rs")).send().await?.status() == 404);
    Ok(())
}

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn css(selector: &str) -> Locator<'_> {
    Locator::Css(selector)
}
