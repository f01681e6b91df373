//! Why a request was not forwarded or not answered, and what its client is told.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::body::Body;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use thiserror::Error;

use crate::listener::StreamReset;
use crate::telemetry::metrics::UpstreamFault;

/// Names the reason in an answer that this program generates in place of the upstream's.
static REASON_HEADER: HeaderName = HeaderName::from_static("x-probesim-upstream-error");

/// Why there is no answer of the upstream. The text continues a sentence that begins with the upstream's address.
#[derive(Debug, Error)]
pub enum ForwardError {
    /// Its host name cannot be resolved.
    #[error("has a host name that cannot be resolved: {0}")]
    Dns(io::Error),
    /// It refused the connection.
    #[error("refuses the connection: nothing listens there")]
    Refused,
    /// It cannot be reached for another reason.
    #[error("cannot be reached: {0}")]
    Unreachable(io::Error),
    /// The TLS handshake failed.
    #[error("failed the TLS handshake: {0}")]
    Tls(String),
    /// This host has no address of the upstream's family to connect from.
    #[error(
        "cannot be reached from {0}, the address that the client connected to, because its address is of another family; set UPSTREAM_SOURCE"
    )]
    NoSource(IpAddr),
    /// Connecting took too long.
    #[error("accepted no connection within {0:?} (UPSTREAM_CONNECT_TIMEOUT)")]
    ConnectTimeout(Duration),
    /// The answer took too long.
    #[error("sent no answer within {0:?} (UPSTREAM_TIMEOUT)")]
    Timeout(Duration),
    /// It closed the connection before the head of its answer.
    #[error("closed the connection without an answer")]
    Closed,
    /// It reset the request's stream before the head of its answer.
    #[error("reset the request without an answer: {0}")]
    Reset(h2::Reason),
    /// It closed the connection without processing the request, so the client may repeat it.
    #[error("closed the connection before it processed the request; try again")]
    Unprocessed,
    /// Its answer is not valid.
    #[error("sent an answer that is not valid HTTP: {0}")]
    Invalid(String),
    /// The client aborted its request.
    #[error("did not get the whole request, because the client aborted it")]
    Client,
    /// It is a listener of this program.
    #[error("is a listener of this program ({0}), which would forward to itself")]
    Own(SocketAddr),
    /// The request has been here before.
    #[error(
        "would get this request again, which has been here before: the upstream's address leads back to this proxy"
    )]
    Loop,
    /// All connections are in use.
    #[error("has {0} connections in use, the limit of UPSTREAM_CONNECTIONS; try again")]
    Connections(usize),
    /// No file descriptor is left.
    #[error("was not contacted, because no file descriptor is left; try again")]
    Descriptors,
    /// No memory is left.
    #[error("was not contacted, because the container has no memory left for this request; try again")]
    Memory,
}

impl ForwardError {
    /// Its label in the metrics; `None` if the client caused it.
    pub const fn fault(&self) -> Option<UpstreamFault> {
        Some(match self {
            Self::Client => return None,
            Self::Dns(_) => UpstreamFault::Dns,
            Self::Refused => UpstreamFault::Refused,
            Self::Unreachable(_) | Self::NoSource(_) => UpstreamFault::Unreachable,
            Self::Tls(_) => UpstreamFault::Tls,
            Self::ConnectTimeout(_) => UpstreamFault::ConnectTimeout,
            Self::Timeout(_) => UpstreamFault::Timeout,
            Self::Closed | Self::Unprocessed => UpstreamFault::Closed,
            Self::Reset(_) => UpstreamFault::Reset,
            Self::Invalid(_) => UpstreamFault::Invalid,
            Self::Own(_) => UpstreamFault::Own,
            Self::Loop => UpstreamFault::Loop,
            Self::Connections(_) | Self::Descriptors => UpstreamFault::Connections,
            Self::Memory => UpstreamFault::Memory,
        })
    }

    /// The status of the answer.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::ConnectTimeout(_) | Self::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::Client => StatusCode::BAD_REQUEST,
            Self::Connections(_) | Self::Descriptors | Self::Memory => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_GATEWAY,
        }
    }

    /// The reset that an HTTP/2 client gets, as it would without a proxy; `None`: it gets an answer.
    const fn reset(&self) -> Option<StreamReset> {
        match self {
            Self::Reset(reason) => Some(StreamReset::Upstream(*reason)),
            Self::Unprocessed => Some(StreamReset::Upstream(h2::Reason::REFUSED_STREAM)),
            _ => None,
        }
    }

    /// The answer to the client. It carries the reset that replaces it on an HTTP/2 stream, if any.
    pub(super) fn answer(&self, upstream: &impl std::fmt::Display) -> Response<Body> {
        let mut response = text(self.status(), format!("kube-probesim: the upstream {upstream} {self}\n"));
        let headers = response.headers_mut();
        if let Some(fault) = self.fault() {
            headers.insert(REASON_HEADER.clone(), HeaderValue::from_static(fault.name()));
        }
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(reset) = self.reset() {
            response.extensions_mut().insert(reset);
        }
        response
    }
}

/// Why a request is refused: the upstream could understand it differently than this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// CONNECT.
    #[error("CONNECT is not forwarded: this is not a forward proxy")]
    Connect,
    /// A transfer coding other than `chunked`.
    #[error("a Transfer-Encoding other than a single chunked is not forwarded")]
    TransferCoding,
    /// HTTP/1.0 has no transfer codings.
    #[error("HTTP/1.0 does not have Transfer-Encoding")]
    TransferCodingOfOldVersion,
    /// Several lengths, or an invalid one.
    #[error("Content-Length is repeated or not a number")]
    ContentLength,
    /// An unknown expectation.
    #[error("an Expect other than 100-continue is not supported")]
    Expectation,
}

impl Refusal {
    /// The status of the answer.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Self::TransferCoding => StatusCode::NOT_IMPLEMENTED,
            Self::TransferCodingOfOldVersion | Self::ContentLength => StatusCode::BAD_REQUEST,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
        }
    }

    /// The answer. It closes the connection, because the bytes that follow may not be a request.
    pub(super) fn answer(self) -> Response<Body> {
        let mut response = text(self.status(), format!("kube-probesim: {self}\n"));
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

fn text(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
