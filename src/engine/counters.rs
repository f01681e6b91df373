//! Counters of rules.

use std::array;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::fault::{ListenerName, Proxies, ProxyName, Rule, RuleName, Slot, Target, TargetId};

/// What a rule's counters are about, but for proxies: each class of requests, the probe listener, and the process.
const FIXED: usize = Target::COUNT + 2;

/// The place of the probe listener among them.
const LISTENER: usize = Target::COUNT;

/// The place of the process among them.
const PROCESS: usize = Target::COUNT + 1;

/// Counts by fixed subject.
type Counts = Arc<[AtomicU64; FIXED]>;

/// The counters of all rules that had a name. They never go back, whatever becomes of the rule.
#[derive(Clone, Debug)]
pub struct RuleCounters {
    pub(super) name: RuleName,
    /// Whether the present rule names the subject.
    is_own: [bool; FIXED],
    /// Whether the present rule is a partition, and whose listener it cuts.
    cuts: Option<ListenerName>,
    eligible: Counts,
    /// By mode, the present one first.
    injected: Vec<(&'static str, Counts)>,
    /// Eligible and injected when the rule appeared: what people read begins there, while metrics go on.
    baseline: [(u64, u64); FIXED],
    /// Of each proxy that a rule of this name has named.
    proxies: Vec<ProxyCounters>,
    /// For how long windows in time were open until `since`, on the engine's clock.
    pub(super) open: Duration,
    pub(super) since: Duration,
}

/// A rule's counters for one proxy: its requests, or its connections where the rule is a partition.
#[derive(Clone, Debug)]
struct ProxyCounters {
    name: ProxyName,
    /// Where the present rule names the proxy: its slot.
    slot: Option<Slot>,
    eligible: Arc<AtomicU64>,
    /// In the order of [`RuleCounters::injected`]; modes from before the proxy was named are not there.
    injected: Vec<(&'static str, Arc<AtomicU64>)>,
    baseline: (u64, u64),
}

/// One line of a rule's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally<'a> {
    /// The name of the target that was asked for: a class of requests, a proxy, `listener` or `process`.
    pub subject: &'a str,
    /// Requests, connections, windows or signals for which the rule was in its window and not passed over.
    pub eligible: u64,
    /// Those it acted on, in its present mode.
    pub injected: u64,
}

impl RuleCounters {
    pub(super) fn new(rule: &Rule, proxies: &Proxies, now: Duration) -> Self {
        let mut counters = Self {
            name: rule.name().clone(),
            is_own: [false; FIXED],
            cuts: None,
            eligible: Counts::default(),
            injected: vec![(rule.effect(), Counts::default())],
            baseline: Default::default(),
            proxies: Vec::new(),
            open: Duration::ZERO,
            since: now,
        };
        counters.follow(rule, proxies);
        counters
    }

    /// Goes on for a rule of the same name; with `anew`, one that is not the rule that was counted before.
    pub(super) fn continued(mut self, rule: &Rule, proxies: &Proxies, anew: bool, now: Duration) -> Self {
        let mode = rule.effect();
        match self.injected.iter().position(|(known, _)| *known == mode) {
            Some(position) => self.injected.swap(0, position),
            None => self.injected.insert(0, (mode, Counts::default())),
        }
        self.follow(rule, proxies);
        if anew {
            self.baseline =
                array::from_fn(|subject| (load(&self.eligible[subject]), load(&self.injected[0].1[subject])));
            for proxy in &mut self.proxies {
                proxy.baseline = (load(&proxy.eligible), proxy.injected.first().map_or(0, |(_, n)| load(n)));
            }
        }
        Self { since: now, ..self }
    }

    /// Takes over what the present rule names.
    fn follow(&mut self, rule: &Rule, proxies: &Proxies) {
        let listener = rule.listener();
        self.is_own = array::from_fn(|subject| match Target::ALL.get(subject) {
            Some(target) => rule.targets().contains(*target),
            None if subject == LISTENER => listener == Some(&ListenerName::Probe),
            None => rule.process().is_some(),
        });
        self.cuts = listener.cloned();
        for proxy in &mut self.proxies {
            proxy.slot = None;
        }
        for name in rule.proxies() {
            let at = self.proxies.iter().position(|proxy| proxy.name == *name).unwrap_or_else(|| {
                self.proxies.push(ProxyCounters::new(name));
                self.proxies.len() - 1
            });
            self.proxies[at].follow(rule.effect(), proxies.slot(name));
        }
    }

    /// The counters as they stay when the rule goes; its windows were open for so long.
    pub(super) fn closed(&self, open: Duration) -> Self {
        Self { open, ..self.clone() }
    }

    /// The rules' name.
    pub fn name(&self) -> &RuleName {
        &self.name
    }

    /// By subject: a line for each target, readiness included where it was asked for its dependency.
    pub fn eligible(&self) -> impl Iterator<Item = (&str, u64)> {
        let proxies = self.proxies.iter().map(|proxy| (proxy.name.as_str(), load(&proxy.eligible)));
        self.lines(&self.eligible).chain(proxies)
    }

    /// By mode and subject.
    pub fn injected(&self) -> impl Iterator<Item = (&'static str, &str, u64)> {
        let fixed = self
            .injected
            .iter()
            .flat_map(|(mode, counts)| self.lines(counts).map(|(subject, count)| (*mode, subject, count)));
        let proxies = self.proxies.iter().flat_map(|proxy| {
            let line =
                |(mode, count): &(&'static str, Arc<AtomicU64>)| (*mode, proxy.name.as_str(), load(count));
            proxy.injected.iter().map(line)
        });
        fixed.chain(proxies)
    }

    /// For how long windows in time had been open when the rule went.
    pub fn open(&self) -> Duration {
        self.open
    }

    fn lines<'a>(&'a self, counts: &'a Counts) -> impl Iterator<Item = (&'a str, u64)> {
        (0..FIXED)
            .filter(|subject| self.is_own[*subject] || load(&self.eligible[*subject]) > 0)
            .map(|subject| (subject_name(subject), load(&counts[subject])))
    }

    /// Since the rule appeared or last changed.
    pub(super) fn tallies(&self) -> impl Iterator<Item = Tally<'_>> {
        self.tallies_since(self.baseline, |proxy| proxy.baseline)
    }

    /// Of all rules that had the name.
    pub(super) fn totals(&self) -> impl Iterator<Item = Tally<'_>> {
        self.tallies_since(Default::default(), |_| (0, 0))
    }

    fn tallies_since(
        &self,
        fixed: [(u64, u64); FIXED],
        proxy: impl Fn(&ProxyCounters) -> (u64, u64),
    ) -> impl Iterator<Item = Tally<'_>> {
        // A request that the plan before decided may be counted a moment later.
        let tally = |subject, (eligible, injected): (u64, u64), (eligible_before, injected_before)| Tally {
            subject,
            eligible: eligible.saturating_sub(eligible_before),
            injected: injected.saturating_sub(injected_before),
        };
        let fixed = (0..FIXED).filter_map(move |subject| {
            let now = (load(&self.eligible[subject]), load(&self.injected[0].1[subject]));
            let tally = tally(subject_name(subject), now, fixed[subject]);
            (self.is_own[subject] || tally.eligible > 0).then_some(tally)
        });
        let proxies = self.proxies.iter().filter(|proxy| proxy.slot.is_some()).map(move |of| {
            let injected = of.injected.first().map_or(0, |(_, count)| load(count));
            tally(of.name.as_str(), (load(&of.eligible), injected), proxy(of))
        });
        fixed.chain(proxies)
    }

    /// Counts a request for which the rule was eligible.
    #[inline]
    pub(super) fn count(&self, target: TargetId, fired: bool) {
        match target {
            TargetId::Class(class) => self.count_fixed(class.index(), fired),
            TargetId::Proxy(slot) => {
                self.proxies.iter().filter(|proxy| proxy.slot == Some(slot)).for_each(|of| of.count(fired));
            }
        }
    }

    /// Counts an injection whose request was counted as eligible before.
    pub(super) fn confirm(&self, target: TargetId) {
        match target {
            TargetId::Class(class) => {
                self.injected[0].1[class.index()].fetch_add(1, Ordering::Relaxed);
            }
            TargetId::Proxy(slot) => {
                let own = self.proxies.iter().filter(|proxy| proxy.slot == Some(slot));
                for (_, injected) in own.filter_map(|of| of.injected.first()) {
                    injected.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Counts a connection that the partition acted on.
    pub(super) fn count_cut(&self) {
        match &self.cuts {
            Some(ListenerName::Probe) => self.count_fixed(LISTENER, true),
            Some(ListenerName::Proxy(name)) => {
                self.proxies.iter().filter(|proxy| proxy.name == *name).for_each(|of| of.count(true));
            }
            None => {}
        }
    }

    /// Counts a window or a signal for which the rule for the process was eligible.
    pub(super) fn count_process(&self, fired: bool) {
        self.count_fixed(PROCESS, fired);
    }

    fn count_fixed(&self, subject: usize, fired: bool) {
        self.eligible[subject].fetch_add(1, Ordering::Relaxed);
        if fired {
            self.injected[0].1[subject].fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl ProxyCounters {
    fn new(name: &ProxyName) -> Self {
        Self {
            name: name.clone(),
            slot: None,
            eligible: Arc::default(),
            injected: Vec::new(),
            baseline: (0, 0),
        }
    }

    fn follow(&mut self, mode: &'static str, slot: Option<Slot>) {
        self.slot = slot;
        match self.injected.iter().position(|(known, _)| *known == mode) {
            Some(position) => self.injected.swap(0, position),
            None => self.injected.insert(0, (mode, Arc::default())),
        }
    }

    fn count(&self, fired: bool) {
        self.eligible.fetch_add(1, Ordering::Relaxed);
        if let Some((_, injected)) = self.injected.first().filter(|_| fired) {
            injected.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn subject_name(subject: usize) -> &'static str {
    match Target::ALL.get(subject) {
        Some(target) => target.name(),
        None if subject == LISTENER => "listener",
        None => "process",
    }
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
