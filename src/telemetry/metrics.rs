//! Prometheus metrics.

mod by_proxy;
mod exposition;
mod family;
mod listener;
mod process;
mod proxy;
mod target;
mod tls;
mod upstream;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use by_proxy::ByProxy;
use prometheus::{HistogramOpts, HistogramVec};
use target::{TargetCounters, TargetTable, code_label};

use crate::engine::Engine;
use crate::fault::{Client, TargetId};
use crate::plan::Source;

pub use listener::{ListenerMetrics, SocketState};
pub use proxy::{ConnectionResult, ProxyConnections, ProxyMetrics};
pub use tls::{HandshakeResult, TlsMetrics};
pub use upstream::{UpstreamFault, UpstreamMetrics};

/// Upper bounds of the duration histogram, in seconds: from the shortest measurable time to common probe timeouts.
pub const BUCKETS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// A limit that affects clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Open connections.
    Connections,
    /// Open files of the process.
    Descriptors,
    /// Time for a request head.
    HeadTime,
    /// Time between requests.
    IdleTime,
    /// Size of a request head.
    HeadSize,
    /// Time in which a client reads nothing of its answer.
    WriteTime,
    /// Memory available for clients.
    Memory,
    /// Useless work caused by an HTTP/2 client.
    Http2Flood,
    /// Open `Watch` streams of the gRPC health service.
    Watches,
}

impl Limit {
    const ALL: [Self; 9] = [
        Self::Connections,
        Self::Descriptors,
        Self::HeadTime,
        Self::IdleTime,
        Self::HeadSize,
        Self::WriteTime,
        Self::Memory,
        Self::Http2Flood,
        Self::Watches,
    ];

    /// The metric label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Descriptors => "descriptors",
            Self::HeadTime => "head_time",
            Self::IdleTime => "idle_time",
            Self::HeadSize => "head_size",
            Self::WriteTime => "write_time",
            Self::Memory => "memory",
            Self::Http2Flood => "http2_flood",
            Self::Watches => "watches",
        }
    }
}

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// A head with this status code was sent.
    Answered(u16),
    /// The server ended the request without a head.
    Unanswered,
    /// The client left before the head.
    Gone,
}

/// Numbers of plans read, by source.
#[derive(Debug, Default)]
struct Reloads {
    ok: [AtomicU64; Source::ALL.len()],
    failed: [AtomicU64; Source::ALL.len()],
}

/// Resources that rules use.
#[derive(Debug, Default)]
struct HeldResources {
    memory: AtomicU64,
    milli_cores: AtomicU64,
    disk: AtomicU64,
}

/// Counters of requests and connections. The counters of rules belong to the [`Engine`].
#[derive(Debug)]
pub struct Metrics {
    engine: Engine,
    durations: HistogramVec,
    targets: TargetTable,
    limits: [AtomicU64; Limit::ALL.len()],
    reloads: Reloads,
    probe_listener: Arc<ListenerMetrics>,
    draining: AtomicBool,
    held: HeldResources,
    client_memory: AtomicUsize,
    tls: TlsMetrics,
    upstreams: Upstreams,
    proxies: ByProxy<ProxyMetrics>,
}

/// Counters of upstreams, and their shared histogram.
#[derive(Debug)]
struct Upstreams {
    all: ByProxy<UpstreamMetrics>,
    durations: HistogramVec,
}

impl Metrics {
    /// Creates all counters, starting at zero.
    pub fn new(engine: Engine) -> Result<Self, prometheus::Error> {
        let options = HistogramOpts::new(
            "probesim_request_duration_seconds",
            "Time from a request's head to the head of its answer, as served.",
        );
        let durations = HistogramVec::new(options.buckets(BUCKETS.to_vec()), &["target"])?;
        let options = HistogramOpts::new(
            "probesim_upstream_duration_seconds",
            "Time from the forwarding of a request to the head of its upstream's answer.",
        );
        let of_upstreams = HistogramVec::new(options.buckets(BUCKETS.to_vec()), &["proxy"])?;
        Ok(Self {
            engine,
            targets: TargetTable::new(&durations),
            durations,
            limits: Default::default(),
            reloads: Reloads::default(),
            probe_listener: Arc::default(),
            draining: AtomicBool::new(false),
            held: HeldResources::default(),
            client_memory: AtomicUsize::new(0),
            tls: TlsMetrics::default(),
            upstreams: Upstreams { all: ByProxy::default(), durations: of_upstreams },
            proxies: ByProxy::default(),
        })
    }

    /// Counts a request that has ended, `duration` after its head came in.
    pub fn request(
        &self,
        target: impl Into<TargetId>,
        client: Client,
        outcome: RequestOutcome,
        duration: Duration,
    ) {
        match target.into() {
            TargetId::Class(class) => self.targets.class(class).count(client, outcome, duration),
            TargetId::Proxy(slot) => {
                let active = self.engine.active();
                if let Some(name) = active.plan.proxies().name(slot) {
                    self.targets.proxy(slot, name, &self.durations).count(client, outcome, duration);
                }
            }
        }
    }

    /// Counts a limit that affected a client.
    pub fn limit(&self, limit: Limit) {
        self.limits[limit as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a plan that was read from a source, and whether it was valid.
    pub fn reload(&self, source: Source, ok: bool) {
        let counts = if ok { &self.reloads.ok } else { &self.reloads.failed };
        counts[source as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The counters of the probe listener.
    pub fn probe_listener(&self) -> &Arc<ListenerMetrics> {
        &self.probe_listener
    }

    /// The counters of TLS.
    pub fn tls(&self) -> &TlsMetrics {
        &self.tls
    }

    /// Bytes reserved for what clients make the process hold.
    pub fn client_memory(&self) -> &AtomicUsize {
        &self.client_memory
    }

    /// Sets the memory that rules hold, in bytes.
    pub fn hold_memory(&self, bytes: u64) {
        self.held.memory.store(bytes, Ordering::Relaxed);
    }

    /// Sets the CPU usage of rules, in cores.
    pub fn hold_cpu(&self, cores: f64) {
        self.held.milli_cores.store((cores * 1000.0).round() as u64, Ordering::Relaxed);
    }

    /// Sets the disk space that rules use, in bytes.
    pub fn hold_disk(&self, bytes: u64) {
        self.held.disk.store(bytes, Ordering::Relaxed);
    }

    /// Records that the process is shutting down: readiness fails.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// The counters of the upstream of a proxy, created on first use.
    pub fn upstream(&self, proxy: &str) -> Arc<UpstreamMetrics> {
        self.upstreams
            .all
            .get(proxy, || UpstreamMetrics::new(proxy, self.upstreams.durations.with_label_values(&[proxy])))
    }

    /// The counters of a TCP proxy, created on first use.
    pub fn tcp_proxy(&self, name: &str) -> Arc<ProxyMetrics> {
        let proxy = self.proxies.get(name, || ProxyMetrics::new(name));
        proxy.set_tcp(true);
        proxy
    }

    /// The counters of the listener of an HTTP proxy, created on first use.
    pub fn http_proxy(&self, name: &str) -> Arc<ListenerMetrics> {
        let proxy = self.proxies.get(name, || ProxyMetrics::new(name));
        proxy.set_tcp(false);
        proxy.listener().clone()
    }

    /// Records that a proxy was removed: its counters are dropped after ten minutes.
    pub fn retire_proxy(&self, name: &str) {
        self.proxies.retire(name);
        self.upstreams.all.retire(name);
    }

    /// The current metrics in Prometheus' text format.
    pub fn encode(&self) -> String {
        exposition::encode(self)
    }

    /// All requests so far, by target, client class and code, without zeros.
    pub fn totals(&self) -> Vec<Total> {
        let mut totals = Vec::new();
        self.for_each_target(|target, counters| {
            totals.extend(counters.totals().map(|(client, code, count)| Total {
                target: target.to_owned(),
                client,
                code: code_label(code),
                count,
            }));
        });
        totals
    }

    /// Outcomes of the requests of each target so far.
    pub fn traffic(&self) -> Vec<Traffic> {
        let mut all = Vec::new();
        self.for_each_target(|target, counters| {
            let mut codes: Vec<(usize, u64)> = Vec::new();
            for (_, code, count) in counters.totals() {
                match codes.iter_mut().find(|(known, _)| *known == code) {
                    Some((_, sum)) => *sum += count,
                    None => codes.push((code, count)),
                }
            }
            all.push(Traffic {
                target: target.to_owned(),
                codes: codes.into_iter().map(|(code, count)| (code_label(code), count)).collect(),
                gone: counters.gone(),
                durations: counters.durations(),
            });
        });
        all
    }

    /// The connections of each TCP proxy so far.
    pub fn tcp_connections(&self) -> Vec<ProxyConnections> {
        let shown = self.proxies.shown(|_| {});
        shown.iter().filter(|proxy| proxy.is_tcp()).map(|proxy| proxy.connections()).collect()
    }

    /// Resources that rules currently use.
    pub fn held(&self) -> HeldNow {
        HeldNow {
            memory: self.held.memory.load(Ordering::Relaxed),
            cores: self.held.milli_cores.load(Ordering::Relaxed) as f64 / 1000.0,
            disk: self.held.disk.load(Ordering::Relaxed),
        }
    }

    /// Visits the request classes, then the known proxies.
    fn for_each_target(&self, mut visit: impl FnMut(&str, &TargetCounters)) {
        self.targets.for_each_class(&mut visit);
        let active = self.engine.active();
        for (slot, name) in active.plan.proxies().all() {
            visit(name.as_str(), &self.targets.proxy(slot, name, &self.durations));
        }
    }
}

/// Number of requests with the same outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Total {
    /// Name of the target.
    pub target: String,
    /// Client class.
    pub client: Client,
    /// Status code; `none` without a head.
    pub code: String,
    /// Number of requests.
    pub count: u64,
}

/// Outcomes of the requests of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// The target's name.
    pub target: String,
    /// By status code, as in [`Total::code`].
    pub codes: Vec<(String, u64)>,
    /// Requests whose client left before the head of its answer.
    pub gone: u64,
    /// How many answers took at most each of [`BUCKETS`], then all answers.
    pub durations: Vec<u64>,
}

/// Resources that rules use at an instant.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HeldNow {
    /// Memory, in bytes.
    pub memory: u64,
    /// CPU time, in cores.
    pub cores: f64,
    /// Volumes, in bytes.
    pub disk: u64,
}

/// Number of file descriptors that the process may still open; `None` if `/proc` is not available.
pub fn spare_files() -> Option<usize> {
    process::spare_files()
}

/// Resident memory of the process in bytes; `None` if `/proc` is not available.
pub fn resident_memory() -> Option<u64> {
    process::resident_memory()
}
