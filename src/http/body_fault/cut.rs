//! A body that is cut off.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::Version;

use super::{BodyEvent, OnInjected, join, next};
use crate::http::stream::{BodyEnd, Stopped, malformed};
use crate::listener::{ConnectionHandle, Script, ScriptEnding, Takeover};

/// How a body is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CutFault {
    /// The connection is closed.
    Fin,
    /// The connection is reset.
    Rst,
    /// Nothing more is sent.
    Hang,
    /// A malformed chunk follows.
    Malformed,
}

/// Passes on some bytes of a body, never the last one, then fails. If the length is unknown, one byte is held back
/// until more bytes arrive or the body ends.
pub(super) struct CutBody {
    body: Body,
    held: Bytes,
    body_ended: bool,
    knows_length: bool,
    /// Bytes to pass on before the fault.
    left: u64,
    fault: CutFault,
    version: Version,
    connection: Option<ConnectionHandle>,
    on_injected: Option<OnInjected>,
    /// How the HTTP/2 stream ends after the fault.
    end: Option<BodyEnd>,
    stopped: Option<Stopped>,
}

impl CutBody {
    pub(super) fn new(
        body: Body,
        most: u64,
        fault: CutFault,
        version: Version,
        connection: Option<ConnectionHandle>,
        on_injected: OnInjected,
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
            on_injected: Some(on_injected),
            end: None,
            stopped,
        }
    }

    /// How many of the held bytes may be sent.
    fn ready(&self) -> u64 {
        let held = self.held.len() as u64;
        self.left.min(if self.knows_length { held } else { held.saturating_sub(1) })
    }

    /// Applies the fault. Bytes that were passed on earlier are sent before it.
    fn apply_fault(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(on_injected) = self.on_injected.take() else { return Poll::Pending };
        on_injected();
        let aborted = || Poll::Ready(Some(Err(axum::Error::new(Aborted))));
        if self.version == Version::HTTP_2 && self.fault != CutFault::Malformed {
            self.end = Some(match self.fault {
                CutFault::Rst => BodyEnd::Reset(None),
                CutFault::Hang => {
                    if let Some(connection) = &self.connection {
                        connection.waits_forever();
                    }
                    BodyEnd::Never(self.stopped.take().unwrap_or_else(|| Box::pin(std::future::pending())))
                }
                CutFault::Fin | CutFault::Malformed => BodyEnd::Early,
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

impl CutBody {
    /// Polls the end of an HTTP/2 stream; pending if the connection ends instead.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(end) = &mut self.end else { return Poll::Pending };
        end.poll(cx).map(|error| error.map(|error| Err(axum::Error::new(error))))
    }
}

/// Makes the server abort an answer that only an error can end.
#[derive(Debug, thiserror::Error)]
#[error("a fault cuts the body off")]
struct Aborted;

fn script(fault: CutFault) -> Script {
    Script {
        opening: Bytes::new(),
        filling: 0,
        closing: if fault == CutFault::Malformed { b"not a size\r\n" } else { b"" },
        ending: match fault {
            CutFault::Fin => ScriptEnding::BareFin,
            CutFault::Malformed => ScriptEnding::Fin,
            CutFault::Rst => ScriptEnding::Rst,
            CutFault::Hang => ScriptEnding::Never,
        },
        has_head: true,
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
                return self.apply_fault(cx);
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
        // A malformed body is chunked, so it must not have a length.
        if self.fault == CutFault::Malformed {
            return SizeHint::new();
        }
        let held = self.held.len() as u64;
        let body = http_body::Body::size_hint(&self.body);
        body.exact().map_or_else(SizeHint::new, |left| SizeHint::with_exact(left + held))
    }
}
