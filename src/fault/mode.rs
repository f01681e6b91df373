//! What a faulted request or connection gets.

mod check;
mod field;
mod grpc;
mod table;

pub use field::{
    DEFAULT_BODY, DEFAULT_DRIP, DEFAULT_LOCATION, DEFAULT_SPEED, DEFAULT_STATUS, ModeField, ModeParts,
};
pub use grpc::GrpcStatus;
pub use table::{ActsOn, MODES, ModeInfo, StatusEffect};

use super::rate::Rate;

/// What a request gets instead of its answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Mode {
    /// A status code.
    Status(u16),
    /// 302 to a location.
    Redirect(String),
    /// Nothing, until the client gives up.
    Hang,
    /// FIN without a response.
    Close,
    /// RST without a response.
    Reset,
    /// Bytes that are not HTTP, then FIN.
    Garbage,
    /// A body cut short by FIN.
    Truncate(Partial),
    /// A body that stops without an end.
    BodyHang(Partial),
    /// A body cut short by RST.
    BodyReset(Partial),
    /// A body with an invalid chunk.
    Malformed(Partial),
    /// A whole body in small pieces.
    Drip {
        /// What is sent.
        partial: Partial,
        /// How long the body takes.
        over: std::time::Duration,
    },
    /// A body that comes slowly.
    Throttle {
        /// The status code; absent: the answer's own.
        status: Option<u16>,
        /// Bytes per second.
        speed: u64,
    },
    /// A body of the same length with other bytes.
    Corrupt {
        /// The status code; absent: the answer's own.
        status: Option<u16>,
        /// How many of the bytes are changed, at least one.
        share: Rate,
    },
    /// A gRPC status without a message of the service.
    Grpc {
        /// The status.
        status: GrpcStatus,
        /// The message; empty: a line that names the rule.
        message: String,
    },
}

/// Bytes of a body that the kubelet reads at most. What comes after them is judged only if it was read along.
pub const KUBELET_BODY_LIMIT: u64 = 10 << 10;

/// The head and the part of a body that a body fault sends before it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    /// The status code, if given; else that of the answer that is struck, or [`DEFAULT_STATUS`] where we make one.
    pub status: Option<u16>,
    /// Bytes of the body sent before the fault.
    pub body: u64,
}

impl Partial {
    /// The status code of an answer that we make.
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
        }
    }

    /// The name in plans and metric labels.
    pub const fn name(&self) -> &'static str {
        self.info().name
    }

    /// Whether a client takes what it gets for a failure: anything but a whole answer below 400, or a gRPC status that
    /// is not OK. Where an application stands behind and no status is given, its answer decides.
    pub fn fails(&self) -> bool {
        match self {
            Self::Grpc { status, .. } => !status.is_ok(),
            _ => match self.status() {
                Some(status) => status >= 400 || !self.info().is_whole,
                None => !self.info().is_whole,
            },
        }
    }

    /// The status and body size of a mode that strikes after so many bytes of a body.
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

    /// The status code of the head that is sent, if one is and its rule says which; of an answer that we make.
    pub fn status(&self) -> Option<u16> {
        match (self, self.info().status) {
            (Self::Status(status), _) => Some(*status),
            (Self::Throttle { status, .. } | Self::Corrupt { status, .. }, _) => *status,
            (_, StatusEffect::Fixed(status)) => Some(status),
            _ => self.partial().map(|partial| partial.own_status()),
        }
    }

    /// The values of its fields; those that it does not take are the defaults.
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
            _ => {}
        }
        parts
    }
}

/// What a partition does to connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cut {
    /// Attempts to connect time out; open connections fall silent and go on once it heals.
    Drop,
    /// Attempts to connect are refused; open connections are reset.
    Refuse,
    /// Connections are accepted, then reset.
    Reset,
}

impl Cut {
    /// All modes of the listener.
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
