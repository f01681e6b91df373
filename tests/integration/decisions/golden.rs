//! The first 10,000 decisions of one plan and seed, pinned: on every machine, in every version, from every thread.
//!
//! A change of the file changes what users replay by their seeds. `UPDATE_GOLDEN=1 cargo test golden` writes it anew.

use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use kube_probesim::fault::{ActivePlan, Client, Cut, Decision, Delay, Mode, RequestInfo, Target, Verdict};

use crate::decisions::draft::{Draft, active, explain, failure, fault, fixed, ms, partition, s, wait};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/decisions.txt");

const DECISIONS: u64 = 10_000;

/// Decisions that are written one by one; those after them are written a hundred to a line.
const IN_FULL: u64 = 200;

fn golden_plan() -> ActivePlan {
    let probes = [Target::Readiness, Target::Liveness];
    let on = |draft: Draft| draft.on(&probes);
    active([
        on(wait("fixed", fixed(30)).ramp(s(50))),
        on(wait("uniform", Delay::uniform(ms(50), ms(60)).unwrap()).rate(10.0)),
        on(wait("normal", Delay::normal(ms(20), ms(15)).unwrap()).rate(20.0).burst(5.0)),
        on(wait("lognormal", Delay::log_normal(ms(20), ms(400)).unwrap()).rate(7.0)),
        on(wait("exponential", Delay::exponential(ms(100)).unwrap()).rate(5.0).burst(100.0)),
        on(wait("table", Delay::percentiles(vec![(50.0, ms(20)), (90.0, ms(80)), (99.0, ms(400))]).unwrap())
            .rate(50.0)),
        on(fault("hang", Mode::Hang).requests(100, 10, 1_000)),
        on(fault("reset", Mode::Reset).rate(20.0).burst(10.0).window(20, 5, 30)),
        partition("cut", Cut::Drop).window(30, 5, 0),
        failure("dependency").on(&[Target::Dependency]).rate(3.0).delay(fixed(9)),
        failure("status").on(&Target::ALL).rate(10.0).delay(Delay::exponential(ms(5)).unwrap()),
    ])
}

/// A hundred requests a second.
fn attempt(target: Target, client: Client, number: u64) -> RequestInfo {
    RequestInfo { target: target.into(), client, elapsed: ms(number * 10), number }
}

fn golden_attempt(number: u64) -> RequestInfo {
    attempt(Target::Readiness, Client::Kubelet, number)
}

/// `a` for the plan's first rule, `b` for the second, and so on.
fn letter(rule: usize) -> char {
    char::from(b'a' + rule as u8)
}

fn verdict(decision: &Decision) -> char {
    match decision.verdict {
        Verdict::Pass => '.',
        Verdict::Inject(rule) => letter(rule),
        Verdict::DependencyFailed(rule) => letter(rule).to_ascii_uppercase(),
    }
}

fn report(plan: &ActivePlan) -> String {
    let mut text = String::from("rules:");
    for (position, rule) in plan.rules().enumerate() {
        write!(text, " {}={}", letter(position), rule.name()).unwrap();
    }
    writeln!(text, "\nverdict: . passes, a letter is the rule, a capital the dependency's\n").unwrap();

    writeln!(text, "readiness, kubelet: request, verdict, delay in ns, rules that fired").unwrap();
    for number in 1..=IN_FULL {
        let (decision, causes) = explain(plan, &golden_attempt(number));
        let fired: String = causes.iter().filter(|cause| cause.1).map(|cause| letter(cause.0)).collect();
        let line = format!("{number:>5} {} {:>10} {fired}", verdict(&decision), decision.delay.as_nanos());
        writeln!(text, "{}", line.trim_end()).unwrap();
    }

    writeln!(text, "\nreadiness, kubelet: last request of a hundred, verdicts, sum of delays in ns, fired")
        .unwrap();
    for last in (IN_FULL + 100..=DECISIONS).step_by(100) {
        let (mut verdicts, mut delay, mut fired) = (String::new(), 0, vec![0; plan.len()]);
        for number in last - 99..=last {
            let (decision, causes) = explain(plan, &golden_attempt(number));
            verdicts.push(verdict(&decision));
            delay += decision.delay.as_nanos();
            for (rule, _) in causes.iter().filter(|cause| cause.1) {
                fired[*rule] += 1;
            }
        }
        write!(text, "{last:>5} {verdicts} {delay:>11}").unwrap();
        for (rule, count) in fired.iter().enumerate().filter(|(_, count)| **count > 0) {
            write!(text, " {}{count}", letter(rule)).unwrap();
        }
        text.push('\n');
    }

    writeln!(text, "\neach target and client: verdicts of the first hundred, sum of delays in ns").unwrap();
    for target in Target::ALL {
        for client in Client::ALL {
            let decisions: Vec<Decision> =
                (1..=100).map(|number| explain(plan, &attempt(target, client, number)).0).collect();
            let verdicts: String = decisions.iter().map(verdict).collect();
            let delay: u128 = decisions.iter().map(|decision| decision.delay.as_nanos()).sum();
            writeln!(text, "{:<10} {:<7} {verdicts} {delay}", target.name(), client.name()).unwrap();
        }
    }
    text
}

#[test]
fn golden_decisions_are_those_of_the_file() {
    let now = report(&golden_plan());
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(FILE, &now).unwrap();
    }
    let pinned = std::fs::read_to_string(FILE).unwrap();
    let (old, new) = pinned
        .lines()
        .zip(now.lines())
        .find(|(old, new)| old != new)
        .unwrap_or(("the file ends elsewhere", "than the decisions"));
    assert!(pinned == now, "decisions changed; the first line that differs:\n{old}\n{new}");
}

#[test]
fn every_rule_fires_in_the_golden_decisions() {
    let plan = golden_plan();
    let mut fired = vec![false; plan.len()];
    for number in 1..=DECISIONS {
        plan.decide(&golden_attempt(number), |cause| fired[cause.rule] |= cause.fired);
    }
    for (rule, fired) in plan.rules().zip(fired) {
        assert_eq!(fired, !rule.is_partition(), "{}", rule.name());
    }
}

#[test]
fn golden_decisions_are_the_same_from_64_threads() {
    let plan = golden_plan();
    let numbers = AtomicU64::new(0);
    let seen = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                loop {
                    let number = 1 + numbers.fetch_add(1, Ordering::Relaxed);
                    if number > DECISIONS {
                        break;
                    }
                    let explained = explain(&plan, &golden_attempt(number));
                    seen.lock().unwrap().push((number, explained));
                }
            });
        }
    });
    let mut seen = seen.into_inner().unwrap();
    seen.sort_by_key(|(number, _)| *number);
    // A new plan, without any state of the threads.
    let fresh = golden_plan();
    let expected: Vec<_> = (1..=DECISIONS).map(|n| (n, explain(&fresh, &golden_attempt(n)))).collect();
    assert!(seen == expected);
}
