//! Answers to gRPC calls.

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

/// Characters that are percent-encoded in `grpc-message`: all but printable ASCII, and `%`.
const ENCODED_IN_MESSAGE: &AsciiSet = &CONTROLS.add(b'%');

/// An answer of a head only, with the status of the call ("trailers-only"). Works over any version of HTTP.
pub(crate) fn trailers_only(status: GrpcStatus, message: &str) -> Response {
    let mut response = streaming(Body::empty());
    add_status(response.headers_mut(), status, message);
    response
}

/// The answer to a call of an unknown service or method.
pub(crate) fn unimplemented(path: &str) -> Response {
    let message = match path.strip_prefix('/').and_then(|path| path.rsplit_once('/')) {
        Some((service, method)) => format!("unknown method {method} of service {service}"),
        None => format!("malformed method name: {path:?}"),
    };
    let mut response = trailers_only(GrpcStatus::UNIMPLEMENTED, &message);
    // Required in case the cause is a compressed message.
    response.headers_mut().insert(ACCEPT_ENCODING.clone(), HeaderValue::from_static("identity"));
    response
}

/// An answer with one message.
pub(super) fn unary(message: impl Into<Bytes>) -> Response {
    streaming(Body::new(Unary { message: Some(message.into()), has_ended: false }))
}

/// An answer with a body of messages and trailers.
pub(super) fn streaming(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// The trailers of a call.
pub(super) fn trailers(status: GrpcStatus, message: &str) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    add_status(&mut trailers, status, message);
    trailers
}

fn add_status(headers: &mut HeaderMap, status: GrpcStatus, message: &str) {
    let code = match status {
        // Most calls end with it. Other codes are formatted, which allocates.
        GrpcStatus::OK => HeaderValue::from_static("0"),
        other => HeaderValue::from(u16::from(other.code())),
    };
    headers.insert(STATUS.clone(), code);
    if message.is_empty() {
        return;
    }
    let encoded = utf8_percent_encode(message, ENCODED_IN_MESSAGE).to_string();
    if let Ok(message) = HeaderValue::from_str(&encoded) {
        headers.insert(MESSAGE.clone(), message);
    }
}

/// The body of one message, and trailers with the status OK.
struct Unary {
    message: Option<Bytes>,
    has_ended: bool,
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
        let ends = !std::mem::replace(&mut self.has_ended, true);
        Poll::Ready(ends.then(|| Ok(Frame::trailers(trailers(GrpcStatus::OK, "")))))
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }
}
