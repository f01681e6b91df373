//! Counters of rules.

use std::array;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::fault::{ListenerName, Proxies, ProxyName, Rule, RuleName, Slot, Target, TargetId};

/// Number of fixed subjects: each request class, the probe listener and the process. Proxies are counted separately.
const FIXED_SUBJECTS: usize = Target::COUNT + 2;

/// Index of the probe listener in [`CountsBySubject`].
const LISTENER: usize = Target::COUNT;

/// Index of the process in [`CountsBySubject`].
const PROCESS: usize = Target::COUNT + 1;

/// Counts by fixed subject.
type CountsBySubject = Arc<[AtomicU64; FIXED_SUBJECTS]>;

/// The counters of all rules that ever had a name. They never decrease.
#[derive(Clone, Debug)]
pub struct RuleCounters {
    pub(super) name: RuleName,
    /// Whether the current rule acts on the subject.
    is_own: [bool; FIXED_SUBJECTS],
    /// Whether the current rule is a partition, and of which listener.
    cuts: Option<ListenerName>,
    eligible: CountsBySubject,
    /// By mode, the current one first.
    injected: Vec<(&'static str, CountsBySubject)>,
    /// Eligible and injected when the rule appeared. The API counts from there; metrics continue.
    baseline: [(u64, u64); FIXED_SUBJECTS],
    /// One entry for each proxy that a rule of this name has acted on.
    proxies: Vec<ProxyCounters>,
    /// How long time windows were open until `since`, on the engine's clock.
    pub(super) open: Duration,
    pub(super) since: Duration,
}

/// A rule's counters for one proxy, of requests or, if the rule is a partition, of connections.
#[derive(Clone, Debug)]
struct ProxyCounters {
    name: ProxyName,
    /// The slot of the proxy, if the current rule acts on it.
    slot: Option<Slot>,
    eligible: Arc<AtomicU64>,
    /// In the order of [`RuleCounters::injected`], without modes older than this entry.
    injected: Vec<(&'static str, Arc<AtomicU64>)>,
    baseline: (u64, u64),
}

/// The counts of a rule for one subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally<'a> {
    /// A request class, the name of a proxy, `listener` or `process`.
    pub subject: &'a str,
    /// Requests, connections, windows or signals that the rule could have acted on: in its window, and not preceded
    /// by another rule.
    pub eligible: u64,
    /// Those that it acted on, in its current mode.
    pub injected: u64,
}

impl RuleCounters {
    pub(super) fn new(rule: &Rule, proxies: &Proxies, now: Duration) -> Self {
        let mut counters = Self {
            name: rule.name().clone(),
            is_own: [false; FIXED_SUBJECTS],
            cuts: None,
            eligible: CountsBySubject::default(),
            injected: vec![(rule.effect(), CountsBySubject::default())],
            baseline: Default::default(),
            proxies: Vec::new(),
            open: Duration::ZERO,
            since: now,
        };
        counters.follow(rule, proxies);
        counters
    }

    /// Continues with a rule of the same name; `anew` if the rule has changed.
    pub(super) fn continued(mut self, rule: &Rule, proxies: &Proxies, anew: bool, now: Duration) -> Self {
        let mode = rule.effect();
        match self.injected.iter().position(|(known, _)| *known == mode) {
            Some(position) => self.injected.swap(0, position),
            None => self.injected.insert(0, (mode, CountsBySubject::default())),
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

    /// Takes over the targets of the current rule.
    fn follow(&mut self, rule: &Rule, proxies: &Proxies) {
        let listener = rule.listener();
        self.is_own = array::from_fn(|subject| match Target::ALL.get(subject) {
            Some(target) => rule.targets().contains(*target),
            None if subject == LISTENER => {
                listener == Some(&ListenerName::Probe) || rule.handshake().is_some()
            }
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

    /// The counters to keep when the rule is removed; its windows were open for `open`.
    pub(super) fn closed(&self, open: Duration) -> Self {
        Self { open, ..self.clone() }
    }

    /// The name of the rules.
    pub fn name(&self) -> &RuleName {
        &self.name
    }

    /// Eligible by subject: a line for each target, including readiness as a dependency.
    pub fn eligible(&self) -> impl Iterator<Item = (&str, u64)> {
        let proxies = self.proxies.iter().map(|proxy| (proxy.name.as_str(), load(&proxy.eligible)));
        self.lines(&self.eligible).chain(proxies)
    }

    /// Injected by mode and subject.
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

    /// How long time windows had been open when the rule was removed.
    pub fn open(&self) -> Duration {
        self.open
    }

    fn lines<'a>(&'a self, counts: &'a CountsBySubject) -> impl Iterator<Item = (&'a str, u64)> {
        (0..FIXED_SUBJECTS)
            .filter(|subject| self.is_own[*subject] || load(&self.eligible[*subject]) > 0)
            .map(|subject| (subject_name(subject), load(&counts[subject])))
    }

    /// Counts since the rule appeared or last changed.
    pub(super) fn tallies(&self) -> impl Iterator<Item = Tally<'_>> {
        self.tallies_since(self.baseline, |proxy| proxy.baseline)
    }

    /// Counts of all rules of this name.
    pub(super) fn totals(&self) -> impl Iterator<Item = Tally<'_>> {
        self.tallies_since(Default::default(), |_| (0, 0))
    }

    fn tallies_since(
        &self,
        fixed: [(u64, u64); FIXED_SUBJECTS],
        proxy: impl Fn(&ProxyCounters) -> (u64, u64),
    ) -> impl Iterator<Item = Tally<'_>> {
        // A request decided by the previous plan may be counted a moment later.
        let tally = |subject, (eligible, injected): (u64, u64), (eligible_before, injected_before)| Tally {
            subject,
            eligible: eligible.saturating_sub(eligible_before),
            injected: injected.saturating_sub(injected_before),
        };
        let fixed = (0..FIXED_SUBJECTS).filter_map(move |subject| {
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

    /// Counts an injection whose request is already counted as eligible.
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

    /// Counts a connection that the partition affected.
    pub(super) fn count_cut(&self) {
        match &self.cuts {
            Some(ListenerName::Probe) => self.count_fixed(LISTENER, true),
            Some(ListenerName::Proxy(name)) => {
                self.proxies.iter().filter(|proxy| proxy.name == *name).for_each(|of| of.count(true));
            }
            None => {}
        }
    }

    /// Counts a handshake for which the rule was eligible.
    pub(super) fn count_handshake(&self, fired: bool) {
        self.count_fixed(LISTENER, fired);
    }

    /// Counts a window or a signal for which a process rule was eligible.
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
