//! The controller of a Job: when it creates Pods, and when the Job fails.
//!
//! As in `pkg/controller/job`: a replacement waits 10 s after a failure, doubled for each further failure in a row, up to
//! 10 minutes.

use std::time::Duration;

use super::roster::{Entry, Life, Roster};
use super::{Action, ClusterEvent, JobFailure};
use crate::kubelet::RestartPolicy;
use crate::predict::workload::{FailureAction, FailureRule, Job};

const FIRST_WAIT: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(600);

pub(super) struct JobController {
    job: Job,
    policy: RestartPolicy,
    /// Which Pods were counted.
    counted: Vec<bool>,
    succeeded: u32,
    failed: u32,
    /// Failures since the last success, and the time of the last.
    in_a_row: u32,
    failed_at: Option<Duration>,
    over: bool,
    /// When it last reacted.
    looked: Option<Duration>,
}

impl JobController {
    pub(super) fn new(job: Job, policy: RestartPolicy) -> Self {
        Self {
            job,
            policy,
            counted: Vec::new(),
            succeeded: 0,
            failed: 0,
            in_a_row: 0,
            failed_at: None,
            over: false,
            looked: None,
        }
    }

    /// The next time at which it may act without an event of a Pod.
    pub(super) fn next(&self, roster: &Roster) -> Option<Duration> {
        if self.over {
            return None;
        }
        let creates = (self.wanted(roster) > 0).then(|| self.allowed_from());
        let is_new = |at: &Duration| self.looked.is_none_or(|looked| *at > looked);
        creates.into_iter().chain(self.job.deadline).filter(is_new).min()
    }

    pub(super) fn react(&mut self, roster: &Roster, now: Duration, actions: &mut Vec<Action>) {
        self.looked = Some(now);
        if self.over {
            return;
        }
        let failure = self.count(roster).or_else(|| self.failure(roster, now));
        if let Some(why) = failure {
            self.over = true;
            actions.push(Action::Report(ClusterEvent::JobFailed(why)));
            actions.extend(deletions(roster));
            return;
        }
        let active = roster.positions(Entry::is_alive).count();
        let complete = match self.job.completions {
            Some(completions) => self.succeeded >= completions,
            None => self.succeeded > 0 && active == 0,
        };
        if complete {
            self.over = true;
            actions.push(Action::Report(ClusterEvent::JobComplete));
            actions.extend(deletions(roster));
            return;
        }
        if now >= self.allowed_from() {
            let first = roster.entries.len() as u32;
            actions.extend(
                (0..self.wanted(roster))
                    .map(|number| Action::Create { ordinal: first + number, revision: 0 }),
            );
        }
    }

    /// How many Pods are missing.
    fn wanted(&self, roster: &Roster) -> u32 {
        // With a podFailurePolicy, a terminating Pod is replaced only after it has Failed.
        let occupies = |entry: &Entry| match entry.life {
            Life::Alive => true,
            Life::Terminating => self.job.replaces_failed_only,
            _ => false,
        };
        let active = roster.positions(occupies).count() as u32;
        let most = match self.job.completions {
            Some(completions) => self.job.parallelism.min(completions.saturating_sub(self.succeeded)),
            // After one success, no new Pods are created.
            None if self.succeeded > 0 => active,
            None => self.job.parallelism,
        };
        most.saturating_sub(active)
    }

    fn allowed_from(&self) -> Duration {
        let Some(failed_at) = self.failed_at.filter(|_| self.in_a_row > 0) else { return Duration::ZERO };
        let wait = FIRST_WAIT.saturating_mul(1 << (self.in_a_row - 1).min(10)).min(LONGEST_WAIT);
        failed_at.saturating_add(wait)
    }

    /// Counts the Pods that have ended. Returns the failure that a rule demands.
    fn count(&mut self, roster: &Roster) -> Option<JobFailure> {
        self.counted.resize(roster.entries.len(), false);
        for (entry, counted) in roster.entries.iter().zip(&mut self.counted) {
            if *counted || !entry.is_over() {
                continue;
            }
            *counted = true;
            if entry.life == (Life::Finished { succeeded: true }) {
                self.succeeded += 1;
                self.in_a_row = 0;
                continue;
            }
            match action_on(&self.job.failure_rules, entry) {
                FailureAction::FailJob => return Some(JobFailure::PodFailurePolicy),
                FailureAction::Ignore => continue,
                FailureAction::Count => {}
            }
            self.failed += 1;
            self.in_a_row += 1;
            self.failed_at = entry.ended;
        }
        None
    }

    fn failure(&self, roster: &Roster, now: Duration) -> Option<JobFailure> {
        let limit = self.job.backoff_limit;
        let restarts: u64 =
            roster.entries.iter().filter(|entry| entry.is_alive()).map(|entry| entry.restarts).sum();
        let restarts_too_often =
            self.policy == RestartPolicy::OnFailure && restarts > 0 && restarts >= u64::from(limit);
        if self.failed > limit || restarts_too_often {
            return Some(JobFailure::BackoffLimitExceeded);
        }
        self.job.deadline.filter(|deadline| now >= *deadline).map(|_| JobFailure::DeadlineExceeded)
    }
}

fn deletions(roster: &Roster) -> impl Iterator<Item = Action> + '_ {
    roster.positions(Entry::is_alive).map(|pod| Action::Delete { pod, evicted: false })
}

/// The action of the first rule that matches a failed Pod.
fn action_on(rules: &[FailureRule], entry: &Entry) -> FailureAction {
    let holds = |rule: &&FailureRule| match &rule.codes {
        Some((container, codes)) => {
            let all = entry.codes.iter().enumerate();
            let of = |(at, code): (usize, &Option<u8>)| {
                container.is_none_or(|container| container == at)
                    && code.is_some_and(|code| code != 0 && codes.matches(code))
            };
            all.into_iter().any(of)
        }
        None => entry.evicted && rule.on_disruption,
    };
    rules.iter().find(holds).map_or(FailureAction::Count, |rule| rule.action)
}
