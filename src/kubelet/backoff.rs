//! The delay before a container restarts.

use super::clock::{Nanos, SECOND};

const FIRST: Nanos = 10 * SECOND;
const LONGEST: Nanos = 300 * SECOND;
/// Age at which an entry expires.
const EXPIRY: Nanos = 600 * SECOND;

/// The back-off of a container.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BackOff {
    entry: Option<BackoffEntry>,
}

#[derive(Clone, Copy, Debug)]
struct BackoffEntry {
    delay: Nanos,
    /// When the kubelet last allowed a start.
    updated: Nanos,
}

/// A delayed start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DelayedStart {
    pub(super) delay: Nanos,
    pub(super) remaining: Nanos,
}

impl BackOff {
    /// Requests a start at `now` after the exit at `exited`. If it is allowed, the next delay doubles.
    pub(super) fn ask(&mut self, now: Nanos, exited: Option<Nanos>) -> Result<(), DelayedStart> {
        // Without an exited container, the kubelet creates no entry, so the first kill does not count.
        let Some(exited) = exited else { return Ok(()) };
        // The kubelet drops old entries even while the container waits.
        self.entry = self.entry.filter(|entry| now - entry.updated <= EXPIRY);
        let delay = match self.entry {
            Some(BackoffEntry { delay, .. }) if now - exited < delay => {
                return Err(DelayedStart { delay, remaining: delay - (now - exited) });
            }
            Some(BackoffEntry { delay, .. }) => (delay * 2).min(LONGEST),
            None => FIRST,
        };
        self.entry = Some(BackoffEntry { delay, updated: now });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The delays of a container that runs for `run` seconds each time and restarts as soon as possible.
    fn waits(run: u64, starts: usize) -> Vec<u64> {
        let (mut backoff, mut now) = (BackOff::default(), 0);
        (0..starts)
            .map(|_| {
                let exited = now + run * SECOND;
                now = exited;
                if let Err(wait) = backoff.ask(now, Some(exited)) {
                    now += wait.remaining;
                    assert_eq!(backoff.ask(now, Some(exited)), Ok(()));
                }
                (now - exited) / SECOND
            })
            .collect()
    }

    #[test]
    fn the_wait_is_10_s_and_doubles_to_300_s() {
        assert_eq!(waits(3, 9), [0, 10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn it_resets_once_a_container_has_run_for_10_minutes() {
        assert_eq!(waits(601, 4), [0, 0, 0, 0]);
        let mut backoff = BackOff::default();
        for exit in [0, 20, 60] {
            assert_eq!(backoff.ask(exit * SECOND, Some(0)), Ok(()));
        }
        let late = 661 * SECOND;
        assert_eq!(backoff.ask(late, Some(late)), Ok(()));
        assert_eq!(backoff.ask(late + 1, Some(late)).unwrap_err().delay, FIRST);
    }

    #[test]
    fn the_first_kill_leaves_no_entry() {
        let mut backoff = BackOff::default();
        assert_eq!(backoff.ask(6 * SECOND, None), Ok(()));
        assert_eq!(backoff.ask(12 * SECOND, Some(6 * SECOND)), Ok(()));
        let wait = backoff.ask(18 * SECOND, Some(12 * SECOND)).unwrap_err();
        assert_eq!(wait, DelayedStart { delay: FIRST, remaining: 4 * SECOND });
    }
}
