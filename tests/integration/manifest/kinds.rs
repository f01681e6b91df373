//! The kinds of objects that make Pods, and when they make none.

use super::*;

/// An object with a Pod template; `spec` is added to its spec.
fn object(version: &str, kind: &str, spec: &str) -> String {
    format!(
        "apiVersion: {version}\nkind: {kind}\nmetadata: {{name: web}}\nspec:\n{}  template:\n    metadata: {{labels: {{app: web}}}}\n    spec:\n      containers:\n      - name: web\n        image: kube-probesim:0.1.0\n        readinessProbe: {{httpGet: {{path: /readyz, port: 8080}}}}\n",
        indented(spec, 2)
    )
}

#[test]
fn any_kind_with_a_pod_template_is_read() {
    for (version, kind, spec, replicas) in [
        ("apps/v1", "ReplicaSet", "replicas: 2\nselector: {matchLabels: {app: web}}", 2),
        ("v1", "ReplicationController", "replicas: 3", 3),
        ("argoproj.io/v1alpha1", "Rollout", "replicas: 4\nstrategy: {canary: {}}", 4),
        ("extensions/v1beta1", "Deployment", "", 1),
        ("apps.kruise.io/v1alpha1", "CloneSet", "", 1),
        ("serving.knative.dev/v1", "Service", "", 1),
    ] {
        let web = workload(&object(version, kind, spec));
        assert_eq!((web.kind.name(), web.name.as_str(), web.replicas), (kind, "web", replicas));
        assert!(web.kind.draws_names() && web.rollout.is_none());
        let is_foreign = !matches!(kind, "ReplicaSet" | "ReplicationController");
        assert_eq!(
            web.assumptions.iter().any(|line| line.contains("the controller of the kind")),
            is_foreign,
            "{kind}"
        );
    }
}

#[test]
fn a_container_of_knative_needs_neither_name_nor_port() {
    let text = object("serving.knative.dev/v1", "Service", "")
        .replace("- name: web\n        image", "- image")
        .replace(", port: 8080", "");
    let web = workload(&text);
    assert_eq!(web.pod.containers[0].name, "user-container");
    assert_eq!(readiness(&web, 0).handler.server(), Some(0));
    let wanted =
        "container user-container, readinessProbe: it has no port; its controller is assumed to set 8080";
    assert!(web.assumptions.iter().any(|line| line == wanted), "{:?}", web.assumptions);
}

#[test]
fn a_kind_that_makes_no_pods_is_counted() {
    let thing =
        "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: a}\nspec: {template: {spec: {url: x}}}\n";
    let other = "---\napiVersion: apps/v1\nkind: ReplicaSet\nmetadata: {name: db}\nspec: {template: {spec: {containers: [{name: db, image: example/db}]}}}\n";
    let manifests = manifests(&(thing.to_owned() + other));
    assert_eq!(manifests.others, [("Thing".to_owned(), 1)]);
    assert_eq!(manifests.workloads[0].name, "db");
}

#[test]
fn a_paused_deployment_makes_no_pod() {
    let web = workload(&object("apps/v1", "Deployment", "paused: true\nreplicas: 3"));
    assert_eq!((web.replicas, web.rollout), (0, None));
    assert_eq!(web.why_no_pods().as_deref(), Some("no Pod is created while the Deployment is paused"));
    let wanted = "paused: true; --pods predicts the Pods that the Deployment would create once resumed";
    assert!(web.assumptions.iter().any(|line| line == wanted), "{:?}", web.assumptions);
    assert_eq!(workload(&object("apps/v1", "Deployment", "paused: false")).replicas, 1);
}

#[test]
fn a_suspended_job_makes_no_pod() {
    let job = object("batch/v1", "Job", "suspend: true")
        .replace("containers:", "restartPolicy: Never\n      containers:");
    let suspended = workload(&job);
    assert_eq!(suspended.replicas, 0);
    assert_eq!(suspended.why_no_pods().as_deref(), Some("no Pod is created while the Job is suspended"));
    assert_eq!(workload(&job.replace("true", "false")).replicas, 1);
    let pod = "template: {spec: {restartPolicy: Never, containers: [{name: c, image: kube-probesim, livenessProbe: {tcpSocket: {port: 8080}}}]}}";
    let cron = format!(
        "apiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: c}}\nspec: {{suspend: true, jobTemplate: {{spec: {{{pod}}}}}}}\n"
    );
    assert_eq!(workload(&cron).replicas, 0);
}

#[test]
fn misspelt_fields_of_containers_and_probes_are_warnings() {
    let web = workload(&pod(
        "livenesProbe: {}\nenv: [{name: A, vlaue: b}]\nreadinessProbe: {httpGet: {path: /readyz, port: 8080, hosts: a}, periodSecond: 3, x: 1}",
    ));
    let place = "pod.yaml, document 1 (line 1), Pod/web, container probesim, spec.containers[0]";
    assert_eq!(
        web.warnings,
        [
            format!("{place}: unknown field livenesProbe, ignored; did you mean livenessProbe?"),
            format!("{place}.env[0]: unknown field vlaue, ignored; did you mean value?"),
            format!(
                "{place}.readinessProbe: unknown field periodSecond, ignored; did you mean periodSeconds?"
            ),
            format!("{place}.readinessProbe: unknown field x, ignored"),
            format!("{place}.readinessProbe.httpGet: unknown field hosts, ignored; did you mean host?"),
        ]
    );
    assert_eq!(readiness(&web, 0).period, 10);
}
