//! Bounds of what a rule may ask for.

use std::time::Duration;

/// The most rules a plan may have: each is a set of metric series.
pub const MAX_RULES: usize = 1_000;

/// The longest delay; what a distribution draws above it is cut to it.
pub const MAX_DELAY: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The largest body that a body fault sends before it strikes, in bytes.
pub const MAX_BODY: u64 = 64 << 20;

/// The longest mean run of a [`Burst`](super::Burst); it bounds how far a decision reads back on average.
pub const MAX_BURST: f64 = 100.0;

/// The shortest `for`, `every` and `ramp`: no probe sees a shorter window, and following one costs a whole core.
pub const MIN_WINDOW: Duration = Duration::from_millis(10);

/// The most proxies at a time: each is a listener and a set of counters, and with the classes of requests they fit 64 bits.
pub const MAX_PROXIES: usize = 58;

/// The fastest throttled body, in bytes per second.
pub const MAX_SPEED: u64 = 1 << 30;

/// The longest message of a gRPC status, in bytes: percent-encoded, it still fits a head.
pub const MAX_GRPC_MESSAGE: usize = 1 << 10;

/// The most fields that a faulted answer may be given, and the most bytes of all their names and values.
pub const MAX_HEADERS: usize = 32;
/// See [`MAX_HEADERS`].
pub const MAX_HEADERS_SIZE: usize = 8 << 10;

/// The longest body that a faulted answer may be given, in bytes.
pub const MAX_BODY_TEXT: usize = 64 << 10;

/// The most methods, headers and parameters, each, that one match may name.
pub const MAX_MATCHES: usize = 16;

/// The longest path, host, name and value of a match, in bytes.
pub const MAX_MATCH_TEXT: usize = 1024;
