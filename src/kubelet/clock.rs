//! Virtual time in whole nanoseconds: half the size of a `Duration`, and fast to compare.

use std::time::Duration;

/// Nanoseconds since the Pod was added to the kubelet.
pub(super) type Nanos = u64;

pub(super) const MILLISECOND: Nanos = 1_000_000;

pub(super) const SECOND: Nanos = 1_000 * MILLISECOND;

/// An instant in the infinite future.
pub(super) const NEVER: Nanos = u64::MAX;

/// Clamped to the 584 years that fit.
pub(super) fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER - 1)
}

pub(super) fn duration(nanos: Nanos) -> Duration {
    Duration::from_nanos(nanos)
}
