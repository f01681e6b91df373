//! Faults in the body of an answer, from the application or generated.

mod corrupt;
mod cut;
mod drip;
mod throttle;

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use hyper::header::CONTENT_LENGTH;
use hyper::{Method, StatusCode, Version};
use tokio::time::Instant;

use self::corrupt::CorruptBody;
use self::cut::CutBody;
use self::drip::DripBody;
use self::throttle::ThrottledBody;
use super::stream::{self, BodyEnd};
use crate::clock::Timer;
use crate::engine::Engine;
use crate::fault::{Draws, Mode};
use crate::listener::{ConnectionHandle, Script, ScriptEnding};

/// Called once when a fault takes effect.
pub(super) type OnInjected = Box<dyn FnOnce() + Send>;

/// The request whose answer body gets a fault.
pub(super) struct BodyFault<'a> {
    pub(super) method: &'a Method,
    pub(super) version: Version,
    /// The connection that the fault ends; absent in tests of a router.
    pub(super) connection: Option<ConnectionHandle>,
    /// Whether it ends a connection of HTTP/2, too, not only the stream.
    pub(super) ends_connection: bool,
    pub(super) timer: &'a Timer,
    /// Signals that all rules are stopped.
    pub(super) engine: &'a Engine,
    /// Decide which bytes are corrupted.
    pub(super) draws: Draws,
    /// Counts the injection.
    pub(super) confirm: OnInjected,
}

impl BodyFault<'_> {
    /// Wraps the body with the fault of `mode` and returns whether it applied. Answers without a body are unchanged.
    pub(super) fn apply(self, mode: &Mode, response: Response) -> (Response, bool) {
        if !mode.info().needs_body || !has_body(self.method, &response) {
            return (response, false);
        }
        if matches!(mode, Mode::Malformed(_)) && self.version < Version::HTTP_11 {
            // HTTP/1.0 has no chunked encoding that could be malformed.
            return (response, false);
        }
        let (mut head, body) = response.into_parts();
        let given = match mode {
            Mode::Throttle { status, .. } | Mode::Corrupt { status, .. } => *status,
            _ => mode.partial().and_then(|partial| partial.status),
        };
        if let Some(status) = given.and_then(|status| StatusCode::from_u16(status).ok()) {
            head.status = status;
        }
        if let Mode::Malformed(_) = mode {
            head.headers.remove(CONTENT_LENGTH);
        }
        if let (Some(time), Some(connection)) = (duration(mode, &body), &self.connection) {
            connection.waits_until(Instant::now() + time);
        }
        (Response::from_parts(head, self.body(mode, body)), true)
    }

    fn body(self, mode: &Mode, body: Body) -> Body {
        match mode {
            Mode::Drip { partial, over } => {
                Body::new(DripBody::new(body, partial.body, *over, self.timer, self.confirm))
            }
            Mode::Throttle { speed, .. } => {
                Body::new(ThrottledBody::new(body, *speed, self.timer, self.confirm))
            }
            Mode::Corrupt { share, .. } => {
                Body::new(CorruptBody::new(body, *share, self.draws, self.confirm))
            }
            _ => {
                let most = mode.partial().map_or(0, |partial| partial.body);
                Body::new(CutBody::new(
                    body,
                    most,
                    self.end(mode),
                    matches!(mode, Mode::Malformed(_)),
                    self.confirm,
                ))
            }
        }
    }

    /// How a body ends that `mode` cuts off.
    fn end(&self, mode: &Mode) -> BodyEnd {
        let is_http2 = self.version == Version::HTTP_2;
        let Some(connection) = &self.connection else { return BodyEnd::Reset(None) };
        let ending = match mode {
            Mode::Malformed(_) if is_http2 => {
                return BodyEnd::Connection(connection.clone(), stream::malformed());
            }
            Mode::BodyHang(_) if is_http2 => {
                connection.waits_forever();
                return BodyEnd::Never(stream::stopped(self.engine));
            }
            Mode::Truncate(_) if is_http2 && !self.ends_connection => return BodyEnd::Early,
            Mode::BodyReset(_) if is_http2 && !self.ends_connection => return BodyEnd::Reset(None),
            Mode::Malformed(_) => ScriptEnding::Fin,
            Mode::BodyHang(_) => ScriptEnding::Never,
            Mode::BodyReset(_) => {
                connection.expects_reset();
                ScriptEnding::Rst
            }
            _ => ScriptEnding::BareFin,
        };
        let closing: &[u8] = if ending == ScriptEnding::Fin { b"not a size\r\n" } else { b"" };
        BodyEnd::Connection(connection.clone(), Script { closing, ..stream::cut(ending) })
    }
}

/// Whether an answer to this method can have a body.
fn has_body(method: &Method, response: &Response) -> bool {
    let status = response.status();
    let has_none = status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || *method == Method::HEAD
        || (*method == Method::CONNECT && status.is_success());
    !has_none && !http_body::Body::is_end_stream(response.body())
}

/// How long sending the body takes, if known.
fn duration(mode: &Mode, body: &Body) -> Option<Duration> {
    match mode {
        Mode::Drip { over, .. } => Some(*over),
        Mode::Throttle { speed, .. } => {
            let size = http_body::Body::size_hint(body).exact()?;
            Some(throttle::time(size, *speed))
        }
        _ => None,
    }
}

/// Appends `after` to the few bytes that were held back.
fn join(before: &mut Bytes, after: Bytes) {
    if before.is_empty() {
        *before = after;
        return;
    }
    let mut joined = BytesMut::with_capacity(before.len() + after.len());
    joined.extend_from_slice(before);
    joined.extend_from_slice(&after);
    *before = joined.freeze();
}

/// The next event of a body: at least one byte, or the end with optional trailers.
enum BodyEvent {
    Data(Bytes),
    End(Option<http_body::Frame<Bytes>>),
}

/// Polls the next event of a body. Skips empty frames.
fn next(body: &mut Body, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<BodyEvent, axum::Error>> {
    use std::pin::Pin;
    use std::task::{Poll, ready};

    loop {
        let Some(frame) = ready!(http_body::Body::poll_frame(Pin::new(body), cx)).transpose()? else {
            return Poll::Ready(Ok(BodyEvent::End(None)));
        };
        match frame.into_data() {
            Ok(data) if data.is_empty() => {}
            Ok(data) => return Poll::Ready(Ok(BodyEvent::Data(data))),
            Err(trailers) => return Poll::Ready(Ok(BodyEvent::End(Some(trailers)))),
        }
    }
}
