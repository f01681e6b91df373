//! Partitions: cuts of listeners.

use std::net::IpAddr;
use std::time::Duration;

use super::ActivePlan;
use crate::fault::link::{Link, LinkCut, ListenerId};
use crate::fault::rule::Action;
use crate::fault::target::{Client, ClientFilter};

impl ActivePlan {
    /// The state of a listener.
    pub fn link(&self, listener: ListenerId, elapsed: Duration) -> Link {
        let mut link = Link::default();
        for (position, entry) in self.entries.iter().enumerate() {
            if entry.listener != Some(listener) || entry.open_for(elapsed).is_none() {
                continue;
            }
            if let Some(cut) = entry.rule.whole_cut() {
                link.whole = Some(LinkCut { rule: position, cut });
                break;
            }
            link.partial = true;
        }
        link
    }

    /// Whether the rule at a position is a partition of `listener`.
    pub fn is_partition_of(&self, position: usize, listener: ListenerId) -> bool {
        self.entries[position].listener == Some(listener)
    }

    /// The cut of a connection from `peer` to a listener. Before its first request, the client class is unknown, and
    /// cuts of one class do not apply.
    pub fn cut(
        &self,
        listener: ListenerId,
        elapsed: Duration,
        peer: IpAddr,
        client: Option<Client>,
    ) -> Option<LinkCut> {
        self.entries.iter().enumerate().find_map(|(position, entry)| {
            let Action::Listener { cut, from, .. } = entry.rule.action() else { return None };
            if entry.listener != Some(listener) {
                return None;
            }
            let admits = match (entry.rule.client(), client) {
                (ClientFilter::Unset | ClientFilter::Any, _) => true,
                (filter, Some(client)) => filter.admits(client),
                (_, None) => false,
            };
            (admits && from.contains(peer) && entry.open_for(elapsed).is_some())
                .then_some(LinkCut { rule: position, cut: *cut })
        })
    }
}
