use serde_json::json;

use super::*;

fn state_of(condition: &str, resource: &str, object: &Value) -> State {
    Condition::parse(condition).unwrap().evaluate(resource, object)
}

fn missing(reason: &str) -> State {
    State::Missing(reason.to_owned())
}

fn with_condition(name: &str, status: &str) -> Value {
    json!({"status": {"conditions": [{"type": name, "status": status, "reason": "Why", "message": "so"}]}})
}

#[test]
fn conditions_are_parsed_as_kubectl_writes_them_and_in_a_short_form() {
    for (text, shown) in [
        ("ready", "ready"),
        ("Ready", "ready"),
        ("condition=Available", "available"),
        ("rolled-out", "rolled-out"),
        ("has-endpoints", "has-endpoints"),
        ("Progressing", "Progressing"),
        ("Progressing=False", "Progressing=False"),
        ("jsonpath={.status.phase}=Running", "jsonpath={.status.phase}=Running"),
        ("jsonpath='{.status.phase}'=Running", "jsonpath='{.status.phase}'=Running"),
    ] {
        assert_eq!(Condition::parse(text).map(|condition| condition.to_string()).as_deref(), Ok(shown));
    }
    for text in ["", "is it there?", "=True", "Ready=", "jsonpath=", "jsonpath={x}"] {
        assert!(Condition::parse(text).is_err(), "{text}");
    }
}

#[test]
fn an_entry_of_the_status_counts_if_it_is_of_the_current_generation() {
    assert_eq!(state_of("synced", "widgets", &with_condition("Synced", "True")), State::Ready);
    assert_eq!(state_of("Synced=false", "widgets", &with_condition("Synced", "False")), State::Ready);
    assert_eq!(
        state_of("Synced", "widgets", &with_condition("Synced", "False")),
        missing("Synced is False (Why: so)")
    );
    assert_eq!(state_of("Synced", "widgets", &json!({})), missing("has no condition Synced yet"));
    let mut old = with_condition("Synced", "True");
    old["metadata"] = json!({"generation": 2});
    old["status"]["conditions"][0]["observedGeneration"] = json!(1);
    assert_eq!(state_of("Synced", "widgets", &old), missing("the last change is not observed yet"));
    old["status"]["conditions"][0]["observedGeneration"] = json!(2);
    assert_eq!(state_of("Synced", "widgets", &old), State::Ready);
}

#[test]
fn a_deployment_is_available_when_its_current_generation_is() {
    let mut object = with_condition("Available", "True");
    object["metadata"] = json!({"generation": 2});
    object["status"]["observedGeneration"] = json!(1);
    assert_eq!(state_of("available", "deployments", &object), missing("the last change is not observed yet"));
    object["status"]["observedGeneration"] = json!(2);
    assert_eq!(state_of("available", "deployments", &object), State::Ready);
    let mut object = with_condition("Available", "False");
    object["spec"] = json!({"replicas": 3});
    object["status"]["availableReplicas"] = json!(1);
    assert_eq!(state_of("available", "deployments", &object), missing("1 of 3 replicas are available"));
    object["status"]["readyReplicas"] = json!(3);
    assert_eq!(state_of("ready", "deployments", &object), State::Ready);
}

#[test]
fn a_pod_says_why_it_is_not_ready() {
    assert_eq!(state_of("ready", "pods", &with_condition("Ready", "True")), State::Ready);
    let mut object = with_condition("Ready", "False");
    object["status"]["phase"] = json!("Pending");
    assert_eq!(state_of("ready", "pods", &object), missing("Ready is False (Why: so)"));
    object["status"]["containerStatuses"] = json!([{"name": "a", "state": {"running": {}}}, {"name": "b", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]);
    assert_eq!(state_of("ready", "pods", &object), missing("Pending, container b: ImagePullBackOff"));
    let mut leaving = with_condition("Ready", "True");
    leaving["metadata"] = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
    assert_eq!(state_of("ready", "pods", &leaving), missing("the Pod is being deleted"));
}

#[test]
fn a_pod_that_has_ended_fails_unless_its_owner_creates_it_again_under_its_name() {
    let ended = json!({"status": {"phase": "Succeeded"}});
    assert_eq!(
        state_of("ready", "pods", &ended),
        State::Failed("the Pod has ended (Succeeded) and cannot become ready again".to_owned())
    );
    assert_eq!(state_of("complete", "pods", &ended), State::Ready);
    let evicted = json!({"status": {"phase": "Failed", "reason": "Evicted", "message": "low on\nmemory"}});
    let ended = "the Pod has ended (Failed: Evicted: low on memory)".to_owned();
    assert_eq!(state_of("complete", "pods", &evicted), State::Failed(ended));
    assert_eq!(state_of("jsonpath={.status.phase}=Failed", "pods", &evicted), State::Ready);
    assert!(matches!(state_of("Ready=False", "pods", &evicted), State::Missing(_)));
    for (kind, is_final) in [("ReplicaSet", true), ("Job", true), ("StatefulSet", false), ("Other", false)] {
        let mut owned = evicted.clone();
        owned["metadata"] = json!({"ownerReferences": [{"kind": kind, "controller": true}]});
        let state = state_of("ready", "pods", &owned);
        assert_eq!(matches!(state, State::Failed(_)), is_final, "a {kind}: {state:?}");
    }
}

#[test]
fn a_job_that_has_failed_never_completes() {
    assert_eq!(state_of("complete", "jobs", &with_condition("Complete", "True")), State::Ready);
    let failed = state_of("complete", "jobs", &with_condition("Failed", "True"));
    assert_eq!(failed, State::Failed("the Job has failed (Why: so)".to_owned()));
    let running = json!({"spec": {"completions": 3}, "status": {"succeeded": 1, "failed": 2}});
    assert_eq!(state_of("complete", "jobs", &running), missing("1 of 3 completions, 2 failed Pods"));
    assert_eq!(
        state_of("Failed", "jobs", &with_condition("Failed", "True")),
        State::Ready,
        "the failure itself can be waited for"
    );
}

#[test]
fn a_path_needs_the_expected_value_or_any_value() {
    let object = json!({"status": {"phase": "Pending", "list": ["a", "a"]}});
    let state = |condition: &str| state_of(condition, "pods", &object);
    assert_eq!(state("jsonpath={.status.phase}"), State::Ready);
    assert_eq!(
        state("jsonpath={.status.phase}=Running"),
        missing("the value is \"Pending\", not \"Running\"")
    );
    assert_eq!(state("jsonpath='{.status.phase}'=Pending"), State::Ready);
    assert_eq!(state("jsonpath=.status.phase=Pending"), State::Ready);
    assert_eq!(state("jsonpath={.status.list[*]}=a"), State::Ready);
    assert_eq!(state("jsonpath={.status.ip}"), missing("no value at {.status.ip}"));
    let ready = with_condition("Ready", "True");
    let filter = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}=True";
    assert_eq!(Condition::parse(filter).unwrap().evaluate("pods", &ready), State::Ready);
}

#[test]
fn each_kind_has_a_default_condition() {
    for (resource, condition) in [
        ("pods", "ready"),
        ("deployments", "available"),
        ("statefulsets", "rolled-out"),
        ("daemonsets", "rolled-out"),
        ("jobs", "complete"),
        ("services", "has-endpoints"),
        ("configmaps", "exists"),
    ] {
        assert_eq!(Condition::default_of(resource).to_string(), condition);
    }
}
