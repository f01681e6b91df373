//! Shows on standard error how far a prediction is that takes longer than a second.

use std::io::{Write, stderr};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::predict::progress::Progress;

/// When progress is first shown.
const FIRST: Duration = Duration::from_secs(1);
/// How often the line of a terminal is written anew.
const ON_TERMINAL: Duration = Duration::from_millis(250);
/// How often a line is added elsewhere.
const ELSEWHERE: Duration = Duration::from_secs(10);

/// Writes a line about progress until it is dropped.
pub(super) struct Meter {
    over: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Meter {
    /// Watches `progress`. On a terminal, one line is written again and again, and removed in the end.
    pub(super) fn start(progress: Arc<Progress>, is_terminal: bool) -> Self {
        let over = Arc::new((Mutex::new(false), Condvar::new()));
        let shared = over.clone();
        let thread = thread::spawn(move || watch(&shared, &progress, is_terminal));
        Self { over, thread: Some(thread) }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        *self.over.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.over.1.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic there has lost nothing but lines of progress.
            let _ = thread.join();
        }
    }
}

fn watch((over, changed): &(Mutex<bool>, Condvar), progress: &Progress, is_terminal: bool) {
    let (every, mut wait, mut is_shown) = (if is_terminal { ON_TERMINAL } else { ELSEWHERE }, FIRST, false);
    loop {
        let guard = over.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(guard, wait, |over| !*over);
        if *waited.unwrap_or_else(PoisonError::into_inner).0 {
            break;
        }
        let (begin, end) = if is_terminal { ("\r", "") } else { ("", "\n") };
        // Nobody may read standard error.
        let _ = write!(stderr(), "{begin}kube-probesim predict: {}% simulated{end}", progress.percent());
        let _ = stderr().flush();
        (wait, is_shown) = (every, true);
    }
    if is_shown && is_terminal {
        let _ = write!(stderr(), "\r\x1b[K");
    }
}
