//! Bodies of requests.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use hyper::{HeaderMap, StatusCode};
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::answer::ProblemDetails;
use crate::listener::ConnectionHandle;
use crate::listener::budget::Reservation;
use crate::plan::document;

/// Limit of a request body: the largest plan.
const MAX_BODY: usize = document::MAX_PLAN;

/// Time limit for receiving a request body.
const BODY_TIME: Duration = Duration::from_secs(10);

/// The media type of YAML (RFC 9512).
pub(super) const YAML: &str = "application/yaml";

/// Upper limit of the memory of a JSON value besides its text, in bytes.
const JSON_VALUE: usize = 160;

/// Upper limit of the memory for reading YAML, in bytes per byte of the body.
const YAML_MEMORY: usize = 100;

/// Reads a body of one of the given media types.
pub(super) async fn read(headers: &HeaderMap, body: Body, types: &[&str]) -> Result<Value, ProblemDetails> {
    let given = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = given.split(';').next().unwrap_or_default().trim();
    if !types.iter().any(|known| known.eq_ignore_ascii_case(kind)) {
        let wanted = types.join(" or ");
        let detail = format!("the Content-Type is {given:?}; send {wanted}");
        return Err(ProblemDetails::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let (bytes, mut held) = bytes(headers, body).await?;
    if kind.eq_ignore_ascii_case(YAML) { parse_yaml(&bytes, &mut held) } else { parse(&bytes, &mut held) }
}

fn parse_yaml(bytes: &[u8], held: &mut Option<Reservation>) -> Result<Value, ProblemDetails> {
    // The parser holds events and text beside the tree.
    reserve_at_least(held, YAML_MEMORY * bytes.len())?;
    let wrong = |error: String| {
        ProblemDetails::new(StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}"))
    };
    let text = std::str::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?;
    document::parse(text, MAX_BODY).map_err(|error| wrong(error.to_string()))
}

fn parse(bytes: &[u8], held: &mut Option<Reservation>) -> Result<Value, ProblemDetails> {
    let values = bytes.iter().filter(|c| matches!(c, b',' | b':' | b'[' | b'{')).count();
    reserve_at_least(held, 3 * bytes.len() + values * JSON_VALUE)?;
    document::parse_json(bytes, MAX_BODY).map_err(|error| {
        ProblemDetails::new(StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}"))
    })
}

/// Rejects a body other than empty or `{}`.
pub(super) async fn expect_empty(headers: &HeaderMap, body: Body) -> Result<(), ProblemDetails> {
    let (bytes, mut held) = bytes(headers, body).await?;
    let is_empty = bytes.is_empty() || parse(&bytes, &mut held)?.as_object().is_some_and(Map::is_empty);
    let wrong = || ProblemDetails::new(StatusCode::UNPROCESSABLE_ENTITY, "the body is neither empty nor {}");
    if is_empty { Ok(()) } else { Err(wrong()) }
}

async fn bytes(headers: &HeaderMap, body: Body) -> Result<(Bytes, Option<Reservation>), ProblemDetails> {
    let too_large = || {
        let detail = format!("the body is larger than the {MAX_BODY} bytes allowed");
        ProblemDetails::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    };
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > MAX_BODY as u64) {
        return Err(too_large());
    }
    let read = async {
        let mut body = Limited::new(body, MAX_BODY);
        let (mut bytes, mut held) = (BytesMut::new(), None);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                let is_too_large = error.is::<LengthLimitError>();
                let cut = || ProblemDetails::new(StatusCode::BAD_REQUEST, "the body is incomplete");
                if is_too_large { too_large() } else { cut() }
            })?;
            if let Ok(data) = frame.into_data() {
                // While the buffer grows, both copies exist.
                reserve_at_least(&mut held, 2 * (bytes.len() + data.len()))?;
                bytes.extend_from_slice(&data);
            }
        }
        Ok((bytes.freeze(), held))
    };
    match timeout(BODY_TIME, read).await {
        Ok(read) => read,
        Err(_) => Err(ProblemDetails::new(
            StatusCode::REQUEST_TIMEOUT,
            "the body was not received within 10 seconds",
        )),
    }
}

/// Grows `held` to a reservation of at least `bytes` from the connection's memory budget.
fn reserve_at_least(held: &mut Option<Reservation>, bytes: usize) -> Result<(), ProblemDetails> {
    let fits = match (held.as_mut(), ConnectionHandle::current()) {
        (Some(held), _) => held.grow_to(bytes),
        (None, Some(connection)) => {
            *held = connection.reserve(bytes);
            held.is_some()
        }
        // No connection, as in tests of the router alone.
        (None, None) => true,
    };
    if fits { Ok(()) } else { Err(ProblemDetails::busy("no memory is left for the body")) }
}

/// Reads the body of a reset, which may be empty, and returns `renew`.
pub(super) async fn read_renew(headers: &HeaderMap, body: Body) -> Result<bool, ProblemDetails> {
    let (bytes, mut held) = bytes(headers, body).await?;
    if bytes.is_empty() {
        return Ok(false);
    }
    let wrong = || {
        ProblemDetails::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "the body is not {} or {\"renew\": true or false}",
        )
    };
    let value = parse(&bytes, &mut held)?;
    let fields = value.as_object().ok_or_else(wrong)?;
    let renew = fields.get("renew").map_or(Some(false), Value::as_bool).ok_or_else(wrong)?;
    if fields.keys().any(|field| field != "renew") { Err(wrong()) } else { Ok(renew) }
}
