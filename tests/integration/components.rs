//! Components applied to workloads of other applications.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs;

use kube_probesim::env::{VARIABLES, Variable};
use serde_json::{Value, json};

use crate::support::manifests::{KUBECTL, composed, name, objects, relative_to, rendered, scenarios};
use crate::support::{predict, repository, tools};

/// One workload of each kind, with different types of probes.
const WORKLOADS: &str = include_str!("../e2e/workloads.yaml");

const HANDLERS: [&str; 4] = ["exec", "grpc", "httpGet", "tcpSocket"];

/// The workloads with components, by kind.
fn with(components: &[&str]) -> Vec<(String, Value)> {
    workloads(&composed(Some(WORKLOADS), components))
}

fn workloads(text: &str) -> Vec<(String, Value)> {
    let objects = objects(text).into_iter().filter(|object| object["spec"]["template"].is_object());
    let mut workloads: Vec<(String, Value)> =
        objects.map(|object| (object["kind"].as_str().unwrap().to_owned(), object)).collect();
    workloads.sort_by(|(one, _), (other, _)| one.cmp(other));
    workloads
}

fn list<'a>(workload: &'a Value, containers: &str) -> &'a [Value] {
    workload["spec"]["template"]["spec"][containers].as_array().map_or(&[], Vec::as_slice)
}

/// Our container, and the list that it is in.
fn sidecar(workload: &Value) -> Option<(&'static str, &Value)> {
    let mut found = ["containers", "initContainers"].into_iter().flat_map(|containers| {
        let ours = list(workload, containers).iter().filter(|container| container["name"] == "probesim");
        ours.map(move |container| (containers, container))
    });
    let first = found.next();
    assert!(found.next().is_none(), "two containers of one name: {workload}");
    first
}

/// Whether a sidecar of this sort is meant for workloads of this kind: with a plain one, a Job would never complete.
fn is_meant(component: &str, kind: &str) -> bool {
    component == "sidecar" || kind != "Job"
}

#[test]
fn a_sidecar_does_not_change_the_containers_of_any_kind_of_workload() {
    if !tools::are_there(&[KUBECTL]) {
        return;
    }
    let own = workloads(WORKLOADS);
    assert_eq!(
        own.iter().map(|(kind, _)| kind).collect::<Vec<_>>(),
        ["DaemonSet", "Deployment", "Job", "StatefulSet"]
    );
    for component in ["sidecar", "sidecar-plain"] {
        for ((kind, before), (_, after)) in own.iter().zip(with(&[component])) {
            let count = list(before, "containers").len();
            assert_eq!(
                list(&after, "containers")[..count],
                list(before, "containers")[..],
                "{component}: {kind}"
            );
            if !is_meant(component, kind) {
                assert_eq!(after, *before, "{component}: {kind}");
                continue;
            }
            let (containers, sidecar) = sidecar(&after).unwrap();
            if component == "sidecar" {
                assert_eq!((containers, &sidecar["restartPolicy"]), ("initContainers", &json!("Always")));
            } else {
                assert_eq!((containers, &list(&after, "containers")[count]), ("containers", sidecar));
            }
            let ports: Vec<&Value> =
                sidecar["ports"].as_array().unwrap().iter().map(|port| &port["containerPort"]).collect();
            assert_eq!(ports, [&json!(18080), &json!(18081)]);
        }
    }
}

#[test]
fn a_cron_job_stays_as_it_is_with_each_component_for_sidecars() {
    if !tools::are_there(&[KUBECTL]) {
        return;
    }
    let cron_job = |text: &str| objects(text).into_iter().find(|object| object["kind"] == "CronJob").unwrap();
    let own = cron_job(WORKLOADS);
    for sidecar in ["sidecar", "sidecar-plain"] {
        for component in ["sidecar-probes", "prometheus-annotations", "mesh", "state", "configmap-control"] {
            let text = composed(Some(WORKLOADS), &[sidecar, component]);
            assert_eq!(cron_job(&text), own, "{sidecar} {component}");
        }
    }
}

#[test]
fn the_sidecars_probes_keep_the_timings_of_each_probe_and_have_one_handler() {
    if !tools::are_there(&[KUBECTL]) {
        return;
    }
    let mut replaced = BTreeSet::new();
    for component in ["sidecar", "sidecar-plain"] {
        for ((kind, before), (_, after)) in
            workloads(WORKLOADS).iter().zip(with(&[component, "sidecar-probes"]))
        {
            if !is_meant(component, kind) {
                assert_eq!(after, *before, "{component}: {kind}");
                continue;
            }
            let (mut expected, first) =
                (list(before, "containers")[0].clone(), &list(&after, "containers")[0]);
            for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
                let mut timings = expected[probe].as_object().cloned().unwrap_or_default();
                for handler in HANDLERS {
                    if timings.shift_remove(handler).is_some() {
                        replaced.insert(handler);
                    }
                }
                timings.insert("httpGet".to_owned(), json!({"path": path, "port": 18080}));
                expected[probe] = Value::Object(timings);
            }
            assert_eq!(*first, expected, "{component}: {kind}");
            for other in &list(before, "containers")[1..] {
                assert!(list(&after, "containers").contains(other), "{component}: {kind}");
            }
        }
    }
    assert_eq!(replaced, BTreeSet::from(HANDLERS), "the workloads have not every handler");
}

#[test]
fn components_for_control_and_state_modify_native_and_plain_sidecars() {
    if !tools::are_there(&[KUBECTL]) {
        return;
    }
    for component in ["sidecar", "sidecar-plain"] {
        for (kind, workload) in
            with(&[component, "sidecar-probes", "configmap-control", "annotation-control", "state"])
        {
            let Some((_, sidecar)) = sidecar(&workload) else {
                assert!(!is_meant(component, &kind), "{component}: {kind}");
                continue;
            };
            assert_eq!(sidecar["image"], "kube-probesim:0.1.0");
            let mounts = sidecar["volumeMounts"].as_array().unwrap().iter();
            let mounts: BTreeSet<&str> = mounts.map(|mount| mount["mountPath"].as_str().unwrap()).collect();
            assert_eq!(mounts, BTreeSet::from(["/etc/downwardapi", "/etc/probesim", "/var/lib/probesim"]));
            let variables = sidecar["env"].as_array().unwrap().iter();
            let variables: BTreeSet<&str> =
                variables.map(|variable| variable["name"].as_str().unwrap()).collect();
            for variable in ["FAULTS_FILE", "STATE_DIR", "PORT"] {
                assert!(variables.contains(variable), "{component}: {kind}: {variable}");
            }
        }
    }
}

/// Selections and exclusions of the admin port use its number in that Pod.
#[test]
fn scraping_mesh_and_network_policy_components_use_the_admin_port_of_a_sidecar() {
    if !tools::are_there(&[KUBECTL]) {
        return;
    }
    let components = ["prometheus-annotations", "mesh", "sidecar-networkpolicy", "monitoring"];
    for sidecar_component in ["sidecar", "sidecar-plain"] {
        let text = composed(Some(WORKLOADS), &[&[sidecar_component][..], &components].concat());
        let objects = objects(&text);
        let of_kind = |kind: &str| objects.iter().find(|object| object["kind"] == kind).unwrap();
        let monitor = &of_kind("PodMonitor")["spec"];
        let policy = &of_kind("NetworkPolicy")["spec"];
        assert_eq!(
            policy["podSelector"]["matchExpressions"],
            json!([{"key": "probesim.io/sidecar", "operator": "Exists"}])
        );
        for (kind, workload) in workloads(&text) {
            let Some((_, sidecar)) = sidecar(&workload) else { continue };
            let admin = &sidecar["ports"][1];
            let metadata = &workload["spec"]["template"]["metadata"];
            let port = admin["containerPort"].as_u64().unwrap();
            for annotation in [
                "prometheus.io/port",
                "traffic.sidecar.istio.io/excludeInboundPorts",
                "config.linkerd.io/skip-inbound-ports",
            ] {
                assert_eq!(metadata["annotations"][annotation], port.to_string(), "{kind}: {annotation}");
            }
            for (label, value) in monitor["selector"]["matchLabels"].as_object().unwrap() {
                assert_eq!(metadata["labels"][label], *value, "{kind}: {label}");
            }
            let endpoints = monitor["podMetricsEndpoints"].as_array().unwrap();
            assert!(endpoints.iter().any(|endpoint| endpoint["port"] == admin["name"]), "{kind}");
            assert!(metadata["labels"]["probesim.io/sidecar"].is_string(), "{kind}");
            assert!(!everybody_reaches(policy, port) && everybody_reaches(policy, port - 1), "{kind}");
            assert!(everybody_reaches(policy, 80) && everybody_reaches(policy, port + 1), "{kind}");
        }
    }
}

/// Whether a rule of the policy opens this TCP port to all sources.
fn everybody_reaches(policy: &Value, port: u64) -> bool {
    let rules = policy["ingress"].as_array().unwrap().iter().filter(|rule| rule["from"].is_null());
    rules.flat_map(|rule| rule["ports"].as_array().unwrap()).any(|ports| {
        let first = ports["port"].as_u64().unwrap();
        ports["protocol"] == "TCP" && (first..=ports["endPort"].as_u64().unwrap_or(first)).contains(&port)
    })
}

#[test]
fn the_same_components_use_the_admin_port_of_the_base() {
    if !tools::are_there(&[KUBECTL]) {
        return;
    }
    let text = composed(None, &["prometheus-annotations", "mesh", "monitoring"]);
    let (_, workload) = workloads(&text).remove(0);
    let metadata = &workload["spec"]["template"]["metadata"];
    for annotation in ["prometheus.io/port", "traffic.sidecar.istio.io/excludeInboundPorts"] {
        assert_eq!(metadata["annotations"][annotation], "8081");
    }
    assert_eq!(metadata["labels"]["probesim.io/scrape"], "true");
}

#[test]
fn predict_reads_components_for_control_and_state() {
    if !tools::are_there(&[KUBECTL]) {
        return;
    }
    let text = composed(None, &["configmap-control", "annotation-control", "state"]);
    assert!(text.contains("name: probesim-faults\n"));
    let text = text.replace("faults: []", "faults: [{name: from-file, target: traffic, mode: hang}]");
    let output = predict(&["--output", "json", "--for", "1m", "-"], &text);
    assert!(output.contains(r#""name":"from-file","source":"file""#), "{}", output.lines().last().unwrap());
}

/// Variables of containers of this image are those of the program.
#[test]
fn no_manifest_names_a_variable_that_does_not_exist() {
    if !tools::are_there(&[KUBECTL]) {
        return;
    }
    let known: BTreeSet<String> = VARIABLES.iter().flat_map(Variable::names).collect();
    let folders = scenarios().into_iter().chain([repository("manifests/base")]);
    let rendered = folders.map(|folder| (name(&folder).to_owned(), rendered(&folder)));
    let control = ["configmap-control", "annotation-control", "state"];
    let composed = ["sidecar", "sidecar-plain"].map(|component| {
        (component.to_owned(), composed(Some(WORKLOADS), &[&[component][..], &control].concat()))
    });
    let mut seen = 0;
    for (of, text) in rendered.chain(composed) {
        for (_, workload) in workloads(&text) {
            let containers =
                ["containers", "initContainers"].into_iter().flat_map(|which| list(&workload, which));
            let ours = containers
                .filter(|container| container["image"].as_str().unwrap().starts_with("kube-probesim"));
            for variable in ours.flat_map(|container| container["env"].as_array().into_iter().flatten()) {
                let variable = variable["name"].as_str().unwrap();
                assert!(known.contains(variable), "{of}: {variable}");
                seen += 1;
            }
        }
    }
    assert!(seen > 50);
}

#[test]
fn each_component_says_what_it_does() {
    let mut folders = vec![repository("manifests/components")];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        folders.extend(
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()),
        );
        let Ok(text) = fs::read_to_string(folder.join("kustomization.yaml")) else { continue };
        assert!(text.contains("\n# ") || name(&folder) == "monitoring", "{}", folder.display());
        seen += 1;
    }
    assert!(seen > 15, "{seen}");
}

/// The proxy of an ambassador is on loopback, in a container that ends after the application.
#[test]
fn an_ambassador_is_a_native_sidecar_with_a_proxy_on_loopback() {
    if !tools::are_there(&[KUBECTL]) {
        return;
    }
    let all = workloads(&composed(Some(WORKLOADS), &["ambassador"]));
    assert_eq!(all.len(), 4);
    for (kind, workload) in all {
        let containers = list(&workload, "initContainers");
        let proxy = containers.iter().find(|container| container["name"] == "probesim").unwrap();
        assert_eq!(proxy["restartPolicy"], "Always", "{kind}");
        let variables = proxy["env"].as_array().unwrap();
        let variable = |name: &str| variables.iter().find(|of| of["name"] == name).unwrap()["value"].clone();
        assert_eq!(variable("PROXIES"), "db=127.0.0.1:15432->postgres:5432", "{kind}");
        assert_eq!(variable("ADMIN_ADDRESS"), ":18081", "{kind}");
    }
}

/// `wait` may only read what it waits for, and only its container has its token.
#[test]
fn the_container_that_waits_has_the_least_permissions() {
    if !tools::are_there(&[KUBECTL]) {
        return;
    }
    let text = composed(Some(WORKLOADS), &["wait"]);
    let objects = objects(&text);
    let of_kind = |kind: &str| objects.iter().find(|object| object["kind"] == kind).unwrap();
    let rules = of_kind("Role")["rules"].as_array().unwrap();
    assert_eq!(rules[0]["resourceNames"], json!(["postgres"]));
    assert!(rules.iter().all(|rule| rule["verbs"] == json!(["get", "list", "watch"])));
    assert_eq!(rules[1]["resources"], json!(["endpointslices"]));
    let binding = of_kind("RoleBinding");
    assert_eq!(binding["roleRef"]["name"], of_kind("Role")["metadata"]["name"]);
    assert_eq!(binding["subjects"][0]["name"], "default");
    let all = workloads(&text);
    assert_eq!(all.len(), 4);
    for (kind, workload) in all {
        let waiting =
            list(&workload, "initContainers").iter().find(|container| container["name"] == "probesim-wait");
        let mount = &waiting.unwrap()["volumeMounts"][0];
        assert_eq!(mount["mountPath"], kube_probesim::cluster::MOUNT, "{kind}");
        let others = ["containers", "initContainers"].into_iter().flat_map(|which| list(&workload, which));
        let mounts = others.flat_map(|container| container["volumeMounts"].as_array().into_iter().flatten());
        assert_eq!(mounts.filter(|other| other["name"] == mount["name"]).count(), 1, "{kind}");
        let volumes = workload["spec"]["template"]["spec"]["volumes"].as_array().unwrap();
        let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).unwrap();
        let paths: Vec<String> =
            ["/0/serviceAccountToken/path", "/1/configMap/items/0/path", "/2/downwardAPI/items/0/path"]
                .map(|pointer| {
                    volume["projected"]["sources"].pointer(pointer).unwrap().as_str().unwrap().to_owned()
                })
                .into();
        assert_eq!(paths, ["token", "ca.crt", "namespace"], "{kind}");
    }
}

/// As documented, for Pods with a service account of their own.
#[test]
fn the_documented_kustomization_binds_the_role_to_the_pods_service_account() {
    if !tools::are_there(&[KUBECTL]) {
        return;
    }
    let page = fs::read_to_string(repository("docs/wait.md")).unwrap();
    let (_, block) = page.split_once("```\nnamespace: app\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let component = relative_to(folder.path())("manifests/components/wait");
    let kustomization =
        format!("namespace: app\n{block}").replace("../manifests/components/wait", &component);
    fs::write(folder.path().join("kustomization.yaml"), kustomization).unwrap();
    let application = r"{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {selector: {}, template: {spec:
        {serviceAccountName: web, containers: [{name: web, image: web}]}}}}";
    fs::write(folder.path().join("application.yaml"), application).unwrap();
    let objects = objects(&rendered(folder.path()));
    let of_kind = |kind: &str| objects.iter().find(|object| object["kind"] == kind).unwrap();
    let workload = of_kind("Deployment");
    let subject = &of_kind("RoleBinding")["subjects"][0];
    assert_eq!(subject["name"], workload["spec"]["template"]["spec"]["serviceAccountName"]);
    for object in [of_kind("Role"), of_kind("RoleBinding"), workload] {
        assert_eq!(object["metadata"]["namespace"], subject["namespace"], "{object}");
    }
    let waiting = &workload["spec"]["template"]["spec"]["initContainers"][0];
    assert_eq!(waiting["args"], json!(["wait", "--timeout=10m", "deployment/cache", "service/api"]));
    assert_eq!(of_kind("Role")["rules"][0]["resourceNames"], json!(["cache"]));
}

/// The Role grants access to what the arguments name.
#[test]
fn the_scenario_that_waits_may_read_what_it_waits_for() {
    if !tools::are_there(&[KUBECTL]) {
        return;
    }
    let text = rendered(&repository("manifests/scenarios/wait-for-dependency"));
    let objects = objects(&text);
    let named = |kind: &str, name: &str| {
        let found =
            objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("{kind} {name}")).clone()
    };
    let front = named("Deployment", "kube-probesim-wait-front");
    let thing = list(&front, "initContainers")[0]["args"].as_array().unwrap().last().unwrap().clone();
    let back = thing.as_str().unwrap().strip_prefix("deployment/").unwrap();
    named("Deployment", back);
    let role = objects.iter().find(|object| object["kind"] == "Role").unwrap();
    assert_eq!(role["rules"].as_array().unwrap().len(), 1);
    assert_eq!(role["rules"][0]["resourceNames"], json!([back]));
    let binding = objects.iter().find(|object| object["kind"] == "RoleBinding").unwrap();
    assert_eq!(binding["subjects"][0]["name"], front["spec"]["template"]["spec"]["serviceAccountName"]);
}
