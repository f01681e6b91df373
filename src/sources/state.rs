//! What survives a restart of the container, in a directory that outlives it (an `emptyDir`).
//!
//! | file | what it is |
//! |---|---|
//! | `state.json` | the current state |
//! | `state.json.old` | the last state of the previous start, in case the current one is lost with the node |
//! | `state.json.tmp` | the next state while it is written; leftovers are removed |
//! | `state.json.damaged` | a state that could not be used, kept for inspection |
//!
//! A state is complete before a rename gives it its name, and `state.json` never goes away: whenever the process is
//! killed, the last complete state is there. Nothing is synced to the disk: written data stays in the kernel when a
//! process is killed. Only the end of the node can lose it; the checksum reveals that, and then the old one is used.
//!
//! The directory is for one container. With two of them the last one to write wins.

mod format;
mod saver;

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::engine::Stop;
use crate::fault::{Counts, Origin, Proxies, Timestamp};
use crate::file::{self, FileError, Links};

use format::Record;
pub use saver::{SaveError, SaveRequests, Saver, spawn};

const CURRENT: &str = "state.json";
const OLD: &str = "state.json.old";
const TEMPORARY: &str = "state.json.tmp";
const DAMAGED: &str = "state.json.damaged";

/// The largest state, in bytes: several times that of a thousand rules.
const MAX_STATE: usize = 8 << 20;

/// Rules and their origins. Rules are texts, since a number may not come back from one as it was.
pub type Origins = Arc<[(String, Origin)]>;

/// What earlier starts of the container have left; nothing at the first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Restored {
    /// Starts of the container before this one.
    pub starts: u64,
    /// Time from the first start of the container to this one: by the wall clock, never less than what was recorded, at
    /// most 100 years.
    pub elapsed: Duration,
    /// Requests before this start.
    pub counts: Counts,
    /// The proxies that the counts speak of, by slot.
    pub proxies: Proxies,
    /// Each rule that was in force, as JSON of [`write_rule`](crate::plan::write_rule), with its origin.
    pub origins: Origins,
    /// How many requests the match of each of these rules has admitted since then; empty where no rule has one.
    pub matched: Vec<Counts>,
    /// The stop through the API that has not ended.
    pub stop: Option<Stop>,
}

/// What is to survive.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Time since the first start of the container.
    pub elapsed: Duration,
    /// Requests since then.
    pub counts: Counts,
    /// The proxies that the counts speak of, by slot.
    pub proxies: Proxies,
    /// Each rule of the plan, as JSON of [`write_rule`](crate::plan::write_rule), with its origin.
    pub origins: Origins,
    /// How many requests the match of each of these rules has admitted since then; empty where no rule has one.
    pub matched: Vec<Counts>,
    /// The stop through the API, if there is one.
    pub stop: Option<Stop>,
}

/// The directory, at one start of the container.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// This start included.
    starts: u64,
}

impl StateDir {
    /// Reads what is there, and records at once that a start has begun, so that a start that is killed counts, too. `dir`
    /// is created if only itself is missing.
    ///
    /// Whatever is wrong comes back as text and never stops the start: a damaged file (its predecessor is used instead, or
    /// nothing), a directory that cannot be written.
    pub fn open(dir: &Path, now: Timestamp) -> (Self, Restored, Option<String>) {
        let mut this = Self { path: dir.to_owned(), starts: 1 };
        if let Err(error) = this.create() {
            let wrong = format!("{} cannot be created: {error}", dir.display());
            return (this, Restored::default(), Some(wrong));
        }
        let mut wrong = Vec::new();
        let mut restored = Restored::default();
        let (record, previous) = this.recall(&mut wrong);
        if let Some(Record { starts, saved, state }) = record {
            let since = now.0.saturating_sub(saved.0);
            let elapsed = state.elapsed.saturating_add(since).min(format::MAX_ELAPSED);
            let State { counts, proxies, origins, matched, stop, .. } = state;
            restored = Restored { starts, elapsed, counts, proxies, origins, matched, stop };
        }
        this.starts = restored.starts.saturating_add(1);
        let Restored { elapsed, counts, proxies, origins, matched, stop, .. } = restored.clone();
        if let Err(error) = this.save(&State { elapsed, counts, proxies, origins, matched, stop }, now) {
            wrong.push(format!("{} cannot be written: {error}", this.file(CURRENT).display()));
        } else if let Some(previous) = previous {
            // After the start is counted, so that a kill meanwhile costs the copy and not the count.
            if let Err(error) = this.put(OLD, &previous) {
                wrong.push(format!("{} cannot be written: {error}", this.file(OLD).display()));
            }
        }
        (this, restored, (!wrong.is_empty()).then(|| wrong.join("; ")))
    }

    /// Writes the state as a whole or not at all.
    ///
    /// # Errors
    ///
    /// It could not be written, or has more than 8 MiB.
    pub fn save(&mut self, state: &State, now: Timestamp) -> io::Result<()> {
        self.put(CURRENT, format::encode(self.starts, now, state)?.as_bytes())
    }

    /// Writes a file completely before it takes the place of the one of that name.
    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.file(TEMPORARY);
        let written = file::write_new(&temporary, bytes);
        written.and_then(|()| fs::rename(&temporary, self.file(name))).inspect_err(|_| {
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

    /// The last state that can be read, if there is any, and its bytes if it is the current one.
    fn recall(&self, wrong: &mut Vec<String>) -> (Option<Record>, Option<Vec<u8>>) {
        let current = self.file(CURRENT);
        let damage = match read(&current) {
            Ok(Some((record, bytes))) => return (Some(record), Some(bytes)),
            Ok(None) => None,
            Err(damage) => Some(damage),
        };
        let mut old = match read(&self.file(OLD)) {
            Ok(old) => old.map(|(record, _)| record),
            Err(damage) => {
                wrong.push(format!("{} {damage}", self.file(OLD).display()));
                None
            }
        };
        if let Some(damage) = damage {
            let kept = match fs::rename(&current, self.file(DAMAGED)) {
                Ok(()) => format!("kept as {DAMAGED}"),
                Err(error) => format!("cannot be kept as {DAMAGED}: {error}"),
            };
            let instead = if old.is_some() { "its predecessor is used" } else { "begins anew" };
            wrong.push(format!("{} {damage}; {kept}; {instead}", current.display()));
            if let Some(record) = &mut old {
                // The start that wrote the damaged one.
                record.starts = record.starts.saturating_add(1);
            }
        }
        (old, None)
    }
}

/// The state in a file, if there is one, and the bytes of the file. Err: why it cannot be used.
fn read(path: &Path) -> Result<Option<(Record, Vec<u8>)>, String> {
    match file::read(path, MAX_STATE, Links::Refuse) {
        Ok(bytes) => format::decode(&bytes).map(|record| Some((record, bytes))),
        Err(FileError::Missing) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
pub(super) mod tests;
