//! Watches the windows of the rules: tells the listener of partitions and the log of every change.

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::info;

use crate::clock::Timer;
use crate::engine::Engine;
use crate::engine::events::EventKind;
use crate::fault::{Client, Target};
use crate::listener::Conditions;
use crate::telemetry::metrics::Metrics;

/// The conditions of connections as of now, before any signal.
pub(super) fn conditions(engine: &Engine) -> Conditions {
    let active = engine.active();
    Conditions {
        link: active.plan.link(engine.elapsed()),
        is_stopped: active.plan.is_stopped(),
        ..Conditions::default()
    }
}

/// Runs until it is aborted.
pub(super) async fn run(engine: Engine, conditions: watch::Sender<Conditions>, timer: Timer) {
    let mut plans = engine.subscribe();
    let mut open: Vec<bool> = Vec::new();
    let mut generation = 0;
    loop {
        let active = plans.borrow_and_update().clone();
        let elapsed = engine.elapsed();
        let now: Vec<bool> =
            (0..active.plan.len()).map(|position| active.plan.is_in_time(position, elapsed)).collect();
        for (position, is_open) in now.iter().enumerate() {
            // What a plan begins with is in the line that announces the plan.
            let was_open = if generation == active.generation { open.get(position) } else { Some(is_open) };
            if was_open != Some(is_open) {
                let rule = active.plan.rule(position);
                let (fault, open) = (rule.name().to_string(), *is_open);
                engine.events().push(EventKind::Window { fault, open, mode: rule.effect() });
                let change = if open { "opened" } else { "closed" };
                info!(fault = %rule.name(), mode = rule.effect(), elapsed_s = elapsed.as_secs_f64(), "window {change}");
            }
        }
        (open, generation) = (now, active.generation);

        let link = active.plan.link(elapsed);
        conditions.send_if_modified(|conditions| {
            let is_stopped = active.plan.is_stopped();
            let was_stopped = std::mem::replace(&mut conditions.is_stopped, is_stopped);
            let changed = conditions.link != link;
            if changed {
                let name = |position: usize| active.plan.rule(position).name().to_string();
                let (before, after) = (conditions.link.whole.is_some(), link.whole);
                if before || after.is_some() {
                    let fault = after.map(|cut| name(cut.rule));
                    engine.events().push(EventKind::Partition { open: fault.is_some(), fault });
                }
                match after {
                    Some(cut) => info!(fault = name(cut.rule), mode = cut.cut.name(), "partition begins"),
                    None if before => info!("partition ends"),
                    None => {}
                }
                conditions.link = link;
            }
            // Cuts of some clients may have changed without a change of the whole.
            changed || link.partial || is_stopped != was_stopped
        });

        let next = active.plan.next_change(elapsed).map(|next| engine.instant(next));
        tokio::select! {
            () = at(&timer, next) => {}
            changed = plans.changed() => if changed.is_err() { return },
        }
    }
}

async fn at(timer: &Timer, instant: Option<Instant>) {
    match instant {
        Some(instant) => timer.sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// What is gone with the process: nobody scrapes it any more.
pub(super) fn log_totals(engine: &Engine, metrics: &Metrics) {
    for (target, client, code, count) in metrics.totals() {
        info!(target = target.name(), client = client.name(), code, count, "total of requests");
    }
    let active = engine.active();
    for (position, rule) in active.plan.rules().enumerate() {
        for tally in active.tallies(position).filter(|tally| tally.eligible > 0) {
            let (eligible, injected) = (tally.eligible, tally.injected);
            info!(fault = %rule.name(), target = tally.subject, eligible, injected, "total of a rule");
        }
    }
    let snapshot = engine.snapshot();
    let total =
        |client| -> u64 { Target::ALL.iter().map(|target| snapshot.counts.get(*target, client)).sum() };
    info!(
        uptime_s = engine.uptime().as_secs_f64(),
        kubelet = total(Client::Kubelet),
        other = total(Client::Other),
        "ended"
    );
}
