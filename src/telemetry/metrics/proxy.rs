//! What the metrics say about the connections of a proxy.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::proto::MetricFamily;
use tokio::time::Instant;

use super::ListenerMetrics;
use super::family::Family;
use crate::fault::Stream;

/// How long the counters of a proxy that is gone are shown: longer than any interval between two scrapes.
const RETIREMENT: Duration = Duration::from_secs(600);

/// How a connection of a TCP proxy ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionResult {
    /// Both sides have ended it.
    Completed,
    /// The client broke it off.
    ClientReset,
    /// The upstream broke it off.
    UpstreamReset,
    /// The upstream was not reached.
    UpstreamError,
    /// A rule ended it.
    Fault,
    /// A limit ended it, or left no room for it.
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
    /// Since when the proxy is gone.
    retired: Mutex<Option<Instant>>,
}

impl ProxyMetrics {
    fn new(proxy: &str) -> Self {
        Self {
            proxy: proxy.to_owned(),
            listener: Arc::default(),
            results: Default::default(),
            bytes: Default::default(),
            retired: Mutex::default(),
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

    /// Says that the proxy is gone: its counters leave in a while.
    pub fn retire(&self) {
        self.set_retired(Some(Instant::now()));
    }

    fn set_retired(&self, at: Option<Instant>) {
        *self.retired.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    fn is_shown(&self) -> bool {
        let retired = *self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.is_none_or(|at| at.elapsed() < RETIREMENT)
    }
}

/// The counters of all proxies.
#[derive(Debug, Default)]
pub(super) struct ProxyTable(Mutex<Vec<Arc<ProxyMetrics>>>);

impl ProxyTable {
    /// The counters of that name, which go on where there were some.
    pub(super) fn get(&self, proxy: &str) -> Arc<ProxyMetrics> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|known| known.is_shown());
        if let Some(known) = all.iter().find(|known| known.proxy == proxy) {
            known.set_retired(None);
            return known.clone();
        }
        let new = Arc::new(ProxyMetrics::new(proxy));
        all.push(new.clone());
        new
    }

    /// Their families.
    pub(super) fn collect(&self) -> [MetricFamily; 3] {
        let mut open = Family::gauge("probesim_proxy_connections", "Open connections to a TCP proxy.");
        let mut ended = Family::counter(
            "probesim_proxy_connections_total",
            "Connections to a TCP proxy that have ended, by result.",
        );
        let mut bytes = Family::counter(
            "probesim_proxy_bytes_total",
            "Bytes that a TCP proxy has passed on, upstream or downstream.",
        );
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|known| known.is_shown());
        for proxy in all.iter() {
            let name = ("proxy", proxy.proxy.as_str());
            open.add(&[name], proxy.listener.connections() as f64);
            for result in ConnectionResult::ALL {
                let count = proxy.results[result as usize].load(Ordering::Relaxed);
                ended.add(&[name, ("result", result.name())], count as f64);
            }
            for stream in Stream::ALL {
                let count = proxy.bytes[stream as usize].load(Ordering::Relaxed);
                bytes.add(&[name, ("stream", stream.name())], count as f64);
            }
        }
        [open.done(), ended.done(), bytes.done()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(table: &ProxyTable) -> Vec<String> {
        let [open, ..] = table.collect();
        open.get_metric().iter().map(|metric| metric.get_label()[0].value().to_owned()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_proxy_that_is_gone_leaves_after_ten_minutes_unless_it_comes_back() {
        let table = ProxyTable::default();
        let (db, cache) = (table.get("db"), table.get("cache"));
        cache.ended(ConnectionResult::Completed);
        db.retire();
        cache.retire();
        tokio::time::advance(RETIREMENT / 2).await;
        assert_eq!(names(&table), ["db", "cache"]);
        assert!(Arc::ptr_eq(&table.get("cache"), &cache), "its counters go on");
        tokio::time::advance(RETIREMENT).await;
        assert_eq!(names(&table), ["cache"]);
    }
}
