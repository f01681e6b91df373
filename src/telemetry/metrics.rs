//! What Prometheus sees.

mod exposition;
mod family;
mod listener;
mod process;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, HistogramVec};

use crate::engine::Engine;
use crate::fault::{Client, Target};
use crate::plan::Source;

pub use listener::ListenerMetrics;

/// Upper bounds of the histogram of durations, in seconds: from the least that can be told apart to the timeouts that
/// probes have.
const BUCKETS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Status codes 200 to 599, and one place for requests that got no head.
const CODES: usize = 401;

/// The place of requests that got no head.
const NO_CODE: usize = CODES - 1;

/// A limit that cuts clients short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Open connections.
    Connections,
    /// Open files of the process.
    Descriptors,
    /// Time for a request's head.
    HeadTime,
    /// Time between requests.
    IdleTime,
    /// Bytes of a request's head.
    HeadSize,
    /// Time in which a client takes none of its answer.
    WriteTime,
    /// Memory that the container leaves to clients.
    Memory,
}

impl Limit {
    const ALL: [Self; 7] = [
        Self::Connections,
        Self::Descriptors,
        Self::HeadTime,
        Self::IdleTime,
        Self::HeadSize,
        Self::WriteTime,
        Self::Memory,
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
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A head with this status code was sent.
    Answered(u16),
    /// The server ended it without a head.
    Unanswered,
    /// The client left before the head.
    Gone,
}

/// Plans that were read, by source.
#[derive(Debug, Default)]
struct Reloads {
    ok: [AtomicU64; Source::ALL.len()],
    failed: [AtomicU64; Source::ALL.len()],
}

/// The counters of requests and connections. Those of the rules are the [`Engine`]'s.
#[derive(Debug)]
pub struct Metrics {
    engine: Engine,
    requests: Vec<AtomicU64>,
    durations: HistogramVec,
    by_target: [Histogram; Target::COUNT],
    gone: [AtomicU64; Target::COUNT],
    limits: [AtomicU64; Limit::ALL.len()],
    reloads: Reloads,
    probe_listener: Arc<ListenerMetrics>,
    draining: AtomicBool,
}

impl Metrics {
    /// All counters at zero.
    pub fn new(engine: Engine) -> Result<Self, prometheus::Error> {
        let options = HistogramOpts::new(
            "probesim_request_duration_seconds",
            "Time from a request's head to the head of its answer, as served.",
        );
        let durations = HistogramVec::new(options.buckets(BUCKETS.to_vec()), &["target"])?;
        Ok(Self {
            engine,
            requests: (0..Target::COUNT * Client::COUNT * CODES).map(|_| AtomicU64::new(0)).collect(),
            by_target: Target::ALL.map(|target| durations.with_label_values(&[target.name()])),
            durations,
            gone: Default::default(),
            limits: Default::default(),
            reloads: Reloads::default(),
            probe_listener: Arc::default(),
            draining: AtomicBool::new(false),
        })
    }

    /// Counts a request that has ended, `duration` after its head came in.
    pub fn request(&self, target: Target, client: Client, outcome: Outcome, duration: Duration) {
        let code = match outcome {
            Outcome::Answered(status) => {
                self.by_target[target.index()].observe(duration.as_secs_f64());
                usize::from(status).checked_sub(200).filter(|code| *code < NO_CODE).unwrap_or(NO_CODE)
            }
            Outcome::Gone => {
                self.gone[target.index()].fetch_add(1, Ordering::Relaxed);
                NO_CODE
            }
            Outcome::Unanswered => NO_CODE,
        };
        self.requests[place(target, client) + code].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a limit that cut somebody short.
    pub fn limit(&self, limit: Limit) {
        self.limits[limit as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a plan that was read from a source, `ok` or not.
    pub fn reload(&self, source: Source, ok: bool) {
        let counts = if ok { &self.reloads.ok } else { &self.reloads.failed };
        counts[source as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The counters of the probe listener.
    pub fn probe_listener(&self) -> &Arc<ListenerMetrics> {
        &self.probe_listener
    }

    /// Says that the process is on its way out: readiness fails.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// The current state in Prometheus' text format.
    pub fn encode(&self) -> String {
        exposition::encode(self)
    }

    /// All requests so far, by code.
    pub fn totals(&self) -> impl Iterator<Item = (Target, Client, String, u64)> {
        Target::ALL.into_iter().flat_map(move |target| {
            Client::ALL.into_iter().flat_map(move |client| {
                let start = place(target, client);
                self.requests[start..start + CODES].iter().enumerate().filter_map(move |(code, count)| {
                    let count = count.load(Ordering::Relaxed);
                    (count > 0).then(|| (target, client, code_label(code), count))
                })
            })
        })
    }
}

/// How many more file descriptors the process may open; `None` where `/proc` does not tell.
pub fn spare_files() -> Option<usize> {
    process::spare_files()
}

/// How much memory of the process is resident, in bytes; `None` where `/proc` does not tell.
pub fn resident_memory() -> Option<u64> {
    process::resident_memory()
}

/// How much memory the container may have, in bytes; `None` without a limit.
pub fn memory_limit() -> Option<u64> {
    process::memory_limit()
}

fn place(target: Target, client: Client) -> usize {
    (target.index() * Client::COUNT + client.index()) * CODES
}

fn code_label(code: usize) -> String {
    if code == NO_CODE { "none".to_owned() } else { (code + 200).to_string() }
}
