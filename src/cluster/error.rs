//! Errors of requests to the API server.

use std::time::Duration;

use thiserror::Error;

/// Why a request to the API server failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ApiError {
    /// No connection, or a lost one.
    #[error("{url}: {reason}")]
    Unreachable {
        /// The address of the server.
        url: String,
        /// The cause.
        reason: String,
    },
    /// An answer with an error status.
    #[error("{}", self.answer())]
    Status {
        /// The HTTP status.
        code: u16,
        /// The message of the server, at most 500 bytes.
        message: String,
        /// Time to wait before a retry, if the server requests one.
        retry_after: Option<Duration>,
    },
    /// An invalid answer.
    #[error("{url}: {reason}")]
    Invalid {
        /// The address of the server.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The server no longer has the changes since the last known version: the objects must be listed again.
    #[error("the resource version is too old")]
    Expired,
}

impl ApiError {
    fn answer(&self) -> String {
        let Self::Status { code, message, .. } = self else { return String::new() };
        let meaning = match code {
            401 => "the token was rejected",
            403 => "not permitted",
            404 => "the API has no such kind",
            429 => "too many requests",
            500.. => "error of the API server",
            _ => "refused by the API server",
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
