//! The accept loop. axum's own has no header or idle timeouts; this one has both, bounds on connections in all and of one
//! address, TLS, and an end with a deadline.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::client::{Network, Peer};
use super::crowd::Crowd;
use super::pace::Taken;
use super::tls::Tls;
use crate::limits::Limits;

/// Files that connections leave for photos, the catalogue and everything else.
const FILES_KEPT: u64 = 256;

/// Bytes of a body that are read at once: times the number of uploads.
const READ_AHEAD: usize = 64 * 1024;

/// What a listener needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) limits: Limits,
    pub(crate) trusted_proxies: Arc<[Network]>,
    /// `None`: plain http.
    pub(crate) tls: Option<Tls>,
}

/// Answers connections until `shutdown`, then finishes what is in flight.
pub(crate) async fn serve(listener: TcpListener, router: Router, terms: Terms, shutdown: CancellationToken) {
    let permits = Arc::new(Semaphore::new(room(&terms.limits)));
    let crowd = Crowd::default();
    let connections = TaskTracker::new();
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { break };
        let (stream, address) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    pause_after(&error).await;
                    continue;
                }
            },
        };
        let counted = counted(&terms, address.ip());
        let place = counted.map(|address| crowd.enter(address, terms.limits.max_connections_per_address));
        if matches!(place, Some(None)) {
            // Closed without a word: whoever opens thousands of connections reads none of them.
            tracing::debug!("too many connections of one address");
            continue;
        }
        let (router, terms, shutdown) = (router.clone(), terms.clone(), shutdown.clone());
        connections.spawn(async move {
            let _open = crate::metrics::get().connection();
            connect(stream, address, router, &terms, shutdown).await;
            drop((permit, place));
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(terms.limits.shutdown_time.0, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "connections were still open at the deadline");
    }
}

/// Connections that fit into the limit and into the files that the system allows.
fn room(limits: &Limits) -> usize {
    let wanted = u64::from(limits.max_connections);
    let possible = open_files().map_or(wanted, |files| files.saturating_sub(FILES_KEPT).max(16));
    if possible < wanted {
        tracing::warn!(connections = possible, "the system allows fewer open files than connections are wished for");
    }
    usize::try_from(wanted.min(possible)).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}

/// Files that the process may open, after asking for as many as it can get; `None` when there is no bound.
#[cfg(unix)]
fn open_files() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    if now.current != now.maximum {
        let most = Rlimit { current: now.maximum, maximum: now.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, most) {
            tracing::debug!(%error, "the bound of open files stays as it is");
        }
    }
    getrlimit(Resource::Nofile).current
}

#[cfg(not(unix))]
fn open_files() -> Option<u64> {
    None
}

/// Whom to count a connection for; `None` for this machine and named proxies, which stand for many.
fn counted(terms: &Terms, address: IpAddr) -> Option<IpAddr> {
    let address = address.to_canonical();
    let stands_for_many = address.is_loopback() || terms.trusted_proxies.iter().any(|proxy| proxy.contains(address));
    (!stands_for_many).then_some(address)
}

async fn connect(stream: TcpStream, address: SocketAddr, router: Router, terms: &Terms, shutdown: CancellationToken) {
    // Small answers must not wait for a full segment.
    let _ = stream.set_nodelay(true);
    let stream = Taken::new(stream, terms.limits.write_stall.0);
    let peer = Peer { address, tls: terms.tls.is_some() };
    let Some(tls) = &terms.tls else { return answer(stream, peer, router, &terms.limits, shutdown).await };
    match tokio::time::timeout(terms.limits.handshake_time.0, tls.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => answer(stream, peer, router, &terms.limits, shutdown).await,
        Ok(Err(error)) => tracing::debug!(%error, "no handshake"),
        Err(_) => tracing::debug!("the handshake took too long"),
    }
}

async fn answer<S>(stream: S, peer: Peer, router: Router, limits: &Limits, shutdown: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let router = router.clone();
        async move {
            let response = router.oneshot(request.map(Body::new)).await;
            Ok::<_, Infallible>(response.unwrap_or_else(|never| match never {}))
        }
    });
    let max_head = usize::try_from(limits.max_head.0).unwrap_or(usize::MAX).max(1024);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time.0)
        .max_headers(64)
        .max_header_size(max_head)
        // hyper's own would grow to 400 KiB for each upload that comes fast.
        .max_buf_size(max_head.max(READ_AHEAD))
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        // Phones come and go; that is no news.
        tracing::debug!(%error, "connection ended");
    }
}

/// A lack of descriptors passes when connections end; spinning would not help.
async fn pause_after(error: &io::Error) {
    let of_the_connection = matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    );
    if !of_the_connection {
        tracing::warn!(%error, "cannot accept connections");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_and_proxies_stand_for_many() {
        let trusted_proxies: Arc<[Network]> = vec!["10.0.0.1".parse().unwrap()].into();
        let terms = Terms { limits: Limits::default(), trusted_proxies, tls: None };
        assert_eq!(counted(&terms, [127, 0, 0, 1].into()), None);
        assert_eq!(counted(&terms, [10, 0, 0, 1].into()), None);
        let venue: IpAddr = [203, 0, 113, 1].into();
        assert_eq!(counted(&terms, venue), Some(venue));
    }
}
