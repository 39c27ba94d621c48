//! Clients that are too slow: a body must pause no longer than a while and come at some rate on average, and an answer
//! must be taken. Only the time that the server waits for the client counts.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::limits::Limits;

/// A body may be slow for this long: phones change cells, TCP starts slowly.
const GRACE: Duration = Duration::from_secs(30);

/// Puts the limits around a request's body.
pub(super) fn paced(request: Request, limits: &Limits) -> Request {
    let pace = Pace { idle: limits.body_idle.0, rate: limits.body_rate.0, grace: GRACE };
    request.map(|body| if body.is_end_stream() { body } else { Body::new(Paced::new(body, pace)) })
}

/// How slow a body may be.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Longest pause.
    idle: Duration,
    /// Bytes a second, on average over the time that was waited.
    rate: u64,
    /// Waiting that is free.
    grace: Duration,
}

/// The client sends too slowly.
#[derive(Debug, thiserror::Error)]
#[error("the body came too slowly")]
struct TooSlow;

#[derive(Debug)]
struct Paced {
    body: Body,
    pace: Pace,
    bytes: u64,
    waited: Duration,
    /// Since when the client owes the next piece, and the end of patience.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Paced {
    const fn new(body: Body, pace: Pace) -> Self {
        Self { body, pace, bytes: 0, waited: Duration::ZERO, waiting: None }
    }

    fn is_too_slow(&self) -> bool {
        let counted = self.waited.saturating_sub(self.pace.grace);
        !counted.is_zero() && (self.bytes as f64) < self.pace.rate as f64 * self.waited.as_secs_f64()
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                if let Some((since, _)) = this.waiting.take() {
                    this.waited += since.elapsed();
                }
                if let Some(Ok(frame)) = &frame {
                    this.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                    if this.is_too_slow() {
                        return Poll::Ready(Some(Err(axum::Error::new(TooSlow))));
                    }
                }
                Poll::Ready(frame)
            }
            Poll::Pending => {
                let idle = this.pace.idle;
                let (_, patience) = this.waiting.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(idle))));
                ready!(patience.as_mut().poll(cx));
                Poll::Ready(Some(Err(axum::Error::new(TooSlow))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        HttpBody::size_hint(&self.body)
    }
}

/// A connection that ends when its client takes nothing for too long. An idle one, and one whose answer comes in small
/// pieces, such as live events, waits for nothing to be taken.
#[derive(Debug)]
pub(super) struct Taken<S> {
    stream: S,
    stall: Duration,
    /// Set while something waits to be taken.
    patience: Option<Pin<Box<Sleep>>>,
}

impl<S> Taken<S> {
    pub(super) const fn new(stream: S, stall: Duration) -> Self {
        Self { stream, stall, patience: None }
    }

    fn judge<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.patience = None;
            return result;
        }
        let stall = self.stall;
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(stall)));
        ready!(patience.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taken<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taken<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.judge(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.judge(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.judge(cx, result)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::BodyExt;
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// Pieces of `size` bytes, each after a pause.
    fn dripping(pieces: usize, size: usize, pause: Duration) -> Body {
        Body::from_stream(stream::unfold(pieces, move |left| async move {
            sleep(pause).await;
            (left > 0).then(|| (Ok::<_, io::Error>(Bytes::from(vec![0; size])), left - 1))
        }))
    }

    async fn read(body: Body, pace: Pace) -> Result<usize, axum::Error> {
        Paced::new(body, pace).collect().await.map(|whole| whole.to_bytes().len())
    }

    /// Patient in everything.
    const PATIENT: Pace = Pace { idle: Duration::from_secs(600), rate: 0, grace: Duration::from_secs(600) };

    #[tokio::test]
    async fn a_body_may_pause_but_not_for_ever() {
        assert_eq!(read(dripping(3, 50_000, Duration::from_millis(2)), PATIENT).await.unwrap(), 150_000);
        let hasty = Pace { idle: Duration::from_millis(20), ..PATIENT };
        assert!(read(dripping(1, 50_000, Duration::from_secs(600)), hasty).await.is_err());
    }

    #[tokio::test]
    async fn a_trickle_is_cut_off_after_its_grace() {
        let trickle = || dripping(1000, 1, Duration::from_millis(2));
        let demanding = Pace { rate: 1 << 30, ..PATIENT };
        assert!(read(dripping(10, 1, Duration::from_millis(2)), demanding).await.is_ok(), "a small body may be slow");
        assert!(read(trickle(), Pace { grace: Duration::from_millis(20), ..demanding }).await.is_err());
        let modest = Pace { rate: 1, grace: Duration::from_millis(20), ..PATIENT };
        assert_eq!(read(dripping(50, 1000, Duration::from_millis(2)), modest).await.unwrap(), 50_000);
    }

    #[tokio::test]
    async fn an_answer_that_nobody_takes_ends() {
        let (ours, theirs) = tokio::io::duplex(1000);
        let mut ours = Taken::new(ours, Duration::from_millis(20));
        ours.write_all(&[0; 1000]).await.unwrap();
        sleep(Duration::from_millis(60)).await;
        let error = ours.write_all(&[0; 1]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(theirs);
    }
}
