//! The status of a call.

use crate::prober::quote::quoted;

pub(super) mod code {
    pub(in crate::prober::grpc) const UNKNOWN: u16 = 2;
    pub(in crate::prober::grpc) const DEADLINE_EXCEEDED: u16 = 4;
    pub(in crate::prober::grpc) const UNIMPLEMENTED: u16 = 12;
    pub(in crate::prober::grpc) const INTERNAL: u16 = 13;
    pub(in crate::prober::grpc) const UNAVAILABLE: u16 = 14;
}

const CODE_NAMES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// The status of a call that ended without a message.
#[derive(Debug, thiserror::Error)]
#[error("rpc error: code = {} desc = {message}", self.name())]
pub(super) struct Status {
    pub(super) code: u16,
    pub(super) message: String,
}

impl Status {
    pub(super) fn new(code: u16, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The name of the code.
    pub(super) fn name(&self) -> String {
        let name = CODE_NAMES.get(usize::from(self.code));
        name.map_or_else(|| format!("Code({})", self.code), |name| (*name).to_owned())
    }
}

/// The status that a reset of the stream means.
pub(super) fn reset(payload: &[u8]) -> Status {
    let error = payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
    Status::new(code::INTERNAL, format!("stream terminated by RST_STREAM with error code: {error}"))
}

/// Checks headers or trailers for a failure. The `last` ones have to bring the status.
pub(super) fn check(headers: &[(String, String)], last: bool) -> Result<(), Status> {
    let get = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    if let Some(http) = get(":status").filter(|http| *http != "200" && get("grpc-status").is_none()) {
        let content = quoted(get("content-type").unwrap_or_default().as_bytes());
        let code =
            if matches!(http, "429" | "502" | "503" | "504") { code::UNAVAILABLE } else { code_of(http) };
        return Err(Status::new(
            code,
            format!(
                "unexpected HTTP status code received from server: {http}; transport: received unexpected \
                 content-type {content}"
            ),
        ));
    }
    match get("grpc-status").map(str::parse::<u16>) {
        Some(Ok(0)) => Ok(()),
        Some(Ok(code)) => Err(Status::new(code, unescaped(get("grpc-message").unwrap_or_default()))),
        Some(Err(_)) => Err(Status::new(code::UNKNOWN, "malformed grpc-status")),
        None if last => Err(Status::new(code::UNKNOWN, "no grpc-status")),
        None => Ok(()),
    }
}

/// gRPC's code for an HTTP status.
fn code_of(http: &str) -> u16 {
    match http {
        "400" => code::INTERNAL,
        "401" => 16,
        "403" => 7,
        "404" => code::UNIMPLEMENTED,
        _ => code::UNKNOWN,
    }
}

/// A `grpc-message` without its percent escapes.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escape = after.first_chunk::<2>().filter(|_| *first == b'%');
        let byte = escape.and_then(|digits| {
            std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok())
        });
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
