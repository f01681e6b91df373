//! The component that puts the proxy in front of an application.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use serde_json::{Value, json};

use crate::support::manifests::{KUBECTL, objects, proxied};
use crate::support::tools;

const APPLICATION: &str = "
apiVersion: KIND
kind: KIND
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      initContainers: [{name: prepare, image: busybox}]
      containers:
        - name: web
          image: web
          ports: [{name: http, containerPort: 3000}]
          livenessProbe: {httpGet: {path: /live, port: http}, periodSeconds: 7}
          readinessProbe: {grpc: {port: 3000}}
          startupProbe: {tcpSocket: {port: 3000}}
        - name: helper
          image: helper
          livenessProbe: {httpGet: {path: /, port: 3001}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web-db}
spec:
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: db, livenessProbe: {httpGet: {port: 3000}}}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports:
    - {name: metrics, port: 9090, targetPort: 9090}
    - {name: http, port: 80, targetPort: http}
---
apiVersion: v1
kind: Service
metadata: {name: web-db}
spec: {selector: {app: db}, ports: [{port: 80, targetPort: 3000}]}
";

const SETTINGS: [&str; 4] =
    ["workload=web", "service=web", "servicePort=80", "upstream=http://127.0.0.1:3000"];

fn application(kind: &str) -> String {
    APPLICATION.replacen("apiVersion: KIND", "apiVersion: apps/v1", 1).replacen(
        "kind: KIND",
        &format!("kind: {kind}"),
        1,
    )
}

fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name).unwrap()
}

fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    list.as_array().unwrap().iter().find(|entry| entry["name"] == name).unwrap()
}

#[test]
fn the_proxy_stands_in_front_of_one_port_of_one_workload_of_each_kind() {
    if !tools::are_there(&[KUBECTL]) {
        return;
    }
    for (part, list) in [("native", "initContainers"), ("plain", "containers")] {
        for kind in ["Deployment", "StatefulSet", "DaemonSet"] {
            let parts = ["probes/liveness-http", "probes/readiness-grpc", part];
            let before = objects(&application(kind));
            let after = objects(&proxied(&application(kind), &SETTINGS, &parts).unwrap());
            assert_eq!(after.len(), before.len(), "the settings are no object of the cluster");

            // Everything but two probes of the application is unchanged.
            let spec = &find(&after, kind, "web")["spec"]["template"]["spec"];
            let mut expected = find(&before, kind, "web")["spec"]["template"]["spec"]["containers"].clone();
            expected[0]["livenessProbe"]["httpGet"]["port"] = json!(18080);
            expected[0]["readinessProbe"]["grpc"]["port"] = json!(18080);
            assert_eq!(
                spec["containers"].as_array().unwrap()[..2],
                expected.as_array().unwrap()[..],
                "{part} {kind}"
            );
            named(&spec["initContainers"], "prepare");
            assert_eq!(find(&after, "Deployment", "web-db"), find(&before, "Deployment", "web-db"));
            assert_eq!(find(&after, "Service", "web-db"), find(&before, "Service", "web-db"));

            // One port of the Service goes to the proxy.
            let service = &find(&after, "Service", "web")["spec"]["ports"];
            let port = |name| named(service, name).clone();
            assert_eq!(port("metrics"), json!({"name": "metrics", "port": 9090, "targetPort": 9090}));
            assert_eq!(port("http"), json!({"name": "http", "port": 80, "targetPort": 18080}));

            // The proxy has the application's address, and probes only its own admin listener.
            let proxy = named(&spec[list], "probesim");
            let variable = |name: &str| named(&proxy["env"], name)["value"].clone();
            assert_eq!(variable("UPSTREAM"), "http://127.0.0.1:3000");
            assert_eq!((variable("PORT"), variable("ADMIN_ADDRESS")), (json!("18080"), json!(":18081")));
            for probe in ["livenessProbe", "startupProbe"] {
                let handler = &proxy[probe]["httpGet"];
                assert!(
                    handler.is_null() || *handler == json!({"path": "/healthz", "port": 18081}),
                    "{handler}"
                );
            }
            assert!(proxy["livenessProbe"].is_object() && proxy.get("readinessProbe").is_none());
            assert_eq!(proxy["resources"]["limits"], json!({"memory": "128Mi"}));
            assert_eq!(proxy["restartPolicy"] == "Always", part == "native");
        }
    }
}

#[test]
fn missing_probes_and_settings_are_refused() {
    if !tools::are_there(&[KUBECTL]) {
        return;
    }
    let application = application("Deployment");
    let no_such_probe = proxied(&application, &SETTINGS, &["probes/readiness-http", "native"]).unwrap_err();
    assert!(no_such_probe.contains("/containers/0/readinessProbe/httpGet/port"), "{no_such_probe}");
    let no_upstream = proxied(&application, &SETTINGS[..3], &["native"]).unwrap_err();
    assert!(no_upstream.contains("upstream"), "{no_upstream}");
}
