//! Requests to the API server: HTTP/1.1, with TLS or without.

use std::io;
use std::net::IpAddr;
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
use crate::tls::{Trust, client_config};

/// For connecting and the handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For the head of an answer, and for the complete body if it is not a watch.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Quiet time after which the system asks whether the server is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// The largest answer that is read, in bytes. A page has few objects, and an object at most 1.5 MiB.
const MAX_BODY: usize = 32 << 20;
/// The largest message of a server that is kept, in bytes.
const MAX_MESSAGE: usize = 500;

/// A connection to the API server, opened when it is needed.
#[derive(Debug)]
pub(super) struct Client {
    access: Arc<Access>,
    open: Option<SendRequest<Empty<Bytes>>>,
}

/// The API's answer that something failed.
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

    /// The complete body of the answer to `GET path`.
    pub(super) async fn get(&mut self, path: &str) -> Result<Vec<u8>, ApiError> {
        let response = self.begin(path).await?;
        let body = timeout(ANSWER_TIMEOUT, self.whole(response)).await;
        body.unwrap_or_else(|_| Err(self.unreachable("the answer is not complete after 30 s")))
    }

    /// The body of the answer to `GET path`, as it comes.
    pub(super) async fn begin(&mut self, path: &str) -> Result<Response<Incoming>, ApiError> {
        let response = timeout(ANSWER_TIMEOUT, self.send(path)).await;
        let response = response.unwrap_or_else(|_| Err(self.unreachable("no answer within 30 s")))?;
        let code = response.status().as_u16();
        if code == 200 {
            return Ok(response);
        }
        let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let body = timeout(ANSWER_TIMEOUT, self.whole(response)).await;
        let body = body.ok().and_then(Result::ok).unwrap_or_default();
        let status: Status = serde_json::from_slice(&body).unwrap_or_default();
        let seconds = header.or(Some(status.details.retry_after_seconds)).filter(|seconds| *seconds > 0);
        if code == 410 {
            return Err(ApiError::Expired);
        }
        let retry_after = seconds.map(Duration::from_secs);
        Err(ApiError::Status { code, message: short(&status.message), retry_after })
    }

    async fn whole(&self, mut response: Response<Incoming>) -> Result<Vec<u8>, ApiError> {
        let mut whole = Vec::new();
        while let Some(frame) = response.body_mut().frame().await {
            let frame = frame.map_err(|error| self.unreachable(&text_of(&error)))?;
            let data = frame.into_data().unwrap_or_default();
            if whole.len() + data.len() > MAX_BODY {
                return Err(self.garbled("the answer is larger than 32 MiB"));
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole)
    }

    async fn send(&mut self, path: &str) -> Result<Response<Incoming>, ApiError> {
        let mut sender = match self.reused().await {
            Some(open) => open,
            None => self.connect().await?,
        };
        let response = sender.send_request(self.request(path)?).await;
        let response = response.map_err(|error| self.unreachable(&text_of(&error)))?;
        // It is ready again once the body is read.
        self.open = Some(sender);
        Ok(response)
    }

    /// The connection that is open, unless it has ended.
    async fn reused(&mut self) -> Option<SendRequest<Empty<Bytes>>> {
        let mut open = self.open.take()?;
        open.ready().await.is_ok().then_some(open)
    }

    fn request(&self, path: &str) -> Result<Request<Empty<Bytes>>, ApiError> {
        let mut request = Request::get(format!("{}{path}", self.access.base))
            .header(HOST, &self.access.authority)
            .header(USER_AGENT, concat!("kube-probesim/", env!("CARGO_PKG_VERSION"), " wait"))
            .header(ACCEPT, "application/json");
        if let Some(token) = self.access.current_token().map_err(|reason| self.garbled(&reason))? {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            let mut value = value.map_err(|_| self.garbled("the token has characters that no token has"))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        request.body(Empty::new()).map_err(|error| self.garbled(&error.to_string()))
    }

    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>, ApiError> {
        let connected = timeout(CONNECT_TIMEOUT, async {
            let socket = TcpStream::connect((self.access.host.as_str(), self.access.port)).await?;
            socket.set_nodelay(true)?;
            let keepalive =
                TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3).with_retries(3);
            SockRef::from(&socket).set_tcp_keepalive(&keepalive)?;
            if !self.access.tls {
                return converse(socket).await;
            }
            let trust = match &self.access.ca {
                Some(ca) => Trust::of_file(ca),
                None => Trust::of_system(None),
            };
            let trust = trust.map_err(io::Error::other)?;
            let connector = TlsConnector::from(client_config(&trust, &["http/1.1"]));
            converse(connector.connect(server_name(&self.access.host)?, socket).await?).await
        });
        match connected.await {
            Ok(connected) => connected.map_err(|error| self.unreachable(&error.to_string())),
            Err(_) => Err(self.unreachable("no connection within 10 s")),
        }
    }

    pub(super) fn unreachable(&self, reason: &str) -> ApiError {
        ApiError::Unreachable { url: self.access.url(), reason: short(reason) }
    }

    pub(super) fn garbled(&self, reason: &str) -> ApiError {
        ApiError::Garbled { url: self.access.url(), reason: short(reason) }
    }
}

/// Speaks HTTP over a stream, in a task that ends with its sender and bodies.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> io::Result<SendRequest<Empty<Bytes>>> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    task::drive(connection);
    Ok(sender)
}

fn server_name(host: &str) -> io::Result<ServerName<'static>> {
    match host.parse::<IpAddr>() {
        Ok(ip) => Ok(ip.into()),
        Err(_) => ServerName::try_from(host.to_owned()).map_err(io::Error::other),
    }
}

/// The text of an error with its causes.
pub(super) fn text_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn short(text: &str) -> String {
    let kept = prefix(text, MAX_MESSAGE);
    let cut = if kept.len() < text.len() { "…" } else { "" };
    format!("{kept}{cut}")
}
