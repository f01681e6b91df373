//! Errors of rules and plans. Each message says what would be right.

use std::time::Duration;

use thiserror::Error;

use super::limits::{
    MAX_BODY, MAX_BODY_TEXT, MAX_BURST, MAX_DELAY, MAX_GRPC_MESSAGE, MAX_HEADERS, MAX_HEADERS_SIZE,
    MAX_MATCH_TEXT, MAX_MATCHES, MAX_SIZE_PERCENT, MAX_SPEED, MIN_WINDOW,
};

/// An error of a condition.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum TriggerError {
    /// `every` without `for`.
    #[error("`every` needs a `for`, the length of each window")]
    EveryWithoutFor,
    /// `for` is not below `every`.
    #[error("`for` ({length}) must be shorter than `every` ({period})")]
    ForNotBelowEvery {
        /// Length of the window.
        length: String,
        /// Period of the window.
        period: String,
    },
    /// A duration or a count of zero.
    #[error("`{0}` must be more than 0; omit it to disable it")]
    Zero(&'static str),
    /// A `for`, `every` or `ramp` below [`MIN_WINDOW`].
    #[error("`{field}` ({value:?}) must be at least {MIN_WINDOW:?}")]
    TooShort {
        /// Name of the field.
        field: &'static str,
        /// Value of the field.
        value: Duration,
    },
    /// A share outside 0 % to 100 %.
    #[error("a rate of {0}% is not between 0% and 100%")]
    Rate(f64),
    /// A burst shorter than its rate allows.
    #[error(
        "a burst of {burst} is too short for a rate of {percent}%: {minimum} is the minimum, with independent draws"
    )]
    BurstTooShort {
        /// Mean run that was requested.
        burst: f64,
        /// Rate in percent.
        percent: f64,
        /// Shortest mean run that is accepted at that rate, to three decimals.
        minimum: f64,
    },
    /// A burst above [`MAX_BURST`], or not a number.
    #[error("a burst of {0} is not between 1 and {MAX_BURST}")]
    BurstOutOfRange(f64),
    /// A burst at a rate, in percent, whose mean runs exceed [`MAX_BURST`] anyway.
    #[error("a burst needs a rate of at most {highest}%, not {0}%", highest = 100.0 - 100.0 / MAX_BURST)]
    BurstAtHighRate(f64),
    /// An `until` that is not after `start`.
    #[error("`until` must be after `start`")]
    UntilBeforeStart,
}

impl TriggerError {
    /// The field of a window (`for` or `every`) that is invalid by itself.
    pub const fn window_field(&self) -> Option<&'static str> {
        match self {
            Self::Zero(field) | Self::TooShort { field, .. } => Some(field),
            _ => None,
        }
    }
}

/// An error of a delay.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum DelayError {
    /// A duration that must be above zero is not.
    #[error("`{0}` must be more than 0")]
    Zero(&'static str),
    /// A duration above [`MAX_DELAY`].
    #[error("a delay of {0:?} is above the limit of {MAX_DELAY:?}")]
    TooLong(Duration),
    /// A log-normal 99th percentile below the median.
    #[error("`p99` must not be below `median`")]
    P99BelowMedian,
    /// A table without an entry.
    #[error("a table of percentiles needs at least one, such as `p50: 20ms`")]
    NoPercentile,
    /// A percentile outside 0 to 100.
    #[error("`p{0}` is not a percentile between p0 and p100")]
    Percentile(f64),
    /// A duplicate percentile.
    #[error("`p{0}` is given twice")]
    PercentileTwice(f64),
    /// A higher percentile with a shorter delay.
    #[error("`p{higher}` must not be below `p{lower}`")]
    NotRising {
        /// Lower percentile.
        lower: f64,
        /// Higher percentile, with the shorter delay.
        higher: f64,
    },
}

/// An error of a match.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MatchError {
    /// Not a valid path.
    #[error(
        "is not a path such as /orders, or /orders/* for everything below it, in printable ASCII without ?, # and spaces"
    )]
    Path,
    /// Not a method.
    #[error("is not a method such as GET")]
    Method,
    /// Not a host.
    #[error("is not a host such as shop.example or shop.example:8080")]
    Host,
    /// Not the name of a header.
    #[error("is not a header name such as X-Tenant")]
    HeaderName,
    /// Not a valid header value.
    #[error("is not a header value: control characters and surrounding spaces are not allowed")]
    HeaderValue,
    /// A parameter without a name.
    #[error("a query parameter needs a name")]
    ParameterName,
    /// A duplicate name.
    #[error("{0} is given twice")]
    Twice(String),
    /// More entries than [`MAX_MATCHES`].
    #[error("more than {MAX_MATCHES} entries")]
    TooMany,
    /// A text above [`MAX_MATCH_TEXT`].
    #[error("{0} bytes are more than the {MAX_MATCH_TEXT} allowed")]
    TooLong(usize),
    /// An empty match.
    #[error("`match` is empty: set a `path`, `method`, `host`, `headers` or `query`, or omit it")]
    Nothing,
    /// A match on a rule that does not act on requests.
    #[error("`match` does not go with target {0}, which has no requests")]
    NoRequests(String),
}

/// An error of a rule.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum RuleError {
    /// Not a DNS label.
    #[error(
        "the name {0:?} is not a DNS label: 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit"
    )]
    Name(String),
    /// A reserved name.
    #[error("the name {0} is reserved; a proxy needs another one")]
    ReservedName(String),
    /// No target.
    #[error("`target` is empty; name at least one")]
    NoTarget,
    /// Neither a mode nor a delay.
    #[error("the rule has no effect: set a `mode`, a `delay` or both")]
    Nothing,
    /// Inconsistent conditions.
    #[error(transparent)]
    Trigger(#[from] TriggerError),
    /// An invalid match.
    #[error(transparent)]
    Match(#[from] MatchError),
    /// A request condition on a rule for the listener.
    #[error("`{0}` does not go with target listener; only time conditions apply (`after`, `for`, `every`)")]
    ListenerCondition(&'static str),
    /// A status outside 200 to 599.
    #[error("status {0} is not between 200 and 599")]
    Status(u16),
    /// A body fault with a status that has no body.
    #[error("mode {mode} needs a body, which an answer with status {status} cannot have")]
    NoBody {
        /// Name of the mode.
        mode: &'static str,
        /// Status code.
        status: u16,
    },
    /// More bytes than [`MAX_BODY`].
    #[error("a body of {0} bytes is above the limit of {MAX_BODY}")]
    Body(u64),
    /// A drip time of zero, or above the limit.
    #[error("`drip` ({0:?}) must be more than 0 and at most {MAX_DELAY:?}")]
    Drip(Duration),
    /// A speed of zero, or above [`MAX_SPEED`].
    #[error("a speed of {0} bytes per second is not between 1 and {MAX_SPEED}")]
    Speed(u64),
    /// A share of zero.
    #[error("`share` must be more than 0%")]
    Share,
    /// A gRPC message above [`MAX_GRPC_MESSAGE`].
    #[error("a message of {0} bytes is above the limit of {MAX_GRPC_MESSAGE}")]
    GrpcMessage(usize),
    /// A field that the mode does not have.
    #[error("`{field}` does not go with mode {mode}")]
    FieldOfMode {
        /// Name of the field.
        field: &'static str,
        /// Name of the mode.
        mode: &'static str,
    },
    /// A field that only rules on TCP proxies have.
    #[error("applies to TCP proxies, but this rule acts on HTTP requests")]
    OnlyOnTcp(&'static str),
    /// A field that rules on TCP proxies do not have.
    #[error(
        "applies to HTTP requests, but this rule acts on a TCP proxy, which sees only connections and bytes{hint}"
    )]
    NotOnTcp {
        /// Name of the field.
        field: &'static str,
        /// What would be right, after a semicolon; may be empty.
        hint: String,
    },
    /// A connection time above the limit.
    #[error("a time of {0:?} is above the limit of {MAX_DELAY:?}")]
    ConnectionTime(Duration),
    /// A piece that could be empty.
    #[error("`piece` must be at least one byte, and `piece_jitter` must be below `piece`")]
    Piece,
    /// A field of a mode on a rule without a mode.
    #[error("`{0}` needs a `mode` that has this field; a rule with only a delay always forwards")]
    FieldWithoutMode(&'static str),
    /// More headers than [`MAX_HEADERS`].
    #[error("{0} headers are more than the {MAX_HEADERS} allowed")]
    Headers(usize),
    /// Headers larger than [`MAX_HEADERS_SIZE`].
    #[error("headers of {0} bytes in all are above the limit of {MAX_HEADERS_SIZE}")]
    HeadersSize(usize),
    /// Not a header name.
    #[error("{0:?} is not a header name: letters, digits and -_.!#$%&'*+^`|~")]
    HeaderName(String),
    /// A header that only a mode may set.
    #[error("the header {name:?} {why}")]
    HeaderReserved {
        /// Name of the header.
        name: String,
        /// Its purpose.
        why: &'static str,
    },
    /// Not a header value.
    #[error("the value of header {0:?} is not printable ASCII without surrounding space")]
    HeaderValue(String),
    /// A body above [`MAX_BODY_TEXT`].
    #[error("a body of {0} bytes is above the limit of {MAX_BODY_TEXT} of `body_text`")]
    BodyText(usize),
    /// An empty body for a mode that acts on the body.
    #[error("mode {0} needs a body: `body_text` is empty")]
    EmptyBodyText(&'static str),
    /// A body with a status that has none.
    #[error("`body_text` does not go with status {0}, which has no body")]
    BodyTextStatus(u16),
    /// A location that is not a valid header value.
    #[error("the location {0:?} is not a URL of printable ASCII characters")]
    Location(String),
    /// A share of the replicas, or a stagger, without an identity for replicas.
    #[error(
        "`{0}` needs a configured seed (`SEED`, or `seed` in a plan) and POD_NAME, so that the replicas agree on the selection"
    )]
    NoReplica(&'static str),
    /// A client class on a rule for handshakes.
    #[error(
        "`client` does not go with faults of the TLS handshake, which comes before any request; use `from`"
    )]
    HandshakeClient,
    /// A window in requests on a rule for handshakes.
    #[error(
        "`requests` does not go with faults of the TLS handshake, which comes before any request; use `rate` or a window in time"
    )]
    HandshakeRequests,
    /// A rule for handshakes on a listener without TLS.
    #[error("{0} needs TLS on the probe listener: TLS_CERT_FILE and TLS_KEY_FILE, or TLS=self-signed")]
    HandshakeWithoutTls(&'static str),
    /// A client class on a process rule.
    #[error("`client` does not go with target process, which has no clients")]
    ProcessClient,
    /// A condition that process rules do not have.
    #[error("`{field}` does not go with {with}")]
    ProcessCondition {
        /// Name of the field.
        field: &'static str,
        /// What it is incompatible with.
        with: &'static str,
    },
    /// A size of zero.
    #[error("a size of 0 has no effect")]
    NoSize,
    /// A share of the memory limit out of range.
    #[error("a size of {0}% is not above 0% and at most {MAX_SIZE_PERCENT}% of the container's memory limit")]
    SizePercent(f64),
    /// A number of cores out of range.
    #[error("{0} is not a number of cores from 0.01 to 1024, such as 0.5")]
    Cores(f64),
    /// A SIGTERM delay of zero, or above the limit.
    #[error("`delay` ({0:?}) must be more than 0 and at most {MAX_DELAY:?}")]
    TermDelay(Duration),
    /// Not an absolute path without `.` and `..`.
    #[error("{0:?} is not an absolute path without . and .. such as /scratch")]
    Path(String),
    /// Start conditions without a counter of starts.
    #[error("needs STATE_DIR: without it, every start counts as the first")]
    StartsWithoutState,
    /// A draw per start that always has the same result.
    #[error("a rate below 100% with a seed needs STATE_DIR: without it, every start draws the same")]
    RateWithoutState,
    /// A share of a limit that does not exist.
    #[error(
        "a size in percent needs a memory limit of the container (resources.limits.memory), or `allow_node_pressure: true` in the rule, to take a share of the node's memory"
    )]
    PercentWithoutLimit,
    /// More memory than allowed without a limit.
    #[error(
        "{0} bytes: more than 256MiB needs a memory limit of the container (resources.limits.memory), or `allow_node_pressure: true` in the rule"
    )]
    MemoryWithoutLimit(u64),
    /// More memory than the machine has.
    #[error("{size} bytes are more than the {most} that the machine has")]
    MemoryAboveMachine {
        /// Requested bytes.
        size: u64,
        /// Available bytes.
        most: u64,
    },
    /// More CPU time than allowed without a limit.
    #[error(
        "{0} cores: more than one needs a CPU limit of the container (resources.limits.cpu), or `allow_node_pressure: true` in the rule"
    )]
    CoresWithoutLimit(f64),
    /// More cores than available.
    #[error("{cores} cores are more than the {most} that the container may run on")]
    CoresAboveMachine {
        /// Requested cores.
        cores: f64,
        /// Available cores.
        most: f64,
    },
    /// Ordinals in a Pod without one.
    #[error("ordinals in `pods` need a POD_NAME with an ordinal, like that of a StatefulSet's Pod: web-0")]
    NoOrdinal,
}
