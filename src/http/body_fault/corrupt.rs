//! A body with corrupted bytes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};

use super::{BodyEvent, OnInjected, next};
use crate::fault::{Draws, Rate};

/// Flips one bit in some bytes; the length is unchanged. Bytes are drawn by position, so framing does not matter. At
/// least one byte is flipped: a drawn one if the length is known, else the first.
pub(super) struct CorruptBody {
    body: Body,
    share: f64,
    draws: Draws,
    at: u64,
    sure: u64,
    on_injected: Option<OnInjected>,
}

impl CorruptBody {
    pub(super) fn new(body: Body, share: Rate, draws: Draws, on_injected: OnInjected) -> Self {
        let length = http_body::Body::size_hint(&body).exact().filter(|length| *length > 0);
        let sure = length.map_or(0, |length| draws.at(0) % length);
        Self { body, share: share.percent() / 100.0, draws, at: 0, sure, on_injected: Some(on_injected) }
    }

    fn corrupt(&mut self, data: &Bytes) -> Bytes {
        let mut bytes = BytesMut::from(&data[..]);
        let mut flipped = false;
        for byte in bytes.iter_mut() {
            // Position 0 uses draw 1; draw 0 selects the byte that is always flipped.
            let number = self.at + 1;
            if self.at == self.sure || self.draws.share(number) < self.share {
                *byte ^= 1 << (self.draws.at(number) & 7);
                flipped = true;
            }
            self.at += 1;
        }
        if let Some(on_injected) = self.on_injected.take_if(|_| flipped) {
            on_injected();
        }
        bytes.freeze()
    }
}

impl http_body::Body for CorruptBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = match ready!(next(&mut self.body, cx)) {
            Ok(BodyEvent::Data(data)) => Some(Ok(Frame::data(self.corrupt(&data)))),
            Ok(BodyEvent::End(trailers)) => trailers.map(Ok),
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
