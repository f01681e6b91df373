//! Buffers for reading.

use std::sync::{Mutex, PoisonError};

/// Size of a buffer, in bytes. Large reads cost less CPU time per byte.
pub(super) const SIZE: usize = 64 << 10;

/// Number of spare buffers. Each thread uses one at a time.
const SPARE: usize = 2;

/// Reusable buffers. A connection takes one only while it reads and writes.
#[derive(Debug, Default)]
pub struct Buffers(Mutex<Vec<Box<[u8]>>>);

impl Buffers {
    /// A buffer of [`SIZE`] bytes with arbitrary content.
    pub(super) fn take(&self) -> Box<[u8]> {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| vec![0; SIZE].into())
    }

    /// Returns a buffer.
    pub(super) fn give(&self, buffer: Box<[u8]>) {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.len() == SIZE && spare.len() < SPARE {
            spare.push(buffer);
        }
    }

    /// Frees the spare buffers.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
