//! The log: JSON or text, on standard output or standard error.
//!
//! A thread writes the lines from a queue, so that a blocked reader of the pipe cannot stop the service. The thread
//! ends when it is idle: in a process with one thread, memory allocation takes no locks, which makes requests faster.

mod spanless;

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing::subscriber::set_global_default;
use tracing_subscriber::Layer as _;
use tracing_subscriber::fmt::MakeWriter;

use crate::env::LogFormat;
use spanless::Spanless;

/// Limit of queued lines: about a megabyte.
const QUEUE: usize = 4096;

/// Time limit for writing the last lines at exit.
const FLUSH_TIME: Duration = Duration::from_millis(500);

/// Idle time after which the thread ends.
const IDLE: Duration = Duration::from_secs(1);

/// The installed log.
#[derive(Debug)]
pub struct Log(Arc<LogQueue>);

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    Flush(Sender<()>),
}

/// Style of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// JSON or text.
    pub format: LogFormat,
    /// Whether text is coloured.
    pub colour: bool,
    /// Whether it goes to standard error: standard output has something else to say.
    pub is_on_stderr: bool,
}

/// Installs the log for events of this level and above. A second call has no effect.
pub fn init(level: tracing::Level, style: Style) -> Log {
    let queue = Arc::new(LogQueue { is_on_stderr: style.is_on_stderr, ..LogQueue::default() });
    let layer = tracing_subscriber::fmt::layer()
        .with_target(false)
        // Internal errors would go to standard error, which may be closed.
        .log_internal_errors(false)
        .with_writer(Lines(queue.clone()));
    let level = LevelFilter::from_level(level);
    // Fails only if a subscriber is already set, as in tests.
    let _ = match style.format {
        LogFormat::Json => {
            let layer = layer.json().flatten_event(true).with_current_span(false).with_span_list(false);
            set_global_default(layer.and_then(level).with_subscriber(Spanless))
        }
        LogFormat::Text => {
            set_global_default(layer.with_ansi(style.colour).and_then(level).with_subscriber(Spanless))
        }
    };
    Log(queue)
}

impl Log {
    /// Waits until all lines are written, at most half a second.
    pub fn flush(&self) {
        let (done, written) = channel();
        if self.0.send(Message::Flush(done)) {
            let _ = written.recv_timeout(FLUSH_TIME);
        }
    }
}

/// Lines to be written, and the state of the writing thread.
#[derive(Debug, Default)]
struct LogQueue {
    is_on_stderr: bool,
    waiting: Mutex<Waiting>,
    /// Notified when a message is added.
    more: Condvar,
    /// Lines dropped because the queue was full, since the last line was written.
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Message>,
    /// Whether a thread is running that will process new messages.
    writing: bool,
}

impl LogQueue {
    /// Adds a message; false if the queue is full.
    fn send(self: &Arc<Self>, message: Message) -> bool {
        let mut waiting = self.lock();
        let has_room = waiting.messages.len() < QUEUE;
        if has_room {
            waiting.messages.push_back(message);
            self.more.notify_one();
        }
        if !waiting.writing {
            let queue = self.clone();
            // If no thread can be started, the lines wait for the next attempt.
            waiting.writing = std::thread::Builder::new().spawn(move || queue.write()).is_ok();
        }
        has_room
    }

    /// Writes messages until the queue has been empty for a while.
    fn write(self: Arc<Self>) {
        let mut out: Box<dyn io::Write> =
            if self.is_on_stderr { Box::new(io::stderr()) } else { Box::new(io::stdout()) };
        while let Some(message) = self.next() {
            match message {
                // Ignore write errors: the reader closed the pipe.
                Message::Line(line) => drop(out.write_all(&line)),
                Message::Flush(done) => drop(done.send(())),
            }
            let lost = self.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                tracing::warn!(lines = lost, "log lines were lost because the output is blocked");
            }
        }
    }

    fn next(&self) -> Option<Message> {
        let empty = |waiting: &mut Waiting| waiting.messages.is_empty();
        let (mut waiting, _) =
            self.more.wait_timeout_while(self.lock(), IDLE, empty).unwrap_or_else(PoisonError::into_inner);
        let message = waiting.messages.pop_front();
        if message.is_none() {
            // Later senders see that a new thread is needed.
            *waiting = Waiting::default();
        }
        message
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Creates a writer for each line.
struct Lines(Arc<LogQueue>);

/// A writer that adds one line to the queue.
struct LogLine<'a>(&'a Arc<LogQueue>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = LogLine<'a>;

    fn make_writer(&'a self) -> LogLine<'a> {
        LogLine(&self.0)
    }
}

impl io::Write for LogLine<'_> {
    /// A line arrives in a single call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if !self.0.send(Message::Line(line.to_vec())) {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than a slow, shared machine delays a thread.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn flush(queue: &Arc<LogQueue>) {
        let (done, written) = channel();
        assert!(queue.send(Message::Flush(done)));
        written.recv_timeout(PATIENCE).unwrap();
    }

    #[test]
    fn the_thread_ends_when_idle_and_comes_back_for_the_next_line() {
        let queue = Arc::new(LogQueue::default());
        for _ in 0..2 {
            assert!(!queue.lock().writing);
            flush(&queue);
            flush(&queue);
            let ended = || !queue.lock().writing;
            assert!((0..PATIENCE.as_millis()).step_by(10).any(|_| {
                std::thread::sleep(Duration::from_millis(10));
                ended()
            }));
        }
    }
}
