//! The output of `wait`.

use std::collections::BTreeSet;
use std::io::{self, Write};

use serde_json::json;
use tokio::time::Instant;

use crate::cli::shared::OutputFormat;
use crate::cli::text::OneLine;
use crate::cluster::{Grant, State, role};

/// Number of items that a line lists; the others are counted.
const LISTED: usize = 10;

/// The latest state of each item.
pub(super) struct WaitReport {
    items: Vec<(String, State)>,
    output: OutputFormat,
    start: Instant,
    /// Missing permissions.
    grants: BTreeSet<Grant>,
    /// The last message of the API server about a missing permission.
    forbidden: String,
    /// Number of permissions in the Role that was printed last.
    printed: usize,
}

impl WaitReport {
    pub(super) fn new(names: impl Iterator<Item = String>, output: OutputFormat, start: Instant) -> Self {
        let unknown = || State::Missing("no answer yet".to_owned());
        let items = names.map(|name| (name, unknown())).collect();
        Self { items, output, start, grants: BTreeSet::new(), forbidden: String::new(), printed: 0 }
    }

    /// Updates the state of an item. Returns whether it changed.
    pub(super) fn take(&mut self, item: usize, state: State, grant: Option<Grant>) -> bool {
        if let (Some(grant), State::Missing(reason)) = (grant, &state) {
            self.grants.insert(grant);
            self.forbidden.clone_from(reason);
        }
        let known = &mut self.items[item].1;
        let changed = *known != state;
        *known = state;
        changed
    }

    pub(super) fn is_ready(&self) -> bool {
        self.items.iter().all(|(_, state)| *state == State::Ready)
    }

    /// The first item that can never be ready, and why.
    pub(super) fn failed(&self) -> Option<String> {
        self.items.iter().find_map(|(name, state)| match state {
            State::Failed(reason) => Some(format!("{name}: {}", OneLine(reason))),
            _ => None,
        })
    }

    /// The items that are not ready, and why.
    pub(super) fn missing(&self) -> String {
        let all: Vec<String> =
            self.unready().map(|(name, reason)| format!("{name}: {}", OneLine(reason))).collect();
        let more = all.len().saturating_sub(LISTED);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        format!("{}{more}", all[..all.len().min(LISTED)].join("; "))
    }

    fn unready(&self) -> impl Iterator<Item = (&str, &str)> {
        self.items.iter().filter_map(|(name, state)| match state {
            State::Ready => None,
            State::Missing(reason) | State::Failed(reason) => Some((name.as_str(), reason.as_str())),
        })
    }

    pub(super) fn waiting(&self, out: &mut dyn Write) -> io::Result<()> {
        let (missing, all) = (self.unready().count(), self.items.len());
        self.line("waiting", &format!("waiting for {missing} of {all}: {}", self.missing()), out)
    }

    pub(super) fn ready(&self, out: &mut dyn Write) -> io::Result<()> {
        let names: Vec<&str> = self.items.iter().map(|(name, _)| name.as_str()).collect();
        self.line("ready", &format!("ready: {}", names.join(", ")), out)
    }

    /// The last line in JSON; in text, it is printed with the errors.
    pub(super) fn timed_out(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.output == OutputFormat::Json { self.line("timeout", "", out) } else { Ok(()) }
    }

    fn line(&self, event: &str, text: &str, out: &mut dyn Write) -> io::Result<()> {
        let elapsed = self.start.elapsed().as_secs_f64();
        match self.output {
            OutputFormat::Text => writeln!(out, "+{elapsed:.3}s {text}")?,
            OutputFormat::Json => {
                let missing: Vec<_> =
                    self.unready().map(|(name, reason)| json!({"name": name, "reason": reason})).collect();
                let ready = self.items.iter().filter(|(_, state)| *state == State::Ready);
                let ready: Vec<&str> = ready.map(|(name, _)| name.as_str()).collect();
                let line =
                    json!({"elapsed_seconds": elapsed, "event": event, "ready": ready, "missing": missing});
                writeln!(out, "{line}")?;
            }
        }
        out.flush()
    }

    /// The Role that grants the missing permissions, if there are more than at the last call.
    pub(super) fn new_role(&mut self) -> Option<String> {
        if self.grants.len() == self.printed {
            return None;
        }
        self.printed = self.grants.len();
        Some(role(&self.grants, &self.forbidden))
    }
}
