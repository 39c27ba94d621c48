//! A real server with one event, and the photos it is given.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::PATIENCE;

/// What tests need and the repository must not hold: models, photos of people, a browser.
#[derive(Debug)]
pub(super) struct Assets {
    pub(super) models: PathBuf,
    pub(super) photos: PathBuf,
}

impl Assets {
    /// Where they are; `None`, loudly, where they are not, and an error where they must be.
    pub(super) fn find(browser: bool) -> anyhow::Result<Option<Self>> {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
        let shared = std::env::var_os("FINDME_SHARED").map_or(beside, PathBuf::from);
        let assets = Self { models: shared.join("models"), photos: shared.join("photos") };
        let on_path = |name: &str| {
            std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(name).exists()))
        };
        let missing = if !assets.models.is_dir() || !assets.photos.is_dir() {
            format!("models and photos in {} (name their folder with FINDME_SHARED)", shared.display())
        } else if browser && !(on_path("chromedriver") && on_path("chromium")) {
            "chromium and chromedriver (Debian: apt-get install chromium chromium-driver)".to_owned()
        } else {
            return Ok(Some(Self { models: assets.models.canonicalize()?, photos: assets.photos.canonicalize()? }));
        };
        ensure!(std::env::var_os("FINDME_REQUIRE_ASSETS").is_none_or(|v| v != "1"), "missing: {missing}");
        println!("SKIPPED, NOT TESTED: missing {missing}");
        Ok(None)
    }

    /// The path of a photo, as a file input takes it.
    pub(super) fn photo(&self, name: &str) -> String {
        self.photos.join(name).display().to_string()
    }
}

/// Starts the real program; it, and the address that it answers at.
async fn serve(arguments: &[String], listen: &str) -> anyhow::Result<(Child, String)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_e2e-server"));
    command.args(arguments).args(["--listen", listen]).env_remove("FINDME_MODELS");
    let mut server = command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn()?;
    let mut lines = BufReader::new(server.stdout.take().context("piped")?).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await??.context("the server said nothing")?;
    let url = line.split_whitespace().last().context("an address")?.trim_end_matches('/').to_owned();
    Ok((server, url))
}

/// A running server. It ends with the value.
#[derive(Debug)]
pub(super) struct Site {
    url: String,
    /// The photographer's.
    pub(super) token: String,
    /// The operator's.
    pub(super) operator: String,
    /// Code of the event.
    pub(super) join: String,
    server: Child,
    command: Vec<String>,
    data: tempfile::TempDir,
}

impl Site {
    /// Starts the real program on a free port of an address, with one event.
    pub(super) async fn start(address: &str, models: Option<&Path>) -> anyhow::Result<Self> {
        let program = env!("CARGO_BIN_EXE_e2e-server");
        let data = tempfile::tempdir()?;
        let created = Command::new(program)
            .args(["event", "create", "Anna & Joël, 12 September", "--data"])
            .arg(data.path())
            .output()
            .await?;
        let created = String::from_utf8(created.stdout)?;
        let word = |of: &str| {
            let line = created.lines().find(|line| line.starts_with(of));
            line.and_then(|line| line.split_whitespace().last()).map(str::to_owned).with_context(|| created.clone())
        };
        let (token, join) = (word("photographer")?, word("join")?);
        let operator =
            created.split_whitespace().find(|word| word.starts_with("fmo.")).context("shown once")?.to_owned();
        let mut command = vec!["--data".to_owned(), data.path().display().to_string()];
        if let Some(models) = models {
            command.extend(["--models".to_owned(), models.display().to_string()]);
        }
        let (server, url) = serve(&command, &format!("{address}:0")).await?;
        // Already there when another test installed it.
        rustls::crypto::ring::default_provider().install_default().ok();
        Ok(Self { url, token, operator, join, server, command, data })
    }

    /// The data folder.
    pub(super) fn data(&self) -> &Path {
        self.data.path()
    }

    /// Ends the server: from then on nothing answers.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        Ok(self.server.kill().await?)
    }

    /// Starts it again where it was.
    pub(super) async fn go_on(&mut self) -> anyhow::Result<()> {
        let address = self.url.trim_start_matches("http://").to_owned();
        (self.server, self.url) = serve(&self.command, &address).await?;
        Ok(())
    }

    /// The address of a page.
    pub(super) fn page(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// A client that follows no redirect and keeps no cookie.
    pub(super) fn http(&self) -> reqwest::Client {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
        client.build().expect("a client without any TLS roots can always be built")
    }

    /// Uploads a photo the way any tus client does.
    pub(super) async fn upload(&self, photo: &Path) -> anyhow::Result<()> {
        let bytes = tokio::fs::read(photo).await.with_context(|| photo.display().to_string())?;
        let name = photo.file_name().and_then(|name| name.to_str()).context("a file name")?;
        self.send(name, bytes, "").await?;
        Ok(())
    }

    /// The same of bytes, with more metadata; the upload's path.
    pub(super) async fn send(&self, name: &str, bytes: Vec<u8>, more: &str) -> anyhow::Result<String> {
        let created = self
            .http()
            .post(self.page("/api/uploads"))
            .bearer_auth(&self.token)
            .header("tus-resumable", "1.0.0")
            .header("upload-length", bytes.len())
            .header("upload-metadata", format!("filename {}{more}", STANDARD.encode(name)))
            .send()
            .await?;
        let location = created.headers().get("location").context("a location")?.to_str()?.to_owned();
        let sent = self
            .http()
            .patch(self.page(&location))
            .bearer_auth(&self.token)
            .header("tus-resumable", "1.0.0")
            .header("upload-offset", 0)
            .header("content-type", "application/offset+octet-stream")
            .body(bytes)
            .send()
            .await?;
        ensure!(sent.status() == 204, "{sent:?}");
        Ok(location)
    }

    /// Frees an upload; its photo stays.
    pub(super) async fn free(&self, upload: &str) -> anyhow::Result<()> {
        let request = self.http().delete(self.page(upload)).bearer_auth(&self.token).header("tus-resumable", "1.0.0");
        let freed = request.send().await?;
        ensure!(freed.status() == 204, "{freed:?}");
        Ok(())
    }

    /// Waits until every photo was looked at.
    pub(super) async fn indexed(&self) -> anyhow::Result<()> {
        let until = tokio::time::Instant::now() + PATIENCE * 2;
        while tokio::time::Instant::now() < until {
            let list = self.http().get(self.page("/api/all-photos")).bearer_auth(&self.token).send().await?;
            let list: serde_json::Value = list.json().await?;
            if list["counts"]["runnable"] == 0 {
                ensure!(list["counts"]["failed"] == 0, "{list}");
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        bail!("the photos were not indexed in time")
    }
}
