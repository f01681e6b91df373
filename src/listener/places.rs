//! Connection places on listeners with few of them, so that nobody can lock the operator out.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use tokio::task::AbortHandle;

use super::state::ConnectionState;

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

/// The occupied places of a listener, oldest first.
#[derive(Default)]
pub(super) struct Places(VecDeque<(Arc<ConnectionState>, AbortHandle)>);

impl Places {
    pub(super) fn add(&mut self, state: Arc<ConnectionState>, task: AbortHandle) {
        self.0.push_back((state, task));
    }

    /// Whether a connection from `ip` may have one of `total` places. If all are taken, the oldest connection of the
    /// same share that has never sent a request is closed.
    pub(super) fn admit(&mut self, ip: IpAddr, total: usize, fairness: Fairness) -> bool {
        self.0.retain(|(_, task)| !task.is_finished());
        if is_loopback(ip) {
            return self.0.len() < total || self.evict(|_| true);
        }
        let ip = ip.to_canonical();
        let of_others = |peer: IpAddr| !is_loopback(peer);
        let of_peer = |peer: IpAddr| peer.to_canonical() == ip;
        if self.count(of_peer) >= fairness.per_peer {
            return self.evict(of_peer);
        }
        let is_full =
            self.0.len() >= total || self.count(of_others) >= total.saturating_sub(fairness.loopback);
        !is_full || self.evict(of_others)
    }

    fn count(&self, which: impl Fn(IpAddr) -> bool) -> usize {
        self.0.iter().filter(|(state, _)| which(state.peer().ip())).count()
    }

    fn evict(&mut self, which: impl Fn(IpAddr) -> bool) -> bool {
        let silent = self.0.iter().position(|(state, _)| !state.has_asked() && which(state.peer().ip()));
        let evicted = silent.and_then(|position| self.0.remove(position));
        if let Some((_, task)) = &evicted {
            task.abort();
        }
        evicted.is_some()
    }
}
