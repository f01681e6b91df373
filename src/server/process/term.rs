//! Effects of rules on SIGTERM.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use crate::clock::Timer;
use crate::engine::Engine;
use crate::engine::events::EventKind;
use crate::fault::ProcessMode;
use crate::server::signals::Signals;

/// Waits for a SIGTERM that no rule ignores, or for the end of the window that ignored one.
pub(in crate::server) async fn accepted(engine: &Engine, timer: &Timer, signals: &mut Signals) {
    let mut known = 0;
    signals.terminated(known).await;
    let mut plans = engine.subscribe();
    loop {
        plans.borrow_and_update();
        let arrived = signals.terminations();
        let ignoring = report(engine, arrived > known, |mode| *mode == ProcessMode::IgnoreTerm);
        known = arrived;
        if !ignoring {
            return;
        }
        tokio::select! {
            () = signals.terminated(known) => {}
            // The engine outlives this.
            _ = plans.changed() => {}
            () = next_change(engine, timer) => {}
        }
    }
}

/// Waits while a rule delays the shutdown. Returns whether one does; `begin` is called first.
pub(in crate::server) async fn put_off(engine: &Engine, timer: &Timer, begin: impl FnOnce()) {
    let arrived = Instant::now();
    let is_slow = |mode: &ProcessMode| matches!(mode, ProcessMode::SlowTerm(_));
    if !report(engine, true, is_slow) {
        return;
    }
    begin();
    let mut plans = engine.subscribe();
    loop {
        plans.borrow_and_update();
        let active = engine.active();
        let delays = active.plan.process(engine.elapsed()).filter(|hit| hit.fired);
        let delay = delays.filter_map(|hit| match hit.mode {
            ProcessMode::SlowTerm(delay) => Some(*delay),
            _ => None,
        });
        // The longest of several delays applies.
        let Some(until) = delay.max().map(|delay| arrived + delay).filter(|until| *until > Instant::now())
        else {
            info!("SIGTERM takes effect now");
            return;
        };
        tokio::select! {
            () = timer.sleep_until(until) => {}
            _ = plans.changed() => {}
            () = next_change(engine, timer) => {}
        }
    }
}

/// Whether a rule of that kind acts on SIGTERM now. With `is_new`, it is counted and reported for a signal that just
/// arrived.
fn report(engine: &Engine, is_new: bool, is_meant: impl Fn(&ProcessMode) -> bool) -> bool {
    let (active, elapsed) = (engine.active(), engine.elapsed());
    let mut acts = false;
    for hit in active.plan.process(elapsed).filter(|hit| is_meant(hit.mode)) {
        acts |= hit.fired;
        if !is_new {
            continue;
        }
        active.count_process(hit.rule, hit.fired);
        if hit.fired {
            let fault = active.plan.rule(hit.rule).name().to_string();
            let what = match hit.mode {
                ProcessMode::SlowTerm(delay) => {
                    format!("SIGTERM takes effect in {}", crate::units::Show(*delay))
                }
                _ => "SIGTERM is ignored".to_owned(),
            };
            warn!(fault, mode = hit.mode.name(), "{what}");
            engine.events().push(EventKind::Process { fault, mode: hit.mode.name(), what });
        }
    }
    acts
}

/// Waits until the window of a process rule opens or closes.
async fn next_change(engine: &Engine, timer: &Timer) {
    let next = super::next_change(&engine.active().plan, engine.elapsed());
    // A window includes the instant of its opening, but not that of its end.
    timer.sleep_until_some(next.map(|next| engine.instant(next) + Duration::from_millis(1))).await;
}
