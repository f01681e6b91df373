//! The command `probe`: exit codes, output, repetition and wrong usage.

#![allow(clippy::unwrap_used, reason = "the lint knows test functions, not their helpers")]

use std::ffi::OsString;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use kube_probesim::cli::probe::run;
use serde_json::Value;

use crate::scripted::{Fin, LONG, OK, Reset, Server, closed};

struct Ran {
    code: u8,
    out: String,
    err: String,
}

fn command(args: &[&str], env: &[(&str, &str)]) -> Ran {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let env = env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let code = run(args.iter().map(OsString::from), env, &mut out, &mut err);
    Ran { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

fn answer_of(status: u16) -> Vec<u8> {
    format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

#[test]
fn the_exit_code_is_the_result() {
    let truncated = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n".to_vec();
    for (answer, code, line) in [
        (answer_of(200), 0, "success complete 200\n"),
        (answer_of(304), 0, "warning complete 304 Probe terminated redirects, Response body: \n"),
        (answer_of(503), 1, "failure complete 503 HTTP probe failed with statuscode: 503\n"),
        (truncated, 3, "error body 200 unexpected EOF\n"),
    ] {
        let ran = command(&["--timeout", "20", &Server::new(&[(&answer, Fin)]).url()], &[]);
        assert_eq!((ran.code, ran.err.as_str(), ran.out.as_str()), (code, "", line));
    }
    let ran = command(&[&format!("tcp://{}", closed())], &[]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.out.starts_with("failure connect - ") && ran.out.ends_with("connection refused\n"),
        "{}",
        ran.out
    );
}

#[test]
fn equal_outcomes_have_equal_lines_so_that_events_of_exec_probes_aggregate() {
    let answers = [(answer_of(200), Fin), (answer_of(503), Fin), (Vec::new(), Reset), (Vec::new(), Fin)];
    for (answer, end) in answers {
        let server = Server::new(&[(&answer, end)]);
        let lines: Vec<String> = (0..3).map(|_| command(&[&server.url()], &[]).out).collect();
        assert!(lines.iter().all(|line| *line == lines[0]), "{lines:?}");
    }
}

#[test]
fn text_from_a_server_stays_on_one_line() {
    let server = Server::new(&[(b"HTTP/1.1 304 x\r\n\r\n", Fin)]);
    assert!(command(&[&server.url()], &[]).out.ends_with("Response body: \n"));
    let server = Server::new(&[(b"HTTP/1.1 302 x\r\n\r\na\x1b[31m\nb\xff", Fin)]);
    let out = command(&[&server.url()], &[]).out;
    assert!(out.ends_with("Response body: a\\u{1b}[31m\\nb\u{fffd}\n"), "{out}");
}

#[test]
fn json_has_every_part_of_an_outcome() {
    let server = Server::new(&[(&answer_of(503), Fin)]);
    let ran = command(&["--output=json", &server.url()], &[]);
    let line: Value = serde_json::from_str(&ran.out).unwrap();
    let keys: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["address", "result", "phase", "status", "duration_seconds", "message"]);
    assert_eq!((&line["address"], &line["result"]), (&server.url().into(), &"failure".into()));
    assert_eq!((&line["phase"], &line["status"]), (&"complete".into(), &503.into()));
    assert_eq!(line["message"], "HTTP probe failed with statuscode: 503");
    assert!(line["duration_seconds"].as_f64().unwrap() > 0.0);
}

#[test]
fn headers_are_sent() {
    let server = Server::new(&[(OK, Fin)]);
    assert_eq!(command(&["--header", "x-a: 1", "--header=Host: me", &server.url()], &[]).code, 0);
    let request = server.request();
    assert!(request.contains("\r\nX-A: 1\r\n") && request.contains("\r\nHost: me\r\n"), "{request}");
}

#[test]
fn until_success_waits_through_failures_and_errors() {
    let (bad, error, good) =
        (answer_of(500), b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", answer_of(200));
    let server = Server::new(&[(&bad, Fin), (&bad, Fin), (error, Fin), (&good, Fin)]);
    let ran = command(&["--until", "success", "--every", "20ms", &server.url()], &[]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let results: Vec<_> = ran.out.lines().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(results, ["failure", "error", "success"], "a line for each change");
    assert!(ran.out.starts_with("+0.0"), "{}", ran.out);
}

#[test]
fn until_failure_exits_with_0_at_a_failure_but_not_at_an_error() {
    let (good, error, bad) = (answer_of(200), b"HTTP/1.1 500 x\r\nContent-Length: 9\r\n\r\n", answer_of(500));
    let server = Server::new(&[(&good, Fin), (error, Fin), (&bad, Fin)]);
    let ran = command(&["--until=failure", "--every=20ms", &server.url()], &[]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    let results: Vec<_> = ran.out.lines().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(results, ["success", "error", "failure"]);
}

#[test]
fn until_never_exits_with_0_when_its_time_is_over() {
    let truncated = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n".to_vec();
    for (until, answer, code) in
        [("failure", answer_of(200), 1), ("failure", truncated.clone(), 3), ("success", truncated, 3)]
    {
        let server = Server::new(&[(&answer, Fin)]);
        let ran = command(&["--until", until, "--every", "20ms", "--for", "100ms", &server.url()], &[]);
        assert_eq!(ran.code, code, "{until}: {}", ran.out);
        assert!(ran.err.contains(&format!("no {until} in ")), "{}", ran.err);
    }
    let server = Server::new(&[(&answer_of(500), Fin)]);
    let start = Instant::now();
    let ran = command(&["--until", "success", "--every", "50ms", "--for", "400ms", &server.url()], &[]);
    assert_eq!((ran.code, ran.out.lines().count()), (1, 1), "{}", ran.out);
    assert!(ran.err.contains("no success in "), "{}", ran.err);
    assert!((Duration::from_millis(400)..LONG).contains(&start.elapsed()));
}

#[test]
fn an_observer_prints_each_change_and_a_summary() {
    let (bad, good) = (answer_of(500), answer_of(200));
    let server = Server::new(&[(&good, Fin), (&bad, Fin), (&bad, Fin), (&good, Fin)]);
    let ran = command(&["--every=100ms", "--for=1s", "--output=json", &server.url()], &[]);
    let lines: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let results: Vec<_> = lines.iter().filter_map(|line| line["result"].as_str()).collect();
    assert_eq!(results, ["success", "failure", "success"], "{}", ran.out);
    assert!(lines[1]["elapsed_seconds"].as_f64().unwrap() >= 0.09, "{}", ran.out);
    let summary = &lines[3]["summary"];
    let attempts = summary["attempts"].as_u64().unwrap();
    assert!((4..=10).contains(&attempts), "{summary}");
    assert_eq!(
        (&summary["failure"], &summary["warning"], &summary["error"]),
        (&2.into(), &0.into(), &0.into())
    );
    let availability = (attempts - 2) as f64 / attempts as f64;
    assert!((summary["availability"].as_f64().unwrap() - availability).abs() < 1e-9, "{summary}");
    let latency = |name: &str| summary["latency_seconds"][name].as_f64().unwrap();
    assert_eq!(summary["latency_seconds"]["answers"], attempts);
    assert!(latency("p50") > 0.0 && latency("p50") <= latency("p99") && latency("p99") <= latency("max"));
    assert_eq!(ran.code, 0);
}

#[test]
fn the_summary_of_an_observer_has_counts_and_percentiles() {
    let server = Server::new(&[(&answer_of(500), Fin)]);
    let ran = command(&["--every=100ms", "--for=50ms", &server.url()], &[]);
    let lines: Vec<_> = ran.out.lines().collect();
    assert_eq!(lines[1], "attempts 1: success 0, warning 0, failure 1, error 0");
    assert_eq!(lines[2], "availability 0.000% (success and warning, of all attempts)");
    assert!(lines[3].starts_with("latency p50 ") && lines[3].ends_with("(of 1 answers)"), "{}", lines[3]);
    assert_eq!(ran.code, 1);
}

#[test]
fn a_target_is_probed_at_the_address_of_the_environment() {
    let server = Server::new(&[(OK, Fin)]);
    let port = server.address.port().to_string();
    for (args, path) in [
        (&[][..], "/readyz"),
        (&["readiness"], "/readyz"),
        (&["liveness"], "/healthz"),
        (&["startup"], "/startupz"),
        (&["dependency"], "/dependency"),
        (&["traffic"], "/api/"),
    ] {
        let env = [("PORT", port.as_str()), ("TRAFFIC_PATHS", " /api/* , /x"), ("BIND_ADDRESS", "0.0.0.0")];
        assert_eq!(command(args, &env).code, 0, "{args:?}");
        assert!(server.request().starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{args:?}");
    }
    let server = Server::on("[::1]:0", &[(OK, Fin)]);
    let port = server.address.port().to_string();
    for bind in ["::1", "::"] {
        assert_eq!(command(&["liveness"], &[("PORT", &port), ("BIND_ADDRESS", bind)]).code, 0, "{bind}");
    }
}

#[test]
fn all_usage_errors_are_reported_at_once() {
    let ran = command(
        &[
            "--timeout=abc",
            "--every",
            "0",
            "--for=-1",
            "--until=maybe",
            "--output=xml",
            "--header=nothing",
            "--header=a b: c",
            "--frobnicate=1",
            "ftp://host:1",
            "another",
        ],
        &[],
    );
    assert_eq!((ran.code, ran.out.as_str()), (64, ""));
    for part in [
        "--timeout \"abc\" is not a duration such as 250ms",
        "--every \"0\" must be more than 0",
        "--for \"-1\" is not a duration",
        "--until \"maybe\" is not one of success, failure",
        "--output \"xml\" is not one of text, json",
        "--header \"nothing\" has no colon; write 'Name: value'",
        "--header \"a b: c\" has a name with",
        "--frobnicate is not an option",
        "\"ftp://host:1\" has the unknown scheme ftp; write http://",
        "unexpected argument \"another\"",
    ] {
        assert!(ran.err.contains(part), "{part} is not in\n{}", ran.err);
    }
    assert_eq!(ran.err.lines().count(), 11, "one line each, and where to read on:\n{}", ran.err);
}

#[test]
fn the_error_for_each_wrong_address_says_what_is_allowed() {
    for (address, part) in [
        ("ftp://h/", "has the unknown scheme ftp; write http://host:port/path, https://"),
        ("h:80", "is not an address; write http://host:port/path"),
        ("/healthz", "is not an address"),
        ("livenes", "is not an address"),
        ("http://", "has no host"),
        ("http://u:p@h/", "has a user or password"),
        ("http://h:0/", "needs a port from 1 to 65535"),
        ("http://h:99999/", "needs a port from 1 to 65535"),
        ("http://h:x/", "invalid port \":x\" after host"),
        ("http://[::1/", "missing ']' in host"),
        ("http://[1]/", "invalid host: ParseAddr(\"1\"): unable to parse IP"),
        ("http://a b/", "invalid character \" \" in host name"),
        ("http://a!b/", "has the host \"a!b\", which is neither a name nor an IP address"),
        ("http://h/\r\nX: y", "invalid control character"),
        ("tcp://h", "needs a port"),
        ("tcp://h:1/x", "has a path or query that this probe does not use; write tcp://host:port"),
        ("grpc://h:1/s?x", "has a path or query that this probe does not use"),
    ] {
        let ran = command(&[address], &[]);
        assert_eq!((ran.code, ran.out.as_str()), (64, ""), "{address}");
        assert!(ran.err.contains(part), "{address}: {}", ran.err);
    }
    let ran = command(&["--header=a: b", "grpc://h:1"], &[]);
    assert!(ran.code == 64 && ran.err.contains("does not support --header"), "{}", ran.err);
    for address in ["tcp://h:1", "GRPC://h:1"] {
        let ran = command(&["--verify", address], &[]);
        let error = format!("--verify has no effect on {address}; it needs https://, grpcs://, or http://");
        assert!(ran.code == 64 && ran.err.contains(&error), "{}", ran.err);
    }
    let ran = command(&["--for=1s", "tcp://h:1"], &[]);
    assert!(ran.code == 64 && ran.err.contains("--for needs --until or --every"), "{}", ran.err);
    let ran = command(&["tcp://h:1", "--timeout"], &[]);
    assert!(ran.code == 64 && ran.err.contains("--timeout needs a value"), "{}", ran.err);
}

#[test]
fn an_environment_that_names_no_address_is_wrong_usage() {
    for (args, env, part) in [
        (&["traffic"][..], &[][..], "traffic has no default path; set TRAFFIC_PATHS"),
        (&["traffic"], &[("TRAFFIC_PATHS", "api")], "TRAFFIC_PATHS=\"api\" does not begin with a path"),
        (&[], &[("PORT", "http")], "PORT=\"http\" is not a port from 1 to 65535"),
        (&[], &[("PORT", "0")], "PORT=\"0\" is not a port"),
        (&[], &[("BIND_ADDRESS", "all")], "BIND_ADDRESS=\"all\" is not an IP address"),
    ] {
        let ran = command(args, env);
        assert!(ran.code == 64 && ran.err.contains(part), "{}", ran.err);
    }
}

#[test]
fn help_names_every_option_and_exit_code() {
    let ran = command(&["--help", "--frobnicate"], &[]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    for part in ["--timeout", "--header", "--until", "--every", "--for", "--output", "Exit code", "64"] {
        assert!(ran.out.contains(part), "{part}");
    }
}

struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

#[test]
fn a_closed_output_ends_an_observer_and_changes_no_exit_code() {
    let server = Server::new(&[(&answer_of(500), Fin)]);
    for options in [&[][..], &["--every=20ms"], &["--until=success", "--every=20ms"], &["--help"], &["--bad"]]
    {
        let args =
            options.iter().copied().chain([server.url().as_str()]).map(OsString::from).collect::<Vec<_>>();
        let code = run(args, [], &mut Closed, &mut Closed);
        let expected = match options.first() {
            Some(&"--help") => 0,
            Some(&"--bad") => 64,
            _ => 1,
        };
        assert_eq!(code, expected, "{options:?}");
    }
}
