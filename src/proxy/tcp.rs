//! TCP proxies, which relay bytes of any protocol between client and upstream.
//!
//! Each connection is one task, which holds no buffer while it is idle. Nothing is read from the client before the
//! upstream is connected, so that protocols work in which the server speaks first.

mod buffers;
mod connection;
mod faults;
mod pipe;
mod relay;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::memory::TLS_MEMORY;
use super::own::OwnListeners;
use crate::clock::Timer;
use crate::engine::Engine;
use crate::env::ForwardOptions;
use crate::fault::{Slot, UpstreamPlace};
use crate::listener::budget::{BudgetShare, MemoryBudget};
use crate::listener::{self, AcceptControl, Conditions, PartitionedListener, Taken};
use crate::task::Boxed;
use crate::telemetry::metrics::{ConnectionResult, Limit, Metrics, ProxyMetrics, UpstreamMetrics};
use crate::tls::{ClientTls, Connector};
pub use buffers::Buffers;
pub use faults::ProxyRules;

/// Memory of an idle connection, in bytes: its task and its sockets in the kernel.
const IDLE_MEMORY: usize = 8 << 10;

/// State that all TCP proxies share.
#[derive(Clone, Debug)]
pub struct TcpShared {
    /// Numbers connections and counts injections.
    pub engine: Engine,
    /// Waits for delays.
    pub timer: Timer,
    /// Counts connections that limits refuse.
    pub metrics: Arc<Metrics>,
    /// Budget of the memory that clients use.
    pub budget: MemoryBudget,
    /// Buffers for reading.
    pub buffers: Arc<Buffers>,
    /// How to connect to upstreams.
    pub options: ForwardOptions,
    /// The listeners of this program, which must not be upstreams.
    pub own: OwnListeners,
    /// Peers that no rule acts on.
    pub spared: Arc<[IpAddr]>,
    /// Limit of connections of one proxy.
    pub connections: usize,
    /// Number of connections at which a proxy stops accepting, so that file descriptors remain for others.
    pub files: usize,
}

/// The upstream of a proxy.
#[derive(Debug)]
pub struct TcpUpstream {
    place: UpstreamPlace,
    /// Speaks TLS with the upstream.
    tls: Option<Connector>,
}

impl TcpUpstream {
    /// The server at `place`, with TLS if `tls` is given.
    pub fn new(place: UpstreamPlace, tls: Option<ClientTls>) -> Self {
        let tls = tls.map(|tls| Connector::new(tls, place.host()));
        Self { place, tls }
    }
}

/// A proxy in front of a TCP server of any protocol.
pub struct TcpProxy {
    name: Arc<str>,
    slot: Slot,
    upstream: Mutex<Arc<TcpUpstream>>,
    shared: TcpShared,
    metrics: Arc<ProxyMetrics>,
    upstream_metrics: Arc<UpstreamMetrics>,
    conditions: watch::Receiver<Conditions>,
    rules: watch::Receiver<Arc<ProxyRules>>,
}

impl fmt::Debug for TcpProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpProxy").field("name", &self.name).finish_non_exhaustive()
    }
}

impl TcpProxy {
    /// A proxy that forwards to `upstream`.
    pub fn new(
        (name, slot): (&str, Slot),
        upstream: TcpUpstream,
        shared: TcpShared,
        conditions: watch::Receiver<Conditions>,
        rules: watch::Receiver<Arc<ProxyRules>>,
    ) -> Arc<Self> {
        let (metrics, upstream_metrics) = (shared.metrics.tcp_proxy(name), shared.metrics.upstream(name));
        let upstream = Mutex::new(Arc::new(upstream));
        let name = name.into();
        Arc::new(Self { name, slot, upstream, shared, metrics, upstream_metrics, conditions, rules })
    }

    /// Forwards new connections to another upstream.
    pub fn exchange(&self, upstream: TcpUpstream) {
        *self.upstream.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(upstream);
    }

    fn upstream(&self) -> Arc<TcpUpstream> {
        self.upstream.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Serves connections until the proxy drains.
    pub async fn serve(self: Arc<Self>, listener: PartitionedListener) {
        let accept_control = AcceptControl {
            name: self.name.clone(),
            files: self.shared.files,
            listener_metrics: self.metrics.listener().clone(),
            metrics: self.shared.metrics.clone(),
            conditions: self.conditions.clone(),
        };
        listener::accept(listener, accept_control, |connections, client, peer| {
            self.take(connections, client, peer);
            Taken::Done
        })
        .await;
    }

    fn take(self: &Arc<Self>, connections: &mut JoinSet<()>, client: TcpStream, peer: SocketAddr) {
        let size = IDLE_MEMORY + if self.upstream().tls.is_some() { TLS_MEMORY } else { 0 };
        let reason = if connections.len() >= self.shared.connections {
            self.shared.metrics.limit(Limit::Connections);
            "connection reset: the limit of connections is reached"
        } else if let Some(memory) = self.shared.budget.reserve(size, BudgetShare::Ordinary) {
            connections.spawn(Box::pin(connection::serve(client, peer, self.clone(), memory)) as Boxed);
            return;
        } else {
            "connection reset: no memory is left for it"
        };
        self.metrics.ended(ConnectionResult::Limit);
        listener::refuse(&client, peer, reason);
    }
}
