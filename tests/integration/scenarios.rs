//! The scenarios: each renders, has its README and its row in the table, and what is predicted of it is what is expected.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::float_cmp)]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kube_probesim::cli::predict;
use kube_probesim::env::{VARIABLES, Variable};
use kube_probesim::plan::document;
use serde_json::{Map, Value, json};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What `kubectl kustomize` makes of a folder.
fn rendered(folder: &Path) -> String {
    let output = Command::new("kubectl").arg("kustomize").arg(folder).output();
    let output = output.expect("kubectl 1.27 or newer in the PATH renders the manifests");
    assert!(output.status.success(), "{}: {}", folder.display(), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn objects(text: &str) -> Vec<Value> {
    document::parse_all(text, 1 << 20).unwrap().into_iter().map(|document| document.value).collect()
}

fn folders(of: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("manifests").join(of)).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn name(folder: &Path) -> &str {
    folder.file_name().unwrap().to_str().unwrap()
}

/// The summary of `predict`, and how often a Pod's readiness changed at most for watchers.
fn predicted(manifests: &str, arguments: &[&str]) -> Value {
    let arguments = arguments.iter().copied().chain(["--output", "json", "-"]).map(OsString::from);
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let code = predict::run(arguments, &mut manifests.as_bytes(), false, &mut output, &mut errors);
    assert_eq!((code, String::from_utf8(errors).unwrap().as_str()), (0, ""));
    let lines: Vec<Value> =
        String::from_utf8(output).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = &lines.last().unwrap()["summary"];
    let mut flips: Map<String, Value> = Map::new();
    for event in lines.iter().filter(|line| line["event"] == "PodReady") {
        let count = flips.entry(event["pod"].as_str().unwrap()).or_insert(json!(0));
        *count = json!(count.as_u64().unwrap() + event["watchers_see"].as_array().unwrap().len() as u64);
    }
    let rounded = |value: &Value| value.as_f64().map(|value| (value * 1e4).round() / 1e4);
    json!({
        "pods": summary["pods"],
        "restarts": summary["restarts"],
        "ready_flips": flips.values().filter_map(Value::as_u64).max().unwrap_or(0),
        "worst_availability": rounded(&summary["worst_availability"]),
        "no_endpoint_ratio": rounded(&summary["service"]["no_endpoint_ratio"]),
        "failed_calls_ratio": rounded(&summary["service"]["failed_calls_ratio"]),
        "rollout_stalled_seconds": summary["rollout"]["stalled_seconds"],
        "advice": summary["advice"].as_array().unwrap().iter().map(|advice| advice["code"].clone()).collect::<Value>(),
    })
}

/// Compares with `expected.json`, which has the arguments of `predict`, the folder where it is not the scenario's own, and
/// the outcome: restarts over the Pods, how often the worst Pod became Ready or no longer Ready, its availability from
/// the first Ready on, the share of time without an endpoint, and when the rollout stalled. Rewrites it by
/// `UPDATE_SCENARIOS=1 cargo test --test scenarios`.
#[test]
fn each_scenario_has_the_outcome_that_is_expected_of_it() {
    let folders = folders("scenarios");
    assert!(folders.len() >= 18);
    for folder in folders {
        let path = folder.join("expected.json");
        let mut expected: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let arguments: Vec<String> = expected["arguments"]
            .as_array()
            .unwrap()
            .iter()
            .map(|text| text.as_str().unwrap().to_owned())
            .collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let of = expected["folder"].as_str().map_or_else(|| folder.clone(), |inner| folder.join(inner));
        let outcome = predicted(&rendered(&of), &arguments);
        if std::env::var_os("UPDATE_SCENARIOS").is_some() {
            expected["outcome"] = outcome;
            fs::write(&path, serde_json::to_string_pretty(&expected).unwrap() + "\n").unwrap();
        } else {
            assert_eq!(outcome, expected["outcome"], "{}", name(&folder));
        }
        let command = format!("kube-probesim predict {} -`", arguments.join(" "));
        let readme = fs::read_to_string(folder.join("README.md")).unwrap();
        assert!(readme.contains(&command), "{}: the README has another command", name(&folder));
    }
}

/// What the texts promise, in words that a figure can be held against.
#[test]
fn the_outcomes_are_what_the_texts_say() {
    let outcome = |scenario: &str| -> Value {
        let path = root().join("manifests/scenarios").join(scenario).join("expected.json");
        serde_json::from_str::<Value>(&fs::read_to_string(path).unwrap()).unwrap()["outcome"].clone()
    };
    let restarts = |scenario| outcome(scenario)["restarts"]["worst"].as_u64().unwrap();
    let availability = |scenario| outcome(scenario)["worst_availability"].as_f64().unwrap();
    for scenario in [
        "latency-above-timeout",
        "readiness-flapping",
        "slow-start-with-startup-probe",
        "stalled-rollout",
        "one-sided-cut",
        "partition-heals",
        "service-outage",
        "body-error",
        "node-drain",
        "random-number-service",
        "dependency-cascade",
        "endpoint-lag",
    ] {
        assert_eq!(restarts(scenario), 0, "{scenario}");
    }
    for scenario in ["liveness-restart", "crash-loop", "slow-start", "sidecar-restart", "bad-replicas"] {
        assert!(restarts(scenario) >= 3, "{scenario}");
    }
    assert_eq!(restarts("first-starts-fail"), 2);
    for scenario in ["latency-above-timeout", "slow-start", "stalled-rollout", "node-drain"] {
        assert_eq!(availability(scenario), 0.0, "{scenario}: never Ready");
    }
    for scenario in ["one-sided-cut", "body-error", "slow-start-with-startup-probe"] {
        assert_eq!(availability(scenario), 1.0, "{scenario}");
    }
    let failed = |scenario| outcome(scenario)["failed_calls_ratio"].as_f64().unwrap();
    assert!(failed("one-sided-cut") > 0.85, "every call times out from the second minute on");
    assert_eq!(failed("body-error"), 0.0);
    assert!(failed("partition-heals") > 0.0);
    assert_eq!(outcome("stalled-rollout")["rollout_stalled_seconds"], 60.0);
    assert_eq!(outcome("random-number-service")["ready_flips"], 2);
    assert!(outcome("service-outage")["no_endpoint_ratio"].as_f64().unwrap() > 0.05);
    assert_eq!(outcome("bad-replicas")["restarts"]["p50"], 0, "most replicas are well");
}

/// The README's table of scenarios; rewritten by `UPDATE_SCENARIOS=1`.
#[test]
fn the_table_of_the_readme_has_every_scenario() {
    let mut table = "| scenario | shows |\n|---|---|\n".to_owned();
    for folder in folders("scenarios") {
        let readme = fs::read_to_string(folder.join("README.md")).unwrap();
        let title = readme.lines().next().unwrap().strip_prefix("# ").unwrap();
        let (of, shows) = title.split_once(": ").unwrap();
        assert_eq!(of, name(&folder));
        for part in ["**Run:**", "**See:**", "**Learn:**"] {
            assert!(readme.contains(part), "{of} lacks {part}");
        }
        writeln!(table, "| [`{of}`](manifests/scenarios/{of}) | {shows} |").unwrap();
    }
    let path = root().join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once("<!-- scenarios -->\n").unwrap();
    let (block, after) = rest.split_once("<!-- /scenarios -->").unwrap();
    if std::env::var_os("UPDATE_SCENARIOS").is_some() {
        fs::write(&path, format!("{before}<!-- scenarios -->\n{table}<!-- /scenarios -->{after}")).unwrap();
    } else {
        assert_eq!(block, table);
    }
}

/// Variables of containers of this image are those of the program.
#[test]
fn no_manifest_names_a_variable_that_there_is_not() {
    let known: BTreeSet<String> = VARIABLES.iter().flat_map(Variable::names).collect();
    let mut seen = 0;
    let texts = folders("scenarios").into_iter().chain([root().join("manifests/base")]);
    let rendered = texts.map(|folder| (name(&folder).to_owned(), objects(&rendered(&folder))));
    let sidecars =
        ["sidecar", "sidecar-plain"].map(|component| (component.to_owned(), vec![with(&[component])]));
    let controlled = ("control".to_owned(), objects(&controlled()));
    for (of, objects) in rendered.chain(sidecars).chain([controlled]) {
        for object in objects {
            let spec = &object["spec"]["template"]["spec"];
            for list in ["containers", "initContainers"] {
                for container in spec[list].as_array().into_iter().flatten() {
                    if !container["image"].as_str().unwrap().starts_with("kube-probesim") {
                        continue;
                    }
                    for variable in container["env"].as_array().into_iter().flatten() {
                        let variable = variable["name"].as_str().unwrap();
                        assert!(known.contains(variable), "{of}: {variable}");
                        seen += 1;
                    }
                }
            }
        }
    }
    assert!(seen > 50);
}

const APPLICATION: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: nginx
          image: nginx
          ports: [{name: http, containerPort: 80}]
          livenessProbe: {httpGet: {path: /, port: http}}
          startupProbe: {httpGet: {path: /, port: http}}
        - name: helper
          image: busybox
          ports: [{containerPort: 8080}]
";

/// A foreign Deployment with some components.
fn with(components: &[&str]) -> Value {
    let of = format!("{}-{:?}-{}", std::process::id(), std::thread::current().id(), components.join("-"));
    let folder = std::env::temp_dir().join(format!("probesim-components-{of}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("app.yaml"), APPLICATION).unwrap();
    let mut list = String::new();
    for component in components {
        // Kustomize takes relative paths alone.
        let up = "../".repeat(folder.components().count());
        let path = root().join("manifests/components").join(component);
        writeln!(list, "  - {up}{}", path.strip_prefix("/").unwrap().display()).unwrap();
    }
    fs::write(folder.join("kustomization.yaml"), format!("resources: [app.yaml]\ncomponents:\n{list}"))
        .unwrap();
    let text = rendered(&folder);
    fs::remove_dir_all(&folder).unwrap();
    objects(&text).into_iter().find(|object| object["kind"] == "Deployment").unwrap()
}

#[test]
fn a_sidecar_leaves_the_containers_of_a_foreign_deployment_as_they_were() {
    let own = objects(APPLICATION).remove(0);
    let containers =
        |object: &Value| object["spec"]["template"]["spec"]["containers"].as_array().unwrap().clone();
    let native = with(&["sidecar"]);
    assert_eq!(containers(&native), containers(&own));
    let sidecar = &native["spec"]["template"]["spec"]["initContainers"][0];
    assert_eq!((&sidecar["name"], &sidecar["restartPolicy"]), (&json!("probesim"), &json!("Always")));
    let plain = with(&["sidecar-plain"]);
    assert_eq!(containers(&plain)[..2], containers(&own)[..]);
    assert_eq!(containers(&plain)[2]["name"], "probesim");
    for sidecar in [sidecar, &containers(&plain)[2]] {
        let ports: Vec<&Value> =
            sidecar["ports"].as_array().unwrap().iter().map(|port| &port["containerPort"]).collect();
        assert_eq!(ports, [&json!(18080), &json!(18081)]);
    }
}

#[test]
fn components_for_control_and_state_find_the_sidecar_whichever_it_is() {
    for (sidecar, list) in [("sidecar", "initContainers"), ("sidecar-plain", "containers")] {
        let changed = with(&[sidecar, "sidecar-probes", "configmap-control", "annotation-control", "state"]);
        let spec = &changed["spec"]["template"]["spec"];
        let all = ["containers", "initContainers"]
            .into_iter()
            .flat_map(|list| spec[list].as_array().into_iter().flatten());
        let ours: Vec<&Value> = all.filter(|container| container["name"] == "probesim").collect();
        assert_eq!(ours.len(), 1, "{sidecar}: {spec}");
        assert!(spec[list].as_array().unwrap().contains(ours[0]));
        assert_eq!(ours[0]["image"], "kube-probesim:0.1.0");
        let mounts: BTreeSet<&str> = ours[0]["volumeMounts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|mount| mount["mountPath"].as_str().unwrap())
            .collect();
        assert_eq!(mounts, BTreeSet::from(["/etc/downwardapi", "/etc/probesim", "/var/lib/probesim"]));
        let names: Vec<&Value> =
            ours[0]["env"].as_array().unwrap().iter().map(|variable| &variable["name"]).collect();
        for name in ["FAULTS_FILE", "STATE_DIR", "PORT"] {
            assert!(names.contains(&&json!(name)), "{sidecar}: {name}");
        }
        let nginx =
            spec["containers"].as_array().unwrap().iter().find(|container| container["name"] == "nginx");
        assert_eq!(nginx.unwrap()["livenessProbe"]["httpGet"]["port"], 18080, "{sidecar}");
    }
}

#[test]
fn with_the_sidecars_probes_only_probes_of_the_application_change() {
    let own = objects(APPLICATION).remove(0);
    for sidecar in ["sidecar", "sidecar-plain"] {
        let changed = with(&[sidecar, "sidecar-probes"]);
        let containers = changed["spec"]["template"]["spec"]["containers"].as_array().unwrap();
        let mut first = containers[0].clone();
        for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
            assert_eq!(first[probe]["httpGet"], json!({"path": path, "port": 18080}));
            first.as_object_mut().unwrap().remove(probe);
        }
        let mut before = own["spec"]["template"]["spec"]["containers"][0].clone();
        before.as_object_mut().unwrap().remove("livenessProbe");
        assert_eq!(first, before);
        assert_eq!(containers[1], own["spec"]["template"]["spec"]["containers"][1]);
    }
}

/// The base with all components that act on it.
fn controlled() -> String {
    let folder = root().join("target").join(format!("components-{:?}", std::thread::current().id()));
    fs::create_dir_all(&folder).unwrap();
    let list = "resources: [../../manifests/base]\ncomponents:\n  - ../../manifests/components/configmap-control\n  - ../../manifests/components/annotation-control\n  - ../../manifests/components/state\n  - ../../manifests/components/prometheus-annotations\n";
    fs::write(folder.join("kustomization.yaml"), list).unwrap();
    let text = rendered(&folder);
    fs::remove_dir_all(&folder).unwrap();
    text
}

#[test]
fn components_for_control_and_state_are_known_to_the_prediction() {
    let text = controlled();
    assert!(text.contains("name: probesim-faults\n") && text.contains("prometheus.io/scrape: \"true\""));
    let plan = "faults: [{name: from-file, target: traffic, mode: hang}]";
    let text = text.replace("faults: []", plan);
    let arguments = ["--output", "json", "--for", "1m", "-"].map(OsString::from);
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let code = predict::run(arguments, &mut text.as_bytes(), false, &mut output, &mut errors);
    assert_eq!((code, String::from_utf8(errors).unwrap().as_str()), (0, ""));
    let output = String::from_utf8(output).unwrap();
    assert!(output.contains(r#""name":"from-file","source":"file""#), "{}", output.lines().last().unwrap());
}
