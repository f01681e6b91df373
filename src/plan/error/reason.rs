//! Reasons of errors.

use thiserror::Error;

use super::{nearest, shown};
use crate::fault::{
    DelayError, MAX_RULES, MatchError, ProxyName, RuleError, RuleName, TriggerError, UpstreamError,
};
use crate::plan::document::DocumentError;
use crate::units::UnitError;

/// Up to this many fields are listed in the error about an unknown one.
const FEW_FIELDS: usize = 12;

/// Why a value is invalid. The message says what would be valid.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Reason {
    /// Not a quantity.
    #[error(transparent)]
    Unit(#[from] UnitError),
    /// Incompatible conditions.
    #[error("{0}")]
    Trigger(#[from] TriggerError),
    /// An invalid delay.
    #[error("{0}")]
    Delay(#[from] DelayError),
    /// An invalid match.
    #[error("{0}")]
    Match(#[from] MatchError),
    /// Inconsistent parts of a rule.
    #[error("{0}")]
    Rule(#[from] RuleError),
    /// Not YAML or JSON.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// Bytes that are not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
    /// A value of another type.
    #[error("is not {0}")]
    Expected(&'static str),
    /// Not a mapping; with the allowed fields.
    #[error("is not a mapping with {}", .0.join(", "))]
    ExpectedMapping(Vec<&'static str>),
    /// Not a whole number, or one outside its range.
    #[error("is not a whole number from {low} to {}", shown_bound(*.high))]
    Whole {
        /// The least.
        low: u64,
        /// The most.
        high: u64,
    },
    /// A size outside its range, in bytes.
    #[error("is not a size {0}")]
    SizeRange(&'static str),
    /// Neither a size nor a percentage.
    #[error("is not a size such as 200MiB, or a share of the container's memory limit such as 80%")]
    SizeOrPercent,
    /// Not one of the allowed words.
    #[error("is not one of {}{}", .of.join(", "), meant(*.nearest))]
    Choice {
        /// The words.
        of: Vec<&'static str>,
        /// The most similar word.
        nearest: Option<&'static str>,
    },
    /// A mode that the target does not have.
    #[error("is not a mode of {target}, which has {}", .modes.join(", "))]
    ModeOfTarget {
        /// The target.
        target: &'static str,
        /// Its modes.
        modes: Vec<&'static str>,
    },
    /// A partition of more than one proxy.
    #[error("a partition acts on one proxy; write a rule for each")]
    PartitionOfProxies,
    /// The listener together with other targets.
    #[error(
        "listener cannot be combined with other targets: a cut affects all of them; write a rule for each"
    )]
    ListenerWithOthers,
    /// The process together with other targets.
    #[error("process cannot be combined with other targets: it has its own modes; write a rule for each")]
    ProcessWithOthers,
    /// A field that does not exist.
    #[error("unknown field \"{}\"{}", shown(.field), meant_or_taken(*.nearest, .known))]
    UnknownField {
        /// The field.
        field: String,
        /// The most similar field.
        nearest: Option<&'static str>,
        /// The fields that are allowed, if they are few and none is similar.
        known: Vec<&'static str>,
    },
    /// A missing field.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A missing variable or field that this one requires.
    #[error("needs {0}")]
    Needs(String),
    /// A variable or field that cannot be combined with this one.
    #[error("does not go with {0}")]
    NotWith(String),
    /// A length that is not below a period.
    #[error("must be shorter than {name} ({value})")]
    NotBelow {
        /// The variable of the period.
        name: String,
        /// The period.
        value: String,
    },
    /// A synonym of a variable that is also set.
    #[error("is another name for {0}, which is also set; keep one")]
    SameAs(String),
    /// Two rules with the same name.
    #[error("the name {name} is already used by {by}; each rule needs its own name")]
    NameTaken {
        /// The name.
        name: RuleName,
        /// Where the first one is.
        by: String,
    },
    /// A reserved name.
    #[error("is reserved for requested faults; use another name")]
    ReservedName,
    /// A name that differs from the one in the path of the request.
    #[error("is not {0}, the name in the path; omit it")]
    OtherName(RuleName),
    /// A name that differs from the one in the path of the request.
    #[error("is not {0}, the name in the path; omit it")]
    OtherProxyName(ProxyName),
    /// More rules than allowed.
    #[error("{0} rules are more than the {MAX_RULES} allowed")]
    TooManyRules(usize),
    /// More entries than allowed.
    #[error("{count} entries are more than the {most} allowed")]
    TooManyItems {
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// A field that only files and annotations may have.
    #[error(
        "is allowed only in a file or an annotation; to stop a running service, use POST /v1/stop or fault stop"
    )]
    StopNotHere,
    /// An unusable file: why, and what to do.
    #[error("{0}")]
    File(String),
    /// Neither rules nor a seed.
    #[error("is an empty plan: it has neither `faults` nor a `seed`")]
    EmptyPlan,
    /// Not a boolean as Go's `ParseBool` reads it.
    #[error("is not one of 1, t, T, true, True, TRUE, 0, f, F, false, False, FALSE")]
    Bool,
    /// Not a path.
    #[error(
        "is not a path such as /x, or /x/* for all below it: it begins with /, of printable ASCII without ?, #, {{ and }}"
    )]
    Path,
    /// Not a list of hosts.
    #[error("is not a list of host names and addresses such as web, *.shop.svc, 10.0.0.1")]
    HostNames,
    /// A name that no certificate could have.
    #[error("is not the name or the address of a host that a certificate could be for")]
    ServerName,
    /// A reserved path.
    #[error("is reserved: / and /metrics are never faulted")]
    ReservedPath,
    /// A path of another target.
    #[error("already belongs to {0}")]
    PathTaken(&'static str),
    /// Not an IP address.
    #[error("is not an IP address such as 127.0.0.1 or ::1")]
    Ip,
    /// Not an address with a port.
    #[error("is not an address with a port, such as 0.0.0.0:8081, [::1]:8081 or :8081")]
    SocketAddress,
    /// The port of another listener.
    #[error("is also the port of {0}; each listener needs its own")]
    PortTaken(String),
    /// Not the address of an upstream.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// An upstream that is a listener of this program, which would forward to itself.
    #[error("is {0} of this program, which would forward to itself; give the port of the application")]
    OwnListener(&'static str),
    /// Neither a word for a source address nor an address.
    #[error("is not reached, system, or an IP address of this host")]
    SourceAddress,
    /// Not a proxy, as `PROXIES` has it.
    #[error("is not a proxy such as stock=:18090->http://stock:8080 or db=:15432->postgres:5432")]
    ProxyForm,
    /// An error of one proxy in a list.
    #[error("{0}")]
    Proxy(String),
    /// A proxy of another protocol on the same port.
    #[error("has another protocol than the proxy on this port; remove that proxy first, or use another port")]
    ProtocolChange,
    /// Not an address for toxiproxy's API.
    #[error("is not an address to listen on, such as 8474 (loopback alone) or 0.0.0.0:8474")]
    ToxiproxyAddress,
    /// A variable of toxiproxy's API without the API.
    #[error("has no effect without TOXIPROXY_ADDRESS")]
    NoToxiproxy,
    /// Not an address to listen on.
    #[error("is not an address to listen on, such as :18090 (only loopback) or 0.0.0.0:18090")]
    ListenAddress,
    /// Two proxies with the same name.
    #[error("the name {0} is already used by another proxy; each proxy needs its own name")]
    ProxyTaken(ProxyName),
    /// An unknown target.
    #[error("is not one of {}{}", .known.join(", "), meant(.nearest.as_deref()))]
    UnknownTarget {
        /// The known targets.
        known: Vec<String>,
        /// The most similar target.
        nearest: Option<String>,
    },
    /// A proxy that is the target of rules.
    #[error("proxy {name} is the target of {rules}; remove the rules first")]
    ProxyInUse {
        /// Its name.
        name: ProxyName,
        /// The rules.
        rules: String,
    },
    /// Not a network.
    #[error("is not a network such as 10.0.0.0/8 or an address, optionally preceded by ! to exclude it")]
    Network,
    /// A warning that `STRICT=true` makes an error.
    #[error("{0} (an error, since STRICT=true)")]
    Strict(String),
}

impl Reason {
    /// A field that is not one of `known`.
    pub(crate) fn unknown_field(field: &str, known: &[&'static str]) -> Self {
        let nearest = nearest(field, known);
        let shown = if nearest.is_none() && known.len() <= FEW_FIELDS { known.to_vec() } else { Vec::new() };
        Self::UnknownField { field: field.to_owned(), nearest, known: shown }
    }
}

fn meant_or_taken(nearest: Option<&str>, known: &[&str]) -> String {
    if known.is_empty() { meant(nearest) } else { format!("; the fields are {}", known.join(", ")) }
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!("; did you mean \"{nearest}\"?"))
}

fn shown_bound(number: u64) -> String {
    if number == u64::MAX { "2^64-1".to_owned() } else { number.to_string() }
}
