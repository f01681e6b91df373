//! Whom a rule acts on.

use std::fmt;

/// A kind of request that faults act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// `/healthz` and its aliases.
    Liveness,
    /// `/readyz` and its aliases.
    Readiness,
    /// `/startupz` and its aliases.
    Startup,
    /// `/dependency` and its aliases; readiness checks it too.
    Dependency,
    /// What a stand-in answers its callers.
    Traffic,
}

impl Target {
    /// How many targets there are.
    pub const COUNT: usize = 5;
    /// All targets, in the order of their [`index`](Self::index).
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

    /// Position in tables by target, below [`COUNT`](Self::COUNT).
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The target of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.name() == name)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Targets(u8);

impl Targets {
    /// No target.
    pub const NONE: Self = Self(0);

    /// Whether `target` is in the set.
    pub const fn contains(self, target: Target) -> bool {
        self.0 & (1 << target.index()) != 0
    }

    /// The set with `target` in it.
    #[must_use]
    pub const fn with(self, target: Target) -> Self {
        Self(self.0 | 1 << target.index())
    }

    /// Whether nothing is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The targets of the set, in the order of [`Target::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Target> {
        Target::ALL.into_iter().filter(move |target| self.contains(*target))
    }
}

impl FromIterator<Target> for Targets {
    fn from_iter<I: IntoIterator<Item = Target>>(targets: I) -> Self {
        targets.into_iter().fold(Self::NONE, Self::with)
    }
}

/// Who asks. Requests of each class are counted apart, so that a person with curl does not disturb the
/// kubelet's sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// A kubelet: its `User-Agent` begins with `kube-probe/`.
    Kubelet,
    /// Anybody else.
    Other,
}

impl Client {
    /// How many classes there are.
    pub const COUNT: usize = 2;
    /// All classes, in the order of their [`index`](Self::index).
    pub const ALL: [Self; Self::COUNT] = [Self::Kubelet, Self::Other];

    /// The class of a request by its `User-Agent`.
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

    /// Position in tables by class, below [`COUNT`](Self::COUNT).
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Which clients a rule acts on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClientFilter {
    /// Everybody.
    #[default]
    Any,
    /// One class alone.
    Only(Client),
}

impl ClientFilter {
    /// Whether the filter lets `client` through to the rule.
    pub fn admits(self, client: Client) -> bool {
        match self {
            Self::Any => true,
            Self::Only(only) => only == client,
        }
    }

    /// The name in plans.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
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
