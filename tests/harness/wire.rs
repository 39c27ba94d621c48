//! HTTP/1.1 by hand: cheap enough to load a server on the same machine, and able to do what no library would, such as
//! breaking off in the middle of a body.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Longest body that is read into memory, in bytes.
const MOST: u64 = 256 << 20;

/// A kept-alive connection.
pub(crate) struct Wire(BufReader<TcpStream>);

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.parse().ok()
    }

    /// Whether the server ends the connection after this answer.
    pub(crate) fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// A request without its body: `head` is everything up to `content-length`, each line ended.
pub(crate) fn head(method: &str, path: &str, token: &str, more: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ntus-resumable: 1.0.0\r\n{more}"
    )
}

impl Wire {
    /// `address` is `host:port`, or a URL of just these.
    pub(crate) async fn to(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address.trim_start_matches("http://")).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::with_capacity(16 * 1024, stream)))
    }

    /// Sends a request and reads its whole answer.
    pub(crate) async fn ask(&mut self, head: &str, body: &[u8]) -> io::Result<Answer> {
        self.send(head, body.len(), body).await?;
        self.answer(head.starts_with("HEAD ")).await
    }

    /// Sends a request that announces `length` bytes, with these.
    pub(crate) async fn send(&mut self, head: &str, length: usize, body: &[u8]) -> io::Result<()> {
        let head = format!("{head}content-length: {length}\r\n\r\n");
        if body.len() < 32 * 1024 {
            return self.raw(&[head.as_bytes(), body].concat()).await;
        }
        self.raw(head.as_bytes()).await?;
        self.raw(body).await
    }

    /// Sends bytes as they are.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes).await
    }

    /// Reads lines as they come, without their ends: of a stream of events.
    pub(crate) async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// The head of the next answer, without reading its body.
    pub(crate) async fn answer_head(&mut self) -> io::Result<Answer> {
        let wrong = |line: &str| io::Error::other(format!("no HTTP: {line:?}"));
        let first = self.line().await?;
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let mut answer = Answer { status: status.ok_or_else(|| wrong(&first))?, headers: Vec::new(), body: Vec::new() };
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(answer);
            }
            let (name, value) = line.split_once(':').ok_or_else(|| wrong(&line))?;
            answer.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// Reads the next answer; `headless` when its request was a `HEAD`.
    pub(crate) async fn answer(&mut self, headless: bool) -> io::Result<Answer> {
        let mut answer = self.answer_head().await?;
        while answer.status == 100 {
            answer = self.answer_head().await?;
        }
        if headless || matches!(answer.status, 204 | 304) {
            return Ok(answer);
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let size = self.line().await?;
                let size = u64::from_str_radix(&size, 16).map_err(io::Error::other)?;
                self.body(size, &mut answer.body).await?;
                self.line().await?;
                if size == 0 {
                    return Ok(answer);
                }
            }
        }
        let length = answer.number("content-length").unwrap_or(0);
        self.body(length, &mut answer.body).await?;
        Ok(answer)
    }

    /// The body of an answer whose head was read.
    pub(crate) async fn rest(&mut self, length: u64) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        self.body(length, &mut body).await?;
        Ok(body)
    }

    async fn body(&mut self, length: u64, into: &mut Vec<u8>) -> io::Result<()> {
        if length + into.len() as u64 > MOST {
            return Err(io::Error::other(format!("an answer of {length} bytes")));
        }
        let before = into.len();
        into.resize(before + length as usize, 0);
        self.0.read_exact(&mut into[before..]).await.map(drop)
    }
}
