//! Saves what has changed, in a thread of its own.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Present, StateDir};
use crate::clock::wall_clock;

/// Time between two looks at the present state: what a kill may cost.
const PERIOD: Duration = Duration::from_millis(100);

/// The passing of time alone is written no more often.
const CLOCK_PERIOD: Duration = Duration::from_secs(1);

/// Enough to write a state; the state itself is on the heap.
const STACK: usize = 256 << 10;

/// The thread that saves. Dropped without [`finish`](Self::finish) it saves a last time as well, but nobody waits for it.
#[derive(Debug)]
pub struct Saver {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

/// Saves what `present` gives every 100 ms if it differs from what was saved last, and where time alone has passed, every
/// second. Each kind of error is told to `failed` once, until saving works again.
///
/// # Errors
///
/// The thread could not be started.
pub fn spawn(
    dir: StateDir,
    present: impl Fn() -> Present + Send + 'static,
    mut failed: impl FnMut(io::Error) + Send + 'static,
) -> io::Result<Saver> {
    let (stop, stopped) = mpsc::channel();
    let mut saving = Saving { dir, last: None, told: Vec::new() };
    let run = move || {
        loop {
            let ends = stopped.recv_timeout(PERIOD) != Err(RecvTimeoutError::Timeout);
            let present = present();
            if (ends || saving.is_due(&present))
                && let Some(error) = saving.save(present)
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
        // Nothing is left to do after a panic in there.
        let _ = self.thread.join();
    }
}

struct Saving {
    dir: StateDir,
    last: Option<Present>,
    /// Errors told since it worked last.
    told: Vec<(ErrorKind, Option<i32>)>,
}

impl Saving {
    fn is_due(&self, present: &Present) -> bool {
        self.last.as_ref().is_none_or(|last| {
            last.counts != present.counts
                || !(Arc::ptr_eq(&last.origins, &present.origins) || last.origins == present.origins)
                || present.elapsed.saturating_sub(last.elapsed) >= CLOCK_PERIOD
        })
    }

    /// Saves; an error is given back only if it is to be told.
    fn save(&mut self, present: Present) -> Option<io::Error> {
        match self.dir.save(&present, wall_clock()) {
            Ok(()) => {
                self.last = Some(present);
                self.told.clear();
                None
            }
            Err(error) => {
                let kind = (error.kind(), error.raw_os_error());
                if self.told.contains(&kind) {
                    return None;
                }
                self.told.push(kind);
                Some(error)
            }
        }
    }
}

#[cfg(test)]
mod tests;
