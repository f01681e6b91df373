//! The wall clock, and precise timers.

mod timer;

use std::time::SystemTime;

pub use timer::{Sleep, Timer};

use crate::fault::Timestamp;

/// The wall-clock time.
#[allow(clippy::disallowed_methods)] // Shown to people, and compared with instants that people wrote.
pub fn wall_clock() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}
