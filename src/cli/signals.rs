//! The signals that end a command.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end a command. Without handlers, the first process of a container does not receive them.
pub(super) struct EndSignals([Option<(u8, Signal)>; 2]);

impl EndSignals {
    pub(super) fn new() -> Self {
        Self([(2, SignalKind::interrupt()), (15, SignalKind::terminate())].map(|(number, kind)| {
            // If the handler cannot be installed, the default action remains.
            signal(kind).ok().map(|signal| (number, signal))
        }))
    }

    /// The number of the next signal.
    pub(super) async fn next(&mut self) -> u8 {
        async fn one(signal: &mut Option<(u8, Signal)>) -> u8 {
            match signal {
                Some((number, signal)) => {
                    signal.recv().await;
                    *number
                }
                None => std::future::pending().await,
            }
        }
        let [interrupt, terminate] = &mut self.0;
        tokio::select! {
            number = one(interrupt) => number,
            number = one(terminate) => number,
        }
    }
}
