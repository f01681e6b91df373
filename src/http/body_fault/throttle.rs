//! A body with limited bandwidth.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use super::{BodyEvent, OnInjected, next};
use crate::clock::{Sleep, Timer};

/// Pieces per second: few enough to be cheap, enough to look smooth.
const PIECES: u64 = 20;

/// How long `size` bytes take at `speed`.
pub(super) fn time(size: u64, speed: u64) -> Duration {
    Duration::try_from_secs_f64(size as f64 / speed as f64).unwrap_or(Duration::MAX / 2)
}

/// Sends a body at `speed` bytes per second. It holds at most one frame, so the sender is slowed down as well.
pub(super) struct ThrottledBody {
    body: Body,
    speed: u64,
    held: Bytes,
    /// Size of the piece that is waiting to be sent.
    piece: usize,
    due: Sleep,
    /// Whether the body was slower than the limit: then the next piece is timed from now.
    starved: bool,
    on_injected: Option<OnInjected>,
}

impl ThrottledBody {
    pub(super) fn new(body: Body, speed: u64, timer: &Timer, on_injected: OnInjected) -> Self {
        let due = timer.sleep_until(Instant::now());
        Self { body, speed, held: Bytes::new(), piece: 0, due, starved: true, on_injected: Some(on_injected) }
    }
}

impl http_body::Body for ThrottledBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if this.held.is_empty() {
            match next(&mut this.body, cx) {
                Poll::Pending => {
                    this.starved = true;
                    return Poll::Pending;
                }
                Poll::Ready(Ok(BodyEvent::Data(data))) => this.held = data,
                Poll::Ready(Ok(BodyEvent::End(trailers))) => return Poll::Ready(trailers.map(Ok)),
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
            }
            if let Some(on_injected) = this.on_injected.take() {
                on_injected();
            }
        }
        if this.piece == 0 {
            let most = usize::try_from((this.speed / PIECES).max(1)).unwrap_or(usize::MAX);
            this.piece = this.held.len().min(most);
            let from = if std::mem::take(&mut this.starved) {
                this.due.deadline().max(Instant::now())
            } else {
                this.due.deadline()
            };
            this.due.reset(from + time(this.piece as u64, this.speed));
        }
        ready!(Pin::new(&mut this.due).poll(cx));
        let piece = std::mem::take(&mut this.piece);
        Poll::Ready(Some(Ok(Frame::data(this.held.split_to(piece)))))
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.len() as u64;
        let body = http_body::Body::size_hint(&self.body);
        body.exact().map_or_else(SizeHint::new, |left| SizeHint::with_exact(left + held))
    }
}
