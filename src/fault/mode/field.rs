//! The fields of a rule that only some modes take.

use std::time::Duration;

use super::{GrpcStatus, Partial};
use crate::fault::rate::Rate;

/// The status of every mode that sends one of its own, unless given.
pub const DEFAULT_STATUS: u16 = 500;
/// The bytes of the body before a body fault strikes, unless given.
pub const DEFAULT_BODY: u64 = 16;
/// The time that a drip takes, unless given.
pub const DEFAULT_DRIP: Duration = Duration::from_secs(5);
/// Where a redirect leads, unless given: to a host that never exists (RFC 2606).
pub const DEFAULT_LOCATION: &str = "http://probesim.invalid/";
/// Bytes per second of a throttled body, unless given.
pub const DEFAULT_SPEED: u64 = 1 << 10;
/// The share of a body's bytes that is corrupted, in percent, unless given.
const DEFAULT_SHARE: f64 = 1.0;

/// A field of a rule that only some modes take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModeField {
    /// `status`: the status code.
    Status,
    /// `location`: where a redirect leads.
    Location,
    /// `body`: bytes of the body before the fault.
    Body,
    /// `drip`: the time that a body takes.
    Drip,
    /// `speed`: bytes of the body per second.
    Speed,
    /// `share`: how many of the body's bytes are changed.
    Share,
    /// `grpc_status`: the status of a gRPC call.
    GrpcStatus,
    /// `grpc_message`: the message that goes with it.
    GrpcMessage,
    /// `headers`: fields of the answer's head.
    Headers,
    /// `body_text`: the body of the answer.
    BodyText,
    /// `forward`: whether the request reaches its application all the same.
    Forward,
}

impl ModeField {
    /// All fields.
    pub const ALL: [Self; 11] = [
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
        }
    }
}

/// Values of the fields that make a mode; each mode takes those that it has.
#[derive(Clone, Debug, PartialEq)]
pub struct ModeParts {
    /// The status code, if given.
    pub status: Option<u16>,
    /// Bytes of the body before the fault.
    pub body: u64,
    /// The time that a body takes.
    pub drip: Duration,
    /// Where a redirect leads.
    pub location: String,
    /// Bytes of the body per second.
    pub speed: u64,
    /// How many of the body's bytes are changed.
    pub share: Rate,
    /// The status of a gRPC call.
    pub grpc_status: GrpcStatus,
    /// The message of a gRPC call; empty: a line that names the rule.
    pub grpc_message: String,
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
        }
    }
}

impl ModeParts {
    pub(super) const fn partial(&self) -> Partial {
        Partial { status: self.status, body: self.body }
    }
}
