//! A body that breaks off.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::Version;

use super::{Next, OnStrike, join, next};
use crate::listener::{ConnectionHandle, Ending, Script, Takeover};

/// How a body breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CutFault {
    /// With the end of the connection.
    Fin,
    /// With a reset of the connection.
    Rst,
    /// With silence.
    Hang,
    /// With a chunk whose size is none.
    Malformed,
}

/// A body of which some bytes come, never the last one, and then its fault. Where its length is not known, a byte is
/// held back until more come or the body ends.
pub(super) struct Cut {
    body: Body,
    held: Bytes,
    body_ended: bool,
    knows_length: bool,
    /// Bytes that come before the fault.
    left: u64,
    fault: CutFault,
    version: Version,
    connection: Option<ConnectionHandle>,
    on_strike: Option<OnStrike>,
}

impl Cut {
    pub(super) fn new(
        body: Body,
        most: u64,
        fault: CutFault,
        version: Version,
        connection: Option<ConnectionHandle>,
        on_strike: OnStrike,
    ) -> Self {
        let length = http_body::Body::size_hint(&body).exact();
        if let Some(connection) = connection.as_ref().filter(|_| fault == CutFault::Rst) {
            connection.expects_reset();
        }
        Self {
            body,
            held: Bytes::new(),
            body_ended: false,
            knows_length: length.is_some(),
            left: length.map_or(most, |length| most.min(length.saturating_sub(1))),
            fault,
            version,
            connection,
            on_strike: Some(on_strike),
        }
    }

    /// How many of the bytes at hand may go.
    fn ready(&self) -> u64 {
        let held = self.held.len() as u64;
        self.left.min(if self.knows_length { held } else { held.saturating_sub(1) })
    }

    /// The fault. What has been passed on before is sent before it.
    fn strike(&mut self) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(on_strike) = self.on_strike.take() else { return Poll::Pending };
        on_strike();
        let aborted = || Poll::Ready(Some(Err(axum::Error::new(Aborted))));
        match (self.fault, &self.connection) {
            (CutFault::Fin, _) if self.version == Version::HTTP_2 => Poll::Ready(None),
            (CutFault::Rst, _) if self.version == Version::HTTP_2 => aborted(),
            (CutFault::Hang, _) if self.version == Version::HTTP_2 => Poll::Pending,
            (_, None) => aborted(),
            (fault, Some(connection)) => {
                connection.hand_over(Takeover { script: script(fault), report: Box::new(|_| {}) });
                Poll::Pending
            }
        }
    }
}

/// Told to the server's side where nothing but an error ends a body.
#[derive(Debug, thiserror::Error)]
#[error("the body breaks off by a fault")]
struct Aborted;

fn script(fault: CutFault) -> Script {
    Script {
        opening: Bytes::new(),
        filling: 0,
        closing: if fault == CutFault::Malformed { b"not a size\r\n" } else { b"" },
        ending: match fault {
            CutFault::Fin | CutFault::Malformed => Ending::Fin,
            CutFault::Rst => Ending::Rst,
            CutFault::Hang => Ending::Never,
        },
        has_head: true,
    }
}

impl http_body::Body for Cut {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        loop {
            if self.on_strike.is_none() {
                // It is struck already; the connection is about to end.
                return Poll::Pending;
            }
            let ready = self.ready();
            if ready > 0 {
                self.left -= ready;
                return Poll::Ready(Some(Ok(Frame::data(self.held.split_to(ready as usize)))));
            }
            // A byte at hand is more than what may come.
            if !self.held.is_empty() && (self.left == 0 || self.body_ended) {
                return self.strike();
            }
            match ready!(next(&mut self.body, cx)) {
                Ok(Next::Data(data)) => join(&mut self.held, data),
                Ok(Next::End(_)) if !self.held.is_empty() => self.body_ended = true,
                // Nothing came that could be struck.
                Ok(Next::End(trailers)) => return Poll::Ready(trailers.map(Ok)),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        // A malformed body has chunks, which a length would take away.
        if self.fault == CutFault::Malformed {
            return SizeHint::new();
        }
        let held = self.held.len() as u64;
        let body = http_body::Body::size_hint(&self.body);
        body.exact().map_or_else(SizeHint::new, |left| SizeHint::with_exact(left + held))
    }
}
