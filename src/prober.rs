//! One attempt of a probe, as the kubelet makes it.
//!
//! Go's `net/http` decides what the kubelet takes for a failure and what for an error, so HTTP is spoken here by an
//! own, small client that follows it step by step, down to the texts that end up in events.

mod address;
mod body;
mod dial;
mod grpc;
mod head;
mod http;
mod quote;
mod url;

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

pub use address::{AddressError, Header, HeaderError, Probe};

/// The Kubernetes version whose kubelet is followed.
pub const KUBERNETES_VERSION: &str = "1.36";

/// The kubelet's `timeoutSeconds` unless given.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

/// Longest [`Outcome::message`], in bytes; what the server sent could be far longer.
pub const MAX_MESSAGE: usize = 1024;

/// What the kubelet makes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProbeResult {
    /// Counts as success.
    Success,
    /// Counts as success and leaves a `ProbeWarning` event: a redirect that was not followed.
    Warning,
    /// Counts as failure.
    Failure,
    /// Tried again at once, then thrown away: neither success nor failure.
    Error,
}

impl ProbeResult {
    /// All results, in the order of their [`index`](Self::index).
    pub const ALL: [Self; 4] = [Self::Success, Self::Warning, Self::Failure, Self::Error];

    /// The name in every output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Warning => "warning",
            Self::Failure => "failure",
            Self::Error => "error",
        }
    }

    /// Position in tables by result.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether a probe with this result counts as a success.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Success | Self::Warning)
    }
}

impl fmt::Display for ProbeResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How far an attempt came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It ended while the host's name was looked up.
    Resolve,
    /// It ended before the connection stood.
    Connect,
    /// It ended before the head of the answer was whole.
    Head,
    /// It ended on the way to another address.
    Redirect,
    /// It ended inside the body.
    Body,
    /// The answer came as far as it is read.
    Complete,
}

impl Phase {
    /// The name in every output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Head => "head",
            Self::Redirect => "redirect",
            Self::Body => "body",
            Self::Complete => "complete",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What the kubelet makes of it.
    pub result: ProbeResult,
    /// How far it came.
    pub phase: Phase,
    /// The status code of the last answer, if a head came; of gRPC the status code of the call.
    pub status: Option<u16>,
    /// From the beginning of the attempt to its end.
    pub duration: Duration,
    /// What the kubelet writes into its event after `Liveness probe failed:`; empty after a success. At most
    /// [`MAX_MESSAGE`] bytes.
    pub message: String,
}

impl Probe {
    /// Makes one attempt, of at most `timeout` in all.
    ///
    /// The kubelet repeats an attempt that ends with [`ProbeResult::Error`] up to twice at once; that is left to
    /// the caller.
    pub async fn attempt(&self, timeout: Duration) -> Outcome {
        let start = Instant::now();
        let ended = match self {
            Self::Http(get) => get.attempt(start + timeout).await,
            Self::Tcp(endpoint) => dial::attempt(endpoint, start + timeout).await,
            Self::Grpc(check) => check.attempt(start + timeout, timeout).await,
        };
        let duration = start.elapsed();
        let Ended { result, phase, status, mut message } = ended;
        if message.len() > MAX_MESSAGE {
            let mut end = MAX_MESSAGE - "…".len();
            while !message.is_char_boundary(end) {
                end -= 1;
            }
            message.truncate(end);
            message.push('…');
        }
        Outcome { result, phase, status, duration, message }
    }
}

/// An [`Outcome`] before its duration is known.
#[derive(Debug)]
struct Ended {
    result: ProbeResult,
    phase: Phase,
    status: Option<u16>,
    message: String,
}

impl Ended {
    fn failure(phase: Phase, message: String) -> Self {
        Self { result: ProbeResult::Failure, phase, status: None, message }
    }

    fn success(status: Option<u16>) -> Self {
        Self { result: ProbeResult::Success, phase: Phase::Complete, status, message: String::new() }
    }
}
