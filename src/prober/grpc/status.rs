//! The status of a call, and grpc-go's status for invalid responses.

use std::num::IntErrorKind;

use h2::Reason;
use hyper::header::HeaderValue;
use hyper::{HeaderMap, StatusCode};

use crate::prober::quote::{os_error, quoted};
use crate::rpc::is_content_type;

pub(super) mod code {
    pub(in crate::prober::grpc) const CANCELLED: u16 = 1;
    pub(in crate::prober::grpc) const UNKNOWN: u16 = 2;
    pub(in crate::prober::grpc) const DEADLINE_EXCEEDED: u16 = 4;
    pub(in crate::prober::grpc) const PERMISSION_DENIED: u16 = 7;
    pub(in crate::prober::grpc) const RESOURCE_EXHAUSTED: u16 = 8;
    pub(in crate::prober::grpc) const UNIMPLEMENTED: u16 = 12;
    pub(in crate::prober::grpc) const INTERNAL: u16 = 13;
    pub(in crate::prober::grpc) const UNAVAILABLE: u16 = 14;
    pub(in crate::prober::grpc) const UNAUTHENTICATED: u16 = 16;
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
    pub(super) code: u32,
    pub(super) message: String,
}

impl Status {
    pub(super) fn new(code: u16, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }

    /// The name of the code.
    pub(super) fn name(&self) -> String {
        let name = usize::try_from(self.code).ok().and_then(|code| CODE_NAMES.get(code));
        name.map_or_else(|| format!("Code({})", self.code), |name| (*name).to_owned())
    }
}

/// grpc-go's status for an error of the connection or the stream.
pub(super) fn broken(error: &h2::Error) -> Status {
    let reason = error.reason().unwrap_or(Reason::NO_ERROR);
    if error.is_reset() {
        let code = code_of_reset(reason);
        if error.is_remote() {
            let reason = reason_name(reason);
            return Status::new(code, format!("stream terminated by RST_STREAM with error code: {reason}"));
        }
        // The server sent a frame that HTTP/2 does not allow.
        return Status::new(code, "received invalid frame");
    }
    if error.is_go_away() && error.is_remote() {
        return Status::new(code::UNAVAILABLE, "the connection is draining");
    }
    let text = match error.get_io() {
        // h2 reports a connection that ended during a stream like this.
        Some(io) if io.kind() == std::io::ErrorKind::BrokenPipe => "EOF".to_owned(),
        Some(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => "unexpected EOF".to_owned(),
        Some(io) => format!("read tcp: {}", os_error(io)),
        None if reason == Reason::FRAME_SIZE_ERROR => "http2: frame too large".to_owned(),
        None => format!("connection error: {}", reason_name(reason)),
    };
    Status::new(code::UNAVAILABLE, format!("error reading from server: {text}"))
}

fn code_of_reset(reason: Reason) -> u16 {
    match reason {
        Reason::FLOW_CONTROL_ERROR | Reason::ENHANCE_YOUR_CALM => code::RESOURCE_EXHAUSTED,
        Reason::REFUSED_STREAM => code::UNAVAILABLE,
        Reason::CANCEL => code::CANCELLED,
        Reason::INADEQUATE_SECURITY => code::PERMISSION_DENIED,
        // RFC 9113 defines no others.
        reason if u32::from(reason) <= 13 => code::INTERNAL,
        _ => code::UNKNOWN,
    }
}

/// The name of an HTTP/2 error code, as Go prints it.
fn reason_name(reason: Reason) -> String {
    const NAMES: [&str; 14] = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    let number = u32::from(reason);
    let name = usize::try_from(number).ok().and_then(|at| NAMES.get(at));
    name.map_or_else(|| format!("unknown error code 0x{number:x}"), |name| (*name).to_owned())
}

/// Checks that the content type of a response is that of gRPC. The HTTP status matters only for
/// other content types.
pub(super) fn wrong_head(http: StatusCode, headers: &HeaderMap) -> Result<(), Status> {
    let mut wrong = "malformed header: missing HTTP content-type".to_owned();
    for value in headers.get_all("content-type") {
        if is_content_type(value.as_bytes()) {
            return check_binary(headers);
        }
        wrong = format!("transport: received unexpected content-type {}", quoted(value.as_bytes()));
    }
    let (number, reason) = (http.as_u16(), http.canonical_reason().unwrap_or_default());
    let text = format!("unexpected HTTP status code received from server: {number} ({reason}); {wrong}");
    Err(Status::new(code_of(number), text))
}

/// Checks that headers whose names end in `-bin` contain base64.
fn check_binary(headers: &HeaderMap) -> Result<(), Status> {
    for (name, value) in headers {
        if name.as_str().ends_with("-bin")
            && let Some(at) = no_base64(value.as_bytes())
        {
            let text = format!("transport: malformed {name}: illegal base64 data at input byte {at}");
            return Err(Status::new(code::INTERNAL, text));
        }
    }
    Ok(())
}

/// The position of the first byte that is invalid in base64. Padding is optional.
fn no_base64(value: &[u8]) -> Option<usize> {
    let unpadded = match value {
        [data @ .., b'=', b'='] | [data @ .., b'='] if value.len().is_multiple_of(4) => data,
        data => data,
    };
    let is_digit = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/');
    let wrong = unpadded.iter().position(|c| !is_digit(c));
    wrong.or_else(|| (unpadded.len() % 4 == 1).then_some(unpadded.len() - 1))
}

/// Returns an error if the status in trailers, or in a trailers-only header, is not OK.
pub(super) fn trailers_status(trailers: &HeaderMap) -> Result<(), Status> {
    let last = |name: &str| trailers.get_all(name).into_iter().next_back().map(HeaderValue::as_bytes);
    let number = match last("grpc-status") {
        // A missing status means UNKNOWN.
        None => u32::from(code::UNKNOWN),
        Some(value) => {
            let text = String::from_utf8_lossy(value);
            let number = text.parse::<i32>().map_err(|error| {
                let reason = match error.kind() {
                    IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
                    _ => "invalid syntax",
                };
                let value = quoted(value);
                let text =
                    format!("transport: malformed grpc-status: strconv.ParseInt: parsing {value}: {reason}");
                Status::new(code::UNKNOWN, text)
            })?;
            number.cast_unsigned()
        }
    };
    check_binary(trailers)?;
    if number == 0 {
        return Ok(());
    }
    let message = unescaped(last("grpc-message").unwrap_or_default());
    Err(Status { code: number, message })
}

/// The gRPC code for an HTTP status.
fn code_of(http: u16) -> u16 {
    match http {
        400 => code::INTERNAL,
        401 => code::UNAUTHENTICATED,
        403 => code::PERMISSION_DENIED,
        404 => code::UNIMPLEMENTED,
        429 | 502 | 503 | 504 => code::UNAVAILABLE,
        _ => code::UNKNOWN,
    }
}

/// Decodes the percent-encoding of a `grpc-message`.
fn unescaped(text: &[u8]) -> String {
    let mut bytes = Vec::new();
    let mut rest = text;
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
