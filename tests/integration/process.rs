//! The program as a process: configuration errors, ports, signals.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::float_cmp)]

use std::io::{BufRead, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::Duration;

use crate::support::process::{Process, command, event};
use crate::support::tools;

fn refused(vars: &[(&str, &str)]) -> Output {
    command(vars).output().unwrap()
}

#[test]
fn all_errors_are_reported_at_once_and_no_port_is_bound() {
    let output =
        refused(&[("FAILURE_RATE", "120"), ("LATENCY", "5 parsecs"), ("PORT", "70000"), ("SEED", "x")]);
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8(output.stderr).unwrap();
    for name in ["FAILURE_RATE", "LATENCY", "PORT", "SEED"] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name} is missing in\n{text}");
    }
    assert_eq!(output.stdout, b"", "it began to serve");
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let admin = format!("127.0.0.1:{port}");
    for vars in [[("PORT", port.as_str())], [("ADMIN_ADDRESS", &admin)]] {
        let output = refused(&vars);
        assert_eq!(output.status.code(), Some(71), "{vars:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(&format!(":{port}: Address already in use")), "{text}");
    }
}

#[test]
fn a_wrong_word_is_a_usage_error() {
    for args in [&["sreve"][..], &["serve", "extra"], &["--nothing"]] {
        let output = command(&[]).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{args:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(
            text.contains(args[args.len() - 1])
                && text.contains(if args == ["sreve"] { "Usage:" } else { "--help" }),
            "{text}"
        );
    }
}

#[test]
fn version_and_help_are_printed() {
    for (arg, expected) in [("--version", env!("CARGO_PKG_VERSION")), ("--help", "Usage:")] {
        let output = command(&[]).arg(arg).output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains(expected));
    }
}

#[test]
fn the_start_is_logged_with_seed_listeners_and_rules() {
    let process = Process::start(&[("FAILURE_RATE", "20"), ("SEED_SCOPE", "fleet"), ("POD_NAME", "web-0")]);
    let started = &process.started;
    assert_eq!(started["seed"], 42);
    assert_eq!(started["pod"], "web-0");
    assert_eq!(started["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(started["rules"], 4);
    assert!(started["faults"].as_str().unwrap().contains("liveness-rate"), "{started}");
}

#[test]
fn replicas_have_seeds_of_their_own_and_each_can_be_replayed() {
    let of = |vars: &[(&str, &str)]| Process::start(vars).started["seed"].as_u64().unwrap();
    let (one, two) = (of(&[("POD_NAME", "web-0")]), of(&[("POD_NAME", "web-1")]));
    assert!(one != two && one != 42);
    assert_eq!(of(&[("POD_NAME", "web-0")]), one);
    assert_eq!(of(&[("POD_NAME", "web-9"), ("SEED", &one.to_string()), ("SEED_SCOPE", "fleet")]), one);
}

#[test]
fn each_of_twelve_replicas_is_replayed_exactly_with_its_effective_seed() {
    let faults = "faults: [{name: some, target: liveness, mode: status, rate: 50%, pods: 50%}]";
    let outcomes = |pod: &str, seed: &str, scope: &str| {
        let vars = [("POD_NAME", pod), ("SEED", seed), ("SEED_SCOPE", scope), ("FAULTS", faults)];
        let process = Process::start(&vars);
        let statuses: Vec<_> = (0..16).map(|_| process.status("/healthz").unwrap()).collect();
        (process.started["seed"].to_string(), statuses)
    };
    let mut selected = 0;
    for number in 0..12 {
        let pod = format!("web-{number}");
        let (seed, statuses) = outcomes(&pod, "42", "pod");
        selected += u32::from(statuses.contains(&500));
        assert_eq!(outcomes(&pod, &seed, "fleet"), (seed, statuses), "{pod}");
    }
    assert!((2..=10).contains(&selected), "{selected} of 12 are selected");
}

#[test]
fn windows_are_logged_when_they_open_and_close() {
    let mut process =
        Process::start(&[("LIVENESS_FAIL_AFTER_TIME", "300ms"), ("LIVENESS_FAIL_FOR", "300ms")]);
    assert_eq!(event(&mut process.log, "window opened")["fault"], "liveness-time");
    assert_eq!(process.status("/healthz"), Some(500));
    assert_eq!(event(&mut process.log, "window closed")["fault"], "liveness-time");
    assert_eq!(process.status("/healthz"), Some(200));
}

#[test]
fn a_signal_fails_readiness_at_once_and_the_service_answers_during_the_delay() {
    for signal in ["TERM", "INT"] {
        let mut process = Process::start(&[("SHUTDOWN_DELAY", "2s")]);
        assert_eq!(process.status("/readyz"), Some(200));
        process.signal(signal);
        process.until(|| process.status("/readyz") == Some(503));
        assert_eq!(process.status("/healthz"), Some(200));
        let metrics = process.get(process.admin, "/metrics").unwrap();
        assert!(metrics.contains("probesim_target_up{target=\"readiness\"} 0"), "{metrics}");
        let (status, _) = process.end();
        assert_eq!(status.code(), Some(0));
    }
}

#[test]
fn requests_in_progress_are_answered_before_the_process_exits() {
    let mut process = Process::start(&[("LIVENESS_LATENCY", "1s")]);
    let mut stream = process.open("/healthz").unwrap();
    sleep(Duration::from_millis(200));
    process.signal("TERM");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("ok"), "{answer}");
    assert_eq!(process.end().0.code(), Some(0));
    assert!(TcpStream::connect(process.probe).is_err());
}

#[test]
fn requests_whose_delay_exceeds_the_grace_do_not_delay_the_exit() {
    let mut process = Process::start(&[("LATENCY", "60000")]);
    let streams: Vec<TcpStream> = (0..100).map(|_| process.open("/healthz").unwrap()).collect();
    process.until(|| {
        let metrics = process.get(process.admin, "/metrics").unwrap();
        metrics.contains("probesim_faults_injected_total{fault=\"liveness-latency\",target=\"liveness\",mode=\"delay\"} 100")
    });
    process.signal("TERM");
    let (status, took) = process.end();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(1), "{took:?}");
    drop(streams);
    let total = event(&mut process.log, "total of requests");
    assert_eq!((total["code"].as_str(), total["count"].as_u64()), (Some("none"), Some(100)));
}

#[test]
fn requests_still_in_progress_are_closed_after_the_grace() {
    let mut process = Process::start(&[("SHUTDOWN_GRACE", "500ms")]);
    // Half a request, which may take any time to complete.
    let mut stream = TcpStream::connect(process.probe).unwrap();
    stream.write_all(b"GET /healthz HT").unwrap();
    sleep(Duration::from_millis(200));
    process.signal("TERM");
    let (status, took) = process.end();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut process = Process::start(&[("SHUTDOWN_DELAY", "60s")]);
    process.signal("TERM");
    process.until(|| process.status("/readyz") == Some(503));
    process.signal("TERM");
    let (_, took) = process.end();
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn totals_are_logged_at_the_end() {
    let mut process = Process::start(&[("LIVENESS_FAIL_REQUESTS", "2")]);
    for _ in 0..3 {
        process.status("/healthz");
    }
    process.signal("TERM");
    let mut counts = Vec::new();
    for _ in 0..2 {
        let total = event(&mut process.log, "total of requests");
        counts.push((total["code"].as_str().unwrap().to_owned(), total["count"].as_u64().unwrap()));
    }
    assert_eq!(counts, [("200".to_owned(), 1), ("500".to_owned(), 2)]);
    let rule = event(&mut process.log, "total of a rule");
    assert_eq!((rule["fault"].as_str(), rule["injected"].as_u64()), (Some("liveness-requests"), Some(2)));
    assert_eq!(event(&mut process.log, "ended")["other"], 3);
}

#[test]
fn without_file_descriptors_the_service_waits_instead_of_spinning_or_exiting() {
    if !tools::are_there(&["sh"]) {
        return;
    }
    let mut shell = Command::new("sh");
    // The program reserves about ten for itself.
    shell
        .args(["-c", "ulimit -n 40 && exec \"$0\"", env!("CARGO_BIN_EXE_kube-probesim")])
        .env_clear()
        .envs([("PORT", "0"), ("ADMIN_ADDRESS", "127.0.0.1:0"), ("READINESS_LATENCY", "60000")]);
    let mut process = Process::of(shell);
    // Connections without a request under way would make room.
    let crowd: Vec<TcpStream> = (0..60).filter_map(|_| process.open("/readyz")).collect();
    event(&mut process.log, "no file descriptors are left; waiting");
    let before = process.cpu_ticks();
    sleep(Duration::from_secs(2));
    // A tick is a hundredth of a second; a loop that spins takes two hundred.
    let spent = process.cpu_ticks() - before;
    assert!(spent < 100, "{spent} ticks of CPU time");
    // The admin listener has descriptors of its own, so that a drill can be watched and ended.
    let metrics = process.get(process.admin, "/metrics").unwrap();
    drop(crowd);
    process.until(|| process.status("/healthz") == Some(200));
    let hits =
        metrics.lines().find(|line| line.starts_with("probesim_limits_hit_total{limit=\"descriptors\"}"));
    let hits: u64 = hits.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!((1..500).contains(&hits), "{hits}");
}

#[test]
fn a_process_that_was_suspended_continues_at_the_current_time() {
    let process = Process::start(&[("READINESS_LATENCY", "300"), ("LIVENESS_FAIL_AFTER_TIME", "1500ms")]);
    assert_eq!(process.status("/healthz"), Some(200));
    let mut waiting = process.open("/readyz").unwrap();
    let mut idle = TcpStream::connect(process.probe).unwrap();
    process.signal("STOP");
    sleep(Duration::from_secs(2));
    process.signal("CONT");
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(process.status("/healthz"), Some(500), "the window opened meanwhile");
    idle.write_all(b"GET /dependency HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    answer.clear();
    idle.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_log_that_nobody_reads_blocks_neither_the_service_nor_its_exit() {
    let mut process = Process::start(&[("LOG_LEVEL", "debug"), ("FAILURE_RATE", "100")]);
    // A pipe holds 64 KiB, and each of these requests is a line of about 200 bytes.
    for _ in 0..1000 {
        assert_eq!(process.status("/healthz"), Some(500));
    }
    process.signal("TERM");
    let (status, took) = process.end();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn a_thousand_short_windows_cost_little_cpu_and_log_and_do_not_delay_the_exit() {
    let faults: Vec<String> = (0..1_000)
        .map(|i| {
            let (target, mode) = if i % 10 == 0 { ("listener", "reset, from: 192.0.2.1") } else { ("liveness", "hang, rate: 0%") };
            format!("{{name: w{i}, target: {target}, mode: {mode}, when: {{after: {i}99us, for: 10ms, every: 20ms}}}}")
        })
        .collect();
    let faults = format!("faults: [{}]", faults.join(", "));
    let mut process = Process::start(&[("FAULTS", &faults)]);
    sleep(Duration::from_secs(1));
    let before = process.cpu_ticks();
    sleep(Duration::from_secs(4));
    // A tick is a hundredth of a second: 80 of them are 20 % of a core.
    let spent = process.cpu_ticks() - before;
    assert!(spent < 80, "{spent} ticks of CPU time in 4 s");
    assert_eq!(process.status("/healthz"), Some(200));
    let (mut windows, mut left_out) = (0, 0);
    while left_out == 0 {
        let mut line = String::new();
        assert!(process.log.read_line(&mut line).unwrap() > 0, "the log ended");
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        let message = event["message"].as_str().unwrap_or_default();
        windows += u64::from(message.starts_with("window "));
        if message.starts_with("window changes were omitted") {
            left_out += event["count"].as_u64().unwrap();
        }
    }
    assert!(windows <= 60 && left_out > 100, "{windows} reported, {left_out} left out");
    process.signal("TERM");
    let (status, took) = process.end();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(2), "{took:?}");
}
