//! Answers of the API, in toxiproxy's format.

use std::fmt;

use axum::body::Body;
use axum::response::Response;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};

use crate::listener::{BodyError, ConnectionHandle};

/// Why a request is refused.
#[derive(Debug)]
pub(super) struct ApiError {
    pub(super) message: String,
    pub(super) status: u16,
}

impl ApiError {
    pub(super) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { message: message.into(), status }
    }

    pub(super) fn bad_body(why: impl fmt::Display) -> Self {
        Self::new(400, format!("bad request body: {why}"))
    }

    pub(super) fn missing(field: impl fmt::Display) -> Self {
        Self::new(400, format!("missing required field: {field}"))
    }

    pub(super) fn stream() -> Self {
        Self::new(400, "stream was invalid, can be either upstream or downstream")
    }

    pub(super) fn toxic_type() -> Self {
        Self::new(400, "invalid toxic type")
    }

    pub(super) fn no_proxy() -> Self {
        Self::new(404, "proxy not found")
    }

    pub(super) fn no_toxic() -> Self {
        Self::new(404, "toxic not found")
    }

    pub(super) fn exists(what: &str) -> Self {
        Self::new(409, format!("{what} already exists"))
    }

    pub(super) fn answer(&self) -> Response {
        let body = json!({ "error": self.message, "status": self.status }).to_string() + "\n";
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // toxiproxy uses this content type for errors, too.
        with_type(status, TEXT, body)
    }
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        let status = match error {
            BodyError::TooLarge(_) => 413,
            BodyError::Incomplete => 400,
            BodyError::Late(_) => 408,
            BodyError::NoMemory => 503,
        };
        Self::new(status, error.to_string())
    }
}

const TEXT: &str = "text/plain; charset=utf-8";

/// A JSON answer, with memory reserved while it is sent.
pub(super) fn json_answer(status: StatusCode, value: &Value) -> Response {
    match ConnectionHandle::reserved(value.to_string()) {
        Some(body) => with_type(status, "application/json", body),
        None => ApiError::from(BodyError::NoMemory).answer(),
    }
}

pub(super) fn text(status: StatusCode, text: impl Into<Body>) -> Response {
    with_type(status, TEXT, text)
}

pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

pub(super) fn with_type(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
