//! `PodDisruptionBudgets` and the workloads whose Pods they select.

use super::findings::Reading;
use super::mapping::Mapping;
use super::object::Object;
use super::update::pods;
use crate::predict::workload::{Disruption, Kind, Workload};

/// The kind of the objects.
pub(super) const KIND: &str = "PodDisruptionBudget";

/// A `minAvailable` of 99 % allows an eviction of 100 Pods.
const MOST_MORE: u32 = 101;

/// Reads a budget for each workload whose Pods it selects. Returns positions of workloads and budgets. `objects` are the
/// objects of the workloads.
pub(super) fn read(
    object: &Object,
    objects: &[&Object],
    workloads: &[Workload],
) -> Reading<Vec<(usize, Disruption)>> {
    Reading::collect(|found| {
        let Some(spec) = found.take(object.root().mapping("spec")) else { return Vec::new() };
        let selector = found.take(spec.mapping("selector"));
        let mut all = Vec::new();
        for (position, (of, workload)) in objects.iter().zip(workloads).enumerate() {
            let is_alone = matches!(workload.kind, Kind::Pod | Kind::Job | Kind::DaemonSet);
            if is_alone || !of.shares_namespace(object.namespace.as_deref()) {
                continue;
            }
            if !selector.as_ref().is_some_and(|selector| selects(selector, &workload.labels)) {
                continue;
            }
            let Some(field) = ["maxUnavailable", "minAvailable"].into_iter().find(|it| spec.contains(it))
            else {
                continue;
            };
            let replicas = workload.replicas;
            found.take(pods(&spec, field, replicas, true));
            let allowed = allowed(&spec, field, replicas);
            let mut more = (replicas..replicas.saturating_add(MOST_MORE)).skip(1);
            let enough_replicas = more.find(|more| allowed == 0 && self::allowed(&spec, field, *more) > 0);
            let value = spec.get(field).map(ToString::to_string).unwrap_or_default();
            let policy = found.take(spec.string("unhealthyPodEvictionPolicy"));
            all.push((
                position,
                Disruption {
                    name: object.name.clone(),
                    field: format!("{field} {}", value.trim_matches('"')),
                    allowed,
                    enough_replicas,
                    lets_unready_go: policy == Some("AlwaysAllow"),
                },
            ));
        }
        all
    })
}

/// How many of `replicas` Pods may be evicted while all are Ready.
fn allowed(spec: &Mapping, field: &str, replicas: u32) -> u32 {
    let number = pods(spec, field, replicas, true).value.unwrap_or(0);
    if field == "minAvailable" { replicas.saturating_sub(number) } else { number.min(replicas) }
}

/// Whether a label selector selects labels. An empty one selects all.
fn selects(selector: &Mapping, labels: &[(String, String)]) -> bool {
    let value = |key: &str| labels.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str());
    let equal = selector.string_pairs("matchLabels").value;
    let expressions = selector.mappings("matchExpressions").value;
    equal.iter().all(|(key, text)| value(key) == Some(text))
        && expressions.iter().all(|expression| {
            let key = expression.string("key").value.unwrap_or_default();
            let values = expression.strings("values").value;
            let is_in = value(key).is_some_and(|value| values.contains(&value));
            match expression.string("operator").value.unwrap_or_default() {
                "In" => is_in,
                "NotIn" => !is_in,
                "Exists" => value(key).is_some(),
                "DoesNotExist" => value(key).is_none(),
                _ => false,
            }
        })
}
