//! The variables `FAULTS` and `SEED`.

use super::raw::ServiceVariables;
use super::reader::{self, VariableReader, word};
use super::{Setting, SourcedRule, Warning, WarningKind};
use crate::env::{SeedChoice, SeedScope};
use crate::fault::Rule;
use crate::plan::document::{self, AmbiguousScalar};
use crate::plan::error::{ConfigError, Reason};
use crate::plan::{self, RawPlan};

/// The plan of `FAULTS`; empty if it is unset or invalid.
pub(super) fn plan(reader: &mut VariableReader, raw: &mut ServiceVariables) -> RawPlan {
    const NAME: &str = "FAULTS";
    let Some(text) = raw.faults.take().filter(|text| !text.trim().is_empty()) else {
        return RawPlan::default();
    };
    let value = match document::parse_document(&text, document::MAX_PLAN) {
        Ok(document) => {
            let warning = |scalar: &AmbiguousScalar| Warning {
                name: NAME.to_owned(),
                problem: WarningKind::Ambiguous(scalar.to_string()),
            };
            reader.warnings.extend(document.ambiguous.iter().map(warning));
            document.value
        }
        Err(error) => {
            reader.fail(ConfigError::new(NAME, error));
            return RawPlan::default();
        }
    };
    match plan::read_plan(&value, NAME) {
        Ok(RawPlan { stop: true, .. }) => {
            reader.fail(ConfigError::new(NAME, Reason::StopNotHere).field("stop").value("true"));
            RawPlan::default()
        }
        Ok(RawPlan { seed: None, rules, disabled, proxies: None, .. })
            if rules.is_empty() && disabled.is_empty() =>
        {
            reader.fail(ConfigError::new(NAME, Reason::EmptyPlan));
            RawPlan::default()
        }
        Ok(plan) => {
            let count = plan.rules.len();
            let value = format!("{count} {}", if count == 1 { "rule" } else { "rules" });
            reader.effective.push(Setting { name: NAME.to_owned(), value });
            plan
        }
        Err(errors) => {
            reader.errors.append(errors);
            RawPlan::default()
        }
    }
}

/// The rules of the plan, each with its position.
pub(super) fn rules(plan: RawPlan) -> Vec<SourcedRule> {
    let made = |(i, rule): (usize, Rule)| {
        let place = format!("FAULTS: faults[{i}] ({})", rule.name());
        SourcedRule { rule, place }
    };
    plan.rules.into_iter().enumerate().map(made).collect()
}

/// `SEED` and its scope.
pub(super) fn seed(
    reader: &mut VariableReader,
    raw: &mut ServiceVariables,
    of_plan: Option<u64>,
) -> SeedChoice {
    let parsed = reader.read("SEED", raw.seed.take(), |text| {
        let seed = plan::whole(text, 0, u64::MAX)?;
        Ok((Some(seed), seed.to_string()))
    });
    let scopes = &[("pod", SeedScope::Pod), ("fleet", SeedScope::Fleet)];
    let scope = reader.read_or("SEED_SCOPE", raw.seed_scope.take(), SeedScope::Pod, word(scopes));
    let seed = reader::value_of(parsed.as_ref()).copied();
    if seed.is_some() && of_plan.is_some() && seed != of_plan {
        let what = "the seed of FAULTS".to_owned();
        reader.warnings.insert(Warning { name: "SEED".to_owned(), problem: WarningKind::Overrides { what } });
    }
    SeedChoice { seed: seed.or(of_plan), scope }
}
