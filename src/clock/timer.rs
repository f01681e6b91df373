//! Waits that end within a fraction of a millisecond of their time, and never before it.
//!
//! The runtime's own timer ticks in milliseconds. This one is a timerfd on the runtime's reactor, set to the earliest of
//! all waits; without a wait it is not set, and nothing wakes.

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

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::warn;

/// A cheap-clone handle on the waits of a service.
#[derive(Clone, Debug)]
pub struct Timer(Option<Arc<Driven>>);

/// The waits, and the task that wakes them for as long as anybody can wait.
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
    queue: Mutex<Queue>,
    /// Tells waits until the same instant apart, in the order in which they began.
    numbers: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeMap<(Instant, u64), Waker>,
    /// What the clock is set to; what it was set to, until the driver has seen it ring.
    armed: Option<Instant>,
}

impl Timer {
    /// A timer of its own clock. Where there is none to be had, the runtime's timer serves, and the log says why.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with I/O and time.
    pub fn new() -> Self {
        Self::with_clock(clock())
    }

    /// The runtime's own timer, which ticks in milliseconds and stands still with tokio's paused clock.
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
        let driver = tokio::spawn(drive(waits.clone())).abort_handle();
        Self(Some(Arc::new(Driven { waits, driver })))
    }

    /// Waits until `deadline`, not at all if it has passed. Dropped, a wait leaves nothing behind.
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

    /// Waits until `deadline`; for ever without one.
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

/// Wakes whoever is due, whenever the clock rings.
async fn drive(waits: Arc<Waits>) {
    while let Ok(mut ringing) = waits.clock.readable().await {
        // The clock is not read: the reactor tells of each ring, and setting the clock ends the last.
        ringing.clear_ready();
        for waker in waits.take_due() {
            waker.wake();
        }
    }
}

impl Waits {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the waits out that have come to their end, earliest first, and sets the clock to the next.
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

    /// Makes the clock ring at `deadline`, unless it rings before.
    fn arm(&self, queue: &mut Queue, deadline: Instant) {
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
            // The kernel refuses times that are none, and this is one.
            warn!(%error, "the timer cannot be set");
        }
    }
}

/// A wait that has begun. Waits nowhere before its first poll.
#[derive(Debug)]
#[must_use = "a wait does nothing unless it is awaited"]
pub struct Sleep(Kind);

#[derive(Debug)]
enum Kind {
    Exact(Wait),
    Coarse(Pin<Box<tokio::time::Sleep>>),
}

impl Sleep {
    /// The end of the wait.
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
