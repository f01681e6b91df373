//! What the engine costs without a network: decisions, plans, a scrape. `cargo bench --bench decide`.

#![allow(clippy::expect_used)]

use std::hint::black_box;
use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use kube_probesim::engine::Engine;
use kube_probesim::fault::{
    Action, ActivePlan, Burst, Client, ClientFilter, Decision, Delay, Mode, Origin, Plan, Rate, RequestInfo,
    Rule, RuleName, Seed, Target, Targets, TimeWindow, Trigger,
};
use kube_probesim::telemetry::metrics::{Metrics, RequestOutcome};

/// Decisions per sample; their numbers run on, as those of requests do.
const BATCH: u64 = 1_000;

const COUNTS: [usize; 4] = [0, 1, 10, 100];

fn main() {
    divan::main();
}

/// Rules of `rate` percent, each evaluated for each request: of those with a mode none is once one has fired, so all
/// but the last have a delay alone.
fn rules(count: usize, rate: f64, burst: Option<f64>, delay: &Delay) -> Vec<Rule> {
    let rate = Rate::from_percent(rate).expect("a rate");
    let trigger = Trigger {
        rate,
        burst: burst.map(|mean| Burst::new(mean, rate).expect("a burst")),
        ..Trigger::ALWAYS
    };
    (1..=count)
        .map(|i| {
            let last = i == count;
            let action = Action::Requests {
                targets: Targets::NONE.with(Target::Liveness),
                delay: (!last).then(|| delay.clone()),
                mode: last.then_some(Mode::Status(500)),
            };
            let name = RuleName::new(&format!("rule-{i}")).expect("a name");
            Rule::new(name, ClientFilter::Any, trigger.clone(), action).expect("a rule")
        })
        .collect()
}

fn active(rules: Vec<Rule>) -> ActivePlan {
    ActivePlan::new(Plan::new(rules).expect("a plan"), Seed(42), true)
}

fn fixed() -> Delay {
    Delay::fixed(Duration::from_millis(50)).expect("a delay")
}

fn decide_each(bencher: Bencher, plan: &ActivePlan) {
    let mut number = 0;
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for _ in 0..BATCH {
            number += 1;
            black_box(decide(black_box(plan), number));
        }
    });
}

fn decide(plan: &ActivePlan, number: u64) -> Decision {
    let elapsed = Duration::from_secs(60);
    let attempt = RequestInfo { target: Target::Liveness.into(), client: Client::Kubelet, elapsed, number };
    plan.decide(&attempt, |cause| {
        black_box(cause);
    })
}

/// A sample is of 1,000 decisions, so its microseconds are nanoseconds for one.
#[divan::bench(args = COUNTS)]
fn independent(bencher: Bencher, count: usize) {
    decide_each(bencher, &active(rules(count, 20.0, None, &fixed())));
}

/// Ten rules: what is hard to foretell costs the processor most.
#[divan::bench(args = [0.0, 1.0, 20.0, 50.0, 100.0])]
fn ten_independent_at(bencher: Bencher, rate: f64) {
    decide_each(bencher, &active(rules(10, rate, None, &fixed())));
}

/// Ten rules in a window that opens again and again.
#[divan::bench]
fn ten_in_windows(bencher: Bencher) {
    let s = Duration::from_secs;
    let window = TimeWindow::new(s(10), Some(s(20)), Some(s(40))).expect("a window");
    let rules = rules(10, 20.0, None, &fixed()).into_iter().map(|rule| {
        let trigger = Trigger { time: Some(window), ..rule.trigger().clone() };
        Rule::new(rule.name().clone(), rule.client(), trigger, rule.action().clone()).expect("a rule")
    });
    decide_each(bencher, &active(rules.collect()));
}

/// Bursts of mean 5 at 20 %: four draws are read back on average.
#[divan::bench(args = COUNTS)]
fn bursts_of_5(bencher: Bencher, count: usize) {
    decide_each(bencher, &active(rules(count, 20.0, Some(5.0), &fixed())));
}

/// The longest bursts, at 1 %: 99 draws are read back on average.
#[divan::bench(args = COUNTS)]
fn bursts_of_100(bencher: Bencher, count: usize) {
    decide_each(bencher, &active(rules(count, 1.0, Some(100.0), &fixed())));
}

/// Ten rules of which nine always wait, by a distribution that takes a logarithm or more.
#[divan::bench(args = ["uniform", "normal", "lognormal", "exponential", "percentiles"])]
fn nine_delays(bencher: Bencher, distribution: &str) {
    let ms = Duration::from_millis;
    let delay = match distribution {
        "uniform" => Delay::uniform(ms(50), ms(10)),
        "normal" => Delay::normal(ms(50), ms(10)),
        "lognormal" => Delay::log_normal(ms(20), ms(400)),
        "exponential" => Delay::exponential(ms(50)),
        _ => Delay::percentiles(vec![(50.0, ms(20)), (90.0, ms(80)), (99.0, ms(400))]),
    };
    decide_each(bencher, &active(rules(10, 100.0, None, &delay.expect("a delay"))));
}

/// A plan of 1,000 rules, checked and made active.
#[divan::bench]
fn build_1000_rules(bencher: Bencher) {
    let rules = rules(1_000, 20.0, None, &fixed());
    bencher.with_inputs(|| rules.clone()).bench_local_values(active);
}

/// A plan of 1,000 rules that follows one just like it, as after an edit of one rule.
#[divan::bench]
fn succeed_1000_rules(bencher: Bencher) {
    let rules = rules(1_000, 20.0, None, &fixed());
    let before = active(rules.clone());
    let plan = Plan::new(rules).expect("a plan");
    let now = Origin { elapsed: Duration::from_secs(60), ..Origin::default() };
    bencher.with_inputs(|| plan.clone()).bench_local_values(|plan| before.successor(plan, Seed(42), &now));
}

/// The text of `/metrics` once every target has been asked by every client.
#[divan::bench(args = COUNTS)]
fn scrape(bencher: Bencher, count: usize) {
    let engine = Engine::new(active(rules(count, 20.0, None, &fixed())));
    let metrics = Metrics::new(engine).expect("metrics");
    for target in Target::ALL {
        for client in Client::ALL {
            for status in [200, 500] {
                metrics.request(target, client, RequestOutcome::Answered(status), Duration::from_millis(50));
            }
        }
    }
    bencher.bench_local(|| metrics.encode());
}
