//! A client of the admin API. It opens one connection per request.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::address;
use crate::cli::exit;
use crate::cli::text::OneLine;
use crate::file::{self, FileError};
use crate::task;
use crate::text::prefix;
use crate::tls::{ClientTls, Connector, HandshakeError};

/// Time limit for connecting, and for each part of an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Time limit between two messages of a stream: the service sends a keep-alive every 15 s.
const SILENCE: Duration = Duration::from_secs(60);

/// The largest token file, in bytes.
const MAX_TOKEN: usize = 64 << 10;

/// The largest answer, in bytes.
const MAX_ANSWER: usize = 64 << 20;

/// The longest line of a stream, in bytes.
const MAX_LINE: usize = 1 << 20;

/// Why there is no answer.
#[derive(Debug, Error)]
pub(super) enum ClientError {
    #[error("{0:?} is not an address with a port, such as 127.0.0.1:8081 or :8081")]
    Address(String),
    #[error("ADMIN_TOKEN_FILE={0:?} {1}")]
    TokenFile(String, FileError),
    #[error("{0} speaks no TLS, which --admin-ca and --admin-insecure are for; write https://")]
    NoTls(String),
    #[error("the admin listener at {0} cannot be spoken with over TLS: {1}; --admin-ca names its authority")]
    Tls(String, HandshakeError),
    #[error("{0} contains a character that is not allowed in an HTTP header")]
    Token(&'static str),
    #[error("cannot start: {0}")]
    Runtime(io::Error),
    #[error("the admin listener at {0} cannot be reached: {1}")]
    Unreachable(String, io::Error),
    #[error("the server at {0} is not an admin listener of kube-probesim")]
    NotOurs(String),
}

impl ClientError {
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Address(_) | Self::NoTls(_) => exit::USAGE,
            Self::TokenFile(..) | Self::Token(_) => exit::CONFIG,
            Self::Runtime(_) => exit::OS,
            Self::Unreachable(..) | Self::NotOurs(_) | Self::Tls(..) => exit::UNAVAILABLE,
        }
    }
}

/// A client with the address and the credentials of the admin listener.
#[derive(Debug)]
pub(super) struct AdminClient {
    /// The address as it was given.
    shown: String,
    addresses: Vec<SocketAddr>,
    /// The value of `Authorization`.
    authorization: Option<hyper::header::HeaderValue>,
    /// Speaks TLS, where the admin listener does.
    tls: Option<Connector>,
    runtime: Runtime,
}

/// Where the command line says that the admin listener is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AdminPlace {
    /// The address, with a scheme or without.
    pub(super) address: Option<String>,
    /// The file of the authorities that may have issued its certificate.
    pub(super) ca: Option<PathBuf>,
    /// Whether it may have any certificate.
    pub(super) insecure: bool,
}

/// Size limit of a line of an answer in a message, in bytes.
const MAX_PLAIN_LINE: usize = 200;

/// One request to the API.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ApiCall<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    /// A JSON document.
    pub(super) body: Option<&'a str>,
    /// The generation that the plan must still have.
    pub(super) if_match: Option<u64>,
}

/// An answer.
#[derive(Debug)]
pub(super) struct ApiReply {
    pub(super) status: u16,
    pub(super) body: String,
}

impl ApiReply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The status, with the first line of a body that is not JSON, such as that of a listener that requires TLS.
    fn status_line(&self) -> String {
        let line = self.body.lines().next().map_or("", |line| prefix(line, MAX_PLAIN_LINE));
        if line.is_empty() {
            format!("status {}", self.status)
        } else {
            format!("status {}: {}", self.status, OneLine(line))
        }
    }

    /// The errors that the service reports, one per line.
    pub(super) fn problem(&self) -> Vec<String> {
        let problem = self.json();
        let messages: Vec<String> = problem["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|error| error["message"].as_str().map(str::to_owned))
            .collect();
        let more = problem["more"].as_u64().map(|more| format!("and {more} more"));
        if messages.is_empty() {
            vec![problem["detail"].as_str().map_or_else(|| self.status_line(), str::to_owned)]
        } else {
            messages.into_iter().chain(more).collect()
        }
    }
}

impl AdminClient {
    /// The admin listener at `place`, or where the service's variables say.
    pub(super) fn new(place: AdminPlace, env: &[(OsString, OsString)]) -> Result<Self, ClientError> {
        let get = |name: &str| {
            let value = env.iter().find(|(known, _)| known == name)?.1.to_string_lossy().trim().to_owned();
            (!value.is_empty()).then_some(value)
        };
        let AdminPlace { address, ca, insecure } = place;
        let shown = address.or_else(|| get("ADMIN_ADDRESS"));
        let shown = shown.unwrap_or_else(|| address::DEFAULT.to_owned());
        let token = match (get("ADMIN_TOKEN"), get("ADMIN_TOKEN_FILE")) {
            (Some(token), _) => Some(("ADMIN_TOKEN", token)),
            (None, Some(path)) => match file::read_text(Path::new(&path), MAX_TOKEN) {
                Ok(token) => Some(("ADMIN_TOKEN_FILE", token.trim().to_owned())),
                Err(error) => return Err(ClientError::TokenFile(path, error)),
            },
            (None, None) => None,
        };
        let authorization = token.map(|(variable, token)| {
            format!("Bearer {token}").try_into().map_err(|_| ClientError::Token(variable))
        });
        let authorization = authorization.transpose()?;
        let (address, scheme) = address::split(&shown);
        let addresses = address::read(address).ok_or_else(|| ClientError::Address(shown.clone()))?;
        let is_given = ca.is_some() || insecure;
        if is_given && scheme == Some(false) {
            return Err(ClientError::NoTls(shown));
        }
        let is_tls = scheme.unwrap_or(is_given || get("ADMIN_TLS_CERT_FILE").is_some());
        let tls = is_tls.then(|| {
            // Who listens on loopback is this Pod. Without TLS, that would not be verified either.
            let is_own = ca.is_none() && addresses.iter().all(|address| address.ip().is_loopback());
            let host = match address::host(address) {
                "" => "localhost",
                host => host,
            };
            let settings = ClientTls { ca, server_name: None, insecure: insecure || is_own };
            Connector::new(settings, host.to_owned())
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(ClientError::Runtime)?;
        Ok(Self { shown, addresses, authorization, tls, runtime })
    }

    /// Sends one request and reads its answer.
    pub(super) fn ask(&self, call: ApiCall<'_>) -> Result<ApiReply, ClientError> {
        self.runtime.block_on(async {
            let response = self.send(call, None).await?;
            self.reply(response).await
        })
    }

    /// Passes the data of each server-sent event to `report` until that fails. Returns the answer of a service that
    /// refuses the stream.
    pub(super) fn stream(
        &self,
        path: &str,
        report: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> Result<Option<ApiReply>, ClientError> {
        self.runtime.block_on(async {
            let call = ApiCall { method: "GET", path, ..ApiCall::default() };
            let mut response = self.send(call, Some("text/event-stream")).await?;
            if response.status() != StatusCode::OK {
                return self.reply(response).await.map(Some);
            }
            let mut line = Vec::new();
            loop {
                let frame = timeout(SILENCE, response.frame()).await;
                let frame = frame.map_err(|_| self.unreachable(io::ErrorKind::TimedOut.into()))?;
                let frame = frame.ok_or_else(|| self.unreachable(io::ErrorKind::UnexpectedEof.into()))?;
                let frame = frame.map_err(|error| self.unreachable(io::Error::other(error)))?;
                for byte in frame.into_data().unwrap_or_default() {
                    if byte != b'\n' {
                        line.push(byte);
                    } else if report_line(&std::mem::take(&mut line), report).is_err() {
                        return Ok(None);
                    }
                }
                if line.len() > MAX_LINE {
                    return Err(self.not_ours());
                }
            }
        })
    }

    async fn send(&self, call: ApiCall<'_>, accept: Option<&str>) -> Result<Response<Incoming>, ClientError> {
        let mut request = Request::builder()
            .method(call.method)
            .uri(call.path)
            .header(HOST, "localhost")
            .header(CONNECTION, "close");
        if let Some(accept) = accept {
            request = request.header(ACCEPT, accept);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(generation) = call.if_match {
            request = request.header("if-match", format!("\"{generation}\""));
        }
        if call.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = Full::new(Bytes::from(call.body.unwrap_or_default().to_owned()));
        let request = request.body(body).map_err(|error| self.unreachable(io::Error::other(error)))?;
        let stream = self.connect().await?;
        let answered = match &self.tls {
            None => timeout(TIMEOUT, exchange(stream, request)).await,
            Some(tls) => {
                let shaken = timeout(TIMEOUT, tls.connect(stream, &["http/1.1"])).await;
                let shaken = shaken.map_err(|_| self.unreachable(io::ErrorKind::TimedOut.into()))?;
                let (stream, _) = shaken.map_err(|error| ClientError::Tls(self.shown.clone(), error))?;
                timeout(TIMEOUT, exchange(stream, request)).await
            }
        };
        match answered {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if error.is_parse() || error.is_incomplete_message() => Err(self.not_ours()),
            Ok(Err(error)) => Err(self.unreachable(io::Error::other(error))),
            Err(_) => Err(self.unreachable(io::ErrorKind::TimedOut.into())),
        }
    }

    /// Connects to the first address that answers.
    async fn connect(&self) -> Result<TcpStream, ClientError> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in &self.addresses {
            match timeout(TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(self.unreachable(last))
    }

    async fn reply(&self, response: Response<Incoming>) -> Result<ApiReply, ClientError> {
        let status = response.status().as_u16();
        let body = timeout(TIMEOUT, Limited::new(response.into_body(), MAX_ANSWER).collect()).await;
        let body = body.map_err(|_| self.unreachable(io::ErrorKind::TimedOut.into()))?;
        let body = body.map_err(|error| self.unreachable(io::Error::other(error)))?.to_bytes();
        Ok(ApiReply { status, body: String::from_utf8_lossy(&body).into_owned() })
    }

    fn unreachable(&self, error: io::Error) -> ClientError {
        ClientError::Unreachable(self.shown.clone(), error)
    }

    fn not_ours(&self) -> ClientError {
        ClientError::NotOurs(self.shown.clone())
    }
}

/// Sends a request over a connection of its own.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> hyper::Result<Response<Incoming>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // The task ends with the connection; the request reports its errors.
    task::drive(connection);
    sender.send_request(request).await
}

/// Reports a line of a stream if it carries data.
fn report_line(line: &[u8], report: &mut dyn FnMut(&str) -> io::Result<()>) -> io::Result<()> {
    match line.strip_prefix(b"data: ") {
        Some(data) => report(String::from_utf8_lossy(data).trim_end_matches('\r')),
        None => Ok(()),
    }
}

/// Characters that are escaped in a path segment: all reserved ones, and some more.
const NOT_IN_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// A name as one segment of a path. The service checks the name.
pub(super) fn encoded(name: &str) -> String {
    utf8_percent_encode(name, NOT_IN_SEGMENT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_segment() {
        assert_eq!(encoded("readiness-down"), "readiness-down");
        assert_eq!(encoded("a/b?c ä"), "a%2Fb%3Fc%20%C3%A4");
    }
}
