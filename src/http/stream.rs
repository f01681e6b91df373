//! Effects of modes on one HTTP/2 stream.
//!
//! Over HTTP/1, these modes need the whole connection. Over HTTP/2, the other streams continue.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::Frame;
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::{Method, StatusCode};
use tokio::time::{Sleep, sleep};

use super::answer;
use crate::engine::Engine;
use crate::fault::{Mode, Partial};
use crate::listener::{ConnectionHandle, FILLING, Script, ScriptEnding, StreamReset, Takeover};

/// Time for the last bytes to reach the client before a reset: hyper discards what it has not sent yet.
const LAST_BYTES: Duration = Duration::from_millis(20);

/// A DATA frame on stream 0, which is a connection error (RFC 9113, section 6.1).
const MALFORMED: &[u8] = b"\0\0\x0c\0\0\0\0\0\0not a frame\n";

/// The effect of a mode on a stream.
pub(super) enum StreamEffect {
    /// Nothing is sent.
    Hang,
    /// The stream is reset without an answer.
    Reset(StreamReset),
    /// The stream gets an answer, which may end early.
    Answer(Response),
    /// The connection ends with bytes that are not HTTP/2.
    Connection(Script),
}

/// The effect of `mode` on a stream; `script` is its effect on an HTTP/1 connection. With `ended`, the connection
/// ends, too.
pub(super) fn effect(
    mode: &Mode,
    method: &Method,
    engine: &Engine,
    script: Script,
    ended: Option<&ConnectionHandle>,
) -> StreamEffect {
    let partial = |partial: &Partial, end| StreamEffect::Answer(partial_answer(*partial, end, method));
    match (mode, ended) {
        (Mode::Close | Mode::Reset, Some(_)) => return StreamEffect::Connection(script),
        (Mode::Truncate(body) | Mode::BodyReset(body), Some(connection)) => {
            return partial(body, BodyEnd::Connection(connection.clone(), cut(script.ending)));
        }
        _ => {}
    }
    match mode {
        Mode::Hang => StreamEffect::Hang,
        Mode::Close => StreamEffect::Reset(StreamReset::Cancel),
        Mode::Reset => StreamEffect::Reset(StreamReset::InternalError),
        Mode::Truncate(body) => partial(body, BodyEnd::Early),
        Mode::BodyReset(body) => partial(body, BodyEnd::Reset(None)),
        Mode::BodyHang(body) => partial(body, BodyEnd::Never(stopped(engine))),
        Mode::Malformed(_) => StreamEffect::Connection(malformed()),
        _ => StreamEffect::Connection(script),
    }
}

/// Ends the connection with a frame that violates the protocol.
pub(super) fn malformed() -> Script {
    Script {
        opening: Bytes::from_static(MALFORMED),
        filling: 0,
        closing: b"",
        ending: ScriptEnding::Fin,
        has_head: false,
    }
}

/// Ends the connection after a part of a body.
pub(super) fn cut(ending: ScriptEnding) -> Script {
    Script { opening: Bytes::new(), filling: 0, closing: b"", ending, has_head: true }
}

/// Resolves when all rules are stopped.
pub(super) fn stopped(engine: &Engine) -> Stopped {
    let engine = engine.clone();
    Box::pin(async move { engine.stopped().await })
}

fn partial_answer(partial: Partial, end: BodyEnd, method: &Method) -> Response {
    let mut response = answer::text(answer::status(partial.own_status()), "");
    let has_body = *method != Method::HEAD
        && !matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if has_body {
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(partial.body + answer::MISSING_BYTES));
    }
    *response.body_mut() = Body::new(PartialBody { left: if has_body { partial.body } else { 0 }, end });
    response
}

pub(super) type Stopped = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How an incomplete body ends.
pub(super) enum BodyEnd {
    /// Normally, with `END_STREAM`.
    Early,
    /// With a reset, after the bytes before it had time to reach the client.
    Reset(Option<Pin<Box<Sleep>>>),
    /// When the client gives up or all rules are stopped.
    Never(Stopped),
    /// With the connection, after the bytes before it.
    Connection(ConnectionHandle, Script),
    /// With the connection, which was told so.
    HandedOver,
}

impl BodyEnd {
    /// Polls the end: `Some` error resets the stream, `None` ends it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<h2::Error>> {
        match self {
            Self::Early => Poll::Ready(None),
            Self::Reset(wait) => wait
                .get_or_insert_with(|| Box::pin(sleep(LAST_BYTES)))
                .as_mut()
                .poll(cx)
                .map(|()| Some(StreamReset::InternalError.error())),
            Self::Never(stopped) => stopped.as_mut().poll(cx).map(|()| Some(StreamReset::Cancel.error())),
            Self::HandedOver => Poll::Pending,
            Self::Connection(..) => {
                if let Self::Connection(connection, script) = std::mem::replace(self, Self::HandedOver) {
                    connection.hand_over(Takeover { script, report: Box::new(|_| {}) });
                }
                Poll::Pending
            }
        }
    }
}

/// The first bytes of a body, and how it ends.
struct PartialBody {
    left: u64,
    end: BodyEnd,
}

impl http_body::Body for PartialBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if self.left > 0 {
            let size = self.left.min(FILLING.len() as u64);
            self.left -= size;
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&FILLING[..size as usize])))));
        }
        self.end.poll(cx).map(|error| error.map(Err))
    }
}
