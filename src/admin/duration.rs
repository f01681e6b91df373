//! Durations in answers.

use std::time::Duration;

/// Rounds up to whole milliseconds, at least one.
pub(super) fn rounded_up(duration: Duration) -> Duration {
    Duration::from_millis((duration.as_micros().div_ceil(1000) as u64).max(1))
}
