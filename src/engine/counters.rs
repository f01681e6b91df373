//! The score of rules.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::fault::{Rule, RuleName, Target, Targets};

/// What is counted of a rule: requests of each target, and connections.
pub(super) const SUBJECTS: usize = Target::COUNT + 1;

/// The subject that stands for the listener.
pub(super) const LISTENER: usize = Target::COUNT;

/// Counts by subject.
type Tallies = Arc<[AtomicU64; SUBJECTS]>;

/// What was counted when a rule appeared: eligible and injected, by subject.
pub(super) type Baseline = [(u64, u64); SUBJECTS];

/// The score of all rules that had a name. Counters never go back, whatever becomes of the rule.
#[derive(Clone, Debug)]
pub struct RuleCounters {
    pub(super) name: RuleName,
    targets: Targets,
    is_partition: bool,
    eligible: Tallies,
    /// By mode, the present one first.
    injected: Vec<(&'static str, Tallies)>,
    /// What people read begins here, while metrics go on.
    pub(super) baseline: Baseline,
    /// For how long windows in time were open until `since`, on the engine's clock.
    pub(super) open: Duration,
    pub(super) since: Duration,
}

/// One line of a rule's score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// `listener`, or the name of the target that was asked for.
    pub subject: &'static str,
    /// Requests, or connections, for which the rule was in its window and not passed over.
    pub eligible: u64,
    /// Those it acted on, in its present mode.
    pub injected: u64,
}

impl RuleCounters {
    pub(super) fn new(rule: &Rule, now: Duration) -> Self {
        Self {
            name: rule.name().clone(),
            targets: rule.targets(),
            is_partition: rule.is_partition(),
            eligible: Tallies::default(),
            injected: vec![(rule.effect(), Tallies::default())],
            baseline: Baseline::default(),
            open: Duration::ZERO,
            since: now,
        }
    }

    /// Goes on for a rule of the same name; with `anew`, one that is not the rule that was counted before.
    pub(super) fn continued(mut self, rule: &Rule, anew: bool, now: Duration) -> Self {
        let mode = rule.effect();
        match self.injected.iter().position(|(known, _)| *known == mode) {
            Some(position) => self.injected.swap(0, position),
            None => self.injected.insert(0, (mode, Tallies::default())),
        }
        if anew {
            self.baseline = std::array::from_fn(|subject| {
                let load = |tallies: &Tallies| tallies[subject].load(Ordering::Relaxed);
                (load(&self.eligible), load(&self.injected[0].1))
            });
        }
        Self { targets: rule.targets(), is_partition: rule.is_partition(), since: now, ..self }
    }

    /// The score as it stays when the rule goes; its windows were open for so long.
    pub(super) fn closed(&self, open: Duration) -> Self {
        Self { open, ..self.clone() }
    }

    /// The rules' name.
    pub fn name(&self) -> &RuleName {
        &self.name
    }

    /// By subject: a line for each target, readiness included where it was asked for its dependency.
    pub fn eligible(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.lines(&self.eligible)
    }

    /// By mode and subject.
    pub fn injected(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        self.injected
            .iter()
            .flat_map(|(mode, tallies)| self.lines(tallies).map(|(subject, count)| (*mode, subject, count)))
    }

    /// For how long windows in time had been open when the rule went.
    pub fn open(&self) -> Duration {
        self.open
    }

    fn lines(&self, tallies: &Tallies) -> impl Iterator<Item = (&'static str, u64)> {
        (0..SUBJECTS)
            .filter(|subject| self.is_own(*subject) || self.eligible[*subject].load(Ordering::Relaxed) > 0)
            .map(|subject| (subject_name(subject), tallies[subject].load(Ordering::Relaxed)))
    }

    pub(super) fn tallies(&self, since: &Baseline) -> impl Iterator<Item = Tally> {
        (0..SUBJECTS).filter_map(|subject| {
            let (eligible, injected) = since[subject];
            // A request that the plan before decided may be counted a moment later.
            let tally = Tally {
                subject: subject_name(subject),
                eligible: self.eligible[subject].load(Ordering::Relaxed).saturating_sub(eligible),
                injected: self.injected[0].1[subject].load(Ordering::Relaxed).saturating_sub(injected),
            };
            (self.is_own(subject) || tally.eligible > 0).then_some(tally)
        })
    }

    /// Whether the present rule names the subject.
    fn is_own(&self, subject: usize) -> bool {
        Target::ALL.get(subject).map_or(self.is_partition, |target| self.targets.contains(*target))
    }

    pub(super) fn score(&self, subject: usize, fired: bool) {
        self.eligible[subject].fetch_add(1, Ordering::Relaxed);
        if fired {
            self.injected[0].1[subject].fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn subject_name(subject: usize) -> &'static str {
    Target::ALL.get(subject).map_or("listener", |target| target.name())
}
