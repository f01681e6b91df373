//! The worker of one probe of a container: its schedule, and the effect of its results.

use super::attempt::AttemptResult;
use super::clock::{Nanos, SECOND};
use super::spec::{ProbeHandler, ProbeKind, ProbeSpec};
use crate::fault::ActivePlan;

/// Number of attempts if each is an error.
const TRIES: u8 = 3;
/// Limit of followed redirects.
const REDIRECTS: u8 = 9;

/// The state of a probe of the current container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WorkerState {
    Unknown,
    Success,
    Failure,
}

/// An attempt in progress.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) deadline: Nanos,
    pub(super) outcome: AttemptResult,
    /// The number of the container's start when it began.
    pub(super) start: u64,
    tries: u8,
    redirects: u8,
}

/// The next step after a request.
pub(super) enum NextStep {
    /// Another request of the attempt.
    Request(super::spec::ProbeEndpoint),
    /// A repetition of the attempt.
    Again,
    /// The attempt is over.
    Done(AttemptResult),
}

#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub(super) container: usize,
    pub(super) kind: ProbeKind,
    pub(super) handler: ProbeHandler,
    /// Whether it uses TLS.
    pub(super) https: bool,
    initial_delay: Nanos,
    /// When the initial delay of the latest start ends.
    pub(super) probes_from: Nanos,
    pub(super) timeout: Nanos,
    pub(super) period: Nanos,
    success_threshold: u32,
    failure_threshold: u32,
    pub(super) next_tick: Nanos,
    /// A sync has triggered an immediate attempt.
    pub(super) triggered: bool,
    pub(super) flight: Option<Flight>,
    pub(super) on_hold: bool,
    pub(super) state: WorkerState,
    last: Option<bool>,
    run: u32,
    /// The rules with a match that admit its requests, by position in the plan of who answers.
    pub(super) matched: Box<[usize]>,
    /// The same in the plan of the application behind that.
    pub(super) matched_behind: Box<[usize]>,
}

impl Worker {
    /// The worker of a probe whose answers come from a process with the first plan, and an application behind it with the
    /// second.
    pub(super) fn new(
        container: usize,
        kind: ProbeKind,
        probe: &ProbeSpec,
        plans: [Option<&ActivePlan>; 2],
    ) -> Self {
        let [matched, matched_behind] = plans.map(|plan| matched(probe, plan));
        let period = u64::from(probe.period.max(1)) * SECOND;
        Self {
            container,
            kind,
            handler: probe.handler,
            https: probe.address.https,
            initial_delay: u64::from(probe.initial_delay) * SECOND,
            probes_from: 0,
            timeout: u64::from(probe.timeout.max(1)) * SECOND,
            period,
            success_threshold: probe.success_threshold,
            failure_threshold: probe.failure_threshold,
            next_tick: period,
            triggered: false,
            flight: None,
            on_hold: false,
            state: WorkerState::Unknown,
            last: None,
            run: 0,
            matched,
            matched_behind,
        }
    }

    /// A new container: the state is reset, the run of results continues. The kubelet compares whole seconds of the
    /// wall clock, which is `ahead` of the virtual one and showed `started_at` at the start. No attempt is made before
    /// `hook_ends`, the end of postStart.
    pub(super) fn reset(&mut self, started_at: Nanos, ahead: Nanos, hook_ends: Nanos) {
        let delayed = started_at.saturating_add(self.initial_delay).saturating_sub(ahead);
        self.probes_from = delayed.max(hook_ends);
        self.on_hold = false;
        self.state = match self.kind {
            ProbeKind::Startup => WorkerState::Unknown,
            ProbeKind::Liveness => WorkerState::Success,
            ProbeKind::Readiness => WorkerState::Failure,
        };
    }

    /// When the worker wakes if no attempt is in progress.
    pub(super) fn wakes(&self, now: Nanos) -> Nanos {
        if self.triggered { now } else { self.next_tick.max(now) }
    }

    /// Handles a wake-up. A trigger restarts the period; of several ticks missed one is held, the others are lost.
    pub(super) fn wake(&mut self, now: Nanos) {
        if self.triggered {
            self.triggered = false;
            self.next_tick = now + self.period;
        } else {
            self.next_tick += self.period;
            if self.next_tick <= now {
                self.next_tick += ((now - self.next_tick) / self.period + 1) * self.period;
            }
        }
    }

    /// Skips the ticks before `now`.
    pub(super) fn skip_ticks(&mut self, now: Nanos) {
        self.next_tick += now.saturating_sub(self.next_tick).div_ceil(self.period) * self.period;
    }

    /// A new kubelet knows nothing of earlier attempts. The next tick is at `tick`.
    pub(super) fn forget(&mut self, tick: Nanos, on_hold: bool) {
        self.next_tick = tick;
        self.triggered = false;
        self.flight = None;
        self.on_hold = on_hold;
        self.last = None;
        self.run = 0;
        if self.kind == ProbeKind::Liveness {
            self.state = WorkerState::Success;
        }
    }

    /// An attempt begins.
    pub(super) const fn flight(&self, now: Nanos, start: u64) -> Flight {
        let deadline = now + self.timeout;
        Flight { deadline, outcome: AttemptResult::Success, start, tries: 1, redirects: 0 }
    }

    /// Records a success or failure. Returns the new state where the threshold is reached.
    pub(super) fn record(&mut self, success: bool) -> Option<WorkerState> {
        if self.last == Some(success) {
            self.run = self.run.saturating_add(1);
        } else {
            self.last = Some(success);
            self.run = 1;
        }
        if self.run < if success { self.success_threshold } else { self.failure_threshold } {
            return None;
        }
        // Both then wait for a new container, and restart counting.
        if self.kind == ProbeKind::Startup || (self.kind == ProbeKind::Liveness && !success) {
            self.on_hold = true;
            self.run = 0;
        }
        Some(if success { WorkerState::Success } else { WorkerState::Failure })
    }
}

/// The rules of a plan whose match admits the requests of a probe.
fn matched(probe: &ProbeSpec, plan: Option<&ActivePlan>) -> Box<[usize]> {
    let rules = plan.into_iter().flat_map(ActivePlan::rules).enumerate();
    let admitting = rules.filter(|(_, rule)| rule.request_match().is_some() && probe.is_admitted(rule));
    admitting.map(|(position, _)| position).collect()
}

impl Flight {
    /// The next step after a request that ended at `now`, given the timeout of an attempt.
    pub(super) fn next(&mut self, now: Nanos, timeout: Nanos, exec: bool) -> NextStep {
        use super::attempt::Symptom;
        match self.outcome {
            AttemptResult::Redirect(_) if self.redirects == REDIRECTS => {
                NextStep::Done(AttemptResult::Failure(Symptom::TooManyRedirects))
            }
            AttemptResult::Redirect(endpoint) => {
                self.redirects += 1;
                NextStep::Request(endpoint)
            }
            AttemptResult::Error(symptom) if exec => NextStep::Done(AttemptResult::Failure(symptom)),
            AttemptResult::Warning(_) if exec => NextStep::Done(AttemptResult::Success),
            AttemptResult::Error(_) if self.tries < TRIES => {
                self.tries += 1;
                self.redirects = 0;
                self.deadline = now + timeout;
                NextStep::Again
            }
            done => NextStep::Done(done),
        }
    }
}
