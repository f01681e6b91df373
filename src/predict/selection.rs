//! The source of each rule, and the Pods that it selects.

use serde_json::Value;

use crate::fault::{Pods, Rule, Timestamp};
use crate::plan::Source;
use crate::plan::write_rule;
use crate::units::{Show, show_timestamp};

use super::advice::Advice;
use super::options::Options;
use super::replicas::Replicas;
use super::workload::{ProbesimContainer, Workload};

/// Limit of the Pod names in a line.
const NAMED: usize = 10;

/// A rule of a container and the Pods that it selects.
#[derive(Clone, Debug)]
pub struct Selection<'a> {
    /// The name of the container.
    pub container: &'a str,
    /// The rule.
    pub rule: &'a Rule,
    /// The source of the rule.
    pub source: Source,
    /// The positions of the selected Pods.
    pub pods: Vec<usize>,
}

/// All rules of a workload, in the order of the plans.
pub fn selections<'a>(workload: &'a Workload, replicas: &Replicas) -> Vec<Selection<'a>> {
    let mut all = Vec::new();
    for probesim in &workload.probesim {
        for (position, (rule, source)) in probesim.merged.rules.iter().enumerate() {
            let selects = |pod: &usize| {
                let container = replicas.pods[*pod].pod.containers.get(probesim.position);
                let program = container.and_then(|container| container.program.as_ref());
                program.is_some_and(|program| program.plan.is_selected(position))
            };
            let pods = (0..replicas.pods.len()).filter(selects).collect();
            all.push(Selection {
                container: container_name(workload, probesim),
                rule,
                source: *source,
                pods,
            });
        }
    }
    all
}

fn container_name<'a>(workload: &'a Workload, probesim: &ProbesimContainer) -> &'a str {
    workload.pod.containers.get(probesim.position).map_or("", |container| container.name.as_str())
}

/// A line for each rule that is from a file or annotation, selects Pods, or is hidden by another.
pub fn lines(workload: &Workload, replicas: &Replicas) -> Vec<String> {
    let mut lines = Vec::new();
    for Selection { container, rule, source, pods } in selections(workload, replicas) {
        let selects = rule.trigger().pods.is_some();
        if source == Source::Environment && !selects {
            continue;
        }
        let acts = if selects {
            let names: Vec<&str> =
                pods.iter().take(NAMED).map(|pod| replicas.pods[*pod].name.as_str()).collect();
            let which = match (names.join(", "), pods.len().saturating_sub(NAMED)) {
                (names, _) if names.is_empty() => String::new(),
                (names, 0) => format!(": {names}"),
                (names, more) => format!(": {names} and {more} more"),
            };
            format!(", acts on {} of {replicas} (pods: {}){which}", pods.len(), selector(rule))
        } else {
            String::new()
        };
        lines.push(format!("{container}: fault {}, from the {}{acts}", rule.name(), source.name()));
    }
    for probesim in &workload.probesim {
        let container = container_name(workload, probesim);
        lines.extend(probesim.merged.hidden.iter().map(|hidden| {
            let (source, by) = (hidden.source.name(), hidden.by.name());
            format!("{container}: fault {}, from the {source}, is hidden by the {by}", hidden.name)
        }));
    }
    lines
}

/// The `pods` of a rule, as in a plan.
fn selector(rule: &Rule) -> String {
    match write_rule(rule).get("pods") {
        Some(Value::String(share)) => share.clone(),
        Some(ordinals) => ordinals.to_string(),
        None => String::new(),
    }
}

/// Advice on rules that never act: on no Pod, at no predicted time, or in no start.
pub fn advice(workload: &Workload, replicas: &Replicas, options: &Options) -> Vec<Advice> {
    let mut advice = Vec::new();
    for Selection { container, rule, pods, .. } in selections(workload, replicas) {
        let subject = format!("{container}: fault {}", rule.name());
        if let Some(asked_for) = &rule.trigger().pods
            && pods.is_empty()
            && !replicas.pods.is_empty()
        {
            let why = why_none(asked_for, replicas.pods.len());
            let text = format!("{subject} (pods: {}) acts on none of {replicas}: {why}", selector(rule));
            advice.push(Advice { code: "pods-select-none", text });
        }
        advice.extend(outside_prediction(&subject, rule, options));
    }
    for probesim in workload.probesim.iter().filter(|probesim| !probesim.keeps_state) {
        for rule in probesim.plan.rules() {
            if rule.trigger().starts.is_some_and(|window| !window.is_open(1)) {
                let text = format!(
                    "{}: fault {} applies to later starts of the container (when.starts), but each start counts as the first while \
                     no state is kept, so it never acts. Set STATE_DIR to a directory on an emptyDir.",
                    container_name(workload, probesim),
                    rule.name(),
                );
                advice.push(Advice { code: "starts-without-state", text });
            }
        }
    }
    advice
}

/// Why a rule selects none of `count` Pods.
fn why_none(pods: &Pods, count: usize) -> String {
    match pods {
        Pods::Share(rate) => {
            let chance = 100.0 * (1.0 - rate.percent() / 100.0).powf(count as f64);
            format!(
                "each Pod is drawn independently, and in {chance:.1}% of all seeds none of {count} Pods is selected. Use \
                 another seed, a larger share or more replicas, or name ordinals of a StatefulSet."
            )
        }
        Pods::Ordinals(_) => "none has such an ordinal. Use ordinals of existing Pods.".to_owned(),
    }
}

/// Advice if the window of a rule lies outside the time of the prediction.
fn outside_prediction(subject: &str, rule: &Rule, options: &Options) -> Option<Advice> {
    let (begin, end) = (options.at, Timestamp(options.at.0.saturating_add(options.horizon)));
    let (start, until) = (rule.trigger().start, rule.trigger().until);
    let (field, instant) = if let Some(until) = until.filter(|until| *until <= begin) {
        ("ends (until) at", until)
    } else if let Some(start) = start.filter(|start| *start >= end) {
        ("does not begin (start) before", start)
    } else {
        return None;
    };
    let text = format!(
        "{subject} {field} {}, but the prediction covers {} from {}, so it never acts here. Set --at or --for.",
        show_timestamp(instant),
        Show(options.horizon),
        show_timestamp(begin),
    );
    Some(Advice { code: "outside-prediction", text })
}
