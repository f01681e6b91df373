//! A body whose first bytes are sent in small pieces.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::Frame;
use tokio::time::Instant;

use super::{BodyEvent, OnInjected, join, next};
use crate::clock::{Sleep, Timer};

/// Limits the number of pieces, so that a large body is not sent byte by byte.
const MAX_PIECES: u64 = 100;

/// Sends the first bytes of a body in pieces over some time, then the rest. The last byte of a shorter body is sent
/// at the end of that time. If the length is unknown, one byte is held back until it is known.
pub(super) struct DripBody {
    body: Body,
    held: Bytes,
    trailers: Option<Frame<Bytes>>,
    body_ended: bool,
    knows_length: bool,
    /// Number of bytes to drip.
    size: u64,
    sent: u64,
    /// Pieces sent so far.
    piece: u64,
    pieces: u64,
    gap: Duration,
    next: Sleep,
    on_injected: Option<OnInjected>,
}

impl DripBody {
    pub(super) fn new(body: Body, most: u64, over: Duration, timer: &Timer, on_injected: OnInjected) -> Self {
        let length = http_body::Body::size_hint(&body).exact();
        let size = length.map_or(most, |length| length.min(most)).max(1);
        let pieces = size.min(MAX_PIECES);
        // A gap precedes the first piece as well, so that a body of one byte takes the full time.
        let gap = over / pieces as u32;
        Self {
            body,
            held: Bytes::new(),
            trailers: None,
            body_ended: false,
            knows_length: length.is_some(),
            size,
            sent: 0,
            piece: 0,
            pieces,
            gap,
            next: timer.sleep_until(Instant::now() + gap),
            on_injected: Some(on_injected),
        }
    }

    /// Number of bytes allowed up to the current piece.
    fn released(&self) -> u64 {
        (u128::from(self.size) * u128::from(self.piece) / u128::from(self.pieces)) as u64
    }

    fn is_over(&self) -> bool {
        self.piece >= self.pieces
    }

    /// Reads more of the body.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        match ready!(next(&mut self.body, cx))? {
            BodyEvent::Data(data) => join(&mut self.held, data),
            BodyEvent::End(trailers) => (self.body_ended, self.trailers) = (true, trailers),
        }
        Poll::Ready(Ok(()))
    }

    /// Waits for the next piece, or for the last one if only the last byte is left.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.body_ended && !self.knows_length && self.held.len() == 1 {
            let skipped = self.pieces - self.piece - 1;
            self.piece += skipped;
            let last = self.next.deadline() + self.gap * skipped as u32;
            self.next.reset(last);
        }
        ready!(Pin::new(&mut self.next).poll(cx));
        self.piece += 1;
        let next = self.next.deadline() + self.gap;
        self.next.reset(next);
        Poll::Ready(())
    }
}

impl http_body::Body for DripBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        loop {
            if self.held.is_empty() {
                if self.body_ended {
                    return Poll::Ready(self.trailers.take().map(Ok));
                }
                if let Err(error) = ready!(self.fill(cx)) {
                    return Poll::Ready(Some(Err(error)));
                }
                continue;
            }
            if let Some(on_injected) = self.on_injected.take() {
                on_injected();
            }
            let mut ready = if self.is_over() { self.held.len() as u64 } else { self.released() - self.sent };
            ready = ready.min(self.held.len() as u64);
            if ready == 0 {
                ready!(self.wait(cx));
                continue;
            }
            if !self.knows_length && !self.is_over() && ready == self.held.len() as u64 {
                ready -= 1;
            }
            if ready == 0 {
                if self.body_ended {
                    ready!(self.wait(cx));
                } else if let Err(error) = ready!(self.fill(cx)) {
                    return Poll::Ready(Some(Err(error)));
                }
                continue;
            }
            self.sent += ready;
            return Poll::Ready(Some(Ok(Frame::data(self.held.split_to(ready as usize)))));
        }
    }
}
