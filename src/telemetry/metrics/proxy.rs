//! Metrics of the connections of a proxy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use prometheus::proto::MetricFamily;

use super::ListenerMetrics;
use super::family::Family;
use crate::fault::Stream;

/// How a connection of a TCP proxy ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionResult {
    /// Both sides closed it.
    Completed,
    /// The client aborted it.
    ClientReset,
    /// The upstream aborted it.
    UpstreamReset,
    /// The upstream was not reached.
    UpstreamError,
    /// A rule ended it.
    Fault,
    /// A limit ended or rejected it.
    Limit,
    /// It was open when the proxy or the process ended.
    Drained,
}

impl ConnectionResult {
    const ALL: [Self; 7] = [
        Self::Completed,
        Self::ClientReset,
        Self::UpstreamReset,
        Self::UpstreamError,
        Self::Fault,
        Self::Limit,
        Self::Drained,
    ];

    /// The metric label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::ClientReset => "client_reset",
            Self::UpstreamReset => "upstream_reset",
            Self::UpstreamError => "upstream_error",
            Self::Fault => "fault",
            Self::Limit => "limit",
            Self::Drained => "drained",
        }
    }
}

/// The counters of one proxy.
#[derive(Debug)]
pub struct ProxyMetrics {
    proxy: String,
    listener: Arc<ListenerMetrics>,
    results: [AtomicU64; ConnectionResult::ALL.len()],
    bytes: [AtomicU64; 2],
    received: [AtomicU64; 2],
    /// Whether results and bytes of connections are counted; HTTP proxies count requests instead.
    is_tcp: AtomicBool,
}

impl ProxyMetrics {
    pub(super) fn new(proxy: &str) -> Self {
        Self {
            proxy: proxy.to_owned(),
            listener: Arc::default(),
            results: Default::default(),
            bytes: Default::default(),
            received: Default::default(),
            is_tcp: AtomicBool::new(false),
        }
    }

    /// The counters of its listener.
    pub fn listener(&self) -> &Arc<ListenerMetrics> {
        &self.listener
    }

    /// Counts a connection that has ended.
    pub fn ended(&self, result: ConnectionResult) {
        self.results[result as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts bytes that were passed on.
    pub fn passed(&self, stream: Stream, bytes: usize) {
        self.bytes[stream as usize].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts bytes that were read.
    pub fn received(&self, stream: Stream, bytes: usize) {
        self.received[stream as usize].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The bytes of a stream that were read, or those that were passed on.
    pub fn bytes(&self, stream: Stream, is_received: bool) -> u64 {
        let bytes = if is_received { &self.received } else { &self.bytes };
        bytes[stream as usize].load(Ordering::Relaxed)
    }

    pub(super) fn set_tcp(&self, is_tcp: bool) {
        self.is_tcp.store(is_tcp, Ordering::Relaxed);
    }

    pub(super) fn is_tcp(&self) -> bool {
        self.is_tcp.load(Ordering::Relaxed)
    }
}

/// The connections of a TCP proxy so far.
#[derive(Clone, Debug)]
pub struct ProxyConnections {
    /// The proxy's name.
    pub proxy: String,
    /// Open connections.
    pub open: i64,
    /// Ended connections, by result.
    pub ended: Vec<(&'static str, u64)>,
    /// Bytes that were passed on, by direction.
    pub bytes: Vec<(&'static str, u64)>,
}

impl ProxyMetrics {
    pub(super) fn connections(&self) -> ProxyConnections {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ProxyConnections {
            proxy: self.proxy.clone(),
            open: self.listener.connections(),
            ended: ConnectionResult::ALL
                .map(|result| (result.name(), count(&self.results[result as usize])))
                .to_vec(),
            bytes: Stream::ALL.map(|stream| (stream.name(), count(&self.bytes[stream as usize]))).to_vec(),
        }
    }
}

/// The families of all proxies.
pub(super) fn collect(all: &[Arc<ProxyMetrics>]) -> [MetricFamily; 3] {
    let mut open = Family::gauge("probesim_proxy_connections", "Open connections to a named proxy.");
    let mut ended = Family::counter(
        "probesim_proxy_connections_total",
        "Connections to a TCP proxy that have ended, by result.",
    );
    let mut bytes = Family::counter(
        "probesim_proxy_bytes_total",
        "Bytes that a TCP proxy has passed on, upstream or downstream.",
    );
    for proxy in all {
        let name = ("proxy", proxy.proxy.as_str());
        let connections = proxy.connections();
        open.add(&[name], connections.open as f64);
        if !proxy.is_tcp() {
            continue;
        }
        for (result, count) in connections.ended {
            ended.add(&[name, ("result", result)], count as f64);
        }
        for (stream, count) in connections.bytes {
            bytes.add(&[name, ("stream", stream)], count as f64);
        }
    }
    [open.done(), ended.done(), bytes.done()]
}
