//! Saves changes of the state, in a thread.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{SavedState, StateDir};
use crate::clock::wall_clock;

/// Interval between checks of the state; a kill loses at most this much.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Interval between saves if only time has passed.
const CLOCK_SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// Time limit of a requested save.
const SAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Stack size; the state itself is on the heap.
const STACK: usize = 256 << 10;

/// The saving thread. If it is dropped without [`finish`](Self::finish), it still saves once more, but nobody waits
/// for it.
#[derive(Debug)]
pub struct Saver {
    requests: Sender<SaverRequest>,
    thread: Option<JoinHandle<()>>,
}

/// Requests saves from the thread. It may outlive the [`Saver`].
#[derive(Clone, Debug)]
pub struct SaveRequests(Sender<SaverRequest>);

/// Why a state is not on disk.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SaveError {
    /// Writing failed.
    #[error("the state cannot be written: {0}")]
    Failed(String),
    /// The disk is slow.
    #[error("the state was not written within {} s", SAVE_TIMEOUT.as_secs())]
    Late,
    /// The service is shutting down, or the thread has ended.
    #[error("the state is no longer saved")]
    Ended,
}

#[derive(Debug)]
enum SaverRequest {
    /// Save, and report the result.
    Save(oneshot::Sender<Result<(), SaveError>>),
    /// Save once more and exit.
    End,
}

/// Checks `state` every 100 ms and saves it if it has changed; if only time has passed, every second. Each kind of
/// error is passed to `failed` once, until saving works again.
///
/// # Errors
///
/// The thread cannot be started.
pub fn spawn(
    dir: StateDir,
    state: impl Fn() -> SavedState + Send + 'static,
    mut failed: impl FnMut(io::Error) + Send + 'static,
) -> io::Result<Saver> {
    let (requests, incoming) = mpsc::channel();
    let mut saving = Saving { dir, last: None, reported: Vec::new() };
    let run = move || {
        loop {
            let request = incoming.recv_timeout(CHECK_INTERVAL);
            let is_end = matches!(request, Ok(SaverRequest::End) | Err(RecvTimeoutError::Disconnected));
            let state = state();
            let result =
                if request.is_ok() || is_end || saving.is_due(&state) { saving.save(state) } else { Ok(()) };
            if let Ok(SaverRequest::Save(reply)) = request {
                let failure = result.as_ref().err().map(|error| SaveError::Failed(error.to_string()));
                // The requester may be gone.
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
    /// A handle for requesting saves.
    pub fn requests(&self) -> SaveRequests {
        SaveRequests(self.requests.clone())
    }

    /// Saves once more and ends the thread.
    pub fn finish(mut self) {
        let thread = self.thread.take();
        drop(self);
        if let Some(thread) = thread {
            // After a panic of the thread, nothing is left to do.
            let _ = thread.join();
        }
    }
}

impl Drop for Saver {
    fn drop(&mut self) {
        // Fails only if the thread has ended.
        let _ = self.requests.send(SaverRequest::End);
    }
}

impl SaveRequests {
    /// Returns once a state at least as new as this call is on disk.
    ///
    /// # Errors
    ///
    /// The save failed, or took more than five seconds.
    pub async fn save(&self) -> Result<(), SaveError> {
        let (reply, result) = oneshot::channel();
        self.0.send(SaverRequest::Save(reply)).map_err(|_| SaveError::Ended)?;
        match timeout(SAVE_TIMEOUT, result).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(SaveError::Ended),
            Err(_) => Err(SaveError::Late),
        }
    }
}

struct Saving {
    dir: StateDir,
    last: Option<SavedState>,
    /// Kinds of errors reported since saving last worked.
    reported: Vec<(ErrorKind, Option<i32>)>,
}

impl Saving {
    fn is_due(&self, state: &SavedState) -> bool {
        self.last.as_ref().is_none_or(|last| {
            last.counts != state.counts
                || last.stop != state.stop
                || !(Arc::ptr_eq(&last.origins, &state.origins) || last.origins == state.origins)
                || state.elapsed.saturating_sub(last.elapsed) >= CLOCK_SAVE_INTERVAL
        })
    }

    fn save(&mut self, state: SavedState) -> io::Result<()> {
        self.dir.save(&state, wall_clock())?;
        self.last = Some(state);
        self.reported.clear();
        Ok(())
    }

    /// Whether this kind of error has not been reported since saving last worked.
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
