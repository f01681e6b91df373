//! Saves what has changed, in a thread of its own.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{State, StateDir};
use crate::clock::wall_clock;

/// Time between two looks at the state, at most lost by a kill.
const PERIOD: Duration = Duration::from_millis(100);

/// Time between two saves where only time has passed.
const CLOCK_PERIOD: Duration = Duration::from_secs(1);

/// Enough to write a state; the state itself is on the heap.
const STACK: usize = 256 << 10;

/// The thread that saves. Dropped without [`finish`](Self::finish) it saves a last time as well, but nobody waits for it.
#[derive(Debug)]
pub struct Saver {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

/// Saves what `state` gives every 100 ms if it differs from what was saved last; where only time has passed, every second.
/// Each kind of error is reported to `failed` once, until saving works again.
///
/// # Errors
///
/// The thread could not be started.
pub fn spawn(
    dir: StateDir,
    state: impl Fn() -> State + Send + 'static,
    mut failed: impl FnMut(io::Error) + Send + 'static,
) -> io::Result<Saver> {
    let (stop, stopped) = mpsc::channel();
    let mut saving = Saving { dir, last: None, reported: Vec::new() };
    let run = move || {
        loop {
            let ends = stopped.recv_timeout(PERIOD) != Err(RecvTimeoutError::Timeout);
            let state = state();
            if (ends || saving.is_due(&state))
                && let Some(error) = saving.save(state)
            {
                failed(error);
            }
            if ends {
                break;
            }
        }
    };
    let thread = thread::Builder::new().name("state".to_owned()).stack_size(STACK).spawn(run)?;
    Ok(Saver { stop, thread })
}

impl Saver {
    /// Saves a last time and ends the thread.
    pub fn finish(self) {
        drop(self.stop);
        // After a panic there is nothing left to do.
        let _ = self.thread.join();
    }
}

struct Saving {
    dir: StateDir,
    last: Option<State>,
    /// Errors reported since it last worked.
    reported: Vec<(ErrorKind, Option<i32>)>,
}

impl Saving {
    fn is_due(&self, state: &State) -> bool {
        self.last.as_ref().is_none_or(|last| {
            last.counts != state.counts
                || last.stop != state.stop
                || !(Arc::ptr_eq(&last.origins, &state.origins) || last.origins == state.origins)
                || state.elapsed.saturating_sub(last.elapsed) >= CLOCK_PERIOD
        })
    }

    /// Saves; gives an error only if it is to be reported.
    fn save(&mut self, state: State) -> Option<io::Error> {
        match self.dir.save(&state, wall_clock()) {
            Ok(()) => {
                self.last = Some(state);
                self.reported.clear();
                None
            }
            Err(error) => {
                let kind = (error.kind(), error.raw_os_error());
                if self.reported.contains(&kind) {
                    return None;
                }
                self.reported.push(kind);
                Some(error)
            }
        }
    }
}

#[cfg(test)]
mod tests;
