//! Profiles: the assumed behaviour of containers that do not run this program.

mod apply;
mod document;
mod error;
mod measured;
mod set;

use std::time::Duration;

use crate::fault::{Delay, Rule};
use crate::kubelet::ProbeKind;

pub use error::ProfileError;
pub use measured::{MeasureError, measured};
pub use set::{ProfileSet, ProfileSource};

/// The annotation of a Pod that holds a profile.
pub const ANNOTATION: &str = "probesim.io/profile";

/// Limit of a profile or a file of profiles, in bytes.
pub const MAX_PROFILE: usize = 1 << 20;

/// The behaviour of a container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// The time from its start until it listens.
    pub ready_after: Option<Delay>,
    /// The time from SIGTERM to its exit.
    pub stops_after: Option<Duration>,
    /// Whether it ignores SIGTERM and takes the whole grace period.
    pub ignores_term: bool,
    /// The duration of its postStart hook.
    pub post_start: Option<Duration>,
    /// The duration of its preStop hook.
    pub pre_stop: Option<Duration>,
    /// The latency of its answers.
    pub latency: Option<Delay>,
    /// The time from its start to its own exit, and the exit code.
    pub exits_after: Option<(Duration, u8)>,
    /// Its memory: ascending times after its start, and bytes. Between two points it changes linearly; after the last it
    /// stays.
    pub memory: Vec<(Duration, u64)>,
    /// The probes that fail when a dependency of the program fails.
    pub checks_dependency: Vec<ProbeKind>,
    /// Rules for its probes, its dependency and its traffic.
    pub faults: Vec<Rule>,
}

impl Profile {
    /// The time after the start at which the memory first exceeds a limit.
    pub fn exceeds(&self, limit: u64) -> Option<Duration> {
        let (at, size) = *self.memory.first()?;
        if size > limit {
            return Some(at);
        }
        self.memory.windows(2).find_map(|pair| {
            let ((from, before), (to, after)) = (pair[0], pair[1]);
            if after <= limit {
                return None;
            }
            let share = (limit.saturating_sub(before)) as f64 / (after - before) as f64;
            Some(from + to.saturating_sub(from).mul_f64(share))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_interpolated_linearly_between_two_points() {
        let s = Duration::from_secs;
        let profile = Profile {
            memory: vec![(s(0), 100), (s(10), 200), (s(20), 200), (s(40), 400)],
            ..Profile::default()
        };
        assert_eq!(profile.exceeds(150), Some(s(5)));
        assert_eq!(profile.exceeds(300), Some(s(30)));
        assert_eq!(profile.exceeds(50), Some(s(0)));
        assert_eq!(profile.exceeds(400), None);
        assert_eq!(Profile::default().exceeds(0), None);
    }
}
