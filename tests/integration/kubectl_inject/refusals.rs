//! What `kubectl probesim inject` refuses before anything is changed.

use serde_json::{Value, json};

use super::cluster::{Behaviour, Cluster};

#[test]
fn a_namespace_has_to_allow_it() {
    let Some(cluster) = Cluster::of(1) else { return };
    cluster.change(|state| state.labels = json!({}));
    let ran = cluster.run("inject pod/web-0 --status 503");
    assert_eq!(ran.code, 69);
    assert!(
        ran.err.contains(
            "namespace shop does not allow it: kubectl label namespace shop probesim.io/inject=allowed"
        ),
        "{}",
        ran.err
    );
    let ran = cluster.run("inject pod/web-0 --status 503 --yes-namespace shops");
    assert!(ran.err.contains("--yes-namespace \"shops\" is not the namespace of these Pods"), "{}", ran.err);
    let ran = cluster.run("inject pod/web-0 --status 503 --yes-namespace shop --detach");
    assert_eq!(ran.code, 0, "{}", ran.err);
    cluster
        .change(|state| state.pods.get_mut("web-0").unwrap()["metadata"]["namespace"] = "kube-system".into());
    let ran = cluster.run("inject pod/web-0 --status 503 --yes-namespace kube-system");
    assert_eq!(ran.code, 69);
    assert!(ran.err.contains("namespace kube-system belongs to Kubernetes itself"), "{}", ran.err);
    assert_eq!(cluster.added().len(), 1);
}

#[test]
fn missing_permission_names_the_role_that_gives_it() {
    let Some(cluster) = Cluster::of(1) else { return };
    let message = "pods \"web-0\" is forbidden: User \"jane\" cannot update resource \"pods/ephemeralcontainers\" in API group \"\" in the namespace \"shop\"";
    cluster.change(|state| state.denials = vec![("web-0", message.to_owned())]);
    let ran = cluster.run("inject pod/web-0 --status 503");
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("User \"jane\" cannot update resource"), "{}", ran.err);
    assert!(ran.err.contains("manifests/inject has the Role"), "{}", ran.err);
}

#[test]
fn a_pod_that_is_replaced_or_taken_over_meanwhile_is_left_alone() {
    for (meanwhile, error) in [
        (
            (|pod| pod["metadata"]["uid"] = "other".into()) as fn(&mut Value),
            "the Pod was replaced by another one of the same name",
        ),
        (
            |pod| pod["spec"]["ephemeralContainers"] = json!([{"name": "probesim-8080-abcde"}]),
            "port 8080 is taken over already, by its container probesim-8080-abcde",
        ),
    ] {
        let Some(cluster) = Cluster::of(1) else { return };
        cluster.change(|state| (state.conflicts, state.meanwhile) = (1, Some(meanwhile)));
        let ran = cluster.run("inject pod/web-0 --status 503");
        assert_eq!(ran.code, 1);
        assert!(ran.err.contains(error) && cluster.added().is_empty(), "{}", ran.err);
    }
}

#[test]
fn a_container_of_ours_that_cannot_start_keeps_the_port() {
    let Some(cluster) = Cluster::of(1) else { return };
    let waits = Behaviour::Waits("ErrImageNeverPull");
    cluster.change(|state| state.behaviours.insert("web-0".to_owned(), waits));
    let ran = cluster.run("inject pod/web-0 --status 503 --image shop:none");
    assert!(
        ran.code == 1 && ran.out.contains("its container does not start (ErrImageNeverPull"),
        "{}",
        ran.out
    );
    let ran = cluster.run("inject pod/web-0 --status 503");
    assert_eq!(ran.code, 1);
    let told = "does not start (ErrImageNeverPull: no such image), but would take over port 8080 if it did; ephemeral";
    assert!(ran.err.contains(told), "{}", ran.err);
}

#[test]
fn an_api_server_without_ephemeral_containers_is_named() {
    let Some(cluster) = Cluster::of(1) else { return };
    cluster.change(|state| state.is_old = true);
    let ran = cluster.run("inject pod/web-0 --status 503");
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains("does not support ephemeral containers (Kubernetes 1.23 or later does)"),
        "{}",
        ran.err
    );
}

#[test]
fn what_cannot_be_taken_over_is_refused_before_anything_changes() {
    for (pointer, value, error) in [
        ("/spec/hostNetwork", json!(true), "it uses the network of its node"),
        ("/spec/os", json!({"name": "windows"}), "it runs Windows"),
        ("/spec/nodeSelector", json!({"kubernetes.io/os": "windows"}), "it runs Windows"),
        ("/status/phase", json!("Pending"), "it does not run (Pending)"),
        ("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"), "it does not run (Terminating)"),
        (
            "/metadata/annotations",
            json!({"kubernetes.io/config.mirror": "x"}),
            "the kubelet runs it from a file",
        ),
        (
            "/status/containerStatuses/1/state",
            json!({"waiting": {"reason": "CrashLoopBackOff"}}),
            "its container \"web\" does not run (CrashLoopBackOff)",
        ),
        ("/spec/containers/1/ports/0/protocol", json!("UDP"), "port 8080 is declared as UDP"),
        (
            "/spec/containers/1/ports/0/name",
            json!("redis-main"),
            "port 8080 is named \"redis-main\", so that it is taken over as TCP, and the rule cannot",
        ),
    ] {
        let Some(cluster) = Cluster::of(1) else { return };
        cluster.change(|state| {
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            let parent = state.pods.get_mut("web-0").unwrap().pointer_mut(parent).unwrap();
            parent[field] = value;
        });
        let ran = cluster.run("inject pod/web-0 --port 8080 --status 503");
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{pointer}: {}", ran.err);
        assert!(ran.err.contains(error) && ran.err.contains("nothing was changed"), "{pointer}: {}", ran.err);
        assert!(cluster.change(|state| state.dry.is_empty() && state.added.is_empty()));
    }
}

#[test]
fn a_pod_of_another_owner_is_refused() {
    let Some(cluster) = Cluster::of(2) else { return };
    cluster.change(|state| {
        state.pods.get_mut("web-1").unwrap()["metadata"]["ownerReferences"][0]["name"] = "canary-abc".into();
    });
    let ran = cluster.run("inject deploy/web --port 8080 --status 503 --yes");
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("web-1  it belongs to replicaset/canary-abc, not to deploy/web"), "{}", ran.err);
    assert!(cluster.added().is_empty());
}

#[test]
fn mistakes_are_reported_before_the_cluster_is_asked() {
    let Some(cluster) = Cluster::of(0) else { return };
    for (args, error) in [
        ("inject", "into which Pods?"),
        ("inject pod/web-0", "inject needs a rule: --delay"),
        ("inject web-0 --status 503", "\"web-0\" is not KIND/NAME"),
        ("inject pod/web-0 -l a=b --status 503", "pod/web-0 and --selector or --pod exclude each other"),
        ("inject pod/web-0 pod/web-1 --status 503", "unexpected argument \"pod/web-1\""),
        ("inject pod/web-0 --status 5000", "status=\"5000\": is not a whole number from 200 to 599"),
        ("inject pod/web-0 --mode dance", "mode=\"dance\": is not one of status"),
        ("inject pod/web-0 --colour red", "--colour is not an option"),
        ("inject pod/web-0 --delay", "--delay needs a value"),
        ("inject pod/web-0 --status 503 --for 0", "--for \"0\" must be more than 0"),
        ("inject pod/web-0 --status 503 --for ever", "--for \"ever\" is not a duration"),
        ("inject pod/web-0 --status 503 --port 0", "--port \"0\" is neither a number from 1 to 65535 nor"),
        ("inject pod/web-0 --status 503 --port 99999", "--port \"99999\" is neither a number"),
        ("inject pod/web-0 --status 503 --port -1", "--port \"-1\" is neither a number"),
        ("inject pod/web-0 --status 503 --image=", "--image \"\" is not the name of an image"),
        ("inject pod/web-0 --status 503 --yes=no", "--yes takes no value"),
        ("inject pod/web-0 --status 503 --detach=1", "--detach takes no value"),
        ("inject pod/web-0 --status 503 --as-localhost=x", "--as-localhost takes no value"),
        ("inject pod/web-0 --status 503 --admin 0.0.0.0:1", "--admin is an option of verbs of fault alone"),
        ("inject --status 503 --admin http://10.0.0.1:9090", "into which Pods?"),
        ("inject --selector= --status 503", "--selector is empty: it would select every Pod"),
        ("inject pod/web-0 --status 503 --run-as nobody", "--run-as \"nobody\" is not UID or UID:GID"),
        ("inject pod/web-0 --protocol udp --delay 1s", "--protocol \"udp\" is not http or tcp"),
        ("inject pod/web-0 --protocol tcp --status 503", "inject: "),
        ("inject --all --status 503", "--all is an option of verbs of fault alone"),
        ("inject --stop pod/web-0 --status 503", "--status and --stop exclude each other"),
        ("inject --stop", "into which Pods?"),
        ("inject pod/web-0 --file /no/such", "--file \"/no/such\" is not there"),
    ] {
        let ran = cluster.run(args);
        assert_eq!((ran.code, ran.out.as_str()), (64, ""), "{args}: {}", ran.err);
        assert!(ran.err.contains(error), "{args}: {}", ran.err);
    }
    assert_eq!(cluster.calls(), "");
}
