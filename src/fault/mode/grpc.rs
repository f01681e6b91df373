//! gRPC status codes.

use std::fmt;

/// Names of the codes from 0, as in the gRPC specification.
const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// A gRPC status code: 0 to 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrpcStatus(u8);

impl GrpcStatus {
    /// The call succeeded.
    pub const OK: Self = Self(0);
    /// The deadline of the call has passed.
    pub const DEADLINE_EXCEEDED: Self = Self(4);
    /// The requested entity is unknown.
    pub const NOT_FOUND: Self = Self(5);
    /// A limit was reached.
    pub const RESOURCE_EXHAUSTED: Self = Self(8);
    /// The service or method does not exist or is not supported.
    pub const UNIMPLEMENTED: Self = Self(12);
    /// A violation of the protocol.
    pub const INTERNAL: Self = Self(13);
    /// The status of an unreachable service; clients may retry.
    pub const UNAVAILABLE: Self = Self(14);

    /// The status of that name (case-insensitive) or number.
    pub fn parse(text: &str) -> Option<Self> {
        let by_name = NAMES.iter().position(|name| name.eq_ignore_ascii_case(text));
        let is_number = text.bytes().all(|c| c.is_ascii_digit());
        let by_number = || text.parse().ok().filter(|code| is_number && *code < NAMES.len());
        by_name.or_else(by_number).and_then(|code| u8::try_from(code).ok()).map(Self)
    }

    /// The number, as in `grpc-status`.
    pub const fn code(self) -> u8 {
        self.0
    }

    /// Whether the call succeeded.
    pub const fn is_ok(self) -> bool {
        self.0 == 0
    }

    /// The names of all codes.
    pub const fn names() -> &'static [&'static str] {
        &NAMES
    }
}

impl fmt::Display for GrpcStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES[usize::from(self.0)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_by_name_and_by_number_and_written_by_name() {
        for (text, code) in [("UNAVAILABLE", 14), ("unavailable", 14), ("14", 14), ("0", 0), ("16", 16)] {
            assert_eq!(GrpcStatus::parse(text).map(GrpcStatus::code), Some(code), "{text}");
        }
        for text in ["17", "-1", "+1", "", "Unavailabel", "1.0"] {
            assert_eq!(GrpcStatus::parse(text), None, "{text}");
        }
        assert_eq!(GrpcStatus::UNAVAILABLE.to_string(), "UNAVAILABLE");
    }
}
