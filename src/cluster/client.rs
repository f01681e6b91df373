//! Requests to the API server: HTTP/1.1, with TLS or without.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::access::Access;
use super::error::ApiError;
use crate::task;
use crate::text::prefix;
use crate::tls::{TrustError, client_config, reason, server_name};

/// Time limit for connecting, with the TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time limit for the head of an answer, and for the body of an answer that is not a watch.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Idle time before the system sends a keep-alive probe.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Size limit of an answer, in bytes. A page has few objects, and an object at most 1.5 MiB.
const MAX_BODY: usize = 32 << 20;
/// Size limit of a message in an error, in bytes.
const MAX_MESSAGE: usize = 500;

/// A connection to the API server, opened on demand.
#[derive(Debug)]
pub(super) struct Client {
    access: Arc<Access>,
    open: Option<SendRequest<Empty<Bytes>>>,
}

/// The API's description of an error.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    message: String,
    details: Details,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    retry_after_seconds: u64,
}

impl Client {
    pub(super) const fn new(access: Arc<Access>) -> Self {
        Self { access, open: None }
    }

    /// Returns the body of the answer to `GET path`.
    pub(super) async fn get(&mut self, path: &str) -> Result<Vec<u8>, ApiError> {
        let response = self.begin(path).await?;
        let body = timeout(ANSWER_TIMEOUT, self.body(response)).await;
        body.unwrap_or_else(|_| Err(self.unreachable("the answer was not complete within 30 s")))
    }

    /// Returns the answer to `GET path`, with its body not read yet.
    pub(super) async fn begin(&mut self, path: &str) -> Result<Response<Incoming>, ApiError> {
        let response = timeout(ANSWER_TIMEOUT, self.send(path)).await;
        let response = response.unwrap_or_else(|_| Err(self.unreachable("no answer within 30 s")))?;
        let code = response.status().as_u16();
        if code == 200 {
            return Ok(response);
        }
        let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let body = timeout(ANSWER_TIMEOUT, self.body(response)).await;
        let body = body.ok().and_then(Result::ok).unwrap_or_default();
        let status: Status = serde_json::from_slice(&body).unwrap_or_default();
        let seconds = header.or(Some(status.details.retry_after_seconds)).filter(|seconds| *seconds > 0);
        if code == 410 {
            return Err(ApiError::Expired);
        }
        let retry_after = seconds.map(Duration::from_secs);
        Err(ApiError::Status { code, message: shortened(&status.message), retry_after })
    }

    async fn body(&self, mut response: Response<Incoming>) -> Result<Vec<u8>, ApiError> {
        let mut body = Vec::new();
        while let Some(frame) = response.body_mut().frame().await {
            let frame = frame.map_err(|error| self.unreachable(&text_with_causes(&error)))?;
            let data = frame.into_data().unwrap_or_default();
            if body.len() + data.len() > MAX_BODY {
                return Err(self.invalid("the answer is larger than 32 MiB"));
            }
            body.extend_from_slice(&data);
        }
        Ok(body)
    }

    async fn send(&mut self, path: &str) -> Result<Response<Incoming>, ApiError> {
        let mut sender = match self.reused().await {
            Some(open) => open,
            None => self.connect().await?,
        };
        let response = sender.send_request(self.request(path)?).await;
        let response = response.map_err(|error| self.unreachable(&text_with_causes(&error)))?;
        // Reusable after the body is read.
        self.open = Some(sender);
        Ok(response)
    }

    /// Returns the open connection if it is still usable.
    async fn reused(&mut self) -> Option<SendRequest<Empty<Bytes>>> {
        let mut open = self.open.take()?;
        open.ready().await.is_ok().then_some(open)
    }

    fn request(&self, path: &str) -> Result<Request<Empty<Bytes>>, ApiError> {
        let mut request = Request::get(format!("{}{path}", self.access.base))
            .header(HOST, &self.access.authority)
            .header(USER_AGENT, concat!("kube-probesim/", env!("CARGO_PKG_VERSION"), " wait"))
            .header(ACCEPT, "application/json");
        if let Some(token) = self.access.current_token().map_err(|reason| self.invalid(&reason))? {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            let mut value = value.map_err(|_| self.invalid("the token contains invalid characters"))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        request.body(Empty::new()).map_err(|error| self.invalid(&error.to_string()))
    }

    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>, ApiError> {
        let connected = timeout(CONNECT_TIMEOUT, async {
            let socket = TcpStream::connect((self.access.host.as_str(), self.access.port)).await?;
            socket.set_nodelay(true)?;
            let keepalive =
                TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3).with_retries(3);
            SockRef::from(&socket).set_tcp_keepalive(&keepalive)?;
            if !self.access.tls {
                return start_http(socket).await;
            }
            let trust = self.access.trust().map_err(io::Error::other)?;
            let connector = TlsConnector::from(client_config(&trust, &["http/1.1"]));
            let connected = connector.connect(self.server_name()?, socket).await;
            start_http(connected.map_err(|error| self.handshake_error(error))?).await
        });
        match connected.await {
            Ok(connected) => connected.map_err(|error| self.unreachable(&error.to_string())),
            Err(_) => Err(self.unreachable("no connection within 10 s")),
        }
    }

    fn handshake_error(&self, error: io::Error) -> io::Error {
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(error) => io::Error::other(reason(error, &self.access.host)),
            None => error,
        }
    }

    fn server_name(&self) -> io::Result<ServerName<'static>> {
        let host = &self.access.host;
        server_name(host).ok_or_else(|| io::Error::other(TrustError::Name(host.clone())))
    }

    pub(super) fn unreachable(&self, reason: &str) -> ApiError {
        ApiError::Unreachable { url: self.access.url(), reason: shortened(reason) }
    }

    pub(super) fn invalid(&self, reason: &str) -> ApiError {
        ApiError::Invalid { url: self.access.url(), reason: shortened(reason) }
    }
}

/// Starts HTTP on a stream. Its task ends when the sender and all bodies are dropped.
async fn start_http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> io::Result<SendRequest<Empty<Bytes>>> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    task::drive(connection);
    Ok(sender)
}

/// Returns the text of an error with its causes.
pub(super) fn text_with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Shortens a message to its limit.
fn shortened(text: &str) -> String {
    let kept = prefix(text, MAX_MESSAGE);
    let cut = if kept.len() < text.len() { "…" } else { "" };
    format!("{kept}{cut}")
}
