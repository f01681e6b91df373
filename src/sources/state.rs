//! State that survives a container restart, in a directory that outlives the container (an `emptyDir`).
//!
//! | file | content |
//! |---|---|
//! | `state.json` | the current state |
//! | `state.json.old` | the last state of the previous start, used if the current one is lost in a node crash |
//! | `state.json.tmp` | the next state while it is written; leftovers are removed |
//! | `state.json.damaged` | a state that could not be used, kept for inspection |
//!
//! A state file is written completely before it is renamed to `state.json`, and `state.json` always exists, so a kill
//! at any time leaves the last complete state. Files are not synced: written data survives the process in the kernel.
//! Only a node crash can lose it; the checksum detects that, and the old file is used.
//!
//! The directory is for one container. If two share it, the last writer wins.

mod format;
mod saver;

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::engine::Stop;
use crate::fault::{Origin, Proxies, RequestCounts, Timestamp};
use crate::file::{self, FileError, Links};

use format::StateRecord;
pub use saver::{SaveError, SaveRequests, Saver, spawn};

const CURRENT: &str = "state.json";
const OLD: &str = "state.json.old";
const TEMPORARY: &str = "state.json.tmp";
const DAMAGED: &str = "state.json.damaged";

/// Limit of a state file in bytes: several times the size of a thousand rules.
const MAX_STATE: usize = 8 << 20;

/// Rules and their origins. Rules are kept as text, since parsing may not preserve numbers exactly.
pub type Origins = Arc<[(String, Origin)]>;

/// The state of earlier starts of the container; empty at the first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Restored {
    /// Starts of the container before this one.
    pub starts: u64,
    /// Time from the container's first start to this one by the wall clock: at least what was recorded, at most 100
    /// years.
    pub elapsed: Duration,
    /// Requests before this start.
    pub counts: RequestCounts,
    /// Proxies of the counts, by slot.
    pub proxies: Proxies,
    /// Each rule that was in force, as JSON of [`write_rule`](crate::plan::write_rule), with its origin.
    pub origins: Origins,
    /// The number of requests that each rule's match has admitted since then; empty if no rule has a match.
    pub matched: Vec<RequestCounts>,
    /// The stop made through the API that has not ended.
    pub stop: Option<Stop>,
}

/// The state to save.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SavedState {
    /// Time since the first start of the container.
    pub elapsed: Duration,
    /// Requests since then.
    pub counts: RequestCounts,
    /// Proxies of the counts, by slot.
    pub proxies: Proxies,
    /// Each rule of the plan, as JSON of [`write_rule`](crate::plan::write_rule), with its origin.
    pub origins: Origins,
    /// The number of requests that each rule's match has admitted since then; empty if no rule has a match.
    pub matched: Vec<RequestCounts>,
    /// The stop made through the API, if any.
    pub stop: Option<Stop>,
}

/// The state directory, for one start of the container.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// Includes this start.
    starts: u64,
}

impl StateDir {
    /// Reads the state and records this start at once, so that a start that is killed counts as well. Creates `dir`
    /// if its parent exists.
    ///
    /// Problems are returned as text and never prevent the start: a damaged file (the previous one is used, or none),
    /// or a directory that is not writable.
    pub fn open(dir: &Path, now: Timestamp) -> (Self, Restored, Option<String>) {
        let mut this = Self { path: dir.to_owned(), starts: 1 };
        if let Err(error) = this.create() {
            let wrong = format!("{} cannot be created: {error}", dir.display());
            return (this, Restored::default(), Some(wrong));
        }
        let mut wrong = Vec::new();
        let mut restored = Restored::default();
        let current = read(&this.file(CURRENT));
        // Count this start before the rules are read: a kill in between must not lose it.
        let counted = current.as_ref().ok().and_then(|bytes| format::at_next_start(bytes.as_ref()?, now));
        let is_counted = counted.is_some_and(|text| this.put(CURRENT, text.as_bytes()).is_ok());
        let (record, previous) = this.read_latest(current, &mut wrong);
        if let Some(StateRecord { starts, saved, state }) = record {
            let elapsed = format::elapsed_at(now, saved, state.elapsed);
            let SavedState { counts, proxies, origins, matched, stop, .. } = state;
            restored = Restored { starts, elapsed, counts, proxies, origins, matched, stop };
        }
        this.starts = restored.starts.saturating_add(1);
        let saved = if is_counted && previous.is_some() {
            Ok(())
        } else {
            let Restored { elapsed, counts, proxies, origins, matched, stop, .. } = restored.clone();
            this.save(&SavedState { elapsed, counts, proxies, origins, matched, stop }, now)
        };
        if let Err(error) = saved {
            wrong.push(format!("{} cannot be written: {error}", this.file(CURRENT).display()));
        } else if let Some(previous) = previous {
            // Count the start first: a kill in between loses only the copy.
            if let Err(error) = this.put(OLD, &previous) {
                wrong.push(format!("{} cannot be written: {error}", this.file(OLD).display()));
            }
        }
        (this, restored, (!wrong.is_empty()).then(|| wrong.join("; ")))
    }

    /// Writes the state completely or not at all.
    ///
    /// # Errors
    ///
    /// The state cannot be written, or exceeds 8 MiB.
    pub fn save(&mut self, state: &SavedState, now: Timestamp) -> io::Result<()> {
        self.put(CURRENT, format::encode(self.starts, now, state)?.as_bytes())
    }

    /// Writes a file completely, then renames it to its name.
    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.file(TEMPORARY);
        let written = file::write_new(&temporary, bytes);
        written.and_then(|()| fs::rename(&temporary, self.file(name))).inspect_err(|_| {
            // A partial state must not fill a full disk.
            let _ = fs::remove_file(&temporary);
        })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn create(&self) -> io::Result<()> {
        match fs::create_dir(&self.path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && self.path.is_dir() => Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(ErrorKind::NotADirectory.into()),
            created => created,
        }
    }

    /// The latest readable state, and its bytes if it is the current one. `current` holds the bytes of that file.
    fn read_latest(
        &self,
        current: Result<Option<Vec<u8>>, String>,
        wrong: &mut Vec<String>,
    ) -> (Option<StateRecord>, Option<Vec<u8>>) {
        let decoded = |bytes: Vec<u8>| format::decode(&bytes).map(|record| (record, bytes));
        let damage = match current.and_then(|bytes| bytes.map(decoded).transpose()) {
            Ok(Some((record, bytes))) => return (Some(record), Some(bytes)),
            Ok(None) => None,
            Err(damage) => Some(damage),
        };
        let current = self.file(CURRENT);
        let mut old = match read(&self.file(OLD)).and_then(|bytes| bytes.map(decoded).transpose()) {
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
            let instead = if old.is_some() { "the previous state is used" } else { "starts over" };
            wrong.push(format!("{} {damage}; {kept}; {instead}", current.display()));
            if let Some(record) = &mut old {
                // The start that wrote the damaged file.
                record.starts = record.starts.saturating_add(1);
            }
        }
        (old, None)
    }
}

/// Reads a state file, if there is one. The error says why it cannot be used.
fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    match file::read(path, MAX_STATE, Links::Refuse) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(FileError::Missing) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
pub(super) mod tests;
