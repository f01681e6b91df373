//! What bytes are read into.

use std::sync::{Mutex, PoisonError};

/// How much is read at once, in bytes: large reads cost less CPU time for each byte.
pub(super) const SIZE: usize = 64 << 10;

/// How many buffers wait to be used again. Each thread uses one at a time.
const SPARE: usize = 2;

/// Buffers that are used again and again. A connection takes one for the time in which it reads and writes.
#[derive(Debug, Default)]
pub struct Buffers(Mutex<Vec<Box<[u8]>>>);

impl Buffers {
    /// A buffer of [`SIZE`] bytes, of any content.
    pub(super) fn take(&self) -> Box<[u8]> {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| vec![0; SIZE].into())
    }

    /// Gives a buffer back.
    pub(super) fn give(&self, buffer: Box<[u8]>) {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.len() == SIZE && spare.len() < SPARE {
            spare.push(buffer);
        }
    }

    /// Frees those that nobody uses.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
