//! Connection places on listeners with few of them, so that no client can lock out the operator.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::state::ConnectionState;
use crate::telemetry::metrics::{Limit, Metrics};

/// How many of the oldest connections are looked at for one that may give up its place.
const LOOKED_AT: usize = 64;

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

/// Why a connection should keep its place, from weak to strong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    /// It has never sent a request.
    Silent,
    /// It is between two requests.
    Resting,
    /// A request is under way.
    Busy,
}

impl Claim {
    fn of(state: &ConnectionState, now: Instant) -> Self {
        if !state.has_asked() {
            Self::Silent
        } else if state.rests_since(now) {
            Self::Resting
        } else {
            Self::Busy
        }
    }
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

    /// Ends a connection whose claim is the weakest and not above `most`, to make room for others. Looks at some of the
    /// oldest, and counts what it ends as refused.
    pub(super) fn make_room(&mut self, most: Claim, metrics: &Metrics) -> bool {
        let now = Instant::now();
        let looked_at = LOOKED_AT.min(self.connections.len());
        let oldest = self.connections.iter().take(looked_at).enumerate();
        let idle =
            oldest.filter(|(_, (_, task))| !task.is_finished()).filter_map(|(position, (state, _))| {
                let claim = Claim::of(state, now);
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
            let claim = Claim::of(state, now);
            which(ip).then(|| (claim, Reverse(self.count(|peer| peer == ip)), position))
        });
        let evicted = of_share.min().and_then(|(.., position)| self.connections.remove(position));
        if let Some((_, task)) = &evicted {
            task.abort();
        }
        evicted.is_some()
    }
}
