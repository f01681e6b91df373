//! What is wrong with a value.

use std::fmt;

use super::shown;
use crate::fault::{DelayError, MAX_RULES, RuleError, RuleName, TriggerError};
use crate::plan::document::DocumentError;
use crate::units::UnitError;

/// What is wrong with a value. The text says what would be right.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// Not a quantity.
    Unit(UnitError),
    /// A condition that cannot be.
    Trigger(TriggerError),
    /// A delay that cannot be.
    Delay(DelayError),
    /// Parts of a rule that do not go together.
    Rule(RuleError),
    /// Not YAML or JSON.
    Document(DocumentError),
    /// Bytes that are not UTF-8.
    NotUtf8,
    /// A value of another type.
    Expected(&'static str),
    /// No mapping where one should be; with its fields.
    ExpectedMapping(Vec<&'static str>),
    /// A whole number outside its range.
    Whole {
        /// The least.
        low: u64,
        /// The most.
        high: u64,
    },
    /// A size outside its range, in bytes.
    SizeRange(&'static str),
    /// None of the words that stand for something here.
    Choice {
        /// The words.
        of: Vec<&'static str>,
        /// The one that is meant, perhaps.
        nearest: Option<&'static str>,
    },
    /// A mode that the target does not have.
    ModeOfTarget {
        /// The target.
        target: &'static str,
        /// Its modes.
        modes: Vec<&'static str>,
    },
    /// A target that cannot stand beside others.
    ListenerWithOthers,
    /// A field that does not exist.
    UnknownField {
        /// The field.
        field: String,
        /// The one that is meant, perhaps.
        nearest: Option<&'static str>,
    },
    /// A field that must be there.
    Missing(&'static str),
    /// A variable without which this one has no meaning.
    Needs(String),
    /// Something this field or variable does not go with.
    NotWith(String),
    /// A length that is not below a period.
    NotBelow {
        /// The variable of the period.
        name: String,
        /// The period.
        value: String,
    },
    /// A name for the same thing that is given, too.
    SameAs(String),
    /// Two rules of one name.
    NameTaken {
        /// The name.
        name: RuleName,
        /// Where the first has it.
        by: String,
    },
    /// A name that differs from that of the request.
    OtherName(RuleName),
    /// More rules than allowed.
    TooManyRules(usize),
    /// More entries than allowed.
    TooManyItems {
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// A field that only files and annotations may have.
    StopNotHere,
    /// A file that cannot be used: why, and what to do.
    File(String),
    /// Neither rules nor a seed.
    EmptyPlan,
    /// No boolean as the original reads them.
    Bool,
    /// A path that cannot be.
    Path,
    /// A path that no target may have.
    ReservedPath,
    /// A path of another target.
    PathTaken(&'static str),
    /// Not an IP address.
    Ip,
    /// Not an address with a port.
    SocketAddress,
    /// A port that two listeners want.
    PortTaken(String),
    /// Not a network.
    Network,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit(error) => error.fmt(f),
            Self::Trigger(error) => error.fmt(f),
            Self::Delay(error) => error.fmt(f),
            Self::Rule(error) => error.fmt(f),
            Self::Document(error) => error.fmt(f),
            Self::NotUtf8 => f.write_str("is not UTF-8"),
            Self::Expected(what) => write!(f, "is not {what}"),
            Self::ExpectedMapping(fields) => write!(f, "is not a mapping with {}", fields.join(", ")),
            Self::Whole { low, high: u64::MAX } => write!(f, "is not a whole number from {low} to 2^64-1"),
            Self::Whole { low, high } => write!(f, "is not a whole number from {low} to {high}"),
            Self::SizeRange(range) => write!(f, "is not a size {range}"),
            Self::Choice { of, nearest } => {
                write!(f, "is not one of {}", of.join(", "))?;
                meant(f, *nearest)
            }
            Self::ModeOfTarget { target, modes } => {
                write!(f, "is not a mode of {target}, which has {}", modes.join(", "))
            }
            Self::ListenerWithOthers => f.write_str(
                "listener cannot stand beside other targets: a cut takes them all; write a rule for each",
            ),
            Self::UnknownField { field, nearest } => {
                write!(f, "unknown field \"{}\"", shown(field))?;
                meant(f, *nearest)
            }
            Self::Missing(what) => write!(f, "`{what}` is missing"),
            Self::Needs(what) => write!(f, "needs {what}"),
            Self::NotWith(what) => write!(f, "does not go with {what}"),
            Self::NotBelow { name, value } => write!(f, "must be shorter than {name} ({value})"),
            Self::SameAs(name) => write!(f, "is another name for {name}, which is set, too; keep one"),
            Self::NameTaken { name, by } => {
                write!(f, "the name {name} is taken by {by}; each rule needs a name of its own")
            }
            Self::OtherName(name) => write!(f, "is not {name}, the name in the path; leave it out"),
            Self::TooManyRules(count) => {
                write!(f, "{count} rules are more than the {MAX_RULES} allowed")
            }
            Self::TooManyItems { count, most } => write!(f, "{count} entries are more than the {most} allowed"),
            Self::StopNotHere => f.write_str(
                "stands in a file or an annotation alone; a running service is stopped by POST /v1/stop or fault stop",
            ),
            Self::File(what) => f.write_str(what),
            Self::EmptyPlan => f.write_str("is an empty plan: it has neither `faults` nor a `seed`"),
            Self::Bool => f.write_str("is not one of 1, t, T, true, True, TRUE, 0, f, F, false, False, FALSE"),
            Self::Path => f.write_str(
                "is not a path such as /x, or /x/* for all below it: it begins with /, of printable ASCII without ?, #, { and }",
            ),
            Self::ReservedPath => f.write_str("is reserved: / and /metrics are never faulted"),
            Self::PathTaken(target) => write!(f, "belongs to {target} already"),
            Self::Ip => f.write_str("is not an IP address such as 127.0.0.1 or ::1"),
            Self::SocketAddress => {
                f.write_str("is not an address with a port, such as 0.0.0.0:8081, [::1]:8081 or :8081")
            }
            Self::PortTaken(by) => write!(f, "is the port of {by}, too; each listener needs its own"),
            Self::Network => f.write_str(
                "is not a network such as 10.0.0.0/8, an address, or either with ! before it to spare it",
            ),
        }
    }
}

fn meant(f: &mut fmt::Formatter<'_>, nearest: Option<&str>) -> fmt::Result {
    match nearest {
        Some(nearest) => write!(f, "; did you mean \"{nearest}\"?"),
        None => Ok(()),
    }
}

impl From<UnitError> for Reason {
    fn from(error: UnitError) -> Self {
        Self::Unit(error)
    }
}

impl From<TriggerError> for Reason {
    fn from(error: TriggerError) -> Self {
        Self::Trigger(error)
    }
}

impl From<DelayError> for Reason {
    fn from(error: DelayError) -> Self {
        Self::Delay(error)
    }
}

impl From<RuleError> for Reason {
    fn from(error: RuleError) -> Self {
        Self::Rule(error)
    }
}

impl From<DocumentError> for Reason {
    fn from(error: DocumentError) -> Self {
        Self::Document(error)
    }
}
