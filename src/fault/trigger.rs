//! When a rule fires.

use std::time::Duration;

use super::draw::Draws;
use super::error::TriggerError;
use super::limits::MIN_WINDOW;
use super::rate::{Burst, Rate};
use super::replica::{Pods, Timestamp};
use super::window::{RequestWindow, TimeWindow};

/// All conditions of a rule; all that are set must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Trigger {
    /// The time window.
    pub time: Option<TimeWindow>,
    /// The request window.
    pub requests: Option<RequestWindow>,
    /// The share of the requests in the window.
    pub rate: Rate,
    /// The mean run of hits; if absent, draws are independent. It fits the rate, see [`Burst::new`].
    pub burst: Option<Burst>,
    /// Time over which the rate rises from 0 after the time window opens; at least [`MIN_WINDOW`].
    pub ramp: Option<Duration>,
    /// The window in starts of the container, counted from the start in which the rule appeared.
    pub starts: Option<RequestWindow>,
    /// Start of the time window instead of the rule's origin; closed before.
    pub start: Option<Timestamp>,
    /// End of the rule; after `start`.
    pub until: Option<Timestamp>,
    /// Maximum delay between replicas; more than 0. Each replica has a fixed share of it.
    pub stagger: Option<Duration>,
    /// The replicas it acts on; absent for all.
    pub pods: Option<Pods>,
}

impl Trigger {
    /// Fires for every request at any time.
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

    /// Checks that burst and rate fit, that ramp and stagger are positive, and that the end is after the start.
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

    /// How long the time window has been open at `since`, relative to the origin; `None` if closed.
    pub fn open_for(&self, since: Duration) -> Option<Duration> {
        self.time.map_or(Some(since), |time| time.open_for(since))
    }

    /// Whether a request is eligible: number `count` since the origin, `since` after the origin.
    pub fn is_open(&self, since: Duration, count: u64) -> bool {
        self.open_for(since).is_some() && self.requests.is_none_or(|window| window.is_open(count))
    }

    /// Whether every request in the window is a hit.
    pub fn is_certain(&self) -> bool {
        self.rate.is_always() && self.ramp.is_none()
    }

    /// The share of requests that are hits, 0 to 1, at `open_for` after the time window opened.
    pub fn share_at(&self, open_for: Duration) -> f64 {
        match self.ramp {
            Some(ramp) if open_for < ramp => {
                self.rate.share() * (open_for.as_secs_f64() / ramp.as_secs_f64())
            }
            _ => self.rate.share(),
        }
    }

    /// Whether the eligible request `number`, at `open_for` after the window opened, is a hit.
    pub(super) fn hits(&self, open_for: Duration, draws: &Draws, number: u64) -> bool {
        let rate = self.share_at(open_for);
        match self.burst {
            Some(burst) => burst.hits(rate, draws, number),
            // A share is in [0, 1), so 0 % never hits and 100 % always does.
            None => draws.share(number) < rate,
        }
    }
}
