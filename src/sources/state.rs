//! What survives a restart of the container, in a directory that outlives it (an `emptyDir`).
//!
//! | file | what it is |
//! |---|---|
//! | `state.json` | the present state |
//! | `state.json.old` | what the start before had left, in case the present one is lost with the node |
//! | `state.json.tmp` | the next state, while it is written; whatever is left of it is written over |
//! | `state.json.damaged` | what could not be used, for whoever wants to know why |
//!
//! A state is complete before a rename gives it its name. Nothing is synced to the disk: what a process has written is in
//! the kernel's hands and stays there when the process is killed. Only the end of the node can lose it, which the
//! checksum tells, and then there is the old one.
//!
//! The directory is for one container. With two of them the last to write wins.

mod format;
mod saver;

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::fault::{Counts, Origin, Timestamp};

use format::Record;
pub use saver::{Saver, spawn};

const PRESENT: &str = "state.json";
const OLD: &str = "state.json.old";
const TEMPORARY: &str = "state.json.tmp";
const DAMAGED: &str = "state.json.damaged";

/// The largest state, in bytes: several times that of a thousand rules.
const MAX_STATE: usize = 8 << 20;

/// Rules and their origins. Rules are texts, since a number may not come back from one as it was.
pub type Origins = Arc<[(String, Origin)]>;

/// What earlier starts of the container have left; nothing at the first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remembered {
    /// Starts of the container before this one.
    pub starts: u64,
    /// Time from the first start of the container to this one: by the wall clock, never less than what was recorded, at
    /// most 100 years.
    pub elapsed: Duration,
    /// Requests before this start.
    pub counts: Counts,
    /// Each rule that was in force, as JSON of [`write_rule`](crate::plan::write_rule), with its origin.
    pub origins: Origins,
}

/// What is to survive.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Present {
    /// Time since the first start of the container.
    pub elapsed: Duration,
    /// Requests since then.
    pub counts: Counts,
    /// Each rule in force, as JSON of [`write_rule`](crate::plan::write_rule), with its origin.
    pub origins: Origins,
}

/// The directory, at one start of the container.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// This start included.
    starts: u64,
}

impl StateDir {
    /// Reads what is there, and records at once that a start has begun, so that a crash counts too. `dir` is created if
    /// only itself is missing.
    ///
    /// Whatever is wrong comes back as text and never stops the start: a damaged file (its predecessor is used instead, or
    /// nothing), a directory that cannot be written.
    pub fn open(dir: &Path, now: Timestamp) -> (Self, Remembered, Option<String>) {
        let mut this = Self { path: dir.to_owned(), starts: 1 };
        if let Err(error) = this.create() {
            let wrong = format!("{} cannot be created: {error}", dir.display());
            return (this, Remembered::default(), Some(wrong));
        }
        let mut wrong = Vec::new();
        let mut remembered = Remembered::default();
        if let Some(Record { starts, saved, present }) = this.recall(&mut wrong) {
            let since = now.0.saturating_sub(saved.0);
            let elapsed = present.elapsed.saturating_add(since).min(format::MAX_ELAPSED);
            remembered = Remembered { starts, elapsed, counts: present.counts, origins: present.origins };
        }
        this.starts = remembered.starts.saturating_add(1);
        let Remembered { elapsed, counts, origins, .. } = remembered.clone();
        if let Err(error) = this.save(&Present { elapsed, counts, origins }, now) {
            wrong.push(format!("{} cannot be written: {error}", this.file(PRESENT).display()));
        }
        (this, remembered, (!wrong.is_empty()).then(|| wrong.join("; ")))
    }

    /// Writes the present state as a whole or not at all.
    ///
    /// # Errors
    ///
    /// It could not be written, or has more than 8 MiB.
    pub fn save(&mut self, state: &Present, now: Timestamp) -> io::Result<()> {
        let text = format::encode(self.starts, now, state)?;
        let temporary = self.file(TEMPORARY);
        let written = File::create(&temporary).and_then(|mut file| file.write_all(text.as_bytes()));
        written.and_then(|()| fs::rename(&temporary, self.file(PRESENT))).inspect_err(|_| {
            // Half a state must not fill the rest of a full disk.
            let _ = fs::remove_file(&temporary);
        })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn create(&self) -> io::Result<()> {
        match fs::create_dir(&self.path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && self.path.is_dir() => Ok(()),
            created => created,
        }
    }

    /// The last state that can be read, if there is any.
    fn recall(&self, wrong: &mut Vec<String>) -> Option<Record> {
        let present = self.file(PRESENT);
        let damage = match read(&present) {
            Ok(Some(record)) => {
                // Where this fails, so does the writing that follows, which is told. Until then the old one is the last.
                let _ = fs::rename(&present, self.file(OLD));
                return Some(record);
            }
            Ok(None) => None,
            Err(damage) => Some(damage),
        };
        let mut old = read(&self.file(OLD)).unwrap_or_else(|damage| {
            wrong.push(format!("{} {damage}", self.file(OLD).display()));
            None
        });
        if let Some(damage) = damage {
            let kept = match fs::rename(&present, self.file(DAMAGED)) {
                Ok(()) => format!("kept as {DAMAGED}"),
                Err(error) => format!("cannot be kept as {DAMAGED}: {error}"),
            };
            let instead = if old.is_some() { "its predecessor is used" } else { "begins anew" };
            wrong.push(format!("{} {damage}; {kept}; {instead}", present.display()));
            if let Some(record) = &mut old {
                // The start that wrote the damaged one.
                record.starts = record.starts.saturating_add(1);
            }
        }
        old
    }
}

/// The state in a file, if there is one. Err: why it cannot be used.
fn read(path: &Path) -> Result<Option<Record>, String> {
    let mut bytes = Vec::new();
    let file = fs::metadata(path).and_then(|metadata| {
        // Opening a pipe would wait for its writer.
        if metadata.is_file() { File::open(path) } else { Err(io::Error::other("it is not a regular file")) }
    });
    match file.and_then(|file| file.take(MAX_STATE as u64 + 1).read_to_end(&mut bytes)) {
        Ok(_) => format::decode(&bytes).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests;
