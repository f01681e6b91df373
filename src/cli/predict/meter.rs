//! Shows the progress of predictions that take longer than a second, on standard error.

use std::io::{Write, stderr};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::predict::progress::Progress;

/// The time before the first line.
const FIRST: Duration = Duration::from_secs(1);
/// The interval of updates on a terminal.
const ON_TERMINAL: Duration = Duration::from_millis(250);
/// The interval of lines without a terminal.
const ELSEWHERE: Duration = Duration::from_secs(10);

/// Shows the progress until it is dropped.
pub(super) struct Meter {
    over: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Meter {
    /// Shows `progress`. On a terminal, it updates one line and removes it at the end.
    pub(super) fn start(progress: Arc<Progress>, is_terminal: bool) -> Self {
        let over = Arc::new((Mutex::new(false), Condvar::new()));
        let shared = over.clone();
        let thread = thread::spawn(move || watch(&shared, &progress, is_terminal, FIRST, &mut stderr()));
        Self { over, thread: Some(thread) }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        *self.over.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.over.1.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread loses only the display of progress.
            let _ = thread.join();
        }
    }
}

/// Writes the first line after `wait`, and further ones until the prediction is over.
fn watch(
    (over, changed): &(Mutex<bool>, Condvar),
    progress: &Progress,
    is_terminal: bool,
    mut wait: Duration,
    out: &mut dyn Write,
) {
    let (every, mut is_shown) = (if is_terminal { ON_TERMINAL } else { ELSEWHERE }, false);
    loop {
        let guard = over.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(guard, wait, |over| !*over);
        if *waited.unwrap_or_else(PoisonError::into_inner).0 {
            break;
        }
        let (begin, end) = if is_terminal { ("\r", "") } else { ("", "\n") };
        // Ignore write errors: standard error may be closed.
        let _ = write!(out, "{begin}kube-probesim predict: {}% simulated{end}", progress.percent());
        let _ = out.flush();
        (wait, is_shown) = (every, true);
    }
    if is_shown && is_terminal {
        let _ = write!(out, "\r\x1b[K");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ends the prediction with the second line.
    struct Screen<'a> {
        text: String,
        lines: usize,
        over: &'a (Mutex<bool>, Condvar),
        progress: &'a Progress,
    }

    impl Write for Screen<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.text += &String::from_utf8_lossy(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            self.lines += 1;
            self.progress.advance(1, Duration::from_secs(50));
            *self.over.0.lock().unwrap_or_else(PoisonError::into_inner) = self.lines == 2;
            Ok(())
        }
    }

    fn shown(is_terminal: bool, is_over: bool) -> String {
        let (over, progress) = ((Mutex::new(is_over), Condvar::new()), Progress::default());
        progress.expect(1, Duration::from_secs(200));
        let mut screen = Screen { text: String::new(), lines: 0, over: &over, progress: &progress };
        watch(&over, &progress, is_terminal, Duration::ZERO, &mut screen);
        screen.text
    }

    #[test]
    fn a_terminal_shows_one_line_that_is_updated_and_removed_at_the_end() {
        assert_eq!(
            shown(true, false),
            "\rkube-probesim predict: 0% simulated\rkube-probesim predict: 25% simulated\r\x1b[K"
        );
    }

    #[test]
    fn a_prediction_that_is_over_shows_no_progress() {
        assert_eq!(shown(true, true), "");
        assert_eq!(shown(false, true), "");
    }
}
