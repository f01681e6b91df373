//! Reads restart policies and the rules that depend on exit codes.

use super::error::Problem;
use super::findings::Reading;
use super::mapping::{Mapping, wrong};
use crate::kubelet::{RestartPolicy, RestartRule};

const POLICIES: [&str; 3] = ["Always", "OnFailure", "Never"];

/// Reads a `restartPolicy`.
pub(super) fn policy(container: &Mapping) -> Reading<Option<RestartPolicy>> {
    Reading::collect(|found| {
        found.take(container.one_of("restartPolicy", &POLICIES)).map(|word| match word {
            "OnFailure" => RestartPolicy::OnFailure,
            "Never" => RestartPolicy::Never,
            _ => RestartPolicy::Always,
        })
    })
}

/// Reads `restartPolicyRules`.
pub(super) fn rules(container: &Mapping, name: &str) -> Reading<Vec<RestartRule>> {
    Reading::collect(|found| {
        let mut rules = Vec::new();
        for rule in found.take(container.mappings("restartPolicyRules")) {
            let action = found.take(rule.required_string("action")).unwrap_or_default();
            let codes = found.take(exit_codes(&rule));
            if action == "Restart" {
                rules.extend(codes);
            } else if !action.is_empty() {
                found.assume(format!(
                    "container {name}: the action {action} of its restartPolicyRules is not modelled"
                ));
            }
        }
        if !rules.is_empty() && !container.contains("restartPolicy") {
            found.error(container.field("restartPolicy"), Problem::Missing);
        }
        rules
    })
}

/// Reads the `exitCodes` or `onExitCodes` of a rule.
pub(super) fn exit_codes(rule: &Mapping) -> Reading<Option<RestartRule>> {
    Reading::collect(|found| {
        let field = if rule.contains("onExitCodes") { "onExitCodes" } else { "exitCodes" };
        let codes = found.take(rule.mapping(field))?;
        let except = found.take(codes.one_of("operator", &["In", "NotIn"])) == Some("NotIn");
        let mut all = Vec::new();
        for value in codes.get("values").and_then(|values| values.as_array()).into_iter().flatten() {
            // The API accepts codes above 255, which match nothing.
            match value.as_i64() {
                Some(code) => all.extend(u8::try_from(code)),
                None => found.error(codes.field("values"), wrong("a list of exit codes", value)),
            }
        }
        Some(RestartRule { codes: all, except })
    })
}
