//! A body that breaks off.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::Version;

use super::{Next, OnStrike, join, next};
use crate::http::stream::{End, Stopped, malformed};
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
    /// How a stream of HTTP/2 ends, once the fault has struck.
    end: Option<End>,
    stopped: Option<Stopped>,
}

impl Cut {
    pub(super) fn new(
        body: Body,
        most: u64,
        fault: CutFault,
        version: Version,
        connection: Option<ConnectionHandle>,
        on_strike: OnStrike,
        stopped: Option<Stopped>,
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
            end: None,
            stopped,
        }
    }

    /// How many of the bytes at hand may go.
    fn ready(&self) -> u64 {
        let held = self.held.len() as u64;
        self.left.min(if self.knows_length { held } else { held.saturating_sub(1) })
    }

    /// The fault. What has been passed on before is sent before it.
    fn strike(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(on_strike) = self.on_strike.take() else { return Poll::Pending };
        on_strike();
        let aborted = || Poll::Ready(Some(Err(axum::Error::new(Aborted))));
        if self.version == Version::HTTP_2 && self.fault != CutFault::Malformed {
            self.end = Some(match self.fault {
                CutFault::Rst => End::Reset(None),
                CutFault::Hang => {
                    if let Some(connection) = &self.connection {
                        connection.waits_for_ever();
                    }
                    End::Never(self.stopped.take().unwrap_or_else(|| Box::pin(std::future::pending())))
                }
                CutFault::Fin | CutFault::Malformed => End::Early,
            });
            return self.poll_end(cx);
        }
        match (self.fault, &self.connection) {
            (_, None) => aborted(),
            (fault, Some(connection)) => {
                let script = if self.version == Version::HTTP_2 { malformed() } else { script(fault) };
                connection.hand_over(Takeover { script, report: Box::new(|_| {}) });
                Poll::Pending
            }
        }
    }
}

impl Cut {
    /// The end of a stream of HTTP/2, or silence where the connection ends.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(end) = &mut self.end else { return Poll::Pending };
        end.poll(cx).map(|error| error.map(|error| Err(axum::Error::new(error))))
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
            CutFault::Fin => Ending::BareFin,
            CutFault::Malformed => Ending::Fin,
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
                // It is struck already.
                return self.poll_end(cx);
            }
            let ready = self.ready();
            if ready > 0 {
                self.left -= ready;
                return Poll::Ready(Some(Ok(Frame::data(self.held.split_to(ready as usize)))));
            }
            // A byte at hand is more than what may come.
            if !self.held.is_empty() && (self.left == 0 || self.body_ended) {
                return self.strike(cx);
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
