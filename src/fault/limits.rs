//! Limits of rules.

use std::time::Duration;

/// Limit of rules in a plan: each has its own metric series.
pub const MAX_RULES: usize = 1_000;

/// Limit of a delay; longer samples of a distribution are clamped.
pub const MAX_DELAY: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Limit of the bytes sent before a body fault, in bytes.
pub const MAX_BODY: u64 = 64 << 20;

/// Limit of the mean run of a [`Burst`](super::Burst); it bounds how many draws a decision reads on average.
pub const MAX_BURST: f64 = 100.0;

/// Minimum of `for`, `every` and `ramp`: no probe observes a shorter window, and tracking one takes a full core.
pub const MIN_WINDOW: Duration = Duration::from_millis(10);

/// Limit of proxies at a time: each has a listener and counters, and together with the request classes they fit in 64
/// bits.
pub const MAX_PROXIES: usize = 58;

/// Limit of a throttled body, in bytes per second.
pub const MAX_SPEED: u64 = 1 << 30;

/// Limit of a gRPC status message, in bytes: percent-encoded, it still fits in a head.
pub const MAX_GRPC_MESSAGE: usize = 1 << 10;

/// Limit of the headers that a rule may set, in number and in total bytes of names and values.
pub const MAX_HEADERS: usize = 32;
/// See [`MAX_HEADERS`].
pub const MAX_HEADERS_SIZE: usize = 8 << 10;

/// Limit of the body that a rule may set, in bytes.
pub const MAX_BODY_TEXT: usize = 64 << 10;

/// Limit of the methods, headers and parameters (each) in a match.
pub const MAX_MATCHES: usize = 16;

/// Limit of the path, host, names and values of a match, in bytes.
pub const MAX_MATCH_TEXT: usize = 1024;

/// Parameters of a query at which matches look. Each rule reads them again, so a client could make that expensive.
pub(super) const MAX_QUERY_PARAMETERS: usize = 200;

/// Limit of the share of the container's memory limit in mode `memory`, in percent: enough to exceed it.
pub const MAX_SIZE_PERCENT: f64 = 200.0;
