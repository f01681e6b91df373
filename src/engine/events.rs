//! Events of a drill: changes of plans, windows and partitions, and samples of injections.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{Notify, broadcast};
use tracing::info;

use super::throttle::Throttle;
use crate::clock::wall_clock;
use crate::fault::Timestamp;
use crate::units::show_timestamp;

/// How many events are kept for those who ask later.
const KEPT: usize = 512;

/// How many events a listener may be behind before it loses some.
const BACKLOG: usize = 128;

/// How many injections a second are reported.
const INJECTIONS: u8 = 10;

/// How many changes of windows and partitions a second are reported.
const CHANGES: u8 = 20;

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// Its number, from 1 on without gaps.
    pub id: u64,
    /// When, by the wall clock (RFC 3339, UTC, milliseconds).
    pub time: String,
    /// What.
    #[serde(flatten)]
    pub what: EventKind,
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
        target: &'static str,
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
            Self::Window { .. } => "window",
            Self::Partition { .. } => "partition",
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
    /// Number of the last event before the next page.
    pub next: u64,
    /// How many events before these are no longer kept.
    pub lost: u64,
}

/// The last events, and a channel for the next ones.
#[derive(Debug)]
pub struct Events {
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
        let event = Arc::new(Event { id: kept.last, time: show_time(wall_clock()), what });
        if kept.events.len() == KEPT {
            kept.events.pop_front();
        }
        kept.events.push_back(event.clone());
        // Under the lock, so that listeners get them in their order. Without listeners, sending fails harmlessly.
        let _ = self.listeners.send(event);
    }

    /// Adds a sample of something frequent, ten a second at most. `now` is on any clock that does not go back.
    pub fn sample(&self, now: Duration, what: impl FnOnce() -> EventKind) {
        if self.injections.admits(now) {
            self.push(what());
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
        let next = events.last().map_or(kept.last.min(from - 1), |event| event.id);
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
        page.events.iter().map(|event| event.id).collect()
    }

    #[test]
    fn pages_follow_each_other_and_count_what_was_lost() {
        let events = Events::default();
        assert_eq!((ids(&events.page(None, 3)), events.page(None, 3).next), (vec![], 0));
        for _ in 0..5 {
            events.push(partition());
        }
        assert_eq!(ids(&events.page(None, 3)), [3, 4, 5]);
        let first = events.page(Some(0), 2);
        assert_eq!((ids(&first), first.next, first.lost), (vec![1, 2], 2, 0));
        assert_eq!(ids(&events.page(Some(2), 10)), [3, 4, 5]);
        let end = events.page(Some(5), 10);
        assert_eq!((ids(&end), end.next), (vec![], 5));
        assert_eq!(events.page(Some(u64::MAX), 10).next, 5);
        for _ in 0..KEPT {
            events.push(partition());
        }
        let late = events.page(Some(2), 1);
        assert_eq!((ids(&late), late.lost), (vec![6], 3));
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
        assert_eq!(listener.recv().await.map(|event| event.id), Ok(2));
    }
}
