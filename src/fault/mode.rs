//! What a faulted request or connection gets.

/// What a request gets instead of its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

/// Bytes of a body that the kubelet reads at most. What comes after them is judged only if it was read along.
pub const KUBELET_BODY_LIMIT: u64 = 10 << 10;

/// The head and the part of a body that a body fault sends before it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    /// The status code.
    pub status: u16,
    /// Bytes of the body sent before the fault.
    pub body: u64,
}

impl Mode {
    /// The names of all modes of a request, in plans and metric labels.
    pub const NAMES: [&'static str; 11] = [
        "status",
        "redirect",
        "hang",
        "close",
        "reset",
        "garbage",
        "truncate",
        "body-hang",
        "body-reset",
        "malformed",
        "drip",
    ];

    /// The name in plans and metric labels.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Status(_) => "status",
            Self::Redirect(_) => "redirect",
            Self::Hang => "hang",
            Self::Close => "close",
            Self::Reset => "reset",
            Self::Garbage => "garbage",
            Self::Truncate(_) => "truncate",
            Self::BodyHang(_) => "body-hang",
            Self::BodyReset(_) => "body-reset",
            Self::Malformed(_) => "malformed",
            Self::Drip { .. } => "drip",
        }
    }

    /// Whether a client takes what it gets for a failure: anything but a whole answer below 400.
    pub const fn fails(&self) -> bool {
        match self {
            Self::Status(status) | Self::Drip { partial: Partial { status, .. }, .. } => *status >= 400,
            Self::Redirect(_) => false,
            _ => true,
        }
    }

    /// The status and body size of a body mode.
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

    /// The status code of the head that is sent, if one is.
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(*status),
            Self::Redirect(_) => Some(302),
            _ => match self.partial() {
                Some(partial) => Some(partial.status),
                None => None,
            },
        }
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

    /// The name in plans and metric labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Refuse => "refuse",
            Self::Reset => "reset",
        }
    }

    /// The cut of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cut| cut.name() == name)
    }
}
