//! The course of one Pod in lines for people.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::kubelet::{Event, Happening, ProbeKind, Symptom};
use crate::units::Show;

use super::rollout::Milestone;

/// Lines kept from the beginning.
const HEAD: usize = 32;
/// Lines kept from the end.
const TAIL: usize = 8;

/// What attempts that failed alike have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Attempts {
    container: usize,
    probe: ProbeKind,
    symptom: Symptom,
    error: bool,
}

#[derive(Clone, Debug)]
struct Line {
    at: Duration,
    text: String,
    /// Of attempts: how many, and when the last was.
    attempts: Option<(Attempts, u64, Duration)>,
}

/// The course of one Pod, in bounded memory: attempts that fail alike are one line until something changes, and of many
/// lines the first and the last are kept.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    containers: Vec<String>,
    head: Vec<Line>,
    tail: VecDeque<Line>,
    left_out: u64,
    /// How many of the latest lines are attempts, with no change among them.
    open: usize,
}

impl Timeline {
    /// An empty one, of a Pod with containers of these names.
    pub fn new(containers: Vec<String>) -> Self {
        Self { containers, ..Self::default() }
    }

    /// Adds what happened in the Pod.
    pub fn see(&mut self, event: &Event) {
        let (Happening::Unhealthy { probe, symptom, .. } | Happening::Warning { probe, symptom }) =
            event.what
        else {
            if let Some(text) = self.text(event) {
                self.open = 0;
                self.push(Line { at: event.at, text, attempts: None });
            }
            return;
        };
        let error = matches!(event.what, Happening::Unhealthy { error: true, .. });
        let alike = Attempts { container: event.container, probe, symptom, error };
        let open = self.open;
        let latest = self.tail.iter_mut().rev().chain(self.head.iter_mut().rev()).take(open);
        for line in latest {
            if let Some((attempts, count, last)) = &mut line.attempts
                && *attempts == alike
            {
                *count += 1;
                *last = event.at;
                return;
            }
        }
        let text = self.named(event, event.message(self.container(event)));
        self.open += 1;
        self.push(Line { at: event.at, text, attempts: Some((alike, 1, event.at)) });
    }

    /// Adds what became of the rollout.
    pub fn milestone(&mut self, milestone: Milestone) {
        let (at, text) = match milestone {
            Milestone::Complete { at } => (at, "Rollout complete: all Pods are available".to_owned()),
            Milestone::Stalled { at, available } => {
                (at, format!("Rollout stalls: ProgressDeadlineExceeded with {available} Pods available"))
            }
        };
        self.open = 0;
        self.push(Line { at, text, attempts: None });
    }

    fn container(&self, event: &Event) -> &str {
        self.containers.get(event.container).map_or("", String::as_str)
    }

    /// With the container's name, where there are several and the text lacks it.
    fn named(&self, event: &Event, text: String) -> String {
        if self.containers.len() > 1 { format!("{}: {text}", self.container(event)) } else { text }
    }

    /// `None` for what another line says better.
    fn text(&self, event: &Event) -> Option<String> {
        let message = || event.message(self.container(event));
        match event.what {
            Happening::Started { restarts } if restarts > 0 => {
                Some(format!("{} (restart {restarts})", message()))
            }
            Happening::Result { probe: ProbeKind::Startup, success: true } => {
                Some(self.named(event, "Startup probe succeeded".to_owned()))
            }
            Happening::Result { .. } => None,
            Happening::Ready(_) if self.containers.len() == 1 => None,
            Happening::Killing { grace, .. } => {
                Some(format!("{}: SIGTERM, SIGKILL after {}", message(), Show(grace)))
            }
            Happening::BackOff { delay } => Some(format!("{}, for {}", message(), Show(delay))),
            _ => Some(message()),
        }
    }

    fn push(&mut self, line: Line) {
        if self.head.len() < HEAD {
            self.head.push(line);
            return;
        }
        self.tail.push_back(line);
        if self.tail.len() > TAIL {
            self.tail.pop_front();
            self.left_out += 1;
            self.open = self.open.min(TAIL);
        }
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.head {
            writeln!(f, "  {line}")?;
        }
        if self.left_out > 0 {
            writeln!(f, "  {:>12}  … {} more", "", self.left_out)?;
        }
        for line in &self.tail {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>12}  {}", format!("+{}", Short(self.at)), self.text)?;
        match self.attempts {
            Some((_, count, last)) if count > 1 => write!(f, " ({count} times until +{})", Short(last)),
            _ => Ok(()),
        }
    }
}

/// A duration in tenths of a second.
#[derive(Clone, Copy, Debug)]
pub struct Short(pub Duration);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0.as_millis() + 50) / 100;
        Show(Duration::from_millis(tenths as u64 * 100)).fmt(f)
    }
}
