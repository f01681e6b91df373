//! The memory that requests take on their way.

use bytes::Bytes;
use http_body::Frame;

use crate::listener::budget::Reservation;
use crate::listener::{ConnectionHandle, LARGE_KERNEL_BUFFER};

/// The most that is buffered of an answer: its head has to fit, and of its body so much is read before the client has
/// taken it.
pub(super) const MAX_BUFFER: usize = 64 << 10;

/// Memory of an ordinary request beyond that of its client's connection: the connection to the upstream with its buffers
/// and the kernel's.
pub(super) const REQUEST_MEMORY: usize = 28 << 10;

/// A body of so many bytes is part of an ordinary request.
const ORDINARY_BODY: usize = 8 << 10;

/// What waits of a body between one side and this program: in the buffer that it is read into or written from, which has
/// grown by copying, and in the kernel's, whose size is doubled.
const SIDE: usize = 2 * MAX_BUFFER + 2 * LARGE_KERNEL_BUFFER;

/// Memory of a body on its way.
pub(super) struct Flow {
    memory: Option<Reservation>,
    bytes: usize,
    /// What waits on the client's side at most.
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
        // A client of HTTP/2 may leave no room even for the first piece, so that nothing is seen to come through.
        let is_large = length.map_or(self.is_multiplexed, |length| length > ORDINARY_BODY as u64);
        !is_large || self.grow_to(SIDE)
    }

    /// Whether there is memory for a further frame. No more can wait for the client than twice what has come through.
    pub(super) fn admits(&mut self, frame: &Frame<Bytes>) -> bool {
        self.bytes = self.bytes.saturating_add(frame.data_ref().map_or(0, Bytes::len));
        self.bytes <= ORDINARY_BODY || self.grow_to(SIDE + self.bytes.saturating_mul(2).min(self.client_side))
    }

    fn grow_to(&mut self, bytes: usize) -> bool {
        self.memory.as_mut().is_none_or(|memory| memory.grow_to(bytes))
    }
}
