//! The command `wait`, against an API server.

#![allow(clippy::unwrap_used, reason = "the lint knows test functions, not their helpers")]
#![allow(clippy::match_bool, reason = "a list and a watch are told apart in one form everywhere")]

mod outages;
mod permissions;

use std::ffi::OsString;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kube_probesim::cli::wait::run;
use serde_json::{Value, json};

use crate::api_server::{Answer, ApiServer, Request, event, list, status};
use crate::scripted::{self, Fin, closed};
use crate::support::authority::Authority;

struct Ran {
    code: u8,
    out: String,
    err: String,
}

fn command(args: &[&str]) -> Ran {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(args.iter().map(OsString::from), Vec::new(), &mut out, &mut err);
    Ran { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

/// The command beside a test; 30 s are far more than it needs.
fn begin(server: &ApiServer, args: &str) -> JoinHandle<Ran> {
    let args = format!("{args} --timeout 30 --server {}", server.url());
    thread::spawn(move || command(&args.split_whitespace().collect::<Vec<_>>()))
}

fn waited(server: &ApiServer, args: &str) -> Ran {
    begin(server, args).join().unwrap()
}

/// The lines without their leading times.
fn lines(ran: &Ran) -> Vec<String> {
    ran.out.lines().map(|line| line.split_once("s ").unwrap().1.to_owned()).collect()
}

fn deployment(version: u32, available: bool) -> Value {
    let status = if available { "True" } else { "False" };
    json!({
        "metadata": {"name": "postgres", "resourceVersion": version.to_string(), "generation": 1},
        "spec": {"replicas": 1, "template": {}},
        "status": {
            "observedGeneration": 1, "availableReplicas": u32::from(available),
            "conditions": [{"type": "Available", "status": status}],
        },
    })
}

fn pod(name: &str, version: u32, ready: bool) -> Value {
    let status = if ready { "True" } else { "False" };
    json!({
        "metadata": {"name": name, "resourceVersion": version.to_string()},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": status}]},
    })
}

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/app/deployments?";

#[test]
fn a_deployment_is_listed_and_watched_until_it_is_available() {
    let server = ApiServer::new(|request: &Request| match request.is_watch() {
        false => list("7", &[deployment(5, false)]),
        true => Answer::WatchLater(Duration::from_millis(300), event("MODIFIED", &deployment(8, true))),
    });
    let ran = waited(&server, "--namespace app --resource deployment --name postgres --condition available");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(
        lines(&ran),
        [
            "waiting for 1 of 1: deployment/postgres available: 0 of 1 replicas are available",
            "ready: deployment/postgres available",
        ]
    );
    let paths: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(
        paths,
        [
            format!("{DEPLOYMENTS}limit=20&fieldSelector=metadata.name%3Dpostgres"),
            format!(
                "{DEPLOYMENTS}watch=1&allowWatchBookmarks=true&fieldSelector=metadata.name%3Dpostgres&\
                 timeoutSeconds=240&resourceVersion=7"
            ),
        ],
        "one question and one watch, however long it takes"
    );
}

#[test]
fn all_arguments_must_be_ready_including_addresses() {
    let address = scripted::Server::new(&[(scripted::OK, Fin)]);
    let server =
        ApiServer::new(|request: &Request| match (request.is_watch(), request.path.contains("/pods")) {
            (true, _) => Answer::Watch(Vec::new()),
            (false, true) => list("1", &[pod("cache-0", 1, true)]),
            (false, false) => list("1", &[deployment(1, true)]),
        });
    let args = format!("deployment/postgres pod/cache-0 tcp://{} {}", address.address, address.url());
    let ran = waited(&server, &args);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let expected = format!("ready: {}", args.replace(' ', ", "));
    assert_eq!(lines(&ran).last(), Some(&expected));
    let ran = command(&["-timeout=1", &format!("tcp://{}", closed()), &address.url()]);
    assert_eq!(ran.code, 1, "an address alone needs no API server");
    assert!(
        ran.out.contains("waiting for 1 of 2: tcp://") && ran.out.contains("connect: connection refused"),
        "{}",
        ran.out
    );
    assert!(ran.err.starts_with("kube-probesim wait: not ready in time: tcp://"), "{}", ran.err);
}

#[test]
fn a_missing_object_is_waited_for_and_reported_once() {
    let server = ApiServer::new(|request: &Request| match request.is_watch() {
        false => list("1", &[]),
        true => Answer::WatchLater(Duration::from_millis(1500), event("ADDED", &deployment(2, true))),
    });
    let ran = waited(&server, "deploy/postgres");
    assert_eq!(ran.code, 0);
    assert_eq!(lines(&ran), ["waiting for 1 of 1: deploy/postgres: not found", "ready: deploy/postgres"]);
}

#[test]
fn a_failed_job_ends_the_wait_at_once_with_code_2() {
    let failed = json!({"metadata": {"name": "migrate"}, "status": {"conditions":
        [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"}]}});
    let server =
        ApiServer::new(move |request: &Request| match (request.is_watch(), request.path.contains("/jobs")) {
            (true, _) => Answer::Watch(Vec::new()),
            (false, true) => list("1", std::slice::from_ref(&failed)),
            (false, false) => list("1", &[]),
        });
    let ran = waited(&server, "pod/other job/migrate");
    let error = "kube-probesim wait: cannot become ready: job/migrate: the Job has failed (BackoffLimitExceeded: too often)\n";
    assert_eq!((ran.code, ran.err.as_str()), (2, error));
}

#[test]
fn a_named_pod_that_has_ended_ends_the_wait_at_once_with_code_2() {
    for (phase, condition, why) in [
        ("Failed", "complete", "(Failed: Evicted)"),
        ("Failed", "ready", "(Failed: Evicted) and cannot become ready again"),
        ("Succeeded", "ready", "(Succeeded: Evicted) and cannot become ready again"),
    ] {
        let mut ended = pod("import", 1, false);
        ended["status"] = json!({"phase": phase, "reason": "Evicted"});
        let server = ApiServer::new(move |request: &Request| match request.is_watch() {
            true => Answer::Watch(Vec::new()),
            false => list("1", std::slice::from_ref(&ended)),
        });
        let ran = waited(&server, &format!("pod/import --condition {condition}"));
        assert_eq!(ran.code, 2, "{phase} {condition}: {}", ran.err);
        assert!(ran.err.starts_with("kube-probesim wait: cannot become ready: pod/import"), "{}", ran.err);
        assert!(ran.err.ends_with(&format!(": the Pod has ended {why}\n")), "{}", ran.err);
    }
}

#[test]
fn a_pod_that_has_ended_does_not_end_the_wait_for_a_selector() {
    let mut ended = pod("web-1", 1, false);
    ended["status"]["phase"] = json!("Failed");
    let server = ApiServer::new(move |request: &Request| match request.is_watch() {
        true => Answer::Watch(Vec::new()),
        false => list("1", std::slice::from_ref(&ended)),
    });
    let ran = command(&["pod", "--selector", "app=web", "--timeout", "1", "--server", &server.url()]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("web-1: the Pod has ended (Failed)"), "{}", ran.err);
}

#[test]
fn each_kind_is_waited_for_by_its_default_condition() {
    let server = ApiServer::new(|request: &Request| {
        let resource = request.path.split('?').next().unwrap().rsplit('/').next().unwrap();
        let object = |done: bool| match resource {
            "statefulsets" => {
                json!({"metadata": {"name": "db", "generation": 1}, "spec": {"replicas": 2}, "status":
                {"observedGeneration": 1, "readyReplicas": if done { 2 } else { 1 }, "updatedReplicas": 2,
                 "currentRevision": "a", "updateRevision": "a"}})
            }
            "daemonsets" => json!({"metadata": {"name": "agent", "generation": 1}, "status":
                {"observedGeneration": 1, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3,
                 "numberAvailable": if done { 3 } else { 2 }}}),
            "jobs" => json!({"metadata": {"name": "migrate"}, "status": {"conditions":
                [{"type": "Complete", "status": if done { "True" } else { "False" }}]}}),
            _ => json!({"metadata": {"name": "web-1"}}),
        };
        match request.is_watch() {
            false => list("1", &[object(false)]),
            true => Answer::WatchLater(Duration::from_millis(500), event("MODIFIED", &object(true))),
        }
    });
    let ran = waited(&server, "sts/db ds/agent job/migrate rs/web-1");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let waiting = "waiting for 3 of 4: sts/db: 1 of 2 replicas are ready; ds/agent: 2 of 3 Pods are available; \
                   job/migrate: 0 of 1 completions, 0 failed Pods";
    let lines = lines(&ran);
    assert!(lines.iter().any(|line| line == waiting), "{lines:?}");
    assert_eq!(lines.last().unwrap(), "ready: sts/db, ds/agent, job/migrate, rs/web-1");
}

#[test]
fn a_service_needs_an_endpoint_that_is_ready() {
    let slice = |ready: bool| {
        json!({"metadata": {"name": "api-x", "labels": {"kubernetes.io/service-name": "api"}},
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}]})
    };
    let server = ApiServer::new(move |request: &Request| match request.is_watch() {
        false => list("1", &[slice(false)]),
        true => Answer::WatchLater(Duration::from_millis(300), event("MODIFIED", &slice(true))),
    });
    let ran = waited(&server, "service/api");
    assert_eq!(ran.code, 0);
    assert_eq!(
        lines(&ran),
        ["waiting for 1 of 1: service/api: its only endpoint is not ready", "ready: service/api"]
    );
    let path = &server.requests()[0].path;
    assert!(
        path.ends_with("endpointslices?limit=20&labelSelector=kubernetes.io%2Fservice-name%3Dapi"),
        "{path}"
    );
}

#[test]
fn services_by_selector_need_endpoints_each() {
    let slice = |service: &str| {
        json!({"metadata": {"name": format!("{service}-x"), "labels": {"kubernetes.io/service-name": service}},
            "endpoints": [{"addresses": ["10.0.0.1"]}]})
    };
    let service = |name: &str| json!({"metadata": {"name": name}});
    let server = ApiServer::new(move |request: &Request| {
        match (request.is_watch(), request.path.contains("/endpointslices")) {
            (false, true) => list("1", &[slice("a"), slice("of-another")]),
            (false, false) => list("1", &[service("a"), service("b")]),
            (true, true) => Answer::WatchLater(Duration::from_millis(500), event("ADDED", &slice("b"))),
            (true, false) => Answer::Watch(Vec::new()),
        }
    });
    let ran = waited(&server, "svc -l app=x");
    assert_eq!(ran.code, 0);
    assert_eq!(
        lines(&ran),
        [
            "waiting for 1 of 1: svc app=x: 1 of 2 are not ready: b: no Service with this name has endpoints",
            "ready: svc app=x"
        ]
    );
}

#[test]
fn a_selector_needs_all_objects_of_all_pages_and_at_least_one() {
    let server = ApiServer::new(|request: &Request| {
        assert!(request.path.contains("labelSelector=app%3Dx"), "{}", request.path);
        match (request.is_watch(), request.path.contains("continue=next%2F2")) {
            (false, false) => Answer::Json(
                200,
                json!({"metadata": {"resourceVersion": "4", "continue": "next/2"}, "items": [pod("a", 1, true)]}),
            ),
            (false, true) => list("4", &[pod("b", 2, false), pod("c", 3, false)]),
            (true, _) => {
                assert!(request.path.contains("resourceVersion=4"));
                Answer::Watch(vec![
                    event("MODIFIED", &pod("b", 5, true)),
                    event("DELETED", &pod("c", 6, false)),
                ])
            }
        }
    });
    let ran = waited(&server, "pod --selector app=x");
    assert_eq!((ran.code, lines(&ran).last().map(String::as_str)), (0, Some("ready: pod app=x")));
}

#[test]
fn a_custom_kind_is_looked_up_in_the_api() {
    let server = ApiServer::new(|request: &Request| {
        let resource = json!({"name": "widgets", "singularName": "widget", "kind": "Widget", "namespaced": true, "shortNames": ["wd"]});
        match request.path.split('?').next().unwrap() {
            "/api/v1" => Answer::Json(
                200,
                json!({"resources": [{"name": "pods/widget", "kind": "Widget", "namespaced": true}]}),
            ),
            "/apis" => Answer::Json(
                200,
                json!({"groups": [
                {"name": "broken.example", "preferredVersion": {"version": "v1"}},
                {"name": "shop.example", "preferredVersion": {"version": "v1beta2"}}]}),
            ),
            "/apis/broken.example/v1" => Answer::Json(503, status(503, "its server is away")),
            "/apis/shop.example/v1beta2" => Answer::Json(200, json!({"resources": [resource]})),
            "/apis/shop.example/v1beta2/namespaces/default/widgets" if !request.is_watch() => {
                list("1", &[json!({"metadata": {"name": "a"}, "status": {"phase": "Green"}})])
            }
            _ => Answer::Watch(Vec::new()),
        }
    });
    for kind in ["widget", "wd", "Widgets", "widgets.shop.example"] {
        let ran = waited(&server, &format!("{kind}/a --for jsonpath={{.status.phase}}=Green"));
        assert_eq!(ran.code, 0, "{kind}: {} {}", ran.out, ran.err);
    }
}

#[test]
fn over_tls_the_token_is_read_again_and_the_certificate_is_verified() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "first\n").unwrap();
    let config = authority.config(&["127.0.0.1"], |_| {});
    let path = token.clone();
    let server = ApiServer::with(Some(config), move |request: &Request| match request.number {
        0 => {
            std::fs::write(&path, "second").unwrap();
            Answer::Json(401, status(401, "Unauthorized"))
        }
        1 => list("1", &[deployment(1, true)]),
        _ => Answer::Watch(Vec::new()),
    });
    let files = |ca: &Authority| {
        format!("--certificate-authority {} --token-file {}", ca.file().display(), token.display())
    };
    let ran = waited(&server, &format!("deployment/postgres {}", files(&authority)));
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    let tokens: Vec<_> =
        server.requests().into_iter().take(2).map(|request| request.token.unwrap()).collect();
    assert_eq!(tokens, ["first", "second"]);
    // A server with a certificate of another authority gets no request, and so no token.
    let server = ApiServer::with(Some(authority.config(&["127.0.0.1"], |_| {})), |_: &Request| Answer::Close);
    let other = Authority::new();
    let args = format!("deployment/postgres --timeout 1 --server {} {}", server.url(), files(&other));
    let ran = command(&args.split_whitespace().collect::<Vec<_>>());
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("x509: certificate signed by unknown authority"), "{}", ran.out);
    assert!(server.requests().is_empty());
}

#[test]
fn json_output_has_what_is_missing_and_why() {
    let server = ApiServer::new(|request: &Request| match request.is_watch() {
        false => list("1", &[deployment(1, false)]),
        true => Answer::Watch(Vec::new()),
    });
    let args = ["deployment/postgres", "-o", "json", "--timeout", "1s", "--server", &server.url()];
    let ran = command(&args);
    assert_eq!(ran.code, 1);
    let lines: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["event"], &lines[1]["event"]), (&json!("waiting"), &json!("timeout")));
    let missing = json!([{"name": "deployment/postgres", "reason": "0 of 1 replicas are available"}]);
    assert_eq!((&lines[1]["missing"], &lines[1]["ready"]), (&missing, &json!([])));
}

#[test]
fn without_a_pod_or_a_server_the_error_says_what_to_do() {
    let ran = command(&["deployment/postgres"]);
    assert_eq!(ran.code, 78);
    assert!(ran.err.contains("run `kubectl proxy` and add --server http://127.0.0.1:8001"), "{}", ran.err);
    let ran = command(&["deployment/postgres", "--server", "here"]);
    assert_eq!(ran.code, 78);
    assert!(ran.err.contains("--server \"here\" is not a URL such as"), "{}", ran.err);
    assert_eq!(command(&[]).code, 64);
}
