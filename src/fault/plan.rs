//! An ordered list of rules with unique names.

use std::collections::HashSet;
use std::fmt;

use super::rule::{Rule, RuleName};

/// The most rules a plan may have: each is a set of metric series.
pub const MAX_RULES: usize = 1_000;

/// What is wrong with a list of rules as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// Two rules of one name.
    Duplicate {
        /// The name.
        name: RuleName,
        /// Positions of both, from 0.
        at: [usize; 2],
    },
    /// More rules than [`MAX_RULES`].
    TooMany(usize),
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate { name, at } => {
                write!(
                    f,
                    "the name {name} is used by rules {} and {}; each needs a name of its own",
                    at[0], at[1]
                )
            }
            Self::TooMany(count) => write!(f, "{count} rules are more than the {MAX_RULES} allowed"),
        }
    }
}

/// An ordered list of rules: the first that fires decides what a request gets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan(Vec<Rule>);

impl Plan {
    /// A plan, if every name is used once; otherwise everything that is wrong.
    pub fn new(rules: Vec<Rule>) -> Result<Self, Vec<PlanError>> {
        let mut errors = Vec::new();
        if rules.len() > MAX_RULES {
            errors.push(PlanError::TooMany(rules.len()));
        }
        let mut seen = HashSet::new();
        for (second, rule) in rules.iter().enumerate() {
            if !seen.insert(rule.name()) {
                let first = rules.iter().position(|other| other.name() == rule.name()).unwrap_or(second);
                errors.push(PlanError::Duplicate { name: rule.name().clone(), at: [first, second] });
            }
        }
        if errors.is_empty() { Ok(Self(rules)) } else { Err(errors) }
    }

    /// The rules in their order.
    pub fn rules(&self) -> &[Rule] {
        &self.0
    }

    /// The rules, taken out.
    pub fn into_rules(self) -> Vec<Rule> {
        self.0
    }
}
