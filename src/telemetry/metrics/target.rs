//! Request counters by target.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus::core::Metric;
use prometheus::{Histogram, HistogramVec};

use super::RequestOutcome;
use crate::fault::{Client, ProxyName, Slot, Target};

/// Status codes 200 to 599, and one entry for requests without a head.
const CODES: usize = 401;

/// Index of requests without a head.
pub(super) const NO_CODE: usize = CODES - 1;

/// The counters of a target.
#[derive(Debug)]
pub(super) struct TargetCounters {
    /// By client class and code.
    requests: Box<[AtomicU64]>,
    durations: Histogram,
    gone: AtomicU64,
}

impl TargetCounters {
    fn new(name: &str, durations: &HistogramVec) -> Self {
        Self {
            requests: (0..Client::COUNT * CODES).map(|_| AtomicU64::new(0)).collect(),
            durations: durations.with_label_values(&[name]),
            gone: AtomicU64::new(0),
        }
    }

    /// Counts a finished request.
    pub(super) fn count(&self, client: Client, outcome: RequestOutcome, duration: Duration) {
        let code = match outcome {
            RequestOutcome::Answered(status) => {
                self.durations.observe(duration.as_secs_f64());
                usize::from(status).checked_sub(200).filter(|code| *code < NO_CODE).unwrap_or(NO_CODE)
            }
            RequestOutcome::Gone => {
                self.gone.fetch_add(1, Ordering::Relaxed);
                NO_CODE
            }
            RequestOutcome::Unanswered => NO_CODE,
        };
        self.requests[client.index() * CODES + code].fetch_add(1, Ordering::Relaxed);
    }

    /// Number of requests whose client left before the head of the answer.
    pub(super) fn gone(&self) -> u64 {
        self.gone.load(Ordering::Relaxed)
    }

    /// How many answers took at most each of the bounds, then all answers.
    pub(super) fn durations(&self) -> Vec<u64> {
        let metric = self.durations.metric();
        let histogram = metric.get_histogram();
        let buckets = histogram.get_bucket().iter().map(prometheus::proto::Bucket::cumulative_count);
        buckets.chain([histogram.get_sample_count()]).collect()
    }

    /// Requests by client class and code, without zeros.
    pub(super) fn totals(&self) -> impl Iterator<Item = (Client, usize, u64)> {
        Client::ALL
            .into_iter()
            .flat_map(move |client| {
                let start = client.index() * CODES;
                let counts = self.requests[start..start + CODES].iter().enumerate();
                counts.map(move |(code, count)| (client, code, count.load(Ordering::Relaxed)))
            })
            .filter(|(_, _, count)| *count > 0)
    }
}

/// The label of an index by code.
pub(super) fn code_label(code: usize) -> String {
    if code == NO_CODE { "none".to_owned() } else { (code + 200).to_string() }
}

/// The counters of all targets. Those of a proxy are created on first use.
#[derive(Debug)]
pub(super) struct TargetTable {
    classes: [TargetCounters; Target::COUNT],
    /// By slot.
    proxies: RwLock<Vec<Option<Arc<OfProxy>>>>,
}

/// The counters of a proxy, and its name.
#[derive(Debug)]
pub(super) struct OfProxy {
    name: ProxyName,
    counters: TargetCounters,
}

impl std::ops::Deref for OfProxy {
    type Target = TargetCounters;

    fn deref(&self) -> &TargetCounters {
        &self.counters
    }
}

impl TargetTable {
    pub(super) fn new(durations: &HistogramVec) -> Self {
        let classes = Target::ALL.map(|target| TargetCounters::new(target.name(), durations));
        Self { classes, proxies: RwLock::default() }
    }

    pub(super) fn class(&self, target: Target) -> &TargetCounters {
        &self.classes[target.index()]
    }

    pub(super) fn for_each_class(&self, mut visit: impl FnMut(&str, &TargetCounters)) {
        for target in Target::ALL {
            visit(target.name(), self.class(target));
        }
    }

    /// The counters of the proxy in a slot. If another proxy took over the slot, its counters start at zero.
    pub(super) fn proxy(&self, slot: Slot, name: &ProxyName, durations: &HistogramVec) -> Arc<OfProxy> {
        let is_same = |known: &&Arc<OfProxy>| known.name == *name;
        let known = self.proxies.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(slot.index()).and_then(Option::as_ref).filter(is_same) {
            return known.clone();
        }
        drop(known);
        let mut table = self.proxies.write().unwrap_or_else(PoisonError::into_inner);
        if table.len() <= slot.index() {
            table.resize(slot.index() + 1, None);
        }
        if let Some(known) = table[slot.index()].as_ref().filter(is_same) {
            return known.clone();
        }
        if let Some(before) = &table[slot.index()] {
            // An error says that there were none.
            let _ = durations.remove_label_values(&[before.name.as_str()]);
        }
        let counters = TargetCounters::new(name.as_str(), durations);
        let of_proxy = Arc::new(OfProxy { name: name.clone(), counters });
        table[slot.index()] = Some(of_proxy.clone());
        of_proxy
    }
}
