//! A bad line: a proxy that passes bytes on, counts them, and can be told to cut connections or swallow answers.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use super::Random;

/// What happens to one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Cut in both directions after so many bytes from the client.
    CutAfter(u64),
    /// Cut in both directions after so many bytes from the server.
    CutAnswerAfter(u64),
    /// The request goes through; its answer does not, and the connection ends.
    SwallowAnswer,
}

/// A proxy; it ends with this.
pub(crate) struct Line {
    address: SocketAddr,
    sent: Arc<AtomicU64>,
    cuts: Arc<AtomicU64>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Line {
    /// A line to `target` that `faults` decides about, one call for each connection.
    pub(crate) async fn to(target: String, faults: impl FnMut() -> Fault + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sent, cuts) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (counter, cut, faults) = (sent.clone(), cuts.clone(), Arc::new(Mutex::new(faults)));
        let accepting = tokio::spawn(async move {
            let target = target.trim_start_matches("http://").to_owned();
            while let Ok((client, _)) = listener.accept().await {
                let fault = (faults.lock().unwrap())();
                let (target, counter, cut) = (target.clone(), counter.clone(), cut.clone());
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(&target).await
                        && pass(client, server, fault, &counter).await
                    {
                        cut.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        Self { address, sent, cuts, accepting }
    }

    /// A line without faults.
    pub(crate) async fn good(target: String) -> Self {
        Self::to(target, || Fault::None).await
    }

    /// A line with random faults: of `of` connections, one is cut early and one loses an answer; none lasts.
    pub(crate) async fn bad(target: String, mut random: Random, of: u64) -> Self {
        Self::to(target, move || match random.between(0, of) {
            0 => Fault::CutAfter(random.between(0, 60_000)),
            1 => Fault::SwallowAnswer,
            _ => Fault::CutAfter(random.between(100_000, 1_500_000)),
        })
        .await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Bytes that clients have sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Connections that were cut, or lost an answer, so far; a fault that its connection did not live to see is none.
    pub(crate) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Passes bytes on until the end; whether the end was the fault's.
async fn pass(client: TcpStream, server: TcpStream, fault: Fault, counter: &AtomicU64) -> bool {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let limit = if let Fault::CutAfter(bytes) = fault { bytes } else { u64::MAX };
    let up = copy(from_client, to_server, limit, Some(counter));
    let down = async {
        match fault {
            Fault::SwallowAnswer => swallow(from_server).await,
            Fault::CutAnswerAfter(bytes) => copy(from_server, to_client, bytes, None).await,
            Fault::None | Fault::CutAfter(_) => copy(from_server, to_client, u64::MAX, None).await,
        }
    };
    // Whichever direction ends first ends the connection: dropping the halves closes it.
    tokio::select! {
        cut = up => cut,
        cut = down => cut,
    }
}

/// Whether the limit was reached.
async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, limit: u64, counter: Option<&AtomicU64>) -> bool {
    let (mut buffer, mut left) = (vec![0; 16 * 1024], limit);
    while left > 0 {
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        match from.read(&mut buffer[..most]).await {
            Ok(n) if n > 0 && to.write_all(&buffer[..n]).await.is_ok() => {
                left -= n as u64;
                if let Some(counter) = counter {
                    counter.fetch_add(n as u64, Ordering::Relaxed);
                }
            }
            _ => return false,
        }
    }
    true
}

/// Whether there was an answer to lose.
async fn swallow(mut from: OwnedReadHalf) -> bool {
    let mut first = [0; 1];
    from.read(&mut first).await.is_ok_and(|read| read > 0)
}
