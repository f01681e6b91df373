//! Decisions on TLS handshakes.

use std::net::IpAddr;
use std::time::Duration;

use super::{ActivePlan, RuleHit};
use crate::fault::draw::Draws;
use crate::fault::rule::Action;

impl ActivePlan {
    /// The rule whose fault applies to handshake `number` (from 1) of the probe listener: the first that fires. Calls
    /// `observe` for each eligible rule.
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
