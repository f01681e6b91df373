//! The shutdown sequence.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::process::{ProcessEnding, term};
use super::proxies::ProxyListeners;
use super::signals::Signals;
use crate::clock::Timer;
use crate::engine::Engine;
use crate::env::ProcessSettings;
use crate::listener::{Conditions, ProcessStage};
use crate::telemetry::metrics::Metrics;

/// Why the service shuts down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ShutdownReason {
    /// A signal, and the drain is over.
    Drained,
    /// A second signal.
    AtOnce,
    /// A rule ends the process.
    ByRule(ProcessEnding),
}

/// How the shutdown is reported, and how long it may take.
pub(super) struct Shutdown {
    engine: Engine,
    metrics: Arc<Metrics>,
    timer: Timer,
    conditions: watch::Sender<Conditions>,
    /// How long the service keeps serving after a signal while it is not ready.
    delay: Duration,
    /// How long requests in progress may take after that.
    grace: Duration,
    /// The stage during the delay.
    leaving: ProcessStage,
    proxies: Arc<ProxyListeners>,
}

impl Shutdown {
    pub(super) fn new(
        engine: Engine,
        metrics: Arc<Metrics>,
        timer: Timer,
        conditions: watch::Sender<Conditions>,
        process: &ProcessSettings,
        leaving: ProcessStage,
        proxies: Arc<ProxyListeners>,
    ) -> Self {
        Self {
            engine,
            metrics,
            timer,
            conditions,
            delay: process.shutdown_delay,
            grace: process.shutdown_grace,
            leaving,
            proxies,
        }
    }

    /// Waits for a signal that no rule ignores, then drains until `serving` ends.
    pub(super) async fn run(self, mut signals: Signals, serving: JoinHandle<()>) -> ShutdownReason {
        let mut others = signals.clone();
        let is_termination = tokio::select! {
            () = term::accepted(&self.engine, &self.timer, &mut signals) => true,
            () = others.interrupted() => false,
        };
        tokio::select! {
            () = self.drain(is_termination, serving) => ShutdownReason::Drained,
            () = others.another() => {
                warn!("second signal: exiting immediately");
                ShutdownReason::AtOnce
            }
        }
    }

    async fn drain(&self, is_termination: bool, serving: JoinHandle<()>) {
        let leave = || {
            self.metrics.set_draining();
            self.conditions.send_modify(|conditions| conditions.stage = self.leaving);
            if self.leaving == ProcessStage::HandingOver {
                self.proxies.set_stage(self.leaving);
            }
        };
        if is_termination {
            term::put_off(&self.engine, &self.timer, leave).await;
        }
        leave();
        let Self { delay, grace, .. } = self;
        if self.leaving == ProcessStage::HandingOver {
            info!(?grace, "ending: new connections reach the application");
        } else {
            info!(?delay, ?grace, "shutting down: readiness fails");
        }
        sleep(*delay).await;
        let until = Instant::now() + *grace;
        self.conditions.send_modify(|conditions| conditions.stage = ProcessStage::Draining(until));
        // A panic of the task is already reported; the shutdown continues.
        let _ = serving.await;
        if self.leaving == ProcessStage::HandingOver {
            self.proxies.finish(until).await;
        }
        // Callers of proxies may take as long to shut down as this process.
        if is_termination && self.proxies.serve_any() {
            sleep_until(until).await;
        }
    }
}
