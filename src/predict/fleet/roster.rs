//! The state of Pods as controllers see it.

use std::time::Duration;

use crate::kubelet::{PodEvent, PodEventKind};

/// All created Pods, in order.
#[derive(Debug, Default)]
pub(super) struct Roster {
    pub(super) entries: Vec<Entry>,
}

/// The phase of a Pod's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Alive,
    /// Deleted, but still running.
    Terminating,
    /// Deleted and removed.
    Gone,
    /// It has Succeeded or Failed.
    Finished {
        succeeded: bool,
    },
}

/// One Pod.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) ordinal: u32,
    pub(super) revision: u32,
    pub(super) life: Life,
    /// When it became Ready; absent: it is not Ready.
    pub(super) ready: Option<Duration>,
    /// When it was deleted or ended.
    pub(super) ended: Option<Duration>,
    /// Whether an eviction by the API deleted it.
    pub(super) evicted: bool,
    /// The latest exit code of each container.
    pub(super) codes: Vec<Option<u8>>,
    /// Restarts of all containers.
    pub(super) restarts: u64,
}

impl Entry {
    pub(super) fn new(ordinal: u32, revision: u32, containers: usize) -> Self {
        Self {
            ordinal,
            revision,
            life: Life::Alive,
            ready: None,
            ended: None,
            evicted: false,
            codes: vec![None; containers],
            restarts: 0,
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.life == Life::Alive
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.life, Life::Gone | Life::Finished { .. })
    }

    /// Whether it has been Ready for `min_ready` and is not terminating.
    pub(super) fn is_available(&self, now: Duration, min_ready: Duration) -> bool {
        self.is_alive() && self.ready.is_some_and(|since| now >= since.saturating_add(min_ready))
    }

    /// When it will be available if it stays Ready.
    pub(super) fn available_at(&self, min_ready: Duration) -> Option<Duration> {
        self.ready.filter(|_| self.is_alive()).map(|since| since.saturating_add(min_ready))
    }

    pub(super) fn delete(&mut self, now: Duration, evicted: bool) {
        self.life = Life::Terminating;
        self.ready = None;
        self.evicted = evicted;
        self.ended.get_or_insert(now);
    }
}

impl Roster {
    /// Applies an event of a Pod. Returns whether it matters to a controller.
    pub(super) fn take(&mut self, pod: usize, event: &PodEvent) -> bool {
        let entry = &mut self.entries[pod];
        match event.kind {
            PodEventKind::PodReady(ready) if entry.is_alive() => {
                entry.ready = ready.then_some(event.at);
                true
            }
            PodEventKind::Started { restarts } => {
                entry.restarts += u64::from(restarts > 0);
                restarts > 0
            }
            PodEventKind::Exited { code } => {
                entry.codes[event.container] = Some(code);
                false
            }
            PodEventKind::PodFinished { succeeded } => {
                entry.life = Life::Finished { succeeded };
                entry.ready = None;
                entry.ended = Some(event.at);
                true
            }
            PodEventKind::PodGone => {
                entry.life = Life::Gone;
                entry.ended = Some(event.at);
                true
            }
            _ => false,
        }
    }

    /// The positions of the matching Pods.
    pub(super) fn positions<'a>(
        &'a self,
        holds: impl Fn(&Entry) -> bool + 'a,
    ) -> impl DoubleEndedIterator<Item = usize> + 'a {
        self.entries.iter().enumerate().filter(move |(_, entry)| holds(entry)).map(|(at, _)| at)
    }
}
