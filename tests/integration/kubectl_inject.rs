//! `kubectl probesim inject`, through the real kubectl.

mod admission;
mod cluster;
mod refusals;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};

use serde_json::{Value, json};

use crate::support::process::signal;
use admission::Level;
use cluster::{Behaviour, Cluster};

/// Ended by its time limit soon after it has begun.
fn short(cluster: &Cluster, pods: &[&str]) {
    cluster.change(|state| {
        for pod in pods {
            state.behaviours.insert((*pod).to_owned(), Behaviour::Ends(4));
        }
    });
}

#[test]
fn an_ephemeral_container_takes_the_port_over_and_is_followed_to_its_end() {
    let Some(cluster) = Cluster::of(1) else { return };
    short(&cluster, &["web-0"]);
    let ran = cluster.run("inject pod/web-0 --port 8080 --for 90s --delay 200ms --rate 10% --existing");
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(
        lines,
        [
            "web-0  taken over: 10.0.0.5:8080 -> 127.0.0.1:8080, until 2026-11-27T16:00:00Z",
            "web-0  ended by time limit: the next connection reached the application",
            "POD    RULE    ELIGIBLE  INJECTED",
            "web-0  inject  40        4",
        ]
    );
    let added = cluster.added();
    let container = &added[0];
    assert!(container["name"].as_str().unwrap().starts_with("probesim-8080-"), "{container}");
    assert_eq!(container["image"], concat!("kube-probesim:", env!("CARGO_PKG_VERSION")));
    assert_eq!(container["targetContainerName"], "web");
    assert_eq!(
        container["command"],
        json!([
            "/kube-probesim",
            "attach",
            "--port=8080",
            "--for=1m30s",
            "--existing",
            "--delay",
            "200ms",
            "--rate",
            "10%",
            "--name=inject"
        ])
    );
    assert_eq!(
        container["securityContext"],
        json!({
            "runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": false, "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"], "add": ["SYS_PTRACE", "SETUID"]},
        })
    );
    // The whole Pod goes back, at the version that was read.
    cluster.change(|state| {
        assert_eq!(state.added[0]["spec"]["containers"][1]["name"], "web");
        assert_eq!(state.added[0]["metadata"]["resourceVersion"], "1");
        assert_eq!(state.dry.len(), 1);
    });
}

#[test]
fn ctrl_c_ends_what_the_command_began() {
    let Some(cluster) = Cluster::of(2) else { return };
    let mut child = cluster.start("inject deploy/web --port http --status 503 --yes");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    for _ in 0..2 {
        let line = lines.next().unwrap();
        assert!(line.contains("taken over"), "{line}");
    }
    signal(&child, "INT");
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest:?}");
    assert!(rest[0].contains("ended by stop") && rest[1].contains("ended by stop"), "{rest:?}");
    assert_eq!(rest.last().unwrap().split_whitespace().collect::<Vec<_>>(), ["all", "80", "8"]);
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert!(err.contains("ending it"), "{err}");
    let calls = cluster.calls();
    assert_eq!(calls.matches("-- /kube-probesim attach --stop").count(), 2, "{calls}");
}

#[test]
fn a_detached_injection_goes_on_until_it_is_stopped() {
    let Some(cluster) = Cluster::of(2) else { return };
    let ran = cluster.run("inject pod/web-1 --mode close --detach --for 10m");
    assert_eq!((ran.code, ran.out.lines().count()), (0, 1), "{}{}", ran.out, ran.err);
    let again = cluster.run("inject deploy/web --port 8080 --status 500 --yes");
    assert_eq!(again.code, 1);
    assert!(again.err.contains("web-1  port 8080 is taken over already"), "{}", again.err);
    assert!(again.err.contains("nothing was changed"), "{}", again.err);
    assert_eq!(cluster.added().len(), 1);

    let other = cluster.run("inject --stop deploy/web --port 9090");
    assert_eq!((other.code, other.err.as_str()), (0, "nothing is injected there\n"));
    let stopped = cluster.run("inject --stop deploy/web -o json");
    assert_eq!(stopped.code, 0, "{}{}", stopped.out, stopped.err);
    let objects: Vec<Value> = stopped.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let end = objects.last().unwrap();
    assert_eq!((&end["pod"], &end["released"]["reason"]), (&json!("web-1"), &json!("stop")));
    assert_eq!(cluster.run("inject --stop pod/web-1").err, "nothing is injected there\n");
}

#[test]
fn a_running_injection_is_steered_and_its_page_is_forwarded() {
    let Some(cluster) = Cluster::of(2) else { return };
    assert_eq!(cluster.run("inject pod/web-1 --mode close --detach").code, 0);
    let name = cluster.added()[0]["name"].as_str().unwrap().to_owned();
    let added = cluster.run("add traffic --delay 1s --all");
    assert_eq!(added.code, 0, "{}{}", added.out, added.err);
    let calls = cluster.calls();
    assert!(
        calls.contains(&format!(
            "exec web-1 --namespace=shop --container={name} -- /kube-probesim fault add traffic --delay 1s --admin=127.0.0.1:43121"
        )),
        "{calls}"
    );
    assert!(!calls.contains("exec web-0"), "nothing of ours is in the other Pod: {calls}");
    for (args, port) in
        [("dashboard web-1", 43121), ("dashboard web-0", 8081), ("dashboard web-1 --port 9", 9)]
    {
        assert_eq!(cluster.run(args).code, 0);
        let call = cluster.calls().lines().last().unwrap().to_owned();
        assert!(call.ends_with(&format!(":{port}")), "{args}: {call}");
    }
}

#[test]
fn an_injection_that_cannot_be_stopped_says_when_it_ends() {
    let Some(cluster) = Cluster::of(1) else { return };
    assert_eq!(cluster.run("inject pod/web-0 --mode close --detach").code, 0);
    fs::write(cluster.path().join("no-exec"), "Error from server (Forbidden): pods \"web-0\" is forbidden\n")
        .unwrap();
    let ran = cluster.run("inject --stop pod/web-0");
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(
        ran.out.contains("pods \"web-0\" is forbidden; it ends by itself at 2026-11-27T16:00:00Z"),
        "{}",
        ran.out
    );
}

#[test]
fn a_share_of_a_workload_is_picked_and_several_pods_ask_first() {
    let Some(cluster) = Cluster::of(4) else { return };
    let ran = cluster.run("inject deploy/web --pods 30% --seed 3 --path /orders/* --status 503 --dry-run");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let rows = ran.rows();
    assert_eq!(rows[0], ["POD", "CONTAINER", "PORT", "USER", "CAPABILITIES"]);
    assert_eq!(rows[1][1..], ["web", "8080", "0:0", "SYS_PTRACE,", "SETUID"]);
    assert!(ran.out.contains("2 of 4 Ready Pods: about 50% of the requests to them, for 5m"), "{}", ran.out);
    assert!(ran.out.contains("The kubelet is spared"), "{}", ran.out);
    assert!(cluster.added().is_empty(), "a dry run changes nothing");

    let ran = cluster.run("inject deploy/web --status 503");
    assert_eq!(ran.code, 69);
    assert!(ran.err.contains("no terminal to ask on: add --yes"), "{}", ran.err);
    assert!(cluster.added().is_empty());

    let ran = cluster.run("inject -l app=web --pods 50 --seed 3 --status 503 --yes --detach");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(cluster.added().len(), 2);
}

#[test]
fn a_plan_file_becomes_a_variable_of_the_container() {
    let Some(cluster) = Cluster::of(1) else { return };
    let file = cluster.path().join("plan.yaml");
    fs::write(&file, "faults:\n  - {name: slow, delay: 50ms, match: {path: /a$(b)}}\n  - {target: traffic, mode: close, rate: 1%}\n")
        .unwrap();
    let ran = cluster.run(&format!("inject pod/web-0 --file {} --detach", file.display()));
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let added = cluster.added();
    assert_eq!(added[0]["command"], json!(["/kube-probesim", "attach", "--port=8080", "--for=5m"]));
    let variables = added[0]["env"].as_array().unwrap();
    let plan =
        variables.iter().find(|variable| variable["name"] == "FAULTS").unwrap()["value"].as_str().unwrap();
    // Kubernetes makes one dollar of two.
    let plan: Value = serde_json::from_str(&plan.replace("$$", "$")).unwrap();
    assert_eq!(
        plan,
        json!({"faults": [
            {"name": "slow", "delay": "50ms", "match": {"path": "/a$(b)"}, "target": "traffic"},
            {"target": "traffic", "mode": "close", "rate": "1%", "name": "inject-2"},
        ]})
    );
    for (text, error) in [
        ("faults: [{target: liveness, status: 500}]", "target \"liveness\" is not traffic"),
        ("faults: [{mode: status, status: 5000}]", "status=\"5000\": is not"),
    ] {
        fs::write(&file, text).unwrap();
        let ran = cluster.run(&format!("inject pod/web-0 --file {}", file.display()));
        assert_eq!(ran.code, 64, "{text}");
        assert!(ran.err.contains(error), "{text}: {}", ran.err);
    }
}

#[test]
fn the_rights_are_the_first_that_the_level_of_pod_security_admits() {
    let Some(cluster) = Cluster::of(1) else { return };
    let level = |level| cluster.change(|state| state.level = level);
    let pod = |change: fn(&mut Value)| cluster.change(|state| change(state.pods.get_mut("web-0").unwrap()));
    level(Level::Baseline);
    let ran = cluster.run("inject pod/web-0 --status 503");
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("must not include \"SYS_PTRACE\" in securityContext"), "{}", ran.err);
    assert!(ran.err.contains("--run-as UID:GID names it"), "{}", ran.err);

    let ran = cluster.run("inject pod/web-0 --status 503 --run-as 101:102 --dry-run");
    assert!(ran.out.contains("101:102  none\n"), "{}", ran.out);
    assert!(ran.out.contains("note: without SYS_PTRACE"), "{}", ran.out);

    pod(|pod| {
        pod["spec"]["securityContext"] = json!({"runAsUser": 7, "runAsGroup": 8, "runAsNonRoot": true});
    });
    assert_eq!(cluster.run("inject pod/web-0 --status 503 --detach").code, 0);

    // A Pod that the level does not admit itself.
    level(Level::Restricted);
    pod(|pod| {
        pod["status"]["ephemeralContainerStatuses"][0]["state"] = json!({"terminated": {"exitCode": 0}});
        // What the kubelet saw counts more than what the Pod asks for.
        pod["status"]["containerStatuses"][1]["user"] = json!({"linux": {"uid": 101, "gid": 101}});
        pod["spec"]["ephemeralContainers"] = json!([]);
    });
    let ran = cluster.run("inject pod/web-0 --status 503 --detach");
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("unrestricted capabilities (container \"web\")"), "{}", ran.err);

    pod(|pod| {
        for container in pod["spec"]["containers"].as_array_mut().unwrap() {
            container["securityContext"] = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"}});
        }
    });
    let ran = cluster.run("inject pod/web-0 --status 503 --detach");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let added = cluster.added();
    assert_eq!(
        added[0]["securityContext"],
        json!({"readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}, "runAsUser": 7, "runAsGroup": 8, "runAsNonRoot": true})
    );
    assert_eq!(
        added[1]["securityContext"],
        json!({"readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}, "runAsUser": 101, "runAsGroup": 101,
            "runAsNonRoot": true, "allowPrivilegeEscalation": false, "seccompProfile": {"type": "RuntimeDefault"}})
    );
}

#[test]
fn container_and_port_are_found_or_named() {
    let Some(cluster) = Cluster::of(1) else { return };
    for (args, expected) in [
        ("--port 8080", "web        8080"),
        ("--port http", "web        8080"),
        ("--port 9000", "log        9000"),
        ("--port 9000 -c web", "web        9000"),
        ("-c web", "web        8080"),
    ] {
        let ran = cluster.run(&format!("inject pod/web-0 --status 503 --dry-run {args}"));
        assert!(ran.out.contains(expected), "{args}: {}{}", ran.out, ran.err);
    }
    for (args, error) in [
        ("-c shop", "it has no container named \"shop\": --container with one of log, web"),
        ("--port admin", "none of its containers has a port named \"admin\""),
        ("-c log", "--port NUMBER"),
    ] {
        let ran = cluster.run(&format!("inject pod/web-0 --status 503 --dry-run {args}"));
        assert_eq!(ran.code, 1, "{args}");
        assert!(ran.err.contains(error), "{args}: {}", ran.err);
    }
}

#[test]
fn a_port_that_is_named_after_another_protocol_is_taken_over_as_tcp() {
    let Some(cluster) = Cluster::of(3) else { return };
    let named = |name: &str| {
        cluster.change(|state| {
            for pod in state.pods.values_mut() {
                pod["spec"]["containers"][1]["ports"][0]["name"] = name.into();
            }
        });
    };
    named("redis-main");
    let ran = cluster.run("inject pod/web-0 --port 8080 --delay 200ms --dry-run");
    let told = "port 8080 is named \"redis-main\": it is taken over as TCP, and rules act on connections";
    assert!(ran.err.contains(told), "{}", ran.err);
    assert!(ran.out.contains("\"target\":\"application\""), "{}", ran.out);
    assert!(ran.out.contains("Connections from the node are spared"), "{}", ran.out);
    let ran = cluster.run("inject pod/web-0 --port 8080 --status 503 --protocol http --dry-run");
    assert!(ran.code == 0 && !ran.err.contains("as TCP"), "{}", ran.err);

    // What the Service says of the port counts, too.
    named("main");
    cluster.change(|state| {
        state.services = vec![json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"}, "spec":
            {"selector": {"app": "web"}, "ports": [{"name": "main", "appProtocol": "postgresql", "port": 5432, "targetPort": 8080}]}})];
    });
    let file = cluster.path().join("plan.yaml");
    fs::write(&file, "{delay: 50ms, stream: upstream}").unwrap();
    let rules = ["--delay 200ms --include-probes", "--protocol tcp --mode slice --stream upstream"];
    for (number, rule) in rules.into_iter().enumerate() {
        let ran = cluster.run(&format!("inject pod/web-{number} --port 8080 {rule} --detach"));
        assert_eq!(ran.code, 0, "{}", ran.err);
        let added = cluster.added();
        let command = added.last().unwrap()["command"].as_array().unwrap();
        assert_eq!(command[2..5], ["--port=8080", "--for=5m", "--protocol=tcp"], "{rule}");
    }
    let ran = cluster.run(&format!("inject pod/web-2 --protocol tcp --file {} --detach", file.display()));
    assert_eq!(ran.code, 0, "{}", ran.err);
    let added = cluster.added();
    let variables = added.last().unwrap()["env"].as_array().unwrap();
    let of = |name: &str| variables.iter().find(|variable| variable["name"] == name).unwrap().clone();
    assert!(of("FAULTS")["value"].as_str().unwrap().contains("\"target\":\"application\""));
    assert_eq!(of("NODE_IP")["valueFrom"]["fieldRef"]["fieldPath"], "status.hostIP");
}

#[test]
fn containers_that_fail_have_a_line_each_and_change_the_exit_code() {
    let Some(cluster) = Cluster::of(4) else { return };
    short(&cluster, &["web-0"]);
    cluster.change(|state| {
        let behaviours = [
            ("web-1", Behaviour::Waits("ImagePullBackOff")),
            (
                "web-2",
                Behaviour::Refuses("nobody listens on port 8080", "see which port the application has"),
            ),
            ("web-3", Behaviour::Dies),
        ];
        state.behaviours.extend(behaviours.map(|(pod, behaviour)| (pod.to_owned(), behaviour)));
    });
    let ran = cluster.run("inject deploy/web --port 8080 --status 503 --yes");
    assert_eq!(ran.code, 1);
    for line in [
        "web-0  ended by time limit: the next connection reached the application",
        "web-1  FAILED: its container does not start (ImagePullBackOff: no such image)",
        "web-2  REFUSED: nobody listens on port 8080: see which port the application has",
        "web-3  LOST: its container ended with code 137: Error",
    ] {
        assert!(ran.out.contains(line), "{line}: {}", ran.out);
    }
}

#[test]
fn a_pod_that_changes_meanwhile_is_read_again() {
    let Some(cluster) = Cluster::of(1) else { return };
    // Two meet the dry run, the third meets the change.
    cluster.change(|state| state.conflicts = 3);
    let ran = cluster.run("inject pod/web-0 --port 8080 --status 503 --detach");
    assert_eq!((ran.code, cluster.added().len()), (0, 1), "{}{}", ran.out, ran.err);
    assert_eq!(cluster.change(|state| state.conflicts), 0);
}
