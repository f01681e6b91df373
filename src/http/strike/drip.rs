//! A body that begins in small pieces.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::Frame;
use tokio::time::Instant;

use super::{Next, OnStrike, join, next};
use crate::clock::{Sleep, Timer};

/// The most pieces of a body, so that a large one does not come byte by byte.
const MOST_PIECES: u64 = 100;

/// A body whose first bytes come in pieces over some time, and the rest after it. Of a body that is shorter, the last
/// byte comes at the end of that time; where its length is not known, a byte is held back until it is.
pub(super) struct Drip {
    body: Body,
    held: Bytes,
    trailers: Option<Frame<Bytes>>,
    body_ended: bool,
    knows_length: bool,
    /// How many bytes drip.
    size: u64,
    sent: u64,
    /// Pieces that have come.
    piece: u64,
    pieces: u64,
    gap: Duration,
    next: Sleep,
    on_strike: Option<OnStrike>,
}

impl Drip {
    pub(super) fn new(body: Body, most: u64, over: Duration, timer: &Timer, on_strike: OnStrike) -> Self {
        let length = http_body::Body::size_hint(&body).exact();
        let size = length.map_or(most, |length| length.min(most)).max(1);
        let pieces = size.min(MOST_PIECES);
        // The first piece comes after a gap, too: a body of one byte takes its time like any other.
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
            on_strike: Some(on_strike),
        }
    }

    /// How many bytes may have come with the present piece.
    fn released(&self) -> u64 {
        (u128::from(self.size) * u128::from(self.piece) / u128::from(self.pieces)) as u64
    }

    fn is_over(&self) -> bool {
        self.piece >= self.pieces
    }

    /// Takes more of the body.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        match ready!(next(&mut self.body, cx))? {
            Next::Data(data) => join(&mut self.held, data),
            Next::End(trailers) => (self.body_ended, self.trailers) = (true, trailers),
        }
        Poll::Ready(Ok(()))
    }

    /// Waits for the next piece, or, where the last byte is all that is left, for the last one.
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

impl http_body::Body for Drip {
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
            if let Some(on_strike) = self.on_strike.take() {
                on_strike();
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
