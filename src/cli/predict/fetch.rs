//! Downloads a text over HTTP.

use std::io;
use std::time::Duration;

use crate::task;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::timeout;

/// The time limit of a download.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Limit of the response, in bytes.
const MAX_ANSWER: usize = 16 << 20;

/// Why the download failed.
#[derive(Debug, Error)]
pub(super) enum FetchError {
    #[error(
        "is not a URL such as http://127.0.0.1:9090/metrics; for HTTPS, download it with curl and pass the file"
    )]
    Url,
    #[error("cannot be fetched: {0}")]
    Io(#[from] io::Error),
    #[error("responds with status {0}")]
    Status(u16),
    #[error("did not respond within 10s")]
    Timeout,
}

impl From<hyper::Error> for FetchError {
    fn from(error: hyper::Error) -> Self {
        Self::Io(io::Error::other(error))
    }
}

/// Downloads the body at a URL.
pub(super) fn fetch(url: &str) -> Result<String, FetchError> {
    let rest = url.strip_prefix("http://").ok_or(FetchError::Url)?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = if has_port { authority.to_owned() } else { format!("{authority}:80") };
    let request = Request::builder()
        .uri(path)
        .header(HOST, authority)
        .header(CONNECTION, "close")
        .header(ACCEPT, "text/plain;version=0.0.4")
        .body(Empty::<Bytes>::new())
        .map_err(|_| FetchError::Url)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let exchange = async {
            let stream = TcpStream::connect(address).await?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            // The task ends with the connection; the request reports its errors.
            task::drive(connection);
            let response = sender.send_request(request).await?;
            if response.status() != StatusCode::OK {
                return Err(FetchError::Status(response.status().as_u16()));
            }
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            let body = body.map_err(io::Error::other)?.to_bytes();
            Ok(String::from_utf8_lossy(&body).into_owned())
        };
        timeout(TIMEOUT, exchange).await.map_err(|_| FetchError::Timeout)?
    })
}
