//! Process faults: exits, and reactions to SIGTERM.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::process::{Process, command, event, program};

const SECOND: Duration = Duration::from_secs(1);

/// A run of the service that ends by itself: the lines of its log, its exit, and how long it took.
fn run(vars: &[(&str, &str)]) -> (Vec<Value>, Output, Duration) {
    let began = Instant::now();
    let output = command(vars).output().unwrap();
    let lines = String::from_utf8(output.stdout.clone()).unwrap();
    (lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), output, began.elapsed())
}

fn position(lines: &[Value], message: &str) -> usize {
    lines
        .iter()
        .position(|line| line["message"] == message)
        .unwrap_or_else(|| panic!("no {message:?} in {lines:#?}"))
}

fn fault(process: &Process, args: &[&str]) -> Output {
    let admin = process.admin.to_string();
    program().arg("fault").args(args).args(["--admin", &admin]).output().unwrap()
}

fn metric(process: &Process, series: &str) -> f64 {
    let text = process.get(process.admin, "/metrics").unwrap();
    let line =
        text.lines().find(|line| line.starts_with(series)).unwrap_or_else(|| panic!("no {series} in {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn exit_ends_the_process_with_its_code_and_totals_and_without_the_shutdown_delay() {
    for code in ["0", "3", "255"] {
        let vars = [("EXIT_AFTER", "500ms"), ("EXIT_CODE", code), ("SHUTDOWN_DELAY", "60")];
        let (lines, output, took) = run(&vars);
        assert_eq!(output.status.code(), code.parse().ok(), "{lines:#?}");
        assert!(took >= SECOND / 2 && took < 10 * SECOND, "{took:?}");
        let announced = position(&lines, &format!("the process ends with exit code {code}"));
        let (rule, ended) = (position(&lines, "total of a rule"), position(&lines, "ended"));
        assert!(announced < rule && rule < ended, "{lines:#?}");
        let of_rule = &lines[rule];
        assert_eq!(
            (&of_rule["fault"], &of_rule["target"], &of_rule["eligible"], &of_rule["injected"]),
            (&"process-exit".into(), &"process".into(), &1.into(), &1.into())
        );
    }
}

#[test]
fn abort_ends_the_process_by_sigabrt() {
    let (_, output, _) = run(&[("FAULTS", "faults: [{name: a, target: process, mode: abort}]")]);
    assert_eq!(output.status.signal(), Some(6), "{output:?}");
}

#[test]
fn the_first_starts_fail_and_the_next_one_serves() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().to_str().unwrap();
    let vars = [("EXIT_STARTS", "2"), ("EXIT_CODE", "7"), ("STATE_DIR", state)];
    for _ in 0..2 {
        let (_, output, _) = run(&vars);
        assert_eq!(output.status.code(), Some(7));
    }
    let mut third = Process::start(&vars);
    assert_eq!(third.status("/healthz"), Some(200));
    third.signal("TERM");
    assert_eq!(third.end().0.code(), Some(0));
}

#[test]
fn a_rate_of_exit_ends_some_of_the_starts() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().to_str().unwrap();
    // Processes that the rule does not select end later, with another code.
    let faults = "faults: [{name: b, target: process, mode: exit, code: 9, when: {after: 300ms}}]";
    let vars = [("EXIT_RATE", "50"), ("EXIT_CODE", "7"), ("STATE_DIR", state), ("FAULTS", faults)];
    let codes: Vec<i32> = (0..12).map(|_| run(&vars).1.status.code().unwrap()).collect();
    let ended = codes.iter().filter(|code| **code == 7).count();
    assert!(codes.iter().all(|code| [7, 9].contains(code)) && (1..12).contains(&ended), "{codes:?}");
}

#[test]
fn a_rule_that_is_added_ends_the_process_after_its_answer() {
    let mut process = Process::start(&[]);
    let added = fault(&process, &["add", "process", "--mode", "exit", "--code", "3"]);
    assert!(added.status.success(), "{added:?}");
    assert_eq!(process.end().0.code(), Some(3));
}

#[test]
fn a_rule_that_is_removed_in_time_ends_nothing() {
    let process = Process::start(&[("EXIT_AFTER", "2")]);
    let removed = fault(&process, &["rm", "process-exit"]);
    assert!(removed.status.success(), "{removed:?}");
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(process.status("/healthz"), Some(200));
}

#[test]
fn a_sigterm_that_is_ignored_is_acted_on_at_the_end_of_the_window() {
    let faults = "faults: [{name: deaf, target: process, mode: ignore-term, when: {for: 3s}}]";
    let mut process = Process::start(&[("FAULTS", faults)]);
    process.signal("TERM");
    event(&mut process.log, "SIGTERM is ignored");
    assert_eq!(process.status("/readyz"), Some(200));
    assert!(
        (metric(
            &process,
            r#"probesim_faults_injected_total{fault="deaf",target="process",mode="ignore-term"}"#
        ) - 1.0)
            .abs()
            < 0.1
    );
    let (status, _) = process.end();
    assert_eq!(status.code(), Some(0));
    let mut log = String::new();
    process.log.read_to_string(&mut log).unwrap();
    assert!(log.contains("shutting down: readiness fails"), "{log}");
}

#[test]
fn a_stop_ends_a_process_that_ignored_its_sigterm_within_a_second() {
    let mut process = Process::start(&[("IGNORE_TERM", "true")]);
    process.signal("TERM");
    process.signal("TERM");
    event(&mut process.log, "SIGTERM is ignored");
    assert_eq!(process.status("/healthz"), Some(200));
    assert!(fault(&process, &["stop"]).status.success());
    let (status, took) = process.end();
    assert!(status.code() == Some(0) && took < SECOND, "{status:?} after {took:?}");
}

#[test]
fn sigint_ends_a_process_that_ignores_sigterm() {
    let mut process = Process::start(&[("IGNORE_TERM", "true")]);
    process.signal("TERM");
    event(&mut process.log, "SIGTERM is ignored");
    process.signal("INT");
    let (status, took) = process.end();
    assert!(status.code() == Some(0) && took < SECOND, "{status:?} after {took:?}");
}

#[test]
fn slow_term_serves_without_being_ready_until_its_delay_is_over() {
    let mut process = Process::start(&[("SLOW_TERM", "1500ms")]);
    let began = Instant::now();
    process.signal("TERM");
    event(&mut process.log, "SIGTERM takes effect in 1.5s");
    process.until(|| process.status("/readyz") == Some(503));
    assert_eq!(process.status("/healthz"), Some(200));
    assert_eq!(process.end().0.code(), Some(0));
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(1500) && took < 6 * SECOND, "{took:?}");
}

#[test]
fn removing_the_rule_ends_a_slow_term_at_once() {
    let mut process = Process::start(&[("SLOW_TERM", "60")]);
    process.signal("TERM");
    event(&mut process.log, "SIGTERM takes effect in 1m");
    assert!(fault(&process, &["rm", "process-slow-term"]).status.success());
    let (status, took) = process.end();
    assert!(status.code() == Some(0) && took < SECOND, "{status:?} after {took:?}");
}

#[test]
fn rules_beyond_the_resources_of_the_machine_prevent_the_start() {
    for (vars, expected) in [
        (&[("CPU_CORES", "1000")][..], "CPU_CORES: 1000 cores are more than the "),
        (
            &[(
                "FAULTS",
                "faults: [{name: a, target: process, mode: memory, size: 1000000GiB, allow_node_pressure: true}]",
            )],
            "FAULTS: a: size: 1073741824000000 bytes are more than the ",
        ),
        (
            &[("FAULTS", "faults: [{name: a, target: process, mode: disk, path: /nowhere, size: 1MiB}]")],
            "FAULTS: a: path=\"/nowhere\": is not the mount point of a volume; mount a volume such as an emptyDir there",
        ),
        (
            &[("FAULTS", "faults: [{name: a, target: process, mode: disk, path: /, size: 1MiB}]")],
            "FAULTS: a: path=\"/\": is the root file system, which is on the node",
        ),
    ] {
        let output = command(vars).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{vars:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.starts_with(expected), "{text}");
    }
}

#[test]
fn the_api_refuses_what_needs_a_state_and_names_the_field() {
    let process = Process::start(&[]);
    let refused = fault(&process, &["add", "process", "--mode", "exit", "--starts", "2"]);
    assert_eq!(refused.status.code(), Some(65));
    let text = String::from_utf8(refused.stderr).unwrap();
    assert!(text.contains("when.starts: needs STATE_DIR"), "{text}");
}

#[test]
fn hundreds_of_short_windows_write_few_lines_and_each_window_is_counted() {
    let rule = |number: u32| {
        let when = json!({"after": format!("{}ms", 10 * number), "for": "10ms", "every": "20ms"});
        json!({"name": format!("rule-{number}"), "target": "process", "mode": "memory", "size": "64KiB", "when": when})
    };
    let plan = json!({"faults": (0..200).map(rule).collect::<Vec<_>>()}).to_string();
    let (lines, _, _) = run(&[("EXIT_AFTER", "3"), ("FAULTS", &plan)]);
    let taken = |line: &&Value| line["message"] == "65536 bytes of memory are allocated";
    let count = lines.iter().filter(taken).count();
    assert!((1..=100).contains(&count), "{count} lines");
    let of_rule = |line: &&Value| line["message"] == "total of a rule" && line["fault"] == "rule-0";
    let total = lines.iter().find(of_rule).unwrap();
    assert!(total["injected"].as_u64().unwrap() > 50, "{total}");
}
