//! `kubectl probesim`, with a scripted kubectl that reaches real services.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::kubectl::{PluginFolder, Ran};
use crate::support::process::Process;

/// Answers `get` from files, and runs `exec` locally, on the service whose admin port is in the Pod's file.
const KUBECTL: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
echo "$*" >> calls
while [ "${1#--}" != "$1" ]; do shift; done
case "$1" in
  get)
    shift; for word; do case "$word" in --*) ;; *) object=$word; break ;; esac; done
    file=$(echo "$object" | tr / -).json
    [ -f "$file" ] || { echo "error: the server doesn't have $object" >&2; exit 1; }
    cat "$file" ;;
  exec)
    pod=$2
    [ -f "$pod.port" ] || { echo "error: unable to upgrade connection: container not found" >&2; exit 1; }
    while [ "$1" != -- ]; do shift; done
    shift 2
    ADMIN_ADDRESS=":$(cat "$pod.port")" exec "$PROGRAM" "$@" ;;
  port-forward) echo "Forwarding from 127.0.0.1:4711 -> ${4#:}" ;;
  *) echo "error: unknown command $1" >&2; exit 1 ;;
esac
"#;

/// A namespace with Pods, each of which runs our service.
struct Cluster {
    folder: PluginFolder,
    services: Vec<Process>,
}

impl Cluster {
    fn of(count: usize) -> Self {
        let folder = PluginFolder::new(KUBECTL);
        let path = folder.path();
        let start = |number: usize| {
            let service = Process::start(&[("ADMIN_ADDRESS", ":0")]);
            fs::write(path.join(format!("web-{number}.port")), service.admin.port().to_string()).unwrap();
            service
        };
        let services: Vec<Process> = (0..count).map(start).collect();
        let items: Vec<Value> = (0..count).map(|number| pod(number, "kube-probesim:0.1.0")).collect();
        fs::write(path.join("pods.json"), json!({ "items": items }).to_string()).unwrap();
        Self { folder, services }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn run(&self, args: &str) -> Ran {
        Ran::of(&self.folder.command(args).output().unwrap())
    }

    fn statuses(&self) -> Vec<u16> {
        self.services.iter().map(|service| service.status("/readyz").unwrap()).collect()
    }

    fn calls(&self) -> String {
        self.folder.calls()
    }
}

fn pod(number: usize, image: &str) -> Value {
    json!({
        "metadata": {"name": format!("web-{number}"), "namespace": "shop"},
        "spec": {"containers": [{"name": "probesim", "image": image}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"restartCount": number}],
        },
    })
}

#[test]
fn a_rule_is_added_listed_and_removed_in_all_pods_of_a_selector() {
    let cluster = Cluster::of(3);
    let added = cluster.run("add readiness --status 503 --for 2m -l app=web -n shop --context kind");
    assert_eq!((added.code, added.err.as_str()), (0, ""));
    let rows = added.rows();
    assert_eq!(rows[0], ["POD", "RESULT", "ANSWER"]);
    for number in 0..3 {
        let pod = format!("web-{number}");
        assert_eq!(rows[number + 1][..4], [pod.as_str(), "done", "readiness-status", "is"]);
    }
    assert_eq!(cluster.statuses(), [503, 503, 503]);
    let calls = cluster.calls();
    assert!(
        calls.contains("--namespace=shop --context=kind get pods --selector=app=web --output=json"),
        "{calls}"
    );
    assert!(
        calls.contains("exec web-1 --namespace=shop --container=probesim -- /kube-probesim fault add"),
        "{calls}"
    );

    let list = cluster.run("list -l app=web");
    assert_eq!(list.rows()[2][..4], ["web-1", "readiness-status", "api", "readiness"]);
    let top = cluster.run("top -lapp=web");
    assert_eq!(top.rows()[0], ["POD", "READY", "RESTARTS", "RULES", "ELIGIBLE", "INJECTED"]);
    assert_eq!(top.rows()[3], ["web-2", "yes", "2", "1", "1", "1"]);
    assert_eq!(top.rows()[4], ["3", "Pods", "3", "3", "3", "3", "3"]);

    assert_eq!(cluster.run("rm readiness-status --all").code, 0);
    assert_eq!(cluster.statuses(), [200, 200, 200]);
    assert_eq!(cluster.run("list --all").rows()[1], ["web-0", "no", "rule"]);
}

#[test]
fn a_share_selects_its_exact_number_of_pods_and_repeats_with_its_seed() {
    let cluster = Cluster::of(4);
    let added = cluster.run("add readiness --status 503 --pods 30% --all");
    assert_eq!(added.code, 0, "{}", added.err);
    let down = cluster.statuses();
    assert_eq!(down.iter().filter(|status| **status == 503).count(), 2);
    let seed = added.err.split("--seed ").nth(1).unwrap().split(':').next().unwrap();
    assert!(added.err.starts_with("2 of 4 Ready Pods"), "{}", added.err);
    assert_eq!(cluster.run("stop --all").code, 0);
    assert_eq!(cluster.statuses(), [200; 4]);
    assert_eq!(cluster.run("resume --all").code, 0);
    assert_eq!(cluster.run("reset --all").code, 0);
    assert_eq!(cluster.run(&format!("add readiness --status 503 --pods 30% --seed {seed} --all")).code, 0);
    assert_eq!(cluster.statuses(), down);
}

#[test]
fn a_pod_that_fails_has_a_row_and_changes_the_exit_code() {
    let cluster = Cluster::of(3);
    fs::remove_file(cluster.path().join("web-1.port")).unwrap();
    let ran = cluster.run("add readiness --status 503 --all");
    assert_eq!(ran.code, 1);
    assert_eq!(ran.rows()[2][..2], ["web-1", "FAILED"]);
    assert!(ran.out.contains("container not found"), "{}", ran.out);
    assert!(ran.err.contains("1 of 3 Pods failed"), "{}", ran.err);
    assert_eq!(
        [cluster.services[0].status("/readyz"), cluster.services[2].status("/readyz")],
        [Some(503); 2]
    );
    let top = cluster.run("top --all");
    assert_eq!((top.code, top.rows()[2][..4].join(" ").as_str()), (1, "web-1 yes 1 FAILED"));
    assert!(top.out.ends_with("container not found\n"), "{}", top.out);
    let json = cluster.run("list --all -o json");
    let objects: Vec<Value> = json.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects[0]["answers"][0]["rules"][0]["name"], "readiness-status");
    assert!(objects[1]["error"].as_str().unwrap().contains("container not found"));
}

#[test]
fn global_options_of_kubectl_are_passed_on_and_a_level_shows_its_log() {
    let cluster = Cluster::of(1);
    let script = fs::read_to_string(cluster.path().join("kubectl")).unwrap();
    let log = "#!/bin/sh\necho 'I1127 15:25:37.948813 1 loader.go:402] Config loaded' >&2";
    fs::write(cluster.path().join("kubectl"), script.replacen("#!/bin/sh", log, 1)).unwrap();
    let globals = "--context a --kubeconfig=/x -n shop --as bob --request-timeout 5s --warnings-as-errors";
    let passed =
        "--context=a --kubeconfig=/x --namespace=shop --as=bob --request-timeout=5s --warnings-as-errors";
    let ran = cluster.run(&format!("list --all {globals}"));
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "the log is not shown");
    assert_eq!(cluster.calls().matches(passed).count(), 2, "{}", cluster.calls());
    for level in ["-v 6", "-v=6", "-v6", "--v=6", "--v 6"] {
        let before = cluster.calls().matches("--v=6").count();
        let ran = cluster.run(&format!("list {level} --all"));
        assert_eq!(ran.code, 0, "{level}: {}", ran.err);
        assert!(ran.err.contains("Config loaded"), "{level}: {}", ran.err);
        assert_eq!(cluster.calls().matches("--v=6").count(), before + 2, "{level}");
    }
    assert_eq!(cluster.run("list -v --all").code, 0, "a level may be missing");
}

#[test]
fn a_local_plan_file_reaches_every_pod() {
    let cluster = Cluster::of(2);
    let file = cluster.path().join("plan.yaml");
    fs::write(&file, "faults:\n  - {name: down, target: readiness, mode: status, status: 503}\n").unwrap();
    let ran = cluster.run(&format!("add --file {} --all", file.display()));
    assert_eq!((ran.code, cluster.statuses()), (0, vec![503, 503]), "{}{}", ran.out, ran.err);
    let state = cluster.run("list --all").out;
    assert!(
        state.contains("14m5") || state.contains("15m"),
        "the rules end after a quarter of an hour: {state}"
    );
}

#[test]
fn a_dry_run_prints_the_commands_and_changes_nothing() {
    let cluster = Cluster::of(2);
    let ran = cluster.run("add readiness --status 503 --all --dry-run");
    let command = "kubectl exec web-0 --namespace=shop --container=probesim -- /kube-probesim fault add readiness --status 503";
    assert_eq!((ran.code, ran.out.lines().next()), (0, Some(command)));
    assert_eq!(cluster.statuses(), [200, 200]);
    assert!(!cluster.calls().contains("exec"), "{}", cluster.calls());
}

#[test]
fn mistakes_are_reported_before_any_pod_is_contacted() {
    let cluster = Cluster::of(0);
    for (args, error) in [
        ("add readiness --status 503", "which Pods? -l SELECTOR, --pod NAME or --all"),
        ("add --colour 5 readiness --all", "--colour is not an option of fault add"),
        ("add readiness --all --pods 0", "--pods \"0\" must be more than 0%"),
        ("add readiness --all --pods many", "--pods \"many\""),
        ("list --all --pods 30%", "--pods is an option of add and inject alone"),
        ("add readiness --pod a -l b", "--selector and --pod exclude each other"),
        ("add readiness --all --seed x", "--seed \"x\" is not a whole number"),
        ("dance", "\"dance\" is not one of add, list"),
        ("add readiness --all --rate 200% --status 99", "200%"),
        ("add readiness --all --rate 200% --status 99", "status"),
        ("predict", "predict needs an object"),
        ("predict web", "\"web\" is not KIND/NAME"),
        ("dashboard web-0 --port 0", "--port 0 is no port"),
        ("list --all -v=high", "-v \"high\" is not a level"),
        ("dashboard", "dashboard needs the name of a Pod"),
        ("list --all -n", "--namespace needs a value"),
    ] {
        let ran = cluster.run(args);
        assert_eq!((ran.code, ran.out.as_str()), (64, ""), "{args}");
        assert!(ran.err.contains(error), "{args}: {}", ran.err);
    }
    assert_eq!(cluster.calls(), "");
    let ran = cluster.run("list --all");
    assert_eq!((ran.code, ran.err.as_str()), (69, "kube-probesim kubectl: no Pod is there for --all\n"));
}

#[test]
fn a_live_object_is_predicted_with_its_config_maps_services_and_budgets() {
    let cluster = Cluster::of(0);
    let labels = json!({"app": "web"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {
            "containers": [{"name": "web", "image": "kube-probesim:0.1.0",
                "envFrom": [{"configMapRef": {"name": "drill"}}],
                "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10}}],
        }}},
    });
    let config = json!({"apiVersion": "v1", "kind": "List", "items": [{
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "drill", "namespace": "shop"},
        "data": {"LIVENESS_FAIL_AFTER_TIME": "1m"},
    }]});
    let service = json!({"items": [{
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
    }]});
    for (name, object) in [
        ("deployment-web", &deployment),
        ("configmaps", &config),
        ("services", &service),
        ("poddisruptionbudgets", &json!({"items": []})),
    ] {
        fs::write(cluster.path().join(format!("{name}.json")), object.to_string()).unwrap();
    }
    let ran = cluster.run("predict deployment/web --fail-on restarts>0");
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("failed liveness probe, will be restarted"), "{}", ran.out);
    assert!(!cluster.calls().contains("secret"), "{}", cluster.calls());
}

#[test]
fn dashboard_prints_the_forwarded_address() {
    let cluster = Cluster::of(0);
    let ran = cluster.run("dashboard web-0 --port 9000");
    assert_eq!((ran.code, ran.out.as_str()), (0, "pod/web-0: http://127.0.0.1:4711/ (Ctrl-C ends it)\n"));
    assert!(
        cluster.calls().contains("port-forward --address=127.0.0.1 pod/web-0 :9000"),
        "{}",
        cluster.calls()
    );
}
