//! The fixed answers to plain requests.

use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use httpdate::HttpDate;
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
    /// A rule acts on it, or its answer is another one. hyper answers it, by the decision if one was made already.
    Other(Option<Box<Injection>>),
}

type Decide = Box<dyn Fn(PlainRequest) -> PlainDecision + Send + Sync>;

/// The answer to plain requests to a path.
pub struct PlainAnswer {
    text: &'static str,
    /// The fields before the value of `Date`.
    fields: String,
    pub(super) decide: Decide,
}

impl PlainAnswer {
    /// Answers with 200 and `text` the requests for which `decide` says so.
    pub fn new(
        text: &'static str,
        decide: impl Fn(PlainRequest) -> PlainDecision + Send + Sync + 'static,
    ) -> Self {
        let fields = format!("content-length: {}\r\ndate: ", text.len());
        Self { text, fields, decide: Box::new(decide) }
    }

    /// Appends the bytes that hyper would send.
    pub(super) fn write(&self, answer: &mut Vec<u8>, date: &DateField, closes: bool) {
        let connection = if closes { "connection: close\r\n" } else { "" };
        answer.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\n");
        answer.extend_from_slice(connection.as_bytes());
        answer.extend_from_slice(self.fields.as_bytes());
        date.write(answer);
        answer.extend_from_slice(b"\r\n\r\n");
        answer.extend_from_slice(self.text.as_bytes());
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
