//! The command `predict`: input, output, and exit codes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod reports;

use std::io::{BufRead, BufReader, Write};
use std::process::{Output, Stdio};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::support::process::program;

const FILES: [&str; 2] = ["manifests/base/deployment.yaml", "manifests/base/service.yaml"];

fn predict(args: &[&str], input: &str) -> Output {
    let mut child = program()
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .arg("predict")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input closes it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn manifest(file: &str) -> String {
    std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn files_and_standard_input_give_the_same_prediction() {
    let of_files = predict(&[FILES[0], FILES[1], "--for", "10m"], "");
    assert_eq!(of_files.status.code(), Some(0), "{}", text(&of_files.stderr));
    let both = FILES.map(manifest).join("---\n");
    for args in [&["--for", "10m"][..], &["-", "--for", "10m"]] {
        let of_input = predict(args, &both);
        let body = |output: &Output| text(&output.stdout).split_once('\n').unwrap().1.to_owned();
        assert_eq!(body(&of_input), body(&of_files));
        assert!(text(&of_input.stdout).starts_with("standard input, document 1: Deployment kube-probesim\n"));
    }
}

#[test]
fn a_condition_that_holds_fails_the_check_and_says_why() {
    for (condition, code) in [
        ("restarts > 0", 1),
        ("restarts > 1000", 0),
        ("unready > 30s", 1),
        ("unready > 9h", 0),
        ("availability < 99.9%", 1),
        ("availability < 1%", 0),
        ("outage >= 1ms", 1),
        ("backoff > 9h", 0),
    ] {
        let output = predict(&[FILES[0], "--for", "10m", "--fail-on", condition], "");
        assert_eq!(output.status.code(), Some(code), "{condition}");
        assert_eq!(
            text(&output.stderr).contains(condition),
            code == 1,
            "{condition}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn every_line_of_json_is_an_object_and_the_last_is_the_summary() {
    let run = || predict(&[FILES[0], "--output", "json", "--for", "10m"], "").stdout;
    let output = text(&run());
    let lines: Vec<serde_json::Value> =
        output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["event"] == "Killing"), "{output}");
    let summary = &lines.last().unwrap()["summary"];
    assert_eq!((summary["pods"].as_u64(), summary["kubernetes"].as_str()), (Some(2), Some("1.36")));
    assert_eq!(text(&run()), output, "another run differs");
}

#[test]
fn each_kind_of_error_has_its_exit_code_and_place() {
    let deployment = manifest(FILES[0]);
    let wrong_env = deployment.replace("value: \"20\"", "value: \"120\"");
    let no_port = deployment.replace("port: http", "port: 9");
    for (args, input, code, words) in [
        (&["--fail-on", "restarts >> 1"][..], "", 64, "--fail-on"),
        (&["--nothing"], "", 64, "--nothing"),
        (&["--for", "abc"], "", 64, "--for"),
        (&["missing.yaml"], "", 66, "missing.yaml"),
        (&["-"], "a: [", 65, "standard input, document 1: line 1 column 4"),
        (&["-"], "a: &a [*a]", 65, "standard input, document 1: line 1"),
        (
            &["-"],
            wrong_env.as_str(),
            65,
            "container probesim, env FAILURE_RATE=\"120\": is not between 0% and 100%",
        ),
        (&["-"], no_port.as_str(), 65, "port"),
    ] {
        let output = predict(args, input);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {errors}");
        assert!(errors.contains(words), "{words:?} is missing in {errors}");
        assert_eq!(text(&output.stdout), "");
    }
}

#[test]
fn a_reader_that_leaves_is_no_panic() {
    let mut child = program()
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["predict", FILES[0], "--output", "json", "--for", "24h"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(!text(&output.stderr).contains("panicked"), "{}", text(&output.stderr));
}

#[test]
fn a_long_prediction_reports_progress_as_lines_on_standard_error() {
    let mut child = program()
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["predict", FILES[0], "--pods", "20000", "--for", "240h", "--output", "html"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let percent =
        line.trim_end().strip_prefix("kube-probesim predict: ").and_then(|it| it.strip_suffix("% simulated"));
    assert!(
        percent.is_some_and(|percent| percent.parse::<u8>().is_ok_and(|percent| percent < 100)),
        "{line:?}"
    );
}

#[test]
fn a_directory_stands_for_its_manifests() {
    let output = predict(&["manifests/base", "--for", "10m"], "");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    assert!(
        printed.starts_with("manifests/base/deployment.yaml, document 1: Deployment kube-probesim\n"),
        "{printed}"
    );
    let empty = predict(&["src/predict"], "");
    assert_eq!(empty.status.code(), Some(66));
    assert_eq!(
        text(&empty.stderr),
        "kube-probesim predict: src/predict: is a directory without .yaml, .yml or .json files\n"
    );
}

#[test]
fn a_pipe_or_device_instead_of_a_file_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("pod.yaml");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
    for path in [fifo.to_str().unwrap(), "/dev/zero"] {
        for (arguments, code) in [
            (&["predict", path][..], 66),
            (&["fault", "add", "--file", path], 64),
            (&["serve", "--faults", path], 0),
        ] {
            let mut command = program();
            command.args(arguments).envs([("PORT", "0"), ("ADMIN_ADDRESS", "127.0.0.1:0")]);
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            if code == 0 {
                // The service runs and reports the error.
                let mut line = String::new();
                let mut log = BufReader::new(child.stdout.as_mut().unwrap());
                while !line.contains("is not a regular file") {
                    line.clear();
                    assert!(log.read_line(&mut line).unwrap() > 0, "{arguments:?}");
                }
                child.kill().unwrap();
                child.wait().unwrap();
                continue;
            }
            let output = child.wait_with_output().unwrap();
            let message = text(&output.stderr);
            assert!(message.contains("is not a regular file"), "{arguments:?}: {message}");
            assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
        }
    }
}

#[test]
fn a_paused_deployment_has_no_pods_and_no_rollout() {
    let paused = manifest(FILES[0]).replace("\nspec:\n", "\nspec:\n  paused: true\n");
    let output = predict(&["--for", "10m"], &paused);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    assert!(printed.contains("0 Pods for 10m") && !printed.contains("Rollout complete"), "{printed}");
    assert!(printed.contains("\nNo Pod is created while the Deployment is paused\n"), "{printed}");
    let json = predict(&["--for", "10m", "--output", "json"], &paused);
    let lines = text(&json.stdout);
    assert_eq!(lines.lines().count(), 1, "{lines}");
    let summary = &serde_json::from_str::<serde_json::Value>(&lines).unwrap()["summary"];
    assert_eq!(summary["no_pods"], "no Pod is created while the Deployment is paused");
    assert_eq!(summary["rollout"], serde_json::Value::Null);
    let resumed = predict(&["--for", "10m", "--pods", "2"], &paused);
    let printed = text(&resumed.stdout);
    assert!(printed.contains("2 Pods for 10m") && !printed.contains("No Pod is created"), "{printed}");
}

const SHOP: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\nspec:\n  template:\n    spec:\n      containers:\n      - {name: web, image: example/web, livenessProbe: {httpGet: {port: 80}}}\n";

#[test]
fn unknown_behaviour_is_not_assessed_and_fail_on_refuses_it() {
    let output = predict(&["-"], SHOP);
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(printed.contains("Budgets of container web") && printed.contains("not assessed"), "{printed}");
    let output = predict(&["-", "--fail-on", "restarts > 0"], SHOP);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(64), String::new()));
    assert!(text(&output.stderr).contains("Deployment shop runs kube-probesim"), "{}", text(&output.stderr));
    let output = predict(&["-", "--fail-on", "restarts > 0", "--assume-healthy"], SHOP);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let output = predict(&["-", "--fail-on", "restarts > 0", "--profile", "web={ready_after: 1m}"], SHOP);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let nothing = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n";
    assert_eq!(
        text(&predict(&["-"], nothing).stdout),
        "Nothing to predict: no object in the input creates Pods; found 1 Secret\n"
    );
    assert_eq!(predict(&["-", "--fail-on", "restarts > 0"], nothing).status.code(), Some(64));
}

#[test]
fn profiles_that_are_wrong_or_not_there_have_their_exit_code() {
    for (args, code, words) in [
        (
            ["--profile", "web={latency: x}"],
            65,
            "--profile web={latency: x}: latency=\"x\": is not a duration",
        ),
        (["--profile", "web=missing.yaml"], 66, "--profile missing.yaml:"),
        (
            ["--profile", "db={latency: 5ms}"],
            64,
            "--profile db: there is no such container; the containers are web",
        ),
        (["--profile-from", "Cargo.toml"], 65, "contains neither a histogram in Prometheus' text format"),
        (["--profile-from", "https://example.com/"], 66, "for HTTPS, download it with curl"),
        (["--profile-from", "http://127.0.0.1:1/metrics"], 66, "cannot be fetched"),
    ] {
        let output = predict(&["-", args[0], args[1]], SHOP);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {errors}");
        assert!(errors.contains(words), "{words:?} is missing in {errors}");
    }
}

#[test]
fn latencies_of_the_real_service_are_fetched_and_simulated() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let read = std::io::Read::read(&mut client, &mut request).unwrap();
        let body = "slow_bucket{le=\"0.5\"} 1\nslow_bucket{le=\"5\"} 100\nslow_bucket{le=\"+Inf\"} 100\n";
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        std::io::Write::write_all(&mut client, answer.as_bytes()).unwrap();
        String::from_utf8_lossy(&request[..read]).into_owned()
    });
    let output = predict(&["-", "--profile-from", &url, "--fail-on", "restarts > 0"], SHOP);
    assert!(server.join().unwrap().starts_with("GET /metrics HTTP/1.1\r\n"));
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let report = text(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(report.contains("its answers take 1.562s (p50) and 4.885s (p99)"), "{report}");
}
