//! Memory of forwarded requests.

use bytes::Bytes;
use http_body::Frame;

use crate::listener::budget::Reservation;
use crate::listener::{ConnectionHandle, LARGE_KERNEL_BUFFER};

/// Limit of what is buffered of an answer: its head must fit, and so much of its body is read ahead of the client.
pub(super) const MAX_BUFFER: usize = 64 << 10;

/// Memory of an ordinary request in addition to its client's connection: the connection to the upstream, with its buffers
/// and the kernel's.
pub(super) const REQUEST_MEMORY: usize = 28 << 10;

/// Memory of TLS with the upstream beyond that: keys, and a record in each direction.
pub(super) const TLS_MEMORY: usize = 24 << 10;

/// A body of so many bytes is part of an ordinary request.
const ORDINARY_BODY: usize = 8 << 10;

/// What is buffered of a body between one side and this program: in our buffer, which grows by copying, and in the kernel's,
/// whose size the kernel doubles.
const SIDE: usize = 2 * MAX_BUFFER + 2 * LARGE_KERNEL_BUFFER;

/// Memory of a body that is being forwarded.
pub(super) struct Flow {
    memory: Option<Reservation>,
    bytes: usize,
    /// Limit of what is buffered on the client's side.
    client_side: usize,
    is_multiplexed: bool,
}

impl Flow {
    pub(super) fn new(client: Option<&ConnectionHandle>) -> Self {
        Self {
            // To reserve nothing always succeeds.
            memory: client.and_then(|client| client.reserve(0)),
            bytes: 0,
            client_side: SIDE + client.map_or(0, ConnectionHandle::body_buffer),
            is_multiplexed: client.is_some_and(ConnectionHandle::is_multiplexed),
        }
    }

    /// Whether there is memory for what an upstream sends ahead of an answer's body, whose length may be known.
    pub(super) fn begins(&mut self, length: Option<u64>) -> bool {
        // Flow control of HTTP/2 may hold back even the first bytes, so that no frame is ever accounted.
        let is_large = length.map_or(self.is_multiplexed, |length| length > ORDINARY_BODY as u64);
        !is_large || self.grow_to(SIDE)
    }

    /// Whether there is memory for a further frame. At most twice the bytes so far can be buffered for the client.
    pub(super) fn admits(&mut self, frame: &Frame<Bytes>) -> bool {
        self.bytes = self.bytes.saturating_add(frame.data_ref().map_or(0, Bytes::len));
        self.bytes <= ORDINARY_BODY || self.grow_to(SIDE + self.bytes.saturating_mul(2).min(self.client_side))
    }

    fn grow_to(&mut self, bytes: usize) -> bool {
        self.memory.as_mut().is_none_or(|memory| memory.grow_to(bytes))
    }
}
