//! Events of a drill: changes of the plan, windows, partitions, and samples of injections.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{Notify, broadcast};
use tracing::info;

use super::rate_limit::RateLimit;
use crate::clock::wall_clock;
use crate::fault::Timestamp;
use crate::plan::Source;
use crate::units::show_timestamp;

/// Number of events that are kept for later readers.
const HISTORY: usize = 512;

/// Number of events that a subscriber may be behind before it loses some.
const BACKLOG: usize = 128;

/// Limit of the error text in the event of a rejected plan, in bytes.
const MAX_ERROR_TEXT: usize = 2 << 10;

/// Limit of reported injections per second.
const MAX_INJECTIONS: u8 = 10;

/// Limit of reported window and partition changes per second.
const MAX_CHANGES: u8 = 20;

/// An event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Unique among all events, including those of other processes.
    pub id: EventId,
    /// When, by the wall clock (RFC 3339, UTC, milliseconds).
    pub time: String,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// The id of an event, written `<process>-<number>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventId {
    /// The process: wall-clock milliseconds at its start.
    pub process: u64,
    /// Number of the event in this process, from 1 without gaps.
    pub number: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.process, self.number)
    }
}

impl Serialize for EventId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The kinds of events.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum EventKind {
    /// A new plan is in force.
    Plan {
        /// Generation of the plan.
        generation: u64,
        /// Source of the change.
        source: &'static str,
        /// Author of the change.
        by: String,
        /// Description of the change.
        change: String,
        /// Number of rules in force.
        rules: usize,
    },
    /// A plan was rejected; the previous one stays in force.
    Refused {
        /// Source of the plan.
        source: &'static str,
        /// Author of the plan.
        by: String,
        /// Errors of the plan.
        errors: Vec<String>,
    },
    /// All rules were stopped or resumed.
    Stop {
        /// Whether they are stopped now.
        stopped: bool,
        /// Generation of the plan.
        generation: u64,
        /// Source of the change.
        source: &'static str,
        /// Author of the change.
        by: String,
    },
    /// A rule's window opened or closed.
    Window {
        /// The rule.
        fault: String,
        /// Whether it is open now.
        open: bool,
        /// The rule's effect.
        mode: &'static str,
    },
    /// The listener was cut for everybody, or the cut ended.
    Partition {
        /// The rule; absent when the cut ends.
        #[serde(skip_serializing_if = "Option::is_none")]
        fault: Option<String>,
        /// Whether the listener is cut now.
        open: bool,
    },
    /// A rule started to act on the process.
    Process {
        /// The rule.
        fault: String,
        /// The rule's effect.
        mode: &'static str,
        /// The effect in words, with numbers.
        what: String,
    },
    /// Changes of windows and partitions were omitted: at most twenty per second are reported.
    Omitted {
        /// Number of omitted changes.
        count: u64,
    },
    /// A fault was injected. At most ten per second are reported.
    Injection {
        /// The rule.
        fault: String,
        /// Target of the request or connection.
        target: String,
        /// Client class of the request; connections have none.
        #[serde(skip_serializing_if = "Option::is_none")]
        client: Option<&'static str>,
        /// Number of the request within its target and client class, or of the connection within its target.
        number: u64,
        /// Injected mode.
        mode: &'static str,
        /// Delay in milliseconds.
        delay_ms: f64,
    },
}

impl EventKind {
    /// The name of the kind, as in the field `kind`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Plan { .. } => "plan",
            Self::Refused { .. } => "refused",
            Self::Stop { .. } => "stop",
            Self::Window { .. } => "window",
            Self::Partition { .. } => "partition",
            Self::Process { .. } => "process",
            Self::Omitted { .. } => "omitted",
            Self::Injection { .. } => "injection",
        }
    }
}

/// A page of consecutive events.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The events.
    pub events: Vec<Arc<Event>>,
    /// Pass this id to get the next page.
    pub next: EventId,
    /// Number of earlier events that are no longer kept.
    pub lost: u64,
}

/// Recent events, and a channel for new ones.
#[derive(Debug)]
pub struct Events {
    process: u64,
    kept: Mutex<History>,
    listeners: broadcast::Sender<Arc<Event>>,
    injections: RateLimit,
    changes: RateLimit,
    /// Notified when a change was omitted.
    omission: Notify,
}

#[derive(Debug, Default)]
struct History {
    last: u64,
    events: VecDeque<Arc<Event>>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            process: wall_clock().0.as_millis() as u64,
            kept: Mutex::default(),
            listeners: broadcast::Sender::new(BACKLOG),
            injections: RateLimit::new(MAX_INJECTIONS),
            changes: RateLimit::new(MAX_CHANGES),
            omission: Notify::new(),
        }
    }
}

impl Events {
    /// Adds an event.
    pub fn push(&self, kind: EventKind) {
        let mut kept = self.kept();
        kept.last += 1;
        let event = Arc::new(Event { id: self.id(kept.last), time: show_time(wall_clock()), kind });
        if kept.events.len() == HISTORY {
            kept.events.pop_front();
        }
        kept.events.push_back(event.clone());
        // Send under the lock, so that subscribers see events in order. Sending without subscribers fails harmlessly.
        let _ = self.listeners.send(event);
    }

    /// Reports a rejected plan, with as many errors as an event may keep.
    pub fn refused(&self, source: Source, by: &str, errors: &[String]) {
        let mut left = MAX_ERROR_TEXT;
        let fits = |error: &&String| {
            let fits = error.len() <= left;
            left = left.saturating_sub(error.len());
            fits
        };
        let mut kept: Vec<String> = errors.iter().take_while(fits).cloned().collect();
        if kept.len() < errors.len() {
            kept.push("and more".to_owned());
        }
        self.push(EventKind::Refused { source: source.name(), by: by.to_owned(), errors: kept });
    }

    /// Adds a sample of a frequent event, at most ten per second. `now` is on any monotonic clock.
    pub fn sample(&self, now: Duration, kind: impl FnOnce() -> EventKind) {
        if self.injections.admits(now) {
            self.push(kind());
        }
    }

    /// The id of the event with this number.
    pub fn id(&self, number: u64) -> EventId {
        EventId { process: self.process, number }
    }

    /// The number to continue after, for `text`, which is an id or a number of this process. For an id of another
    /// process it is 0, so that all kept events follow.
    ///
    /// `None` if it is neither.
    pub fn number_of(&self, text: &str) -> Option<u64> {
        let digits = |text: &str, radix| {
            let is_number = !text.is_empty() && text.bytes().all(|c| char::from(c).is_digit(radix));
            u64::from_str_radix(text, radix).ok().filter(|_| is_number)
        };
        match text.split_once('-') {
            None => digits(text, 10),
            Some((process, number)) => {
                let (process, number) = (digits(process, 16)?, digits(number, 10)?);
                Some(if process == self.process { number } else { 0 })
            }
        }
    }

    /// Adds a change of a window or a partition, at most twenty per second. Returns whether it was added, so that the
    /// log keeps the same limit. `now` is on any monotonic clock.
    pub fn push_change(&self, now: Duration, kind: impl FnOnce() -> EventKind) -> bool {
        let admitted = self.changes.admits(now);
        if admitted {
            self.push(kind());
        } else {
            self.omission.notify_one();
        }
        admitted
    }

    /// Waits until a change was omitted.
    pub async fn omission(&self) {
        self.omission.notified().await;
    }

    /// Reports the number of changes omitted since the last call, if any.
    pub fn report_omitted(&self) {
        let count = self.changes.take_omitted();
        if count > 0 {
            self.push(EventKind::Omitted { count });
            info!(count, "window changes were omitted: more than {MAX_CHANGES} per second");
        }
    }

    /// At most `limit` events after the number `after`; without `after`, the latest ones.
    pub fn page(&self, after: Option<u64>, limit: usize) -> Page {
        let kept = self.kept();
        let first = kept.last + 1 - kept.events.len() as u64;
        let from = after.map_or(kept.last.saturating_sub(limit as u64), |after| after.min(kept.last)) + 1;
        let skipped = from.saturating_sub(first) as usize;
        let events: Vec<_> = kept.events.iter().skip(skipped).take(limit).cloned().collect();
        let next = events.last().map_or(self.id(kept.last.min(from - 1)), |event| event.id);
        let lost = if after.is_some() { first.saturating_sub(from) } else { 0 };
        Page { events, next, lost }
    }

    /// Events from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.listeners.subscribe()
    }

    fn kept(&self) -> MutexGuard<'_, History> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn show_time(instant: Timestamp) -> String {
    show_timestamp(Timestamp(Duration::from_millis(instant.0.as_millis() as u64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition() -> EventKind {
        EventKind::Partition { fault: None, open: false }
    }

    fn ids(page: &Page) -> Vec<u64> {
        page.events.iter().map(|event| event.id.number).collect()
    }

    #[test]
    fn pages_are_consecutive_and_count_lost_events() {
        let events = Events::default();
        assert_eq!((ids(&events.page(None, 3)), events.page(None, 3).next.number), (vec![], 0));
        for _ in 0..5 {
            events.push(partition());
        }
        assert_eq!(ids(&events.page(None, 3)), [3, 4, 5]);
        let first = events.page(Some(0), 2);
        assert_eq!((ids(&first), first.next.number, first.lost), (vec![1, 2], 2, 0));
        assert_eq!(ids(&events.page(Some(2), 10)), [3, 4, 5]);
        let end = events.page(Some(5), 10);
        assert_eq!((ids(&end), end.next.number), (vec![], 5));
        assert_eq!(events.page(Some(u64::MAX), 10).next.number, 5);
        for _ in 0..HISTORY {
            events.push(partition());
        }
        let late = events.page(Some(2), 1);
        assert_eq!((ids(&late), late.lost), (vec![6], 3));
    }

    #[test]
    fn an_id_of_another_process_precedes_all_events_of_this_one() {
        let events = Events::default();
        events.push(partition());
        let id = events.page(None, 1).next;
        assert_eq!(events.number_of(&id.to_string()), Some(1));
        assert_eq!(events.number_of(&format!("{:x}-7", id.process - 1)), Some(0));
        assert_eq!(events.number_of("7"), Some(7));
        for text in ["", "-", "x", "7-", "-7", "+7", "1-2-3", "1 "] {
            assert_eq!(events.number_of(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_event_of_a_rejected_plan_keeps_the_first_errors() {
        let events = Events::default();
        events.refused(Source::Api, "test", &vec!["x".repeat(1000); 100]);
        let page = events.page(None, 1);
        let EventKind::Refused { errors, .. } = &page.events[0].kind else { panic!("{page:?}") };
        assert_eq!((errors.len(), errors[2].as_str()), (3, "and more"));
    }

    #[test]
    fn at_most_ten_injections_per_second_are_reported() {
        let events = Events::default();
        for ms in 0..3_000 {
            events.sample(Duration::from_millis(ms), partition);
        }
        assert_eq!(events.page(None, 1000).events.len(), 30);
    }

    #[tokio::test]
    async fn a_subscriber_receives_later_events_only() {
        let events = Events::default();
        events.push(partition());
        let mut listener = events.subscribe();
        events.push(partition());
        assert_eq!(listener.recv().await.map(|event| event.id.number), Ok(2));
    }
}
