//! Watches files by polling.
//!
//! A poll costs two system calls per file. It needs no resource that a node can exhaust (inotify instances), works on
//! file systems without notifications, and follows symbolic links however they are replaced, as in ConfigMap and
//! downward API volumes.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::file::{self, FileError};
use crate::plan::document::MAX_PLAN;

/// Interval between polls.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How long a file is read at each poll even if `stat` shows no change: two writes within one tick of the file
/// system's clock poll alike, and the coarsest tick is 2 s. Measured on our own clock, since the file's timestamps
/// may be off.
const SETTLE_TIME: Duration = Duration::from_millis(2_500);

/// Stack for parsing JSON of the greatest depth recursively, in a debug build. Unused stack is not resident.
const STACK: usize = 1 << 20;

/// The result of a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PollResult {
    /// Nothing at that path, or a dangling symbolic link.
    Missing,
    /// The complete text.
    Text(String),
    /// Why it is not text: too large, not UTF-8, a directory, no permission.
    Unreadable(String),
}

/// Reads a file once, like the watcher: at most [`MAX_PLAN`] bytes of UTF-8.
pub fn read(path: &Path) -> PollResult {
    match file::read_text(path, MAX_PLAN) {
        Ok(text) => PollResult::Text(text),
        Err(FileError::Missing) => PollResult::Missing,
        Err(error) => PollResult::Unreadable(error.to_string()),
    }
}

/// Watches `paths` until the handle is dropped. A thread calls `report(index, content)` for each difference from what
/// [`read`] returned at the start (the second part of each pair) or from the last report.
///
/// If `report` returns true, the next poll reports that file again, changed or not.
///
/// Content that is not text is reported only when two polls in a row find it, so that a file being replaced (removed
/// and written again, or cut in the middle of a character) is not reported. Without paths, there is no thread.
///
/// # Errors
///
/// The thread cannot be started.
pub fn spawn(
    paths: Vec<(PathBuf, PollResult)>,
    mut report: impl FnMut(usize, PollResult) -> bool + Send + 'static,
) -> io::Result<Watcher> {
    if paths.is_empty() {
        return Ok(Watcher { refresh: None });
    }
    let mut files: Vec<_> = paths.into_iter().map(|(path, first)| WatchedFile::new(path, first)).collect();
    let (refresh, refreshes) = mpsc::channel();
    let watch = move || {
        loop {
            for (index, file) in files.iter_mut().enumerate() {
                if let Some(content) = file.poll(Instant::now())
                    && report(index, content)
                {
                    file.refresh();
                }
            }
            match refreshes.recv_timeout(POLL_INTERVAL) {
                Ok(()) => {
                    // One round serves all pending requests.
                    while refreshes.try_recv().is_ok() {}
                    files.iter_mut().for_each(WatchedFile::refresh);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    };
    thread::Builder::new().name("watch".to_owned()).stack_size(STACK).spawn(watch)?;
    Ok(Watcher { refresh: Some(refresh) })
}

/// Watches until it is dropped. A report in progress then completes by itself.
#[derive(Debug)]
pub struct Watcher {
    refresh: Option<Sender<()>>,
}

impl Watcher {
    /// Reads all files now and reports each, changed or not.
    pub fn refresh(&self) {
        if let Some(refresh) = &self.refresh {
            // The thread lives as long as this handle.
            let _ = refresh.send(());
        }
    }
}

/// File metadata that changes with the content, or when another file takes the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileStamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileStamp {
    fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|metadata| Self::from(&metadata))
    }
}

impl From<&Metadata> for FileStamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// A file and its state.
struct WatchedFile {
    path: PathBuf,
    /// The last reported content.
    reported: PollResult,
    /// Whether to report it, changed or not.
    due: bool,
    /// Content that is not text, seen once.
    doubted: Option<PollResult>,
    /// The metadata at the last polls, and when it was first seen.
    stamp: Option<(FileStamp, Instant)>,
    /// Whether the file need not be read again while its metadata is unchanged.
    settled: bool,
}

impl WatchedFile {
    fn new(path: PathBuf, first: PollResult) -> Self {
        Self { path, reported: first, due: false, doubted: None, stamp: None, settled: false }
    }

    fn refresh(&mut self) {
        self.due = true;
        self.settled = false;
    }

    /// Polls the file and returns what to report.
    fn poll(&mut self, now: Instant) -> Option<PollResult> {
        self.poll_with(FileStamp::of, now)
    }

    fn poll_with(
        &mut self,
        stamp_of: impl Fn(&Path) -> Option<FileStamp>,
        now: Instant,
    ) -> Option<PollResult> {
        let stamp = stamp_of(&self.path);
        let since = match self.stamp {
            Some((last, since)) if Some(last) == stamp => {
                if self.settled {
                    return None;
                }
                since
            }
            _ => {
                // Content that is not text is not kept: only the metadata shows that it has changed.
                self.due |= self.stamp.is_some() && matches!(self.reported, PollResult::Unreadable(_));
                now
            }
        };
        self.stamp = stamp.map(|stamp| (stamp, since));
        let content = read(&self.path);
        let is_text = matches!(content, PollResult::Text(_));
        // An unreadable file may become readable without a change that `stat` shows.
        self.settled = is_text && now.duration_since(since) >= SETTLE_TIME;
        if content == self.reported && !self.due {
            self.doubted = None;
            return None;
        }
        if is_text {
            if stamp_of(&self.path) != stamp {
                // It was written during the read: the next poll reads it completely.
                self.settled = false;
                return None;
            }
        } else if self.doubted.as_ref() != Some(&content) {
            self.doubted = Some(content);
            return None;
        }
        self.due = false;
        self.doubted = None;
        self.reported.clone_from(&content);
        Some(content)
    }
}

#[cfg(test)]
mod tests;
