//! Bodies of requests, read whole within limits.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::HeaderMap;
use hyper::header::CONTENT_LENGTH;
use serde_json::Value;
use thiserror::Error;
use tokio::time::timeout;

use super::ConnectionHandle;
use super::budget::Reservation;
use crate::plan::document::{self, DocumentError};

/// Upper limit of the memory of a JSON value besides its text, in bytes.
const JSON_VALUE: usize = 160;

/// Why a body cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BodyError {
    /// More than the limit.
    #[error("the body is larger than the {0} bytes allowed")]
    TooLarge(usize),
    /// Its connection broke.
    #[error("the body is incomplete")]
    Incomplete,
    /// It was not received in time.
    #[error("the body was not received within {} seconds", .0.as_secs())]
    Late(Duration),
    /// The budget has no room for it.
    #[error("no memory is left for the body")]
    NoMemory,
}

/// A body, and the memory that is reserved for it.
#[derive(Debug)]
pub struct ReadBody {
    /// Its bytes.
    pub bytes: Bytes,
    held: Option<Reservation>,
}

impl ReadBody {
    /// Reads a body of at most `limit` bytes within `time`.
    ///
    /// # Errors
    ///
    /// It is too large, incomplete or late, or no memory is left for it.
    pub async fn collect(
        headers: &HeaderMap,
        body: Body,
        limit: usize,
        time: Duration,
    ) -> Result<Self, BodyError> {
        let announced =
            headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > limit as u64) {
            return Err(BodyError::TooLarge(limit));
        }
        let read = async {
            let mut body = Limited::new(body, limit);
            let (mut bytes, mut read) = (BytesMut::new(), Self { bytes: Bytes::new(), held: None });
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| {
                    if error.is::<LengthLimitError>() {
                        BodyError::TooLarge(limit)
                    } else {
                        BodyError::Incomplete
                    }
                })?;
                if let Ok(data) = frame.into_data() {
                    // While the buffer grows, both copies exist.
                    read.hold(2 * (bytes.len() + data.len()))?;
                    bytes.extend_from_slice(&data);
                }
            }
            read.bytes = bytes.freeze();
            Ok(read)
        };
        timeout(time, read).await.map_err(|_| BodyError::Late(time))?
    }

    /// Holds at least `bytes` of the connection's memory budget.
    ///
    /// # Errors
    ///
    /// They do not fit.
    pub fn hold(&mut self, bytes: usize) -> Result<(), BodyError> {
        let fits = match (self.held.as_mut(), ConnectionHandle::current()) {
            (Some(held), _) => held.grow_to(bytes),
            (None, Some(connection)) => {
                self.held = connection.reserve(bytes);
                self.held.is_some()
            }
            // No connection, as in tests of the router alone.
            (None, None) => true,
        };
        if fits { Ok(()) } else { Err(BodyError::NoMemory) }
    }

    /// The JSON value that it is, with memory for that. The value may be as large as `limit` bytes of text.
    ///
    /// # Errors
    ///
    /// No memory is left for it; within, it is no JSON.
    pub fn json(&mut self, limit: usize) -> Result<Result<Value, DocumentError>, BodyError> {
        let values = self.bytes.iter().filter(|c| matches!(c, b',' | b':' | b'[' | b'{')).count();
        self.hold(3 * self.bytes.len() + values * JSON_VALUE)?;
        Ok(document::parse_json(&self.bytes, limit))
    }
}
