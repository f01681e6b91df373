//! Reads the fields of a Job for its controller.

use std::time::Duration;

use super::findings::Reading;
use super::mapping::Mapping;
use super::restart::exit_codes;
use crate::kubelet::PodSpec;
use crate::predict::workload::{FailureAction, FailureRule, Job};

const MOST: u32 = i32::MAX as u32;

/// Reads the `spec` of a Job with this Pod.
pub(super) fn read(owner: &Mapping, pod: &PodSpec) -> Reading<Job> {
    Reading::collect(|found| {
        let per_index = found.take(owner.number("backoffLimitPerIndex", 0, MOST));
        if per_index.is_some() {
            found.assume("backoffLimitPerIndex is not modelled: failures count for the whole Job".to_owned());
        }
        if owner.contains("successPolicy") {
            found
                .assume("successPolicy is not modelled: the Job is complete with its completions".to_owned());
        }
        let parallelism = found.take(owner.number("parallelism", 0, MOST)).unwrap_or(1);
        let completions = found.take(owner.number("completions", 0, MOST));
        let is_alone = !owner.contains("parallelism") && completions.is_none();
        let deadline = found.take(owner.number("activeDeadlineSeconds", 1, MOST));
        let policy = found.take(owner.mapping("podFailurePolicy"));
        let replacement =
            found.take(owner.one_of("podReplacementPolicy", &["TerminatingOrFailed", "Failed"]));
        let default_limit = if per_index.is_some() { MOST } else { 6 };
        Job {
            parallelism,
            completions: if is_alone { Some(1) } else { completions },
            backoff_limit: found.take(owner.number("backoffLimit", 0, MOST)).unwrap_or(default_limit),
            deadline: deadline.map(|seconds| Duration::from_secs(u64::from(seconds))),
            replaces_failed_only: replacement == Some("Failed")
                || (replacement.is_none() && policy.is_some()),
            failure_rules: policy.map(|policy| found.take(rules(&policy, pod))).unwrap_or_default(),
        }
    })
}

/// Reads the rules of a `podFailurePolicy`.
fn rules(policy: &Mapping, pod: &PodSpec) -> Reading<Vec<FailureRule>> {
    Reading::collect(|found| {
        let mut rules = Vec::new();
        for rule in found.take(policy.mappings("rules")) {
            let action = found.take(rule.one_of("action", &["FailJob", "Ignore", "Count", "FailIndex"]));
            let action = match action {
                Some("FailJob") => FailureAction::FailJob,
                Some("Ignore") => FailureAction::Ignore,
                Some("FailIndex") => {
                    found.assume("podFailurePolicy: FailIndex is treated as Count".to_owned());
                    FailureAction::Count
                }
                _ => FailureAction::Count,
            };
            let on_codes = found.take(rule.mapping("onExitCodes"));
            let name = on_codes.as_ref().and_then(|codes| found.take(codes.string("containerName")));
            let container = name.map(|name| {
                let position = pod.containers.iter().position(|container| container.name == name);
                position.unwrap_or(usize::MAX)
            });
            let codes = found.take(exit_codes(&rule)).map(|codes| (container, codes));
            let mut conditions = found.take(rule.mappings("onPodConditions")).into_iter();
            let on_disruption =
                conditions.any(|condition| condition.string("type").value == Some("DisruptionTarget"));
            rules.push(FailureRule { action, codes, on_disruption });
        }
        rules
    })
}
