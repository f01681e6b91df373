//! Answers that the service itself writes.

use std::fmt::Write as _;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
};
use hyper::{Method, StatusCode};
use serde_json::json;

use super::filling::Filling;
use crate::env::Identity;
use crate::fault::{GrpcStatus, Mode, Partial, Rule};
use crate::grpc;
use crate::listener::{FAULT_HEADER, Script, ScriptEnding};

/// A truncated answer announces this many bytes more than it sends.
pub(super) const MISSING_BYTES: u64 = 1024;

/// Bytes that are not HTTP.
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

/// Answers with a shared body, or with 503 when no memory is left for one.
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

/// The identity of this replica as JSON, for callers of `traffic`.
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
    // 204 and 304 never have a body, so a length would be wrong.
    let empty = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let mut response = Response::new(if empty { Body::empty() } else { Body::from(body) });
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Adds the header that names the rule.
pub(super) fn mark(response: &mut Response<Body>, rule: &Rule) {
    if let Ok(name) = HeaderValue::from_str(rule.name().as_str()) {
        response.headers_mut().insert(FAULT_HEADER.clone(), name);
    }
}

/// The text line that names the fault.
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

/// A trailers-only gRPC answer: the status is in the head, over any HTTP version. Without a message, it names the rule.
pub(super) fn grpc(rule: &Rule, status: GrpcStatus, message: &str) -> Response<Body> {
    if message.is_empty() {
        grpc::trailers_only(status, &line(rule))
    } else {
        grpc::trailers_only(status, message)
    }
}

/// The answer with the rule's own `body_text`, if it has one.
pub(super) fn own(rule: &Rule, status: StatusCode) -> Option<Response<Body>> {
    let body = rule.answer().body_text.as_ref()?;
    Some(text(status, body.clone()))
}

/// The body that `drip` acts on when there is no upstream.
pub(super) fn filling(status: StatusCode, size: u64) -> Response<Body> {
    let mut response = text(status, "");
    *response.body_mut() = Body::new(Filling(size));
    response
}

/// Sets the headers of a rule. They replace headers of the same name.
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

/// The status of a rule; parsing has checked its range.
pub(super) fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// What a mode writes to the socket when there is no upstream; `None` for modes that are ordinary answers.
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
        // An answer to HEAD has no body to cut: the fault follows the head.
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
        framed(
            partial,
            format!("{CONTENT_LENGTH}: {}\r\n\r\n", partial.body + MISSING_BYTES),
            &b""[..],
            ending,
        )
    };
    Some(match mode {
        Mode::Status(_)
        | Mode::Redirect(_)
        | Mode::Drip { .. }
        | Mode::Throttle { .. }
        | Mode::Corrupt { .. }
        | Mode::Grpc { .. }
        | Mode::Wire(_) => return None,
        Mode::Hang => bare(b"", ScriptEnding::Never),
        Mode::Close => bare(b"", ScriptEnding::Fin),
        Mode::Reset => bare(b"", ScriptEnding::Rst),
        Mode::Garbage => bare(GARBAGE, ScriptEnding::Fin),
        Mode::Truncate(partial) => sized(partial, ScriptEnding::BareFin),
        Mode::BodyHang(partial) => sized(partial, ScriptEnding::Never),
        Mode::BodyReset(partial) => sized(partial, ScriptEnding::Rst),
        Mode::Malformed(partial) => {
            let size = if partial.body > 0 { format!("{:x}\r\n", partial.body) } else { String::new() };
            let closing: &[u8] = if partial.body > 0 { b"\r\nnot a size\r\n" } else { b"not a size\r\n" };
            framed(partial, format!("transfer-encoding: chunked\r\n\r\n{size}"), closing, ScriptEnding::Fin)
        }
    })
}

/// A response head as hyper would write it, up to the header that frames the body.
fn head(rule: &Rule, code: u16, framing: &str) -> Bytes {
    let status = status(code);
    let reason = status.canonical_reason().unwrap_or("");
    let name = rule.name();
    let mut head = format!("HTTP/1.1 {code} {reason}\r\n");
    let given = &rule.answer().headers;
    let is_given = |name: &str| given.iter().any(|(given, _)| given == name);
    // Writing to a `String` cannot fail.
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

#[allow(clippy::disallowed_methods)] // The Date header needs wall-clock time.
fn now() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

fn head_end(head: &[u8]) -> usize {
    head.windows(4).position(|end| end == b"\r\n\r\n").map_or(head.len(), |at| at + 4)
}
