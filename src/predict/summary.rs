//! Figures over many Pods.

use std::time::Duration;

use super::outcome::{PodOutcome, Prediction};
use crate::order;

/// The median, 95th percentile and maximum of a figure over the Pods.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread<T> {
    /// Half of the Pods have at most this.
    pub p50: T,
    /// 95 % of the Pods have at most this.
    pub p95: T,
    /// The maximum.
    pub worst: T,
}

impl<T: Ord + Copy> Spread<T> {
    /// The spread of values in any order, by the nearest rank. `None` without values.
    pub fn of(mut values: Vec<T>) -> Option<Self> {
        order::sort(&mut values);
        let rank = |percent: usize| values.get((values.len() * percent).div_ceil(100).max(1) - 1).copied();
        Some(Self { p50: rank(50)?, p95: rank(95)?, worst: rank(100)? })
    }
}

/// The summary of a prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Restarts of a Pod's containers.
    pub restarts: Option<Spread<u64>>,
    /// Times, each with its names for people and for machines.
    pub times: Vec<(&'static str, &'static str, Option<Spread<Duration>>)>,
    /// The number of Pods with a reaction to a fault.
    pub reacted: usize,
    /// The share of the time since its first Ready in which the worst Pod was Ready.
    pub worst_availability: f64,
}

impl Summary {
    /// The summary of a prediction.
    pub fn of(prediction: &Prediction) -> Self {
        let pods = &prediction.pods;
        let times = |time: &dyn Fn(&PodOutcome) -> Option<Duration>| {
            Spread::of(pods.iter().filter_map(time).collect())
        };
        Self {
            restarts: Spread::of(pods.iter().map(PodOutcome::restarts).collect()),
            times: vec![
                ("time not Ready", "unready_seconds", times(&|pod| Some(pod.stats.unready))),
                ("time in back-off", "back_off_seconds", times(&|pod| Some(pod.back_off()))),
                ("longest outage", "longest_outage_seconds", times(&|pod| Some(pod.longest_outage()))),
                ("fault to reaction", "reaction_seconds", times(&|pod| pod.reaction)),
            ],
            reacted: pods.iter().filter(|pod| pod.reaction.is_some()).count(),
            worst_availability: pods.iter().map(PodOutcome::availability).fold(1.0, f64::min),
        }
    }
}
