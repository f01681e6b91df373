//! The table of modes, used by parser, writer, API description, command line, metrics and documentation.

mod connections;
mod requests;

pub(super) use connections::*;
pub(super) use requests::*;

use super::info::{ActsOn, ModeInfo};

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

impl ModeInfo {
    /// The row of a proxy mode, for any protocol.
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

    /// The rows of all faults of TLS handshakes.
    pub fn all_of_handshakes() -> impl Iterator<Item = &'static Self> {
        MODES.iter().copied().filter(|info| matches!(info.acts_on, ActsOn::Handshake(_)))
    }
}

#[cfg(test)]
mod tests;
