//! `kubectl probesim sidecar`, with a kubectl that keeps its objects in files and patches them as the real one does.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::kubectl::{PluginFolder, Ran};
use crate::support::manifests::{KUBECTL, composed};
use crate::support::tools;

const SCRIPT: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
while [ "${1#--}" != "$1" ]; do shift; done
echo "$1 $2" >> calls
file=$(echo "$2" | tr / -).json
case "$1 $2" in
  "get services")
    printf '{"items":['; separator=
    for each in service-*.json; do [ -f "$each" ] && { printf '%s' "$separator"; cat "$each"; separator=,; }; done
    printf ']}' ;;
  "rollout status") ;;
  get*) [ -f "$file" ] || { echo "error: the server doesn't have $2" >&2; exit 1; }; cat "$file" ;;
  patch*)
    object=$2; shift 2
    "$REAL" patch --local --filename "$file" --output json "$@" > new || exit 1
    mv new "$file"; echo "$object patched" ;;
  *) echo "error: unknown command $1" >&2; exit 1 ;;
esac
"#;

struct Cluster(PluginFolder);

impl Cluster {
    /// With a Deployment `web` and Services, unless kubectl is missing.
    fn of(deployment: &Value, services: &[Value]) -> Option<Self> {
        if !tools::are_there(&[KUBECTL]) {
            return None;
        }
        let cluster = Self(PluginFolder::new(SCRIPT));
        cluster.write("deployment-web", deployment);
        for service in services {
            cluster.write(&format!("service-{}", service["metadata"]["name"].as_str().unwrap()), service);
        }
        Some(cluster)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, object: &Value) {
        fs::write(self.path().join(format!("{name}.json")), object.to_string()).unwrap();
    }

    fn read(&self, name: &str) -> Value {
        serde_json::from_str(&fs::read_to_string(self.path().join(format!("{name}.json"))).unwrap()).unwrap()
    }

    fn calls(&self) -> Vec<String> {
        self.0.calls().lines().map(str::to_owned).filter(|call| !call.starts_with("get")).collect()
    }

    fn run(&self, args: &str) -> Ran {
        Ran::of(&self.0.command(args).output().unwrap())
    }
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
                "initContainers": [{"name": "prepare", "image": "busybox"}],
                "containers": [
                    {
                        "name": "web", "image": "shop",
                        "ports": [{"name": "http", "containerPort": 3000}, {"name": "metrics", "containerPort": 9100}],
                        "livenessProbe": {"httpGet": {"path": "/live", "port": "http", "scheme": "HTTP"}, "periodSeconds": 7},
                        "readinessProbe": {"exec": {"command": ["ready"]}, "failureThreshold": 2},
                    },
                    {"name": "helper", "image": "helper"},
                ],
            }},
        },
    })
}

fn service(name: &str, spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["selector"] = json!({"app": "web"});
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"}, "spec": spec})
}

fn services() -> Vec<Value> {
    let ports = json!([{"name": "metrics", "port": 9100, "targetPort": "metrics"}, {"name": "http", "port": 80, "targetPort": "http"}]);
    vec![
        service("web", &json!({"clusterIP": "10.0.0.1", "ports": ports})),
        service("web-headless", &json!({"clusterIP": "None", "ports": [{"port": 80, "targetPort": "http"}]})),
    ]
}

fn pod(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]
}

#[test]
fn a_proxy_is_put_between_services_and_application_and_taken_away_without_a_trace() {
    let Some(cluster) = Cluster::of(&deployment(), &services()) else { return };
    let ran = cluster.run("sidecar add deployment/web --proxy --port http --apply --yes");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("this restarts 3 Pods of deployment/web"), "{}", ran.err);
    assert!(ran.err.contains("service/web-headless is headless"), "{}", ran.err);
    // Services follow when every Pod has its proxy.
    assert_eq!(cluster.calls(), ["patch deployment/web", "rollout status", "patch service/web"]);

    let changed = cluster.read("deployment-web");
    let sidecar = pod(&changed)["initContainers"].as_array().unwrap();
    let sidecar = sidecar.iter().find(|container| container["name"] == "probesim").unwrap();
    assert!(
        sidecar["env"]
            .as_array()
            .unwrap()
            .contains(&json!({"name": "UPSTREAM", "value": "http://127.0.0.1:3000"})),
        "{sidecar}"
    );
    let application = &pod(&changed)["containers"][0];
    assert_eq!(
        application["livenessProbe"],
        json!({"httpGet": {"path": "/live", "port": 18080, "scheme": "HTTP"}, "periodSeconds": 7})
    );
    assert_eq!(application["readinessProbe"], pod(&deployment())["containers"][0]["readinessProbe"]);
    let ports = cluster.read("service-web")["spec"]["ports"].clone();
    assert_eq!((&ports[0]["targetPort"], &ports[1]["targetPort"]), (&json!("metrics"), &json!(18080)));
    assert_eq!(cluster.read("service-web-headless"), services()[1]);

    let again = cluster.run("sidecar add deployment/web --proxy --port http");
    assert_eq!(again.code, 69);
    assert!(again.err.contains("it has a container named probesim already"), "{}", again.err);

    fs::remove_file(cluster.path().join("calls")).unwrap();
    let ran = cluster.run("sidecar remove deployment/web --apply --yes");
    assert_eq!(ran.code, 0, "{}", ran.err);
    // Services leave the proxy before it goes.
    assert_eq!(cluster.calls(), ["patch service/web", "patch deployment/web", "rollout status"]);
    assert_eq!(cluster.read("service-web"), services()[0]);
    assert_eq!(without_empty(cluster.read("deployment-web")), without_empty(deployment()));
}

/// Removes empty fields, which are equivalent to absent ones.
fn without_empty(mut deployment: Value) -> Value {
    if deployment["metadata"]["annotations"].as_object().is_some_and(serde_json::Map::is_empty) {
        deployment["metadata"].as_object_mut().unwrap().remove("annotations");
    }
    deployment
}

#[test]
fn a_sidecar_is_asked_by_the_probes_and_they_are_as_before_when_it_is_gone() {
    for plain in ["", "--plain"] {
        let Some(cluster) = Cluster::of(&deployment(), &services()) else { return };
        let ran =
            cluster.run(&format!("sidecar add deployment/web {plain} --env FAILURE_RATE=20 --apply --yes"));
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert_eq!(cluster.calls(), ["patch deployment/web", "rollout status"]);
        let changed = cluster.read("deployment-web");
        let containers = pod(&changed)["containers"].as_array().unwrap();
        assert_eq!(containers[0]["name"], "web", "the application stays the first");
        assert_eq!(containers.len(), if plain.is_empty() { 2 } else { 3 });
        let [liveness, readiness] = ["livenessProbe", "readinessProbe"].map(|probe| &containers[0][probe]);
        assert_eq!(liveness, &json!({"httpGet": {"path": "/healthz", "port": 18080}, "periodSeconds": 7}));
        assert_eq!(readiness, &json!({"httpGet": {"path": "/readyz", "port": 18080}, "failureThreshold": 2}));
        assert!(changed.to_string().contains(r#"{"name":"FAILURE_RATE","value":"20"}"#), "{changed}");

        let ran = cluster.run("sidecar remove deployment/web --apply --yes");
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert_eq!(without_empty(cluster.read("deployment-web")), without_empty(deployment()));
    }
}

#[test]
fn the_containers_are_those_of_the_components() {
    for (plain, component) in [("", "sidecar"), ("--plain", "sidecar-plain")] {
        let Some(cluster) = Cluster::of(&deployment(), &[]) else { return };
        assert_eq!(cluster.run(&format!("sidecar add deployment/web {plain} --apply --yes")).code, 0);
        let ours = cluster.read("deployment-web");
        let composed = composed(Some(&deployment().to_string()), &[component, "sidecar-probes"]);
        let theirs = crate::support::manifests::objects(&composed).into_iter().next().unwrap();
        let named = |object: &Value| {
            let lists = ["containers", "initContainers"].map(|list| pod(object)[list].as_array().cloned());
            lists
                .into_iter()
                .flatten()
                .flatten()
                .filter(|container| container["name"] != "prepare")
                .collect::<Vec<_>>()
        };
        assert_eq!(named(&ours), named(&theirs), "{component}");
        let labels = |object: &Value| object["spec"]["template"]["metadata"]["labels"].clone();
        assert_eq!(labels(&ours), labels(&theirs));
    }
}

#[test]
fn without_apply_the_commands_are_printed_and_nothing_changes() {
    let Some(cluster) = Cluster::of(&deployment(), &services()) else { return };
    let ran = cluster.run("sidecar add deployment/web --proxy --port 3000 -n shop");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines[0], "# this restarts 3 Pods of deployment/web");
    assert!(
        lines[1].starts_with("kubectl --namespace=shop patch deployment/web --type=strategic '--patch={"),
        "{}",
        ran.out
    );
    assert_eq!(lines[2], "kubectl --namespace=shop rollout status deployment/web");
    assert!(lines[3].starts_with("kubectl --namespace=shop patch service/web --type=json"), "{}", ran.out);
    assert_eq!(lines.len(), 4);
    assert!(cluster.calls().is_empty(), "{:?}", cluster.calls());
    assert_eq!(
        (cluster.read("deployment-web"), cluster.read("service-web")),
        (deployment(), services()[0].clone())
    );

    let ran = cluster.run("sidecar add deployment/web --apply");
    assert_eq!(ran.code, 69);
    assert!(ran.err.contains("there is no terminal to ask on: add --yes"), "{}", ran.err);
    assert_eq!(cluster.read("deployment-web"), deployment());
}

#[test]
fn the_port_is_the_one_that_services_probes_or_declarations_name() {
    let only = |ports: Value| service("web", &json!({"clusterIP": "10.0.0.1", "ports": ports}));
    let Some(cluster) = Cluster::of(&deployment(), &[only(json!([{"port": 80, "targetPort": 3000}]))]) else {
        return;
    };
    assert!(cluster.run("sidecar add deployment/web --proxy").out.contains("http://127.0.0.1:3000"));
    cluster.write(
        "service-web",
        &only(json!([{"port": 80, "targetPort": 3000, "appProtocol": "kubernetes.io/h2c"}])),
    );
    assert!(cluster.run("sidecar add deployment/web --proxy").out.contains("h2c://127.0.0.1:3000"));
    cluster.write("service-web", &services()[0]);
    let ran = cluster.run("sidecar add deployment/web --proxy");
    assert_eq!(ran.code, 69);
    assert!(ran.err.contains("--port with one of 3000, 9100"), "{}", ran.err);
    let ran = cluster.run("sidecar add deployment/web --proxy --port grpc");
    assert!(ran.err.contains("the container has no port named \"grpc\""), "{}", ran.err);
    let ran = cluster.run("sidecar add deployment/web --proxy -c helper --port 80");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("no Service sends requests to port 80"), "{}", ran.err);
}

#[test]
fn what_cannot_have_a_sidecar_is_refused_with_the_reason() {
    let Some(cluster) = Cluster::of(&deployment(), &[]) else { return };
    for (field, value, error) in [
        ("/kind", json!("Job"), "deployment/web is a Job: a sidecar can be added to a Deployment"),
        ("/spec/template/spec/hostNetwork", json!(true), "use the network of the node, where port 18080"),
        ("/spec/template/spec/containers/0/ports/0/containerPort", json!(18081), "\"web\" uses port 18081"),
    ] {
        let mut object = deployment();
        object["spec"]["template"]["spec"]["hostNetwork"] = json!(false);
        *object.pointer_mut(field).unwrap() = value;
        cluster.write("deployment-web", &object);
        let ran = cluster.run("sidecar add deployment/web");
        assert_eq!(ran.code, 69, "{field}");
        assert!(ran.err.contains(error), "{field}: {}", ran.err);
    }
    cluster.write("deployment-web", &deployment());
    let ran = cluster.run("sidecar remove deployment/web");
    assert!(ran.err.contains("its sidecar was not added by this command"), "{}", ran.err);
    for (args, error) in [
        ("sidecar", "sidecar needs add or remove"),
        ("sidecar dance", "sidecar needs add or remove"),
        ("sidecar add", "sidecar needs an object"),
        ("sidecar add web", "\"web\" is not KIND/NAME"),
        ("sidecar add deployment/web --env x", "--env \"x\" is not NAME=VALUE"),
        ("sidecar add deployment/web --colour", "--colour is not an option"),
        ("sidecar add deployment/web --port 80", "--port is an option of sidecar add --proxy alone"),
        ("sidecar remove deployment/web --proxy", "sidecar remove takes only --apply and --yes"),
        ("sidecar add deployment/web extra", "unexpected argument \"extra\""),
    ] {
        let ran = cluster.run(args);
        assert_eq!(ran.code, 64, "{args}: {}", ran.err);
        assert!(ran.err.contains(error), "{args}: {}", ran.err);
    }
}
