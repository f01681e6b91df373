//! A body some of whose bytes are other ones.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};

use super::{Next, OnStrike, next};
use crate::fault::{Draws, Rate};

/// A body of the same length in which one bit of some bytes is flipped. Which ones is drawn for each position alone, so
/// that it does not matter in which frames the body comes. One is sure to be flipped: a drawn one where the length is
/// known, else the first.
pub(super) struct Flip {
    body: Body,
    share: f64,
    draws: Draws,
    at: u64,
    sure: u64,
    on_strike: Option<OnStrike>,
}

impl Flip {
    pub(super) fn new(body: Body, share: Rate, draws: Draws, on_strike: OnStrike) -> Self {
        let length = http_body::Body::size_hint(&body).exact().filter(|length| *length > 0);
        let sure = length.map_or(0, |length| draws.at(0) % length);
        Self { body, share: share.percent() / 100.0, draws, at: 0, sure, on_strike: Some(on_strike) }
    }

    fn flip(&mut self, data: &Bytes) -> Bytes {
        let mut bytes = BytesMut::from(&data[..]);
        let mut flipped = false;
        for byte in bytes.iter_mut() {
            // Position 0 has the draw of number 1; that of 0 says which byte is sure.
            let number = self.at + 1;
            if self.at == self.sure || self.draws.share(number) < self.share {
                *byte ^= 1 << (self.draws.at(number) & 7);
                flipped = true;
            }
            self.at += 1;
        }
        if let Some(on_strike) = self.on_strike.take_if(|_| flipped) {
            on_strike();
        }
        bytes.freeze()
    }
}

impl http_body::Body for Flip {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = match ready!(next(&mut self.body, cx)) {
            Ok(Next::Data(data)) => Some(Ok(Frame::data(self.flip(&data)))),
            Ok(Next::End(trailers)) => trailers.map(Ok),
            Err(error) => Some(Err(error)),
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        http_body::Body::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.body)
    }
}
