//! States of observed objects.

use std::collections::BTreeMap;

/// Limit of objects that a selector may match.
const MAX_OBJECTS: usize = 10_000;
/// Number of objects that a message lists.
const LISTED: usize = 3;

/// The state of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The item is ready.
    Ready,
    /// It is not ready yet, with the reason.
    Missing(String),
    /// It can never become ready, with the reason.
    Failed(String),
}

/// The states of the objects of an item, by name.
#[derive(Debug, Default)]
pub(super) struct Tracked {
    states: BTreeMap<String, State>,
    overflow: bool,
}

impl Tracked {
    pub(super) fn clear(&mut self) {
        self.states.clear();
        self.overflow = false;
    }

    pub(super) fn put(&mut self, name: &str, state: State) {
        if self.states.len() >= MAX_OBJECTS && !self.states.contains_key(name) {
            self.overflow = true;
            return;
        }
        self.states.insert(name.to_owned(), state);
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.states.remove(name);
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.states.keys().map(String::as_str)
    }

    /// Returns the state of a single object.
    pub(super) fn of_one(&self) -> State {
        self.states.values().next().cloned().unwrap_or_else(|| State::Missing("not found".to_owned()))
    }

    /// Returns the combined state: there must be at least one object, and all must be ready.
    pub(super) fn of_all(&self, selector: &str) -> State {
        if self.overflow {
            return State::Missing(format!("more than {MAX_OBJECTS} objects match {selector}; narrow it"));
        }
        let mut missing = 0;
        let mut reasons = Vec::new();
        for (name, state) in &self.states {
            match state {
                State::Ready => {}
                State::Failed(reason) => return State::Failed(format!("{name}: {reason}")),
                State::Missing(reason) => {
                    missing += 1;
                    if reasons.len() < LISTED {
                        reasons.push(format!("{name}: {reason}"));
                    }
                }
            }
        }
        match (self.states.len(), missing) {
            (0, _) => State::Missing(format!("no objects match {selector}")),
            (_, 0) => State::Ready,
            (all, missing) => {
                let more = if missing > reasons.len() { ", …" } else { "" };
                State::Missing(format!("{missing} of {all} are not ready: {}{more}", reasons.join(", ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(reason: &str) -> State {
        State::Missing(reason.to_owned())
    }

    #[test]
    fn all_objects_must_be_ready_and_there_must_be_one() {
        let mut tracked = Tracked::default();
        assert_eq!(tracked.of_all("app=x"), missing("no objects match app=x"));
        assert_eq!(tracked.of_one(), missing("not found"));
        tracked.put("a", State::Ready);
        assert_eq!(tracked.of_all("app=x"), State::Ready);
        for name in ["b", "c", "d", "e"] {
            tracked.put(name, missing("no"));
        }
        assert_eq!(tracked.of_all("app=x"), missing("4 of 5 are not ready: b: no, c: no, d: no, …"));
        tracked.put("e", State::Failed("it broke".to_owned()));
        assert_eq!(tracked.of_all("app=x"), State::Failed("e: it broke".to_owned()));
        for name in ["b", "c", "d", "e"] {
            tracked.remove(name);
        }
        assert_eq!((tracked.of_all("app=x"), tracked.of_one()), (State::Ready, State::Ready));
    }

    #[test]
    fn the_number_of_objects_is_bounded() {
        let mut tracked = Tracked::default();
        for number in 0..=MAX_OBJECTS {
            tracked.put(&number.to_string(), State::Ready);
        }
        assert_eq!(tracked.names().count(), MAX_OBJECTS);
        assert!(matches!(tracked.of_all("a=b"), State::Missing(reason) if reason.contains("narrow it")));
    }
}
