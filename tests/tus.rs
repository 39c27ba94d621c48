//! tus 1.0 as a checklist: each check has the id of its line, and any server can be asked.
//!
//! By default our own real program. `FINDME_TUS_URL` (where uploads are created) and `FINDME_TUS_TOKEN` (a bearer token,
//! if it wants one) name another server; what it does not announce is not asked of it.

mod core;
mod extensions;

use std::pin::Pin;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use findme_common::protocol::{OFFSET_OCTET_STREAM, header};
use reqwest::{Method, RequestBuilder, Response, Url};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::guest::client;
use crate::support::{PATIENCE, Server, say};

/// The server that is asked.
pub(crate) struct Target {
    uploads: Url,
    token: Option<String>,
    http: reqwest::Client,
    extensions: Vec<String>,
}

/// A check: its id in the checklist, the extension that it belongs to, and what it does.
type Check<'a> = (&'static str, &'static str, Pin<Box<dyn Future<Output = Result<()>> + 'a>>);

impl Target {
    async fn new(uploads: &str, token: Option<String>) -> Self {
        let uploads = Url::parse(uploads).expect("FINDME_TUS_URL is a URL");
        let mut target = Self { uploads, token, http: client(), extensions: Vec::new() };
        let options = target.bare(Method::OPTIONS, &target.uploads).send().await.unwrap();
        target.extensions =
            text(&options, header::TUS_EXTENSION).unwrap_or_default().split(',').map(str::to_owned).collect();
        target
    }

    /// A request without a tus version.
    fn bare(&self, method: Method, url: &Url) -> RequestBuilder {
        let request = self.http.request(method, url.clone());
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    fn request(&self, method: Method, url: &Url) -> RequestBuilder {
        self.bare(method, url).header(header::TUS_RESUMABLE, "1.0.0")
    }

    fn creation(&self, length: u64) -> RequestBuilder {
        self.request(Method::POST, &self.uploads).header(header::UPLOAD_LENGTH, length)
    }

    /// Creates an upload of so many bytes.
    async fn create(&self, length: u64) -> Result<Url> {
        let answer = self.creation(length).header("content-length", 0).send().await?;
        ensure!(answer.status() == 201, "creation: {}", answer.status());
        self.location(&answer)
    }

    fn location(&self, answer: &Response) -> Result<Url> {
        Ok(self.uploads.join(&text(answer, "location").context("201 without Location")?)?)
    }

    async fn head(&self, upload: &Url) -> Result<Response> {
        Ok(self.request(Method::HEAD, upload).send().await?)
    }

    /// The offset that the server reports.
    async fn offset(&self, upload: &Url) -> Result<u64> {
        let answer = self.head(upload).await?;
        ensure!(answer.status().is_success(), "HEAD: {}", answer.status());
        number(&answer, header::UPLOAD_OFFSET)
    }

    fn patching(&self, upload: &Url, at: u64) -> RequestBuilder {
        let request = self.request(Method::PATCH, upload).header(header::UPLOAD_OFFSET, at);
        request.header("content-type", OFFSET_OCTET_STREAM)
    }

    async fn patch(&self, upload: &Url, at: u64, bytes: &[u8]) -> Result<Response> {
        Ok(self.patching(upload, at).body(bytes.to_vec()).send().await?)
    }

    /// A whole upload of these bytes.
    async fn upload(&self, bytes: &[u8]) -> Result<Url> {
        let upload = self.create(bytes.len() as u64).await?;
        let answer = self.patch(&upload, 0, bytes).await?;
        ensure!(answer.status() == 204, "PATCH: {}", answer.status());
        Ok(upload)
    }

    /// A connection by hand on which this head was sent, for what no library would do. The headers that every request
    /// needs are added.
    async fn by_hand(&self, method: &str, url: &Url, headers: &str) -> Result<TcpStream> {
        let host = url.host_str().context("no host")?;
        let mut connection = TcpStream::connect((host, url.port_or_known_default().unwrap_or(80))).await?;
        let token = self.token.as_ref().map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        let path = url.path();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{token}tus-resumable: 1.0.0\r\n{headers}\r\n");
        connection.write_all(head.as_bytes()).await?;
        Ok(connection)
    }

    /// A `PATCH` by hand that announces more than it sends.
    async fn half_patch(&self, upload: &Url, at: u64, announced: u64, more: &str, bytes: &[u8]) -> Result<TcpStream> {
        let head = format!(
            "content-type: {OFFSET_OCTET_STREAM}\r\nupload-offset: {at}\r\ncontent-length: {announced}\r\n{more}"
        );
        let mut connection = self.by_hand("PATCH", upload, &head).await?;
        connection.write_all(bytes).await?;
        connection.flush().await?;
        Ok(connection)
    }
}

/// What is read from a connection until it is closed, or until `enough` is in it.
async fn read_until(connection: &mut TcpStream, enough: &str) -> Result<String> {
    let mut read = Vec::new();
    let reading = async {
        let mut piece = [0; 4096];
        loop {
            let n = connection.read(&mut piece).await.unwrap_or(0);
            read.extend_from_slice(&piece[..n]);
            if n == 0 || String::from_utf8_lossy(&read).contains(enough) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.context("no answer")?;
    Ok(String::from_utf8_lossy(&read).into_owned())
}

fn text(answer: &Response, name: &str) -> Option<String> {
    answer.headers().get(name)?.to_str().ok().map(str::to_owned)
}

fn number(answer: &Response, name: &str) -> Result<u64> {
    text(answer, name)
        .with_context(|| format!("{name} is missing"))?
        .parse()
        .with_context(|| format!("{name} is no number"))
}

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Bytes that are no picture, different for each seed.
fn content(length: usize, seed: u64) -> Vec<u8> {
    let mut random = crate::support::Random::new(seed.wrapping_add(std::process::id().into()));
    (0..length).map(|_| random.next() as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_the_checklist() {
    let own = std::env::var("FINDME_TUS_URL").is_err();
    let server = if own { Some(Server::start().await) } else { None };
    let target = match &server {
        Some(server) => {
            let event = server.create_event("party");
            Target::new(&format!("{}/api/uploads", server.url()), Some(event.token)).await
        }
        None => Target::new(&std::env::var("FINDME_TUS_URL").unwrap(), std::env::var("FINDME_TUS_TOKEN").ok()).await,
    };
    let (mut kept, mut broken, mut unasked) = (0, Vec::new(), 0);
    for (id, extension, check) in core::checks(&target).into_iter().chain(extensions::checks(&target)) {
        if !extension.is_empty() && !target.extensions.iter().any(|offered| offered == extension) {
            unasked += 1;
            continue;
        }
        match check.await {
            Ok(()) => kept += 1,
            Err(error) => broken.push(format!("{id}: {error:#}")),
        }
    }
    say(&format!("tus: {kept} lines kept, {} broken, {unasked} not announced", broken.len()));
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    if let Some(server) = server {
        assert_eq!(unasked, 0, "an extension is no longer announced");
        server.assert_no_faults();
    }
}
