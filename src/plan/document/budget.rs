//! Memory limits for the values of a document.

use serde_json::Value;

use super::error::DocumentProblem;

/// Bytes of the allowed text for each value of the result: 65,536 values for a plan.
const BYTES_PER_VALUE: usize = 16;

/// Memory for each byte of the allowed text: 8 MiB for a plan, several times that of a thousand long rules.
const MEMORY_PER_BYTE: usize = 8;

/// Counts values and their memory, up to a limit that depends on the allowed length of the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct ParseBudget {
    limit: usize,
    values: usize,
    bytes: usize,
}

impl ParseBudget {
    /// Memory of a mapping that is not empty: places for four fields of 64 bytes, and the table that finds them.
    pub(super) const MAPPING: usize = 320;
    /// Memory of a field, without the text of its key and its value's own memory.
    pub(super) const FIELD: usize = 64;
    /// Memory of a list that is not empty, without its values: what the allocator adds. Lists have no spare places.
    pub(super) const LIST: usize = 32;
    /// Memory of a value, without what it points to.
    const VALUE: usize = size_of::<Value>();

    /// The budget of a text of at most `limit` bytes.
    pub(super) const fn new(limit: usize) -> Self {
        Self { limit, values: 0, bytes: 0 }
    }

    /// Spends values and the bytes that they point to.
    pub(super) fn spend(&mut self, values: usize, bytes: usize) -> Result<(), DocumentProblem> {
        self.values += values;
        self.bytes = self.bytes.saturating_add(bytes).saturating_add(values * Self::VALUE);
        if self.values > self.limit / BYTES_PER_VALUE {
            return Err(DocumentProblem::TooManyValues(self.limit / BYTES_PER_VALUE));
        }
        if self.bytes > self.limit * MEMORY_PER_BYTE {
            return Err(DocumentProblem::TooMuchMemory(self.limit * MEMORY_PER_BYTE));
        }
        Ok(())
    }
}
