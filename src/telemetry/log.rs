//! The log: JSON or text, on standard output.
//!
//! Lines go through a queue to a thread of their own. A pipe that nobody reads would otherwise stop the service, and
//! with it the drill that somebody wants to watch. The thread ends when there is nothing to write: memory is had without
//! locks in a process of one thread, which a request notices.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::env::LogFormat;

/// How many lines may wait to be written: about a megabyte.
const QUEUE: usize = 4096;

/// How long the end of the process waits for the last lines.
const FLUSH_TIME: Duration = Duration::from_millis(500);

/// How long the thread waits for a further line before it ends.
const IDLE: Duration = Duration::from_secs(1);

/// The log in use.
#[derive(Debug)]
pub struct Log(Arc<Queue>);

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    Flush(Sender<()>),
}

/// How the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// JSON or text.
    pub format: LogFormat,
    /// Whether text is in colour.
    pub colour: bool,
}

/// Sends events of this level and above to standard output from here on. A second call changes nothing.
pub fn init(level: tracing::Level, style: Style) -> Log {
    let queue = Arc::new(Queue::default());
    let builder = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from_level(level))
        .with_target(false)
        // They would go to standard error, which may be closed.
        .log_internal_errors(false)
        .with_writer(Lines(queue.clone()));
    // Fails only where somebody else, such as a test, has set one.
    let _ = match style.format {
        LogFormat::Json => tracing::subscriber::set_global_default(
            builder.json().flatten_event(true).with_current_span(false).with_span_list(false).finish(),
        ),
        LogFormat::Text => tracing::subscriber::set_global_default(builder.with_ansi(style.colour).finish()),
    };
    Log(queue)
}

impl Log {
    /// Waits until what was logged is written, or for half a second where nobody reads it.
    pub fn flush(&self) {
        let (done, written) = channel();
        if self.0.send(Message::Flush(done)) {
            let _ = written.recv_timeout(FLUSH_TIME);
        }
    }
}

/// Lines on their way to the thread that writes them, if there is one.
#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    /// Something has been added.
    more: Condvar,
    /// Lines that found the queue full since the last that was written.
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Message>,
    /// Whether there is a thread that will find what is added.
    writing: bool,
}

impl Queue {
    /// Whether there was room for the message.
    fn send(self: &Arc<Self>, message: Message) -> bool {
        let mut waiting = self.lock();
        let has_room = waiting.messages.len() < QUEUE;
        if has_room {
            waiting.messages.push_back(message);
            self.more.notify_one();
        }
        if !waiting.writing {
            let queue = self.clone();
            // Where there can be no thread, the lines wait for the next try.
            waiting.writing = std::thread::Builder::new().spawn(move || queue.write()).is_ok();
        }
        has_room
    }

    /// Writes until there has been nothing to write for a while.
    fn write(self: Arc<Self>) {
        let mut out = io::stdout();
        while let Some(message) = self.next() {
            match message {
                // Ignore write errors: the reader closed the pipe.
                Message::Line(line) => drop(out.write_all(&line)),
                Message::Flush(done) => drop(done.send(())),
            }
            let lost = self.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                tracing::warn!(lines = lost, "lines of the log were lost, since nobody read it");
            }
        }
    }

    fn next(&self) -> Option<Message> {
        let empty = |waiting: &mut Waiting| waiting.messages.is_empty();
        let (mut waiting, _) =
            self.more.wait_timeout_while(self.lock(), IDLE, empty).unwrap_or_else(PoisonError::into_inner);
        let message = waiting.messages.pop_front();
        if message.is_none() {
            // Whoever sends from here on sees that another thread is needed.
            *waiting = Waiting::default();
        }
        message
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a writer for each line.
struct Lines(Arc<Queue>);

/// A line on its way into the queue.
struct Line<'a>(&'a Arc<Queue>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

impl io::Write for Line<'_> {
    /// A line comes in one piece.
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

    /// Longer than a slow, shared machine keeps a thread waiting.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn flush(queue: &Arc<Queue>) {
        let (done, written) = channel();
        assert!(queue.send(Message::Flush(done)));
        written.recv_timeout(PATIENCE).unwrap();
    }

    #[test]
    fn the_thread_ends_when_idle_and_comes_back_for_the_next_line() {
        let queue = Arc::new(Queue::default());
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
