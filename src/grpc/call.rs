//! Calls of the health service.

use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::{Bytes, BytesMut};
use hyper::{Method as HttpMethod, StatusCode, Version};
use tokio::time::{Instant, timeout};

use super::timeout;
use crate::fault::GrpcStatus;
use crate::rpc;

/// Size limit of a request, in bytes. Names of services are short.
const MAX_REQUEST: usize = 4 << 10;

/// Time limit for the body of a request.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// A method of the health service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// One answer with the status of a service.
    Check,
    /// One answer with the status of all services.
    List,
    /// A stream with the status of a service, and its changes.
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
    /// The deadline that the client set.
    pub(crate) deadline: Option<Instant>,
}

impl Call {
    /// The call of a request, if it is a valid gRPC request for a method of the health service.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        let path = request.uri().path();
        let (_, method) = Method::ALL.into_iter().find(|(method_path, _)| *method_path == path)?;
        let is_call = refusal(request).is_none();
        is_call.then(|| Self { method, deadline: timeout::deadline(request.headers()) })
    }
}

/// The HTTP status for a request that is not a gRPC call, according to the specification of gRPC.
pub(crate) fn refusal(request: &Request) -> Option<StatusCode> {
    if request.version() != Version::HTTP_2 {
        return Some(StatusCode::HTTP_VERSION_NOT_SUPPORTED);
    }
    if request.method() != HttpMethod::POST {
        return Some(StatusCode::METHOD_NOT_ALLOWED);
    }
    (!rpc::is_grpc(request.headers())).then_some(StatusCode::UNSUPPORTED_MEDIA_TYPE)
}

/// Reads the body of a request. An error is the status and message to end the call with.
pub(crate) async fn read(body: Body) -> Result<Bytes, (GrpcStatus, String)> {
    timeout(READ_TIMEOUT, collect(body)).await.unwrap_or_else(|_| {
        let line = format!("the request was not complete within {} s", READ_TIMEOUT.as_secs());
        Err((GrpcStatus::DEADLINE_EXCEEDED, line))
    })
}

async fn collect(mut body: Body) -> Result<Bytes, (GrpcStatus, String)> {
    let mut read = Bytes::new();
    loop {
        let next = std::future::poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut body), cx)).await;
        let Some(frame) = next else { return Ok(read) };
        let frame =
            frame.map_err(|error| (GrpcStatus::INTERNAL, format!("the request was aborted: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if read.len() + data.len() > MAX_REQUEST {
            return Err((
                GrpcStatus::RESOURCE_EXHAUSTED,
                format!("the request is longer than {MAX_REQUEST} bytes"),
            ));
        }
        // A request comes in one frame, if its client does not part it on purpose.
        read = if read.is_empty() {
            data
        } else {
            let mut joined = read.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
            joined.extend_from_slice(&data);
            joined.freeze()
        };
    }
}
