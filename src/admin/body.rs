//! Bodies of requests.

use std::time::Duration;

use axum::body::Body;
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, StatusCode};
use serde_json::{Map, Value};

use super::answer::ProblemDetails;
use crate::listener::{BodyError, ReadBody};
use crate::plan::document;

/// Limit of a request body: the largest plan.
const MAX_BODY: usize = document::MAX_PLAN;

/// Time limit for receiving a request body.
const BODY_TIME: Duration = Duration::from_secs(10);

/// The media type of YAML (RFC 9512).
pub(super) const YAML: &str = "application/yaml";

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
    let mut read = collect(headers, body).await?;
    if kind.eq_ignore_ascii_case(YAML) { parse_yaml(&mut read) } else { parse(&mut read) }
}

fn parse_yaml(read: &mut ReadBody) -> Result<Value, ProblemDetails> {
    // The parser holds events and text beside the tree.
    read.hold(YAML_MEMORY * read.bytes.len())?;
    let wrong = |error: String| {
        ProblemDetails::new(StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}"))
    };
    let text = std::str::from_utf8(&read.bytes).map_err(|error| wrong(error.to_string()))?;
    document::parse(text, MAX_BODY).map_err(|error| wrong(error.to_string()))
}

fn parse(read: &mut ReadBody) -> Result<Value, ProblemDetails> {
    read.json(MAX_BODY)?.map_err(|error| {
        ProblemDetails::new(StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}"))
    })
}

/// Rejects a body other than empty or `{}`.
pub(super) async fn expect_empty(headers: &HeaderMap, body: Body) -> Result<(), ProblemDetails> {
    let mut read = collect(headers, body).await?;
    let is_empty = read.bytes.is_empty() || parse(&mut read)?.as_object().is_some_and(Map::is_empty);
    let wrong = || {
        let detail = "the body is neither empty nor {}; this call takes no fields";
        ProblemDetails::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    };
    if is_empty { Ok(()) } else { Err(wrong()) }
}

async fn collect(headers: &HeaderMap, body: Body) -> Result<ReadBody, ProblemDetails> {
    Ok(ReadBody::collect(headers, body, MAX_BODY, BODY_TIME).await?)
}

impl From<BodyError> for ProblemDetails {
    fn from(error: BodyError) -> Self {
        let status = match error {
            BodyError::NoMemory => return Self::busy("no memory is left for the body"),
            BodyError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::Incomplete => StatusCode::BAD_REQUEST,
            BodyError::Late(_) => StatusCode::REQUEST_TIMEOUT,
        };
        Self::new(status, error.to_string())
    }
}

/// Reads the body of a reset, which may be empty, and returns `renew`.
pub(super) async fn read_renew(headers: &HeaderMap, body: Body) -> Result<bool, ProblemDetails> {
    let mut read = collect(headers, body).await?;
    if read.bytes.is_empty() {
        return Ok(false);
    }
    let wrong = || {
        ProblemDetails::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "the body is not {} or {\"renew\": true or false}",
        )
    };
    let value = parse(&mut read)?;
    let fields = value.as_object().ok_or_else(wrong)?;
    let renew = fields.get("renew").map_or(Some(false), Value::as_bool).ok_or_else(wrong)?;
    if fields.keys().any(|field| field != "renew") { Err(wrong()) } else { Ok(renew) }
}
