//! The processes that hold a socket, found through `/proc`.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use crate::file;

/// A process, as its status describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Its number in this process namespace.
    pub pid: i32,
    /// Its short name.
    pub comm: String,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
}

/// A descriptor of another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) pid: i32,
    pub(super) descriptor: i32,
    pub(super) inode: u32,
}

/// What a search has found.
#[derive(Debug, Default)]
pub(super) struct Holders {
    /// By process number, the lowest first.
    pub(super) found: Vec<Holder>,
    /// A process whose descriptors this one may neither see nor copy, and why it may not copy them.
    pub(super) hidden: Option<(i32, Errno)>,
}

impl Process {
    /// Reads what `/proc` says of a process.
    pub(super) fn of(pid: i32) -> Option<Self> {
        let status = file::read_kernel(&format!("/proc/{pid}/status")).ok()?;
        Self::read(pid, &status)
    }

    fn read(pid: i32, status: &str) -> Option<Self> {
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        // Real, effective, saved and file system.
        let effective = |name| field(name)?.split_ascii_whitespace().nth(1)?.parse().ok();
        Some(Self { pid, comm: field("Name:")?.to_owned(), uid: effective("Uid:")?, gid: effective("Gid:")? })
    }
}

/// The numbers of all other processes of this process namespace, in order.
pub(super) fn processes() -> Vec<i32> {
    let own = std::process::id().cast_signed();
    let mut pids: Vec<i32> = names("/proc").filter_map(|name| name.parse().ok()).collect();
    pids.sort_unstable();
    pids.retain(|pid| *pid != own);
    pids
}

/// Finds the descriptors of other processes for sockets with these inodes.
pub(super) fn of_sockets(inodes: &[u32]) -> Holders {
    let (mut holders, mut unlisted) = (Holders::default(), Vec::new());
    for pid in processes() {
        match of_process(pid, inodes) {
            Ok(found) => holders.found.extend(found),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => unlisted.push(pid),
            // It has ended.
            Err(_) => {}
        }
    }
    if holders.found.is_empty() {
        // SYS_PTRACE allows copying, but root needs another capability to list the descriptors of other users.
        for pid in unlisted {
            match by_copies(pid, inodes) {
                Ok(found) => holders.found.extend(found),
                Err(error) => {
                    holders.hidden.get_or_insert((pid, error));
                }
            }
        }
    }
    holders
}

/// Copies each descriptor of a process and looks what it is.
fn by_copies(pid: i32, inodes: &[u32]) -> rustix::io::Result<Vec<Holder>> {
    let Ok(status) = file::read_kernel(&format!("/proc/{pid}/status")) else { return Ok(Vec::new()) };
    let size = status.lines().find_map(|line| line.strip_prefix("FDSize:")?.trim().parse().ok());
    let process = open(pid)?;
    let mut found = Vec::new();
    for descriptor in 0..size.unwrap_or_default() {
        let copy = match pidfd_getfd(&process, descriptor, PidfdGetfdFlags::empty()) {
            Ok(copy) => copy,
            Err(Errno::BADF) => continue,
            Err(error) => return Err(error),
        };
        let inode = fstat(&copy)?.st_ino;
        let inode = inodes.iter().find(|known| u64::from(**known) == inode && is_socket(&copy));
        found.extend(inode.map(|inode| Holder { pid, descriptor, inode: *inode }));
    }
    Ok(found)
}

/// Whether a descriptor is a socket: files have inode numbers of their own.
fn is_socket(descriptor: &OwnedFd) -> bool {
    rustix::net::getsockname(descriptor).is_ok()
}

fn of_process(pid: i32, inodes: &[u32]) -> io::Result<Vec<Holder>> {
    let folder = format!("/proc/{pid}/fd");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder)?.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let target = match fs::read_link(format!("{folder}/{name}")) {
            Ok(target) => target,
            // The same user may list them, and another group may not see what they are.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
            // It is closed.
            Err(_) => continue,
        };
        let inode = || target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
        let holder = || Some(Holder { pid, descriptor: name.parse().ok()?, inode: inode()? });
        found.extend(holder().filter(|holder| inodes.contains(&holder.inode)));
    }
    Ok(found)
}

fn names(folder: &str) -> impl Iterator<Item = String> {
    fs::read_dir(folder).into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

/// A descriptor of a process, by which its end is seen.
pub(super) fn open(pid: i32) -> rustix::io::Result<OwnedFd> {
    let pid = Pid::from_raw(pid).ok_or(rustix::io::Errno::SRCH)?;
    pidfd_open(pid, PidfdFlags::empty())
}

/// Waits until a process ends, for `time` at most, and says whether it has ended.
pub(super) fn ends_within(process: &OwnedFd, time: Duration) -> bool {
    let limit = Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: i64::from(time.subsec_nanos()) };
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&limit)).is_ok_and(|count| count > 0)
}

impl Holder {
    /// Copies the descriptor into this process; `None` if it is meanwhile another socket.
    pub(super) fn copy(&self) -> rustix::io::Result<Option<OwnedFd>> {
        let copy = pidfd_getfd(open(self.pid)?, self.descriptor, PidfdGetfdFlags::empty())?;
        let is_same = fstat(&copy)?.st_ino == u64::from(self.inode);
        Ok(is_same.then_some(copy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_status() {
        let status = "Name:\tnginx worker\nUid:\t0\t101\t101\t101\nGid:\t0\t102\t102\t102\n";
        let expected = Process { pid: 7, comm: "nginx worker".to_owned(), uid: 101, gid: 102 };
        assert_eq!(Process::read(7, status), Some(expected));
        assert_eq!(Process::read(7, "Name:\tx\n"), None);
    }
}
