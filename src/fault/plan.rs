//! An ordered list of rules with unique names.

use std::collections::HashMap;

use thiserror::Error;

use super::limits::MAX_RULES;
use super::rule::{Rule, RuleName};

/// An error of a list of rules.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// Two rules with the same name.
    #[error("the name {name} is used by rules {} and {}; each needs a name of its own", at[0], at[1])]
    Duplicate {
        /// The name.
        name: RuleName,
        /// Positions of both, from 0.
        at: [usize; 2],
    },
    /// More rules than [`MAX_RULES`].
    #[error("{0} rules are more than the {MAX_RULES} allowed")]
    TooMany(usize),
}

/// An ordered list of rules: the first that fires decides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan(Vec<Rule>);

impl Plan {
    /// Creates a plan if names are unique; otherwise returns all errors.
    pub fn new(rules: Vec<Rule>) -> Result<Self, Vec<PlanError>> {
        let mut errors = Vec::new();
        if rules.len() > MAX_RULES {
            errors.push(PlanError::TooMany(rules.len()));
        }
        let mut seen = HashMap::new();
        for (position, rule) in rules.iter().enumerate() {
            let first = *seen.entry(rule.name()).or_insert(position);
            if first != position {
                errors.push(PlanError::Duplicate { name: rule.name().clone(), at: [first, position] });
            }
        }
        if errors.is_empty() { Ok(Self(rules)) } else { Err(errors) }
    }

    /// The rules in order.
    pub fn rules(&self) -> &[Rule] {
        &self.0
    }

    /// Returns the rules.
    pub fn into_rules(self) -> Vec<Rule> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Action, ClientFilter, Mode, Target, Targets, Trigger};

    fn rules(names: &[&str]) -> Vec<Rule> {
        let targets = Targets::NONE.with(Target::Liveness);
        let action = Action::Requests { targets, delay: None, mode: Some(Mode::Hang) };
        names
            .iter()
            .map(|name| {
                let name = RuleName::new(name).unwrap();
                Rule::new(name, ClientFilter::Any, Trigger::ALWAYS, action.clone()).unwrap()
            })
            .collect()
    }

    #[test]
    fn each_repeated_name_is_an_error_with_both_positions() {
        let errors = Plan::new(rules(&["a", "b", "a", "b", "a"])).unwrap_err();
        let texts: Vec<String> = errors.iter().map(PlanError::to_string).collect();
        assert_eq!(
            texts,
            [
                "the name a is used by rules 0 and 2; each needs a name of its own",
                "the name b is used by rules 1 and 3; each needs a name of its own",
                "the name a is used by rules 0 and 4; each needs a name of its own",
            ]
        );
    }

    #[test]
    fn a_plan_accepts_rules_up_to_the_limit() {
        let names: Vec<String> = (0..=MAX_RULES).map(|i| format!("rule-{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(Plan::new(rules(&names[1..])).is_ok());
        assert_eq!(Plan::new(rules(&names)), Err(vec![PlanError::TooMany(MAX_RULES + 1)]));
    }
}
