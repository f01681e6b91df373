//! Whether a change of a workload has reached all its Pods, as `kubectl rollout status` reports.

use serde_json::Value;

use super::object::{condition, number, one_line, text};
use super::tracked::State;

/// Evaluates the rollout of an object of this resource.
pub(super) fn rolled_out(resource: &str, object: &Value) -> State {
    if let Some(unseen) = unobserved(object) {
        return unseen;
    }
    match resource {
        "deployments" => deployment(object),
        "statefulsets" => stateful_set(object),
        "daemonsets" => daemon_set(object),
        _ => count(object, "/status/availableReplicas", "available"),
    }
}

/// Returns a state if the status does not describe the current specification yet.
pub(super) fn unobserved(object: &Value) -> Option<State> {
    let generation = number(object, "/metadata/generation")?;
    let observed = number(object, "/status/observedGeneration")?;
    (observed < generation).then(|| State::Missing("the last change is not observed yet".to_owned()))
}

/// Returns whether the number at `pointer` has reached the desired number of replicas.
pub(super) fn count(object: &Value, pointer: &str, what: &str) -> State {
    let wanted = wanted(object);
    let counted = number(object, pointer).unwrap_or(0);
    if counted >= wanted {
        return State::Ready;
    }
    State::Missing(format!("{counted} of {wanted} replicas are {what}"))
}

fn wanted(object: &Value) -> i64 {
    number(object, "/spec/replicas").unwrap_or(1)
}

fn deployment(object: &Value) -> State {
    let status = |name: &str| number(object, &format!("/status/{name}")).unwrap_or(0);
    // Without a status, a workload with no replicas would pass.
    if number(object, "/status/observedGeneration").is_none() {
        return State::Missing("its controller has not processed it yet".to_owned());
    }
    if let Some(progress) = condition(object, "Progressing")
        && text(progress, "/reason") == "ProgressDeadlineExceeded"
    {
        return State::Missing(format!("its rollout is stuck: {}", one_line(text(progress, "/message"))));
    }
    let wanted = wanted(object);
    let (updated, replicas, available) =
        (status("updatedReplicas"), status("replicas"), status("availableReplicas"));
    if updated < wanted {
        State::Missing(format!("{updated} of {wanted} replicas are updated"))
    } else if replicas > updated {
        State::Missing(format!("{} old replicas have not ended", replicas - updated))
    } else if available < updated {
        State::Missing(format!("{available} of {updated} updated replicas are available"))
    } else {
        State::Ready
    }
}

fn stateful_set(object: &Value) -> State {
    let ready = count(object, "/status/readyReplicas", "ready");
    if ready != State::Ready || text(object, "/spec/updateStrategy/type") == "OnDelete" {
        return ready;
    }
    let updated = number(object, "/status/updatedReplicas").unwrap_or(0);
    let partition = number(object, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
    let (wanted, current) = (wanted(object), text(object, "/status/currentRevision"));
    if partition > 0 {
        let due = (wanted - partition).max(0);
        if updated >= due {
            return State::Ready;
        }
        return State::Missing(format!("{updated} of {due} replicas above the partition are updated"));
    }
    let update = text(object, "/status/updateRevision");
    if update.is_empty() {
        return State::Missing("its controller has not processed it yet".to_owned());
    }
    if update != current {
        return State::Missing(format!("{updated} of {wanted} replicas are updated"));
    }
    State::Ready
}

fn daemon_set(object: &Value) -> State {
    let status = |name: &str| number(object, &format!("/status/{name}"));
    let Some(wanted) = status("desiredNumberScheduled").filter(|_| status("observedGeneration").is_some())
    else {
        return State::Missing("its controller has not processed it yet".to_owned());
    };
    let updated = status("updatedNumberScheduled").unwrap_or(0);
    let available = status("numberAvailable").unwrap_or(0);
    if updated < wanted && text(object, "/spec/updateStrategy/type") != "OnDelete" {
        State::Missing(format!("{updated} of {wanted} Pods are updated"))
    } else if available < wanted {
        State::Missing(format!("{available} of {wanted} Pods are available"))
    } else {
        State::Ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn missing(reason: &str) -> State {
        State::Missing(reason.to_owned())
    }

    #[test]
    fn a_deployment_is_rolled_out_when_nothing_old_is_left() {
        let state_of = |observed: i64, updated: i64, replicas: i64, available: i64| {
            let object = json!({
                "metadata": {"generation": 2}, "spec": {"replicas": 3},
                "status": {"observedGeneration": observed, "updatedReplicas": updated, "replicas": replicas, "availableReplicas": available},
            });
            rolled_out("deployments", &object)
        };
        assert_eq!(state_of(1, 3, 3, 3), missing("the last change is not observed yet"));
        assert_eq!(state_of(2, 1, 4, 3), missing("1 of 3 replicas are updated"));
        assert_eq!(state_of(2, 3, 4, 3), missing("1 old replicas have not ended"));
        assert_eq!(state_of(2, 3, 3, 2), missing("2 of 3 updated replicas are available"));
        assert_eq!(state_of(2, 3, 3, 3), State::Ready);
        let unseen = json!({"metadata": {"generation": 1}, "spec": {"replicas": 0}});
        assert_eq!(rolled_out("deployments", &unseen), missing("its controller has not processed it yet"));
        let stuck = json!({"status": {"observedGeneration": 1, "conditions":
            [{"type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "timed out"}]}});
        assert_eq!(rolled_out("deployments", &stuck), missing("its rollout is stuck: timed out"));
    }

    #[test]
    fn a_stateful_set_needs_its_new_revision_on_every_replica_above_the_partition() {
        let state_of = |strategy: Value, ready: i64, updated: i64, current: &str| {
            let status = json!({"observedGeneration": 1, "readyReplicas": ready, "updatedReplicas": updated,
                "currentRevision": current, "updateRevision": "new"});
            let spec = json!({"replicas": 3, "updateStrategy": strategy});
            rolled_out(
                "statefulsets",
                &json!({"metadata": {"generation": 1}, "spec": spec, "status": status}),
            )
        };
        assert_eq!(state_of(json!({}), 2, 3, "new"), missing("2 of 3 replicas are ready"));
        assert_eq!(state_of(json!({}), 3, 1, "old"), missing("1 of 3 replicas are updated"));
        assert_eq!(state_of(json!({}), 3, 3, "new"), State::Ready);
        let partition = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}});
        assert_eq!(
            state_of(partition.clone(), 3, 1, "old"),
            missing("1 of 2 replicas above the partition are updated")
        );
        assert_eq!(state_of(partition, 3, 2, "old"), State::Ready);
        assert_eq!(state_of(json!({"type": "OnDelete"}), 3, 0, "old"), State::Ready);
    }

    #[test]
    fn a_daemon_set_needs_a_new_pod_on_every_node() {
        let state_of = |updated: i64, available: i64| {
            let status = json!({"observedGeneration": 1, "desiredNumberScheduled": 2,
                "updatedNumberScheduled": updated, "numberAvailable": available});
            rolled_out("daemonsets", &json!({"metadata": {"generation": 1}, "status": status}))
        };
        assert_eq!(state_of(1, 2), missing("1 of 2 Pods are updated"));
        assert_eq!(state_of(2, 1), missing("1 of 2 Pods are available"));
        assert_eq!(state_of(2, 2), State::Ready);
        assert_eq!(rolled_out("daemonsets", &json!({})), missing("its controller has not processed it yet"));
    }
}
