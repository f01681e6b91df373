//! Memory of forwarded requests.

use bytes::Bytes;
use http_body::Frame;

use crate::listener::budget::Reservation;
use crate::listener::{ConnectionHandle, LARGE_KERNEL_BUFFER};

/// Limit of the buffer for an answer, in bytes. The head must fit, and at most this much of the body is read ahead.
pub(super) const MAX_BUFFER: usize = 64 << 10;

/// Memory of an ordinary request in addition to its client's connection, in bytes: the connection to the upstream with its
/// buffers and the kernel's.
pub(super) const REQUEST_MEMORY: usize = 28 << 10;

/// Additional memory for TLS with the upstream, in bytes: keys, and a record in each direction.
pub(super) const TLS_MEMORY: usize = 24 << 10;

/// A body of up to this many bytes is included in an ordinary request.
const ORDINARY_BODY: usize = 8 << 10;

/// Bytes of a body that are buffered between one peer and this program: in our buffer, which grows by copying, and in the
/// kernel's, whose size the kernel doubles.
const SIDE: usize = 2 * MAX_BUFFER + 2 * LARGE_KERNEL_BUFFER;

/// Memory of a body that is being forwarded.
pub(super) struct Flow {
    memory: Option<Reservation>,
    bytes: usize,
    /// Limit of the bytes that are buffered on the client's side.
    client_side: usize,
    is_multiplexed: bool,
}

impl Flow {
    pub(super) fn new(client: Option<&ConnectionHandle>) -> Self {
        Self {
            // An empty reservation always succeeds.
            memory: client.and_then(|client| client.reserve(0)),
            bytes: 0,
            client_side: SIDE + client.map_or(0, ConnectionHandle::body_buffer),
            is_multiplexed: client.is_some_and(ConnectionHandle::is_multiplexed),
        }
    }

    /// Reserves memory for the part of an answer's body that the upstream sends ahead. Returns false if there is none.
    pub(super) fn begins(&mut self, length: Option<u64>) -> bool {
        // HTTP/2 flow control may hold back even the first bytes, so that `admits` is never called.
        let is_large = length.map_or(self.is_multiplexed, |length| length > ORDINARY_BODY as u64);
        !is_large || self.grow_to(SIDE)
    }

    /// Reserves memory for another frame. Returns false if there is none. At most twice the bytes so far can be buffered for
    /// the client.
    pub(super) fn admits(&mut self, frame: &Frame<Bytes>) -> bool {
        self.bytes = self.bytes.saturating_add(frame.data_ref().map_or(0, Bytes::len));
        self.bytes <= ORDINARY_BODY || self.grow_to(SIDE + self.bytes.saturating_mul(2).min(self.client_side))
    }

    fn grow_to(&mut self, bytes: usize) -> bool {
        self.memory.as_mut().is_none_or(|memory| memory.grow_to(bytes))
    }
}
