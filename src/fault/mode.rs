//! Modes: the effects of rules on requests and connections.

mod check;
mod field;
mod grpc;
mod handshake;
mod info;
mod table;

pub use field::{
    DEFAULT_BODY, DEFAULT_DRIP, DEFAULT_LOCATION, DEFAULT_PAUSE, DEFAULT_PIECE, DEFAULT_SPEED,
    DEFAULT_STATUS, ModeField, ModeParts,
};
pub use grpc::GrpcStatus;
pub use handshake::{HandshakeFault, TlsAlert};
pub use info::{ActsOn, ModeInfo, StatusEffect};
pub use table::MODES;

use super::rate::Rate;

/// The effect on a request, instead of the ordinary answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Mode {
    /// A status code.
    Status(u16),
    /// 302 to a location.
    Redirect(String),
    /// No answer until the client gives up.
    Hang,
    /// FIN without an answer.
    Close,
    /// RST without an answer.
    Reset,
    /// Bytes that are not HTTP, then FIN.
    Garbage,
    /// A body cut off by FIN.
    Truncate(Partial),
    /// A body that stalls.
    BodyHang(Partial),
    /// A body cut off by RST.
    BodyReset(Partial),
    /// A body with an invalid chunk.
    Malformed(Partial),
    /// A complete body in small pieces.
    Drip {
        /// Status, and number of bytes.
        partial: Partial,
        /// Time to send the body.
        over: std::time::Duration,
    },
    /// A slow body.
    Throttle {
        /// Status code; if absent, that of the answer.
        status: Option<u16>,
        /// Bytes per second.
        speed: u64,
    },
    /// A body with corrupted bytes, of the same length.
    Corrupt {
        /// Status code; if absent, that of the answer.
        status: Option<u16>,
        /// Share of the bytes to corrupt, at least one byte.
        share: Rate,
    },
    /// A gRPC status without a response message.
    Grpc {
        /// Status.
        status: GrpcStatus,
        /// Message; if empty, a line that names the rule.
        message: String,
    },
    /// An effect on a connection of a TCP proxy.
    Wire(WireMode),
}

/// A mode that only connections of TCP proxies have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireMode {
    /// Delays the end of a stream.
    SlowClose,
    /// Small pieces with pauses between them.
    Slice(Slices),
    /// RST after the accept.
    Refuse,
    /// Nothing after the accept, in both directions.
    Drop,
}

/// How a stream is sliced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slices {
    /// Mean size of a piece in bytes; more than 0.
    pub piece: u64,
    /// Maximum deviation of a piece from `piece`, in bytes; below `piece`.
    pub jitter: u64,
    /// The time between two pieces.
    pub pause: std::time::Duration,
}

/// Limit of the body bytes that the kubelet reads. Later bytes matter only if they arrive in the same read.
pub const KUBELET_BODY_LIMIT: u64 = 10 << 10;

/// The head and the part of a body that are sent before a body fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    /// Status code, if set; else that of the modified answer, or [`DEFAULT_STATUS`] for generated answers.
    pub status: Option<u16>,
    /// Body bytes sent before the fault.
    pub body: u64,
}

impl Partial {
    /// The status code of a generated answer.
    pub fn own_status(&self) -> u16 {
        self.status.unwrap_or(DEFAULT_STATUS)
    }
}

impl Mode {
    /// Its row in the table of modes.
    pub const fn info(&self) -> &'static ModeInfo {
        match self {
            Self::Status(_) => &table::STATUS,
            Self::Redirect(_) => &table::REDIRECT,
            Self::Hang => &table::HANG,
            Self::Close => &table::CLOSE,
            Self::Reset => &table::RESET,
            Self::Garbage => &table::GARBAGE,
            Self::Truncate(_) => &table::TRUNCATE,
            Self::BodyHang(_) => &table::BODY_HANG,
            Self::BodyReset(_) => &table::BODY_RESET,
            Self::Malformed(_) => &table::MALFORMED,
            Self::Drip { .. } => &table::DRIP,
            Self::Throttle { .. } => &table::THROTTLE,
            Self::Corrupt { .. } => &table::CORRUPT,
            Self::Grpc { .. } => &table::GRPC,
            Self::Wire(WireMode::SlowClose) => &table::SLOW_CLOSE,
            Self::Wire(WireMode::Slice(_)) => &table::SLICE,
            Self::Wire(WireMode::Refuse) => &table::REFUSE,
            Self::Wire(WireMode::Drop) => &table::DROP,
        }
    }

    /// The name in plans and metric labels.
    pub const fn name(&self) -> &'static str {
        self.info().name
    }

    /// Whether a client considers the answer a failure: anything but a complete answer below 400, or a gRPC status
    /// other than OK. With an upstream and without a status, the upstream's answer decides.
    pub fn fails(&self) -> bool {
        match self {
            Self::Grpc { status, .. } => !status.is_ok(),
            _ => match self.status() {
                Some(status) => status >= 400 || !self.info().is_whole,
                None => !self.info().is_whole,
            },
        }
    }

    /// The status and body size of a mode that acts after some bytes of a body.
    pub const fn partial(&self) -> Option<Partial> {
        match self {
            Self::Truncate(partial)
            | Self::BodyHang(partial)
            | Self::BodyReset(partial)
            | Self::Malformed(partial)
            | Self::Drip { partial, .. } => Some(*partial),
            _ => None,
        }
    }

    /// The status code of a generated answer, if a head is sent.
    pub fn status(&self) -> Option<u16> {
        match (self, self.info().status) {
            (Self::Status(status), _) => Some(*status),
            (Self::Throttle { status, .. } | Self::Corrupt { status, .. }, _) => *status,
            (_, StatusEffect::Fixed(status)) => Some(status),
            _ => self.partial().map(|partial| partial.own_status()),
        }
    }

    /// Values of its fields, with defaults for fields that it does not have.
    pub fn parts(&self) -> ModeParts {
        let mut parts = ModeParts::default();
        if let Some(partial) = self.partial() {
            (parts.status, parts.body) = (partial.status, partial.body);
        }
        match self {
            Self::Status(status) => parts.status = (*status != DEFAULT_STATUS).then_some(*status),
            Self::Redirect(location) => parts.location.clone_from(location),
            Self::Drip { over, .. } => parts.drip = *over,
            Self::Throttle { status, speed } => (parts.status, parts.speed) = (*status, *speed),
            Self::Corrupt { status, share } => (parts.status, parts.share) = (*status, *share),
            Self::Grpc { status, message } => {
                parts.grpc_status = *status;
                parts.grpc_message.clone_from(message);
            }
            Self::Wire(WireMode::Slice(slices)) => parts.slices = *slices,
            _ => {}
        }
        parts
    }
}

/// The effect of a partition on connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cut {
    /// Connection attempts time out; open connections stall and resume when it heals.
    Drop,
    /// Connection attempts are refused; open connections are reset.
    Refuse,
    /// Connections are accepted, then reset.
    Reset,
}

impl Cut {
    /// All partition modes.
    pub const ALL: [Self; 3] = [Self::Drop, Self::Refuse, Self::Reset];

    /// Its row in the table of modes.
    pub const fn info(self) -> &'static ModeInfo {
        match self {
            Self::Drop => &table::CUT_DROP,
            Self::Refuse => &table::CUT_REFUSE,
            Self::Reset => &table::CUT_RESET,
        }
    }

    /// The name in plans and metric labels.
    pub const fn name(self) -> &'static str {
        self.info().name
    }

    /// The cut of that name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cut| cut.name().eq_ignore_ascii_case(name))
    }
}
