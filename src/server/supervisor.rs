//! Follows time windows: notifies the listener of partitions, and reports every change to the log and as an event.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::info;

use super::windows::Windows;
use crate::clock::Timer;
use crate::engine::events::EventKind;
use crate::engine::{Active, Engine};
use crate::fault::{Client, Link, ListenerId, ListenerName};
use crate::listener::Conditions;
use crate::telemetry::metrics::Metrics;

/// Minimum time between two checks of the windows.
const MIN_PAUSE: Duration = Duration::from_millis(10);

/// Maximum delay of a busy supervisor.
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// Minimum ratio of a pause to the work before it, so that the supervisor uses at most a tenth of a core.
const REST: u32 = 9;

/// Time from the first omitted report to the report of their number.
const SUMMARY_DELAY: Duration = Duration::from_secs(1);

/// The current conditions of connections, before any signal.
pub(super) fn conditions(engine: &Engine) -> Conditions {
    let active = engine.active();
    Conditions {
        link: active.plan.link(ListenerId::Probe, engine.elapsed()),
        is_stopped: active.plan.is_stopped(),
        ..Conditions::default()
    }
}

/// Runs until it is aborted. Requests do not depend on it: each is decided by its own time.
pub(super) async fn run(engine: Engine, conditions: watch::Sender<Conditions>, timer: Timer) {
    let mut plans = engine.subscribe();
    let mut windows = Windows::default();
    let mut generation = 0;
    let mut summary: Option<Instant> = None;
    loop {
        let began = Instant::now();
        let elapsed = engine.elapsed();
        let active = plans.borrow_and_update().clone();
        if windows.is_of(&active) {
            let changed = windows.advance(elapsed);
            for (position, open) in changed.opened_or_closed {
                report_window(&engine, &active, position, open, elapsed);
            }
            if changed.listener {
                update(&engine, &active, &conditions, windows.link(), elapsed);
            }
        } else {
            let before = std::mem::replace(&mut windows, Windows::new(active.clone(), elapsed));
            // The line that announces a plan says what it begins with; the same plan on another clock is announced by
            // nobody.
            if generation == active.generation {
                for (position, open) in windows.differences(&before) {
                    report_window(&engine, &active, position, open, elapsed);
                }
            }
            generation = active.generation;
            update(&engine, &active, &conditions, windows.link(), elapsed);
        }
        if summary.is_some_and(|summary| summary <= began) {
            summary = None;
            engine.events().report_omitted();
        }

        let rest = began + (began.elapsed() * REST).clamp(MIN_PAUSE, MAX_PAUSE);
        let next = windows.next_change().map(|next| engine.instant(next)).into_iter().chain(summary).min();
        tokio::select! {
            () = timer.sleep_until_some(next) => {}
            () = engine.events().omission() => {
                summary.get_or_insert(began + SUMMARY_DELAY);
            }
            changed = plans.changed() => if changed.is_err() { return },
        }
        timer.sleep_until(rest).await;
    }
}

fn report_window(engine: &Engine, active: &Active, position: usize, open: bool, elapsed: Duration) {
    let rule = active.plan.rule(position);
    let event = || EventKind::Window { fault: rule.name().to_string(), open, mode: rule.effect() };
    if engine.events().push_change(elapsed, event) {
        let change = if open { "opened" } else { "closed" };
        info!(fault = %rule.name(), mode = rule.effect(), elapsed_s = elapsed.as_secs_f64(), "window {change}");
    }
}

/// Informs the listener, and reports the start or end of a cut of all its connections.
fn update(
    engine: &Engine,
    active: &Active,
    conditions: &watch::Sender<Conditions>,
    link: Link,
    elapsed: Duration,
) {
    let cuts_proxies =
        active.plan.rules().any(|rule| matches!(rule.listener(), Some(ListenerName::Proxy(_))));
    conditions.send_if_modified(|conditions| {
        let is_stopped = active.plan.is_stopped();
        let was_stopped = std::mem::replace(&mut conditions.is_stopped, is_stopped);
        let before = std::mem::replace(&mut conditions.link, link);
        if before != link && (before.whole.is_some() || link.whole.is_some()) {
            let fault = link.whole.map(|cut| active.plan.rule(cut.rule).name().to_string());
            let event = || EventKind::Partition { open: fault.is_some(), fault: fault.clone() };
            if engine.events().push_change(elapsed, event) {
                if let (Some(cut), Some(fault)) = (link.whole, &fault) {
                    info!(fault, mode = cut.cut.name(), "partition begins");
                } else {
                    info!("partition ends");
                }
            }
        }
        // Cuts of some clients, or of proxies, may have changed without a change of the link.
        before != link || link.partial || cuts_proxies || is_stopped != was_stopped
    });
}

/// How often a rule could act, and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleTotal {
    /// Its name.
    pub rule: String,
    /// Requests and connections on which it could act.
    pub eligible: u64,
    /// Those on which it did.
    pub injected: u64,
}

/// Logs the totals that would be lost at exit, and returns those of rules.
pub(super) fn log_totals(engine: &Engine, metrics: &Metrics) -> Vec<RuleTotal> {
    engine.events().report_omitted();
    for total in metrics.totals() {
        let (target, client, code) = (total.target, total.client.name(), total.code);
        info!(target, client, code, count = total.count, "total of requests");
    }
    let active = engine.active();
    let mut totals = Vec::new();
    for (position, rule) in active.plan.rules().enumerate() {
        let mut total = RuleTotal { rule: rule.name().to_string(), eligible: 0, injected: 0 };
        for tally in active.totals(position).filter(|tally| tally.eligible > 0) {
            let (eligible, injected) = (tally.eligible, tally.injected);
            info!(fault = %rule.name(), target = tally.subject, eligible, injected, "total of a rule");
            total.eligible += eligible;
            total.injected += injected;
        }
        totals.push(total);
    }
    let snapshot = engine.snapshot();
    info!(
        uptime_s = engine.uptime().as_secs_f64(),
        kubelet = snapshot.counts.total(Client::Kubelet),
        other = snapshot.counts.total(Client::Other),
        "ended"
    );
    totals
}
