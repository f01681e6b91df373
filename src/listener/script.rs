//! Answers that HTTP cannot express: bytes to write to the socket, and stream resets.

use std::fmt;

use bytes::Bytes;

/// What is sent instead of an answer.
#[derive(Clone, Debug)]
pub struct Script {
    /// First bytes: a response head, or something else.
    pub opening: Bytes,
    /// Number of filler bytes that follow.
    pub filling: u64,
    /// Last bytes.
    pub closing: &'static [u8],
    /// How the connection ends.
    pub ending: ScriptEnding,
    /// Whether the opening is a response head.
    pub has_head: bool,
}

/// How a script's connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptEnding {
    /// FIN; within TLS, `close_notify` before it.
    Fin,
    /// FIN without `close_notify`: within TLS, it looks like a truncation attack.
    BareFin,
    /// RST.
    Rst,
    /// When the client ends it.
    Never,
}

/// The outcome of a request that a [`Script`] answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptOutcome {
    /// The head was sent.
    HeadSent,
    /// The connection ended without a head.
    NoHead,
    /// The client left before the head.
    ClientGone,
}

/// A fault that HTTP cannot express: the script replaces the answer and ends the connection.
pub struct Takeover {
    /// What to do with the socket.
    pub script: Script,
    /// Called once with the outcome of the request.
    pub report: Box<dyn FnOnce(ScriptOutcome) + Send>,
}

impl fmt::Debug for Takeover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Takeover").field("script", &self.script).finish_non_exhaustive()
    }
}

/// The code of an `RST_STREAM` that ends an HTTP/2 stream before its answer is complete. As an extension of an answer, it
/// replaces that answer over HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamReset {
    /// CANCEL: the answer is no longer wanted.
    Cancel,
    /// `INTERNAL_ERROR`.
    InternalError,
    /// The code of an upstream that reset the stream of the request.
    Upstream(h2::Reason),
}

impl StreamReset {
    /// The body error that makes hyper reset the stream with this code.
    pub fn error(self) -> h2::Error {
        h2::Error::from(match self {
            Self::Cancel => h2::Reason::CANCEL,
            Self::InternalError => h2::Reason::INTERNAL_ERROR,
            Self::Upstream(reason) => reason,
        })
    }
}

/// A chunk of filler. Static, so that clients cannot make the process allocate it.
pub(crate) static FILLING: [u8; 4096] = [b'.'; 4096];
