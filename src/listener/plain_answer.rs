//! The fixed answers to plain requests.

use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use httpdate::HttpDate;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::time::Instant;

use crate::engine::Injection;
use crate::fault::Client;

/// A plain request, as its answer depends on it.
#[derive(Clone, Copy, Debug)]
pub struct PlainRequest {
    /// Class of its client.
    pub client: Client,
    /// When its head came in.
    pub arrived: Instant,
}

/// What to do with a plain request.
pub enum PlainDecision {
    /// It gets the fixed answer, and is counted.
    Answer,
    /// A rule fails it at once, and it is counted.
    Failure(PlainFailure),
    /// hyper has to answer it: its fault is more than a status, or its answer is not the fixed one. Holds the decision, if one
    /// was made.
    Other(Option<Box<Injection>>),
}

/// The answer to a request that a rule fails by a status code and nothing else.
#[derive(Debug)]
pub struct PlainFailure {
    /// The status, which has a body and a canonical reason.
    pub status: StatusCode,
    /// The name of the rule, for [`FAULT_HEADER`].
    pub fault: HeaderValue,
    /// The body.
    pub text: String,
}

/// Carries the name of the rule that produced the answer.
pub static FAULT_HEADER: HeaderName = HeaderName::from_static("x-probesim-fault");

/// The type of the text.
const TEXT: &str = "text/plain; charset=utf-8";

/// The length of most answers, in bytes: more needs a second allocation.
const USUAL_LENGTH: usize = 256;

type Decide = Box<dyn Fn(PlainRequest) -> PlainDecision + Send + Sync>;

/// The answer to plain requests to a path.
pub struct PlainAnswer {
    text: &'static str,
    length: HeaderValue,
    pub(super) decide: Decide,
}

impl PlainAnswer {
    /// Answers with 200 and `text` the requests for which `decide` says so.
    pub fn new(
        text: &'static str,
        decide: impl Fn(PlainRequest) -> PlainDecision + Send + Sync + 'static,
    ) -> Self {
        Self { text, length: text.len().into(), decide: Box::new(decide) }
    }

    /// The answer for hyper to send.
    pub(super) fn response(&self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.text));
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
        // hyper would format the length for each answer.
        fields.insert(CONTENT_LENGTH, self.length.clone());
        response
    }

    /// Appends the bytes that hyper would send.
    pub(super) fn write(&self, answer: &mut Vec<u8>, date: &DateField, closes: bool) {
        answer.reserve(USUAL_LENGTH);
        append(answer, &[b"HTTP/1.1 200 OK\r\ncontent-type: ", TEXT.as_bytes()]);
        finish(answer, self.length.as_bytes(), self.text, date, closes);
    }
}

impl PlainFailure {
    /// The answer for hyper to send.
    pub(super) fn response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.text));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
        response.headers_mut().insert(FAULT_HEADER.clone(), self.fault);
        response
    }

    /// Appends the bytes that hyper would send.
    pub(super) fn write(&self, answer: &mut Vec<u8>, date: &DateField, closes: bool) {
        answer.reserve(USUAL_LENGTH + self.text.len());
        let reason = self.status.canonical_reason().unwrap_or_default();
        append(answer, &[b"HTTP/1.1 ", self.status.as_str().as_bytes(), b" ", reason.as_bytes()]);
        append(answer, &[b"\r\ncontent-type: ", TEXT.as_bytes(), b"\r\n", FAULT_HEADER.as_str().as_bytes()]);
        append(answer, &[b": ", self.fault.as_bytes()]);
        finish(answer, self.text.len().to_string().as_bytes(), &self.text, date, closes);
    }
}

/// Appends the rest of an answer after the value of a header field.
fn finish(answer: &mut Vec<u8>, length: &[u8], text: &str, date: &DateField, closes: bool) {
    let connection = if closes { "\r\nconnection: close" } else { "" };
    append(answer, &[connection.as_bytes(), b"\r\ncontent-length: ", length, b"\r\ndate: "]);
    date.write(answer);
    append(answer, &[b"\r\n\r\n", text.as_bytes()]);
}

fn append(answer: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        answer.extend_from_slice(part);
    }
}

/// The `Date` of answers, written once a second.
#[derive(Debug, Default)]
pub(super) struct DateField(Mutex<(u64, String)>);

impl DateField {
    fn write(&self, answer: &mut Vec<u8>) {
        let now = now();
        let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut date = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if date.0 != second || date.1.is_empty() {
            *date = (second, HttpDate::from(now).to_string());
        }
        answer.extend_from_slice(date.1.as_bytes());
    }
}

#[allow(clippy::disallowed_methods)] // The Date header needs wall-clock time.
fn now() -> SystemTime {
    SystemTime::now()
}
