//! Ctrl-C, while there is something to end first.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::cli::shared::block_on;
use crate::cli::signals::EndSignals;

/// The signals that ask the program to end; from its creation on, they end it no longer by themselves.
pub(super) struct Interrupts(Receiver<u8>);

impl Interrupts {
    pub(super) fn new() -> Self {
        let (sender, signals) = mpsc::channel();
        std::thread::spawn(move || {
            let forward = async {
                let mut ends = EndSignals::new();
                // The first message says that the handlers are there.
                let mut sent = sender.send(0);
                while sent.is_ok() {
                    sent = sender.send(ends.next().await);
                }
                0
            };
            // Without a runtime, the signals end the program at once.
            let _ = block_on(Box::pin(forward));
        });
        let _ = signals.recv();
        Self(signals)
    }

    /// Waits so long, or until the next signal; whether there was one.
    pub(super) fn wait(&self, time: Duration) -> bool {
        match self.0.recv_timeout(time) {
            Ok(_) => true,
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(time);
                false
            }
        }
    }
}
