//! Saves what has changed, in a thread of its own.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{State, StateDir};
use crate::clock::wall_clock;

/// Time between two looks at the state, at most lost by a kill.
const PERIOD: Duration = Duration::from_millis(100);

/// Time between two saves where only time has passed.
const CLOCK_PERIOD: Duration = Duration::from_secs(1);

/// How long a requested save may take.
const SAVE_TIME: Duration = Duration::from_secs(5);

/// Enough to write a state; the state itself is on the heap.
const STACK: usize = 256 << 10;

/// The thread that saves. Dropped without [`finish`](Self::finish) it saves a last time as well, but nobody waits for it.
#[derive(Debug)]
pub struct Saver {
    requests: Sender<Request>,
    thread: Option<JoinHandle<()>>,
}

/// Asks the thread for a save. It may outlive the [`Saver`].
#[derive(Clone, Debug)]
pub struct SaveRequests(Sender<Request>);

/// Why a state is not on the disk.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SaveError {
    /// Writing failed.
    #[error("the state cannot be written: {0}")]
    Failed(String),
    /// The disk is slow.
    #[error("the state was not written within {} s", SAVE_TIME.as_secs())]
    Late,
    /// The service is ending, or the thread is gone.
    #[error("the state is no longer saved")]
    Ended,
}

#[derive(Debug)]
enum Request {
    /// Save, and report the result.
    Save(oneshot::Sender<Result<(), SaveError>>),
    /// Save a last time and end.
    End,
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
    let (requests, incoming) = mpsc::channel();
    let mut saving = Saving { dir, last: None, reported: Vec::new() };
    let run = move || {
        loop {
            let request = incoming.recv_timeout(PERIOD);
            let is_end = matches!(request, Ok(Request::End) | Err(RecvTimeoutError::Disconnected));
            let state = state();
            let result =
                if request.is_ok() || is_end || saving.is_due(&state) { saving.save(state) } else { Ok(()) };
            if let Ok(Request::Save(reply)) = request {
                let failure = result.as_ref().err().map(|error| SaveError::Failed(error.to_string()));
                // Whoever asked may have left.
                let _ = reply.send(failure.map_or(Ok(()), Err));
            }
            if let Err(error) = result
                && saving.is_new(&error)
            {
                failed(error);
            }
            if is_end {
                break;
            }
        }
    };
    let thread = thread::Builder::new().name("state".to_owned()).stack_size(STACK).spawn(run)?;
    Ok(Saver { requests, thread: Some(thread) })
}

impl Saver {
    /// A handle to ask for saves.
    pub fn requests(&self) -> SaveRequests {
        SaveRequests(self.requests.clone())
    }

    /// Saves a last time and ends the thread.
    pub fn finish(mut self) {
        let thread = self.thread.take();
        drop(self);
        if let Some(thread) = thread {
            // After a panic there is nothing left to do.
            let _ = thread.join();
        }
    }
}

impl Drop for Saver {
    fn drop(&mut self) {
        // Fails only where the thread is gone already.
        let _ = self.requests.send(Request::End);
    }
}

impl SaveRequests {
    /// Returns once a state that is not older than this call is on the disk.
    ///
    /// # Errors
    ///
    /// It is not, or not yet after five seconds.
    pub async fn save(&self) -> Result<(), SaveError> {
        let (reply, result) = oneshot::channel();
        self.0.send(Request::Save(reply)).map_err(|_| SaveError::Ended)?;
        match timeout(SAVE_TIME, result).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(SaveError::Ended),
            Err(_) => Err(SaveError::Late),
        }
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

    fn save(&mut self, state: State) -> io::Result<()> {
        self.dir.save(&state, wall_clock())?;
        self.last = Some(state);
        self.reported.clear();
        Ok(())
    }

    /// Whether an error of this kind was not reported since saving last worked.
    fn is_new(&mut self, error: &io::Error) -> bool {
        let kind = (error.kind(), error.raw_os_error());
        let is_new = !self.reported.contains(&kind);
        if is_new {
            self.reported.push(kind);
        }
        is_new
    }
}

#[cfg(test)]
mod tests;
