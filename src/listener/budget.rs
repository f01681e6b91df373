//! Budget for the memory that clients can make the process hold.
//!
//! Whatever grows with the actions of clients is reserved here first: connections, heads, bodies, unread answers,
//! queued events. All listeners share one budget, which depends on the container's memory limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::telemetry::metrics::{Limit, Metrics};

/// Minimum memory of the process itself, in bytes: code, state, and the largest answer while it is built.
const OWN_MEMORY: u64 = 5 << 20;

/// Working memory beyond what is resident at the start.
const WORKING_MEMORY: u64 = 3 << 20;

/// Minimum for clients, however small the container is.
const MIN_CLIENT_MEMORY: u64 = 512 << 10;

/// The class of a reservation, which determines how much must be left for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetShare {
    /// Large heads, large bodies and unread answers: at most three quarters of the budget.
    Bulk,
    /// Connections and their ordinary requests, and what is large of the operator from loopback: at most nine tenths.
    Ordinary,
    /// Connections that may be the kubelet's, until their request shows whose they are: all but one twentieth, so that
    /// they cannot lock out the operator.
    Unknown,
    /// Requests of the kubelet, and of the operator from loopback: all of it.
    Reserved,
}

/// The budget. Clones share it.
#[derive(Clone, Debug)]
pub struct MemoryBudget(Arc<Account>);

#[derive(Debug)]
struct Account {
    limit: usize,
    /// Memory held by rules.
    held: AtomicUsize,
    metrics: Arc<Metrics>,
}

impl MemoryBudget {
    /// The memory left for clients in a container with a limit of `limit` bytes while the process itself uses
    /// `resident` bytes. Without a limit, nothing is rejected. Rejections are counted in `metrics`.
    pub fn of_container(limit: Option<u64>, resident: u64, metrics: Arc<Metrics>) -> Self {
        let own = OWN_MEMORY.max(resident + WORKING_MEMORY);
        let limit =
            limit.map_or(usize::MAX, |limit| limit.saturating_sub(own).max(MIN_CLIENT_MEMORY) as usize);
        Self(Arc::new(Account { limit, held: AtomicUsize::new(0), metrics }))
    }

    /// Bytes available to clients; `usize::MAX` without a limit.
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// Subtracts the bytes that rules hold. Existing reservations are kept.
    pub fn hold(&self, bytes: u64) {
        self.0.held.store(usize::try_from(bytes).unwrap_or(usize::MAX), Ordering::Relaxed);
    }

    /// Reserved bytes.
    pub fn used(&self) -> usize {
        self.0.metrics.client_memory().load(Ordering::Relaxed)
    }

    /// Reserves `bytes`. Counts a rejection if they do not fit.
    pub fn reserve(&self, bytes: usize, share: BudgetShare) -> Option<Reservation> {
        let reservation = self.try_reserve(bytes, share);
        if reservation.is_none() {
            self.0.metrics.limit(Limit::Memory);
        }
        reservation
    }

    /// Reserves `bytes`, for callers with a fallback: rejections are not counted.
    pub(super) fn try_reserve(&self, bytes: usize, share: BudgetShare) -> Option<Reservation> {
        let mut reservation = Reservation { budget: self.clone(), share, bytes: 0 };
        reservation.try_grow(bytes).then_some(reservation)
    }

    fn ceiling(&self, share: BudgetShare) -> usize {
        let held = self.0.held.load(Ordering::Relaxed);
        let limit = self.0.limit.saturating_sub(held).max((MIN_CLIENT_MEMORY as usize).min(self.0.limit));
        match share {
            BudgetShare::Bulk => limit - limit / 4,
            BudgetShare::Ordinary => limit - limit / 10,
            BudgetShare::Unknown => limit - limit / 20,
            BudgetShare::Reserved => limit,
        }
    }
}

/// Reserved memory, released on drop.
#[derive(Debug)]
pub struct Reservation {
    budget: MemoryBudget,
    share: BudgetShare,
    bytes: usize,
}

impl Reservation {
    /// Grows it to at least `bytes`. If they do not fit, it is unchanged and the rejection is counted.
    pub fn grow_to(&mut self, bytes: usize) -> bool {
        let grown = self.try_grow(bytes.saturating_sub(self.bytes));
        if !grown {
            self.budget.0.metrics.limit(Limit::Memory);
        }
        grown
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives back what is above `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        self.bytes -= less;
        self.budget.0.metrics.client_memory().fetch_sub(less, Ordering::Relaxed);
    }

    fn try_grow(&mut self, more: usize) -> bool {
        let ceiling = self.budget.ceiling(self.share);
        let fits = |used: usize| used.checked_add(more).filter(|used| *used <= ceiling);
        let used = self.budget.0.metrics.client_memory();
        let grown = more == 0 || used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        self.bytes += if grown { more } else { 0 };
        grown
    }

    /// Ties the reservation to bytes: it is released with their last clone.
    pub fn attach(self, bytes: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(Reserved { bytes, _reservation: self })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.0.metrics.client_memory().fetch_sub(self.bytes, Ordering::Relaxed);
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

    fn budget(limit: Option<u64>) -> MemoryBudget {
        let engine = Engine::new(ActivePlan::new(Plan::new(Vec::new()).unwrap(), Seed(1), true));
        MemoryBudget::of_container(limit, 0, Arc::new(Metrics::new(engine).unwrap()))
    }

    fn refusals(budget: &MemoryBudget) -> bool {
        budget.0.metrics.encode().contains("probesim_limits_hit_total{limit=\"memory\"} 1\n")
    }

    #[test]
    fn reservations_that_do_not_fit_are_rejected_and_counted() {
        let budget = budget(Some(16 * MIB));
        assert_eq!(budget.limit() as u64, 16 * MIB - OWN_MEMORY);
        let all = budget.reserve(budget.limit(), BudgetShare::Reserved).unwrap();
        assert!(!refusals(&budget));
        assert!(budget.reserve(1, BudgetShare::Reserved).is_none());
        assert!(refusals(&budget));
        drop(all);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn bulk_leaves_room_for_connections_and_both_for_the_kubelet() {
        let budget = budget(Some(16 * MIB));
        let limit = budget.limit();
        let _bulk = budget.reserve(limit * 3 / 4, BudgetShare::Bulk).unwrap();
        assert!(budget.reserve(1024, BudgetShare::Bulk).is_none());
        let _connections = budget.reserve(limit / 8, BudgetShare::Ordinary).unwrap();
        assert!(budget.reserve(limit / 20, BudgetShare::Ordinary).is_none());
        let _unknown = budget.reserve(limit / 16, BudgetShare::Unknown).unwrap();
        assert!(budget.reserve(limit / 60, BudgetShare::Unknown).is_none(), "the operator gets in");
        assert!(budget.reserve(limit / 20, BudgetShare::Reserved).is_some());
    }

    #[test]
    fn a_reservation_that_cannot_grow_keeps_its_size() {
        let budget = budget(Some(16 * MIB));
        let mut held = budget.reserve(1000, BudgetShare::Bulk).unwrap();
        assert!(held.grow_to(2000) && !held.grow_to(budget.limit()));
        assert_eq!(budget.used(), 2000);
        held.shrink_to(700);
        held.shrink_to(900);
        assert_eq!(budget.used(), 700);
    }

    #[test]
    fn attached_bytes_hold_their_reservation_until_the_last_clone_is_gone() {
        let budget = budget(Some(16 * MIB));
        let bytes = budget.reserve(3, BudgetShare::Bulk).unwrap().attach(vec![1, 2, 3]);
        let clone = bytes.clone();
        drop(bytes);
        assert_eq!((budget.used(), clone.len()), (3, 3));
        drop(clone);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn memory_held_by_rules_is_subtracted_until_released() {
        let budget = budget(Some(64 * MIB));
        budget.hold(50 * MIB);
        assert!(budget.reserve(10 << 20, BudgetShare::Reserved).is_none());
        assert!(budget.reserve(5 << 20, BudgetShare::Reserved).is_some());
        budget.hold(1 << 40);
        assert!(
            budget.reserve(MIN_CLIENT_MEMORY as usize, BudgetShare::Reserved).is_some(),
            "a few clients always get in"
        );
        budget.hold(0);
        assert!(budget.reserve(50 << 20, BudgetShare::Reserved).is_some());
    }

    #[test]
    fn without_a_limit_nothing_is_rejected() {
        assert!(budget(None).reserve(1 << 40, BudgetShare::Bulk).is_some());
    }
}
