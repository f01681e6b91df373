//! Profiles: how a container that does not run this program is assumed to behave.

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

/// The most bytes of a profile, or of a file of profiles.
pub const MAX_PROFILE: usize = 1 << 20;

/// How a container behaves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// How long it takes to listen after its start.
    pub ready_after: Option<Delay>,
    /// How long it takes to end after SIGTERM.
    pub stops_after: Option<Duration>,
    /// Whether it ignores SIGTERM, and takes the whole grace period.
    pub ignores_term: bool,
    /// How long its postStart hook takes.
    pub post_start: Option<Duration>,
    /// How long its preStop hook takes.
    pub pre_stop: Option<Duration>,
    /// How long each answer takes.
    pub latency: Option<Delay>,
    /// How long after its start it ends by itself, and with which exit code.
    pub exits_after: Option<(Duration, u8)>,
    /// What it takes of memory: times after its start, rising, and bytes. Between two of them it grows evenly; after the
    /// last it stays.
    pub memory: Vec<(Duration, u64)>,
    /// The probes that fail with what the program depends on.
    pub checks_dependency: Vec<ProbeKind>,
    /// Rules for its liveness, readiness and startup probes, its dependency and its traffic.
    pub faults: Vec<Rule>,
}

impl Profile {
    /// When the memory first exceeds a limit, after the start.
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
    fn memory_grows_evenly_between_two_times() {
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
