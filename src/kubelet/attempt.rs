//! What one attempt of a probe comes to.

use std::fmt;

use super::clock::Nanos;
use super::spec::Aim;
use crate::fault::{KUBELET_BODY_LIMIT, Mode, Partial};

/// What the kubelet saw, in the words of its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symptom {
    /// A whole answer with this status, 400 or above.
    Status(u16),
    /// A 3xx that is not followed.
    Redirected,
    /// Redirects without end.
    TooManyRedirects,
    /// No head before the timeout.
    HeadTimeout,
    /// No connection before the timeout.
    ConnectTimeout,
    /// Nothing listens.
    Refused,
    /// FIN before the head.
    Closed,
    /// RST before the head.
    Reset,
    /// Bytes that are not HTTP.
    Garbage,
    /// The timeout within the body.
    BodyTimeout,
    /// FIN within the body.
    BodyCutShort,
    /// RST within the body.
    BodyReset,
    /// An invalid chunk.
    BodyMalformed,
}

impl fmt::Display for Symptom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Status(status) => return write!(f, "HTTP probe failed with statuscode: {status}"),
            Self::Redirected => "Probe terminated redirects",
            Self::TooManyRedirects => "stopped after 10 redirects",
            Self::HeadTimeout => "context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
            Self::ConnectTimeout => "dial tcp: i/o timeout",
            Self::Refused => "dial tcp: connect: connection refused",
            Self::Closed => "EOF",
            Self::Reset | Self::BodyReset => "read tcp: read: connection reset by peer",
            Self::Garbage => "net/http: HTTP/1.x transport connection broken: malformed HTTP response",
            Self::BodyTimeout => {
                "context deadline exceeded (Client.Timeout or context cancellation while reading body)"
            }
            Self::BodyCutShort => "unexpected EOF",
            Self::BodyMalformed => "invalid byte in chunk length",
        })
    }
}

/// The end of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    /// Counts as success, and leaves an event.
    Warning(Symptom),
    Failure(Symptom),
    /// Neither; tried again, then thrown away.
    Error(Symptom),
    /// Another request of the same attempt follows.
    Redirect(Aim),
}

impl Outcome {
    pub(super) const fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Success,
            300..=399 => Self::Warning(Symptom::Redirected),
            _ => Self::Failure(Symptom::Status(status)),
        }
    }
}

/// When a request ends, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply {
    pub(super) at: Nanos,
    pub(super) outcome: Outcome,
}

/// The end of a request whose fault strikes at `head` and that is given up at `deadline`, later than `head`.
/// `followed` is where a redirect leads, if it stays on the host.
pub(super) fn faulted(mode: &Mode, head: Nanos, deadline: Nanos, followed: Option<Aim>) -> Reply {
    let at_once = |outcome| Reply { at: head, outcome };
    let body = |partial: &Partial, symptom| {
        // The kubelet has read enough before the fault strikes.
        let enough = partial.body >= KUBELET_BODY_LIMIT;
        at_once(if enough { Outcome::of_status(partial.status) } else { Outcome::Error(symptom) })
    };
    match mode {
        Mode::Status(status) => at_once(Outcome::of_status(*status)),
        Mode::Redirect(_) => {
            at_once(followed.map_or(Outcome::Warning(Symptom::Redirected), Outcome::Redirect))
        }
        Mode::Hang => Reply { at: deadline, outcome: Outcome::Failure(Symptom::HeadTimeout) },
        Mode::Close => at_once(Outcome::Failure(Symptom::Closed)),
        Mode::Reset => at_once(Outcome::Failure(Symptom::Reset)),
        Mode::Garbage => at_once(Outcome::Failure(Symptom::Garbage)),
        Mode::Truncate(partial) => body(partial, Symptom::BodyCutShort),
        Mode::BodyReset(partial) => body(partial, Symptom::BodyReset),
        Mode::Malformed(partial) => body(partial, Symptom::BodyMalformed),
        Mode::BodyHang(partial) => {
            let reply = body(partial, Symptom::BodyTimeout);
            if matches!(reply.outcome, Outcome::Error(_)) { Reply { at: deadline, ..reply } } else { reply }
        }
        Mode::Drip { partial, over } => {
            let share = (KUBELET_BODY_LIMIT as f64 / partial.body.max(1) as f64).min(1.0);
            let end = head.saturating_add((over.as_nanos() as f64 * share) as Nanos);
            if end < deadline {
                Reply { at: end, outcome: Outcome::of_status(partial.status) }
            } else {
                Reply { at: deadline, outcome: Outcome::Error(Symptom::BodyTimeout) }
            }
        }
    }
}
