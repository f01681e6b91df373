//! A call of the health service.

use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::BytesMut;
use hyper::{Method as HttpMethod, StatusCode, Version};
use tokio::time::{Instant, timeout};

use super::timeout;
use crate::fault::GrpcStatus;
use crate::rpc;

/// The longest request that is read, in bytes. Names of services are short.
const MOST: usize = 4 << 10;

/// How long the request may take after its head.
const READ_TIME: Duration = Duration::from_secs(10);

/// A method of the health service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// One answer about one service.
    Check,
    /// One answer about all services.
    List,
    /// An answer about one service whenever it changes.
    Watch,
}

impl Method {
    /// All methods, each with its path.
    pub(crate) const ALL: [(&'static str, Self); 3] = [
        ("/grpc.health.v1.Health/Check", Self::Check),
        ("/grpc.health.v1.Health/List", Self::List),
        ("/grpc.health.v1.Health/Watch", Self::Watch),
    ];
}

/// A call of the health service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// When the client gives up.
    pub(crate) deadline: Option<Instant>,
}

impl Call {
    /// The call that a request makes, if it is one of gRPC.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        let path = request.uri().path();
        let (_, method) = Method::ALL.into_iter().find(|(of_method, _)| *of_method == path)?;
        let is_call = refusal(request).is_none();
        is_call.then(|| Self { method, deadline: timeout::deadline(request.headers()) })
    }
}

/// The status of HTTP for a request that is no call, as the specification of gRPC has it.
pub(crate) fn refusal(request: &Request) -> Option<StatusCode> {
    if request.version() != Version::HTTP_2 {
        return Some(StatusCode::HTTP_VERSION_NOT_SUPPORTED);
    }
    if request.method() != HttpMethod::POST {
        return Some(StatusCode::METHOD_NOT_ALLOWED);
    }
    (!rpc::is_grpc(request.headers())).then_some(StatusCode::UNSUPPORTED_MEDIA_TYPE)
}

/// The bytes of a request, which are few, or the status and the message that its call ends with.
pub(crate) async fn read(body: Body) -> Result<BytesMut, (GrpcStatus, String)> {
    timeout(READ_TIME, collect(body)).await.unwrap_or_else(|_| {
        let line = format!("the request did not come within {} s", READ_TIME.as_secs());
        Err((GrpcStatus::DEADLINE_EXCEEDED, line))
    })
}

async fn collect(mut body: Body) -> Result<BytesMut, (GrpcStatus, String)> {
    let mut read = BytesMut::new();
    loop {
        let next = std::future::poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut body), cx)).await;
        let Some(frame) = next else { return Ok(read) };
        let frame =
            frame.map_err(|error| (GrpcStatus::INTERNAL, format!("the request broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if read.len() + data.len() > MOST {
            return Err((GrpcStatus::RESOURCE_EXHAUSTED, format!("the request is longer than {MOST} bytes")));
        }
        read.extend_from_slice(&data);
    }
}
