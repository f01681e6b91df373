//! The log: JSON or text, on standard output.
//!
//! Lines go through a queue to a thread of their own. A pipe that nobody reads would otherwise stop the service, and
//! with it the drill that somebody wants to watch.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{LogFormat, Process};

/// How many lines may wait to be written: about a megabyte.
const QUEUE: usize = 4096;

/// How long the end of the process waits for the last lines.
const FLUSH_TIME: Duration = Duration::from_millis(500);

/// The log in use.
#[derive(Debug)]
pub struct Log(SyncSender<Message>);

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    Flush(Sender<()>),
}

/// Sends events to standard output from here on. A second call changes nothing.
pub fn init(process: &Process) -> Log {
    let (lines, messages) = sync_channel(QUEUE);
    let lost = Arc::new(AtomicU64::new(0));
    let queue = Queue { lines: lines.clone(), lost: lost.clone() };
    std::thread::spawn(move || write(&messages, &lost));
    let builder = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from_level(process.log_level))
        .with_target(false)
        .with_writer(queue);
    // Fails only where somebody else, such as a test, has set one.
    let _ = match process.log_format {
        LogFormat::Json => tracing::subscriber::set_global_default(
            builder.json().flatten_event(true).with_current_span(false).with_span_list(false).finish(),
        ),
        LogFormat::Text => tracing::subscriber::set_global_default(builder.with_ansi(false).finish()),
    };
    Log(lines)
}

impl Log {
    /// Waits until what was logged is written, or for half a second where nobody reads it.
    pub fn flush(&self) {
        let (done, written) = channel();
        if self.0.try_send(Message::Flush(done)).is_ok() {
            let _ = written.recv_timeout(FLUSH_TIME);
        }
    }
}

fn write(messages: &Receiver<Message>, lost: &AtomicU64) {
    let mut out = io::stdout();
    while let Ok(message) = messages.recv() {
        match message {
            // A reader that has left is no failure of ours.
            Message::Line(line) => drop(out.write_all(&line)),
            Message::Flush(done) => drop(done.send(())),
        }
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(lines = lost, "lines of the log were lost, since nobody read it");
        }
    }
}

/// Makes a writer for each line.
struct Queue {
    lines: SyncSender<Message>,
    /// Lines that found the queue full since the last that was written.
    lost: Arc<AtomicU64>,
}

/// A line on its way into the queue.
struct Line<'a>(&'a Queue);

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

impl io::Write for Line<'_> {
    /// A line comes in one piece.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.lines.try_send(Message::Line(line.to_vec())).is_err() {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
