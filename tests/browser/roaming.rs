//! A phone that goes from one network to another while a page loads: what was on its way is lost, and asked for again.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::{Context, ensure};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::apart::Apart;
use super::phone::Phone;
use super::site::{Assets, Site};
use crate::support::photos::jpeg;

/// Names of files that are lost the next so many times.
type Lost = Arc<Mutex<Vec<(&'static str, u32)>>>;

/// The line between the two: a connection for each request, closed without an answer where a file is to be lost.
struct Line {
    address: SocketAddr,
    lost: Lost,
}

impl Line {
    async fn to(server: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let line = Self { address: listener.local_addr()?, lost: Lost::default() };
        let lost = Arc::clone(&line.lost);
        tokio::spawn(async move {
            while let Ok((phone, _)) = listener.accept().await {
                tokio::spawn(carry(phone, server, Arc::clone(&lost)));
            }
        });
        Ok(line)
    }

    fn lose(&self, names: &[&'static str], times: u32) {
        self.lost.lock().unwrap().extend(names.iter().map(|name| (*name, times)));
    }

    /// Whether everything that was to be lost was lost.
    fn nothing_to_lose(&self) -> bool {
        self.lost.lock().unwrap().iter().all(|(_, times)| *times == 0)
    }
}

async fn carry(phone: TcpStream, server: SocketAddr, lost: Lost) -> std::io::Result<()> {
    let mut phone = BufReader::new(phone);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && phone.read_line(&mut head).await? > 0 {}
    if is_lost(head.lines().next().unwrap_or_default(), &lost) {
        return Ok(());
    }
    // The next request is to come by a connection of its own.
    let head = head.replace("\r\nConnection: keep-alive", "").replacen("\r\n", "\r\nConnection: close\r\n", 1);
    let mut server = TcpStream::connect(server).await?;
    server.write_all(head.as_bytes()).await?;
    tokio::io::copy_bidirectional(&mut phone, &mut server).await?;
    Ok(())
}

fn is_lost(request: &str, lost: &Lost) -> bool {
    let mut lost = lost.lock().unwrap();
    let named = lost.iter_mut().find(|(name, times)| *times > 0 && request.contains(name));
    named.map(|(_, times)| *times -= 1).is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_lost_between_two_networks_is_asked_for_again() -> anyhow::Result<()> {
    let Some(assets) = Assets::find(true)? else { return Ok(()) };
    let apart = Apart::not();
    let site = Site::start(&apart.address(), Some(&assets.models)).await?;
    site.send("DSC_0004.JPG", jpeg(4, 900, 600), "").await?;
    let phone = Phone::start(&apart).await?;
    let result = roam(&phone, &site).await;
    phone.stop().await;
    result
}

/// Both pages of a guest: one asks for the modules before it needs them, the other when its photos are there.
async fn roam(phone: &Phone, site: &Site) -> anyhow::Result<()> {
    // The module itself, and ones that it needs.
    let cases: [(&str, &[&str]); 4] = [
        ("/me", &["/mine.js"]),
        ("/me", &["/held.js", "/expiry.js"]),
        ("/gallery", &["/viewer.js", "/expiry.js"]),
        ("/gallery", &["/ask.js"]),
    ];
    let server = site.page("").trim_start_matches("http://").trim_end_matches('/').parse()?;
    phone.go(&site.page(&format!("/e/{}", site.join))).await?;
    phone.click("form[method=post] button").await?;
    phone.until("return location.pathname === '/me'").await?;
    for (page, names) in cases {
        for times in [1, 3] {
            let line = Line::to(server).await?;
            let at = |path: &str| format!("http://{}{path}", line.address);
            line.lose(names, times);
            phone.go(&at(page)).await?;
            phone.ready().await.with_context(|| format!("{page} without {names:?}, {times} times"))?;
            ensure!(line.nothing_to_lose(), "{page}: {names:?} came at once");
        }
    }
    Ok(())
}
