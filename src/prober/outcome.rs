//! The results of an attempt.

use std::fmt;
use std::time::Duration;

use crate::text::prefix;

/// Limit of [`Outcome::message`], in bytes: a server can send far more.
pub const MAX_MESSAGE: usize = 1024;

/// The result of an attempt for the kubelet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProbeResult {
    /// Counts as success.
    Success,
    /// Counts as success and leaves a `ProbeWarning` event: a redirect that was not followed.
    Warning,
    /// Counts as failure.
    Failure,
    /// Repeated at once, then discarded: neither success nor failure.
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

    /// The position in arrays by result.
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

/// The part of an attempt in which it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The lookup of the host's name.
    Resolve,
    /// Connecting.
    Connect,
    /// The TLS handshake.
    Handshake,
    /// Waiting for the complete head of the response.
    Head,
    /// Following a redirect.
    Redirect,
    /// Reading the body.
    Body,
    /// The response was read as far as a prober needs it.
    Complete,
}

impl Phase {
    /// The name in every output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Handshake => "handshake",
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

/// The outcome of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The result for the kubelet.
    pub result: ProbeResult,
    /// The phase in which it ended.
    pub phase: Phase,
    /// The status code of the last response, if its head was received; for gRPC, the status code of the call.
    pub status: Option<u16>,
    /// The duration of the attempt.
    pub duration: Duration,
    /// The kubelet's message after `Liveness probe failed:`; empty after a success. At most
    /// [`MAX_MESSAGE`] bytes.
    pub message: String,
}

/// The end of an attempt whose duration is not known yet.
#[derive(Debug)]
pub(super) struct AttemptEnd {
    pub(super) result: ProbeResult,
    pub(super) phase: Phase,
    pub(super) status: Option<u16>,
    pub(super) message: String,
}

impl AttemptEnd {
    pub(super) fn failure(phase: Phase, message: String) -> Self {
        Self { result: ProbeResult::Failure, phase, status: None, message }
    }

    pub(super) fn success(status: Option<u16>) -> Self {
        Self { result: ProbeResult::Success, phase: Phase::Complete, status, message: String::new() }
    }

    /// Adds the duration, and truncates a long message.
    pub(super) fn after(self, duration: Duration) -> Outcome {
        let Self { result, phase, status, mut message } = self;
        if message.len() > MAX_MESSAGE {
            message.truncate(prefix(&message, MAX_MESSAGE - "…".len()).len());
            message.push('…');
        }
        Outcome { result, phase, status, duration, message }
    }
}
