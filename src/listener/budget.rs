//! One account of the memory that clients can make the process hold.
//!
//! Whatever grows with what clients do is reserved here before it is held: connections, heads, bodies, unread answers,
//! waiting events. Both listeners draw from the same account, whose limit follows from that of the container.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::telemetry::metrics::{Limit, Metrics};

/// Memory that the process needs at least for itself, in bytes: its code and state, and the largest answer while it is
/// written.
const OWN_MEMORY: u64 = 5 << 20;

/// Memory that the process needs beyond what is resident when it starts.
const WORKING_MEMORY: u64 = 3 << 20;

/// The least that clients get, however small the container is.
const LEAST: u64 = 512 << 10;

/// Who draws, which decides how much has to be left for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Large heads and bodies, and answers that are not read: at most three quarters of the memory.
    Bulk,
    /// Connections and their ordinary requests: at most nine tenths.
    Ordinary,
    /// The kubelet's requests, and the operator's from loopback: all of it.
    Reserved,
}

/// The account. Clones share it.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Account>);

#[derive(Debug)]
struct Account {
    limit: usize,
    used: AtomicUsize,
    /// What rules hold, which nobody else can have.
    held: AtomicUsize,
    metrics: Arc<Metrics>,
}

impl Budget {
    /// The memory that a container of `limit` bytes leaves to clients while `resident` bytes are the process's own.
    /// Without a limit, nothing is refused. Refusals are counted in `metrics`.
    pub fn of_container(limit: Option<u64>, resident: u64, metrics: Arc<Metrics>) -> Self {
        let own = OWN_MEMORY.max(resident + WORKING_MEMORY);
        let limit = limit.map_or(usize::MAX, |limit| limit.saturating_sub(own).max(LEAST) as usize);
        Self(Arc::new(Account { limit, used: AtomicUsize::new(0), held: AtomicUsize::new(0), metrics }))
    }

    /// Bytes that clients may take up; `usize::MAX` without a limit.
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// Takes the memory that rules hold, in bytes, off the account. What is reserved already stays.
    pub fn hold(&self, bytes: u64) {
        self.0.held.store(usize::try_from(bytes).unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    /// Bytes that are reserved.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Reserves `bytes`. Where they do not fit, the refusal is counted.
    pub fn reserve(&self, bytes: usize, share: Share) -> Option<Reservation> {
        let reservation = self.try_reserve(bytes, share);
        if reservation.is_none() {
            self.0.metrics.limit(Limit::Memory);
        }
        reservation
    }

    /// Reserves `bytes`, for callers that have another way if they do not fit.
    pub(super) fn try_reserve(&self, bytes: usize, share: Share) -> Option<Reservation> {
        let mut reservation = Reservation { budget: self.clone(), share, bytes: 0 };
        reservation.try_grow(bytes).then_some(reservation)
    }

    fn ceiling(&self, share: Share) -> usize {
        let held = self.0.held.load(Ordering::Relaxed);
        let limit = self.0.limit.saturating_sub(held).max((LEAST as usize).min(self.0.limit));
        match share {
            Share::Bulk => limit - limit / 4,
            Share::Ordinary => limit - limit / 10,
            Share::Reserved => limit,
        }
    }
}

/// Reserved memory, given back when this is dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    share: Share,
    bytes: usize,
}

impl Reservation {
    /// Makes it at least `bytes` large. Where they do not fit, it stays as it is and the refusal is counted.
    pub fn grow_to(&mut self, bytes: usize) -> bool {
        let grown = self.try_grow(bytes.saturating_sub(self.bytes));
        if !grown {
            self.budget.0.metrics.limit(Limit::Memory);
        }
        grown
    }

    /// Gives back what is above `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        self.bytes -= less;
        self.budget.0.used.fetch_sub(less, Ordering::Relaxed);
    }

    fn try_grow(&mut self, more: usize) -> bool {
        let ceiling = self.budget.ceiling(self.share);
        let fits = |used: usize| used.checked_add(more).filter(|used| *used <= ceiling);
        let grown =
            more == 0 || self.budget.0.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        self.bytes += if grown { more } else { 0 };
        grown
    }

    /// The same bytes, which give the reservation back when the last clone is dropped.
    pub fn attach(self, bytes: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(Reserved { bytes, _reservation: self })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

struct Reserved<B> {
    bytes: B,
    _reservation: Reservation,
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Reserved<B> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::fault::{ActivePlan, Plan, Seed};

    const MIB: u64 = 1 << 20;

    fn budget(limit: Option<u64>) -> Budget {
        let engine = Engine::new(ActivePlan::new(Plan::new(Vec::new()).unwrap(), Seed(1), true));
        Budget::of_container(limit, 0, Arc::new(Metrics::new(engine).unwrap()))
    }

    fn refusals(budget: &Budget) -> bool {
        budget.0.metrics.encode().contains("probesim_limits_hit_total{limit=\"memory\"} 1\n")
    }

    #[test]
    fn what_does_not_fit_is_refused_and_counted() {
        let budget = budget(Some(16 * MIB));
        assert_eq!(budget.limit() as u64, 16 * MIB - OWN_MEMORY);
        let all = budget.reserve(budget.limit(), Share::Reserved).unwrap();
        assert!(!refusals(&budget));
        assert!(budget.reserve(1, Share::Reserved).is_none());
        assert!(refusals(&budget));
        drop(all);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn bulk_leaves_room_for_connections_and_both_for_the_kubelet() {
        let budget = budget(Some(16 * MIB));
        let limit = budget.limit();
        let _bulk = budget.reserve(limit * 3 / 4, Share::Bulk).unwrap();
        assert!(budget.reserve(1024, Share::Bulk).is_none());
        let _connections = budget.reserve(limit / 8, Share::Ordinary).unwrap();
        assert!(budget.reserve(limit / 20, Share::Ordinary).is_none());
        assert!(budget.reserve(limit / 20, Share::Reserved).is_some());
    }

    #[test]
    fn a_reservation_that_cannot_grow_keeps_its_size() {
        let budget = budget(Some(16 * MIB));
        let mut held = budget.reserve(1000, Share::Bulk).unwrap();
        assert!(held.grow_to(2000) && !held.grow_to(budget.limit()));
        assert_eq!(budget.used(), 2000);
        held.shrink_to(700);
        held.shrink_to(900);
        assert_eq!(budget.used(), 700);
    }

    #[test]
    fn attached_bytes_hold_their_reservation_until_the_last_clone_is_gone() {
        let budget = budget(Some(16 * MIB));
        let bytes = budget.reserve(3, Share::Bulk).unwrap().attach(vec![1, 2, 3]);
        let clone = bytes.clone();
        drop(bytes);
        assert_eq!((budget.used(), clone.len()), (3, 3));
        drop(clone);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_rules_hold_is_taken_off_until_they_give_it_back() {
        let budget = budget(Some(64 * MIB));
        budget.hold(50 * MIB);
        assert!(budget.reserve(10 << 20, Share::Reserved).is_none());
        assert!(budget.reserve(5 << 20, Share::Reserved).is_some());
        budget.hold(1 << 40);
        assert!(budget.reserve(LEAST as usize, Share::Reserved).is_some(), "a few clients always get in");
        budget.hold(0);
        assert!(budget.reserve(50 << 20, Share::Reserved).is_some());
    }

    #[test]
    fn without_a_limit_nothing_is_refused() {
        assert!(budget(None).reserve(1 << 40, Share::Bulk).is_some());
    }
}
