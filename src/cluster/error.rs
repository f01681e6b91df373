//! Why the API server has not answered as it should.

use std::time::Duration;

use thiserror::Error;

/// Why a request to the API server failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ApiError {
    /// No connection, or one that broke.
    #[error("{url}: {reason}")]
    Unreachable {
        /// The address of the server.
        url: String,
        /// What happened.
        reason: String,
    },
    /// An answer with a status of failure.
    #[error("{}", self.answer())]
    Status {
        /// The HTTP status.
        code: u16,
        /// The message of the server, at most 500 bytes.
        message: String,
        /// After what time to ask again, if the server says so.
        retry_after: Option<Duration>,
    },
    /// An answer that is not what the API promises.
    #[error("{url}: {reason}")]
    Garbled {
        /// The address of the server.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// What was seen last is too old for the server: everything has to be listed again.
    #[error("the resource version is too old")]
    Expired,
}

impl ApiError {
    fn answer(&self) -> String {
        let Self::Status { code, message, .. } = self else { return String::new() };
        let meaning = match code {
            401 => "the token is not accepted",
            403 => "not permitted",
            404 => "the API has no such kind",
            429 => "too many requests",
            500.. => "the API server has trouble",
            _ => "the API refuses",
        };
        if message.is_empty() {
            format!("{code}, {meaning}")
        } else {
            format!("{code}, {meaning}: {message}")
        }
    }

    /// Whether a permission is missing.
    pub const fn is_forbidden(&self) -> bool {
        matches!(self, Self::Status { code: 403, .. })
    }
}
