//! Watches the application: it must find its port free when it starts again.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::fd::OwnedFd;
use tokio::sync::oneshot;

use super::diagnosis::Diagnosis;
use super::holder;
use super::release::Release;
use super::target::Target;

/// Interval between two looks at the application's socket.
const INTERVAL: Duration = Duration::from_millis(5);

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

/// Closes the proxy's sockets as soon as the application no longer listens, and says why. A thread of its own does it, so
/// that it does not wait for the service's work.
///
/// # Errors
///
/// The thread cannot be started, or the kernel cannot be asked.
pub fn watch(target: Target, release: Arc<Release>) -> io::Result<oneshot::Receiver<Cause>> {
    let (gone, cause) = oneshot::channel();
    let mut diagnosis = Diagnosis::open()?;
    let mut process = target.holder.and_then(|holder| holder::open(holder.pid).ok());
    let run = move || {
        loop {
            let has_ended = ends_within(process.as_ref(), INTERVAL);
            // If the kernel cannot be asked now, it can later.
            if matches!(diagnosis.listener(target.listener()), Ok(None)) {
                release.close();
                let has_ended = has_ended || process.is_some() && ends_within(process.as_ref(), EXIT);
                let _ = gone.send(if has_ended { Cause::Ended } else { Cause::Closed });
                return;
            }
            if has_ended {
                // Another process holds the socket, such as a worker.
                process = next(&target);
            }
        }
    };
    thread::Builder::new().name("watch".to_owned()).stack_size(64 << 10).spawn(run)?;
    Ok(cause)
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
