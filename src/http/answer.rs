//! Answers.

use std::fmt::Write as _;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
};
use hyper::{Method, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::json;

use super::strike::Filling;
use crate::env::Identity;
use crate::fault::{GrpcStatus, Mode, Partial, Rule};
use crate::listener::{Ending, Script};

/// Names the rule that an answer comes from.
pub(super) static FAULT_HEADER: HeaderName = HeaderName::from_static("x-probesim-fault");

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
static GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// What `grpc-message` percent-encodes: all but printable ASCII without `%`.
const NOT_IN_GRPC_MESSAGE: &AsciiSet = &CONTROLS.add(b'%');

/// How much longer a body is announced than it is, where it is cut short.
const MISSING: u64 = 1024;

/// Bytes that are not HTTP: neither a version nor a line.
const GARBAGE: &[u8] = b"\x00\xff\x16\x03probesim: this is not HTTP\x00\r\n\r\n";

pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    with_type(status, "text/plain; charset=utf-8", body.into())
}

pub(super) fn metrics(body: Bytes) -> Response<Body> {
    with_type(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", body)
}

pub(super) fn page(body: Bytes) -> Response<Body> {
    text(StatusCode::OK, body)
}

/// The answer with a shared body, or that no memory is left for one.
pub(super) fn shared(body: Option<Bytes>, answer: fn(Bytes) -> Response<Body>) -> Response<Body> {
    body.map_or_else(
        || {
            let why = "no memory is left for this answer; try again";
            let mut response = text(StatusCode::SERVICE_UNAVAILABLE, why);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            response
        },
        answer,
    )
}

/// What a stand-in answers its callers.
pub(super) fn identity(identity: &Identity) -> Response<Body> {
    let body = json!({
        "service": "kube-probesim",
        "version": crate::VERSION,
        "pod": identity.pod,
        "namespace": identity.namespace,
        "node": identity.node,
    });
    with_type(StatusCode::OK, "application/json", body.to_string().into())
}

fn with_type(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Body> {
    // These two never have a body, and a length would be wrong.
    let empty = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let mut response = Response::new(if empty { Body::empty() } else { Body::from(body) });
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Marks an answer as the work of a rule.
pub(super) fn mark(response: &mut Response<Body>, rule: &Rule) {
    if let Ok(name) = HeaderValue::from_str(rule.name().as_str()) {
        response.headers_mut().insert(FAULT_HEADER.clone(), name);
    }
}

/// The line that names the fault.
pub(super) fn line(rule: &Rule) -> String {
    match rule.mode() {
        Some(Mode::Status(status)) => format!("fault {}: status {status}", rule.name()),
        _ => format!("fault {}: {}", rule.name(), rule.effect()),
    }
}

pub(super) fn redirect(rule: &Rule, location: &str) -> Response<Body> {
    let mut response = own(rule, StatusCode::FOUND).unwrap_or_else(|| text(StatusCode::FOUND, line(rule)));
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// The status of a gRPC call that no service has answered: its head alone, over any version of HTTP.
pub(super) fn grpc(rule: &Rule, status: GrpcStatus, message: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS.clone(), HeaderValue::from(u16::from(status.code())));
    let message = if message.is_empty() { line(rule) } else { message.to_owned() };
    if let Ok(message) =
        HeaderValue::from_str(&utf8_percent_encode(&message, NOT_IN_GRPC_MESSAGE).to_string())
    {
        headers.insert(GRPC_MESSAGE.clone(), message);
    }
    response
}

/// The answer with the body that a rule gives, if it gives one.
pub(super) fn own(rule: &Rule, status: StatusCode) -> Option<Response<Body>> {
    let body = rule.answer().body_text.as_ref()?;
    Some(text(status, body.clone()))
}

/// The answer that mode drip acts on where no application stands behind.
pub(super) fn filling(status: StatusCode, size: u64) -> Response<Body> {
    let mut response = text(status, "");
    *response.body_mut() = Body::new(Filling(size));
    response
}

/// Puts the fields that a rule gives in the place of those that an answer has.
pub(super) fn add_headers(response: &mut Response<Body>, rule: &Rule) {
    let given = &rule.answer().headers;
    let headers = response.headers_mut();
    for (position, (name, value)) in given.iter().enumerate() {
        let (Ok(field), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        else {
            continue;
        };
        if given[..position].iter().any(|(before, _)| before == name) {
            headers.append(field, value);
        } else {
            headers.insert(field, value);
        }
    }
}

/// The status of a rule, which has been checked to be one.
pub(super) fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// What a mode does on the bare socket, where no application stands behind; `None` for those that are ordinary answers.
pub(super) fn script(rule: &Rule, mode: &Mode, method: &Method) -> Option<Script> {
    let bare = |opening: &'static [u8], ending| Script {
        opening: Bytes::from_static(opening),
        filling: 0,
        closing: b"",
        ending,
        has_head: false,
    };
    let framed = |partial: &Partial, framing: String, closing, ending| {
        let head = head(rule, partial.own_status(), &framing);
        // A HEAD request has no body to cut: its head is all that comes before the fault.
        let has_body = method != Method::HEAD;
        Script {
            opening: if has_body { head } else { head.slice(..head_end(&head)) },
            filling: if has_body { partial.body } else { 0 },
            closing: if has_body { closing } else { b"" },
            ending,
            has_head: true,
        }
    };
    let sized = |partial: &Partial, ending| {
        framed(partial, format!("{CONTENT_LENGTH}: {}\r\n\r\n", partial.body + MISSING), &b""[..], ending)
    };
    Some(match mode {
        Mode::Status(_)
        | Mode::Redirect(_)
        | Mode::Drip { .. }
        | Mode::Throttle { .. }
        | Mode::Corrupt { .. }
        | Mode::Grpc { .. } => return None,
        Mode::Hang => bare(b"", Ending::Never),
        Mode::Close => bare(b"", Ending::Fin),
        Mode::Reset => bare(b"", Ending::Rst),
        Mode::Garbage => bare(GARBAGE, Ending::Fin),
        Mode::Truncate(partial) => sized(partial, Ending::BareFin),
        Mode::BodyHang(partial) => sized(partial, Ending::Never),
        Mode::BodyReset(partial) => sized(partial, Ending::Rst),
        Mode::Malformed(partial) => {
            let size = if partial.body > 0 { format!("{:x}\r\n", partial.body) } else { String::new() };
            let closing: &[u8] = if partial.body > 0 { b"\r\nnot a size\r\n" } else { b"not a size\r\n" };
            framed(partial, format!("transfer-encoding: chunked\r\n\r\n{size}"), closing, Ending::Fin)
        }
    })
}

/// A head as hyper would write it, up to the field that frames the body.
fn head(rule: &Rule, code: u16, framing: &str) -> Bytes {
    let status = status(code);
    let reason = status.canonical_reason().unwrap_or("");
    let name = rule.name();
    let mut head = format!("HTTP/1.1 {code} {reason}\r\n");
    let given = &rule.answer().headers;
    let is_given = |name: &str| given.iter().any(|(given, _)| given == name);
    // Writing to a string cannot fail.
    if !is_given(CONTENT_TYPE.as_str()) {
        let _ = write!(head, "{CONTENT_TYPE}: text/plain; charset=utf-8\r\n");
    }
    for (name, value) in given {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let _ = write!(head, "{}: {name}\r\n", FAULT_HEADER.as_str());
    if !is_given(DATE.as_str()) {
        let _ = write!(head, "{DATE}: {}\r\n", httpdate::fmt_http_date(now()));
    }
    head.push_str(framing);
    Bytes::from(head)
}

#[allow(clippy::disallowed_methods)] // A Date is a date.
fn now() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

fn head_end(head: &[u8]) -> usize {
    head.windows(4).position(|end| end == b"\r\n\r\n").map_or(head.len(), |at| at + 4)
}
