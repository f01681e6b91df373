//! Targets and clients of rules.

use std::fmt;

use super::limits::MAX_PROXIES;
use super::proxy::{ProxyName, Slot};

/// A class of requests to the probe listener. Proxies are targets as well: [`TargetId`] is either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// `/healthz` and its aliases.
    Liveness,
    /// `/readyz` and its aliases.
    Readiness,
    /// `/startupz` and its aliases.
    Startup,
    /// `/dependency` and its aliases; readiness also checks it.
    Dependency,
    /// Any other request.
    Traffic,
}

impl Target {
    /// Number of classes.
    pub const COUNT: usize = 5;
    /// All classes, in the order of their [`index`](Self::index).
    pub const ALL: [Self; Self::COUNT] =
        [Self::Liveness, Self::Readiness, Self::Startup, Self::Dependency, Self::Traffic];

    /// The name in plans, variables and metric labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
            Self::Startup => "startup",
            Self::Dependency => "dependency",
            Self::Traffic => "traffic",
        }
    }

    /// Index in tables by target, below [`COUNT`](Self::COUNT).
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The class of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.name() == name)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The target of a request: a class of the probe listener, or a proxy by slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TargetId {
    /// A class of requests.
    Class(Target),
    /// A proxy.
    Proxy(Slot),
}

impl TargetId {
    /// Index in tables by target: classes first, then proxies by slot.
    #[inline]
    pub const fn index(self) -> usize {
        match self {
            Self::Class(class) => class.index(),
            Self::Proxy(slot) => Target::COUNT + slot.index(),
        }
    }
}

impl From<Target> for TargetId {
    fn from(class: Target) -> Self {
        Self::Class(class)
    }
}

/// The targets that a rule names: request classes and proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Targets {
    classes: u8,
    /// Sorted, without duplicates.
    proxies: Vec<ProxyName>,
}

impl Targets {
    /// No target.
    pub const NONE: Self = Self { classes: 0, proxies: Vec::new() };

    /// Whether the set contains a request class.
    pub const fn contains(&self, target: Target) -> bool {
        self.classes & (1 << target.index()) != 0
    }

    /// Adds a request class.
    #[must_use]
    pub fn with(mut self, target: Target) -> Self {
        self.classes |= 1 << target.index();
        self
    }

    /// Adds a proxy.
    #[must_use]
    pub fn with_proxy(mut self, name: ProxyName) -> Self {
        if let Err(place) = self.proxies.binary_search(&name) {
            self.proxies.insert(place, name);
        }
        self
    }

    /// Whether the set is empty.
    pub(crate) const fn is_empty(&self) -> bool {
        self.classes == 0 && self.proxies.is_empty()
    }

    /// The classes of requests in the set, in the order of [`Target::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = Target> {
        let classes = self.classes;
        Target::ALL.into_iter().filter(move |target| classes & (1 << target.index()) != 0)
    }

    /// The proxies in the set, sorted by name.
    pub fn proxies(&self) -> &[ProxyName] {
        &self.proxies
    }

    /// The names of all targets in the set: classes, then proxies.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let classes = self.iter().map(|class| -> &str { class.name() });
        classes.chain(self.proxies.iter().map(ProxyName::as_str))
    }
}

impl FromIterator<Target> for Targets {
    fn from_iter<I: IntoIterator<Item = Target>>(targets: I) -> Self {
        targets.into_iter().fold(Self::NONE, Self::with)
    }
}

/// A set of target indexes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TargetSet(u64);

const _: () = assert!(Target::COUNT + MAX_PROXIES <= u64::BITS as usize);

impl TargetSet {
    pub(super) const fn with(self, target: TargetId) -> Self {
        Self(self.0 | 1 << target.index())
    }

    pub(super) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[inline]
    pub(super) const fn contains(self, target: TargetId) -> bool {
        self.0 & (1 << target.index()) != 0
    }

    pub(super) fn iter(self) -> impl Iterator<Item = TargetId> {
        let proxies = Slot::all().map(TargetId::Proxy);
        let all = Target::ALL.into_iter().map(TargetId::Class).chain(proxies);
        all.filter(move |target| self.contains(*target))
    }
}

/// The class of a client. Requests of each class are counted separately, so that a person with curl does not affect
/// the kubelet's sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// A kubelet: its `User-Agent` begins with `kube-probe/`.
    Kubelet,
    /// Any other client.
    Other,
}

impl Client {
    /// Number of classes.
    pub const COUNT: usize = 2;
    /// All classes, in the order of their [`index`](Self::index).
    pub const ALL: [Self; Self::COUNT] = [Self::Kubelet, Self::Other];

    /// Classifies a request by its `User-Agent`.
    pub fn from_user_agent(agent: &[u8]) -> Self {
        if agent.starts_with(b"kube-probe/") { Self::Kubelet } else { Self::Other }
    }

    /// The name in plans and metric labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kubelet => "kubelet",
            Self::Other => "other",
        }
    }

    /// Index in tables by class, below [`COUNT`](Self::COUNT).
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// The clients that a rule acts on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClientFilter {
    /// Not specified: all clients, except the kubelet on upstream traffic and proxies.
    #[default]
    Unset,
    /// All clients.
    Any,
    /// One class.
    Only(Client),
}

impl ClientFilter {
    /// Whether the rule acts on `client`.
    pub fn admits(self, client: Client) -> bool {
        match self {
            Self::Unset | Self::Any => true,
            Self::Only(only) => only == client,
        }
    }

    /// Whether it admits all clients.
    pub const fn is_any(self) -> bool {
        matches!(self, Self::Unset | Self::Any)
    }

    /// The name in plans.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unset | Self::Any => "any",
            Self::Only(client) => client.name(),
        }
    }

    /// The filter of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Any, Self::Only(Client::Kubelet), Self::Only(Client::Other)]
            .into_iter()
            .find(|filter| filter.name() == name)
    }
}
