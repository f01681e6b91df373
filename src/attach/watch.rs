//! Watches the application: it must find its port free when it starts again.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::sync::oneshot;

use super::diagnosis::Diagnosis;
use super::holder;
use super::release::Release;
use super::target::Target;

/// Interval between two looks at the application's socket.
const INTERVAL: Duration = Duration::from_millis(5);

/// The same, of the threads that wait for the end of its process.
const RARELY: Duration = Duration::from_secs(1);

/// Limit of threads that watch.
const MOST_THREADS: usize = 4;

/// Time that a process takes to end after its sockets are closed.
const EXIT: Duration = Duration::from_millis(100);

/// How the application gave up its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its process has ended.
    Ended,
    /// It has closed its socket.
    Closed,
}

/// Closes the proxy's sockets as soon as the application no longer listens, and says why.
///
/// A supervisor may start the application again within a millisecond, so threads of their own do it, which wait for nothing
/// else. On a busy machine one thread may get no processor for milliseconds. Several, on processors of their own, seldom all do.
/// Returns when all of them watch.
///
/// # Errors
///
/// A thread cannot be started, or the kernel cannot be asked.
pub fn watch(target: &Target, release: &Arc<Release>) -> io::Result<oneshot::Receiver<Cause>> {
    let (gone, cause) = oneshot::channel();
    let gone = Arc::new(Mutex::new(Some(gone)));
    let processors = processors();
    let open = || target.holder.and_then(|holder| holder::open(holder.pid).ok());
    let count = if open().is_some() { processors.len().clamp(1, MOST_THREADS) } else { 1 };
    let (ready, begun) = mpsc::channel::<()>();
    for number in 0..count {
        let mut watcher = Watcher {
            target: target.clone(),
            release: release.clone(),
            gone: gone.clone(),
            diagnosis: Diagnosis::open()?,
            process: open(),
            is_first: number == 0,
        };
        // With more processors than threads, one of those that are idle is found at once.
        let own = processors.get(number).copied().filter(|_| processors.len() <= MOST_THREADS);
        let ready = ready.clone();
        let run = move || {
            if let Some(own) = own {
                let mut only = CpuSet::new();
                only.set(own);
                // On failure, the thread only waits longer on a busy machine.
                let _ = sched_setaffinity(None, &only);
            }
            // Allocates now what a later look needs. If the kernel cannot be asked now, it can be later.
            let _ = watcher.diagnosis.listener(watcher.target.listener());
            drop(ready);
            watcher.run();
        };
        thread::Builder::new().name("watch".to_owned()).stack_size(64 << 10).spawn(run)?;
    }
    drop(ready);
    // Ends when each thread has dropped its sender.
    let _ = begun.recv();
    Ok(cause)
}

/// The processors that this process may use.
fn processors() -> Vec<usize> {
    let allowed = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
    (0..CpuSet::MAX_CPU).filter(|number| allowed.is_set(*number)).collect()
}

/// A thread that watches.
struct Watcher {
    target: Target,
    release: Arc<Release>,
    gone: Arc<Mutex<Option<oneshot::Sender<Cause>>>>,
    diagnosis: Diagnosis,
    /// A process that holds the application's socket.
    process: Option<OwnedFd>,
    /// Whether it also sees that a process closes its socket and goes on. The others only see its end.
    is_first: bool,
}

impl Watcher {
    fn run(mut self) {
        let mut has_ended = false;
        loop {
            // Asked before the first wait, too: it may have ended already.
            if matches!(self.diagnosis.listener(self.target.listener()), Ok(None)) {
                self.release.close();
                let has_ended =
                    has_ended || self.process.is_some() && ends_within(self.process.as_ref(), EXIT);
                if let Some(gone) = self.gone.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    let _ = gone.send(if has_ended { Cause::Ended } else { Cause::Closed });
                }
                return;
            }
            if has_ended {
                // Another process holds the socket, such as a worker.
                self.process = next(&self.target);
            }
            has_ended = ends_within(self.process.as_ref(), if self.is_first { INTERVAL } else { RARELY });
        }
    }
}

/// Another process that holds the socket.
fn next(target: &Target) -> Option<OwnedFd> {
    let inode = target.holder?.inode;
    holder::of_sockets(&[inode]).found.iter().find_map(|holder| holder::open(holder.pid).ok())
}

/// Waits until the process ends, for `time` at most. Without a process, it waits for that time.
fn ends_within(process: Option<&OwnedFd>, time: Duration) -> bool {
    let Some(process) = process else {
        thread::sleep(time);
        return false;
    };
    holder::ends_within(process, time)
}
