//! Watches files by looking at them often.
//!
//! A look costs two system calls per file. It needs no resource that a node can exhaust (inotify instances), works on
//! file systems without notifications, and follows symbolic links however they are swapped, as those of a ConfigMap or
//! a downward API volume are.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::file::{self, FileError};
use crate::plan::document::MAX_PLAN;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// How long a file is read at each look although `stat` shows no change: two writes within one tick of the file system's
/// clock look alike, and the coarsest tick is 2 s. Measured on our own clock, since that of the file may be off.
const SETTLING: Duration = Duration::from_millis(2_500);

/// Enough to read JSON of the greatest depth, by recursion, in a debug build. Stack that is not used is not resident.
const STACK: usize = 1 << 20;

/// What a look at a file found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// There is nothing at that path, or a symbolic link to nothing.
    Missing,
    /// All of it.
    Text(String),
    /// The reason why it is no text: too large, not UTF-8, a directory, no permission.
    Unreadable(String),
}

/// Reads the file once, as the watcher does: at most [`MAX_PLAN`] bytes of UTF-8.
pub fn read(path: &Path) -> Content {
    match file::read_text(path, MAX_PLAN) {
        Ok(text) => Content::Text(text),
        Err(FileError::Missing) => Content::Missing,
        Err(error) => Content::Unreadable(error.to_string()),
    }
}

/// Watches `paths` until the handle is dropped. `report(index, content)` is called in a thread of its own for each
/// difference from what [`read`] gave at the start (the second part of each pair) or from what was reported last.
///
/// Content that is not text is reported once two looks in a row have found the same, so that a file that is being
/// replaced (removed and written again, half a character at its end) is not. Without paths there is no thread.
///
/// # Errors
///
/// The thread could not be started.
pub fn spawn(
    paths: Vec<(PathBuf, Content)>,
    mut report: impl FnMut(usize, Content) + Send + 'static,
) -> io::Result<Watcher> {
    if paths.is_empty() {
        return Ok(Watcher { refresh: None });
    }
    let mut files: Vec<_> = paths.into_iter().map(|(path, first)| Watched::new(path, first)).collect();
    let (refresh, refreshes) = mpsc::channel();
    let watch = move || {
        loop {
            for (index, file) in files.iter_mut().enumerate() {
                if let Some(content) = file.look(Instant::now()) {
                    report(index, content);
                }
            }
            match refreshes.recv_timeout(LOOK) {
                Ok(()) => {
                    // One round serves all requests so far.
                    while refreshes.try_recv().is_ok() {}
                    files.iter_mut().for_each(Watched::refresh);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    };
    thread::Builder::new().name("watch".to_owned()).stack_size(STACK).spawn(watch)?;
    Ok(Watcher { refresh: Some(refresh) })
}

/// Watches until it is dropped. A report that has begun by then ends by itself.
#[derive(Debug)]
pub struct Watcher {
    refresh: Option<Sender<()>>,
}

impl Watcher {
    /// Reads all files again now and reports each, changed or not.
    pub fn refresh(&self) {
        if let Some(refresh) = &self.refresh {
            // The thread ends with this handle, not before.
            let _ = refresh.send(());
        }
    }
}

/// What changes with the content of a file, or with the file at its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|metadata| Self::from(&metadata))
    }
}

impl From<&Metadata> for Stamp {
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

/// One file and what is known of it.
struct Watched {
    path: PathBuf,
    /// What was reported last.
    reported: Content,
    /// Whether it is to be reported, changed or not.
    due: bool,
    /// Content that is not text, seen once.
    doubted: Option<Content>,
    /// The stamp that the last looks found, and when the first of them was.
    stamp: Option<(Stamp, Instant)>,
    /// Whether it need not be read again under this stamp.
    settled: bool,
}

impl Watched {
    fn new(path: PathBuf, first: Content) -> Self {
        Self { path, reported: first, due: false, doubted: None, stamp: None, settled: false }
    }

    fn refresh(&mut self) {
        self.due = true;
        self.settled = false;
    }

    /// Looks at the file, and gives what there is to report.
    fn look(&mut self, now: Instant) -> Option<Content> {
        self.look_by(Stamp::of, now)
    }

    fn look_by(&mut self, stamp_of: impl Fn(&Path) -> Option<Stamp>, now: Instant) -> Option<Content> {
        let stamp = stamp_of(&self.path);
        let since = match self.stamp {
            Some((last, since)) if Some(last) == stamp => {
                if self.settled {
                    return None;
                }
                since
            }
            _ => now,
        };
        self.stamp = stamp.map(|stamp| (stamp, since));
        let content = read(&self.path);
        let is_text = matches!(content, Content::Text(_));
        // What cannot be read may become readable without a change that `stat` shows.
        self.settled = is_text && now.duration_since(since) >= SETTLING;
        if content == self.reported && !self.due {
            self.doubted = None;
            return None;
        }
        if is_text {
            if stamp_of(&self.path) != stamp {
                // Written while it was read: the next look finds the whole of it.
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
