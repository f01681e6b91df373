//! `/v1/state`.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::duration::rounded_up;
use crate::engine::Stop;
use crate::env::Identity;
use crate::fault::{Client, ListenerId, RequestCounts, Rule, Target, TargetId};
use crate::plan::write_rule;
use crate::sources::{Control, Returning, RuleStatus, SourcesStatus};
use crate::units::{Show, show_timestamp};

/// The complete state as a JSON document.
pub(super) fn text(status: &SourcesStatus, identity: &Identity, uptime: Duration) -> String {
    let snapshot = &status.snapshot;
    let (plan, elapsed) = (&snapshot.active.plan, snapshot.elapsed);
    let show = |duration| Value::from(Show(rounded_up(duration)).to_string());
    let proxies = plan.proxies().present().map(|(slot, _)| TargetId::Proxy(slot));
    let targets = Target::ALL.into_iter().map(TargetId::Class).chain(proxies).map(|target| {
        let of = |client| snapshot.counts.get(target, client);
        json!({
            "name": plan.proxies().target_name(target),
            "up": !plan.is_down(target, elapsed, &snapshot.counts),
            "requests": { "kubelet": of(Client::Kubelet), "other": of(Client::Other) },
        })
    });
    let rule = |(position, (rule, of_rule)): (usize, (&Rule, &RuleStatus))| {
        let tallies: Vec<Value> = snapshot
            .active
            .tallies(position)
            .map(|tally| json!({ "target": tally.subject, "eligible": tally.eligible, "injected": tally.injected }))
            .collect();
        without_null(json!({
            "name": rule.name().as_str(),
            "source": of_rule.source.name(),
            "active": snapshot.is_active(position),
            "selected": of_rule.selected,
            "mode": rule.effect(),
            "next_change": plan.next_change_of(position, elapsed).map(|next| show(next.saturating_sub(elapsed))),
            "share": plan.share(position, elapsed).map(|share| (share * 1e5).round() / 1e3),
            "age": show(elapsed.saturating_sub(plan.origin(position).elapsed)),
            "expires_in": of_rule.expires_in.map(show),
            "tallies": tallies,
            "rule": write_rule(rule),
        }))
    };
    let hidden = |hidden: &crate::sources::Hidden| json!({ "name": hidden.name.as_str(), "source": hidden.source.name(), "by": hidden.by.name() });
    let source = |source: &crate::sources::SourceStatus| {
        without_null(json!({
            "source": source.source.name(),
            "path": source.path.as_ref().map(|path| path.display().to_string()),
            "rules": source.rules,
            "errors": (!source.errors.is_empty()).then_some(&source.errors),
        }))
    };
    let head = without_null(json!({
        "generation": snapshot.active.generation,
        "seed": without_null(json!({
            "given": status.seed.map(|(seed, _)| seed),
            "source": status.seed.map(|(_, source)| source.name()),
            "effective": plan.seed().0,
        })),
        "stop": snapshot.active.stop.as_ref().map(stop),
        "elapsed": show(elapsed),
        "uptime": show(uptime),
        "starts": status.starts,
        "next_change": plan.next_change(elapsed).map(|next| show(next.saturating_sub(elapsed))),
        "identity": without_null(json!({
            "pod": identity.pod,
            "namespace": identity.namespace,
            "node": identity.node,
        })),
        "version": crate::VERSION,
        "targets": targets.collect::<Vec<_>>(),
        "notes": kubelet_as_traffic(&snapshot.counts),
    }));
    // Serialize one rule at a time: a tree of a thousand rules would need several times the memory of the text.
    let mut text = head.to_string();
    text.truncate(text.len() - 1);
    list(&mut text, "rules", plan.rules().zip(&status.rules).enumerate().map(rule));
    list(&mut text, "hidden", status.hidden.iter().map(hidden));
    list(&mut text, "sources", status.sources.iter().map(source));
    text + "}\n"
}

/// A warning about kubelet probes that arrive as traffic; null without such probes.
fn kubelet_as_traffic(counts: &RequestCounts) -> Value {
    match counts.get(TargetId::Class(Target::Traffic), Client::Kubelet) {
        0 => Value::Null,
        count => json!([format!(
            "probes of the kubelet arrive as traffic ({count} so far): name their paths in LIVENESS_PATHS, READINESS_PATHS or STARTUP_PATHS, or set X-Probesim-Target in their httpHeaders"
        )]),
    }
}

/// Appends a list to the fields of an object.
fn list(text: &mut String, name: &str, values: impl Iterator<Item = Value>) {
    let mut separator = "";
    // Writing to a `String` cannot fail.
    let _ = write!(text, ",\"{name}\":[");
    for value in values {
        let _ = write!(text, "{separator}{value}");
        separator = ",";
    }
    text.push(']');
}

/// A stop: its source, its author and its start.
pub(super) fn stop(stop: &Stop) -> Value {
    json!({ "source": stop.source.name(), "by": stop.by, "since": show_timestamp(stop.since) })
}

/// Effects of rules at this instant that a stop would end.
pub(super) fn held(control: &Control) -> Value {
    let snapshot = control.engine().snapshot();
    let plan = &snapshot.active.plan;
    let held = control.metrics().held();
    json!({
        "rules": (0..plan.len()).filter(|position| snapshot.is_active(*position)).count(),
        "listener": plan.link(ListenerId::Probe, snapshot.elapsed).whole.map(|cut| cut.cut.name()),
        "memory_bytes": held.memory,
        "cpu_cores": held.cores,
        "disk_bytes": held.disk,
    })
}

/// A source whose rules return at the container's next start.
pub(super) fn returning(source: &Returning) -> Value {
    json!({ "source": source.source.name(), "rules": source.rules, "end": source.end })
}

/// Removes null fields.
fn without_null(mut value: Value) -> Value {
    if let Value::Object(fields) = &mut value {
        fields.retain(|_, value| !value.is_null());
    }
    value
}
