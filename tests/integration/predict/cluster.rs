//! Predictions for whole manifests, compared with observations on real clusters.

use std::ffi::OsString;

use kube_probesim::cli;
use serde_json::Value;

/// The output of `predict` for a manifest.
fn text(manifest: &str, args: &[&str]) -> String {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = args.iter().copied().chain(["-"]).map(OsString::from);
    let code = cli::predict::run(
        args,
        &mut manifest.as_bytes(),
        &cli::predict::Terminal::default(),
        &mut out,
        &mut err,
    );
    assert_eq!((code, String::from_utf8(err).unwrap().as_str()), (0, ""), "{manifest}");
    String::from_utf8(out).unwrap()
}

/// The events and the summary.
fn json(manifest: &str, args: &[&str]) -> (Vec<Value>, Value) {
    let args: Vec<&str> = args.iter().copied().chain(["--output", "json"]).collect();
    let mut lines: Vec<Value> =
        text(manifest, &args).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = lines.pop().unwrap()["summary"].clone();
    (lines, summary)
}

fn times(events: &[Value], event: &str) -> Vec<f64> {
    let of = events.iter().filter(|line| line["event"] == event);
    of.map(|line| line["elapsed_seconds"].as_f64().unwrap()).collect()
}

/// A Pod with our container, in flow style; `rest` follows the container's `env`.
fn pod(env: &str, rest: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: web}}, spec: {{terminationGracePeriodSeconds: 1, containers: \
         [{{name: web, image: kube-probesim, env: [{env}], {rest}}}]}}}}"
    )
}

fn deployment(replicas: u32, env: &str, rest: &str) -> String {
    format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: web}}, spec: {{replicas: {replicas}, selector: \
         {{matchLabels: {{app: web}}}}, template: {{metadata: {{labels: {{app: web}}}}, spec: {{containers: [{{name: web, \
         image: kube-probesim, env: [{env}], {rest}}}]}}}}}}}}"
    )
}

const READINESS: &str = "readinessProbe: {httpGet: {path: /readyz, port: 8080}}";

#[test]
fn whether_a_tick_falls_before_the_end_of_the_initial_delay_is_chance() {
    let edge = pod(
        "{name: SEED, value: '1'}, {name: LISTEN_DELAY, value: '22'}",
        "livenessProbe: {tcpSocket: {port: 8080}, periodSeconds: 5, failureThreshold: 4, initialDelaySeconds: 5}",
    );
    let mut restarted = 0;
    for seed in 0..100 {
        let seed = seed.to_string();
        let (events, summary) = json(&edge, &["--for", "3m", "--seed", &seed]);
        let kills = times(&events, "Killing");
        let advice = summary["advice"][0]["text"].as_str().unwrap();
        if kills.is_empty() {
            assert!(advice.contains("here it is restarted in 0 of 1 Pods"), "{advice}");
        } else {
            assert_eq!(kills[..3], [20.0, 40.0, 60.0], "seed {seed}");
            assert!(advice.contains("again and again"), "{advice}");
            restarted += 1;
        }
    }
    assert!((35..=65).contains(&restarted), "{restarted} of 100 Pods");
}

#[test]
fn the_first_start_differs_from_pod_to_pod_within_what_was_measured() {
    let (events, _) = json(&deployment(200, "", READINESS), &["--for", "1m"]);
    let starts = times(&events, "Started");
    assert_eq!(starts.len(), 200);
    assert!(starts.iter().all(|at| (0.3..=0.7).contains(at)), "{starts:?}");
    assert!(starts.iter().any(|at| *at < 0.35) && starts.iter().any(|at| *at > 0.65), "{starts:?}");
}

#[test]
fn in_one_of_twenty_starts_the_first_readiness_attempt_is_refused_and_ready_comes_a_period_later() {
    let (events, _) = json(&deployment(1000, "", READINESS), &["--for", "1m"]);
    let refused: Vec<&Value> = events.iter().filter(|line| line["event"] == "Unhealthy").collect();
    assert!((25..=80).contains(&refused.len()), "{} of 1000", refused.len());
    let message = refused[0]["message"].as_str().unwrap();
    assert_eq!(
        message,
        "Readiness probe failed: Get \"http://10.0.0.5:8080/readyz\": dial tcp 10.0.0.5:8080: connect: connection refused"
    );
    for failed in refused {
        let at = failed["elapsed_seconds"].as_f64().unwrap();
        let ready = events.iter().find(|line| line["event"] == "PodReady" && line["pod"] == failed["pod"]);
        let ready = ready.unwrap()["elapsed_seconds"].as_f64().unwrap();
        assert!((ready - at - 10.0).abs() < 1e-6, "{at} {ready}");
    }
}

#[test]
fn the_watchers_see_immediate_restarts_only_with_a_startup_probe() {
    let fails = "{name: SEED, value: '1'}, {name: LIVENESS_FAIL_AFTER_TIME, value: '60'}";
    let liveness = "livenessProbe: {httpGet: {path: /healthz, port: 8080}}";
    let (events, summary) = json(&pod(fails, liveness), &["--for", "4m"]);
    assert!(times(&events, "Started").len() > 2);
    let flips: Vec<&Value> = events.iter().filter(|line| line["event"] == "PodReady").collect();
    assert!(flips.len() >= 5 && flips[1]["ready"] == false, "the kubelet sees each restart: {flips:?}");
    assert_eq!(flips[0]["watchers_see"], serde_json::json!([true]));
    assert!(flips[1..].iter().all(|flip| flip["watchers_see"] == serde_json::json!([])), "{flips:?}");
    assert_eq!(summary["watchers"]["ready_flips"], 1);
    let shown = text(&pod(fails, liveness), &["--for", "4m"]);
    assert!(shown.contains("Pod is ready") && !shown.contains("Pod is not ready"), "{shown}");

    let startup = "startupProbe: {httpGet: {path: /startupz, port: 8080}, periodSeconds: 1}, livenessProbe: {httpGet: \
                   {path: /healthz, port: 8080}}";
    let mut twice = 0;
    for seed in 0..10 {
        let (events, _) = json(&pod(fails, startup), &["--for", "4m", "--seed", &seed.to_string()]);
        let flips: Vec<&Value> = events.iter().filter(|line| line["event"] == "PodReady").collect();
        assert_eq!(flips[1]["watchers_see"], serde_json::json!([false]));
        twice += flips
            .iter()
            .filter(|flip| flip["watchers_see"] == serde_json::json!([true, false, true]))
            .count();
    }
    assert!(twice > 3, "often they see False, True, False, True: {twice}");
}

#[test]
fn a_program_that_ignores_sigterm_takes_the_whole_grace_period() {
    let manifest = "{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {initContainers: [{name: side, image: \
        kube-probesim, restartPolicy: Always, env: [{name: LIVENESS_FAIL_AFTER_TIME, value: '20'}]}], containers: [{name: \
        main, image: 'example/app:1', livenessProbe: {httpGet: {path: /healthz, port: 8080}}}]}}";
    let took = |args: &[&str]| {
        let (events, summary) = json(manifest, &[&["--for", "2m"], args].concat());
        let assumptions = summary["assumptions"].to_string();
        (times(&events, "Exited")[0] - times(&events, "Killing")[0], assumptions)
    };
    let (time, assumptions) = took(&[]);
    assert!(time.abs() < 1e-9, "{time}");
    assert!(
        assumptions.contains("main exits at once after SIGTERM")
            && assumptions.contains("grace period of 30s"),
        "{assumptions}"
    );
    assert!((took(&["--stops-after", "4s"]).0 - 4.0).abs() < 1e-9);
    let (time, assumptions) = took(&["--stops-after", "never"]);
    assert!(
        (time - 30.0).abs() < 1e-9 && assumptions.contains("main ignores SIGTERM"),
        "{time} {assumptions}"
    );
}

#[test]
fn a_native_sidecar_is_killed_with_the_words_of_an_init_container() {
    let manifest = "{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {initContainers: [{name: side, image: \
        kube-probesim, restartPolicy: Always, env: [{name: LIVENESS_FAIL_AFTER_TIME, value: '20'}], livenessProbe: \
        {httpGet: {path: /healthz, port: 8080}, periodSeconds: 2}}], containers: [{name: main, image: 'example/app:1'}]}}";
    let shown = text(manifest, &["--for", "1m"]);
    assert!(shown.contains("Init container side failed liveness probe, will be restarted"), "{shown}");
    assert!(shown.contains("side: Container started"), "{shown}");
}

#[test]
fn a_job_whose_last_kill_ends_with_code_0_is_complete() {
    let job = "{apiVersion: batch/v1, kind: Job, metadata: {name: web}, spec: {template: {spec: {restartPolicy: \
        OnFailure, containers: [{name: web, image: kube-probesim, env: [{name: LIVENESS_FAIL_AFTER_TIME, value: '30'}], \
        livenessProbe: {httpGet: {path: /healthz, port: 8080}, initialDelaySeconds: 5, periodSeconds: 5}}]}}}}";
    let shown = text(job, &[]);
    let timeline: Vec<&str> = shown.lines().take_while(|line| !line.starts_with("Over the Pods")).collect();
    let last: Vec<&str> = timeline.iter().rev().filter(|line| !line.is_empty()).take(2).copied().collect();
    assert!(last[1].contains("Pod has Succeeded") && last[0].contains("Job complete"), "{shown}");
    let (_, summary) = json(job, &[]);
    assert!(summary["job_complete_seconds"].as_f64().unwrap() > 100.0, "{summary}");
}

#[test]
fn a_rollout_is_complete_after_its_last_pod_is_ready() {
    let (events, _) = json(&deployment(3, "", READINESS), &["--for", "2m"]);
    let kinds: Vec<&str> = events.iter().map(|line| line["event"].as_str().unwrap()).collect();
    let complete = kinds.iter().position(|kind| *kind == "RolloutComplete").unwrap();
    assert_eq!(kinds[complete - 1], "PodReady", "{kinds:?}");
}

#[test]
fn an_invalid_chunk_right_at_the_limit_of_the_body_restarts_nothing() {
    let restarts = |body: &str| {
        let env = format!(
            "{{name: LIVENESS_FAIL_AFTER_TIME, value: '20'}}, {{name: LIVENESS_FAILURE_MODE, value: malformed}}, \
             {{name: LIVENESS_FAILURE_BODY, value: '{body}'}}, {{name: LIVENESS_FAILURE_STATUS, value: '500'}}"
        );
        let probe = "livenessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 5}";
        json(&pod(&env, probe), &["--for", "5m"]).1["restarts"]["worst"].as_u64().unwrap()
    };
    assert_eq!(restarts("10240"), 0);
    assert!(restarts("10241") > 0);
}

/// The share of failed calls.
fn failed_calls(faults: &str, more: &str, args: &[&str]) -> f64 {
    let env = format!("{{name: FAULTS, value: \"faults: [{faults}]\"}}, {{name: SEED, value: '1'}}{more}");
    let manifest = deployment(2, &env, READINESS);
    let (events, summary) = json(&manifest, &[&["--for", "10m"], args].concat());
    assert!(times(&events, "Killing").is_empty());
    summary["service"]["failed_calls_ratio"].as_f64().unwrap()
}

#[test]
fn calls_meet_the_rules_for_callers() {
    let cut =
        failed_calls("{name: cut, target: listener, mode: drop, client: other, when: {after: 1m}}", "", &[]);
    assert!((0.88..0.92).contains(&cut), "after the first of ten minutes every call times out: {cut}");
    let paths = ", {name: TRAFFIC_PATHS, value: /api}";
    let rate = failed_calls("{name: some, target: traffic, mode: status, rate: 25%}", paths, &[]);
    assert!((0.2..0.3).contains(&rate), "{rate}");
    let slow = "{name: slow, target: traffic, delay: 3s}";
    assert!(failed_calls(slow, paths, &[]) <= 0.0);
    assert!(failed_calls(slow, paths, &["--call-timeout", "2s"]) > 0.99);
    let kubelet = "{name: probes, target: listener, mode: drop, client: kubelet, when: {after: 9m59s}}";
    assert!(failed_calls(kubelet, "", &[]) <= 0.0, "callers are spared");
    let readiness = "{name: asked, target: readiness, mode: hang, client: other}";
    assert!(failed_calls(readiness, "", &[]) > 0.99);
}

#[tokio::test]
async fn the_event_of_an_exec_probe_is_what_the_command_prints() {
    let exec = "livenessProbe: {exec: {command: [/kube-probesim, probe, liveness]}, periodSeconds: 2}";
    for mode in [
        "status: 503",
        "mode: status, status: 404",
        "mode: redirect, location: /healthz",
        "mode: redirect, location: 'http://other.example/'",
        "mode: hang",
        "mode: close",
        "mode: reset",
        "mode: garbage",
        "mode: truncate",
        "mode: body-reset, status: 500",
        "mode: body-hang",
        "mode: malformed",
        "mode: drip",
    ] {
        let mode = if mode.starts_with("mode") { mode.to_owned() } else { format!("mode: status, {mode}") };
        let faults = format!("{{faults: [{{name: a, target: liveness, {mode}}}]}}");
        let env = format!("{{name: FAULTS, value: {}}}", Value::from(faults.as_str()));
        let (events, _) = json(&pod(&env, exec), &["--for", "20s"]);
        let event = events
            .iter()
            .find(|line| ["Unhealthy", "ProbeWarning"].contains(&line["event"].as_str().unwrap()));

        let service = crate::support::Service::start(&[("FAULTS", &faults)]).await;
        let port = service.probe.port();
        let url = format!("http://127.0.0.1:{port}/healthz");
        let (code, out) = tokio::task::spawn_blocking(move || {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let args = [url.as_str(), "--timeout", "1s"].map(OsString::from);
            let code = cli::probe::run(args, std::iter::empty(), &mut out, &mut err);
            (code, String::from_utf8(out).unwrap())
        })
        .await
        .unwrap();
        service.stop().await;
        let printed = out.trim_end_matches('\n').replace(&format!(":{port}"), ":8080");
        match event {
            Some(event) => {
                assert_ne!(code, 0, "{mode}: {printed}");
                assert_eq!(event["message"], format!("Liveness probe failed: {printed}"), "{mode}");
            }
            None => assert_eq!(code, 0, "{mode}: {printed}"),
        }
    }
}

#[test]
fn events_with_equal_messages_are_counted_together() {
    let counts = |mode: &str| -> Vec<u64> {
        let env = format!(
            "{{name: LIVENESS_FAILURE_RATE, value: '100'}}, {{name: LIVENESS_FAILURE_MODE, value: {mode}}}"
        );
        let probe =
            "livenessProbe: {httpGet: {path: /alive, port: 8080}, periodSeconds: 2, failureThreshold: 9}";
        let env = format!("{env}, {{name: LIVENESS_PATHS, value: /alive}}");
        let (events, _) = json(&pod(&env, probe), &["--for", "9s"]);
        let failed = events.iter().filter(|line| line["event"] == "Unhealthy");
        failed.map(|line| line["count"].as_u64().unwrap()).collect()
    };
    assert_eq!(counts("status"), [1, 2, 3, 4]);
    assert_eq!(counts("reset"), [1, 1, 1, 1], "the client's port is part of the message");
}

#[test]
fn events_do_not_depend_on_how_many_pods_run_at_once() {
    let stateful = |replicas: u32| {
        deployment(replicas, "{name: SEED, value: '7'}, {name: FAILURE_RATE, value: '30'}", READINESS)
    };
    let of_first = |replicas: u32| -> Vec<Value> {
        let (events, _) = json(&stateful(replicas), &["--for", "20m"]);
        let pod = events[0]["pod"].clone();
        let name = if replicas == 1 { pod } else { json(&stateful(1), &["--for", "1m"]).0[0]["pod"].clone() };
        events.into_iter().filter(|line| line["pod"] == name && line["event"] != "RolloutComplete").collect()
    };
    let alone = of_first(1);
    assert!(alone.len() > 20);
    assert_eq!(alone, of_first(300), "on several threads");
}
