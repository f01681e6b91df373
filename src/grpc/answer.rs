//! Answers to calls.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::Frame;
use hyper::HeaderMap;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::fault::GrpcStatus;

static STATUS: HeaderName = HeaderName::from_static("grpc-status");
static MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
static ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// What `grpc-message` percent-encodes: all but printable ASCII without `%`.
const NOT_IN_MESSAGE: &AsciiSet = &CONTROLS.add(b'%');

/// The status of a call that no service has answered: its head alone, over any version of HTTP.
pub(crate) fn trailers_only(status: GrpcStatus, message: &str) -> Response {
    let mut response = head(Body::empty());
    add_status(response.headers_mut(), status, message);
    response
}

/// Says that nothing answers calls of this path.
pub(crate) fn unimplemented(path: &str) -> Response {
    let message = match path.strip_prefix('/').and_then(|path| path.rsplit_once('/')) {
        Some((service, method)) => format!("unknown method {method} of service {service}"),
        None => format!("malformed method name: {path:?}"),
    };
    let mut response = trailers_only(GrpcStatus::UNIMPLEMENTED, &message);
    // Where the cause is a message that is compressed, clients are to know.
    response.headers_mut().insert(ACCEPT_ENCODING.clone(), HeaderValue::from_static("identity"));
    response
}

/// The answer with one message.
pub(super) fn unary(message: impl Into<Bytes>) -> Response {
    head(Body::new(Unary { message: Some(message.into()), is_over: false }))
}

/// The answer with the messages of a body, which ends with trailers.
pub(super) fn head(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// The trailers that end a call.
pub(super) fn trailers(status: GrpcStatus, message: &str) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    add_status(&mut trailers, status, message);
    trailers
}

fn add_status(headers: &mut HeaderMap, status: GrpcStatus, message: &str) {
    headers.insert(STATUS.clone(), HeaderValue::from(u16::from(status.code())));
    if message.is_empty() {
        return;
    }
    let encoded = utf8_percent_encode(message, NOT_IN_MESSAGE).to_string();
    if let Ok(message) = HeaderValue::from_str(&encoded) {
        headers.insert(MESSAGE.clone(), message);
    }
}

/// One message, and the trailers of a call that succeeded.
struct Unary {
    message: Option<Bytes>,
    is_over: bool,
}

impl http_body::Body for Unary {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(message) = self.message.take() {
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        let ends = !std::mem::replace(&mut self.is_over, true);
        Poll::Ready(ends.then(|| Ok(Frame::trailers(trailers(GrpcStatus::OK, "")))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }
}
