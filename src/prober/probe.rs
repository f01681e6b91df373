//! A probe: read from an address, and made.

use std::time::Duration;

use tokio::time::Instant;

use super::address::{AddressError, Endpoint};
use super::dial;
use super::grpc::GrpcProbe;
use super::header::Header;
use super::http::HttpProbe;
use super::outcome::Outcome;
use super::url::Url;

/// The kubelet's `timeoutSeconds` unless given.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

/// A probe, ready to be made.
#[derive(Clone, Debug)]
pub enum Probe {
    /// `http://host[:port][/path]`.
    Http(HttpProbe),
    /// `tcp://host:port`.
    Tcp(Endpoint),
    /// `grpc://host:port[/service]`.
    Grpc(GrpcProbe),
}

impl Probe {
    /// Reads an address. `headers` are those of an HTTP probe; headers of the same name keep their order.
    pub fn parse(address: &str, headers: Vec<Header>) -> Result<Self, AddressError> {
        let url = Url::parse(address).map_err(AddressError::Url)?.ok_or(AddressError::Form)?;
        let default_port = match url.scheme() {
            "http" => Some(80),
            "tcp" | "grpc" => None,
            "https" => return Err(AddressError::Https),
            other => return Err(AddressError::Scheme(other.to_owned())),
        };
        if url.user().is_some() {
            return Err(AddressError::User);
        }
        let endpoint = Endpoint::of(&url, default_port)?;
        if endpoint.port == 0 {
            return Err(AddressError::Port);
        }
        let too_much = |form| Err(AddressError::Path(form));
        match url.scheme() {
            "tcp" if url.path().len() > 1 || url.has_query() => too_much("tcp://host:port"),
            "grpc" if url.has_query() => too_much("grpc://host:port/service"),
            scheme @ ("tcp" | "grpc") if !headers.is_empty() => {
                Err(AddressError::Headers(if scheme == "tcp" { "tcp" } else { "grpc" }))
            }
            "tcp" => Ok(Self::Tcp(endpoint)),
            "grpc" => {
                let service = url.path().strip_prefix('/').unwrap_or_default().to_owned();
                Ok(Self::Grpc(GrpcProbe::new(endpoint, service)))
            }
            _ => Ok(Self::Http(HttpProbe::new(url, headers))),
        }
    }

    /// Makes one attempt, of at most `timeout` in all.
    ///
    /// The kubelet repeats an attempt that ends with [`ProbeResult::Error`](super::ProbeResult::Error) up to twice at
    /// once; that is left to the caller.
    pub async fn attempt(&self, timeout: Duration) -> Outcome {
        let start = Instant::now();
        let end = match self {
            Self::Http(probe) => probe.attempt(start + timeout).await,
            Self::Tcp(endpoint) => dial::attempt(endpoint, start + timeout).await,
            Self::Grpc(probe) => probe.attempt(start + timeout, timeout).await,
        };
        end.after(start.elapsed())
    }
}
