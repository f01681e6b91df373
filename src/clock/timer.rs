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
mod tests {
    use super::*;

    /// Longer than a slow, shared machine keeps a thread waiting.
    const PATIENCE: Duration = Duration::from_secs(20);

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn waiting(timer: &Timer) -> usize {
        timer.0.as_ref().unwrap().waits.lock().waiting.len()
    }

    #[tokio::test]
    async fn no_wait_ends_early_and_most_end_within_a_millisecond() {
        let timer = Timer::new();
        let mut late = Vec::new();
        for round in 0..40 {
            let waits = (0..25).map(|i| {
                let timer = timer.clone();
                tokio::spawn(async move {
                    // From nothing to 10 ms, at no round number of them.
                    let delay = Duration::from_nanos((round * 25 + i) * 9_973 % 10_000_000);
                    let began = std::time::Instant::now();
                    timer.sleep_until(Instant::now() + delay).await;
                    (began.elapsed(), delay)
                })
            });
            for wait in waits.collect::<Vec<_>>() {
                let (took, delay) = wait.await.unwrap();
                late.push(took.checked_sub(delay).unwrap_or_else(|| panic!("{took:?} instead of {delay:?}")));
            }
        }
        late.sort();
        // The runtime's own timer is late by half a millisecond at least in half of all cases.
        assert!(late[late.len() / 4] < Duration::from_micros(500), "{:?}", late[late.len() / 4]);
        assert_eq!(waiting(&timer), 0);
    }

    #[tokio::test]
    async fn waits_end_in_the_order_of_their_deadlines_whatever_the_order_of_their_beginnings() {
        let timer = Timer::new();
        let (sender, mut ended) = tokio::sync::mpsc::unbounded_channel();
        let begin = Instant::now() + ms(20);
        for millis in [5, 1, 4, 0, 3, 2] {
            let (timer, sender) = (timer.clone(), sender.clone());
            tokio::spawn(async move {
                timer.sleep_until(begin + ms(millis)).await;
                sender.send(millis).unwrap();
            });
        }
        drop(sender);
        for millis in 0..6 {
            assert_eq!(ended.recv().await, Some(millis));
        }
    }

    #[tokio::test]
    async fn a_wait_that_is_shorter_than_all_others_does_not_wait_for_them() {
        let timer = Timer::new();
        let long = tokio::spawn({
            let timer = timer.clone();
            async move { timer.sleep_until(Instant::now() + PATIENCE).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(waiting(&timer), 1);
        let began = Instant::now();
        timer.sleep_until(began + ms(5)).await;
        assert!(began.elapsed() < PATIENCE / 2);
        long.abort();
    }

    #[tokio::test]
    async fn waits_that_are_given_up_leave_nothing_behind_and_do_not_hold_up_others() {
        let timer = Timer::new();
        let until = Instant::now() + ms(50);
        let given_up: Vec<_> = (0..10_000_u64)
            .map(|i| {
                let timer = timer.clone();
                tokio::spawn(async move { timer.sleep_until(until + Duration::from_micros(i)).await })
            })
            .collect();
        let kept = tokio::spawn({
            let timer = timer.clone();
            async move { timer.sleep_until(until + ms(100)).await }
        });
        while waiting(&timer) < 10_001 {
            tokio::task::yield_now().await;
        }
        for wait in &given_up {
            wait.abort();
        }
        for wait in given_up {
            assert!(wait.await.unwrap_err().is_cancelled());
        }
        assert_eq!(waiting(&timer), 1);
        tokio::time::timeout(PATIENCE, kept).await.unwrap().unwrap();
        assert!(until + ms(100) <= Instant::now());
        assert_eq!(waiting(&timer), 0);
    }

    #[tokio::test]
    async fn a_wait_can_be_moved_to_another_time() {
        let timer = Timer::new();
        let began = Instant::now();
        let mut sleep = timer.sleep_until(began + PATIENCE);
        std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut sleep).poll(cx)))
            .await
            .is_pending()
            .then_some(())
            .unwrap();
        sleep.reset(began + ms(10));
        assert_eq!((sleep.deadline(), waiting(&timer)), (began + ms(10), 0));
        sleep.await;
        assert!((ms(10)..PATIENCE / 2).contains(&began.elapsed()));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn ten_thousand_waits_on_several_threads_all_end() {
        let timer = Timer::new();
        let waits: Vec<_> = (0..10_000_u64)
            .map(|i| {
                let timer = timer.clone();
                tokio::spawn(async move {
                    let until = Instant::now() + Duration::from_micros(i * 7 % 30_000);
                    timer.sleep_until(until).await;
                    assert!(until <= Instant::now());
                })
            })
            .collect();
        for wait in waits {
            tokio::time::timeout(PATIENCE, wait).await.unwrap().unwrap();
        }
        assert_eq!(waiting(&timer), 0);
    }

    #[tokio::test]
    async fn the_last_handle_takes_the_timer_with_it() {
        let timer = Timer::new();
        let waits = Arc::downgrade(&timer.0.as_ref().unwrap().waits);
        drop(timer);
        while waits.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_no_clock_is_to_be_had_the_runtimes_timer_serves() {
        let timer = Timer::with_clock(Err(io::ErrorKind::Unsupported.into()));
        assert!(timer.0.is_none());
        let began = Instant::now();
        let mut sleep = timer.sleep_until(began + PATIENCE);
        sleep.reset(began + 2 * PATIENCE);
        sleep.await;
        assert_eq!(began.elapsed(), 2 * PATIENCE);
    }
}
