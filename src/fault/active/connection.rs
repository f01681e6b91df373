//! Decisions on connections of TCP proxies.

use std::time::Duration;

use super::{ActivePlan, RequestInfo};
use crate::fault::draw::{Draws, Purpose};
use crate::fault::mode::{Mode, WireMode};
use crate::fault::proxy::Slot;
use crate::fault::rule::{Action, Rule, RuleName};
use crate::fault::shape::{DEFAULT_SLOW_CLOSE, Shape, ShapeKind, ShapeStage};
use crate::fault::stream::{Stream, Streams};
use crate::fault::target::{Client, TargetId};

/// A rule on a proxy, in its time window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenRule {
    /// The rule's position in the plan.
    pub rule: usize,
    /// When the window opened, on the process clock; it identifies the window.
    pub opened: Duration,
}

/// The draw of one connection for a window of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// The rule.
    pub name: RuleName,
    /// When its window opened.
    pub opened: Duration,
    /// When the connection became eligible.
    pub since: Duration,
    /// Whether the rule fired.
    pub fired: bool,
    /// Whether the injection was counted.
    pub is_counted: bool,
}

/// The streams that a rule ends or stops: on each, the first that fires decides.
fn decides(rule: &Rule) -> Option<Streams> {
    match rule.mode()? {
        Mode::Hang | Mode::Truncate(_) | Mode::Wire(WireMode::SlowClose) => {
            Some(rule.on_connection().streams.unwrap_or_default())
        }
        Mode::Close | Mode::Reset | Mode::Wire(WireMode::Refuse | WireMode::Drop) => Some(Streams::Both),
        _ => None,
    }
}

impl ActivePlan {
    /// The rules on a proxy that are in their time window, in order.
    pub fn open_rules(&self, slot: Slot, elapsed: Duration) -> Vec<OpenRule> {
        let open = |(rule, entry): (usize, &super::ActiveRule)| {
            let acts = entry.acts_on(TargetId::Proxy(slot), Client::Other);
            let open_for = entry.open_for(elapsed).filter(|_| acts)?;
            Some(OpenRule { rule, opened: elapsed.saturating_sub(open_for) })
        };
        self.entries.iter().enumerate().filter_map(open).collect()
    }

    /// The positions of the rules that act on connection `number` of a proxy at `elapsed`. `drawn` holds the
    /// connection's earlier draws and is updated: a rate is drawn once per window of a rule, when the connection first
    /// becomes eligible. Calls `observe` for each new draw.
    ///
    /// Of the modes that end or stop a stream, or both, the first that fires decides. The others are skipped.
    pub fn decide_connection(
        &self,
        (slot, number): (Slot, u64),
        elapsed: Duration,
        open: &[OpenRule],
        drawn: &mut Vec<Drawn>,
        mut observe: impl FnMut(usize, bool),
    ) -> Vec<usize> {
        let target = TargetId::Proxy(slot);
        let attempt = RequestInfo { target, client: Client::Other, elapsed, number };
        let lane = self.proxies.lane(target);
        let is_open = |known: &Drawn| {
            open.iter().any(|OpenRule { rule, opened }| {
                *self.entries[*rule].rule.name() == known.name && *opened == known.opened
            })
        };
        drawn.retain(is_open);
        let (mut acting, mut decided) = (Vec::new(), Vec::new());
        for OpenRule { rule: position, opened } in open {
            let entry = &self.entries[*position];
            let rule = &entry.rule;
            let streams = decides(rule);
            if streams.is_some_and(|streams| decided.iter().any(|stream| streams.contain(*stream))) {
                continue;
            }
            let known = drawn.iter().find(|known| known.name == *rule.name());
            let fired = if let Some(known) = known {
                known.fired
            } else {
                let Some(fired) = entry.fires(&attempt, lane, None) else { continue };
                observe(*position, fired);
                let (name, opened, since) = (rule.name().clone(), *opened, elapsed);
                drawn.push(Drawn { name, opened, since, fired, is_counted: false });
                fired
            };
            if fired {
                let streams = streams.into_iter();
                decided.extend(
                    streams.flat_map(|of| Stream::ALL.into_iter().filter(move |stream| of.contain(*stream))),
                );
                acting.push(*position);
            }
        }
        acting
    }

    /// How the rules at `acting` shape one stream of a connection. Continues the state of `before`.
    pub fn shape(
        &self,
        acting: &[usize],
        drawn: &[Drawn],
        (slot, number, stream): (Slot, u64, Stream),
        before: Option<&Shape>,
    ) -> Option<Shape> {
        let lane = self.proxies.lane(TargetId::Proxy(slot));
        let mut stages = Vec::new();
        for entry in acting.iter().map(|position| &self.entries[*position]) {
            let (rule, of) = (&entry.rule, entry.rule.on_connection());
            let Action::Requests { delay, mode, .. } = rule.action() else { continue };
            let window = drawn.iter().find(|drawn| drawn.name == *rule.name());
            let Some(window) = window.filter(|_| of.streams.unwrap_or_default().contain(stream)) else {
                continue;
            };
            let source = |purpose| {
                let of_rule = Draws::of_rule(entry.key, lane, Client::Other, purpose);
                of_rule.within(number).within(stream as u64 + 1)
            };
            let delays = delay.clone().map(|delay| ShapeKind::Delay(delay, source(Purpose::Delay)));
            let shapes = match mode {
                Some(Mode::Throttle { speed, .. }) => Some(ShapeKind::Throttle(*speed)),
                Some(Mode::Corrupt { share, .. }) => Some(ShapeKind::Corrupt(*share, source(Purpose::Fire))),
                Some(Mode::Wire(WireMode::Slice(slices))) => {
                    Some(ShapeKind::Slice(*slices, source(Purpose::Fire)))
                }
                Some(Mode::Wire(WireMode::SlowClose)) => {
                    Some(ShapeKind::SlowClose(of.after.unwrap_or(DEFAULT_SLOW_CLOSE)))
                }
                _ => None,
            };
            for kind in [delays, shapes].into_iter().flatten() {
                stages.push(ShapeStage::new(rule.name().clone(), window.opened, kind));
            }
        }
        (!stages.is_empty()).then(|| Shape::new(stages, before))
    }
}
