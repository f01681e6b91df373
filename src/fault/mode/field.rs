//! Fields of a rule that belong to some modes.

use std::time::Duration;

use super::{GrpcStatus, Partial, Slices};
use crate::fault::rate::Rate;

/// Default status of modes that send one.
pub const DEFAULT_STATUS: u16 = 500;
/// Default number of body bytes before a body fault.
pub const DEFAULT_BODY: u64 = 16;
/// Default time of a drip.
pub const DEFAULT_DRIP: Duration = Duration::from_secs(5);
/// Default location of a redirect: a host that never exists (RFC 2606).
pub const DEFAULT_LOCATION: &str = "http://probesim.invalid/";
/// Default bandwidth of a throttled body, in bytes per second.
pub const DEFAULT_SPEED: u64 = 1 << 10;
/// Default share of corrupted bytes, in percent.
const DEFAULT_SHARE: f64 = 1.0;

/// Default size of a piece of a sliced stream, in bytes.
pub const DEFAULT_PIECE: u64 = 64;
/// Default time between two pieces of a sliced stream.
pub const DEFAULT_PAUSE: Duration = Duration::from_millis(1);

/// A field of a rule that belongs to some modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModeField {
    /// `status`: the status code.
    Status,
    /// `location`: target of a redirect.
    Location,
    /// `body`: body bytes before the fault.
    Body,
    /// `drip`: time to send the body.
    Drip,
    /// `speed`: body bytes per second.
    Speed,
    /// `share`: share of corrupted body bytes.
    Share,
    /// `grpc_status`: gRPC status.
    GrpcStatus,
    /// `grpc_message`: gRPC status message.
    GrpcMessage,
    /// `headers`: headers of the answer.
    Headers,
    /// `body_text`: body of the answer.
    BodyText,
    /// `forward`: whether the request is forwarded anyway.
    Forward,
    /// `connection`: whether the whole connection ends, not only a stream of HTTP/2.
    Connection,
    /// `alert`: the TLS alert.
    Alert,
    /// `stream`: the affected direction of a connection.
    Stream,
    /// `after`: time until the fault of a connection.
    After,
    /// `close_after`: time from the start of a hang to the close.
    CloseAfter,
    /// `piece`: size of a piece in bytes.
    Piece,
    /// `piece_jitter`: maximum deviation from `piece`, in bytes.
    PieceJitter,
    /// `pause`: the time between two pieces.
    Pause,
}

impl ModeField {
    /// All fields of modes on connections of TCP proxies only.
    pub const OF_TCP: [Self; 6] =
        [Self::Stream, Self::After, Self::CloseAfter, Self::Piece, Self::PieceJitter, Self::Pause];

    /// All fields of modes on requests.
    pub const ALL: [Self; 13] = [
        Self::Status,
        Self::Location,
        Self::Body,
        Self::Drip,
        Self::Speed,
        Self::Share,
        Self::GrpcStatus,
        Self::GrpcMessage,
        Self::Headers,
        Self::BodyText,
        Self::Forward,
        Self::Connection,
        Self::Alert,
    ];

    /// The name in plans.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Location => "location",
            Self::Body => "body",
            Self::Drip => "drip",
            Self::Speed => "speed",
            Self::Share => "share",
            Self::GrpcStatus => "grpc_status",
            Self::GrpcMessage => "grpc_message",
            Self::Headers => "headers",
            Self::BodyText => "body_text",
            Self::Forward => "forward",
            Self::Connection => "connection",
            Self::Alert => "alert",
            Self::Stream => "stream",
            Self::After => "after",
            Self::CloseAfter => "close_after",
            Self::Piece => "piece",
            Self::PieceJitter => "piece_jitter",
            Self::Pause => "pause",
        }
    }
}

/// Values of the mode fields; each mode uses those that it has.
#[derive(Clone, Debug, PartialEq)]
pub struct ModeParts {
    /// Status code, if set.
    pub status: Option<u16>,
    /// Body bytes before the fault.
    pub body: u64,
    /// Time to send the body.
    pub drip: Duration,
    /// Target of a redirect.
    pub location: String,
    /// Body bytes per second.
    pub speed: u64,
    /// Share of corrupted body bytes.
    pub share: Rate,
    /// gRPC status.
    pub grpc_status: GrpcStatus,
    /// gRPC status message; if empty, a line that names the rule.
    pub grpc_message: String,
    /// How a stream is sliced.
    pub slices: Slices,
}

impl Default for ModeParts {
    fn default() -> Self {
        Self {
            status: None,
            body: DEFAULT_BODY,
            drip: DEFAULT_DRIP,
            location: DEFAULT_LOCATION.to_owned(),
            speed: DEFAULT_SPEED,
            share: Rate::from_percent(DEFAULT_SHARE).unwrap_or(Rate::ALWAYS),
            grpc_status: GrpcStatus::UNAVAILABLE,
            grpc_message: String::new(),
            slices: Slices { piece: DEFAULT_PIECE, jitter: 0, pause: DEFAULT_PAUSE },
        }
    }
}

impl ModeParts {
    pub(super) const fn partial(&self) -> Partial {
        Partial { status: self.status, body: self.body }
    }
}
