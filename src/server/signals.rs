//! Signals that request a shutdown.

use std::future::Future;
use std::io;

use crate::task;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Number of arrivals of each signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct SignalCounts {
    terminations: u32,
    interrupts: u32,
}

impl SignalCounts {
    const fn total(self) -> u32 {
        self.terminations.saturating_add(self.interrupts)
    }
}

/// The signals that have arrived, and future ones.
#[derive(Clone, Debug)]
pub struct Signals(watch::Receiver<SignalCounts>);

/// Ends a service as SIGINT does.
#[derive(Debug)]
pub(crate) struct Interrupt(watch::Sender<SignalCounts>);

impl Interrupt {
    /// One SIGINT: the service ends. A second one ends its drain.
    pub(crate) fn send(&self) {
        self.0.send_modify(|counts| counts.interrupts += 1);
    }
}

impl Signals {
    /// Counts SIGTERM and SIGINT from now on, until the runtime ends.
    ///
    /// # Errors
    ///
    /// The handlers cannot be set.
    pub fn listen() -> io::Result<Self> {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (counts, counted) = watch::channel(SignalCounts::default());
        task::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => counts.send_modify(|counts| counts.terminations += 1),
                    _ = interrupt.recv() => counts.send_modify(|counts| counts.interrupts += 1),
                }
            }
        });
        Ok(Self(counted))
    }

    /// A single SIGTERM, when `asked` ends.
    pub fn once(asked: impl Future<Output = ()> + Send + 'static) -> Self {
        let (counts, counted) = watch::channel(SignalCounts::default());
        task::spawn(async move {
            asked.await;
            counts.send_modify(|counts| counts.terminations = 1);
            counts.closed().await;
        });
        Self(counted)
    }

    /// Signals that the returned sender makes.
    pub(crate) fn manual() -> (Self, Interrupt) {
        let (counts, counted) = watch::channel(SignalCounts::default());
        (Self(counted), Interrupt(counts))
    }

    /// Number of SIGTERMs that have arrived.
    pub(super) fn terminations(&self) -> u32 {
        self.0.borrow().terminations
    }

    /// Waits until more than `known` SIGTERMs have arrived.
    pub(super) async fn terminated(&mut self, known: u32) {
        self.wait(|counts| counts.terminations > known).await;
    }

    /// Waits for a SIGINT.
    pub(super) async fn interrupted(&mut self) {
        self.wait(|counts| counts.interrupts > 0).await;
    }

    /// Waits for any signal after those that have arrived.
    pub(super) async fn another(&mut self) {
        let known = self.0.borrow().total();
        self.wait(|counts| counts.total() > known).await;
    }

    async fn wait(&mut self, is_there: impl Fn(&SignalCounts) -> bool) {
        if self.0.wait_for(is_there).await.is_err() {
            // The counter has been dropped.
            std::future::pending::<()>().await;
        }
    }
}
