//! Memory held by rules.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tracing::error;

use crate::telemetry::metrics::Metrics;

/// Bytes written between two checks of the demand: milliseconds of work.
const STEP: usize = 4 << 20;

/// The value of every byte. Zeroed memory might not be backed, or be shared.
const PATTERN: u8 = 0xA5;

/// Stack size; the memory itself is on the heap.
const STACK: usize = 64 << 10;

/// Memory that a dedicated thread fills and frees, so that nothing else is blocked.
#[derive(Debug)]
pub(super) struct Memory(Arc<MemoryShared>);

#[derive(Debug)]
struct MemoryShared {
    demand: Mutex<MemoryDemand>,
    changed: Condvar,
    metrics: Arc<Metrics>,
}

#[derive(Clone, Copy, Debug, Default)]
struct MemoryDemand {
    due: u64,
    goal: u64,
    has_thread: bool,
}

impl Memory {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(MemoryShared { demand: Mutex::default(), changed: Condvar::new(), metrics }))
    }

    /// Sets the demand to `due` bytes, on the way to `goal`.
    pub(super) fn set(&self, due: u64, goal: u64) {
        let mut demand = self.0.lock();
        (demand.due, demand.goal) = (due, goal);
        self.0.changed.notify_one();
        if due > 0 && !demand.has_thread {
            let shared = self.0.clone();
            let thread = thread::Builder::new().name("memory".to_owned()).stack_size(STACK);
            match thread.spawn(move || shared.follow()) {
                Ok(_) => demand.has_thread = true,
                Err(error) => error!(%error, "cannot start the thread that allocates memory"),
            }
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.set(0, 0);
    }
}

impl MemoryShared {
    /// Holds memory until the demand is zero.
    fn follow(&self) {
        let mut held = HeldMemory::default();
        let mut is_stuck = false;
        loop {
            let mut demand = self.lock();
            if demand.due == 0 {
                demand.has_thread = false;
                drop(held);
                self.metrics.hold_memory(0);
                return;
            }
            let MemoryDemand { due, goal, .. } = *demand;
            if held.bytes() == due || (is_stuck && held.bytes() < due) {
                let waited =
                    self.changed.wait_while(demand, |demand| (demand.due, demand.goal) == (due, goal));
                drop(waited.unwrap_or_else(PoisonError::into_inner));
                is_stuck = false;
                continue;
            }
            drop(demand);
            is_stuck = !held.approach(due, goal);
            if is_stuck {
                error!(
                    held = held.bytes(),
                    due, "no more memory can be allocated: a limit of the process is reached"
                );
            }
            self.metrics.hold_memory(held.bytes());
        }
    }

    fn lock(&self) -> MutexGuard<'_, MemoryDemand> {
        self.demand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Blocks of memory, written up to their lengths. Each is a separate mapping, which is returned to the system when it
/// is dropped.
#[derive(Default)]
struct HeldMemory(Vec<Vec<u8>>);

impl HeldMemory {
    fn bytes(&self) -> u64 {
        self.0.iter().map(|block| block.len() as u64).sum()
    }

    /// Makes one step towards `due`, in blocks for `goal`. Returns whether it succeeded.
    fn approach(&mut self, due: u64, goal: u64) -> bool {
        while self.bytes() > due {
            // Only whole blocks are returned to the system; missing bytes are then written again.
            self.0.pop();
        }
        let missing = usize::try_from(due - self.bytes()).unwrap_or(usize::MAX);
        if missing == 0 {
            return true;
        }
        if self.0.last().is_none_or(|block| block.len() == block.capacity()) {
            let size = usize::try_from(goal.max(due) - self.bytes()).unwrap_or(usize::MAX);
            let mut block = Vec::new();
            if block.try_reserve_exact(size).is_err() {
                return false;
            }
            self.0.push(block);
        }
        if let Some(block) = self.0.last_mut() {
            let step = missing.min(STEP).min(block.capacity() - block.len());
            block.resize(block.len() + step, PATTERN);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_grow_to_what_is_due_and_shrink_below_it_again() {
        let mut held = HeldMemory::default();
        let reach = |held: &mut HeldMemory, due: u64, goal: u64| {
            while held.bytes() != due {
                assert!(held.approach(due, goal));
            }
        };
        reach(&mut held, 10 << 20, 64 << 20);
        assert_eq!(held.0.len(), 1, "one mapping on the way to the goal");
        reach(&mut held, 64 << 20, 64 << 20);
        reach(&mut held, 70 << 20, 70 << 20);
        assert_eq!(held.0.len(), 2);
        reach(&mut held, 5 << 20, 5 << 20);
        assert!(held.0.iter().flatten().all(|byte| *byte == PATTERN));
        assert!(!HeldMemory::default().approach(u64::MAX, u64::MAX), "what cannot be is no abort");
    }
}
