//! An application behind this program: its profile applies first, then the rules.

use kube_probesim::predict::manifest::{Input, read};
use kube_probesim::predict::profile::ProfileSet;
use kube_probesim::predict::report::{Output, View, predict};

use super::*;

/// A Pod with an application on port 3000 behind this program, whose probes go through, with this environment.
fn pod(env: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: shop}}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  - name: app\n    \
         image: example/app:1\n    ports: [{{containerPort: 3000}}]\n    \
         livenessProbe: {{httpGet: {{path: /healthz, port: 8080}}, timeoutSeconds: 2}}\n    \
         readinessProbe: {{httpGet: {{path: /status, port: 8080, httpHeaders: [{{name: X-Probesim-Target, value: Readiness}}]}}}}\n  \
         - name: proxy\n    image: kube-probesim:0.1.0\n    env:\n    - {{name: SEED, value: '1'}}\n    \
         - {{name: UPSTREAM, value: 'http://127.0.0.1:3000'}}\n{env}"
    )
}

fn faults(rules: &str) -> String {
    format!("    - {{name: FAULTS, value: 'faults: [{rules}]'}}\n")
}

fn with(env: &str, profile: &str) -> Workload {
    let input = Input { name: "shop.yaml".to_owned(), text: pod(env) };
    let mut workload = read(&[input]).unwrap_or_else(|errors| panic!("{errors}")).workloads.remove(0);
    if !profile.is_empty() {
        let mut set = ProfileSet::default();
        set.add("app", profile).unwrap_or_else(|errors| panic!("{errors:?}"));
        set.apply(&mut workload).unwrap();
    }
    workload
}

/// The events of the Pod as text.
fn told(workload: &Workload) -> Vec<String> {
    let (_, seen) = observed(workload, &for_time(s(600)));
    let told = |it: Observation| match it {
        Observation::Pod { event, .. } => Some(event.message(&workload.pod.containers[event.container])),
        _ => None,
    };
    seen.into_iter().filter_map(told).collect()
}

fn restarts(workload: &Workload) -> u64 {
    predicted(workload, &for_time(s(600))).pods[0].stats.containers[0].restarts
}

fn report(workload: &Workload) -> String {
    let options = for_time(s(300));
    let mut out = Vec::new();
    let view = View { output: Output::Text, ..View::default() };
    predict(workload, &Replicas::new(workload, &options), &options, &view, &mut out).unwrap();
    String::from_utf8(out).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_probe_that_is_passed_on_meets_the_profile_of_the_application() {
    assert_eq!(restarts(&with("", "")), 0);
    assert_eq!(restarts(&with("", "{latency: 1900ms}")), 0);
    assert!(restarts(&with("", "{latency: 2100ms}")) > 0);
    let failing =
        told(&with("", "{faults: [{target: liveness, mode: status, status: 418, when: {after: 60s}}]}"));
    assert!(
        failing.iter().any(|text| text.contains("HTTP probe failed with statuscode: 418")),
        "{failing:#?}"
    );
}

#[test]
fn an_application_that_does_not_listen_or_closes_is_a_bad_gateway() {
    for profile in ["{ready_after: 40s}", "{faults: [{target: liveness, mode: close}]}"] {
        let told = told(&with("", profile));
        assert!(told.iter().any(|text| text.contains("statuscode: 502")), "{profile}: {told:#?}");
    }
}

#[test]
fn a_late_application_is_a_gateway_timeout_where_the_upstream_has_one() {
    let late = with("    - {name: UPSTREAM_TIMEOUT, value: 500ms}\n", "{latency: 700ms}");
    assert!(told(&late).iter().any(|text| text.contains("statuscode: 504")));
}

#[test]
fn delays_of_rules_and_of_the_application_add_up() {
    let rule = faults("{name: slow, target: liveness, delay: 1200ms}");
    assert_eq!(restarts(&with(&rule, "{latency: 700ms}")), 0);
    assert!(restarts(&with(&rule, "{latency: 900ms}")) > 0);
}

#[test]
fn a_rule_that_answers_spares_the_application_unless_it_forwards() {
    let answered = faults("{name: down, target: liveness, mode: status, status: 429}");
    let messages_of = told(&with(&answered, "{latency: 30s}"));
    assert!(messages_of.iter().any(|text| text.contains("statuscode: 429")), "{messages_of:#?}");
    let lost = faults("{name: lost, target: liveness, mode: status, status: 429, forward: true}");
    let messages_of = told(&with(&lost, "{latency: 30s}"));
    let is_timeout =
        |text: &String| text.contains("Liveness probe failed") && text.contains("deadline exceeded");
    assert!(messages_of.iter().any(is_timeout), "{messages_of:#?}");
    assert!(!messages_of.iter().any(|text| text.contains("statuscode: 429")), "{messages_of:#?}");
}

#[test]
fn a_fault_of_the_body_strikes_the_answer_that_the_application_gives() {
    let cut = faults("{name: cut, target: liveness, mode: truncate, body: 20KiB}");
    let messages_of = told(&with(&cut, "{faults: [{target: liveness, mode: status, status: 418}]}"));
    assert!(
        messages_of.iter().any(|text| text.contains("probe errored")),
        "an error, whatever the status: {messages_of:#?}"
    );
}

#[test]
fn probes_are_answered_here_where_the_application_does_not_get_them() {
    let own = "    - {name: UPSTREAM_PROBES, value: 'false'}\n";
    assert_eq!(restarts(&with(own, "{faults: [{target: liveness, mode: status}]}")), 0);
}

#[test]
fn a_rule_for_traffic_spares_the_kubelet_also_with_a_delay_alone() {
    // The header makes the readiness probe traffic.
    let env = faults("{name: slow, target: traffic, delay: 6s}");
    let text = pod(&env).replace("value: Readiness", "value: traffic");
    let workload = read(&[Input { name: "shop.yaml".to_owned(), text }]).unwrap().workloads.remove(0);
    let prediction = predicted(&workload, &for_time(s(600)));
    // The first attempt may come before the proxy runs.
    assert!(prediction.pods[0].stats.containers[0].probes[ProbeKind::Readiness as usize].failed <= 1);
    assert!(prediction.service.failed_calls > 0.9, "calls wait 5 s: {:?}", prediction.service);
}

#[test]
fn calls_meet_the_application_too() {
    let broken = with(
        &faults("{name: slow, target: traffic, delay: 10ms}"),
        "{faults: [{target: traffic, mode: status}]}",
    );
    assert!(predicted(&broken, &for_time(s(600))).service.failed_calls > 0.9);
}

#[test]
fn a_match_decides_by_the_path_and_the_headers_of_a_probe() {
    for (condition, is_met) in [
        ("path: /healthz", true),
        ("path: /other", false),
        ("method: [GET]", true),
        ("method: [POST]", false),
        ("headers: {user-agent: kube-probe/1.36}", true),
        ("headers: {x-none: \"*\"}", false),
        ("query: {verbose: \"*\"}", false),
    ] {
        let rule = faults(&format!("{{name: down, target: liveness, match: {{{condition}}}, mode: status}}"));
        let workload = with(&rule, "");
        assert_eq!(restarts(&workload) > 0, is_met, "{condition}");
        let report = report(&workload);
        assert!(report.contains("The paths of calls are unknown, so down acts on none of them."), "{report}");
    }
}

#[test]
fn a_window_of_requests_of_a_rule_with_a_match_counts_what_the_match_admits() {
    // The first three attempts of liveness pass, then three fail.
    let rule = faults(
        "{name: down, target: [liveness, readiness], match: {path: /healthz}, mode: status, when: {requests: {after: 3, for: 3}}}",
    );
    let told = told(&with(&rule, ""));
    let failed = told.iter().filter(|text| text.starts_with("Liveness probe failed: HTTP")).count();
    assert!(told.iter().any(|text| text.contains("will be restarted")), "{told:#?}");
    assert_eq!(failed, 3, "{told:#?}");
}

#[test]
fn a_named_proxy_and_its_rules_are_named_in_the_report() {
    let env = format!(
        "    - {{name: PROXIES, value: 'stock=:18090->http://stock:8080'}}\n{}",
        faults("{name: stock-down, target: stock, mode: status}")
    );
    let text = pod(&env).replace("path: /healthz, port: 8080", "path: /healthz, port: 18090");
    let workload = read(&[Input { name: "shop.yaml".to_owned(), text }])
        .unwrap_or_else(|e| panic!("{e}"))
        .workloads
        .remove(0);
    let report = report(&workload);
    assert!(report.contains("port 18090 is that of proxy stock"), "{report}");
    assert!(report.contains("stock-down acts on nothing."), "{report}");
}

#[test]
fn the_report_describes_the_application_behind_a_container() {
    assert!(report(&with("", "")).contains("container app, is assumed to answer at once"));
    assert!(
        report(&with("", "{latency: 10ms}"))
            .contains("forwarded requests reach container app, then the rules act")
    );
    let elsewhere = pod("").replace("127.0.0.1:3000", "shop.example:80");
    let workload =
        read(&[Input { name: "shop.yaml".to_owned(), text: elsewhere }]).unwrap().workloads.remove(0);
    assert!(report(&workload).contains("is outside the Pod"));
}

#[test]
fn latency_behind_a_proxy_counts_for_the_advice_on_timeouts() {
    let advice =
        |profile: &str| report(&with(&faults("{name: slow, target: liveness, delay: 1500ms}"), profile));
    assert!(!advice("{latency: 100ms}").contains("app, liveness probe: timeoutSeconds is 2"));
    assert!(advice("{latency: 600ms}").contains("app, liveness probe: timeoutSeconds is 2"));
}
