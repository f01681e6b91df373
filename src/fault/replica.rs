//! The replica that a plan runs on: its identity, its start time and the number of its starts.

use std::time::Duration;

use super::draw::{Draws, Seed};
use super::rate::Rate;

/// An instant of the calendar, as time since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub Duration);

/// The replicas that a rule acts on.
#[derive(Clone, Debug, PartialEq)]
pub enum Pods {
    /// This share of the replicas. Each is drawn independently, so that of a few replicas none may be selected.
    Share(Rate),
    /// The replicas with these ordinals in their StatefulSet.
    Ordinals(Vec<u32>),
}

/// The replica that a plan runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replica {
    /// The seed shared by all replicas, mixed with the name of this one; absent without either.
    pub key: Option<Seed>,
    /// Its ordinal in its StatefulSet.
    pub ordinal: Option<u32>,
    /// Number of this start of the container, from 1.
    pub starts: u64,
    /// The instant at which the process clock was zero.
    pub epoch: Timestamp,
    /// The process clock at this start: zero, or where the previous start left it.
    pub resumed: Duration,
}

impl Default for Replica {
    fn default() -> Self {
        Self { key: None, ordinal: None, starts: 1, epoch: Timestamp::default(), resumed: Duration::ZERO }
    }
}

impl Replica {
    /// The replica of that name; `seed` is shared by all replicas.
    pub fn named(seed: Option<u64>, name: Option<&str>) -> Self {
        Self {
            key: seed.zip(name).map(|(seed, name)| Seed(seed).for_pod(name)),
            ordinal: name.and_then(ordinal),
            ..Self::default()
        }
    }

    /// Whether `pods` selects it.
    pub fn is_one_of(&self, pods: &Pods) -> bool {
        match pods {
            Pods::Share(rate) => self.share("pods").is_some_and(|share| share < rate.share()),
            Pods::Ordinals(ordinals) => self.ordinal.is_some_and(|ordinal| ordinals.contains(&ordinal)),
        }
    }

    /// Its delay when replicas are staggered over `most`.
    pub(super) fn stagger(&self, most: Duration) -> Duration {
        most.mul_f64(self.share("stagger").unwrap_or_default())
    }

    /// A number in [0, 1) that is stable for a replica.
    fn share(&self, purpose: &str) -> Option<f64> {
        Some(Draws::of(self.key?, purpose).share(1))
    }
}

/// The number at the end of a StatefulSet's Pod name, such as 2 for `web-2`.
fn ordinal(name: &str) -> Option<u32> {
    let (_, number) = name.rsplit_once('-')?;
    // A sign or a leading zero is not part of an ordinal.
    let number_of = number.parse().ok()?;
    (u32::to_string(&number_of) == number).then_some(number_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(percent: f64) -> Pods {
        Pods::Share(Rate::from_percent(percent).unwrap())
    }

    fn hit(seed: u64, pods: &Pods) -> Vec<bool> {
        (0..1000).map(|i| Replica::named(Some(seed), Some(&format!("web-{i}"))).is_one_of(pods)).collect()
    }

    #[test]
    fn a_share_of_a_thousand_replicas_is_near_it_and_the_same_each_time() {
        let pods = percent(30.0);
        for seed in 0..50 {
            let count = hit(seed, &pods).into_iter().filter(|hit| *hit).count();
            assert!((250..=350).contains(&count), "{count} with seed {seed}");
            assert_eq!(hit(seed, &pods), hit(seed, &pods));
        }
        assert_ne!(hit(1, &pods), hit(2, &pods));
    }

    #[test]
    fn a_larger_share_holds_the_smaller_one_and_the_ends_are_all_and_none() {
        let (small, large) = (hit(7, &percent(20.0)), hit(7, &percent(60.0)));
        assert!(small.iter().zip(&large).all(|(small, large)| !small || *large));
        assert!(hit(7, &percent(100.0)).into_iter().all(|hit| hit));
        assert!(!hit(7, &percent(0.0)).into_iter().any(|hit| hit));
    }

    #[test]
    fn a_replica_without_a_seed_or_a_name_is_in_no_share() {
        let all = percent(100.0);
        assert!(!Replica::named(None, Some("web-0")).is_one_of(&all));
        assert!(!Replica::named(Some(1), None).is_one_of(&all));
    }

    #[test]
    fn the_ordinal_is_the_number_after_the_last_hyphen() {
        for (name, number) in [
            ("web-0", Some(0)),
            ("a-b-12", Some(12)),
            ("web", None),
            ("web-", None),
            ("web-01", None),
            ("web-+1", None),
        ] {
            assert_eq!(ordinal(name), number, "{name}");
        }
        assert!(Replica::named(None, Some("web-2")).is_one_of(&Pods::Ordinals(vec![0, 2])));
        assert!(!Replica::named(None, Some("web-1")).is_one_of(&Pods::Ordinals(vec![0, 2])));
    }
}
