//! A request's body that two read: whoever wants it and, after a refusal, whoever makes sure that the answer is heard.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::sync::Mutex;

use crate::http::problem::ApiResult;

/// A body that was refused is read on for this much, so that the client gets to read the answer.
const DRAIN_BYTES: usize = 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// Gives the answer; one that came early first reads on for a while, so that the client does not see a broken pipe
/// instead of it.
pub(crate) async fn answer(result: ApiResult, body: &SharedBody) -> Response {
    let error = match result {
        Ok(response) => return response,
        Err(error) => error,
    };
    let drain = async {
        let mut drained = 0;
        while let Some(Ok(piece)) = body.next().await {
            drained += piece.len();
            if drained > DRAIN_BYTES {
                return false;
            }
        }
        true
    };
    let whole = tokio::time::timeout(DRAIN_TIME, drain).await.unwrap_or(false);
    let mut response = error.into_response();
    if !whole {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A request's body, read by whoever wants it and, when that refused it, drained by [`answer`].
pub(crate) type SharedBody = Arc<Shared>;

/// See [`SharedBody`].
#[derive(Debug)]
pub(crate) struct Shared {
    stream: Mutex<BodyDataStream>,
    begun: AtomicBool,
}

impl Shared {
    async fn next(&self) -> Option<Result<Bytes, axum::Error>> {
        self.begun.store(true, Ordering::Relaxed);
        self.stream.lock().await.next().await
    }

    /// Whether anybody has asked for a byte of it.
    pub(super) fn begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }
}

pub(crate) fn shared(body: Body) -> SharedBody {
    Arc::new(Shared { stream: Mutex::new(body.into_data_stream()), begun: AtomicBool::new(false) })
}

/// The pieces of a body; one that comes too slowly ends as if it broke off (see [`super::super::pace`]).
pub(crate) fn pieces(body: &SharedBody) -> impl Stream<Item = Result<Bytes, BodyEnded>> + Unpin + Send + 'static {
    Box::pin(futures_util::stream::unfold(body.clone(), |body| async {
        let piece = body.next().await?;
        if let Ok(piece) = &piece {
            crate::metrics::get().upload_bytes(piece.len() as u64);
        }
        Some((piece.map_err(|_| BodyEnded), body))
    }))
}

/// The body ended before its end.
#[derive(Debug, thiserror::Error)]
#[error("the body ended before its end")]
pub(crate) struct BodyEnded;
