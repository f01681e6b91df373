//! The availability of a Service for its callers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// The availability of a Service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Availability {
    /// When the first endpoint was ready; the shares count from here. `None`: no endpoint was ever ready.
    pub since: Option<Duration>,
    /// Share of the time with no ready endpoint, 0 to 1.
    pub no_endpoint: f64,
    /// Share of the calls that fail, 0 to 1.
    pub failed_calls: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Unlist,
    Accepts(bool),
}

#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "four independent facts about an endpoint")]
struct EndpointState {
    ready: bool,
    /// Whether callers still send calls here.
    listed: bool,
    accepts: bool,
    /// Whether calls that reach it fail.
    fails: bool,
    /// The version of this listing or process; pending changes of older versions are ignored.
    listing: u64,
    process: u64,
}

/// The endpoints of a Service, and the share of failed calls. Calls come at a constant rate, spread evenly.
///
/// An endpoint is listed from when its Pod becomes Ready until `lag` after it is no longer Ready. A call fails
/// if no endpoint is listed, or if it reaches an endpoint that accepts no connections or makes calls fail.
///
/// ```
/// use std::time::Duration;
/// use kube_probesim::predict::service::Service;
///
/// let s = Duration::from_secs;
/// let mut service = Service::new(2, s(1));
/// for pod in 0..2 {
///     service.set_accepts(s(0), pod, true);
///     service.set_ready(s(0), pod, true);
/// }
/// service.set_accepts(s(50), 0, false);
/// service.set_ready(s(50), 0, false);
/// // One second of a hundred, half of the calls.
/// assert_eq!(service.finish(s(100)).failed_calls, 0.005);
/// ```
#[derive(Debug)]
pub struct Service {
    lag: Duration,
    now: Duration,
    endpoints: Vec<EndpointState>,
    pending: BinaryHeap<Reverse<(Duration, usize, u64, Change)>>,
    ready: usize,
    listed: usize,
    /// Endpoints that are listed, but whose calls fail.
    broken: usize,
    since: Option<Duration>,
    no_endpoint: Duration,
    /// Seconds, weighted by the share of failed calls.
    failed: f64,
}

impl Service {
    /// A Service over Pods that are not Ready.
    pub fn new(pods: usize, lag: Duration) -> Self {
        Self {
            lag,
            now: Duration::ZERO,
            endpoints: vec![EndpointState::default(); pods],
            pending: BinaryHeap::new(),
            ready: 0,
            listed: 0,
            broken: 0,
            since: None,
            no_endpoint: Duration::ZERO,
            failed: 0.0,
        }
    }

    /// Adds Pods, up to `pods` in total.
    pub fn grow(&mut self, pods: usize) {
        self.endpoints.resize(pods.max(self.endpoints.len()), EndpointState::default());
    }

    /// Sets the readiness of a Pod. Calls must be in the order of `at`.
    pub fn set_ready(&mut self, at: Duration, pod: usize, ready: bool) {
        self.advance(at);
        let endpoint = &mut self.endpoints[pod];
        if endpoint.ready == ready {
            return;
        }
        endpoint.ready = ready;
        endpoint.listing += 1;
        let listing = endpoint.listing;
        if ready {
            self.ready += 1;
            self.since.get_or_insert(at);
            self.change(pod, |endpoint| endpoint.listed = true);
        } else {
            self.ready -= 1;
            self.schedule(at.saturating_add(self.lag), pod, listing, Change::Unlist);
        }
    }

    /// Sets whether a Pod accepts connections from `at` on, which may be in the future.
    pub fn set_accepts(&mut self, at: Duration, pod: usize, accepts: bool) {
        let process = self.endpoints[pod].process;
        self.schedule(at, pod, process, Change::Accepts(accepts));
    }

    /// Marks the end of a Pod's process: it accepts no connections, and its pending changes are dropped.
    pub fn set_dead(&mut self, at: Duration, pod: usize) {
        self.advance(at);
        self.endpoints[pod].process += 1;
        self.change(pod, |endpoint| endpoint.accepts = false);
    }

    /// Sets whether calls to a Pod fail from `at` on. Calls must be in the order of `at`.
    pub fn set_fails(&mut self, at: Duration, pod: usize, fails: bool) {
        self.advance(at);
        self.change(pod, |endpoint| endpoint.fails = fails);
    }

    /// The availability until `at`.
    pub fn finish(&mut self, at: Duration) -> Availability {
        self.advance(at);
        let span = self.since.map_or(0.0, |since| at.saturating_sub(since).as_secs_f64());
        let share = |part: f64| if span > 0.0 { part / span } else { 1.0 };
        let (no_endpoint, failed_calls) = match self.since {
            Some(_) => (share(self.no_endpoint.as_secs_f64()), share(self.failed)),
            None => (1.0, 1.0),
        };
        Availability { since: self.since, no_endpoint, failed_calls }
    }

    fn schedule(&mut self, at: Duration, pod: usize, version: u64, change: Change) {
        self.pending.push(Reverse((at, pod, version, change)));
    }

    /// Advances the clock and applies the changes that are due.
    fn advance(&mut self, to: Duration) {
        while let Some(Reverse((at, pod, version, change))) = self.pending.peek().copied() {
            if at > to {
                break;
            }
            self.pending.pop();
            self.pass(at);
            let endpoint = self.endpoints[pod];
            match change {
                Change::Unlist if endpoint.listing == version => self.change(pod, |e| e.listed = false),
                Change::Accepts(accepts) if endpoint.process == version => {
                    self.change(pod, |e| e.accepts = accepts);
                }
                _ => {}
            }
        }
        self.pass(to);
    }

    /// Adds the time until `to`, in which nothing changes.
    fn pass(&mut self, to: Duration) {
        let passed = to.saturating_sub(self.now);
        self.now = self.now.max(to);
        if self.since.is_none() {
            return;
        }
        if self.ready == 0 {
            self.no_endpoint += passed;
        }
        let failing = if self.listed == 0 { 1.0 } else { self.broken as f64 / self.listed as f64 };
        self.failed += passed.as_secs_f64() * failing;
    }

    fn change(&mut self, pod: usize, change: impl FnOnce(&mut EndpointState)) {
        let endpoint = &mut self.endpoints[pod];
        let before = *endpoint;
        change(endpoint);
        let broken =
            |endpoint: EndpointState| usize::from(endpoint.listed && (!endpoint.accepts || endpoint.fails));
        self.listed = self.listed + usize::from(endpoint.listed) - usize::from(before.listed);
        self.broken = self.broken + broken(*endpoint) - broken(before);
    }
}
