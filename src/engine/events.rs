//! Events of a drill: changes of plans, windows and partitions, and samples of injections.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{Notify, broadcast};
use tracing::info;

use super::throttle::Throttle;
use crate::clock::wall_clock;
use crate::fault::Timestamp;
use crate::plan::Source;
use crate::units::show_timestamp;

/// How many events are kept for those who ask later.
const KEPT: usize = 512;

/// How many events a listener may be behind before it loses some.
const BACKLOG: usize = 128;

/// How many bytes of errors the event of a refused plan keeps.
const MAX_ERROR_TEXT: usize = 2 << 10;

/// How many injections a second are reported.
const INJECTIONS: u8 = 10;

/// How many changes of windows and partitions a second are reported.
const CHANGES: u8 = 20;

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Tells it apart from all others, those of other processes included.
    pub id: EventId,
    /// When, by the wall clock (RFC 3339, UTC, milliseconds).
    pub time: String,
    /// What.
    #[serde(flatten)]
    pub what: EventKind,
}

/// The id of an event, written `<process>-<number>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventId {
    /// The process, by the milliseconds of the wall clock at its start.
    pub process: u64,
    /// The number among the events of the process, from 1 on without gaps.
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

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum EventKind {
    /// Another plan is in force.
    Plan {
        /// Its generation.
        generation: u64,
        /// Where the change came from.
        source: &'static str,
        /// Who made it.
        by: String,
        /// What was done.
        change: String,
        /// How many rules are in force.
        rules: usize,
    },
    /// A plan was refused; the one before goes on.
    Refused {
        /// Where it came from.
        source: &'static str,
        /// Who wanted it.
        by: String,
        /// What is wrong with it.
        errors: Vec<String>,
    },
    /// All rules were put out of force, or in force again.
    Stop {
        /// Whether they are out of force now.
        stopped: bool,
        /// The plan's generation.
        generation: u64,
        /// Where the change came from.
        source: &'static str,
        /// Who made it.
        by: String,
    },
    /// A rule's window opened or closed.
    Window {
        /// The rule.
        fault: String,
        /// Whether it is open now.
        open: bool,
        /// What the rule does.
        mode: &'static str,
    },
    /// The whole listener was cut, or the cut ended.
    Partition {
        /// The rule; absent at the end.
        #[serde(skip_serializing_if = "Option::is_none")]
        fault: Option<String>,
        /// Whether it is cut now.
        open: bool,
    },
    /// A rule acts on the process itself, from now on.
    Process {
        /// The rule.
        fault: String,
        /// What the rule does.
        mode: &'static str,
        /// The same in words, with numbers.
        what: String,
    },
    /// Changes of windows and partitions were left out: at most twenty a second are reported.
    Omitted {
        /// How many.
        count: u64,
    },
    /// A request was acted on. At most ten a second are reported.
    Injection {
        /// The rule.
        fault: String,
        /// What was asked for.
        target: String,
        /// By whom.
        client: &'static str,
        /// The request's number among those of its target and client class.
        number: u64,
        /// What it got.
        mode: &'static str,
        /// How long it waited, in milliseconds.
        delay_ms: f64,
    },
}

impl EventKind {
    /// Its kind, as in the field `kind`.
    pub const fn kind(&self) -> &'static str {
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

/// A number of events in their order.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The events.
    pub events: Vec<Arc<Event>>,
    /// The id of the last event before the next page.
    pub next: EventId,
    /// How many events before these are no longer kept.
    pub lost: u64,
}

/// The last events, and a channel for the next ones.
#[derive(Debug)]
pub struct Events {
    process: u64,
    kept: Mutex<Kept>,
    listeners: broadcast::Sender<Arc<Event>>,
    injections: Throttle,
    changes: Throttle,
    /// Notified when a change was left out.
    omission: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    last: u64,
    events: VecDeque<Arc<Event>>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            process: wall_clock().0.as_millis() as u64,
            kept: Mutex::default(),
            listeners: broadcast::Sender::new(BACKLOG),
            injections: Throttle::new(INJECTIONS),
            changes: Throttle::new(CHANGES),
            omission: Notify::new(),
        }
    }
}

impl Events {
    /// Adds an event.
    pub fn push(&self, what: EventKind) {
        let mut kept = self.kept();
        kept.last += 1;
        let event = Arc::new(Event { id: self.id(kept.last), time: show_time(wall_clock()), what });
        if kept.events.len() == KEPT {
            kept.events.pop_front();
        }
        kept.events.push_back(event.clone());
        // Under the lock, so that listeners get them in their order. Without listeners, sending fails harmlessly.
        let _ = self.listeners.send(event);
    }

    /// Reports a plan that was refused, with as many of its errors as an event may keep.
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

    /// Adds a sample of something frequent, ten a second at most. `now` is on any clock that does not go back.
    pub fn sample(&self, now: Duration, what: impl FnOnce() -> EventKind) {
        if self.injections.admits(now) {
            self.push(what());
        }
    }

    /// The id of the event with that number.
    pub fn id(&self, number: u64) -> EventId {
        EventId { process: self.process, number }
    }

    /// The number to go on from for a reader of `text`, an id as it is written or a number of this process: 0, before all
    /// that are kept, where the id is of another process.
    ///
    /// `None`: it is no id.
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

    /// Adds the change of a window or a partition, twenty a second at most, and says whether it did: whoever logs it
    /// keeps to the same limit. `now` is on any clock that does not go back.
    pub fn push_change(&self, now: Duration, what: impl FnOnce() -> EventKind) -> bool {
        let admitted = self.changes.admits(now);
        if admitted {
            self.push(what());
        } else {
            self.omission.notify_one();
        }
        admitted
    }

    /// Waits until a change was left out.
    pub async fn omission(&self) {
        self.omission.notified().await;
    }

    /// Reports how many changes were left out since the last call, if any.
    pub fn report_omitted(&self) {
        let count = self.changes.take_omitted();
        if count > 0 {
            self.push(EventKind::Omitted { count });
            info!(count, "changes of windows were left out: more than {CHANGES} a second");
        }
    }

    /// At most `limit` events after number `after`; without that, the last ones.
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

    /// The events from here on.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.listeners.subscribe()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
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
    fn pages_follow_each_other_and_count_what_was_lost() {
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
        for _ in 0..KEPT {
            events.push(partition());
        }
        let late = events.page(Some(2), 1);
        assert_eq!((ids(&late), late.lost), (vec![6], 3));
    }

    #[test]
    fn an_id_of_another_process_is_before_all_events_of_this_one() {
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
    fn the_event_of_a_refused_plan_keeps_a_few_of_its_errors() {
        let events = Events::default();
        events.refused(Source::Api, "test", &vec!["x".repeat(1000); 100]);
        let page = events.page(None, 1);
        let EventKind::Refused { errors, .. } = &page.events[0].what else { panic!("{page:?}") };
        assert_eq!((errors.len(), errors[2].as_str()), (3, "and more"));
    }

    #[test]
    fn ten_injections_a_second_are_reported() {
        let events = Events::default();
        for ms in 0..3_000 {
            events.sample(Duration::from_millis(ms), partition);
        }
        assert_eq!(events.page(None, 1000).events.len(), 30);
    }

    #[tokio::test]
    async fn a_listener_gets_what_happens_from_then_on() {
        let events = Events::default();
        events.push(partition());
        let mut listener = events.subscribe();
        events.push(partition());
        assert_eq!(listener.recv().await.map(|event| event.id.number), Ok(2));
    }
}
