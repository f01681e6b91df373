//! The timeline of one Pod, as text.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::kubelet::{ContainerSpec, PodEvent, PodEventKind, ProbeKind, Symptom};
use crate::units::Show;

use super::fleet::ClusterEvent;
use super::rollout::Milestone;
use super::watcher::Flips;

/// The number of lines that are kept from the beginning.
const HEAD: usize = 16;
/// The number of lines that are kept from the end.
const RECENT: usize = 26;
/// The longest sequence of lines whose repetition is recognised.
const MAX_ROUND: usize = 12;

/// Identifies attempts that failed in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Attempts {
    container: usize,
    probe: ProbeKind,
    symptom: Symptom,
    error: bool,
}

/// Whether an event is good or bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Neither.
    #[default]
    Plain,
    /// Something works again.
    Good,
    /// Something fails.
    Bad,
}

impl Tone {
    fn of(kind: &PodEventKind) -> Self {
        match kind {
            PodEventKind::PodReady(true) | PodEventKind::PodFinished { succeeded: true } => Self::Good,
            PodEventKind::PodReady(false)
            | PodEventKind::PodFinished { succeeded: false }
            | PodEventKind::Unhealthy { .. }
            | PodEventKind::Killing { probe: Some(_), .. }
            | PodEventKind::BackOff { .. }
            | PodEventKind::OutOfMemory
            | PodEventKind::PodFails(_) => Self::Bad,
            _ => Self::Plain,
        }
    }
}

#[derive(Clone, Debug)]
struct Line {
    at: Duration,
    tone: Tone,
    text: String,
    /// The number of the restart. Lines that differ only in it count as equal.
    restart: Option<u64>,
    kind: LineKind,
}

#[derive(Clone, Debug)]
enum LineKind {
    Change,
    /// Attempts that failed in the same way: their number, and the time of the last.
    Attempts(Attempts, u64, Duration),
    /// Repetitions of the given number of preceding lines: their number, and the end of the last.
    Again(usize, u64, Duration),
}

impl Line {
    /// Whether two lines differ only in their times.
    fn is_like(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (LineKind::Change, LineKind::Change) => self.text == other.text,
            (LineKind::Attempts(mine, ..), LineKind::Attempts(others, ..)) => mine == others,
            _ => false,
        }
    }
}

/// The timeline of one Pod, in bounded memory. Attempts that fail in the same way share a line until something changes,
/// repetitions of a sequence of lines are counted, and only the first and the last of many lines are kept.
#[derive(Clone, Debug, Default)]
pub struct Timeline<'a> {
    containers: &'a [ContainerSpec],
    head: Vec<Line>,
    recent: VecDeque<Line>,
    left_out: u64,
    /// The number of latest lines that are attempts without a change between them.
    open: usize,
}

impl<'a> Timeline<'a> {
    /// An empty timeline of a Pod with these containers.
    pub fn new(containers: &'a [ContainerSpec]) -> Self {
        Self { containers, ..Self::default() }
    }

    /// Adds an event of the Pod. Changes of readiness that no watcher sees are skipped.
    pub fn see(&mut self, event: &PodEvent, flips: Flips) {
        if matches!(event.kind, PodEventKind::PodReady(_)) && flips == Flips::None {
            return;
        }
        let (PodEventKind::Unhealthy { probe, symptom, .. } | PodEventKind::Warning { probe, symptom }) =
            event.kind
        else {
            if let Some(text) = self.text(event) {
                let restart = match event.kind {
                    PodEventKind::Started { restarts } if restarts > 0 => Some(restarts),
                    _ => None,
                };
                self.change(event.at, Tone::of(&event.kind), text, restart);
            }
            return;
        };
        let error = matches!(event.kind, PodEventKind::Unhealthy { error: true, .. });
        let alike = Attempts { container: event.container, probe, symptom, error };
        let open = self.open;
        for line in self.recent.iter_mut().rev().take(open) {
            if let LineKind::Attempts(attempts, count, last) = &mut line.kind
                && *attempts == alike
            {
                *count += 1;
                *last = event.at;
                return;
            }
        }
        let text = self.named(event, self.message(event));
        self.open += 1;
        self.push(Line {
            at: event.at,
            tone: Tone::of(&event.kind),
            text,
            restart: None,
            kind: LineKind::Attempts(alike, 1, event.at),
        });
    }

    /// Adds an action of a controller, `kubectl` or a node.
    pub fn cluster_event(&mut self, at: Duration, what: &ClusterEvent) {
        self.change(at, Tone::Plain, what.message(), None);
    }

    /// Adds a milestone of the rollout.
    pub fn milestone(&mut self, milestone: Milestone) {
        let (at, tone, text) = match milestone {
            Milestone::Complete { at } => {
                (at, Tone::Good, "Rollout complete: all Pods are available".to_owned())
            }
            Milestone::Stalled { at, available } => (
                at,
                Tone::Bad,
                format!("Rollout stalled: ProgressDeadlineExceeded with {available} Pods available"),
            ),
        };
        self.change(at, tone, text, None);
    }

    fn message(&self, event: &PodEvent) -> String {
        self.containers.get(event.container).map_or_else(String::new, |container| event.message(container))
    }

    /// Adds the container's name to a text that lacks it, if there are several containers.
    fn named(&self, event: &PodEvent, text: String) -> String {
        match self.containers.get(event.container) {
            Some(container) if self.containers.len() > 1 => format!("{}: {text}", container.name),
            _ => text,
        }
    }

    /// The text of a line; `None` for events without a line.
    fn text(&self, event: &PodEvent) -> Option<String> {
        let message = || self.message(event);
        match event.kind {
            PodEventKind::Result { probe: ProbeKind::Startup, success: true } => {
                Some(self.named(event, "Startup probe succeeded".to_owned()))
            }
            PodEventKind::Result { .. } | PodEventKind::CallsFail(_) => None,
            PodEventKind::Started { .. } => Some(self.named(event, message())),
            PodEventKind::Ready(_) if self.containers.len() == 1 => None,
            PodEventKind::Killing { grace, .. } => {
                Some(format!("{}: SIGTERM, SIGKILL after {}", message(), Show(grace)))
            }
            PodEventKind::BackOff { delay } => Some(format!("{}, for {}", message(), Show(delay))),
            _ => Some(message()),
        }
    }

    fn change(&mut self, at: Duration, tone: Tone, text: String, restart: Option<u64>) {
        self.open = 0;
        self.push(Line { at, tone, text, restart, kind: LineKind::Change });
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
        self.left_out += match line.kind {
            LineKind::Again(lines, times, _) => lines as u64 * times,
            _ => 1,
        };
    }

    /// If the latest lines repeat the preceding ones, replaces them by a counter.
    fn fold(&mut self, until: Duration) {
        let lines = self.recent.make_contiguous();
        for round in 1..=MAX_ROUND {
            let Some((before, latest)) = lines.len().checked_sub(round).map(|at| lines.split_at(at)) else {
                return;
            };
            let counted = matches!(before.last(), Some(Line { kind: LineKind::Again(lines, ..), .. }) if *lines == round);
            let Some(first) = before.len().checked_sub(round + usize::from(counted)) else { return };
            let before = &before[first..first + round];
            if !latest.iter().zip(before).all(|(new, old)| new.is_like(old)) {
                continue;
            }
            let begun = latest[0].at;
            self.recent.truncate(first + round + usize::from(counted));
            match self.recent.back_mut() {
                Some(Line { kind: LineKind::Again(_, times, last), .. }) if counted => {
                    *times += 1;
                    *last = until;
                }
                _ => self.push(Line {
                    at: begun,
                    tone: Tone::Plain,
                    text: String::new(),
                    restart: None,
                    kind: LineKind::Again(round, 1, until),
                }),
            }
            return;
        }
    }
}

impl Timeline<'_> {
    /// The lines: tone, time and text.
    pub fn lines(&self) -> Vec<(Tone, String, String)> {
        let shown = |line: &Line| (line.tone, format!("+{}", Short(line.at)), line.to_string());
        let mut lines: Vec<_> = self.head.iter().map(shown).collect();
        let mut left_out = self.left_out;
        let mut recent = self.recent.iter().peekable();
        // The lines that it repeats are missing as well.
        while left_out > 0
            && let Some(Line { kind: LineKind::Again(lines, times, _), .. }) =
                recent.next_if(|line| matches!(line.kind, LineKind::Again(..)))
        {
            left_out += *lines as u64 * times;
        }
        if left_out > 0 {
            lines.push((Tone::Plain, String::new(), format!("… {left_out} more")));
        }
        lines.extend(recent.map(shown));
        lines
    }
}

impl fmt::Display for Timeline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines().into_iter().try_for_each(|(_, at, text)| writeln!(f, "  {at:>12}  {text}"))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if let Some(restart) = self.restart {
            write!(f, " (restart {restart})")?;
        }
        match self.kind {
            LineKind::Attempts(_, count, last) if count > 1 => {
                write!(f, " ({count} times until +{})", Short(last))
            }
            LineKind::Again(1, times, last) => {
                write!(f, "… the same again, {} until +{}", Times(times), Short(last))
            }
            LineKind::Again(lines, times, last) => {
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
