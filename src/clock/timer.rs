//! Timers that expire within a fraction of a millisecond of their deadline, and never early.
//!
//! The runtime's timer has a resolution of milliseconds. This one uses a timerfd on the runtime's reactor, set to the
//! earliest deadline; without timers it is not set, and nothing wakes up.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::task;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::warn;

/// A cheap-to-clone handle on the timers of a service.
#[derive(Clone, Debug)]
pub struct Timer(Option<Arc<Driven>>);

/// The timers, and the task that wakes them while a handle exists.
#[derive(Debug)]
struct Driven {
    waits: Arc<Waits>,
    driver: AbortHandle,
}

impl Drop for Driven {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

#[derive(Debug)]
struct Waits {
    clock: AsyncFd<OwnedFd>,
    queue: Mutex<TimerQueue>,
    /// Distinguishes timers with the same deadline, in order of creation.
    numbers: AtomicU64,
}

#[derive(Debug, Default)]
struct TimerQueue {
    waiting: BTreeMap<(Instant, u64), Waker>,
    /// The current setting of the clock, kept until the driver has seen it expire.
    armed: Option<Instant>,
}

impl Timer {
    /// Creates a timer with its own clock. If none is available, uses the runtime's timer and logs why.
    ///
    /// # Panics
    ///
    /// Called outside a tokio runtime with I/O and time.
    pub fn new() -> Self {
        Self::with_clock(clock())
    }

    /// The runtime's timer, which has a resolution of milliseconds and respects tokio's paused clock.
    pub const fn of_runtime() -> Self {
        Self(None)
    }

    fn with_clock(clock: io::Result<AsyncFd<OwnedFd>>) -> Self {
        let clock = match clock {
            Ok(clock) => clock,
            Err(error) => {
                warn!(%error, "no exact timer; delays are rounded up to milliseconds");
                return Self::of_runtime();
            }
        };
        let waits = Arc::new(Waits { clock, queue: Mutex::default(), numbers: AtomicU64::new(0) });
        let driver = task::spawn(drive(waits.clone())).abort_handle();
        Self(Some(Arc::new(Driven { waits, driver })))
    }

    /// Waits until `deadline`, or not at all if it has passed. Dropping it cancels the wait.
    pub fn sleep_until(&self, deadline: Instant) -> Sleep {
        Sleep(match &self.0 {
            Some(driven) => Kind::Exact(Wait {
                number: driven.waits.numbers.fetch_add(1, Ordering::Relaxed),
                driven: driven.clone(),
                deadline,
                queued: false,
            }),
            None => Kind::Coarse(Box::pin(tokio::time::sleep_until(deadline))),
        })
    }

    /// Waits until `deadline`; forever without one.
    pub fn sleep_until_some(&self, deadline: Option<Instant>) -> impl Future<Output = ()> + use<> {
        let sleep = deadline.map(|deadline| self.sleep_until(deadline));
        async move {
            match sleep {
                Some(sleep) => sleep.await,
                None => std::future::pending().await,
            }
        }
    }
}

impl Default for Timer {
    fn default() -> Self {
        Self::new()
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe for the sake of descriptors that may close; an OwnedFd does not"
)]
fn clock() -> io::Result<AsyncFd<OwnedFd>> {
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    AsyncFd::with_interest(timerfd_create(TimerfdClockId::Monotonic, flags)?, Interest::READABLE)
}

/// Wakes expired timers when the clock expires.
async fn drive(waits: Arc<Waits>) {
    while let Ok(mut ringing) = waits.clock.readable().await {
        // No need to read the clock: the reactor reports each expiry, and setting the clock clears the last one.
        ringing.clear_ready();
        for waker in waits.take_due() {
            waker.wake();
        }
    }
}

impl Waits {
    fn lock(&self) -> MutexGuard<'_, TimerQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes expired timers, earliest first, and sets the clock for the next one.
    fn take_due(&self) -> Vec<Waker> {
        let mut due = Vec::new();
        let mut queue = self.lock();
        let now = Instant::now();
        queue.armed = None;
        while let Some(earliest) = queue.waiting.first_entry() {
            let (deadline, _) = *earliest.key();
            if deadline > now {
                self.arm(&mut queue, deadline);
                break;
            }
            due.push(earliest.remove());
        }
        due
    }

    /// Sets the clock to `deadline`, unless it expires earlier.
    fn arm(&self, queue: &mut TimerQueue, deadline: Instant) {
        if queue.armed.is_some_and(|armed| armed <= deadline) {
            return;
        }
        queue.armed = Some(deadline);
        // A time of 0 would stop the clock.
        let from_now = deadline.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let time = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: i64::try_from(from_now.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: from_now.subsec_nanos().into(),
            },
        };
        if let Err(error) = timerfd_settime(self.clock.get_ref(), TimerfdTimerFlags::empty(), &time) {
            // Cannot happen: the kernel rejects only invalid times.
            warn!(%error, "the timer cannot be set");
        }
    }
}

/// A pending wait. It is queued at its first poll.
#[derive(Debug)]
#[must_use = "a wait does nothing unless it is awaited"]
pub struct Sleep(Kind);

#[derive(Debug)]
enum Kind {
    Exact(Wait),
    Coarse(Pin<Box<tokio::time::Sleep>>),
}

impl Sleep {
    /// The deadline.
    pub fn deadline(&self) -> Instant {
        match &self.0 {
            Kind::Exact(wait) => wait.deadline,
            Kind::Coarse(sleep) => sleep.deadline(),
        }
    }

    /// Waits until `deadline` instead, from the next poll on.
    pub fn reset(&mut self, deadline: Instant) {
        match &mut self.0 {
            Kind::Exact(wait) => {
                wait.leave();
                wait.deadline = deadline;
            }
            Kind::Coarse(sleep) => sleep.as_mut().reset(deadline),
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Kind::Exact(wait) => wait.poll(cx),
            Kind::Coarse(sleep) => sleep.as_mut().poll(cx),
        }
    }
}

#[derive(Debug)]
struct Wait {
    driven: Arc<Driven>,
    deadline: Instant,
    number: u64,
    /// Whether it may be in the queue.
    queued: bool,
}

impl Wait {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.deadline <= Instant::now() {
            self.leave();
            return Poll::Ready(());
        }
        self.queued = true;
        let waits = &self.driven.waits;
        let mut queue = waits.lock();
        match queue.waiting.entry((self.deadline, self.number)) {
            Entry::Occupied(mut entry) => entry.get_mut().clone_from(cx.waker()),
            Entry::Vacant(entry) => {
                entry.insert(cx.waker().clone());
                waits.arm(&mut queue, self.deadline);
            }
        }
        Poll::Pending
    }

    fn leave(&mut self) {
        if std::mem::take(&mut self.queued) {
            self.driven.waits.lock().waiting.remove(&(self.deadline, self.number));
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests;
