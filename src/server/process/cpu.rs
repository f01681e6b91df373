//! CPU time used by rules.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tracing::error;

/// Busy time between two readings of the clocks.
const SLICE: Duration = Duration::from_millis(2);

/// Maximum sleep, so that a thread soon notices that it must end.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);

/// Limit of the CPU time that a thread catches up after others used the core.
const MOST_LAG: Duration = Duration::from_millis(500);

/// Stack size; a thread needs little more than its frames.
const STACK: usize = 32 << 10;

/// Threads that use CPU time.
#[derive(Debug, Default)]
pub(super) struct Cpu {
    cores: f64,
    /// When set, the threads end.
    ends: Option<Arc<AtomicBool>>,
}

impl Cpu {
    /// Sets the CPU time to use, in cores. Returns the cores in use.
    pub(super) fn set(&mut self, cores: f64) -> f64 {
        if (cores - self.cores).abs() < f64::EPSILON {
            return self.cores;
        }
        self.stop();
        if cores > 0.0 {
            let ends = Arc::new(AtomicBool::new(false));
            let threads = cores.ceil();
            for _ in 0..threads as usize {
                let (share, ends) = (cores / threads, ends.clone());
                let thread = thread::Builder::new().name("cpu".to_owned()).stack_size(STACK);
                match thread.spawn(move || burn(share, &ends)) {
                    Ok(_) => self.cores += share,
                    Err(error) => error!(%error, "cannot start a thread that uses CPU time"),
                }
            }
            self.ends = Some(ends);
        }
        self.cores
    }

    fn stop(&mut self) {
        if let Some(ends) = self.ends.take() {
            ends.store(true, Ordering::Relaxed);
        }
        self.cores = 0.0;
    }
}

impl Drop for Cpu {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Uses a share of one core, 0 to 1, measured by this thread's CPU clock.
fn burn(share: f64, ends: &AtomicBool) {
    let mut balance = Balance::new(share, thread_time());
    let began = Instant::now();
    while !ends.load(Ordering::Relaxed) {
        match balance.pause(began.elapsed(), thread_time()) {
            None => spin(),
            Some(pause) => thread::sleep(pause.min(LONGEST_SLEEP)),
        }
    }
}

/// Planned and used CPU time.
struct Balance {
    share: f64,
    /// CPU time at the start, plus waived time since.
    before: Duration,
    forgiven: Duration,
}

impl Balance {
    const fn new(share: f64, before: Duration) -> Self {
        Self { share, before, forgiven: Duration::ZERO }
    }

    /// How long to sleep at `elapsed` since the start, given the CPU time used; `None`: continue to use CPU time.
    fn pause(&mut self, elapsed: Duration, used: Duration) -> Option<Duration> {
        let due = elapsed.mul_f64(self.share).saturating_sub(self.forgiven);
        let used = used.saturating_sub(self.before);
        match used.checked_sub(due) {
            Some(ahead) if self.share < 1.0 && !ahead.is_zero() => Some(ahead.div_f64(self.share)),
            Some(_) => None,
            None => {
                self.forgiven += due.saturating_sub(used).saturating_sub(MOST_LAG);
                None
            }
        }
    }
}

/// Busy work.
fn spin() {
    let until = Instant::now() + SLICE;
    while Instant::now() < until {
        let mut value = 1_u64;
        for round in 0..1_000_u64 {
            value = black_box(value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(round));
        }
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_thread_rests_until_its_share_is_due_again() {
        let mut balance = Balance::new(0.25, 5 * MS);
        assert_eq!(balance.pause(100 * MS, 20 * MS), None, "25 ms are due, 15 were used");
        assert_eq!(balance.pause(100 * MS, 40 * MS), Some(40 * MS), "10 ms ahead");
    }

    #[test]
    fn what_others_had_is_made_up_for_within_bounds() {
        let mut balance = Balance::new(1.0, Duration::ZERO);
        assert_eq!(balance.pause(5_000 * MS, 1_000 * MS), None);
        assert_eq!(balance.forgiven, 3_500 * MS, "half a second of lag is left");
        assert_eq!(balance.pause(6_000 * MS, 2_000 * MS), None);
        assert_eq!(balance.forgiven, 3_500 * MS);
        let mut half = Balance::new(0.5, Duration::ZERO);
        assert_eq!(half.pause(10_000 * MS, 1_000 * MS), None);
        assert_eq!(half.pause(10_000 * MS, 1_600 * MS), Some(200 * MS));
    }

    #[test]
    fn half_a_core_is_half_a_core() {
        let ends = AtomicBool::new(false);
        let used = thread::scope(|scope| {
            let burning = scope.spawn(|| {
                let before = thread_time();
                burn(0.5, &ends);
                thread_time().saturating_sub(before)
            });
            thread::sleep(1_000 * MS);
            ends.store(true, Ordering::Relaxed);
            burning.join().unwrap()
        });
        // Others run on this machine, too; the exact measurement is that of the container.
        assert!((200 * MS..=650 * MS).contains(&used), "{used:?}");
    }
}
