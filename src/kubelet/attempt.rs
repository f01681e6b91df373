//! The result of one attempt of a probe.

use super::clock::Nanos;
use super::spec::{PodSpec, ProbeAddress, ProbeEndpoint, ProbeHandler, Transport};
use crate::fault::{GrpcStatus, KUBELET_BODY_LIMIT, Mode, Partial, Rule, TlsAlert};

/// Why an attempt of a probe failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symptom {
    /// A complete answer with this status, 400 or above.
    Status(u16),
    /// A redirect that is not followed.
    Redirected,
    /// Too many redirects.
    TooManyRedirects,
    /// No head before the timeout.
    HeadTimeout,
    /// No connection before the timeout.
    ConnectTimeout,
    /// Connection refused.
    Refused,
    /// FIN before the head.
    Closed,
    /// RST before the head.
    Reset,
    /// An alert instead of the TLS handshake.
    TlsAlert(TlsAlert),
    /// Bytes that are not HTTP: the ones that the mode `garbage` sends.
    Garbage,
    /// The timeout, within the body of an answer with this status.
    BodyTimeout(u16),
    /// FIN within the body of an answer with this status.
    BodyCutShort(u16),
    /// RST within the body of an answer with this status.
    BodyReset(u16),
    /// An invalid chunk in the body of an answer with this status.
    BodyMalformed(u16),
    /// An invalid message of the health service.
    Corrupt,
    /// A gRPC status instead of an answer of the health service.
    Rpc(GrpcStatus),
}

impl Symptom {
    /// The message of the kubelet's event for a probe with `handler` at `address`.
    pub(super) fn message(self, handler: ProbeHandler, address: &ProbeAddress) -> String {
        match handler {
            // `probe` prints the result, the phase and the status before the message, and leaves out its own port.
            ProbeHandler::Exec { endpoint, .. } => {
                let authority = address.authority();
                let cause = self.cause(&authority).replace(&between(&authority), &authority);
                let (result, phase, status) = match self {
                    Self::Status(status) => ("failure", "complete", status.to_string()),
                    Self::Redirected => ("warning", "complete", "302".to_owned()),
                    Self::TooManyRedirects => ("failure", "redirect", "302".to_owned()),
                    Self::ConnectTimeout | Self::Refused => ("failure", "connect", "-".to_owned()),
                    Self::BodyTimeout(status)
                    | Self::BodyCutShort(status)
                    | Self::BodyReset(status)
                    | Self::BodyMalformed(status) => ("error", "body", status.to_string()),
                    _ => ("failure", "head", "-".to_owned()),
                };
                if self.names_the_url() {
                    let url = self.url(endpoint, address);
                    format!("{result} {phase} {status} Get \"{url}\": {cause}")
                } else {
                    format!("{result} {phase} {status} {cause}")
                }
            }
            ProbeHandler::Assumed { transport: Transport::Grpc, .. } => match self {
                Self::HeadTimeout | Self::ConnectTimeout | Self::BodyTimeout(_) => {
                    "timeout: health rpc did not complete within the timeout".to_owned()
                }
                Self::Refused => {
                    let authority = address.authority();
                    format!(
                        "timeout: failed to connect service \"{authority}\" within the timeout: context deadline exceeded"
                    )
                }
                Self::Status(_) => "service unhealthy (responded with \"NOT_SERVING\")".to_owned(),
                _ => format!("error: health rpc probe failed: rpc error: code = {}", self.rpc_error()),
            },
            ProbeHandler::Assumed { transport: Transport::Exec, .. } => match self {
                Self::HeadTimeout | Self::ConnectTimeout | Self::BodyTimeout(_) => {
                    "command timed out".to_owned()
                }
                _ => "(the command's output)".to_owned(),
            },
            ProbeHandler::Http { endpoint, .. } if self.names_the_url() => {
                format!("Get \"{}\": {}", self.url(endpoint, address), self.cause(&address.authority()))
            }
            _ => self.cause(&address.authority()),
        }
    }

    /// The code and the description that grpc-go gives to a call that ends without an answer of the service.
    fn rpc_error(self) -> String {
        let text = match self {
            Self::Closed => "Canceled desc = stream terminated by RST_STREAM with error code: CANCEL",
            Self::Reset | Self::BodyReset(_) => {
                "Internal desc = stream terminated by RST_STREAM with error code: INTERNAL_ERROR"
            }
            Self::BodyCutShort(_) => "Internal desc = unexpected EOF",
            Self::Corrupt => {
                "Internal desc = grpc: failed to unmarshal the received message: proto: cannot parse invalid wire-format data"
            }
            Self::Redirected => {
                "Unknown desc = unexpected HTTP status code received from server: 302 (Found)"
            }
            Self::Rpc(status) => return status.to_string(),
            _ => "Unavailable desc = connection error: PROTOCOL_ERROR",
        };
        text.to_owned()
    }

    /// Whether Go's client puts the URL before the cause: until it has the head of an answer.
    const fn names_the_url(self) -> bool {
        !matches!(self, Self::Status(_) | Self::Redirected) && !self.within_body()
    }

    /// The URL in the message. After redirects it is the given `Location`, here that of an endless redirect to the
    /// same path.
    fn url(self, endpoint: ProbeEndpoint, address: &ProbeAddress) -> String {
        if self == Self::TooManyRedirects { address.path(endpoint) } else { address.url(endpoint) }
    }

    /// The status of the answer, if it is not 200.
    pub(super) const fn status(self) -> u16 {
        match self {
            Self::Status(status)
            | Self::BodyTimeout(status)
            | Self::BodyCutShort(status)
            | Self::BodyReset(status)
            | Self::BodyMalformed(status) => status,
            _ => 200,
        }
    }

    const fn within_body(self) -> bool {
        matches!(
            self,
            Self::BodyTimeout(_) | Self::BodyCutShort(_) | Self::BodyReset(_) | Self::BodyMalformed(_)
        )
    }

    fn cause(self, authority: &str) -> String {
        match self {
            Self::Status(status) => return format!("HTTP probe failed with statuscode: {status}"),
            Self::ConnectTimeout => return format!("dial tcp {authority}: i/o timeout"),
            Self::Refused => return format!("dial tcp {authority}: connect: connection refused"),
            Self::Reset | Self::BodyReset(_) => {
                return format!("read tcp {}: read: connection reset by peer", between(authority));
            }
            // Go's messages for common alerts.
            Self::TlsAlert(alert) => {
                return format!("remote error: tls: {}", alert.to_string().replace('_', " "));
            }
            Self::Redirected => "Probe terminated redirects, Response body: ",
            Self::TooManyRedirects => "stopped after 10 redirects",
            Self::HeadTimeout => "context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
            Self::Closed => "EOF",
            Self::Garbage => {
                "net/http: HTTP/1.x transport connection broken: malformed HTTP status code \"this\""
            }
            Self::BodyTimeout(_) => {
                "context deadline exceeded (Client.Timeout or context cancellation while reading body)"
            }
            Self::BodyCutShort(_) => "unexpected EOF",
            Self::BodyMalformed(_) => "invalid byte in chunk length",
            // HTTP probes have neither.
            Self::Corrupt | Self::Rpc(_) => "",
        }
        .to_owned()
    }

    /// Whether the event text is always the same, so that the API server counts repetitions in one event.
    pub(super) const fn repeats(self) -> bool {
        !matches!(self, Self::Reset | Self::BodyReset(_))
    }
}

/// Both ends of a connection, as in Go's errors. The port of the kubelet's end differs each time.
fn between(authority: &str) -> String {
    format!("{}->{authority}", PodSpec::NODE_END)
}

/// The result of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttemptResult {
    Success,
    /// Counts as success, but records an event.
    Warning(Symptom),
    Failure(Symptom),
    /// Neither; retried, then discarded.
    Error(Symptom),
    /// Another request of the same attempt follows.
    Redirect(ProbeEndpoint),
}

impl AttemptResult {
    pub(super) const fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Success,
            300..=399 => Self::Warning(Symptom::Redirected),
            _ => Self::Failure(Symptom::Status(status)),
        }
    }

    /// The status of an answer with this result.
    pub(super) const fn status(self) -> u16 {
        match self {
            Self::Success => 200,
            Self::Warning(_) | Self::Redirect(_) => 302,
            Self::Failure(symptom) | Self::Error(symptom) => symptom.status(),
        }
    }
}

/// When a request ends, and its result.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProbeReply {
    pub(super) at: Nanos,
    pub(super) outcome: AttemptResult,
}

/// Body size of our default answer to a probe: `ok`.
const OWN_BODY: u64 = 2;

/// The timing of an answer without a fault.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ordinary {
    /// When its head arrives.
    pub(super) head: Nanos,
    /// When the client gives up, later than `head`.
    pub(super) deadline: Nanos,
    /// Its status.
    pub(super) status: u16,
    /// Whether an application answers. Its body is assumed to be short, so that faults act within it.
    pub(super) is_real: bool,
}

/// The result of a request that gets the mode of `rule`. `followed` is the target of a redirect that stays on the
/// host.
pub(super) fn faulted(
    rule: &Rule,
    mode: &Mode,
    ordinary: Ordinary,
    followed: Option<ProbeEndpoint>,
) -> ProbeReply {
    let Ordinary { head, deadline, is_real, .. } = ordinary;
    let at_once = |outcome| ProbeReply { at: head, outcome };
    let status_of = |partial: &Partial| {
        partial.status.unwrap_or(if is_real { ordinary.status } else { partial.own_status() })
    };
    let whole = |status: Option<u16>| AttemptResult::of_status(status.unwrap_or(ordinary.status));
    let body = |partial: &Partial, symptom: fn(u16) -> Symptom| {
        let status = status_of(partial);
        let symptom = symptom(status);
        // The kubelet stops reading before the fault. Its client reads a chunk header ahead, so that an invalid one
        // exactly at the limit is still an error (in 34 of 40 attempts on a cluster).
        let least = if matches!(symptom, Symptom::BodyMalformed(_)) {
            KUBELET_BODY_LIMIT + 1
        } else {
            KUBELET_BODY_LIMIT
        };
        let enough = !is_real && rule.strikes_after(*partial) >= least;
        at_once(if enough { AttemptResult::of_status(status) } else { AttemptResult::Error(symptom) })
    };
    // A body whose last byte, or the last one that the kubelet reads, arrives this long after the head.
    let slow = |takes: f64, status: u16| {
        let end = head.saturating_add(takes as Nanos);
        if end < deadline {
            ProbeReply { at: end, outcome: AttemptResult::of_status(status) }
        } else {
            ProbeReply { at: deadline, outcome: AttemptResult::Error(Symptom::BodyTimeout(status)) }
        }
    };
    match mode {
        Mode::Status(status) => at_once(AttemptResult::of_status(*status)),
        Mode::Redirect(_) => {
            at_once(followed.map_or(AttemptResult::Warning(Symptom::Redirected), AttemptResult::Redirect))
        }
        Mode::Hang => ProbeReply { at: deadline, outcome: AttemptResult::Failure(Symptom::HeadTimeout) },
        Mode::Close => at_once(AttemptResult::Failure(Symptom::Closed)),
        Mode::Reset => at_once(AttemptResult::Failure(Symptom::Reset)),
        Mode::Garbage => at_once(AttemptResult::Failure(Symptom::Garbage)),
        Mode::Truncate(partial) => body(partial, Symptom::BodyCutShort),
        Mode::BodyReset(partial) => body(partial, Symptom::BodyReset),
        Mode::Malformed(partial) => body(partial, Symptom::BodyMalformed),
        Mode::BodyHang(partial) => {
            let reply = body(partial, Symptom::BodyTimeout);
            if matches!(reply.outcome, AttemptResult::Error(_)) {
                ProbeReply { at: deadline, ..reply }
            } else {
                reply
            }
        }
        Mode::Drip { partial, over } => {
            let size = rule
                .answer()
                .body_text
                .as_ref()
                .map_or(partial.body, |text| partial.body.min(text.len() as u64));
            let share = if is_real { 1.0 } else { (KUBELET_BODY_LIMIT as f64 / size.max(1) as f64).min(1.0) };
            slow(over.as_nanos() as f64 * share, status_of(partial))
        }
        Mode::Throttle { status, speed } => {
            let size = rule.answer().body_text.as_ref().map_or(OWN_BODY, |text| text.len() as u64);
            let read = size.min(KUBELET_BODY_LIMIT);
            slow(read as f64 * 1e9 / *speed as f64, status.unwrap_or(ordinary.status))
        }
        // Request rules do not have this mode.
        Mode::Wire(_) => at_once(whole(None)),
        Mode::Corrupt { status, .. } => at_once(whole(*status)),
        // The kubelet's httpGet checks only the status.
        Mode::Grpc { .. } => at_once(AttemptResult::of_status(200)),
    }
}

/// The size of an answer of the health service.
const HEALTH_MESSAGE: u64 = 7;

/// The end of a call of the health service that gets `mode`. No such end is an error to the kubelet.
pub(super) fn faulted_call(mode: &Mode, ordinary: Ordinary) -> ProbeReply {
    let Ordinary { head, deadline, .. } = ordinary;
    let timeout = ProbeReply { at: deadline, outcome: AttemptResult::Failure(Symptom::HeadTimeout) };
    let serving = |status: u16| match status {
        ..400 => AttemptResult::Success,
        _ => AttemptResult::Failure(Symptom::Status(status)),
    };
    // A message with an HTTP status other than 200 is ignored.
    let message = |status: Option<u16>| match status {
        None | Some(200) => serving(ordinary.status),
        Some(status) => AttemptResult::Failure(Symptom::Status(status)),
    };
    let slow = |takes: u128, status: Option<u16>| {
        let end = head.saturating_add(Nanos::try_from(takes).unwrap_or(Nanos::MAX));
        if end < deadline { ProbeReply { at: end, outcome: message(status) } } else { timeout }
    };
    let symptom = match mode {
        Mode::Status(status) => return ProbeReply { at: head, outcome: serving(*status) },
        Mode::Hang | Mode::BodyHang(_) => return timeout,
        Mode::Drip { partial, over } => return slow(over.as_nanos(), partial.status),
        Mode::Throttle { status, speed } => {
            return slow(u128::from(HEALTH_MESSAGE) * 1_000_000_000 / u128::from(*speed), *status);
        }
        Mode::Redirect(_) => Symptom::Redirected,
        Mode::Close => Symptom::Closed,
        Mode::Reset => Symptom::Reset,
        Mode::Garbage => Symptom::Garbage,
        Mode::Truncate(partial) => Symptom::BodyCutShort(partial.own_status()),
        Mode::BodyReset(partial) => Symptom::BodyReset(partial.own_status()),
        Mode::Malformed(partial) => Symptom::BodyMalformed(partial.own_status()),
        Mode::Corrupt { .. } => Symptom::Corrupt,
        Mode::Grpc { status, .. } => Symptom::Rpc(*status),
        // Rules on calls do not have this mode.
        Mode::Wire(_) => return ProbeReply { at: head, outcome: message(None) },
    };
    ProbeReply { at: head, outcome: AttemptResult::Failure(symptom) }
}
