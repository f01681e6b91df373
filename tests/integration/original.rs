//! Compatibility with the original Go program: its variables, units and outcomes, on a virtual clock.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::float_cmp)]

use std::time::Duration;

use kube_probesim::fault::{ActivePlan, Client, Mode, RequestInfo, Seed, Target, Verdict};

/// The service on a virtual clock, probed as the kubelet probes.
struct Drill {
    plan: ActivePlan,
    numbers: [u64; Target::COUNT],
}

impl Drill {
    fn new(vars: &[(&str, &str)]) -> Self {
        let config = crate::support::config(vars);
        let plan = ActivePlan::new(config.plan, Seed(42), config.readiness_checks_dependency);
        Self { plan, numbers: [0; Target::COUNT] }
    }

    /// Status and delay of the next request to `target`, at `elapsed` since the start.
    fn ask(&mut self, target: Target, elapsed: Duration) -> (u16, Duration) {
        let number = &mut self.numbers[target.index()];
        *number += 1;
        let attempt =
            RequestInfo { target: target.into(), client: Client::Kubelet, elapsed, number: *number };
        let decision = self.plan.decide(&attempt, |_| {});
        let status = match decision.verdict {
            Verdict::Pass => 200,
            Verdict::DependencyFailed(_) => 500,
            Verdict::Inject(rule) => match self.plan.rule(rule).mode() {
                Some(Mode::Status(status)) => *status,
                other => panic!("{other:?}"),
            },
        };
        (status, decision.delay)
    }

    fn status(&mut self, target: Target, seconds: u64) -> u16 {
        self.ask(target, Duration::from_secs(seconds)).0
    }

    /// The share of failures of a thousand requests in one second.
    fn failures(&mut self, target: Target, seconds: u64) -> f64 {
        (0..1000).filter(|_| self.status(target, seconds) == 500).count() as f64 / 1000.0
    }
}

use Target::{Dependency, Liveness, Readiness};

#[test]
fn without_variables_everything_stays_healthy() {
    let mut drill = Drill::new(&[]);
    for target in Target::ALL {
        for seconds in [0, 60, 3600, 1_000_000] {
            assert_eq!(drill.ask(target, Duration::from_secs(seconds)), (200, Duration::ZERO));
        }
    }
}

#[test]
fn the_manifest_of_the_original_fails_as_before() {
    let mut drill = Drill::new(&[
        ("FAILURE_RATE", "20"),
        ("LATENCY", "50"),
        ("LIVENESS_FAIL_AFTER_TIME", "60"),
        ("READINESS_FAIL_AFTER_TIME", "120"),
        ("DISCONNECT_AFTER", "30"),
        ("RECONNECT_AFTER", "10"),
    ]);
    for target in [Liveness, Readiness] {
        let share = drill.failures(target, 30);
        assert!((0.15..0.25).contains(&share), "{target}: {share}");
    }
    assert_eq!(drill.failures(Dependency, 30), 0.0);
    assert_eq!(drill.failures(Liveness, 60), 1.0);
    assert!(drill.failures(Readiness, 119) < 0.3);
    assert_eq!(drill.failures(Readiness, 120), 1.0);
    for target in [Liveness, Readiness, Dependency] {
        assert_eq!(drill.ask(target, Duration::from_secs(500)).1, Duration::from_millis(50), "{target}");
    }
}

#[test]
fn a_failure_rate_acts_on_liveness_and_readiness_but_not_on_the_dependency() {
    let mut drill = Drill::new(&[("FAILURE_RATE", "100")]);
    assert_eq!((drill.failures(Liveness, 0), drill.failures(Readiness, 0)), (1.0, 1.0));
    assert_eq!(drill.failures(Dependency, 0), 0.0);
    let mut none = Drill::new(&[("FAILURE_RATE", "0")]);
    assert_eq!(none.failures(Liveness, 0), 0.0);
}

#[test]
fn latency_is_in_milliseconds_and_delays_every_answer() {
    let mut drill = Drill::new(&[("LATENCY", "250"), ("FAILURE_RATE", "50")]);
    for target in [Liveness, Readiness, Dependency] {
        for _ in 0..20 {
            assert_eq!(drill.ask(target, Duration::ZERO).1, Duration::from_millis(250));
        }
    }
}

#[test]
fn fail_after_time_is_in_seconds_and_never_recovers() {
    let mut drill = Drill::new(&[("LIVENESS_FAIL_AFTER_TIME", "60"), ("READINESS_FAIL_AFTER_TIME", "0")]);
    assert_eq!(drill.status(Liveness, 59), 200);
    for seconds in [60, 61, 3600, 1_000_000] {
        assert_eq!(drill.status(Liveness, seconds), 500, "{seconds}");
        assert_eq!(drill.status(Readiness, seconds), 200, "{seconds}");
    }
}

#[test]
fn a_partition_is_in_minutes_and_fails_only_readiness() {
    let mut drill = Drill::new(&[("DISCONNECT_AFTER", "30"), ("RECONNECT_AFTER", "10")]);
    for (minutes, status) in [(0, 200), (29, 200), (30, 500), (39, 500), (40, 200), (400, 200)] {
        assert_eq!(drill.status(Readiness, minutes * 60), status, "minute {minutes}");
        assert_eq!(drill.status(Liveness, minutes * 60), 200);
        assert_eq!(drill.status(Dependency, minutes * 60), 200);
    }
}

#[test]
fn a_failing_dependency_also_fails_readiness() {
    for yes in ["true", "1", "t", "T", "TRUE", "True"] {
        let mut drill = Drill::new(&[("FAIL_DEPENDENCY", yes)]);
        assert_eq!(drill.status(Dependency, 0), 500, "{yes}");
        assert_eq!(drill.status(Readiness, 0), 500, "{yes}");
        assert_eq!(drill.status(Liveness, 0), 200, "{yes}");
    }
    for no in ["false", "0", "f", "F", "FALSE", "False"] {
        let mut drill = Drill::new(&[("FAIL_DEPENDENCY", no)]);
        assert_eq!((drill.status(Dependency, 0), drill.status(Readiness, 0)), (200, 200), "{no}");
    }
}

#[test]
fn after_fail_count_answers_the_next_recovery_period_answers_fail() {
    let mut drill = Drill::new(&[("FAIL_COUNT", "3"), ("RECOVERY_PERIOD", "2")]);
    for target in [Liveness, Readiness] {
        let statuses: Vec<u16> = (0..8).map(|_| drill.status(target, 0)).collect();
        assert_eq!(statuses, [200, 200, 200, 500, 500, 200, 200, 200], "{target}");
    }
}

#[test]
fn fail_count_alone_does_nothing() {
    let mut drill = Drill::new(&[("FAIL_COUNT", "3")]);
    assert_eq!(drill.failures(Liveness, 0), 0.0);
}

#[test]
fn recovery_period_alone_fails_from_the_first_answer_on() {
    let mut drill = Drill::new(&[("RECOVERY_PERIOD", "2")]);
    let statuses: Vec<u16> = (0..4).map(|_| drill.status(Liveness, 0)).collect();
    assert_eq!(statuses, [500, 500, 200, 200]);
}

#[test]
fn a_disconnect_without_a_reconnect_never_cuts() {
    for pairs in [&[("DISCONNECT_AFTER", "1")][..], &[("DISCONNECT_AFTER", "1"), ("RECONNECT_AFTER", "0")]] {
        let mut drill = Drill::new(pairs);
        for target in [Liveness, Readiness, Dependency] {
            assert_eq!(
                (drill.status(target, 59), drill.status(target, 3600)),
                (200, 200),
                "{pairs:?} {target}"
            );
        }
    }
    let mut drill = Drill::new(&[("PARTITION_AFTER", "1")]);
    assert_eq!((drill.status(Readiness, 59), drill.status(Readiness, 1_000_000)), (200, 500));
}
