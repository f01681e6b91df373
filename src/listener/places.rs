//! Connection places on listeners with few of them, so that no client can lock out the operator.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::state::{Claim, ConnectionState};
use crate::telemetry::metrics::{Limit, Metrics};

/// How many of the oldest connections are usually looked at for one that may give up its place: all of them up to the
/// default limit of connections.
pub(super) const SOME: usize = 1024;

/// How the connections of a listener are divided among its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fairness {
    /// Places reserved for loopback peers.
    pub loopback: usize,
    /// Limit of places per peer address other than loopback.
    pub per_peer: usize,
}

/// Whether this is exactly `127.0.0.1` or `::1`. Other addresses of `127/8` may belong to others, such as a mesh.
pub(super) fn is_loopback(ip: IpAddr) -> bool {
    matches!(ip.to_canonical(), IpAddr::V4(Ipv4Addr::LOCALHOST) | IpAddr::V6(Ipv6Addr::LOCALHOST))
}

/// The occupied places of a listener, oldest first but for those that [`Places::make_room`] has passed over.
#[derive(Default)]
pub(super) struct Places {
    connections: VecDeque<(Arc<ConnectionState>, AbortHandle)>,
    /// Where to look next for connections that have ended.
    cursor: usize,
}

impl Places {
    pub(super) fn add(&mut self, state: Arc<ConnectionState>, task: AbortHandle) {
        // Two are looked at for each that comes, so that those that have ended do not pile up.
        for _ in 0..2 {
            match self.connections.get(self.cursor) {
                Some((_, task)) if task.is_finished() => drop(self.connections.remove(self.cursor)),
                Some(_) => self.cursor += 1,
                None => self.cursor = 0,
            }
        }
        self.connections.push_back((state, task));
    }

    /// Ends a connection whose claim is the weakest and not above `most`, to make room for others. Looks at the oldest
    /// `looked_at` connections, and counts what it ends as refused.
    pub(super) fn make_room(&mut self, most: Claim, looked_at: usize, metrics: &Metrics) -> bool {
        let now = Instant::now();
        let looked_at = looked_at.min(self.connections.len());
        let oldest = self.connections.iter().take(looked_at).enumerate();
        let idle =
            oldest.filter(|(_, (_, task))| !task.is_finished()).filter_map(|(position, (state, _))| {
                let claim = state.claim(now);
                (claim <= most).then_some((claim, position))
            });
        let evicted = idle.min().and_then(|(_, position)| self.connections.remove(position));
        if let Some((_, task)) = &evicted {
            task.abort();
            metrics.limit(Limit::Connections);
        } else {
            self.connections.rotate_left(looked_at);
        }
        evicted.is_some()
    }

    /// Whether a connection from `ip` may have one of `total` places. If all are taken, another connection of the same
    /// share gives up its place, and is counted as refused: one that has never sent a request, else one between two
    /// requests, else one of the peer with the most places; the oldest of these.
    pub(super) fn admit(&mut self, ip: IpAddr, total: usize, fairness: Fairness, metrics: &Metrics) -> bool {
        self.connections.retain(|(_, task)| !task.is_finished());
        let ip = ip.to_canonical();
        let is_operator = is_loopback(ip);
        let of_others = |peer: IpAddr| !is_loopback(peer);
        let of_peer = |peer: IpAddr| peer == ip;
        let is_evicted = if !is_operator && self.count(of_peer) >= fairness.per_peer {
            self.evict(of_peer)
        } else if !is_operator && self.count(of_others) >= total.saturating_sub(fairness.loopback) {
            self.evict(of_others)
        } else if self.connections.len() >= total {
            self.evict(|peer| is_operator || of_others(peer))
        } else {
            return true;
        };
        metrics.limit(Limit::Connections);
        is_evicted
    }

    fn count(&self, which: impl Fn(IpAddr) -> bool) -> usize {
        self.connections.iter().filter(|(state, _)| which(state.peer().ip().to_canonical())).count()
    }

    fn evict(&mut self, which: impl Fn(IpAddr) -> bool) -> bool {
        let now = Instant::now();
        let of_share = self.connections.iter().enumerate().filter_map(|(position, (state, _))| {
            let ip = state.peer().ip().to_canonical();
            let claim = state.claim(now);
            which(ip).then(|| (claim, Reverse(self.count(|peer| peer == ip)), position))
        });
        let evicted = of_share.min().and_then(|(.., position)| self.connections.remove(position));
        if let Some((_, task)) = &evicted {
            task.abort();
        }
        evicted.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;
    use crate::engine::Engine;
    use crate::fault::{ActivePlan, Client, Plan, Seed};
    use crate::listener::budget::MemoryBudget;

    /// Places whose connections are named by their position.
    struct Crowd {
        places: Places,
        metrics: Arc<Metrics>,
        tasks: Vec<AbortHandle>,
    }

    impl Crowd {
        fn new() -> Self {
            let engine = Engine::new(ActivePlan::new(Plan::new(Vec::new()).unwrap(), Seed(1), true));
            let metrics = Arc::new(Metrics::new(engine).unwrap());
            Self { places: Places::default(), metrics, tasks: Vec::new() }
        }

        fn add(&mut self) -> Arc<ConnectionState> {
            let budget = MemoryBudget::of_container(None, 0, self.metrics.clone());
            let state = ConnectionState::new(([10, 0, 0, 1], 5).into(), None, false, budget, 8192);
            let task = tokio::spawn(pending::<()>()).abort_handle();
            self.tasks.push(task.clone());
            self.places.add(state.clone(), task);
            state
        }

        /// The connection that gives up its place.
        async fn ended(&mut self, most: Claim) -> Option<usize> {
            let before: Vec<bool> = self.tasks.iter().map(AbortHandle::is_finished).collect();
            let has_ended = self.places.make_room(most, SOME, &self.metrics);
            tokio::task::yield_now().await;
            let ended = (0..self.tasks.len()).find(|i| !before[*i] && self.tasks[*i].is_finished());
            assert_eq!(has_ended, ended.is_some());
            ended
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_over_or_silent_is_ended_before_one_that_has_just_come() {
        let mut crowd = Crowd::new();
        let busy = crowd.add();
        busy.request_begins(Client::Other, false);
        let resting = crowd.add();
        resting.request_begins(Client::Other, false);
        resting.request_ends();
        crowd.add();
        let leaving = crowd.add();
        leaving.request_begins(Client::Other, false);
        leaving.leaves();
        advance(Duration::from_millis(50)).await;
        crowd.add();
        assert_eq!(crowd.ended(Claim::Silent).await, Some(3), "it is over");
        assert_eq!(crowd.ended(Claim::Silent).await, Some(2), "it never sent a request");
        assert_eq!(crowd.ended(Claim::Silent).await, None, "one has hardly had time to send");
        advance(Duration::from_millis(50)).await;
        assert_eq!(crowd.ended(Claim::Silent).await, Some(4), "it has had time");
        assert_eq!(crowd.ended(Claim::Resting).await, Some(1));
        assert_eq!(crowd.ended(Claim::Resting).await, None, "a request is under way");
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_request_in_the_memory_of_the_kubelet_does_not_keep_a_place() {
        let mut crowd = Crowd::new();
        for only_kubelet in [false, true] {
            let state = crowd.add();
            state.request_begins(Client::Other, false);
            state.request_ends();
            state.head_begins();
            state.set_only_kubelet(only_kubelet);
        }
        advance(Duration::from_millis(50)).await;
        assert_eq!(crowd.ended(Claim::Resting).await, Some(1));
        assert_eq!(crowd.ended(Claim::Resting).await, None);
    }
}
