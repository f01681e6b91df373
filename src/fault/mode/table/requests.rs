//! Modes of requests. Some of them exist on TCP proxies as well.

use crate::fault::mode::info::{ActsOn, ModeInfo, StatusEffect};
use crate::fault::mode::{DEFAULT_STATUS, Mode, ModeField};

/// Fields of modes that send no HTTP answer.
const FORWARD: &[ModeField] = &[ModeField::Forward];

/// Fields of modes that end a body early.
const CUT: &[ModeField] =
    &[ModeField::Status, ModeField::Body, ModeField::Headers, ModeField::BodyText, ModeField::Connection];

/// Defaults of most modes: no fields, no status, no complete answer, one request per probe.
pub(super) const NO_ANSWER: ModeInfo = ModeInfo {
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

pub(in crate::fault::mode) const STATUS: ModeInfo = ModeInfo {
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

pub(in crate::fault::mode) const REDIRECT: ModeInfo = ModeInfo {
    name: "redirect",
    acts_on: ActsOn::Requests(|parts| Mode::Redirect(parts.location)),
    fields: &[ModeField::Location, ModeField::Headers, ModeField::BodyText, ModeField::Forward],
    status: StatusEffect::Fixed(302),
    is_whole: true,
    client: "302 to `location`, by default another host",
    grpc: "302 of HTTP: UNKNOWN",
    curl: "0",
    kubelet: "warning: counts as success",
    requests: "1; up to 10 if it redirects to itself",
    ..NO_ANSWER
};

pub(in crate::fault::mode) const HANG: ModeInfo = ModeInfo {
    name: "hang",
    acts_on: ActsOn::Requests(|_| Mode::Hang),
    fields: FORWARD,
    client: "nothing, until it gives up",
    http2: "nothing on this stream",
    grpc: "nothing: DEADLINE_EXCEEDED",
    tcp: "no more bytes of `stream`; the connection is closed after `close_after`, if set, and when the rule ends",
    tcp_fields: &[ModeField::Stream, ModeField::After, ModeField::CloseAfter],
    curl: "28",
    kubelet: "failure, after the timeout",
    ..NO_ANSWER
};

pub(in crate::fault::mode) const CLOSE: ModeInfo = ModeInfo {
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

pub(in crate::fault::mode) const RESET: ModeInfo = ModeInfo {
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

pub(in crate::fault::mode) const GARBAGE: ModeInfo = ModeInfo {
    name: "garbage",
    acts_on: ActsOn::Requests(|_| Mode::Garbage),
    fields: FORWARD,
    client: "bytes that are not HTTP, then FIN",
    http2: "bytes that are not a frame, then FIN: the connection ends",
    grpc: "the connection ends: UNAVAILABLE, or UNKNOWN in grpcio",
    curl: "1",
    ..NO_ANSWER
};

pub(in crate::fault::mode) const TRUNCATE: ModeInfo = ModeInfo {
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

pub(in crate::fault::mode) const BODY_HANG: ModeInfo = ModeInfo {
    name: "body-hang",
    acts_on: ActsOn::Requests(|parts| Mode::BodyHang(parts.partial())),
    client: "`status`, `body` bytes, then nothing",
    http2: "`status`, `body` bytes, then nothing on this stream",
    grpc: "less than a message: DEADLINE_EXCEEDED",
    curl: "28",
    kubelet: "**error**, after three timeouts",
    ..BODY
};

pub(in crate::fault::mode) const BODY_RESET: ModeInfo = ModeInfo {
    name: "body-reset",
    acts_on: ActsOn::Requests(|parts| Mode::BodyReset(parts.partial())),
    fields: CUT,
    client: "`status`, `body` bytes, RST",
    http2: "`status`, `body` bytes, RST_STREAM (INTERNAL_ERROR)",
    grpc: "less than a message, RST_STREAM (INTERNAL_ERROR): INTERNAL",
    curl: "56",
    ..BODY
};

pub(in crate::fault::mode) const MALFORMED: ModeInfo = ModeInfo {
    name: "malformed",
    acts_on: ActsOn::Requests(|parts| Mode::Malformed(parts.partial())),
    client: "`status`, `body` bytes, an invalid chunk",
    http2: "a frame that breaks the protocol, then FIN: the connection ends",
    grpc: "the connection ends: UNAVAILABLE",
    curl: "56",
    ..BODY
};

pub(in crate::fault::mode) const DRIP: ModeInfo = ModeInfo {
    name: "drip",
    acts_on: ActsOn::Requests(|parts| Mode::Drip { partial: parts.partial(), over: parts.drip }),
    fields: &[ModeField::Status, ModeField::Body, ModeField::Drip, ModeField::Headers, ModeField::BodyText],
    is_whole: true,
    client: "`status`, a complete body in pieces over `drip`",
    grpc: "the message in pieces: `SERVING`, or DEADLINE_EXCEEDED",
    curl: "0, or 28",
    kubelet: "by its status; **error** if it exceeds the timeout",
    requests: "1; 3 on error",
    ..BODY
};

pub(in crate::fault::mode) const THROTTLE: ModeInfo = ModeInfo {
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
    kubelet: "by its status; **error** if it exceeds the timeout",
    requests: "1; 3 on error",
    ..BODY
};

pub(in crate::fault::mode) const CORRUPT: ModeInfo = ModeInfo {
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

pub(in crate::fault::mode) const GRPC: ModeInfo = ModeInfo {
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
