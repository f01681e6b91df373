//! Processes of `attach` in this container.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::process::{Signal, pidfd_send_signal};

use super::holder;
use crate::file;

/// A running `attach`.
#[derive(Debug)]
pub struct Running {
    /// Its number.
    pub pid: i32,
    process: OwnedFd,
}

impl Running {
    /// All of this container: they run the same file.
    pub fn all() -> Vec<Self> {
        let file =
            |of: &str| fs::metadata(format!("/proc/{of}/exe")).map(|file| (file.dev(), file.ino())).ok();
        let own = file("self");
        let is_ours = |pid: &i32| is_attached(*pid) && file(&pid.to_string()) == own;
        let open = |pid| Some(Self { pid, process: holder::open(pid).ok()? });
        holder::processes().into_iter().filter(is_ours).filter_map(open).collect()
    }

    /// Asks it to end. It drains first.
    ///
    /// # Errors
    ///
    /// It belongs to another user.
    pub fn stop(&self) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.process, Signal::TERM)?)
    }

    /// Waits until it has ended, for `time` at most.
    pub fn ends_within(&self, time: Duration) -> bool {
        holder::ends_within(&self.process, time)
    }
}

/// Whether a process is an `attach` that holds a port, of whichever container.
pub(super) fn is_attached(pid: i32) -> bool {
    let Ok(command) = file::read_kernel(&format!("/proc/{pid}/cmdline")) else { return false };
    let mut words = command.split('\0').skip(1);
    words.next() == Some("attach") && words.all(|word| word != "--stop" && word != "--dry-run")
}
