//! TLS upstreams, which choose between HTTP/2 and HTTP/1.1 (ALPN).

use std::sync::atomic::{AtomicU8, Ordering};

use super::Inner;
use super::http1::Driven;
use crate::fault::{UpstreamAddress, UpstreamProtocol};
use crate::listener::ConnectionHandle;
use crate::proxy::connect::Source;
use crate::proxy::error::ForwardError;
use crate::tls::{ClientTls, Connector, Negotiated};

/// The protocols to offer, in order of preference.
const BOTH: &[&str] = &["h2", "http/1.1"];

/// The upstream has not chosen yet.
const UNKNOWN: u8 = 0;
const HTTP1: u8 = 1;
const HTTP2: u8 = 2;

/// TLS with an upstream.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) connector: Connector,
    /// The protocol that the upstream chose last.
    chosen: AtomicU8,
}

impl Tls {
    /// `None` if the address is not `https://`.
    pub(super) fn new(address: &UpstreamAddress, tls: ClientTls) -> Option<Self> {
        let is_https = address.protocol() == UpstreamProtocol::Https;
        let connector = is_https.then(|| Connector::new(tls, address.host()))?;
        Some(Self { connector, chosen: AtomicU8::new(UNKNOWN) })
    }

    /// Forgets the choice: the upstream may now be another server.
    pub(super) fn forget(&self) {
        self.chosen.store(UNKNOWN, Ordering::Relaxed);
    }

    /// Whether the upstream speaks HTTP/2, if known.
    fn speaks_http2(&self) -> Option<bool> {
        match self.chosen.load(Ordering::Relaxed) {
            UNKNOWN => None,
            chosen => Some(chosen == HTTP2),
        }
    }
}

impl Inner {
    /// Whether a TLS upstream speaks HTTP/2. If this is unknown, connects to find out; the connection then serves the next
    /// request.
    pub(super) async fn speaks_http2(
        &self,
        source: Source,
        client: Option<&ConnectionHandle>,
    ) -> Result<bool, ForwardError> {
        let Some(tls) = &self.tls else { return Ok(false) };
        if let Some(known) = tls.speaks_http2() {
            return Ok(known);
        }
        // One request finds out for all that arrive at the same time.
        let _connecting = self.shared.connecting().await;
        if let Some(known) = tls.speaks_http2() {
            return Ok(known);
        }
        let (stream, permit, agreed) = self.open(source, BOTH).await?;
        let is_http2 = agreed == Negotiated::Http2;
        if is_http2 {
            drop(self.begin_http2(stream, permit, source).await?);
        } else {
            self.pool.put(Driven::begin(stream, permit, source, client.cloned()).await?.rest(None));
        }
        tls.chosen.store(if is_http2 { HTTP2 } else { HTTP1 }, Ordering::Relaxed);
        Ok(is_http2)
    }
}
