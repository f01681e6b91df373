//! Printed reports and exit codes.

use std::ffi::OsString;

use kube_probesim::cli;
use kube_probesim::kubelet::{PodEvent, PodEventKind, Symptom};
use kube_probesim::predict::ContainerFacts;
use kube_probesim::predict::report::{Output, View, predict};
use kube_probesim::predict::timeline::Timeline;
use kube_probesim::predict::watcher::Flips;
use serde_json::Value;

use super::*;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/predict.txt");

fn printed(workload: &Workload, options: &Options, output: Output) -> String {
    let mut out = Vec::new();
    let view = View { output, ..View::default() };
    predict(workload, &Replicas::new(workload, options), options, &view, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Fails permanently after 5 minutes, and answers slowly.
fn example() -> Workload {
    let env = [("SEED", "42"), ("LIVENESS_FAIL_AFTER_TIME", "300"), ("READINESS_LATENCY", "1200")];
    Workload {
        assumptions: vec!["The image is at hand.".to_owned()],
        warnings: vec!["app.yaml, document 1: SEED=42 lacks quotes".to_owned()],
        ..workload(Kind::Deployment, 3, &env)
    }
}

#[test]
fn the_text_is_that_of_the_file() {
    let mut text = printed(&example(), &Options::default(), Output::Text);
    text += "\n";
    text += &printed(
        &workload(Kind::StatefulSet, 2, &[("FAILURE_RATE", "30"), ("FAILURE_BURST", "4")]),
        &Options::default(),
        Output::Text,
    );
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(FILE, &text).unwrap();
    }
    let pinned = std::fs::read_to_string(FILE).unwrap();
    assert!(pinned == text, "the text changed (UPDATE_GOLDEN=1 writes it anew):\n{text}");
}

#[test]
fn under_a_memory_limit_of_the_pod_alone_the_victim_is_not_determined() {
    let rule = "faults: [{name: leak, target: process, mode: memory, size: 200MiB, when: {after: 20s}}]";
    let with = |of_container: Option<u64>, of_pod: Option<u64>| {
        let mut workload = workload(Kind::Pod, 1, &[("FAULTS", rule)]);
        workload.facts = vec![ContainerFacts { memory_limit: of_container, ..ContainerFacts::default() }];
        workload.pod_memory_limit = of_pod;
        let text = printed(&workload, &Options::default(), Output::Text);
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let of_pod = with(None, Some(100 << 20));
    assert!(of_pod.contains("has no memory limit of its own, only its Pod has one."), "{of_pod}");
    assert!(of_pod.contains("the victim is not determined, and the prediction kills nothing"), "{of_pod}");
    assert!(!of_pod.contains("OOMKilled"), "{of_pod}");
    let of_container = with(Some(100 << 20), Some(150 << 20));
    assert!(of_container.contains("OOMKilled") && !of_container.contains("victim"), "{of_container}");
    let unlimited = with(None, None);
    assert!(
        unlimited.contains("If the node runs out of memory, the victim is not determined"),
        "{unlimited}"
    );
}

#[test]
fn a_day_of_trouble_stays_readable() {
    let day = Options { horizon: s(86_400), ..Options::default() };
    for env in [("LIVENESS_FAILURE_RATE", "100"), ("FAILURE_RATE", "50")] {
        let text = printed(&workload(Kind::Pod, 1, &[env]), &day, Output::Text);
        assert!(text.lines().count() < 110, "{text}");
        assert!(text.contains(" more\n"), "{text}");
    }
}

#[test]
fn json_has_an_object_a_line_each_event_and_a_summary() {
    let options = for_time(s(900));
    let text = printed(&example(), &options, Output::Json);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (_, events) = observed(&example(), &options);
    assert_eq!(lines.len(), events.len() + 1);
    let names: Vec<String> =
        Replicas::new(&example(), &options).pods.into_iter().map(|pod| pod.name).collect();
    for name in &names {
        assert!(lines.iter().any(|line| line["pod"] == **name), "events of every Pod");
    }
    let killing = lines.iter().find(|line| line["event"] == "Killing").unwrap();
    assert_eq!((&killing["probe"], &killing["grace_seconds"]), (&"Liveness".into(), &30.0.into()));
    let summary = &lines.last().unwrap()["summary"];
    assert_eq!(
        (&summary["pods"], &summary["seed"], &summary["sample"]),
        (&3.into(), &42.into(), &true.into())
    );
    assert!(summary["restarts"]["worst"].as_u64().unwrap() > 0);
    assert!(summary["advice"].as_array().unwrap().iter().any(|it| it["code"] == "timeout-below-p99"));
}

/// A terminal with input.
fn typed() -> cli::predict::Terminal {
    cli::predict::Terminal { is_input: true, ..Default::default() }
}

#[test]
fn text_keeps_to_the_width_of_a_terminal_and_has_colours_there() {
    use kube_probesim::predict::report::Style;
    let manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: kube-probesim\n    \
                    env: [{name: LIVENESS_FAIL_AFTER_TIME, value: '60'}, {name: LIVENESS_FAILURE_MODE, value: hang}]\n    \
                    livenessProbe: {httpGet: {path: /healthz, port: 8080}}\n    readinessProbe: {httpGet: {path: /readyz, port: 8080}}";
    let written = |style| {
        let terminal = cli::predict::Terminal { style, ..Default::default() };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let args = ["--at", "2026-01-01T00:00:00Z", "-"].map(OsString::from);
        assert_eq!(cli::predict::run(args, &mut manifest.as_bytes(), &terminal, &mut out, &mut err), 0);
        String::from_utf8(out).unwrap()
    };
    let longest = |text: &str| text.lines().map(|line| line.chars().count()).max().unwrap();
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let plain = written(Style::default());
    assert!(longest(&plain) > 80 && !plain.contains('\x1b'));
    for width in [60, 80, 200] {
        let fitted = written(Style { width: Some(width), colour: false });
        assert!(longest(&fitted) <= width, "{width}: {fitted}");
        assert_eq!(words(&fitted), words(&plain), "{width}");
    }
    let coloured = written(Style { width: None, colour: true });
    for part in
        ["\x1b[1mBudgets of container web\x1b[0m", "\x1b[1mAssumptions\x1b[0m", "\x1b[31m", "\x1b[32m"]
    {
        assert!(coloured.contains(part), "{part:?}: {coloured:?}");
    }
}

fn command(args: &[&str], stdin: &str) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = cli::predict::run(
        args.iter().map(OsString::from),
        &mut stdin.as_bytes(),
        &typed(),
        &mut out,
        &mut err,
    );
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[test]
fn all_errors_of_the_command_line_are_reported_together() {
    let args = [
        "--for",
        "soon",
        "--at",
        "noon",
        "--pods",
        "0",
        "--seed",
        "-1",
        "--output",
        "xml",
        "--fail-on",
        "x > 1",
        "--color",
    ];
    let (code, out, err) = command(&args, "");
    assert_eq!((code, out.as_str()), (64, ""));
    for part in [
        "--for \"soon\"",
        "--at \"noon\" is not a time such as 2026-11-23T12:00:00Z",
        "--pods \"0\"",
        "--seed \"-1\"",
        "--output \"xml\"",
        "--fail-on \"x > 1\"",
        "--color",
    ] {
        assert!(err.contains(part), "{part}: {err}");
    }
    assert!(err.contains("no input file"), "a terminal is not read from: {err}");
}

#[test]
fn the_help_names_every_option() {
    let (code, out, _) = command(&["--help"], "");
    assert_eq!(code, 0);
    for option in [
        "--for",
        "--at",
        "--pods",
        "--pod ",
        "--seed",
        "--endpoint-lag",
        "--call-timeout",
        "--stops-after",
        "--output",
        "--fail-on",
    ] {
        assert!(out.contains(option), "{option}");
    }
}

#[test]
fn files_that_are_not_there_and_manifests_that_are_wrong_have_codes_of_their_own() {
    let (code, _, err) = command(&["/nowhere/a.yaml", "/nowhere/b.yaml"], "");
    assert_eq!(code, 66);
    assert!(err.contains("/nowhere/a.yaml") && err.contains("/nowhere/b.yaml"), "{err}");
    let (code, out, err) = command(&["-"], "kind: [");
    assert_eq!((code, out.as_str()), (65, ""));
    assert!(!err.is_empty());
    let mut err = Vec::new();
    let code =
        cli::predict::run(["-".into()], &mut [b'a', 0xff].as_slice(), &typed(), &mut Vec::new(), &mut err);
    assert_eq!(code, 65);
    let err = String::from_utf8(err).unwrap();
    assert!(err.contains("UTF-8"), "{err}");
}

fn started(at: u64) -> PodEvent {
    PodEvent { at: s(at), container: 0, kind: PodEventKind::Started { restarts: at }, recorded: true }
}

fn ready(at: u64, ready: bool) -> PodEvent {
    PodEvent { at: s(at), container: 0, kind: PodEventKind::PodReady(ready), recorded: true }
}

fn failed(at: u64) -> PodEvent {
    let kind =
        PodEventKind::Unhealthy { probe: ProbeKind::Readiness, symptom: Symptom::Refused, error: false };
    PodEvent { at: s(at), container: 0, kind, recorded: true }
}

fn timeline(events: impl IntoIterator<Item = PodEvent>) -> String {
    let containers = &workload(Kind::Pod, 1, &[]).pod.containers;
    let mut timeline = Timeline::new(containers);
    for event in events {
        timeline.see(&event, Flips::Once);
    }
    timeline.to_string().lines().map(|line| line.trim().to_owned() + "\n").collect()
}

#[test]
fn attempts_that_fail_alike_are_one_line_until_something_changes() {
    let refused = "Readiness probe failed: Get \"http://10.0.0.5:8080/readyz\": dial tcp 10.0.0.5:8080: connect: connection refused";
    let seen = timeline([started(1), failed(2), failed(3), ready(4, true), failed(5), failed(6)]);
    let expected = format!(
        "+1s  Container started (restart 1)\n+2s  {refused} (2 times until +3s)\n+4s  Pod is ready\n+5s  {refused} (2 times until +6s)\n"
    );
    assert_eq!(seen, expected);
}

#[test]
fn a_round_of_lines_that_comes_again_is_counted() {
    let round =
        |at: u64| [started(at), ready(at + 1, true), failed(at + 2), failed(at + 3), ready(at + 4, false)];
    let seen = timeline((0..7).flat_map(|number| round(number * 10)).chain([started(70), ready(71, true)]));
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines.len(), 7, "{seen}");
    assert_eq!(lines[4], "+10s  … the last 4 lines again, 6 times until +1m4s");
    assert_eq!(lines[5..], ["+1m10s  Container started (restart 70)", "+1m11s  Pod is ready"]);
}

#[test]
fn of_many_different_lines_the_first_and_the_last_are_kept() {
    let exit = |code: u8| PodEvent {
        at: s(u64::from(code)),
        container: 0,
        kind: PodEventKind::Exited { code },
        recorded: false,
    };
    let seen = timeline((1..=200).map(exit));
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines.len(), 16 + 1 + 26);
    assert_eq!(lines[15], "+16s  Container app exited with code 16");
    assert_eq!(lines[16], "… 158 more");
    assert_eq!(lines[17], "+2m55s  Container app exited with code 175");
}

/// A Pod whose plan is in a ConfigMap volume; `rule` is its rule.
fn in_a_file(rule: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: web}}, spec: {{containers: [{{name: app, image: kube-probesim, \
         env: [{{name: FAULTS_FILE, value: /f/plan}}, {{name: SEED, value: '1'}}, {{name: FAILURE_RATE, value: '1'}}], \
         volumeMounts: [{{name: f, mountPath: /f}}], readinessProbe: {{httpGet: {{port: 8080, path: /readyz}}}}}}], \
         volumes: [{{name: f, configMap: {{name: plans}}}}]}}}}\n---\n\
         {{apiVersion: v1, kind: ConfigMap, metadata: {{name: plans}}, data: {{plan: \"faults: [{rule}]\"}}}}\n"
    )
}

#[test]
fn rules_of_a_file_are_named_with_their_source_and_the_instant_where_it_matters() {
    let drill = in_a_file("{name: drill, target: readiness, mode: status, start: '2026-11-23T12:10:00Z'}");
    let (code, out, err) = command(&["-", "--at", "2026-11-23T13:00:00+01:00"], &drill);
    assert_eq!((code, err.as_str()), (0, ""));
    for part in [
        "The prediction begins at 2026-11-23T12:00:00Z (--at sets another instant)\n",
        "\nFaults\n  - app: fault drill, from the file\n",
        "+10m",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    let (_, out, _) = command(&["-", "--at", "2026-11-23T12:00:00Z", "--output", "json"], &drill);
    let summary: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    let summary = &summary["summary"];
    assert_eq!(summary["begins_at"], "2026-11-23T12:00:00Z");
    let source = |name: &str| {
        let rules = summary["rules"].as_array().unwrap().iter();
        rules.filter(|rule| rule["name"] == name).map(|rule| rule["source"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        (source("drill"), source("readiness-rate")),
        (vec!["file".into()], vec!["environment".into()])
    );

    let (_, out, _) = command(&["-"], &in_a_file("{name: readiness-rate, target: readiness, mode: hang}"));
    assert!(!out.contains("The prediction begins at"), "no instant decides anything: {out}");
    assert!(out.contains("fault readiness-rate, from the environment, is hidden by the file"), "{out}");
    let (_, out, _) = command(&["-"], &drill.replace("'2026-11-23T12:10:00Z'", "'1999-01-01T00:00:00Z'"));
    assert!(out.contains("The prediction begins at 2"), "the present is taken: {out}");
}
