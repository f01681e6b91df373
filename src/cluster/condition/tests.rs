use serde_json::json;

use super::*;

fn judged(condition: &str, resource: &str, object: &Value) -> State {
    Condition::parse(condition).unwrap().judge(resource, object)
}

fn missing(reason: &str) -> State {
    State::Missing(reason.to_owned())
}

fn with_condition(name: &str, status: &str) -> Value {
    json!({"status": {"conditions": [{"type": name, "status": status, "reason": "Why", "message": "so"}]}})
}

#[test]
fn conditions_are_read_as_kubectl_writes_them_and_shorter() {
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
fn an_entry_of_the_status_counts_if_it_is_of_the_present_generation() {
    assert_eq!(judged("synced", "widgets", &with_condition("Synced", "True")), State::Ready);
    assert_eq!(judged("Synced=false", "widgets", &with_condition("Synced", "False")), State::Ready);
    assert_eq!(
        judged("Synced", "widgets", &with_condition("Synced", "False")),
        missing("Synced is False (Why: so)")
    );
    assert_eq!(judged("Synced", "widgets", &json!({})), missing("has no condition Synced yet"));
    let mut old = with_condition("Synced", "True");
    old["metadata"] = json!({"generation": 2});
    old["status"]["conditions"][0]["observedGeneration"] = json!(1);
    assert_eq!(judged("Synced", "widgets", &old), missing("its last change is not observed yet"));
    old["status"]["conditions"][0]["observedGeneration"] = json!(2);
    assert_eq!(judged("Synced", "widgets", &old), State::Ready);
}

#[test]
fn a_deployment_is_available_once_its_present_generation_is() {
    let mut object = with_condition("Available", "True");
    object["metadata"] = json!({"generation": 2});
    object["status"]["observedGeneration"] = json!(1);
    assert_eq!(judged("available", "deployments", &object), missing("its last change is not observed yet"));
    object["status"]["observedGeneration"] = json!(2);
    assert_eq!(judged("available", "deployments", &object), State::Ready);
    let mut object = with_condition("Available", "False");
    object["spec"] = json!({"replicas": 3});
    object["status"]["availableReplicas"] = json!(1);
    assert_eq!(judged("available", "deployments", &object), missing("1 of 3 replicas are available"));
    object["status"]["readyReplicas"] = json!(3);
    assert_eq!(judged("ready", "deployments", &object), State::Ready);
}

#[test]
fn a_pod_says_why_it_is_not_ready() {
    assert_eq!(judged("ready", "pods", &with_condition("Ready", "True")), State::Ready);
    let mut object = with_condition("Ready", "False");
    object["status"]["phase"] = json!("Pending");
    assert_eq!(judged("ready", "pods", &object), missing("Ready is False (Why: so)"));
    object["status"]["containerStatuses"] = json!([{"name": "a", "state": {"running": {}}}, {"name": "b", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]);
    assert_eq!(judged("ready", "pods", &object), missing("Pending, container b: ImagePullBackOff"));
    let mut leaving = with_condition("Ready", "True");
    leaving["metadata"] = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
    assert_eq!(judged("ready", "pods", &leaving), missing("it is being deleted"));
    let ended = json!({"status": {"phase": "Succeeded"}});
    assert_eq!(
        judged("ready", "pods", &ended),
        missing("it has ended (Succeeded) and is not ready any more")
    );
    assert_eq!(judged("complete", "pods", &ended), State::Ready);
}

#[test]
fn a_job_that_has_failed_never_completes() {
    assert_eq!(judged("complete", "jobs", &with_condition("Complete", "True")), State::Ready);
    let failed = judged("complete", "jobs", &with_condition("Failed", "True"));
    assert_eq!(failed, State::Failed("the Job has failed (Why: so)".to_owned()));
    let running = json!({"spec": {"completions": 3}, "status": {"succeeded": 1, "failed": 2}});
    assert_eq!(judged("complete", "jobs", &running), missing("1 of 3 completions, 2 failed Pods"));
    assert_eq!(
        judged("Failed", "jobs", &with_condition("Failed", "True")),
        State::Ready,
        "if one waits for it"
    );
}

#[test]
fn a_path_needs_its_value_or_anything_at_all() {
    let object = json!({"status": {"phase": "Pending", "list": ["a", "a"]}});
    let judged = |condition: &str| judged(condition, "pods", &object);
    assert_eq!(judged("jsonpath={.status.phase}"), State::Ready);
    assert_eq!(judged("jsonpath={.status.phase}=Running"), missing("it has \"Pending\", not \"Running\""));
    assert_eq!(judged("jsonpath='{.status.phase}'=Pending"), State::Ready);
    assert_eq!(judged("jsonpath=.status.phase=Pending"), State::Ready);
    assert_eq!(judged("jsonpath={.status.list[*]}=a"), State::Ready);
    assert_eq!(judged("jsonpath={.status.ip}"), missing("nothing is at {.status.ip}"));
    let ready = with_condition("Ready", "True");
    let filter = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}=True";
    assert_eq!(Condition::parse(filter).unwrap().judge("pods", &ready), State::Ready);
}

#[test]
fn each_kind_has_its_own_default() {
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
