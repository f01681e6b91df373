//! Effects of rules on one connection.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::TcpProxy;
use super::relay::Relay;
use crate::engine::{Active, Engine};
use crate::fault::{Cut, Drawn, ListenerId, Mode, OpenRule, Rule, RuleName, Slot, Stream, Streams, WireMode};

/// The rules on a proxy that are in their windows.
#[derive(Clone, Debug)]
pub struct ProxyRules {
    /// Their plan.
    pub active: Arc<Active>,
    /// The rules, in the order of the plan.
    pub open: Vec<OpenRule>,
}

/// How a deciding rule ends or stops a connection or a stream. Times are on the engine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The streams stop at the first time, and the connection is closed at the second.
    Hang(Streams, Duration, Option<Duration>),
    /// The connection is closed with FIN.
    Close(Duration),
    /// The connection is closed with RST.
    Reset(Duration),
    /// The connection is closed after this many bytes of the streams.
    Truncate(Streams, u64),
}

/// A rule that decides how the connection ends.
#[derive(Clone, Debug)]
struct Deciding {
    name: RuleName,
    opened: Duration,
    ending: Ending,
}

/// Effects of rules on one connection.
pub(super) struct Faults {
    slot: Slot,
    /// The number of the connection, which determines all draws.
    number: u64,
    peer: IpAddr,
    drawn: Vec<Drawn>,
    /// At most one per stream.
    deciding: Vec<Deciding>,
    /// The partition in force, and its rule.
    cut: Option<(usize, Cut)>,
    /// Whether the rule of a hang that was to end in a close is no longer in force.
    is_closed: bool,
}

impl Faults {
    pub(super) fn new(proxy: &TcpProxy, peer: IpAddr) -> Self {
        let number = proxy.shared.engine.number_connection(proxy.slot);
        let (drawn, deciding, slot) = (Vec::new(), Vec::new(), proxy.slot);
        Self { slot, number, peer, drawn, deciding, cut: None, is_closed: false }
    }

    /// Applies the rules that are in force now: new ones act at once, and removed ones no longer act.
    pub(super) fn decide(&mut self, proxy: &TcpProxy, rules: &ProxyRules, relay: Option<&mut Relay>) {
        if proxy.shared.spared.contains(&self.peer.to_canonical()) {
            return;
        }
        let (active, now) = (&*rules.active, proxy.shared.engine.elapsed());
        let plan = &active.plan;
        let cut = plan.cut(ListenerId::Proxy(self.slot), now, self.peer, None);
        let cut = cut.map(|cut| (cut.rule, cut.cut));
        if let Some((rule, _)) = cut.filter(|cut| self.cut != Some(*cut)) {
            active.count_cut(rule);
        }
        self.cut = cut;
        let (slot, number) = (self.slot, self.number);
        let of = (slot, number);
        let acting = plan.decide_connection(of, now, &rules.open, &mut self.drawn, |position, fired| {
            let rule = plan.rule(position);
            let is_certain = !is_uncertain(rule);
            active.count_connection(position, slot, fired && is_certain);
            if fired && is_certain {
                proxy.shared.engine.report_connection(active, position, slot, number);
            }
        });
        let deciding: Vec<Deciding> =
            acting.iter().filter_map(|position| self.deciding(rules, *position)).collect();
        let is_same = |a: &Deciding, b: &Deciding| a.name == b.name && a.opened == b.opened;
        for before in &self.deciding {
            if !deciding.iter().any(|now| is_same(now, before)) {
                self.is_closed |= matches!(before.ending, Ending::Hang(_, from, Some(_)) if from <= now);
            }
        }
        if let Some(relay) = relay {
            for stream in Stream::ALL {
                let pipe = relay.pipe(stream);
                let shape = plan.shape(&acting, &self.drawn, (slot, self.number, stream), pipe.shape());
                pipe.reshape(shape);
                let limit = deciding.iter().find_map(|now| match now.ending {
                    Ending::Truncate(streams, bytes) if streams.contain(stream) => Some((now, bytes)),
                    _ => None,
                });
                let continues =
                    limit.is_some_and(|(now, _)| self.deciding.iter().any(|before| is_same(now, before)));
                pipe.limit(limit.map(|(_, bytes)| bytes), continues);
            }
        }
        self.deciding = deciding;
    }

    fn deciding(&self, rules: &ProxyRules, position: usize) -> Option<Deciding> {
        let rule = rules.active.plan.rule(position);
        let drawn = self.drawn.iter().find(|drawn| drawn.name == *rule.name())?;
        let of = rule.on_connection();
        let at = drawn.since.saturating_add(of.after.unwrap_or_default());
        let ending = match rule.mode()? {
            Mode::Hang => {
                let close_at = of.close_after.map(|after| at.saturating_add(after));
                Ending::Hang(of.streams.unwrap_or_default(), at, close_at)
            }
            Mode::Wire(WireMode::Drop) => Ending::Hang(Streams::Both, at, None),
            Mode::Close => Ending::Close(at),
            Mode::Reset | Mode::Wire(WireMode::Refuse) => Ending::Reset(at),
            Mode::Truncate(partial) => Ending::Truncate(of.streams.unwrap_or_default(), partial.body),
            _ => return None,
        };
        Some(Deciding { name: rule.name().clone(), opened: drawn.opened, ending })
    }

    /// Whether the connection ends now: `Some(true)` with a reset, `Some(false)` with a close.
    pub(super) fn ends(&self, now: Duration) -> Option<bool> {
        match self.cut {
            Some((_, Cut::Refuse | Cut::Reset)) => return Some(true),
            Some((_, Cut::Drop)) => return None,
            None => {}
        }
        if self.is_closed {
            return Some(false);
        }
        self.deciding.iter().find_map(|deciding| match deciding.ending {
            Ending::Close(at) | Ending::Hang(_, _, Some(at)) if at <= now => Some(false),
            Ending::Reset(at) if at <= now => Some(true),
            _ => None,
        })
    }

    /// Whether a stream hangs now.
    pub(super) fn hangs(&self, stream: Stream, now: Duration) -> bool {
        let by_rule = self.deciding.iter().any(|deciding| {
            matches!(deciding.ending, Ending::Hang(streams, from, _) if streams.contain(stream) && from <= now)
        });
        by_rule || matches!(self.cut, Some((_, Cut::Drop)))
    }

    /// When a rule acts next, on the engine's clock.
    pub(super) fn next(&self, now: Duration) -> Option<Duration> {
        let times = |deciding: &Deciding| match deciding.ending {
            Ending::Close(at) | Ending::Reset(at) => [Some(at), None],
            Ending::Hang(_, from, close_at) => [Some(from), close_at],
            Ending::Truncate(..) => [None, None],
        };
        self.deciding.iter().flat_map(times).flatten().filter(|at| *at > now).min()
    }

    /// Counts injections that were uncertain before: of rules that have acted by `now`, and of the one that has `truncated` a
    /// stream.
    pub(super) fn confirm(
        &mut self,
        engine: &Engine,
        rules: &ProxyRules,
        now: Duration,
        truncated: Option<Stream>,
    ) {
        if self.cut.is_some() {
            return;
        }
        let plan = &rules.active.plan;
        for Deciding { name, ending, .. } in &self.deciding {
            let has_acted = match *ending {
                Ending::Hang(_, at, _) | Ending::Close(at) | Ending::Reset(at) => at <= now,
                Ending::Truncate(streams, _) => truncated.is_some_and(|stream| streams.contain(stream)),
            };
            let Some(position) = plan.rules().position(|rule| rule.name() == name) else { continue };
            let rule = plan.rule(position);
            let drawn = self.drawn.iter_mut().find(|drawn| drawn.name == *name && !drawn.is_counted);
            if let Some(drawn) = drawn.filter(|_| has_acted && is_uncertain(rule)) {
                drawn.is_counted = true;
                rules.active.confirm_connection(position, self.slot);
                engine.report_connection(&rules.active, position, self.slot, self.number);
            }
        }
    }
}

/// Whether a connection may end before the rule acts on it. The end that `slow-close` delays comes to every connection.
fn is_uncertain(rule: &Rule) -> bool {
    match rule.mode() {
        Some(Mode::Truncate(_)) => true,
        Some(Mode::Wire(WireMode::SlowClose)) => false,
        _ => rule.on_connection().after.is_some(),
    }
}
