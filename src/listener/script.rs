//! Answers that HTTP cannot express: what is to be written on the bare socket.

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
    /// FIN.
    Fin,
    /// RST.
    Rst,
    /// Not before the client ends it.
    Never,
}

/// A piece of a body's filling. Static, so that no client makes the process hold one of its own.
pub(crate) static FILLING: [u8; 4096] = [b'.'; 4096];
