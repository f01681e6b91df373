//! Profiles of containers of other images.

use kube_probesim::kubelet::{PodEventKind, Symptom, Transport};
use kube_probesim::predict::manifest::{Input, read};
use kube_probesim::predict::profile::{ProfileError, ProfileSet};

use super::*;

/// A Deployment of another image with these fields of its container.
fn deployment(container: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: shop}}\nspec:\n  replicas: 2\n  template:\n    \
         metadata: {{annotations: {{ANNOTATED}}}}\n    spec:\n      containers:\n      - name: web\n        \
         image: example/web:1\n        ports: [{{name: http, containerPort: 80}}]\n{}",
        container.lines().map(|line| format!("        {line}")).collect::<Vec<_>>().join("\n")
    )
}

const PROBES: &str = "livenessProbe: {httpGet: {path: /live, port: http}}\nreadinessProbe: {httpGet: {path: /ready, port: http}}";

fn read_one(text: &str) -> Workload {
    let text = text.replace("{ANNOTATED}", "{}");
    let input = Input { name: "shop.yaml".to_owned(), text };
    let mut all = read(&[input]).unwrap_or_else(|errors| panic!("{errors}"));
    all.workloads.remove(0)
}

/// A workload with this profile of its container.
fn with(container: &str, profile: &str) -> Workload {
    let mut workload = read_one(&deployment(container));
    let mut set = ProfileSet::default();
    set.add("web", profile).unwrap_or_else(|errors| panic!("{errors:?}"));
    set.apply(&mut workload).unwrap();
    workload
}

fn restarts(workload: &Workload) -> Vec<u64> {
    predicted(workload, &for_time(s(600)))
        .pods
        .iter()
        .map(kube_probesim::predict::run::PodOutcome::restarts)
        .collect()
}

/// The events of the first Pod as text, with their times.
fn told(workload: &Workload) -> Vec<(Duration, String)> {
    let (_, seen) = observed(workload, &for_time(s(600)));
    let told = |it: Observation| match it {
        Observation::Pod { pod: 0, event, .. } => {
            Some((event.at, event.message(&workload.pod.containers[event.container])))
        }
        _ => None,
    };
    seen.into_iter().filter_map(told).collect()
}

#[test]
fn a_start_below_its_budget_is_never_killed_and_one_beyond_is_killed_each_time() {
    assert_eq!(restarts(&with(PROBES, "{ready_after: 19s}")), [0, 0]);
    assert!(restarts(&with(PROBES, "{ready_after: 31s}")).iter().all(|restarts| *restarts > 3));
    let told = told(&with(PROBES, "{ready_after: 31s}"));
    assert!(told.iter().any(|(_, text)| text.contains("connect: connection refused")), "{told:?}");
}

#[test]
fn a_latency_is_what_probes_and_calls_wait_for() {
    assert_eq!(restarts(&with(PROBES, "{latency: 900ms}")), [0, 0]);
    assert!(restarts(&with(PROBES, "{latency: 1100ms}")).iter().all(|restarts| *restarts > 0));
    let slow =
        with(PROBES.replace("port: http}", "port: http}, timeoutSeconds: 9").as_str(), "{latency: 6s}");
    let prediction = predicted(&slow, &for_time(s(600)));
    assert!(prediction.service.failed_calls > 0.9, "{:?}", prediction.service);
    let spread = with(PROBES, "{latency: {p50: 20ms, p99: 1500ms}}");
    let stats = &predicted(&spread, &for_time(s(600))).pods[0].stats;
    let probes = stats.containers[0].probes[1];
    assert!(probes.failed > 0 && probes.failed < probes.successful, "{probes:?}");
}

#[test]
fn a_program_that_ignores_sigterm_takes_the_whole_grace_period() {
    let killed_after = |profile: &str| {
        let told = told(&with(PROBES, profile));
        let at = |part: &str| told.iter().find(|(_, text)| text.contains(part)).unwrap().0;
        at("exited with code").saturating_sub(at("failed liveness probe")).as_secs()
    };
    let fault = "faults: [{target: liveness, mode: close, when: {after: 1m}}]";
    assert_eq!(killed_after(&format!("{{{fault}}}")), 0);
    assert_eq!(killed_after(&format!("{{stops_after: 7s, {fault}}}")), 7);
    assert_eq!(killed_after(&format!("{{ignores_term: true, {fault}}}")), 30);
}

#[test]
fn memory_beyond_the_limit_is_an_oom_kill_at_that_time() {
    let limited = format!("{PROBES}\nresources: {{limits: {{memory: 200Mi}}}}");
    let profile = "{memory: [{at: 0s, size: 100Mi}, {at: 100s, size: 300Mi}]}";
    let told = told(&with(&limited, profile));
    let (at, _) = told.iter().find(|(_, text)| text.contains("OOMKilled")).unwrap();
    assert!((50..52).contains(&at.as_secs()), "{at:?}");
    assert!(told.iter().any(|(_, text)| text == "Container web exited with code 137"));
    assert_eq!(restarts(&with(PROBES, profile)), [0, 0], "without a limit nothing is killed");
}

#[test]
fn under_a_limit_of_the_pod_alone_memory_kills_nothing_and_the_advice_names_the_pod() {
    let mut workload = with(PROBES, "{memory: [{at: 0s, size: 100Mi}, {at: 100s, size: 300Mi}]}");
    workload.pod_memory_limit = Some(200 << 20);
    assert_eq!(restarts(&workload), [0, 0]);
    let advice = advised(&workload, "memory-limit-missing").unwrap();
    assert!(advice.contains("when the Pod runs out of memory, the victim is not determined"), "{advice}");
}

#[test]
fn a_container_that_exits_is_started_again_with_back_off() {
    let told = told(&with(PROBES, "{exits_after: {after: 3s, code: 3}}"));
    assert!(told.iter().any(|(_, text)| text == "Container web exited with code 3"));
    assert!(told.iter().any(|(_, text)| text.contains("Back-off restarting")));
}

#[test]
fn a_dependency_fails_the_probes_that_check_it_and_no_others() {
    let fault = "faults: [{target: dependency, mode: status, status: 503, when: {after: 1m, for: 5m}}]";
    let readiness = with(PROBES, &format!("{{checks_dependency: readiness, {fault}}}"));
    assert_eq!(restarts(&readiness), [0, 0]);
    assert!(predicted(&readiness, &for_time(s(600))).pods[0].stats.unready > s(200));
    let both = with(PROBES, &format!("{{checks_dependency: [liveness, readiness], {fault}}}"));
    assert!(restarts(&both).iter().all(|restarts| *restarts > 0));
}

#[test]
fn probes_by_tcp_grpc_and_command_fail_in_their_own_words() {
    for (handler, transport, words, kills) in [
        ("tcpSocket: {port: 80}", Transport::Tcp, "dial tcp 10.0.0.5:80: connect: connection refused", true),
        ("grpc: {port: 80}", Transport::Grpc, "NOT_SERVING", true),
        ("exec: {command: [check]}", Transport::Exec, "the command's output", true),
    ] {
        let web = with(
            &format!("livenessProbe: {{{handler}}}"),
            "{faults: [{target: liveness, mode: status, when: {after: 1m}}]}",
        );
        assert_eq!(web.pod.containers[0].liveness.as_ref().unwrap().transport, transport);
        let told = told(&web);
        assert!(told.iter().any(|(_, text)| text.contains(words)), "{handler}: {told:?}");
        assert_eq!(told.iter().any(|(_, text)| text.contains("will be restarted")), kills, "{handler}");
    }
    // The kernel accepts connections for a program that hangs.
    let hangs = "{faults: [{target: liveness, mode: hang, when: {after: 1m}}]}";
    assert_eq!(restarts(&with("livenessProbe: {tcpSocket: {port: 80}}", hangs)), [0, 0]);
    assert!(restarts(&with("livenessProbe: {grpc: {port: 80}}", hangs)).iter().all(|restarts| *restarts > 0));
    // A gRPC attempt at a server that does not listen takes its whole timeout.
    let (_, seen) =
        observed(&with("livenessProbe: {grpc: {port: 80}}", "{ready_after: 40s}"), &for_time(s(60)));
    let refused = seen.iter().find_map(|it| match it {
        Observation::Pod { event, .. }
            if matches!(event.kind, PodEventKind::Unhealthy { symptom: Symptom::Refused, .. }) =>
        {
            Some(event.at)
        }
        _ => None,
    });
    assert_eq!(refused, Some(s(11)));
}

#[test]
fn a_profile_by_name_overrides_the_annotation_which_overrides_the_star() {
    let annotated = deployment(PROBES).replace("{ANNOTATED}", "{probesim.io/profile: '{ready_after: 31s}'}");
    let input = Input { name: "shop.yaml".to_owned(), text: annotated };
    let annotated = read(&[input]).unwrap().workloads.remove(0);
    let apply = |names: &[&str]| {
        let mut workload = annotated.clone();
        let mut set = ProfileSet::default();
        for name in names {
            set.add(name, "{ready_after: 1s}").unwrap();
        }
        set.apply(&mut workload).unwrap();
        restarts(&workload)[0] > 0
    };
    assert!(apply(&[]) && apply(&["*"]), "the annotation");
    assert!(!apply(&["web"]) && !apply(&["shop/web"]), "the command line");
    assert!(apply(&["other/web"]));
}

#[test]
fn all_errors_of_a_profile_are_reported_together() {
    let mut set = ProfileSet::default();
    let text = "{ready: 5s, stops_after: soon, ignores_term: 1, exits_after: {code: 300}, memory: lots, \
                checks_dependency: db, latency: {p50: x}, faults: [{target: liveness}]}";
    let errors = set.add("web", text).unwrap_err();
    let lines: Vec<String> = errors.iter().map(|(_, error)| error.to_string()).collect();
    for part in [
        "unknown field \"ready\"; the fields are ready_after,",
        "stops_after is \"soon\", not a duration",
        "ignores_term is \"1\", not true or false",
        "exits_after: after is missing",
        "exits_after.code is \"300\", not an exit code",
        "memory is \"lots\", not a size",
        "checks_dependency is \"db\", not a list of startup, liveness, readiness",
        "latency.p50=\"x\": is not a duration",
        "faults[0] (fault-1): the rule has no effect",
    ] {
        assert!(lines.iter().any(|line| line.contains(part)), "{part}: {lines:#?}");
    }
    assert!(matches!(set.add("web", "5").unwrap_err()[0].1, ProfileError::Shape(_)));
    assert!(matches!(set.add("web", "{a: [").unwrap_err()[0].1, ProfileError::Document(_)));
    assert!(set.add("web", "{profiles: {a: {}}}").is_err(), "several under one name");
    set.add_file("profiles: {web: {latency: 5ms}, '*': {}}").unwrap();
    assert_eq!(set.unused(&[("shop", "app")]), ["web"]);
}

#[test]
fn a_start_time_may_be_a_distribution_and_bare_numbers_are_seconds() {
    let profile = |text: &str| {
        let mut set = ProfileSet::default();
        set.add("web", text).map(|()| set).map_err(|errors| errors[0].1.to_string())
    };
    let restarts_with = |text: &str| {
        let mut workload = read_one(&deployment(PROBES));
        profile(text).unwrap().apply(&mut workload).unwrap();
        restarts(&workload)
    };
    // The budget of the start is 20 s to 30 s.
    for text in ["{ready_after: {p50: 5s, p99: 18s}}", "{ready_after: {fixed: 18}}", "{ready_after: 18}"] {
        assert_eq!(restarts_with(text), [0, 0], "{text}");
    }
    for text in ["{ready_after: {p50: 40s, p99: 50s}}", "{ready_after: {fixed: 40}}", "{ready_after: 40}"] {
        assert!(restarts_with(text).iter().all(|restarts| *restarts > 3), "{text}");
    }
    assert_eq!(
        profile("{ready_after: {p50: x}}").unwrap_err(),
        "ready_after.p50=\"x\": is not a duration such as 250ms, 30s or 1m30s (units: us, ms, s, m, h, d); a bare number is in s"
    );
    for (text, start) in [
        ("{latency: {p50: 1s, p99: 500ms}}", "latency: `p99` must not be below `p50`"),
        ("{latency: {min: 5s}}", "latency: unknown field \"min\""),
        ("{latency: true}", "latency=\"true\": is not a duration such as 50ms, or a mapping"),
        ("{latency: [1]}", "latency: is not a duration such as 50ms, or a mapping"),
        ("{latency: 5x}", "latency=\"5x\": is not a duration"),
    ] {
        let error = profile(text).unwrap_err();
        assert!(error.starts_with(start), "{text}: {error}");
    }
}

/// The text of advice of this name, if it is given.
fn advised(workload: &Workload, code: &str) -> Option<String> {
    let all = kube_probesim::predict::advice::advice(workload, None, s(1));
    all.into_iter().find(|advice| advice.code == code).map(|advice| advice.text)
}

#[test]
fn advice_shows_what_follows_in_the_simulation() {
    let order = advised(&with(PROBES, "{}"), "liveness-not-slower-than-readiness").unwrap();
    let shown = order.split("Shown: in ").nth(1).unwrap().split(' ').next().unwrap().parse::<u32>().unwrap();
    assert!((20..100).contains(&shown), "the ticks decide: {order}");
    let slower = PROBES.replace("port: http}}\nreadiness", "port: http}, failureThreshold: 4}\nreadiness");
    assert_eq!(advised(&with(&slower, "{}"), "liveness-not-slower-than-readiness"), None);

    let late = advised(&with(PROBES, "{latency: {p50: 20ms, p98: 1500ms}}"), "timeout-below-p99").unwrap();
    assert!(
        late.contains("if each is drawn independently, and ") && late.contains("in bursts of 30 s"),
        "{late}"
    );
    let count = |after: &str| -> u32 {
        late.split(after).nth(1).unwrap().split(' ').find_map(|word| word.parse().ok()).unwrap()
    };
    assert!(count("late answers: ") < count("drawn independently, and "), "bursts are worse: {late}");

    let dependency =
        advised(&with(PROBES, "{checks_dependency: [liveness, readiness]}"), "probe-on-dependency").unwrap();
    assert!(
        dependency.contains("100 of 100 Pods restart")
            && dependency.contains("if only readiness checks it, 0 do"),
        "{dependency}"
    );
    assert_eq!(advised(&with(PROBES, "{checks_dependency: readiness}"), "probe-on-dependency"), None);

    let slow = with("livenessProbe: {httpGet: {port: 80}}", "{ready_after: 40s}");
    assert!(advised(&slow, "no-startup-probe-for-slow-start").unwrap().contains("ready_after"));
    let early = advised(&with(PROBES, "{stops_after: 0s}"), "no-drain-delay").unwrap();
    assert!(early.contains("loses the calls of 1s"), "{early}");
    assert_eq!(advised(&with(PROBES, "{stops_after: 2s}"), "no-drain-delay"), None);
    assert_eq!(advised(&with(PROBES, "{}"), "no-drain-delay"), None, "nothing is known of it");

    let grows = with(PROBES, "{memory: [{at: 0s, size: 100Mi}, {at: 10m, size: 1100Mi}]}");
    assert!(advised(&grows, "memory-limit-missing").unwrap().contains("5m after each start"));
}

#[test]
fn a_pre_stop_that_takes_the_grace_period_ends_in_sigkill() {
    let hook = format!("{PROBES}\nlifecycle: {{preStop: {{sleep: {{seconds: 30}}}}}}");
    let slow = with(&hook, "{stops_after: 5s}");
    let text = advised(&slow, "grace-shorter-than-prestop").unwrap();
    assert!(text.contains("exits 32s after the Pod's deletion, with exit code 137"), "{text}");
    let short = with(&hook.replace("30", "10"), "{stops_after: 5s}");
    assert_eq!(advised(&short, "grace-shorter-than-prestop"), None);
}

#[test]
fn a_native_sidecar_that_asks_its_application_never_lets_it_start() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  initContainers:\n  - name: proxy\n    image: example/proxy\n    restartPolicy: Always\n    startupProbe: {httpGet: {port: 3000}, periodSeconds: 5}\n  containers:\n  - {name: app, image: example/app, ports: [{containerPort: 3000}]}\n";
    let text_of = |text: &str| advised(&read_one(text), "sidecar-waits-for-its-application");
    let told = text_of(text).unwrap();
    assert!(told.contains("starts in 0, and the sidecar is restarted up to "), "{told}");
    assert_eq!(text_of(&text.replace("httpGet: {port: 3000}", "httpGet: {port: 9000}")), None);
}
