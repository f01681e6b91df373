//! The rules of the admin API, which take precedence over all others.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::merge::{Layer, Merged};
use crate::fault::{Rule, RuleName};
use crate::plan::{
    ConfigError, Errors, PlanEntry, Proxy, RawPlan, Reason, Source, read_entry, read_plan, write_rule,
};
use crate::units::{self, Bare};

/// Rules of the API, each with its expiry.
#[derive(Clone, Debug, Default)]
pub(super) struct Overlay {
    plan: RawPlan,
    replaces: bool,
    ends: HashMap<RuleName, Instant>,
}

/// No rule in force has this name.
pub(super) struct UnknownRule;

impl Overlay {
    pub(super) fn layer(&self) -> Layer<'_> {
        Layer { source: Source::Api, plan: &self.plan, replaces: self.replaces }
    }

    /// When the rule of that name expires.
    pub(super) fn end(&self, name: &RuleName) -> Option<Instant> {
        self.ends.get(name).copied()
    }

    /// When the next rule expires.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.ends.values().min().copied()
    }

    /// A plan that replaces all lower layers.
    pub(super) fn of_plan(mut plan: Value) -> Result<Self, Errors> {
        let mut errors = Errors::new();
        let mut ends = HashMap::new();
        for (i, fault) in
            plan.get_mut("faults").and_then(Value::as_array_mut).into_iter().flatten().enumerate()
        {
            match take_ttl(fault, &format!("faults[{i}]")) {
                Ok(None) => {}
                Ok(Some(ttl)) => {
                    let name =
                        fault.get("name").and_then(Value::as_str).and_then(|name| RuleName::new(name).ok());
                    ends.extend(name.map(|name| (name, Instant::now() + ttl)));
                }
                Err(wrong) => errors.append(wrong),
            }
        }
        match read_plan(&plan, "") {
            Ok(plan) => {
                if plan.stop {
                    errors.push(ConfigError::new("", Reason::StopNotHere).field("stop").value("true"));
                }
                if errors.is_empty() { Ok(Self { plan, replaces: true, ends }) } else { Err(errors) }
            }
            Err(more) => {
                errors.append(more);
                Err(errors)
            }
        }
    }

    /// Replaces a rule in place, or appends it.
    pub(super) fn put(&mut self, name: &RuleName, mut rule: Value) -> Result<(), Errors> {
        let ttl = take_ttl(&mut rule, name.as_str());
        let mut errors: Errors = ttl.as_ref().err().cloned().unwrap_or_default();
        if let Value::Object(fields) = &mut rule {
            let given = fields.entry("name").or_insert_with(|| name.as_str().into());
            if given != name.as_str() {
                let reason = Reason::OtherName(name.clone());
                errors.push(
                    ConfigError::new("", reason).field("name").value(given.as_str().unwrap_or_default()),
                );
                return Err(errors);
            }
        }
        let entry = read_entry(&rule, "").map_err(|more| errors.append(more));
        let (Ok(entry), true) = (entry, errors.is_empty()) else { return Err(errors) };
        self.plan.disabled.retain(|disabled| disabled != name);
        match entry {
            PlanEntry::Rule(rule) => match self.plan.rules.iter_mut().find(|known| known.name() == name) {
                Some(known) => *known = *rule,
                None => self.plan.rules.push(*rule),
            },
            PlanEntry::Disabled(_) => self.hide(name),
        }
        match ttl.ok().flatten() {
            Some(ttl) => self.ends.insert(name.clone(), Instant::now() + ttl),
            None => self.ends.remove(name),
        };
        Ok(())
    }

    /// Changes fields of a rule in force (RFC 7396). Without `ttl` in the patch, it keeps its expiry.
    pub(super) fn patch(
        &mut self,
        name: &RuleName,
        patch: &Value,
        merged: &Merged,
    ) -> Result<Result<(), Errors>, UnknownRule> {
        let (rule, _) = in_force(merged, name).ok_or(UnknownRule)?;
        let mut value = write_rule(rule);
        merge_patch(&mut value, patch);
        let end = self.end(name).filter(|_| patch.get("ttl").is_none());
        let put = self.put(name, value);
        if put.is_ok()
            && let Some(end) = end
        {
            self.ends.insert(name.clone(), end);
        }
        Ok(put)
    }

    /// Removes the rule of that name from the plan in force, whatever its source.
    pub(super) fn delete(&mut self, name: &RuleName, merged: &Merged) -> Result<(), UnknownRule> {
        let (_, source) = in_force(merged, name).ok_or(UnknownRule)?;
        let is_beneath = *source != Source::Api || merged.hidden.iter().any(|hidden| hidden.name == *name);
        self.plan.rules.retain(|rule| rule.name() != name);
        self.ends.remove(name);
        if is_beneath && !self.replaces {
            self.hide(name);
        }
        Ok(())
    }

    /// Removes expired rules and returns their names.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<RuleName> {
        let ended: Vec<RuleName> =
            self.ends.iter().filter(|(_, end)| **end <= now).map(|(name, _)| name.clone()).collect();
        for name in &ended {
            self.ends.remove(name);
            self.plan.rules.retain(|rule| rule.name() != name);
            self.plan.disabled.retain(|disabled| disabled != name);
        }
        ended
    }

    /// The proxies of the plan set with PUT.
    pub(super) fn proxies(&self) -> Option<&[Proxy]> {
        self.plan.proxies.as_deref()
    }

    /// The rules that the API adds.
    pub(super) fn rules(&self) -> &[Rule] {
        &self.plan.rules
    }

    fn hide(&mut self, name: &RuleName) {
        self.plan.rules.retain(|rule| rule.name() != name);
        self.plan.disabled.push(name.clone());
    }
}

pub(super) fn in_force<'a>(merged: &'a Merged, name: &RuleName) -> Option<&'a (Rule, Source)> {
    merged.rules.iter().find(|(rule, _)| rule.name() == name)
}

/// Removes the `ttl` from a rule.
fn take_ttl(rule: &mut Value, place: &str) -> Result<Option<Duration>, Errors> {
    let Some(ttl) = rule.as_object_mut().and_then(|fields| fields.remove("ttl")) else { return Ok(None) };
    let text = match &ttl {
        Value::Null => return Ok(None),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let error = |reason: Reason| Errors::from(ConfigError::new(place, reason).field("ttl").value(&text));
    match units::duration(&text, Bare::Seconds) {
        Ok(ttl) if ttl.is_zero() => Err(error(Reason::Expected("more than 0; omit it for no limit"))),
        Ok(ttl) => Ok(Some(ttl)),
        Err(wrong) => Err(error(wrong.into())),
    }
}

/// `MergePatch` of RFC 7396, section 2.
fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(name);
        } else {
            merge_patch(fields.entry(name.as_str()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_merge_patch_does_what_the_examples_of_rfc_7396_show() {
        for (mut target, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!({"a": "foo"}), json!("bar"), json!("bar")),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            merge_patch(&mut target, &patch);
            assert_eq!(target, result, "{patch}");
        }
    }
}
