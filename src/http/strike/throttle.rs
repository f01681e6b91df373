//! A body at a given speed.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use super::{Next, OnStrike, next};
use crate::clock::{Sleep, Timer};

/// How many pieces a second has: few enough to cost little, and many enough to look even.
const PIECES: u64 = 20;

/// How long `size` bytes take.
pub(super) fn time(size: u64, speed: u64) -> Duration {
    Duration::try_from_secs_f64(size as f64 / speed as f64).unwrap_or(Duration::MAX / 2)
}

/// A body whose bytes come at `speed` per second. It holds one frame of the body at most, so that whoever sends it is
/// slowed down, too.
pub(super) struct Throttle {
    body: Body,
    speed: u64,
    held: Bytes,
    /// Bytes of the piece that waits for its time.
    piece: usize,
    due: Sleep,
    /// Whether the body, not the speed, is what was waited for: then its time counts from now.
    starved: bool,
    on_strike: Option<OnStrike>,
}

impl Throttle {
    pub(super) fn new(body: Body, speed: u64, timer: &Timer, on_strike: OnStrike) -> Self {
        let due = timer.sleep_until(Instant::now());
        Self { body, speed, held: Bytes::new(), piece: 0, due, starved: true, on_strike: Some(on_strike) }
    }
}

impl http_body::Body for Throttle {
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
                Poll::Ready(Ok(Next::Data(data))) => this.held = data,
                Poll::Ready(Ok(Next::End(trailers))) => return Poll::Ready(trailers.map(Ok)),
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
            }
            if let Some(on_strike) = this.on_strike.take() {
                on_strike();
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
