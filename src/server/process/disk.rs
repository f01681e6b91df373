//! Filling volumes.
//!
//! One file per volume. A lock prevents other processes from removing it; the next start removes files of killed
//! processes.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::fs::{FallocateFlags, FlockOperation, OFlags, fallocate, flock, statvfs};
use rustix::io::Errno;
use tracing::{error, info, warn};

use crate::sources::volume;
use crate::telemetry::metrics::Metrics;

/// The name of the file.
const NAME: &str = ".kube-probesim-fill";

/// Bytes written between two checks of the free space.
const STEP: u64 = 16 << 20;

/// The share of the volume's file system that stays free.
const LEAST_FREE: f64 = 0.2;

/// Interval between checks of a full volume.
const REST: Duration = Duration::from_millis(500);

const STACK: usize = 64 << 10;

/// Bytes by mount point.
pub(super) type DiskDemand = BTreeMap<PathBuf, u64>;

/// Files on volumes, written and removed by a dedicated thread.
#[derive(Debug)]
pub(super) struct Disk {
    shared: Arc<DiskShared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct DiskShared {
    demand: Mutex<DiskDemand>,
    changed: Condvar,
    metrics: Arc<Metrics>,
}

impl Disk {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        let shared = DiskShared { demand: Mutex::default(), changed: Condvar::new(), metrics };
        Self { shared: Arc::new(shared), thread: None }
    }

    /// Sets the number of bytes for each volume.
    pub(super) fn set(&mut self, demand: DiskDemand) {
        let is_empty = demand.is_empty();
        *self.shared.lock() = demand;
        self.shared.changed.notify_one();
        if !is_empty && self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            let shared = self.shared.clone();
            let thread = thread::Builder::new().name("disk".to_owned()).stack_size(STACK);
            self.thread = thread
                .spawn(move || shared.follow())
                .inspect_err(|error| error!(%error, "cannot start the thread that fills volumes"))
                .ok();
        }
    }
}

impl Drop for Disk {
    /// Waits until the files are removed.
    fn drop(&mut self) {
        self.set(DiskDemand::new());
        if let Some(thread) = self.thread.take() {
            // After a panic of the thread, nothing is left to do.
            let _ = thread.join();
        }
    }
}

/// Removes files of killed processes from volumes.
pub(super) fn clean_up(state: Option<PathBuf>) {
    let clean = move || {
        for point in volume::all(state.as_deref()) {
            match remove_left(&point) {
                Ok(Some(bytes)) => {
                    info!(path = %point.display(), bytes, "removed the file of an earlier process");
                }
                Ok(None) => {}
                Err(error) => {
                    warn!(path = %point.display(), %error, "the file of an earlier process cannot be removed");
                }
            }
        }
    };
    let thread = thread::Builder::new().name("disk".to_owned()).stack_size(STACK);
    if let Err(error) = thread.spawn(clean) {
        error!(%error, "cannot start the thread that removes files of earlier processes");
    }
}

/// Removes the file, unless another process holds it. Returns its size if there was one.
fn remove_left(directory: &Path) -> io::Result<Option<u64>> {
    let path = directory.join(NAME);
    // Nothing is followed or waited for, such as the other end of a FIFO.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() || flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(None);
    }
    fs::remove_file(path)?;
    Ok(Some(metadata.blocks() * 512))
}

impl DiskShared {
    /// Fills volumes until the demand is zero.
    fn follow(&self) {
        let mut fills: BTreeMap<PathBuf, Fill> = BTreeMap::new();
        loop {
            let demand = self.lock().clone();
            fills.retain(|path, fill| demand.get(path).is_some_and(|bytes| *bytes >= fill.bytes));
            let mut is_done = true;
            for (path, bytes) in &demand {
                is_done &= match fills
                    .entry(path.clone())
                    .or_insert_with(|| Fill::new(path, LEAST_FREE))
                    .grow(*bytes)
                {
                    FillProgress::Done | FillProgress::Stuck => true,
                    FillProgress::Grown => false,
                };
            }
            self.metrics.hold_disk(fills.values().map(|fill| fill.bytes).sum());
            if demand.is_empty() {
                return;
            }
            if is_done {
                let guard = self.lock();
                let same = |now: &mut DiskDemand| *now == demand;
                // Space may become free.
                drop(self.changed.wait_timeout_while(guard, REST, same));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, DiskDemand> {
        self.demand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum FillProgress {
    /// The file has its size.
    Done,
    Grown,
    /// It cannot grow at the moment.
    Stuck,
}

/// A file that fills a volume, removed when this is dropped.
#[derive(Debug)]
struct Fill {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
    /// The share of the file system that stays free.
    least_free: f64,
    /// The last reported obstacle; each is reported once.
    trouble: Option<String>,
}

impl Fill {
    fn new(directory: &Path, least_free: f64) -> Self {
        Self { path: directory.join(NAME), file: None, bytes: 0, least_free, trouble: None }
    }

    fn grow(&mut self, size: u64) -> FillProgress {
        if self.bytes >= size {
            return FillProgress::Done;
        }
        match self.step(size) {
            Ok(Some(grown)) => {
                self.bytes += grown;
                self.trouble = None;
                FillProgress::Grown
            }
            Ok(None) => self.stuck("a fifth of the volume must stay free".to_owned()),
            Err(error) => self.stuck(error.to_string()),
        }
    }

    fn stuck(&mut self, trouble: String) -> FillProgress {
        if self.trouble.as_ref() != Some(&trouble) {
            warn!(path = %self.path.display(), bytes = self.bytes, "the file does not grow: {trouble}");
            self.trouble = Some(trouble);
        }
        FillProgress::Stuck
    }

    /// Adds some bytes; `None` if too little would stay free.
    fn step(&mut self, size: u64) -> io::Result<Option<u64>> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(create(&self.path)?),
        };
        let step = STEP.min(size - self.bytes);
        if !leaves_enough(&self.path, step, self.least_free)? {
            return Ok(None);
        }
        match fallocate(file, FallocateFlags::empty(), self.bytes, step) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP) => write(file, self.bytes, step)?,
            Err(error) => return Err(error.into()),
        }
        Ok(Some(step))
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        if self.file.take().is_some()
            && let Err(error) = fs::remove_file(&self.path)
        {
            error!(path = %self.path.display(), %error, "cannot be removed");
        }
    }
}

/// A new, locked file. Removes that of a killed process first.
fn create(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        remove_left(directory)?;
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| {
        let held = error.kind() == ErrorKind::AlreadyExists;
        if held {
            io::Error::new(ErrorKind::AlreadyExists, "another process fills the volume")
        } else {
            error
        }
    })?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

fn leaves_enough(path: &Path, step: u64, least_free: f64) -> io::Result<bool> {
    let volume = statvfs(path)?;
    let free = (volume.f_bavail * volume.f_frsize) as f64 - step as f64;
    Ok(free >= (volume.f_blocks * volume.f_frsize) as f64 * least_free)
}

/// Fallback if the file system cannot preallocate: writes.
fn write(file: &File, from: u64, bytes: u64) -> io::Result<()> {
    let block = vec![0xA5; 64 << 10];
    let mut written = 0;
    while written < bytes {
        let length = (bytes - written).min(block.len() as u64) as usize;
        file.write_all_at(&block[..length], from + written)?;
        written += length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn filled(fill: &mut Fill, size: u64) -> u64 {
        while matches!(fill.grow(size), FillProgress::Grown) {}
        fs::metadata(&fill.path).unwrap().blocks() * 512
    }

    #[test]
    fn a_file_takes_up_its_size_and_is_removed_with_its_rule() {
        let directory = tempfile::tempdir().unwrap();
        let mut fill = Fill::new(directory.path(), 0.0);
        assert!(filled(&mut fill, 20 << 20) >= 20 << 20);
        assert_eq!(remove_left(directory.path()).unwrap(), None, "it is held");
        drop(fill);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(NAME), [1; 8192]).unwrap();
        fs::write(directory.path().join("data"), "x").unwrap();
        assert_eq!(remove_left(directory.path()).unwrap(), Some(8192));
        assert_eq!(remove_left(directory.path()).unwrap(), None);
        assert!(directory.path().join("data").exists());
        // What it leads to stays, too.
        std::os::unix::fs::symlink(directory.path().join("data"), directory.path().join(NAME)).unwrap();
        assert!(remove_left(directory.path()).is_err());
        assert!(directory.path().join("data").exists());
        assert_eq!(remove_left(&directory.path().join("data")).unwrap(), None, "a file is no volume");
        fs::remove_file(directory.path().join(NAME)).unwrap();
        let fifo = directory.path().join(NAME);
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert_eq!(remove_left(directory.path()).unwrap(), None, "a FIFO is not waited for");
        assert!(create(&fifo).is_err());
    }

    #[test]
    fn a_fifth_stays_free() {
        let directory = tempfile::tempdir().unwrap();
        let volume = statvfs(directory.path()).unwrap();
        let all = volume.f_blocks * volume.f_frsize;
        assert!(!leaves_enough(directory.path(), all - all / 10, LEAST_FREE).unwrap());
    }

    #[test]
    fn what_the_system_cannot_reserve_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let file = create(&directory.path().join(NAME)).unwrap();
        write(&file, 0, 100_000).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 100_000);
    }
}
