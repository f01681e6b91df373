//! Merging the plans of several sources.

use std::collections::{HashMap, HashSet};

use crate::fault::{MAX_PROXIES, MAX_RULES, Plan, PlanError, Protocol, ProxyName, Rule, RuleName};
use crate::plan::{ConfigError, Errors, Proxy, RawPlan, Reason, Source, check_proxies, check_targets};

/// A plan and its source.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// Its source.
    pub source: Source,
    /// Its content.
    pub plan: &'a RawPlan,
    /// Whether it hides all lower layers, regardless of names.
    pub replaces: bool,
}

/// The merge of all layers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Merged {
    /// The highest-ranking seed, if one is set.
    pub seed: Option<(u64, Source)>,
    /// The rules in force, those of higher-ranking sources first.
    pub rules: Vec<(Rule, Source)>,
    /// The hidden rules.
    pub hidden: Vec<Hidden>,
    /// The proxies in use.
    pub proxies: Vec<(Proxy, Source)>,
    /// The highest-ranking source that stops all rules.
    pub stop: Option<Source>,
}

/// A rule that a higher-ranking source hides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// Name of the rule.
    pub name: RuleName,
    /// Its source.
    pub source: Source,
    /// The source that hides it.
    pub by: Source,
}

impl Merged {
    /// Errors of proxies and of rules on them that depend on all sources.
    pub fn check(&self) -> Errors {
        let names: Vec<(&ProxyName, Protocol)> =
            self.proxies.iter().map(|(proxy, _)| (&proxy.name, proxy.protocol())).collect();
        let rules = self.rules.iter().map(|(rule, _)| (rule, rule.name().to_string()));
        let mut errors = check_targets(rules, &names);
        if names.len() > MAX_PROXIES {
            let reason = Reason::TooManyItems { count: names.len(), most: MAX_PROXIES };
            errors.push(ConfigError::new("all sources combined", reason).field("proxies"));
        }
        let proxies = self.proxies.iter().map(|(proxy, _)| proxy);
        errors.append(check_proxies(proxies, |_| "proxy".to_owned()));
        errors
    }

    /// The rules as a plan, and the source of each.
    pub fn plan(&self) -> Result<(Plan, Vec<Source>), Errors> {
        let rules = self.rules.iter().map(|(rule, _)| rule.clone()).collect();
        let sources = self.rules.iter().map(|(_, source)| *source).collect();
        let reason = |error: PlanError| match error {
            PlanError::TooMany(count) => {
                ConfigError::new("all sources combined", Reason::TooManyRules(count))
            }
            PlanError::Duplicate { name, at } => {
                ConfigError::new(name.to_string(), Reason::NameTaken { name, by: format!("rule {}", at[0]) })
            }
        };
        let plan = Plan::new(rules).map_err(|errors| errors.into_iter().map(reason).collect::<Errors>())?;
        Ok((plan, sources))
    }
}

/// Rejects more rules than the limit.
pub(super) fn check_rule_count(rules: usize) -> Result<(), Errors> {
    if rules > MAX_RULES {
        return Err(ConfigError::new("all sources combined", Reason::TooManyRules(rules)).into());
    }
    Ok(())
}

/// Merges layers in ascending order of precedence. A rule, even a disabled one, hides rules of its name in lower
/// layers; the highest-ranking seed applies.
pub fn merge(layers: &[Layer]) -> Merged {
    let mut merged = Merged::default();
    let mut taken: HashMap<&RuleName, Source> = HashMap::new();
    let mut replaced: Option<Source> = None;
    for Layer { source, plan, replaces } in layers.iter().rev() {
        merged.seed = merged.seed.or(plan.seed.map(|seed| (seed, *source)));
        merged.stop = merged.stop.or(plan.stop.then_some(*source));
        let mut of_layer = HashSet::new();
        for rule in &plan.rules {
            match replaced.or_else(|| taken.get(rule.name()).copied()) {
                Some(by) => merged.hidden.push(Hidden { name: rule.name().clone(), source: *source, by }),
                None => merged.rules.push((rule.clone(), *source)),
            }
            of_layer.insert(rule.name());
        }
        for name in of_layer.into_iter().chain(&plan.disabled) {
            taken.entry(name).or_insert(*source);
        }
        if *replaces {
            replaced = replaced.or(Some(*source));
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::document;
    use crate::plan::read_plan;

    fn plan(text: &str) -> RawPlan {
        read_plan(&document::parse(text, 10_000).unwrap(), "").unwrap()
    }

    fn rules(names: &str) -> RawPlan {
        let rules: Vec<String> = names
            .split_whitespace()
            .map(|name| format!("{{name: {name}, target: liveness, mode: hang}}"))
            .collect();
        plan(&format!("faults: [{}]", rules.join(", ")))
    }

    fn shown(layers: &[(Source, &RawPlan)], replaces: bool) -> (String, String) {
        let last = layers.len() - 1;
        let layers: Vec<Layer> = layers
            .iter()
            .enumerate()
            .map(|(i, (source, plan))| Layer { source: *source, plan, replaces: replaces && i == last })
            .collect();
        let Merged { rules, hidden, .. } = merge(&layers);
        let rules: Vec<String> =
            rules.iter().map(|(rule, source)| format!("{}:{}", rule.name(), source.name())).collect();
        let hidden: Vec<String> = hidden
            .iter()
            .map(|hidden| format!("{}:{}<{}", hidden.name, hidden.source.name(), hidden.by.name()))
            .collect();
        (rules.join(" "), hidden.join(" "))
    }

    #[test]
    fn higher_ranking_rules_come_first_and_replace_those_of_their_name() {
        let (environment, file, api) = (rules("a b c"), rules("c d"), rules("e a"));
        let layers = [(Source::Environment, &environment), (Source::File, &file), (Source::Api, &api)];
        let (rules, hidden) = shown(&layers, false);
        assert_eq!(rules, "e:api a:api c:file d:file b:environment");
        assert_eq!(hidden, "a:environment<api c:environment<file");
    }

    #[test]
    fn a_disabled_rule_hides_only_lower_ranking_rules_of_its_name() {
        let (environment, api) = (rules("a b"), rules("b"));
        let file = plan("faults: [{name: a, disabled: true}, {name: b, disabled: true}]");
        let layers = [(Source::Environment, &environment), (Source::File, &file), (Source::Api, &api)];
        assert_eq!(
            shown(&layers, false),
            ("b:api".to_owned(), "a:environment<file b:environment<api".to_owned())
        );
    }

    #[test]
    fn a_replacing_layer_hides_everything_below_except_the_seed() {
        let (environment, file, api) = (plan("seed: 1"), rules("a b"), rules("c"));
        let layers = [(Source::Environment, &environment), (Source::File, &file), (Source::Api, &api)];
        assert_eq!(shown(&layers, true), ("c:api".to_owned(), "a:file<api b:file<api".to_owned()));
        let merged = merge(&[
            Layer { source: Source::Environment, plan: &environment, replaces: false },
            Layer { source: Source::File, plan: &plan("seed: 2"), replaces: false },
            Layer { source: Source::Api, plan: &api, replaces: true },
        ]);
        assert_eq!(merged.seed, Some((2, Source::File)));
    }
}
