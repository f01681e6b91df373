//! One connection, from accept to close.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::TcpProxy;
use super::relay::Relay;
use crate::listener::budget::Reservation;
use crate::listener::{self, Stage};
use crate::proxy::connect;
use crate::proxy::error::ForwardError;
use crate::proxy::stream::UpstreamStream;
use crate::telemetry::metrics::ConnectionResult;

/// Serves one connection.
pub(super) async fn serve(client: TcpStream, peer: SocketAddr, proxy: Arc<TcpProxy>, _memory: Reservation) {
    let open = Open::new(&proxy);
    let result = match reach(&client, &proxy).await {
        Ok(upstream) => {
            let relay = Relay::new(UpstreamStream::Tcp(client), upstream);
            carry(relay, &proxy).await
        }
        Err(error) => {
            if let Some(fault) = error.fault() {
                proxy.upstream_metrics.fault(fault);
            }
            warn!(proxy = %proxy.name, %peer, upstream = %proxy.upstream(), "the upstream {error}");
            // An orderly end could be taken for an answer of the upstream.
            listener::reset_on_close(&client);
            ConnectionResult::UpstreamError
        }
    };
    debug!(proxy = %proxy.name, %peer, result = result.name(), "a connection has ended");
    proxy.metrics.ended(result);
    drop(open);
}

/// An open connection in the metrics. With the last one, spare buffers go.
struct Open<'a>(&'a TcpProxy);

impl<'a> Open<'a> {
    fn new(proxy: &'a TcpProxy) -> Self {
        proxy.metrics.listener().add_connections(1);
        Self(proxy)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let listener = self.0.metrics.listener();
        listener.add_connections(-1);
        if listener.connections() == 0 {
            self.0.shared.buffers.clear();
        }
    }
}

/// Connects to the upstream.
async fn reach(client: &TcpStream, proxy: &TcpProxy) -> Result<UpstreamStream, ForwardError> {
    let (place, options) = (proxy.upstream(), proxy.shared.options);
    let reached = client.local_addr().ok().map(|address| address.ip());
    let source = connect::source(options.source, &place, reached);
    // Not in the future of the connection, which would have the room for it as long as it lives.
    Box::pin(connect::connect(&place, source, &proxy.shared.own, options.connect_timeout)).await
}

/// Passes bytes on until the connection ends.
async fn carry(mut relay: Relay, proxy: &TcpProxy) -> ConnectionResult {
    let mut conditions = proxy.conditions.clone();
    let result = loop {
        let until = match conditions.borrow_and_update().stage {
            Stage::Draining(until) => Some(until),
            Stage::Running | Stage::Leaving => None,
        };
        tokio::select! {
            biased;
            changed = conditions.changed() => if changed.is_err() {
                break ConnectionResult::Drained;
            },
            result = poll_fn(|cx| relay.poll(cx, proxy)) => break result,
            () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                break ConnectionResult::Drained;
            }
        }
    };
    if matches!(result, ConnectionResult::ClientReset | ConnectionResult::UpstreamReset) {
        // Whoever is left learns how the connection ended.
        relay.reset();
    }
    result
}
