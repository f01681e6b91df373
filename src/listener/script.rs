//! Answers that HTTP cannot express: bytes to write on the bare socket, and resets of a stream.

use bytes::Bytes;

/// What is sent instead of an answer.
#[derive(Clone, Debug)]
pub struct Script {
    /// Bytes that come first: a head, or what looks like none.
    pub opening: Bytes,
    /// How many bytes of filling follow.
    pub filling: u64,
    /// Bytes that come last.
    pub closing: &'static [u8],
    /// How the connection ends.
    pub ending: Ending,
    /// Whether the opening is the head of an answer.
    pub has_head: bool,
}

/// How a script's connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// FIN; within TLS, `close_notify` before it.
    Fin,
    /// FIN without `close_notify`: within TLS, the client cannot tell it from an answer that somebody cut short.
    BareFin,
    /// RST.
    Rst,
    /// Not before the client ends it.
    Never,
}

/// How a stream of HTTP/2 is ended before its answer is whole: the code of `RST_STREAM`. As an extension of an answer, it
/// takes that answer's place where the client speaks HTTP/2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamReset {
    /// CANCEL: the answer is no longer wanted.
    Cancel,
    /// `INTERNAL_ERROR`.
    InternalError,
    /// The code with which an upstream has reset the stream of the same request.
    Upstream(h2::Reason),
}

impl StreamReset {
    /// The error of a body that makes hyper reset the stream with this code.
    pub fn error(self) -> h2::Error {
        h2::Error::from(match self {
            Self::Cancel => h2::Reason::CANCEL,
            Self::InternalError => h2::Reason::INTERNAL_ERROR,
            Self::Upstream(reason) => reason,
        })
    }
}

/// A piece of a body's filling. Static, so that no client makes the process hold one of its own.
pub(crate) static FILLING: [u8; 4096] = [b'.'; 4096];
