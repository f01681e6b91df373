//! Kinds of objects, and the surroundings of a container.

use kube_probesim::kubelet::ContainerRole;
use std::fs;
use std::time::Duration;

use super::*;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn file(name: &str) -> Input {
    input(
        name,
        &fs::read_to_string(format!("{ROOT}/{name}")).unwrap_or_else(|error| panic!("{name}: {error}")),
    )
}

/// A workload of a kind with our container.
fn of_kind(version: &str, kind: &str, spec: &str, pod: &str) -> String {
    format!(
        "apiVersion: {version}\nkind: {kind}\nmetadata: {{name: web}}\nspec:\n{}  template:\n    metadata: {{labels: {{app: web}}}}\n    spec:\n{}      containers:\n      - name: probesim\n        image: kube-probesim\n        readinessProbe: {{tcpSocket: {{port: 8080}}}}\n",
        indented(spec, 2),
        indented(pod, 6)
    )
}

#[test]
fn the_manifests_of_this_project_are_read() {
    let inputs =
        ["deployment", "kustomization", "service"].map(|name| file(&format!("manifests/base/{name}.yaml")));
    let manifests = read(&inputs).unwrap_or_else(|errors| panic!("{errors}"));
    let [web] = manifests.workloads.as_slice() else { panic!("{:?}", manifests.workloads) };
    assert_eq!((&web.kind, web.name.as_str(), web.replicas), (&Kind::Deployment, "kube-probesim", 2));
    assert_eq!(web.place, "manifests/base/deployment.yaml, document 1");
    assert_eq!(web.probesim[0].pod_name, PodName::OfPod);
    assert!(web.assumptions.is_empty() && web.warnings.is_empty(), "{web:?}");
    let container = &web.pod.containers[0];
    let startup = container.startup.as_ref().unwrap();
    assert_eq!((startup.period, startup.failure_threshold), (1, 30));
    assert_eq!(
        startup.handler,
        ProbeHandler::Http {
            server: 0,
            endpoint: ProbeEndpoint::Target(Target::Startup),
            client: Client::Kubelet
        }
    );
    let rollout = web.rollout.unwrap();
    assert_eq!((rollout.min_ready, rollout.progress_deadline), (Duration::ZERO, Duration::from_secs(600)));
    assert_eq!(manifests.services[0].name, "kube-probesim");
    assert_eq!(manifests.services[0].workloads, [0]);
}

#[test]
fn a_live_pod_is_read_as_kubectl_prints_it() {
    let web =
        read(&[file("tests/integration/manifest/live-pod.yaml")]).unwrap_or_else(|errors| panic!("{errors}"));
    let web = &web.workloads[0];
    assert_eq!((&web.kind, web.name.as_str()), (&Kind::Pod, "kube-probesim-6c9f7d5b8-x2x7q"));
    assert_eq!(web.pod.grace, 30);
    assert_eq!(web.probesim[0].pod_name, PodName::OfPod);
    assert_eq!(readiness(web, 0).failure_threshold, 2);
    assert!(web.assumptions.is_empty() && web.warnings.is_empty(), "{web:?}");
}

#[test]
fn every_kind_is_read_with_its_number_of_pods() {
    for (version, kind, spec, pod, wanted, replicas) in [
        ("apps/v1", "Deployment", "replicas: 3", "", Kind::Deployment, 3),
        ("apps/v1", "Deployment", "", "", Kind::Deployment, 1),
        ("apps/v1", "StatefulSet", "replicas: 5", "", Kind::StatefulSet, 5),
        ("apps/v1", "DaemonSet", "", "", Kind::DaemonSet, 1),
        ("batch/v1", "Job", "parallelism: 4\ncompletions: 2", "restartPolicy: Never", Kind::Job, 2),
    ] {
        let web = workload(&of_kind(version, kind, spec, pod));
        assert_eq!((&web.kind, web.replicas), (&wanted, replicas), "{kind}");
        assert_eq!(web.rollout.is_some(), wanted == Kind::Deployment);
    }
}

#[test]
fn a_cron_job_is_one_run_of_its_job() {
    let text = "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: nightly}\nspec:\n  jobTemplate:\n    spec:\n      parallelism: 2\n      template:\n        spec:\n          restartPolicy: OnFailure\n          containers:\n          - {name: c, image: kube-probesim, livenessProbe: {tcpSocket: {port: 8080}}}\n";
    let job = workload(text);
    assert_eq!((job.kind, job.replicas, job.pod.restart_policy), (Kind::Job, 2, RestartPolicy::OnFailure));
    assert!(job.assumptions.iter().any(|text| text.contains("CronJob")));
}

#[test]
fn the_fields_around_a_rollout_are_read() {
    let text = of_kind("apps/v1", "Deployment", "minReadySeconds: 10\nprogressDeadlineSeconds: 60", "");
    let rollout = workload(&text).rollout.unwrap();
    assert_eq!(
        (rollout.min_ready, rollout.progress_deadline),
        (Duration::from_secs(10), Duration::from_secs(60))
    );
    let line = refusal(&text.replace("minReadySeconds: 10", "minReadySeconds: 60"));
    assert!(line.contains("spec.progressDeadlineSeconds: 60 is not a whole number from 61"), "{line}");
}

#[test]
fn restart_policies_are_read_and_checked_against_the_kind() {
    let never =
        probed("").replace("spec:\n", "spec:\n  restartPolicy: Never\n  terminationGracePeriodSeconds: 4\n");
    let web = workload(&never);
    assert_eq!((web.pod.restart_policy, web.pod.grace), (RestartPolicy::Never, 4));
    let own = workload(&probed("restartPolicy: OnFailure"));
    assert_eq!(own.pod.containers[0].restart_policy, Some(RestartPolicy::OnFailure));
    for (version, kind, pod) in [("batch/v1", "Job", ""), ("apps/v1", "DaemonSet", "restartPolicy: Never")] {
        assert!(refusal(&of_kind(version, kind, "", pod)).contains("spec.template.spec.restartPolicy: "));
    }
}

#[test]
fn lists_and_documents_are_split_into_objects() {
    let one = probed("");
    let item = indented(&one, 2).replacen("  ", "- ", 1);
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n{item}---\n\n---\n{}",
        one.replace("name: web", "name: second")
    );
    let workloads = manifests(&list).workloads;
    let places: Vec<&str> = workloads.iter().map(|workload| workload.place.as_str()).collect();
    assert_eq!(places, ["pod.yaml, document 1, item 1", "pod.yaml, document 3"]);
    let typed = format!(
        "apiVersion: v1\nkind: PodList\nitems:\n{}",
        item.replace("- apiVersion: v1\n  kind: Pod\n  m", "- m")
    );
    assert_eq!(workload(&typed).kind, Kind::Pod);
    assert_eq!(workload(&typed).name, "web");
    let json = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"j"},"spec":{"containers":[{"name":"c","image":"kube-probesim","livenessProbe":{"tcpSocket":{"port":8080}}}]}}"#;
    assert_eq!(workload(json).name, "j");
}

#[test]
fn containers_are_known_by_image_or_command() {
    let with =
        |image: &str, rest: &str| workload(&probed(rest).replace("kube-probesim:0.1.0", image)).is_known();
    assert!(with("registry.example:5000/x/kube-probesim@sha256:00", ""));
    assert!(with("renamed", "command: [/kube-probesim]"));
    assert!(with("kube-probesim", "args: [serve]"));
    assert!(!with("renamed", ""));
    assert!(!with("kube-probesim", "command: [/bin/sh]"));
    assert!(!with("kube-probesim", "args: [probe, 'http://db:80/']"));
}

#[test]
fn init_containers_and_native_sidecars_come_in_their_order() {
    let text = "
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  initContainers:
  - {name: migrate, image: example/migrate}
  - {name: wait, image: kube-probesim, args: [probe, --until, success]}
  - name: probesim
    image: kube-probesim
    restartPolicy: Always
    startupProbe: {httpGet: {path: /startupz, port: 8080}}
  containers:
  - {name: app, image: example/app, readinessProbe: {httpGet: {path: /readyz, port: 8080}}}
";
    let web = workload(text);
    let names: Vec<(&str, ContainerRole)> =
        web.pod.containers.iter().map(|container| (container.name.as_str(), container.role)).collect();
    assert_eq!(
        names,
        [
            ("migrate", ContainerRole::Init),
            ("wait", ContainerRole::Init),
            ("probesim", ContainerRole::Sidecar),
            ("app", ContainerRole::Main)
        ]
    );
    assert_eq!(readiness(&web, 3).handler.server(), Some(2));
    assert_eq!(web.probesim[0].position, 2);
}

#[test]
fn fields_that_are_not_modelled_are_listed() {
    let text = probed("")
        .replace("spec:\n", "spec:\n  hostNetwork: true\n  readinessGates: [{conditionType: a/b}]\n");
    let assumptions = workload(&text).assumptions.join("\n");
    for part in ["hostNetwork", "readinessGates"] {
        assert!(assumptions.contains(part), "{part}: {assumptions}");
    }
}

#[test]
fn a_service_selects_by_all_of_its_labels() {
    let service = |spec: &str| {
        let text =
            probed("") + "---\napiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: " + spec + "\n";
        manifests(&text).services.remove(0)
    };
    assert_eq!(service("{selector: {app: web}}").workloads, [0]);
    assert!(service("{selector: {app: web, tier: front}}").workloads.is_empty());
    assert!(service("{ports: [{port: 80}]}").workloads.is_empty());
    assert!(service("{selector: {app: web}, publishNotReadyAddresses: true}").publishes_not_ready);
    let foreign =
        probed("") + "---\napiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: s}\n";
    assert!(manifests(&foreign).services.is_empty());
}

#[test]
fn redirects_within_the_host_are_followed_and_others_are_not() {
    for (location, followed) in [
        ("/healthz", Some(ProbeEndpoint::Target(Target::Liveness))),
        ("gone", Some(ProbeEndpoint::Status(404))),
        ("http://example.com/", None),
        ("//example.com/healthz", None),
    ] {
        let env = format!(
            "env:\n- {{name: FAILURE_RATE, value: '20'}}\n- {{name: FAILURE_MODE, value: redirect}}\n- {{name: FAILURE_LOCATION, value: '{location}'}}"
        );
        let web = workload(&probed(&env));
        let program = web.pod.containers[0].program.as_ref().unwrap();
        assert_eq!(program.followed.first().map(|(_, aim)| *aim), followed, "{location}");
    }
}

#[test]
fn objects_that_do_not_run_this_program_are_read_beside_those_that_do() {
    let other = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: db}\nspec: {template: {spec: {containers: [{name: db, image: example/db, env: 7}]}}}\n";
    let crd = "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: thing}\n";
    let all = manifests(&[other, &probed(""), crd].join("---\n")).workloads;
    let names: Vec<(&str, bool)> = all.iter().map(|it| (it.name.as_str(), it.is_known())).collect();
    assert_eq!(names, [("db", false), ("web", true)]);
}
