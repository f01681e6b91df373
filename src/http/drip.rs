//! A whole body in small pieces.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::Instant;

use crate::clock::{Sleep, Timer};
use crate::listener::FILLING;

/// The most pieces of a body, so that a large one does not come byte by byte.
const MOST_PIECES: u64 = 100;

/// A body that takes `over` from its first piece to its last.
pub(super) struct Drip {
    /// Bytes of the present piece that are still to be sent.
    piece: u64,
    left: u64,
    pieces_left: u64,
    gap: Duration,
    next: Sleep,
}

impl Drip {
    pub(super) fn new(size: u64, over: Duration, timer: &Timer) -> Self {
        let pieces = size.clamp(1, MOST_PIECES);
        // The first piece comes after a gap, too: a body of one byte takes its time like any other.
        let gap = over / pieces as u32;
        Self { piece: 0, left: size, pieces_left: pieces, gap, next: timer.sleep_until(Instant::now() + gap) }
    }
}

impl Body for Drip {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.piece == 0 {
            if self.pieces_left == 0 {
                return Poll::Ready(None);
            }
            ready!(Pin::new(&mut self.next).poll(cx));
            self.piece = self.left / self.pieces_left;
            self.left -= self.piece;
            self.pieces_left -= 1;
            let next = self.next.deadline() + self.gap;
            self.next.reset(next);
        }
        // From the static filling: a client that does not read makes nothing pile up here.
        let size = self.piece.min(FILLING.len() as u64);
        self.piece -= size;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&FILLING[..size as usize])))))
    }
}
