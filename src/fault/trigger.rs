//! When a rule fires.

use std::time::Duration;

use super::draw::Draws;
use super::error::TriggerError;
use super::limits::MIN_WINDOW;
use super::rate::{Burst, Rate};
use super::replica::{Pods, Timestamp};
use super::window::{RequestWindow, TimeWindow};

/// All conditions of a rule; each that is given must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Trigger {
    /// The window in time.
    pub time: Option<TimeWindow>,
    /// The window in requests.
    pub requests: Option<RequestWindow>,
    /// The share of the requests in the window.
    pub rate: Rate,
    /// The mean run of hits; absent: each draw stands alone. It fits the rate, as [`Burst::new`] has it.
    pub burst: Option<Burst>,
    /// How long the rate rises from 0 after the window in time opens; at least [`MIN_WINDOW`].
    pub ramp: Option<Duration>,
    /// The window in starts of the container, counted from the one in which the rule appeared.
    pub starts: Option<RequestWindow>,
    /// From when on the window in time is measured, instead of the rule's origin; closed before.
    pub start: Option<Timestamp>,
    /// When it ends for good; after `start`.
    pub until: Option<Timestamp>,
    /// By how much at most a replica begins later than another; more than 0. Each has a stable share of it.
    pub stagger: Option<Duration>,
    /// The replicas it acts on; absent: all.
    pub pods: Option<Pods>,
}

impl Trigger {
    /// Fires for every request, at any time.
    pub const ALWAYS: Self = Self {
        time: None,
        requests: None,
        rate: Rate::ALWAYS,
        burst: None,
        ramp: None,
        starts: None,
        start: None,
        until: None,
        stagger: None,
        pods: None,
    };

    /// Checks that burst and rate fit, that ramp and stagger take time, and that the end comes after the start.
    pub(super) fn check(&self) -> Result<(), TriggerError> {
        if let Some(burst) = self.burst {
            Burst::new(burst.mean(), self.rate)?;
        }
        for (field, value) in [("ramp", self.ramp), ("stagger", self.stagger)] {
            if value.is_some_and(|value| value.is_zero()) {
                return Err(TriggerError::Zero(field));
            }
        }
        if let Some(ramp) = self.ramp.filter(|ramp| *ramp < MIN_WINDOW) {
            return Err(TriggerError::TooShort { field: "ramp", value: ramp });
        }
        match (self.start, self.until) {
            (Some(start), Some(until)) if until <= start => Err(TriggerError::UntilBeforeStart),
            _ => Ok(()),
        }
    }

    /// How long the window in time has been open at `since`, the time from the origin; `None` while it is closed.
    pub fn open_for(&self, since: Duration) -> Option<Duration> {
        self.time.map_or(Some(since), |time| time.open_for(since))
    }

    /// Whether a request is eligible: the `count`-th since the origin, at `since` from the origin.
    pub fn is_open(&self, since: Duration, count: u64) -> bool {
        self.open_for(since).is_some() && self.requests.is_none_or(|window| window.is_open(count))
    }

    /// Whether every request in the window is hit.
    pub fn is_certain(&self) -> bool {
        self.rate.is_always() && self.ramp.is_none()
    }

    /// The share of the requests that is hit, 0 to 1, at `open_for` since the window in time opened.
    pub fn share_at(&self, open_for: Duration) -> f64 {
        match self.ramp {
            Some(ramp) if open_for < ramp => {
                self.rate.share() * (open_for.as_secs_f64() / ramp.as_secs_f64())
            }
            _ => self.rate.share(),
        }
    }

    /// Whether the eligible request `number`, at `open_for` since the window opened, is hit.
    pub(super) fn hits(&self, open_for: Duration, draws: &Draws, number: u64) -> bool {
        let rate = self.share_at(open_for);
        match self.burst {
            Some(burst) => burst.hits(rate, draws, number),
            // A share is at least 0 and below 1, so that 0 % never hits and 100 % always does.
            None => draws.share(number) < rate,
        }
    }
}
