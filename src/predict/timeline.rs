//! The course of one Pod in lines for people.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::kubelet::{Event, Happening, ProbeKind, Symptom};
use crate::units::Show;

use super::rollout::Milestone;

/// Lines kept from the beginning.
const HEAD: usize = 16;
/// Lines kept from the end.
const RECENT: usize = 26;
/// The longest round of lines that is recognised when it comes again.
const MAX_ROUND: usize = 12;

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
    /// The number of the restart, which two lines that are like each other may differ in.
    restart: Option<u64>,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Change,
    /// Attempts that failed alike: how many, and when the last was.
    Attempts(Attempts, u64, Duration),
    /// The round of so many lines before came again: how often, and when it ended.
    Again(usize, u64, Duration),
}

impl Line {
    /// Whether two lines say the same of different times.
    fn is_like(&self, other: &Self) -> bool {
        match (&self.what, &other.what) {
            (What::Change, What::Change) => self.text == other.text,
            (What::Attempts(mine, ..), What::Attempts(others, ..)) => mine == others,
            _ => false,
        }
    }
}

/// The course of one Pod, in bounded memory: attempts that fail alike are one line until something changes, a round of
/// lines that comes again is counted, and of many lines the first and the last are kept.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    containers: Vec<String>,
    head: Vec<Line>,
    recent: VecDeque<Line>,
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
                let restart = match event.what {
                    Happening::Started { restarts } if restarts > 0 => Some(restarts),
                    _ => None,
                };
                self.change(event.at, text, restart);
            }
            return;
        };
        let error = matches!(event.what, Happening::Unhealthy { error: true, .. });
        let alike = Attempts { container: event.container, probe, symptom, error };
        let open = self.open;
        for line in self.recent.iter_mut().rev().take(open) {
            if let What::Attempts(attempts, count, last) = &mut line.what
                && *attempts == alike
            {
                *count += 1;
                *last = event.at;
                return;
            }
        }
        let text = self.named(event, event.message(self.container(event)));
        self.open += 1;
        self.push(Line { at: event.at, text, restart: None, what: What::Attempts(alike, 1, event.at) });
    }

    /// Adds what became of the rollout.
    pub fn milestone(&mut self, milestone: Milestone) {
        let (at, text) = match milestone {
            Milestone::Complete { at } => (at, "Rollout complete: all Pods are available".to_owned()),
            Milestone::Stalled { at, available } => {
                (at, format!("Rollout stalls: ProgressDeadlineExceeded with {available} Pods available"))
            }
        };
        self.change(at, text, None);
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

    fn change(&mut self, at: Duration, text: String, restart: Option<u64>) {
        self.open = 0;
        self.push(Line { at, text, restart, what: What::Change });
        self.fold(at);
    }

    fn push(&mut self, line: Line) {
        self.recent.push_back(line);
        while self.recent.len() > RECENT
            && let Some(line) = self.recent.pop_front()
        {
            self.keep(line);
        }
    }

    fn keep(&mut self, line: Line) {
        if self.head.len() < HEAD {
            self.head.push(line);
            return;
        }
        self.left_out += match line.what {
            What::Again(lines, times, _) => lines as u64 * times,
            _ => 1,
        };
    }

    /// If the latest lines are the round before them again, they are counted instead.
    fn fold(&mut self, until: Duration) {
        let lines = self.recent.make_contiguous();
        for round in 1..=MAX_ROUND {
            let Some((before, latest)) = lines.len().checked_sub(round).map(|at| lines.split_at(at)) else {
                return;
            };
            let counted =
                matches!(before.last(), Some(Line { what: What::Again(lines, ..), .. }) if *lines == round);
            let Some(first) = before.len().checked_sub(round + usize::from(counted)) else { return };
            let before = &before[first..first + round];
            if !latest.iter().zip(before).all(|(new, old)| new.is_like(old)) {
                continue;
            }
            let begun = latest[0].at;
            self.recent.truncate(first + round + usize::from(counted));
            match self.recent.back_mut() {
                Some(Line { what: What::Again(_, times, last), .. }) if counted => {
                    *times += 1;
                    *last = until;
                }
                _ => self.push(Line {
                    at: begun,
                    text: String::new(),
                    restart: None,
                    what: What::Again(round, 1, until),
                }),
            }
            return;
        }
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.head {
            writeln!(f, "  {line}")?;
        }
        let mut left_out = self.left_out;
        let mut recent = self.recent.iter().peekable();
        // What it counts is not there to be seen.
        while left_out > 0
            && let Some(Line { what: What::Again(lines, times, _), .. }) =
                recent.next_if(|line| matches!(line.what, What::Again(..)))
        {
            left_out += *lines as u64 * times;
        }
        if left_out > 0 {
            writeln!(f, "  {:>12}  … {left_out} more", "")?;
        }
        recent.try_for_each(|line| writeln!(f, "  {line}"))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>12}  {}", format!("+{}", Short(self.at)), self.text)?;
        if let Some(restart) = self.restart {
            write!(f, " (restart {restart})")?;
        }
        match self.what {
            What::Attempts(_, count, last) if count > 1 => {
                write!(f, " ({count} times until +{})", Short(last))
            }
            What::Again(1, times, last) => {
                write!(f, "… the same again, {} until +{}", Times(times), Short(last))
            }
            What::Again(lines, times, last) => {
                write!(f, "… the last {lines} lines again, {} until +{}", Times(times), Short(last))
            }
            _ => Ok(()),
        }
    }
}

struct Times(u64);

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("once"),
            times => write!(f, "{times} times"),
        }
    }
}

/// A duration in tenths of a second.
#[derive(Clone, Copy, Debug)]
pub struct Short(pub Duration);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0.as_millis() + 50) / 100;
        if tenths == 0 {
            return f.write_str("0s");
        }
        Show(Duration::from_millis(tenths as u64 * 100)).fmt(f)
    }
}
