//! The wall clock, and waits that are exact.

mod timer;

use std::time::SystemTime;

pub use timer::{Sleep, Timer};

use crate::fault::Timestamp;

/// What the clock on the wall shows.
#[allow(clippy::disallowed_methods)] // Told to people, and compared with instants that people wrote.
pub fn wall_clock() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}
