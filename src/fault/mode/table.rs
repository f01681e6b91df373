//! The table of modes, used by parser, writer, API description, command line, metrics and documentation.

use super::{Cut, DEFAULT_STATUS, HandshakeFault, Mode, ModeField, ModeParts, TlsAlert, WireMode};

/// What a mode acts on, and its constructor.
#[derive(Clone, Copy, Debug)]
pub enum ActsOn {
    /// Requests to a target.
    Requests(fn(ModeParts) -> Mode),
    /// Connections to the listener.
    Listener(Cut),
    /// Handshakes of TLS on the listener.
    Handshake(HandshakeFault),
    /// Connections of a TCP proxy alone.
    Connections(fn(ModeParts) -> Mode),
}

/// The effect of a mode on the status code of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusEffect {
    /// Replaced by the field `status` or its default.
    Given,
    /// Replaced by the field `status`, if set.
    Kept,
    /// Replaced by this one.
    Fixed(u16),
    /// No status is sent.
    None,
}

/// A row of the table of modes.
#[derive(Clone, Copy, Debug)]
pub struct ModeInfo {
    /// Name in plans, variables and metric labels.
    pub name: &'static str,
    /// What it acts on.
    pub acts_on: ActsOn,
    /// Its fields.
    pub fields: &'static [ModeField],
    /// Its effect on the status.
    pub status: StatusEffect,
    /// Whether it needs an answer with a body.
    pub needs_body: bool,
    /// Whether the client gets a complete answer, so that the status determines failure.
    pub is_whole: bool,
    /// What a client observes.
    pub client: &'static str,
    /// What an HTTP/2 client observes; empty if the same.
    pub http2: &'static str,
    /// What a call of the gRPC health service gets, and the status that clients make of it.
    pub grpc: &'static str,
    /// What a client of a TCP proxy sees; empty where TCP proxies do not have the mode.
    pub tcp: &'static str,
    /// The fields that it takes there.
    pub tcp_fields: &'static [ModeField],
    /// Exit code of curl.
    pub curl: &'static str,
    /// How the kubelet interprets it.
    pub kubelet: &'static str,
    /// Number of requests that the kubelet makes for one probe.
    pub requests: &'static str,
}

impl ModeInfo {
    /// Whether it has a field.
    pub fn takes(&self, field: ModeField) -> bool {
        self.fields.contains(&field)
    }

    /// Whether it takes a field on a TCP proxy.
    pub fn takes_on_tcp(&self, field: ModeField) -> bool {
        self.tcp_fields.contains(&field)
    }

    /// The row of a mode of some proxy, whatever its protocol.
    pub fn of_proxies(name: &str) -> Option<&'static Self> {
        let of_tcp = Self::all_of_tcp().filter(|info| matches!(info.acts_on, ActsOn::Connections(_)));
        Self::all_of_requests().chain(of_tcp).find(|info| info.name.eq_ignore_ascii_case(name))
    }

    /// The rows of all modes of TCP proxies.
    pub fn all_of_tcp() -> impl Iterator<Item = &'static Self> {
        MODES.iter().copied().filter(|info| !info.tcp.is_empty())
    }

    /// The row of a request mode.
    pub fn of_requests(name: &str) -> Option<&'static Self> {
        Self::all_of_requests().find(|info| info.name.eq_ignore_ascii_case(name))
    }

    /// The rows of all request modes.
    pub fn all_of_requests() -> impl Iterator<Item = &'static Self> {
        MODES.iter().copied().filter(|info| matches!(info.acts_on, ActsOn::Requests(_)))
    }

    /// The rows of all modes of target `listener`.
    pub fn all_of_listener() -> impl Iterator<Item = &'static Self> {
        Self::all_of_partitions().chain(Self::all_of_handshakes())
    }

    /// The rows of all partitions.
    pub fn all_of_partitions() -> impl Iterator<Item = &'static Self> {
        MODES.iter().copied().filter(|info| matches!(info.acts_on, ActsOn::Listener(_)))
    }

    /// The rows of all faults of the TLS handshake.
    pub fn all_of_handshakes() -> impl Iterator<Item = &'static Self> {
        MODES.iter().copied().filter(|info| matches!(info.acts_on, ActsOn::Handshake(_)))
    }

    /// The mode, if it is one of requests or connections.
    pub fn mode(&self, parts: ModeParts) -> Option<Mode> {
        match self.acts_on {
            ActsOn::Requests(make) | ActsOn::Connections(make) => Some(make(parts)),
            ActsOn::Listener(_) | ActsOn::Handshake(_) => None,
        }
    }
}

/// All modes, in the order of the documentation.
pub const MODES: &[&ModeInfo] = &[
    &STATUS,
    &REDIRECT,
    &HANG,
    &CLOSE,
    &RESET,
    &GARBAGE,
    &TRUNCATE,
    &BODY_HANG,
    &BODY_RESET,
    &MALFORMED,
    &DRIP,
    &THROTTLE,
    &CORRUPT,
    &GRPC,
    &SLOW_CLOSE,
    &SLICE,
    &REFUSE,
    &DROP,
    &CUT_DROP,
    &CUT_REFUSE,
    &CUT_RESET,
    &TLS_HANG,
    &TLS_CLOSE,
    &TLS_ALERT,
    &TLS_EXPIRED,
    &TLS_WRONG_NAME,
    &TLS_UNTRUSTED,
];

/// Fields of modes that send no HTTP answer.
const FORWARD: &[ModeField] = &[ModeField::Forward];

/// Fields of modes that end a body before its end.
const CUT: &[ModeField] =
    &[ModeField::Status, ModeField::Body, ModeField::Headers, ModeField::BodyText, ModeField::Connection];

/// Defaults of most modes: no fields, no status, no complete answer, one request per probe.
const NO_ANSWER: ModeInfo = ModeInfo {
    name: "",
    acts_on: ActsOn::Requests(|_| Mode::Hang),
    fields: &[],
    status: StatusEffect::None,
    needs_body: false,
    is_whole: false,
    client: "",
    http2: "",
    grpc: "",
    tcp: "",
    tcp_fields: &[],
    curl: "",
    kubelet: "failure",
    requests: "1",
};

/// Defaults of modes that act on a body.
const BODY: ModeInfo = ModeInfo {
    fields: &[ModeField::Status, ModeField::Body, ModeField::Headers, ModeField::BodyText],
    status: StatusEffect::Given,
    needs_body: true,
    kubelet: "**error**",
    requests: "3",
    ..NO_ANSWER
};

pub(super) const STATUS: ModeInfo = ModeInfo {
    name: "status",
    acts_on: ActsOn::Requests(|parts| Mode::Status(parts.status.unwrap_or(DEFAULT_STATUS))),
    fields: &[ModeField::Status, ModeField::Headers, ModeField::BodyText, ModeField::Forward],
    status: StatusEffect::Given,
    is_whole: true,
    client: "the status code (500)",
    grpc: "`NOT_SERVING` from 400 on, else `SERVING`",
    curl: "0 (22 with `--fail`)",
    kubelet: "failure from 400 on, else success",
    ..NO_ANSWER
};

pub(super) const REDIRECT: ModeInfo = ModeInfo {
    name: "redirect",
    acts_on: ActsOn::Requests(|parts| Mode::Redirect(parts.location)),
    fields: &[ModeField::Location, ModeField::Headers, ModeField::BodyText, ModeField::Forward],
    status: StatusEffect::Fixed(302),
    is_whole: true,
    client: "302 to `location`, another host unless given",
    grpc: "302 of HTTP: UNKNOWN",
    curl: "0",
    kubelet: "warning: counts as success",
    requests: "1; up to 10 where it leads back",
    ..NO_ANSWER
};

pub(super) const HANG: ModeInfo = ModeInfo {
    name: "hang",
    acts_on: ActsOn::Requests(|_| Mode::Hang),
    fields: FORWARD,
    client: "nothing, until it gives up",
    http2: "nothing on this stream",
    grpc: "nothing: DEADLINE_EXCEEDED",
    tcp: "no more bytes of `stream`; with `close_after`, the connection is closed then, and when the rule ends",
    tcp_fields: &[ModeField::Stream, ModeField::After, ModeField::CloseAfter],
    curl: "28",
    kubelet: "failure, after the timeout",
    ..NO_ANSWER
};

pub(super) const CLOSE: ModeInfo = ModeInfo {
    name: "close",
    acts_on: ActsOn::Requests(|_| Mode::Close),
    fields: &[ModeField::Forward, ModeField::Connection],
    client: "FIN, no response",
    http2: "RST_STREAM (CANCEL)",
    grpc: "RST_STREAM (CANCEL): CANCELLED",
    tcp: "FIN",
    tcp_fields: &[ModeField::After],
    curl: "52",
    ..NO_ANSWER
};

pub(super) const RESET: ModeInfo = ModeInfo {
    name: "reset",
    acts_on: ActsOn::Requests(|_| Mode::Reset),
    fields: &[ModeField::Forward, ModeField::Connection],
    client: "RST, no response",
    http2: "RST_STREAM (INTERNAL_ERROR)",
    grpc: "RST_STREAM (INTERNAL_ERROR): INTERNAL",
    tcp: "RST",
    tcp_fields: &[ModeField::After],
    curl: "56",
    ..NO_ANSWER
};

pub(super) const GARBAGE: ModeInfo = ModeInfo {
    name: "garbage",
    acts_on: ActsOn::Requests(|_| Mode::Garbage),
    fields: FORWARD,
    client: "bytes that are not HTTP, then FIN",
    http2: "bytes that are no frame, then FIN: the connection ends",
    grpc: "the connection ends: UNAVAILABLE, or UNKNOWN in grpcio",
    curl: "1",
    ..NO_ANSWER
};

pub(super) const TRUNCATE: ModeInfo = ModeInfo {
    name: "truncate",
    acts_on: ActsOn::Requests(|parts| Mode::Truncate(parts.partial())),
    fields: CUT,
    client: "`status`, `body` bytes of a longer body, FIN",
    http2: "`status`, `body` bytes of a longer body, END_STREAM",
    grpc: "less than a message, no trailers: INTERNAL, or UNKNOWN in grpcio",
    tcp: "`body` bytes of `stream`, then FIN",
    tcp_fields: &[ModeField::Body, ModeField::Stream],
    curl: "18",
    ..BODY
};

pub(super) const BODY_HANG: ModeInfo = ModeInfo {
    name: "body-hang",
    acts_on: ActsOn::Requests(|parts| Mode::BodyHang(parts.partial())),
    client: "`status`, `body` bytes, then nothing",
    http2: "`status`, `body` bytes, then nothing on this stream",
    grpc: "less than a message: DEADLINE_EXCEEDED",
    curl: "28",
    kubelet: "**error**, after three timeouts",
    ..BODY
};

pub(super) const BODY_RESET: ModeInfo = ModeInfo {
    name: "body-reset",
    acts_on: ActsOn::Requests(|parts| Mode::BodyReset(parts.partial())),
    fields: CUT,
    client: "`status`, `body` bytes, RST",
    http2: "`status`, `body` bytes, RST_STREAM (INTERNAL_ERROR)",
    grpc: "less than a message, RST_STREAM (INTERNAL_ERROR): INTERNAL",
    curl: "56",
    ..BODY
};

pub(super) const MALFORMED: ModeInfo = ModeInfo {
    name: "malformed",
    acts_on: ActsOn::Requests(|parts| Mode::Malformed(parts.partial())),
    client: "`status`, `body` bytes, an invalid chunk",
    http2: "a frame that breaks the protocol, then FIN: the connection ends",
    grpc: "the connection ends: UNAVAILABLE",
    curl: "56",
    ..BODY
};

pub(super) const DRIP: ModeInfo = ModeInfo {
    name: "drip",
    acts_on: ActsOn::Requests(|parts| Mode::Drip { partial: parts.partial(), over: parts.drip }),
    fields: &[ModeField::Status, ModeField::Body, ModeField::Drip, ModeField::Headers, ModeField::BodyText],
    is_whole: true,
    client: "`status`, a whole body in pieces over `drip`",
    grpc: "the message in pieces: `SERVING`, or DEADLINE_EXCEEDED",
    curl: "0, or 28",
    kubelet: "by its status; **error** where it outlasts the timeout",
    requests: "1; 3 on error",
    ..BODY
};

pub(super) const THROTTLE: ModeInfo = ModeInfo {
    name: "throttle",
    acts_on: ActsOn::Requests(|parts| Mode::Throttle { status: parts.status, speed: parts.speed }),
    fields: &[ModeField::Status, ModeField::Speed, ModeField::Headers, ModeField::BodyText],
    status: StatusEffect::Kept,
    is_whole: true,
    client: "the answer, its body at `speed` bytes per second",
    grpc: "the message slowly: `SERVING`, or DEADLINE_EXCEEDED",
    tcp: "`stream` at `speed` bytes per second",
    tcp_fields: &[ModeField::Speed, ModeField::Stream],
    curl: "0, or 28",
    kubelet: "by its status; **error** where it outlasts the timeout",
    requests: "1; 3 on error",
    ..BODY
};

pub(super) const CORRUPT: ModeInfo = ModeInfo {
    name: "corrupt",
    acts_on: ActsOn::Requests(|parts| Mode::Corrupt { status: parts.status, share: parts.share }),
    fields: &[ModeField::Status, ModeField::Share, ModeField::Headers, ModeField::BodyText],
    status: StatusEffect::Kept,
    is_whole: true,
    client: "the answer, one bit flipped in `share` of its body's bytes",
    grpc: "a message with other bits: INTERNAL, RESOURCE_EXHAUSTED, or none in grpcio",
    tcp: "one bit flipped in `share` of the bytes of `stream`",
    tcp_fields: &[ModeField::Share, ModeField::Stream],
    curl: "0",
    kubelet: "by its status",
    requests: "1",
    ..BODY
};

pub(super) const GRPC: ModeInfo = ModeInfo {
    name: "grpc",
    acts_on: ActsOn::Requests(|parts| Mode::Grpc { status: parts.grpc_status, message: parts.grpc_message }),
    fields: &[ModeField::GrpcStatus, ModeField::GrpcMessage, ModeField::Headers, ModeField::Forward],
    status: StatusEffect::Fixed(200),
    is_whole: true,
    client: "200 without a body, `grpc_status` and `grpc_message` in its head",
    grpc: "`grpc_status` and `grpc_message`",
    curl: "0",
    kubelet: "success, as an HTTP answer",
    ..NO_ANSWER
};

/// What modes have that only TCP proxies know.
const WIRE: ModeInfo =
    ModeInfo { is_whole: true, curl: "by the protocol", kubelet: "by the protocol", ..NO_ANSWER };

pub(super) const SLOW_CLOSE: ModeInfo = ModeInfo {
    name: "slow-close",
    acts_on: ActsOn::Connections(|_| Mode::Wire(WireMode::SlowClose)),
    tcp: "the end of `stream` comes `after` later",
    tcp_fields: &[ModeField::After, ModeField::Stream],
    ..WIRE
};

pub(super) const SLICE: ModeInfo = ModeInfo {
    name: "slice",
    acts_on: ActsOn::Connections(|parts| Mode::Wire(WireMode::Slice(parts.slices))),
    tcp: "`stream` in pieces of `piece` ± `piece_jitter` bytes, a `pause` between two",
    tcp_fields: &[ModeField::Piece, ModeField::PieceJitter, ModeField::Pause, ModeField::Stream],
    ..WIRE
};

pub(super) const REFUSE: ModeInfo = ModeInfo {
    name: "refuse",
    acts_on: ActsOn::Connections(|_| Mode::Wire(WireMode::Refuse)),
    tcp: "with a `rate`: accepted, then reset; without one, new connections are refused",
    is_whole: false,
    ..WIRE
};

pub(super) const DROP: ModeInfo = ModeInfo {
    name: "drop",
    acts_on: ActsOn::Connections(|_| Mode::Wire(WireMode::Drop)),
    tcp: "with a `rate`: accepted, then silence both ways; without one, new connections time out",
    is_whole: false,
    ..WIRE
};

pub(super) const CUT_DROP: ModeInfo = ModeInfo {
    name: "drop",
    acts_on: ActsOn::Listener(Cut::Drop),
    client: "new connections time out; open ones freeze, and continue when it heals",
    curl: "28",
    kubelet: "failure, after the timeout",
    ..NO_ANSWER
};

pub(super) const CUT_REFUSE: ModeInfo = ModeInfo {
    name: "refuse",
    acts_on: ActsOn::Listener(Cut::Refuse),
    client: "new connections are refused; open ones are reset",
    curl: "7",
    ..NO_ANSWER
};

pub(super) const CUT_RESET: ModeInfo = ModeInfo {
    name: "reset",
    acts_on: ActsOn::Listener(Cut::Reset),
    client: "new connections are accepted, then reset; open ones are reset",
    curl: "56, or 7 where the reset is faster than the client",
    ..NO_ANSWER
};

pub(super) const TLS_HANG: ModeInfo = ModeInfo {
    name: "tls-hang",
    acts_on: ActsOn::Handshake(HandshakeFault::Hang),
    client: "no answer to its ClientHello, until it gives up",
    curl: "28",
    kubelet: "failure, after the timeout",
    ..NO_ANSWER
};

pub(super) const TLS_CLOSE: ModeInfo = ModeInfo {
    name: "tls-close",
    acts_on: ActsOn::Handshake(HandshakeFault::Close),
    client: "FIN instead of the handshake",
    curl: "35",
    ..NO_ANSWER
};

pub(super) const TLS_ALERT: ModeInfo = ModeInfo {
    name: "tls-alert",
    acts_on: ActsOn::Handshake(HandshakeFault::Alert(TlsAlert::HANDSHAKE_FAILURE)),
    fields: &[ModeField::Alert],
    client: "the fatal alert `alert` (`handshake_failure`), then FIN",
    curl: "35",
    ..NO_ANSWER
};

pub(super) const TLS_EXPIRED: ModeInfo = ModeInfo {
    name: "tls-expired",
    acts_on: ActsOn::Handshake(HandshakeFault::Expired),
    client: "a certificate that expired yesterday",
    ..WRONG_CERTIFICATE
};

pub(super) const TLS_WRONG_NAME: ModeInfo = ModeInfo {
    name: "tls-wrong-name",
    acts_on: ActsOn::Handshake(HandshakeFault::WrongName),
    client: "a certificate for `wrong-name.invalid`",
    ..WRONG_CERTIFICATE
};

pub(super) const TLS_UNTRUSTED: ModeInfo = ModeInfo {
    name: "tls-untrusted",
    acts_on: ActsOn::Handshake(HandshakeFault::Untrusted),
    client: "a certificate of an unknown authority",
    ..WRONG_CERTIFICATE
};

/// What certificates have in common that are wrong on purpose.
const WRONG_CERTIFICATE: ModeInfo =
    ModeInfo { curl: "60 (0 with `-k`)", kubelet: "the ordinary answer: it verifies nothing", ..NO_ANSWER };

#[cfg(test)]
mod tests;
