//! A body that is cut off.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{BodyEvent, OnInjected, join, next};
use crate::http::stream::BodyEnd;

/// Passes on some bytes of a body, never the last one, then fails. If the length is unknown, one byte is held back
/// until more bytes arrive or the body ends.
pub(super) struct CutBody {
    body: Body,
    held: Bytes,
    body_ended: bool,
    knows_length: bool,
    /// Bytes to pass on before the fault.
    left: u64,
    end: BodyEnd,
    /// Whether its length stays unknown, as that of a malformed body does.
    is_chunked: bool,
    on_injected: Option<OnInjected>,
}

impl CutBody {
    pub(super) fn new(
        body: Body,
        most: u64,
        end: BodyEnd,
        is_chunked: bool,
        on_injected: OnInjected,
    ) -> Self {
        let length = http_body::Body::size_hint(&body).exact();
        Self {
            body,
            held: Bytes::new(),
            body_ended: false,
            knows_length: length.is_some(),
            left: length.map_or(most, |length| most.min(length.saturating_sub(1))),
            end,
            is_chunked,
            on_injected: Some(on_injected),
        }
    }

    /// How many of the held bytes may be sent.
    fn ready(&self) -> u64 {
        let held = self.held.len() as u64;
        self.left.min(if self.knows_length { held } else { held.saturating_sub(1) })
    }

    /// Applies the fault. Bytes that were passed on earlier are sent before it.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(on_injected) = self.on_injected.take() {
            on_injected();
        }
        self.end.poll(cx).map(|error| error.map(|error| Err(axum::Error::new(error))))
    }
}

impl http_body::Body for CutBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        loop {
            if self.on_injected.is_none() {
                // The fault was already applied.
                return self.poll_end(cx);
            }
            let ready = self.ready();
            if ready > 0 {
                self.left -= ready;
                return Poll::Ready(Some(Ok(Frame::data(self.held.split_to(ready as usize)))));
            }
            // Enough bytes were sent, and at least one is left to withhold.
            if !self.held.is_empty() && (self.left == 0 || self.body_ended) {
                return self.poll_end(cx);
            }
            match ready!(next(&mut self.body, cx)) {
                Ok(BodyEvent::Data(data)) => join(&mut self.held, data),
                Ok(BodyEvent::End(_)) if !self.held.is_empty() => self.body_ended = true,
                // The body is too short to cut.
                Ok(BodyEvent::End(trailers)) => return Poll::Ready(trailers.map(Ok)),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_chunked {
            return SizeHint::new();
        }
        let held = self.held.len() as u64;
        let body = http_body::Body::size_hint(&self.body);
        body.exact().map_or_else(SizeHint::new, |left| SizeHint::with_exact(left + held))
    }
}
