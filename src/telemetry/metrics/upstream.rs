//! Metrics of forwarded requests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::Histogram;
use prometheus::proto::MetricFamily;

use super::family::Family;

/// Status codes 100 to 599, then an entry for other codes and one for requests without an answer.
const CODES: usize = 502;
const OTHER: usize = CODES - 2;
const NONE: usize = CODES - 1;

/// Why an upstream gave no answer, or an incomplete one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamFault {
    /// Its name could not be resolved.
    Dns,
    /// It refused the connection.
    Refused,
    /// It could not be reached for another reason.
    Unreachable,
    /// It spoke no TLS, or its certificate was not trusted.
    Tls,
    /// The connection took too long.
    ConnectTimeout,
    /// The answer took too long.
    Timeout,
    /// It ended the connection before its answer.
    Closed,
    /// It reset the stream of the request before its answer.
    Reset,
    /// Its answer was not valid HTTP.
    Invalid,
    /// It ended the connection within the body of its answer.
    Body,
    /// The request was forwarded to us again.
    Loop,
    /// It is a listener of this program.
    Own,
    /// The connection limit was reached, or no file descriptor was left.
    Connections,
    /// No memory was left for the request.
    Memory,
}

impl UpstreamFault {
    /// All reasons.
    pub const ALL: [Self; 14] = [
        Self::Dns,
        Self::Refused,
        Self::Unreachable,
        Self::Tls,
        Self::ConnectTimeout,
        Self::Timeout,
        Self::Closed,
        Self::Reset,
        Self::Invalid,
        Self::Body,
        Self::Loop,
        Self::Own,
        Self::Connections,
        Self::Memory,
    ];

    /// The metric label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Tls => "tls",
            Self::ConnectTimeout => "connect_timeout",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::Invalid => "invalid",
            Self::Body => "body",
            Self::Loop => "loop",
            Self::Own => "own_listener",
            Self::Connections => "connections",
            Self::Memory => "memory",
        }
    }
}

/// The counters of an upstream.
#[derive(Debug)]
pub struct UpstreamMetrics {
    proxy: String,
    codes: Vec<AtomicU64>,
    faults: [AtomicU64; UpstreamFault::ALL.len()],
    duration: Histogram,
}

impl UpstreamMetrics {
    pub(super) fn new(proxy: &str, duration: Histogram) -> Self {
        let codes = (0..CODES).map(|_| AtomicU64::new(0)).collect();
        Self { proxy: proxy.to_owned(), codes, faults: Default::default(), duration }
    }

    /// The label of these counters: `upstream`, or the name of a proxy.
    pub fn proxy(&self) -> &str {
        &self.proxy
    }

    /// Counts an answer of the upstream, `duration` after the request was passed to it.
    pub fn answered(&self, status: u16, duration: Duration) {
        self.duration.observe(duration.as_secs_f64());
        let place = usize::from(status).checked_sub(100).filter(|place| *place < OTHER).unwrap_or(OTHER);
        self.codes[place].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that ended without an answer of the upstream, for any reason.
    pub fn unanswered(&self) {
        self.codes[NONE].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an error.
    pub fn fault(&self, fault: UpstreamFault) {
        self.faults[fault as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// The counters of all upstreams. All reasons are exported from the start, so that increases are visible.
pub(super) fn collect<'a>(upstreams: impl Iterator<Item = &'a UpstreamMetrics>) -> [MetricFamily; 2] {
    let mut requests = Family::counter(
        "probesim_upstream_requests_total",
        "Forwarded requests that have ended or been answered, by the status code of the upstream; code is none where it gave none.",
    );
    let mut errors = Family::counter(
        "probesim_upstream_errors_total",
        "Forwarded requests that their upstream did not answer, or only partly, by reason.",
    );
    for upstream in upstreams {
        let proxy = upstream.proxy();
        for (place, count) in upstream.codes.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            if count > 0 {
                let code = match place {
                    NONE => "none".to_owned(),
                    OTHER => "other".to_owned(),
                    place => (place + 100).to_string(),
                };
                requests.add(&[("proxy", proxy), ("code", &code)], count as f64);
            }
        }
        for fault in UpstreamFault::ALL {
            let count = upstream.faults[fault as usize].load(Ordering::Relaxed);
            errors.add(&[("proxy", proxy), ("reason", fault.name())], count as f64);
        }
    }
    [requests.done(), errors.done()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::HistogramOpts;

    #[test]
    fn codes_outside_those_of_http_are_other() {
        let metrics =
            UpstreamMetrics::new("stock", Histogram::with_opts(HistogramOpts::new("d", "d")).unwrap());
        for status in [99, 100, 200, 599, 600, 999] {
            metrics.answered(status, Duration::ZERO);
        }
        metrics.unanswered();
        let [requests, _] = collect(std::iter::once(&metrics));
        let codes: Vec<(String, f64)> = requests
            .get_metric()
            .iter()
            .map(|metric| {
                let code = metric.get_label().iter().find(|label| label.name() == "code").unwrap();
                (code.value().to_owned(), metric.get_counter().get_value())
            })
            .collect();
        let expected = [("100", 1.0), ("200", 1.0), ("599", 1.0), ("other", 3.0), ("none", 1.0)];
        assert_eq!(codes, expected.map(|(code, count)| (code.to_owned(), count)));
    }
}
