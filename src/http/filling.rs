//! A generated body of any size.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::listener::FILLING;

/// A body of this many bytes. The bytes are static, so slow readers cost no memory.
pub(super) struct Filling(pub(super) u64);

impl Body for Filling {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.0 == 0 {
            return Poll::Ready(None);
        }
        let size = self.0.min(FILLING.len() as u64);
        self.0 -= size;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&FILLING[..size as usize])))))
    }

    fn is_end_stream(&self) -> bool {
        self.0 == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}
