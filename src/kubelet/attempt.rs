//! The result of one attempt of a probe.

use super::clock::Nanos;
use super::spec::{Address, Endpoint, Handler, PodSpec};
use crate::fault::{KUBELET_BODY_LIMIT, Mode, Partial};

/// What went wrong with an attempt.
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
    /// Bytes that are not HTTP: the ones that the mode `garbage` sends.
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

impl Symptom {
    /// The message of the kubelet's event for a probe that asks with `handler` at `address`.
    pub(super) fn message(self, handler: Handler, address: &Address) -> String {
        match handler {
            // Its own client prints the result, the phase and the status before the message.
            Handler::Exec { endpoint, .. } => {
                let cause = self.cause(&address.authority());
                let (result, phase, status) = match self {
                    Self::Status(status) => ("failure", "complete", status.to_string()),
                    Self::Redirected => ("warning", "complete", "302".to_owned()),
                    Self::TooManyRedirects => ("failure", "redirect", "302".to_owned()),
                    Self::ConnectTimeout | Self::Refused => ("failure", "connect", "-".to_owned()),
                    _ if self.within_body() => ("error", "body", "-".to_owned()),
                    _ => ("failure", "head", "-".to_owned()),
                };
                let url = format!("Get \"{}\": ", address.url(endpoint));
                let url = if self.names_the_url() { url.as_str() } else { "" };
                format!("{result} {phase} {status} {url}{cause}")
            }
            Handler::Http { endpoint, .. } if self.names_the_url() => {
                format!("Get \"{}\": {}", address.url(endpoint), self.cause(&address.authority()))
            }
            _ => self.cause(&address.authority()),
        }
    }

    /// Whether Go's client puts the URL before the cause: it does until it has the head of an answer.
    const fn names_the_url(self) -> bool {
        !matches!(self, Self::Status(_) | Self::Redirected) && !self.within_body()
    }

    const fn within_body(self) -> bool {
        matches!(self, Self::BodyTimeout | Self::BodyCutShort | Self::BodyReset | Self::BodyMalformed)
    }

    fn cause(self, authority: &str) -> String {
        match self {
            Self::Status(status) => return format!("HTTP probe failed with statuscode: {status}"),
            Self::ConnectTimeout => return format!("dial tcp {authority}: i/o timeout"),
            Self::Refused => return format!("dial tcp {authority}: connect: connection refused"),
            Self::Reset | Self::BodyReset => {
                // The port of the kubelet's end is another one each time.
                return format!(
                    "read tcp {}->{authority}: read: connection reset by peer",
                    PodSpec::NODE_END
                );
            }
            Self::Redirected => "Probe terminated redirects, Response body: ",
            Self::TooManyRedirects => "stopped after 10 redirects",
            Self::HeadTimeout => "context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
            Self::Closed => "EOF",
            Self::Garbage => {
                "net/http: HTTP/1.x transport connection broken: malformed HTTP status code \"this\""
            }
            Self::BodyTimeout => {
                "context deadline exceeded (Client.Timeout or context cancellation while reading body)"
            }
            Self::BodyCutShort => "unexpected EOF",
            Self::BodyMalformed => "invalid byte in chunk length",
        }
        .to_owned()
    }

    /// Whether the text of the event is the same each time, so that the API server counts repetitions in one event.
    pub(super) const fn repeats(self) -> bool {
        !matches!(self, Self::Reset | Self::BodyReset)
    }
}

/// The end of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttemptResult {
    Success,
    /// Counts as success, and leaves an event.
    Warning(Symptom),
    Failure(Symptom),
    /// Neither; tried again, then thrown away.
    Error(Symptom),
    /// Another request of the same attempt follows.
    Redirect(Endpoint),
}

impl AttemptResult {
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
    pub(super) outcome: AttemptResult,
}

/// The end of a request whose fault strikes at `head` and that is given up at `deadline`, later than `head`.
/// `followed` is where a redirect leads, if it stays on the host.
pub(super) fn faulted(mode: &Mode, head: Nanos, deadline: Nanos, followed: Option<Endpoint>) -> Reply {
    let at_once = |outcome| Reply { at: head, outcome };
    let body = |partial: &Partial, symptom| {
        // The kubelet stops reading before the fault strikes. Its client reads a chunk's header ahead, so that an
        // invalid one right at the limit is still an error (in 34 of 40 attempts on a cluster).
        let least =
            if symptom == Symptom::BodyMalformed { KUBELET_BODY_LIMIT + 1 } else { KUBELET_BODY_LIMIT };
        let enough = partial.body >= least;
        at_once(if enough { AttemptResult::of_status(partial.status) } else { AttemptResult::Error(symptom) })
    };
    match mode {
        Mode::Status(status) => at_once(AttemptResult::of_status(*status)),
        Mode::Redirect(_) => {
            at_once(followed.map_or(AttemptResult::Warning(Symptom::Redirected), AttemptResult::Redirect))
        }
        Mode::Hang => Reply { at: deadline, outcome: AttemptResult::Failure(Symptom::HeadTimeout) },
        Mode::Close => at_once(AttemptResult::Failure(Symptom::Closed)),
        Mode::Reset => at_once(AttemptResult::Failure(Symptom::Reset)),
        Mode::Garbage => at_once(AttemptResult::Failure(Symptom::Garbage)),
        Mode::Truncate(partial) => body(partial, Symptom::BodyCutShort),
        Mode::BodyReset(partial) => body(partial, Symptom::BodyReset),
        Mode::Malformed(partial) => body(partial, Symptom::BodyMalformed),
        Mode::BodyHang(partial) => {
            let reply = body(partial, Symptom::BodyTimeout);
            if matches!(reply.outcome, AttemptResult::Error(_)) {
                Reply { at: deadline, ..reply }
            } else {
                reply
            }
        }
        Mode::Drip { partial, over } => {
            let share = (KUBELET_BODY_LIMIT as f64 / partial.body.max(1) as f64).min(1.0);
            let end = head.saturating_add((over.as_nanos() as f64 * share) as Nanos);
            if end < deadline {
                Reply { at: end, outcome: AttemptResult::of_status(partial.status) }
            } else {
                Reply { at: deadline, outcome: AttemptResult::Error(Symptom::BodyTimeout) }
            }
        }
    }
}
