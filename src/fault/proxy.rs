//! Names and slots of proxies, which are targets of rules.

use std::fmt;
use std::sync::Arc;

use super::error::RuleError;
use super::limits::MAX_PROXIES;
use super::name::is_label;

/// Names that proxies must not have.
pub const RESERVED_NAMES: [&str; 9] = [
    "liveness",
    "readiness",
    "startup",
    "dependency",
    "traffic",
    "listener",
    "process",
    "upstream",
    "request",
];

/// The name of a proxy: a DNS label that is not one of [`RESERVED_NAMES`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProxyName(Arc<str>);

impl ProxyName {
    /// A name of 1 to 63 lower-case letters, digits and inner hyphens.
    ///
    /// # Errors
    ///
    /// It is not a DNS label, or it is reserved.
    pub fn new(name: &str) -> Result<Self, RuleError> {
        if !is_label(name) {
            return Err(RuleError::Name(super::name::truncated(name)));
        }
        if RESERVED_NAMES.contains(&name) {
            return Err(RuleError::ReservedName(name.to_owned()));
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProxyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The protocol of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP requests and answers.
    Http,
    /// TCP connections and their bytes.
    Tcp,
}

impl Protocol {
    /// The name in plans.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
        }
    }
}

/// The index of a proxy in the tables of a process, below [`MAX_PROXIES`]. It is stable while the proxy is known, but
/// may differ between processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u8);

impl Slot {
    /// All slots in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..MAX_PROXIES as u8).map(Self)
    }

    /// The index in tables by slot.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_dns_label_that_is_not_reserved() {
        assert_eq!(ProxyName::new("db-1").unwrap().as_str(), "db-1");
        for bad in ["", "DB", "a_b", "-a"] {
            assert!(ProxyName::new(bad).unwrap_err().to_string().contains("is not a DNS label"), "{bad}");
        }
        for reserved in RESERVED_NAMES {
            assert!(ProxyName::new(reserved).unwrap_err().to_string().contains("reserved"), "{reserved}");
        }
    }
}
