//! The accept loop. axum's own has no header or idle timeouts; this one has both, a bound on connections, and an end with
//! a deadline.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// Time for the whole head of a request; also how long an idle kept-alive connection may stay.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections at once. A venue of a thousand guests opens some six each at worst, and most are idle.
const MAX_CONNECTIONS: usize = 8192;

/// What is in flight at shutdown gets this long.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);

/// Answers connections until `shutdown`, then finishes what is in flight.
pub(crate) async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { break };
        let stream = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    pause_after(&error).await;
                    continue;
                }
            },
        };
        let (router, shutdown) = (router.clone(), shutdown.clone());
        connections.spawn(async move {
            answer(stream, router, shutdown).await;
            drop(permit);
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(SHUTDOWN_DEADLINE, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "connections were still open at the deadline");
    }
}

async fn answer(stream: TcpStream, router: Router, shutdown: CancellationToken) {
    // Small answers must not wait for a full segment.
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let router = router.clone();
        async move {
            let response = router.oneshot(request.map(Body::new)).await;
            Ok::<_, Infallible>(response.unwrap_or_else(|never| match never {}))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(64)
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
