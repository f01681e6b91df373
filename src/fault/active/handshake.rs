//! What a handshake of TLS gets.

use std::net::IpAddr;
use std::time::Duration;

use super::{ActivePlan, RuleHit};
use crate::fault::draw::Draws;
use crate::fault::rule::Action;

impl ActivePlan {
    /// The rule whose fault handshake `number` of the probe listener gets, from 1 on: the first that fires. `observe` is told
    /// of each rule that was eligible.
    pub fn decide_handshake(
        &self,
        peer: IpAddr,
        elapsed: Duration,
        number: u64,
        mut observe: impl FnMut(RuleHit),
    ) -> Option<usize> {
        self.entries.iter().enumerate().find_map(|(rule, entry)| {
            let Action::Handshake { from, .. } = entry.rule.action() else { return None };
            if !from.contains(peer) {
                return None;
            }
            let open_for = entry.open_for(elapsed)?;
            let fired = entry.rule.trigger().hits(open_for, &Draws::of_handshakes(entry.key), number);
            observe(RuleHit { rule, fired, number });
            fired.then_some(rule)
        })
    }
}
