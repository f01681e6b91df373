//! Parses the address of a probe, and makes attempts.

use std::time::Duration;

use tokio::time::Instant;

use super::address::{AddressError, Endpoint};
use super::dial;
use super::grpc::GrpcProbe;
use super::header::Header;
use super::http::{HttpProbe, default_port};
use super::outcome::Outcome;
use super::url::Url;
use crate::tls::Trust;

/// The default of `timeoutSeconds`.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

/// A probe of an address.
#[derive(Clone, Debug)]
pub enum Probe {
    /// `http://host[:port][/path]` or `https://…`.
    Http(HttpProbe),
    /// `tcp://host:port`.
    Tcp(Endpoint),
    /// `grpc://host:port[/service]` or `grpcs://…`.
    Grpc(GrpcProbe),
}

impl Probe {
    /// Parses an address. `headers` are the headers of an HTTP probe; headers with the same name keep their order.
    pub fn parse(address: &str, headers: Vec<Header>) -> Result<Self, AddressError> {
        let url = Url::parse(address).map_err(AddressError::Url)?.ok_or(AddressError::Form)?;
        let default_port = match url.scheme() {
            "http" | "https" => default_port(url.scheme()),
            "tcp" | "grpc" | "grpcs" => None,
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
            "grpc" | "grpcs" if url.has_query() => too_much("grpc://host:port/service"),
            "tcp" if !headers.is_empty() => Err(AddressError::Headers("tcp")),
            "grpc" | "grpcs" if !headers.is_empty() => Err(AddressError::Headers("grpc")),
            "tcp" => Ok(Self::Tcp(endpoint)),
            scheme @ ("grpc" | "grpcs") => {
                let service = url.unescaped_path();
                let service = String::from_utf8(service).map_err(|_| AddressError::Service)?;
                let service = service.strip_prefix('/').unwrap_or_default().to_owned();
                let trust = (scheme == "grpcs").then(Trust::default);
                Ok(Self::Grpc(GrpcProbe::new(endpoint, service, trust)))
            }
            _ => Ok(Self::Http(HttpProbe::new(url, headers))),
        }
    }

    /// Checks the certificates of servers, also after a redirect; the kubelet does not.
    #[must_use]
    pub fn trusting(mut self, trust: Trust) -> Self {
        match &mut self {
            Self::Http(probe) => probe.trust = trust,
            Self::Grpc(probe) => probe.trust = probe.trust.take().and(Some(trust)),
            Self::Tcp(_) => {}
        }
        self
    }

    /// Makes one attempt, limited to `timeout` in total.
    ///
    /// The kubelet repeats an attempt that ends with [`ProbeResult::Error`](super::ProbeResult::Error) up to twice at
    /// once; the caller is responsible for that.
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
