//! A phone: Chromium with a small touch screen, driven by chromedriver.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use super::apart::Apart;
use super::{PATIENCE, axe, css};

/// The screens that people look at: name, width, height, pixels per CSS pixel, touch.
const SCREENS: [(&str, u32, u32, u32, bool); 3] =
    [("360x640", 360, 640, 2, true), ("768x1024", 768, 1024, 1, true), ("1440x900", 1440, 900, 1, false)];

/// What must hold on every page: nothing wider than the screen, everything to be touched large enough and with a name.
const RULES: &str = r##"
const wrong = [];
const page = document.documentElement;
if (page.scrollWidth > innerWidth) wrong.push(`wider than the screen: ${page.scrollWidth}`);
const open = document.querySelector("dialog[open]") || document;
for (const e of open.querySelectorAll("a[href], button, input, select, summary, label.button, label.consent")) {
  const box = e.getBoundingClientRect();
  if (!box.width || e.matches(".skip, .hidden-input, p > a:not(.button), .consent input, .check input, .picks input") || getComputedStyle(e).visibility === "hidden") continue;
  if (box.width < 43.5 || box.height < 43.5) wrong.push(`too small to touch: ${e.outerHTML.slice(0, 90)} ${box.width}x${box.height}`);
  const named = e.getAttribute("aria-label") || e.textContent.trim() || (e.labels && e.labels.length) || e.querySelector("img[alt]:not([alt=''])");
  if (!named) wrong.push(`no name: ${e.outerHTML.slice(0, 90)}`);
}
for (const i of document.images) if (!i.hasAttribute("alt")) wrong.push(`no alt: ${i.outerHTML.slice(0, 90)}`);
if (document.querySelectorAll("h1").length < 1) wrong.push("no heading");
// Motion is not wanted here.
for (const e of document.querySelectorAll("*")) {
  const style = getComputedStyle(e);
  if (style.animationName !== "none" || style.transitionDuration.split(",").some((time) => parseFloat(time) > 0))
    wrong.push(`moves: ${e.outerHTML.slice(0, 90)}`);
}
const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
if (new Set(ids).size < ids.length) wrong.push("an id twice");
return wrong;
"##;

/// How much of the page moved since it was opened, as browsers count it (0: nothing; 1: everything, by a whole screen).
/// Also what moved right after a tap: opening a page is no excuse.
const SHIFT: &str = r#"
const watch = new PerformanceObserver(() => {});
watch.observe({ type: "layout-shift", buffered: true });
return watch.takeRecords().reduce((sum, entry) => sum + entry.value, 0);
"#;

/// A browser at the size of a phone, with its driver.
#[derive(Debug)]
pub(super) struct Phone {
    pub(super) client: Client,
    driver: Child,
    driver_url: String,
    http: reqwest::Client,
    shots: PathBuf,
    downloads: PathBuf,
    /// The accessibility rules, where they could be had.
    axe: Option<String>,
    _profile: tempfile::TempDir,
}

impl Phone {
    /// Starts chromedriver where the browser is to be, and a browser of its own.
    pub(super) async fn start(apart: &Apart) -> anyhow::Result<Self> {
        Self::start_with(apart, &[]).await
    }

    /// The same with more flags for the browser.
    pub(super) async fn start_with(apart: &Apart, more: &[String]) -> anyhow::Result<Self> {
        let mut command = apart.command("chromedriver");
        // The driver is in the other network too and has to be reached from here.
        if apart.is_another_machine() {
            command.args(["--allowed-ips=", "--allowed-origins=*"]);
        }
        let mut driver =
            command.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn()?;
        let mut lines = BufReader::new(driver.stdout.take().context("piped")?).lines();
        let port = loop {
            let line = tokio::time::timeout(PATIENCE, lines.next_line()).await??.context("chromedriver ended")?;
            if let Some((_, port)) = line.split_once("successfully on port ") {
                break port.trim_end_matches('.').to_owned();
            }
        };
        let driver_url = format!("http://{}:{port}", apart.browser_address());
        let profile = tempfile::tempdir()?;
        let mut arguments = vec![format!("--user-data-dir={}", profile.path().display())];
        let flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
            --disable-component-update --disable-sync --disable-dev-shm-usage --lang=en --accept-lang=en";
        arguments.extend(flags.split_whitespace().map(str::to_owned));
        arguments.extend_from_slice(more);
        let capabilities = json!({
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
            "timeouts": { "script": 300_000 },
        });
        let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(serde_json::from_value(capabilities)?)
            .connect(&driver_url)
            .await?;
        let target = Path::new(env!("CARGO_BIN_EXE_e2e-server")).ancestors().nth(2).context("target")?;
        let shots = target.join("screenshots");
        std::fs::create_dir_all(&shots)?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        let downloads = profile.path().join("downloads");
        std::fs::create_dir_all(&downloads)?;
        let axe = axe::source(&target.join("axe"))?;
        let phone = Self { client, driver, driver_url, http, shots, downloads, axe, _profile: profile };
        phone.screen(SCREENS[0], "light").await?;
        let folder = json!({ "behavior": "allow", "downloadPath": phone.downloads });
        phone.devtools("Browser.setDownloadBehavior", folder).await?;
        Ok(phone)
    }

    /// The bytes of a file that the page gave to be saved, once it is there.
    pub(super) async fn saved(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        let end = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < end {
            if let Ok(bytes) = std::fs::read(self.downloads.join(name)) {
                return Ok(bytes);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let there: Vec<_> = std::fs::read_dir(&self.downloads)?.flatten().map(|entry| entry.file_name()).collect();
        bail!("{name} was not saved: {there:?}")
    }

    /// Closes browser and driver.
    pub(super) async fn stop(mut self) {
        self.client.clone().close().await.ok();
        self.driver.kill().await.ok();
    }

    /// A command that only chromedriver knows.
    async fn driver(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        let session = self.client.session_id().await?.context("a session")?;
        let url = format!("{}/session/{session}/{path}", self.driver_url);
        let mut answer: Value = self.http.post(url).json(&body).send().await?.json().await?;
        ensure!(answer["value"].get("error").is_none(), "{answer}");
        Ok(answer["value"].take())
    }

    /// A command of the Chrome DevTools protocol.
    pub(super) async fn devtools(&self, command: &str, parameters: Value) -> anyhow::Result<Value> {
        self.driver("goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    async fn screen(&self, screen: (&str, u32, u32, u32, bool), scheme: &str) -> anyhow::Result<()> {
        let (_, width, height, scale, touch) = screen;
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": touch });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await?;
        self.devtools("Emulation.setTouchEmulationEnabled", json!({ "enabled": touch })).await?;
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" }]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await?;
        Ok(())
    }

    /// Screenshots of what is to be seen, on every screen, by day and by night.
    pub(super) async fn shoot(&self, name: &str) -> anyhow::Result<()> {
        for screen in SCREENS {
            for scheme in ["light", "dark"] {
                self.screen(screen, scheme).await?;
                // Two frames: one that lays out, one that is painted.
                let painted = "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))";
                self.client.execute_async(painted, vec![]).await?;
                let shot = self.devtools("Page.captureScreenshot", json!({ "format": "png" })).await?;
                let bytes = STANDARD.decode(shot["data"].as_str().context("a picture")?)?;
                std::fs::write(self.shots.join(format!("{name}-{}-{scheme}.png", screen.0)), bytes)?;
            }
        }
        self.screen(SCREENS[0], "light").await
    }

    /// What would come out of a printer, for people to look at; how many sheets it is.
    pub(super) async fn print(&self, name: &str) -> anyhow::Result<usize> {
        let paper = json!({ "preferCSSPageSize": true, "paperWidth": 8.27, "paperHeight": 11.69 });
        let pdf = self.devtools("Page.printToPDF", paper).await?;
        let pdf = STANDARD.decode(pdf["data"].as_str().context("a document")?)?;
        std::fs::write(self.shots.join(format!("{name}.pdf")), &pdf)?;
        Ok(String::from_utf8_lossy(&pdf).matches("/Type /Page\n").count())
    }

    /// Checks what must hold on every page at the size of the phone, and takes its screenshots.
    pub(super) async fn looks_right(&self, name: &str) -> anyhow::Result<()> {
        let wrong = self.js(RULES, vec![]).await?;
        ensure!(wrong == json!([]), "{name}: {wrong:#}");
        self.reads_well(name).await?;
        self.tabs_in_order(name).await?;
        self.fits_enlarged(name).await?;
        self.shoot(name).await?;
        for scheme in ["dark", "light"] {
            self.screen(SCREENS[0], scheme).await?;
            self.is_accessible(name, scheme).await?;
        }
        Ok(())
    }

    /// No scrolling sideways: a large screen at four times and at twice its size, and a phone with letters of twice theirs.
    async fn fits_enlarged(&self, name: &str) -> anyhow::Result<()> {
        let letters = "document.documentElement.style.fontSize = arguments[0]";
        for (screen, size) in [
            (("320x640", 320, 640, 2, true), ""),
            (("720x450", 720, 450, 2, false), ""),
            (("360x640", 360, 640, 2, true), "200%"),
        ] {
            self.screen(screen, "light").await?;
            self.js(letters, vec![json!(size)]).await?;
            // The grid lays itself out anew a frame after the screen has changed.
            let fits = format!("return document.documentElement.scrollWidth <= {}", screen.1);
            let fitted = self.until(&fits).await;
            if fitted.is_err() {
                self.shoot(&format!("{name}-too-wide")).await?;
            }
            fitted.with_context(|| format!("{name} at {}, letters {size}", screen.0))?;
        }
        self.js(letters, vec![json!("")]).await?;
        Ok(())
    }

    /// Nothing that axe-core calls serious or critical.
    async fn is_accessible(&self, name: &str, scheme: &str) -> anyhow::Result<()> {
        let Some(axe) = &self.axe else { return Ok(()) };
        if self.js("return typeof axe", vec![]).await? != json!("object") {
            self.js(axe, vec![]).await?;
        }
        let found = self.client.execute_async(axe::RUN, vec![]).await?;
        ensure!(found == json!([]), "{name} ({scheme}), axe-core: {found:#}");
        Ok(())
    }

    /// Nothing moved while the page was loading. Asked before the screen changes for screenshots.
    pub(super) async fn stood_still(&self) -> anyhow::Result<()> {
        let shift = self.js(SHIFT, vec![]).await?;
        ensure!(shift.as_f64().is_some_and(|shift| shift < 0.005), "{shift} of the page moved");
        Ok(())
    }

    /// Nothing but failed requests of these paths, which the test meant to fail; and the policy is really enforced.
    pub(super) async fn console_is_clean(&self, meant: &[&str]) -> anyhow::Result<()> {
        let log = self.driver("se/log", json!({ "type": "browser" })).await?;
        for entry in log.as_array().context("a log")? {
            let message = entry["message"].as_str().unwrap_or_default();
            let known = entry["source"] == "network" && meant.iter().any(|path| message.contains(path));
            // A picture that the browser still had from the page before was asked for ahead in vain; that costs nothing.
            let had = message.contains("/small was preloaded using link preload but not used");
            // Another test has just set up, or taken down, a network of its own.
            let elsewhere = message.contains("net::ERR_NETWORK_CHANGED");
            ensure!(known || had || elsewhere || entry["level"] == "INFO", "{entry}");
        }
        let inline = "const s = document.createElement('script'); s.textContent = 'window.ran = true'; \
            document.body.append(s); return !!window.ran";
        ensure!(self.js(inline, vec![]).await? == json!(false), "an inline script ran");
        let log = self.driver("se/log", json!({ "type": "browser" })).await?.to_string();
        ensure!(log.contains("Content Security Policy"), "a violation shows in the log: {log}");
        Ok(())
    }

    /// Waits until what one does on a page is there: it comes after what one sees.
    pub(super) async fn ready(&self) -> anyhow::Result<()> {
        self.until("return 'ready' in document.documentElement.dataset").await
    }

    pub(super) async fn go(&self, url: &str) -> anyhow::Result<()> {
        Ok(self.client.goto(url).await?)
    }

    pub(super) async fn find(&self, selector: &str) -> anyhow::Result<Element> {
        self.client.find(css(selector)).await.with_context(|| selector.to_owned())
    }

    pub(super) async fn click(&self, selector: &str) -> anyhow::Result<()> {
        self.find(selector).await?.click().await.with_context(|| selector.to_owned())
    }

    pub(super) async fn text(&self, selector: &str) -> anyhow::Result<String> {
        Ok(self.find(selector).await?.text().await?)
    }

    pub(super) async fn js(&self, script: &str, arguments: Vec<Value>) -> anyhow::Result<Value> {
        self.client.execute(script, arguments).await.with_context(|| script.to_owned())
    }

    /// Waits until a script says true.
    pub(super) async fn until(&self, script: &str) -> anyhow::Result<()> {
        let end = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < end {
            // A page that is just being replaced cannot answer; the next one can.
            if self.client.execute(script, vec![]).await.is_ok_and(|value| value == json!(true)) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("never true: {script}")
    }

    /// A request that the page itself makes, with its session.
    pub(super) async fn fetch(&self, method: &str, path: &str) -> anyhow::Result<Value> {
        let script = "const [method, path, done] = arguments; \
            fetch(path, { method }).then((r) => r.json()).then(done, (e) => done(String(e)))";
        Ok(self.client.execute_async(script, vec![json!(method), json!(path)]).await?)
    }

    /// A key of the keyboard, by its DOM name.
    pub(super) async fn key(&self, key: &str) -> anyhow::Result<()> {
        let code = match key {
            "ArrowRight" => 39,
            "Escape" => 27,
            other => bail!("no code for {other}"),
        };
        self.press(key, code).await
    }

    /// A finger that moves sideways over the middle of an element.
    pub(super) async fn swipe(&self, selector: &str, by: i64) -> anyhow::Result<()> {
        let middle = "const b = document.querySelector(arguments[0]).getBoundingClientRect(); \
            return [b.x + b.width / 2, b.y + b.height / 2]";
        let middle = self.js(middle, vec![json!(selector)]).await?;
        let (x, y) = (middle[0].as_f64().context("x")?, middle[1].as_f64().context("y")?);
        for (kind, moved) in
            [("touchStart", Some(0)), ("touchMove", Some(by / 2)), ("touchMove", Some(by)), ("touchEnd", None)]
        {
            let points: Vec<Value> = moved.map(|by| json!({ "x": x + by as f64, "y": y })).into_iter().collect();
            self.devtools("Input.dispatchTouchEvent", json!({ "type": kind, "touchPoints": points })).await?;
        }
        Ok(())
    }
}
