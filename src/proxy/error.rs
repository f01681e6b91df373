//! Why a request was not forwarded, or got no answer, and what its client is told.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::body::Body;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use thiserror::Error;

use crate::listener::StreamReset;
use crate::telemetry::metrics::UpstreamFault;

/// Names the reason of an answer that is ours, not the upstream's.
static REASON_HEADER: HeaderName = HeaderName::from_static("x-probesim-upstream-error");

/// Why there is no answer of the upstream. As text it goes on after "the upstream" and its address.
#[derive(Debug, Error)]
pub enum ForwardError {
    /// Its name was not resolved.
    #[error("has a name that cannot be resolved: {0}")]
    Dns(io::Error),
    /// It refused the connection.
    #[error("refuses the connection: nothing listens there")]
    Refused,
    /// It cannot be reached in another way.
    #[error("cannot be reached: {0}")]
    Unreachable(io::Error),
    /// It is reached, and there is no TLS with it.
    #[error("cannot be spoken with over TLS: {0}")]
    Tls(String),
    /// There is no address of ours that it may be connected to from.
    #[error(
        "cannot be reached from {0}, the address that the client reached, as both are of different families; set UPSTREAM_SOURCE"
    )]
    NoSource(IpAddr),
    /// The connection took too long.
    #[error("took no connection within {0:?} (UPSTREAM_CONNECT_TIMEOUT)")]
    ConnectTimeout(Duration),
    /// The answer took too long.
    #[error("gave no answer within {0:?} (UPSTREAM_TIMEOUT)")]
    Timeout(Duration),
    /// It ended the connection before the head of its answer.
    #[error("ended the connection without an answer")]
    Closed,
    /// It reset the stream of the request before the head of its answer.
    #[error("reset the request without an answer: {0}")]
    Reset(h2::Reason),
    /// It did not begin with the request, since it was about to end the connection. Whoever sent the request may repeat it.
    #[error("ended the connection before it began with the request; try again")]
    Unprocessed,
    /// Its answer is not valid.
    #[error("gave an answer that is not valid HTTP: {0}")]
    Invalid(String),
    /// The client broke off its request.
    #[error("did not get the whole request, which its client broke off")]
    Client,
    /// It is one of our own listeners.
    #[error("is a listener of this program at {0}, which would forward to itself")]
    Own(SocketAddr),
    /// The request came back.
    #[error("sent the request back to where it had been: the address of the upstream leads here again")]
    Loop,
    /// All connections are taken.
    #[error("has {0} connections, all that UPSTREAM_CONNECTIONS allows; try again")]
    Connections(usize),
    /// No file descriptor is left.
    #[error("was not connected to, as no file descriptor is left; try again")]
    Descriptors,
    /// No memory is left.
    #[error("was not asked, as the container has no memory left for this request; try again")]
    Memory,
}

impl ForwardError {
    /// What the counters call it; `None` where neither the upstream nor this program is to blame.
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

    /// How a client of HTTP/2 is told: as it would be without a proxy. `None`: by an answer.
    const fn reset(&self) -> Option<StreamReset> {
        match self {
            Self::Reset(reason) => Some(StreamReset::Upstream(*reason)),
            Self::Unprocessed => Some(StreamReset::Upstream(h2::Reason::REFUSED_STREAM)),
            _ => None,
        }
    }

    /// The answer that says so. With it goes how a stream of HTTP/2 is to end in its place.
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

/// A request that is not forwarded, since two sides could understand it differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// CONNECT.
    #[error("CONNECT is not forwarded: this is no forward proxy")]
    Connect,
    /// A transfer coding beside `chunked`.
    #[error("the only Transfer-Encoding that is forwarded is chunked, once")]
    TransferCoding,
    /// HTTP/1.0 knows no transfer codings.
    #[error("HTTP/1.0 knows no Transfer-Encoding")]
    TransferCodingOfOldVersion,
    /// Contradicting lengths.
    #[error("Content-Length is repeated or not a number")]
    ContentLength,
    /// An expectation that nobody meets.
    #[error("the only Expect that is understood is 100-continue")]
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

    /// The answer, after which the connection ends: what follows on it may not be a request.
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
