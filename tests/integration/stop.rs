//! The end of a drill, the cost of a refused plan, and killed starts, in separate processes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

use crate::support::process::{Process, command};

/// An empty directory for the test of that name.
fn directory(test: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("stop").join(test);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

impl Process {
    /// Status and body of a request to the admin API.
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all((head + body).as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
    }

    /// Its peak memory in KiB.
    fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn fault(&self, verb: &str) -> (i32, String) {
        let output = command(&[]).args(["fault", verb, "--admin", &self.admin.to_string()]).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    }
}

#[test]
fn a_stop_releases_what_rules_hold_and_outlives_the_container() {
    const PLAN: &str = "{faults: [{name: hang, target: liveness, mode: hang}, {name: late, target: readiness, delay: 1h}, {name: down, target: startup, mode: status}]}";
    let state = directory("kept").join("state");
    let vars = [("FAULTS", PLAN), ("STATE_DIR", state.to_str().unwrap())];
    let mut service = Process::start(&vars);
    assert_eq!(service.status("/startupz"), Some(500));
    thread::scope(|scope| {
        let (hangs, waits) =
            (scope.spawn(|| service.status("/healthz")), scope.spawn(|| service.status("/readyz")));
        service.until(|| {
            let metrics = service.get(service.admin, "/metrics").unwrap();
            let counted = |fault: &str| {
                metrics.contains(&format!("eligible_total{{fault=\"{fault}\""))
                    && !metrics
                        .contains(&format!("eligible_total{{fault=\"{fault}\",target=\"liveness\"}} 0"))
                    && !metrics
                        .contains(&format!("eligible_total{{fault=\"{fault}\",target=\"readiness\"}} 0"))
            };
            counted("hang") && counted("late")
        });
        let began = Instant::now();
        let (code, text) = service.fault("stop");
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("no rule is in force") && text.contains("kept across restarts"), "{text}");
        assert_eq!(hangs.join().unwrap(), None, "a hanging request's connection is closed");
        assert_eq!(waits.join().unwrap(), Some(200), "a late request gets its ordinary answer");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    });
    for path in ["/healthz", "/readyz", "/startupz"] {
        assert_eq!(service.status(path), Some(200), "{path}");
    }
    assert!(service.fault("list").1.starts_with("stopped by api 127.0.0.1:"), "{}", service.fault("list").1);
    assert!(service.get(service.probe, "/").unwrap().contains("stopped    no rule is in force, by api 127"));
    assert!(service.get(service.admin, "/metrics").unwrap().contains("probesim_stopped 1\n"));
    // Immediately: the answer came after the stop was on the disk.
    service.child.kill().unwrap();
    service.child.wait().unwrap();

    let service = Process::start(&vars);
    assert_eq!(service.status("/startupz"), Some(200), "it is stopped from the start");
    assert_eq!(
        service.ask("PUT", "/v1/faults/new", r#"{"target": "traffic", "mode": "hang"}"#).1["stopped"],
        true
    );
    let (code, text) = service.fault("resume");
    assert_eq!((code, service.status("/startupz")), (0, Some(500)), "{text}");
}

#[test]
fn a_kill_right_after_the_answer_loses_neither_a_stop_nor_a_resume() {
    let state = directory("at_once");
    let vars = [("LIVENESS_FAILURE_RATE", "100"), ("STATE_DIR", state.to_str().unwrap())];
    for (call, status) in [("stop", 200), ("resume", 500)].repeat(5) {
        let mut service = Process::start(&vars);
        let (_, answer) = service.ask("POST", &format!("/v1/{call}"), "");
        assert_eq!(answer["kept"], true, "{answer}");
        service.child.kill().unwrap();
        service.child.wait().unwrap();
        assert_eq!(Process::start(&vars).status("/healthz"), Some(status), "after {call}");
    }
}

#[test]
fn a_stop_that_cannot_be_saved_says_why_and_what_comes_back() {
    let state = directory("unwritable");
    let service = Process::start(&[("LIVENESS_FAILURE_RATE", "100"), ("STATE_DIR", state.to_str().unwrap())]);
    // A directory in its place prevents writes.
    service.until(|| fs::create_dir(state.join("state.json.tmp")).is_ok());
    let (status, answer) = service.ask("POST", "/v1/stop", "");
    assert_eq!((status, &answer["stopped"], &answer["kept"]), (200, &json!(true), &json!(false)));
    let reason = answer["reason"].as_str().unwrap();
    assert!(reason.starts_with("the state cannot be written: Is a directory"), "{answer}");
    assert_eq!(answer["returning"][0]["source"], "environment");
    assert_eq!(service.status("/healthz"), Some(200), "it is stopped all the same");
    let (code, text) = service.fault("resume");
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("the stop returns: the state cannot be written"), "{text}");
}

#[test]
fn without_a_state_a_stop_names_what_comes_back() {
    let service = Process::start(&[("LIVENESS_FAILURE_RATE", "100"), ("POD_NAMESPACE", "shop")]);
    let (status, answer) = service.ask("POST", "/v1/stop", "");
    assert_eq!((status, &answer["stopped"], &answer["kept"]), (200, &json!(true), &json!(false)));
    let returning = json!([{
        "source": "environment",
        "rules": 1,
        "end": "kubectl -n shop set env WORKLOAD LIVENESS_FAILURE_RATE-, where WORKLOAD is, for example, deployment/web",
    }]);
    assert_eq!(answer["returning"], returning);
    assert_eq!(service.ask("POST", "/v1/reset", "{}").0, 200);
    assert_eq!(service.status("/healthz"), Some(200), "a reset ends no stop");
    assert_eq!(service.ask("POST", "/v1/stop", r#"{"a": 1}"#).0, 422);
    assert_eq!(service.ask("POST", "/v1/resume", "").1["stopped"], false);
    assert_eq!(service.status("/healthz"), Some(500));
}

/// 250 KB in which every entry has many errors.
fn wrong_plan() -> String {
    let fields = (0..20).map(|i| format!("\"x{i}\": {i}, ")).collect::<Vec<_>>().concat();
    let entry = format!("{{{fields}\"name\": 5}}");
    let plan = format!("{{\"faults\": [{}]}}", vec![entry; 1000].join(","));
    assert!(plan.len() > 200_000, "{}", plan.len());
    plan
}

#[test]
fn a_refused_plan_of_250_kb_costs_little_from_every_source() {
    let idle = Process::start(&[]).peak();
    let plan = wrong_plan();
    let small = |service: &Process, how: &str| {
        let peak = service.peak();
        println!("{how}: {peak} KiB, {idle} KiB idle");
        // The body, its values, and room for both to be freed.
        assert!(peak < idle + (12 << 10), "{how}: {peak} KiB, {idle} KiB idle");
    };
    let service = Process::start(&[]);
    for _ in 0..3 {
        let (status, answer) = service.ask("PUT", "/v1/plan", &plan);
        assert_eq!((status, answer["errors"].as_array().unwrap().len()), (422, 100));
        assert!(answer["more"].as_u64().unwrap() > 10_000, "{}", answer["more"]);
        assert!(answer.to_string().len() < 64 << 10);
    }
    small(&service, "API");
    for variable in ["FAULTS_FILE", "ANNOTATION_FILE"] {
        let path = directory(variable).join("faults");
        fs::write(&path, &plan).unwrap();
        let service = Process::start(&[(variable, path.to_str().unwrap())]);
        small(&service, &format!("{variable} at the start"));
        service.signal("HUP");
        service.until(|| service.ask("GET", "/v1/events", "").1.to_string().contains("refused"));
        let errors = service.ask("GET", "/v1/state", "").1["sources"][1]["errors"].clone();
        assert_eq!(errors.as_array().unwrap().len(), 101);
        small(&service, variable);
    }
}

#[test]
fn a_key_given_twice_in_a_body_is_refused_and_named() {
    let service = Process::start(&[]);
    let body = r#"{"target": "traffic", "mode": "hang", "mode": "status"}"#;
    let (status, problem) = service.ask("PUT", "/v1/faults/a", body);
    assert_eq!(status, 400);
    assert!(problem["detail"].as_str().unwrap().contains("the key \"mode\" is given twice"), "{problem}");
}

/// Paths at which there is no regular file, and why they are refused.
fn wrong_files(dir: &Path) -> [(PathBuf, &'static str); 4] {
    mknodat(CWD, dir.join("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    symlink("/dev/zero", dir.join("device")).unwrap();
    fs::create_dir(dir.join("directory")).unwrap();
    [
        (dir.join("fifo"), "is not a regular file"),
        (dir.join("device"), "is not a regular file"),
        (dir.join("directory"), "is a directory"),
        (dir.join("missing"), ""),
    ]
}

#[test]
fn a_token_or_certificate_that_is_no_regular_file_ends_the_start() {
    let files = wrong_files(&directory("no-file"));
    for variable in ["ADMIN_TOKEN_FILE", "TLS_CERT_FILE", "ADMIN_TLS_CERT_FILE", "UPSTREAM_CA_FILE"] {
        for (path, reason) in &files {
            let path = path.to_str().unwrap();
            let other = match variable {
                "TLS_CERT_FILE" => ("TLS_KEY_FILE", path),
                "ADMIN_TLS_CERT_FILE" => ("ADMIN_TLS_KEY_FILE", path),
                _ => ("UPSTREAM", "https://127.0.0.1:9"),
            };
            let output = command(&[(variable, path), other]).output().unwrap();
            let text = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(78), "{variable}: {text}");
            assert!([variable, path, reason].iter().all(|part| text.contains(part)), "{variable}: {text}");
        }
    }
}

#[test]
fn a_token_that_no_request_can_send_ends_the_start() {
    let file = directory("two-tokens").join("token");
    fs::write(&file, "secret\nother\n").unwrap();
    let output = command(&[("ADMIN_TOKEN_FILE", file.to_str().unwrap())]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{text}");
    assert!(text.contains("contains a line break or another control character"), "{text}");
}

#[test]
fn an_error_about_the_authorities_of_an_upstream_names_the_variable_to_change() {
    let wrong = directory("no-authorities").join("ca.pem");
    fs::write(&wrong, "none").unwrap();
    let wrong = wrong.to_str().unwrap();
    let (https, proxy) = (("UPSTREAM", "https://127.0.0.1:9"), ("PROXIES", "db=:0->tls://127.0.0.1:9"));
    let or = "; or set UPSTREAM_CA_FILE, or UPSTREAM_INSECURE=true";
    for (variables, place, remedy) in [
        ([https, ("UPSTREAM_CA_FILE", wrong)], "UPSTREAM_CA_FILE: ", ""),
        ([https, ("SSL_CERT_FILE", wrong)], "SSL_CERT_FILE: ", or),
        ([proxy, ("UPSTREAM_CA_FILE", wrong)], "proxy db: UPSTREAM_CA_FILE or ca: ", ""),
        ([proxy, ("SSL_CERT_FILE", wrong)], "proxy db: upstream: ", ""),
    ] {
        let output = command(&variables).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{variables:?}: {text}");
        assert!(text.contains(&format!("{place}{wrong} contains no certificate")), "{variables:?}: {text}");
        assert_eq!(text.contains("; or set"), !remedy.is_empty(), "{variables:?}: {text}");
        assert!(text.contains(remedy), "{variables:?}: {text}");
    }
}

#[test]
fn a_plan_that_is_no_regular_file_is_reported_and_neither_start_nor_exit_waits_for_it() {
    for (path, reason) in wrong_files(&directory("no-plan")) {
        for variable in ["FAULTS_FILE", "ANNOTATION_FILE"] {
            let mut service = Process::start(&[(variable, path.to_str().unwrap())]);
            assert!(service.get(service.probe, "/readyz").unwrap().starts_with("HTTP/1.1 200"), "{variable}");
            let state = service.ask("GET", "/v1/state", "").1.to_string();
            assert!(state.contains(reason), "{variable}: {state}");
            service.signal("TERM");
            let (status, took) = service.end();
            assert!(status.success() && took < Duration::from_secs(5), "{variable}: {status} {took:?}");
        }
    }
}

#[test]
fn a_fifo_at_the_temporary_name_of_the_state_blocks_neither_start_nor_exit() {
    let dir = directory("fifo");
    let temporary = dir.join("state.json.tmp");
    let put = || mknodat(CWD, &temporary, FileType::Fifo, Mode::RWXU, 0);
    put().unwrap();
    let mut service = Process::start(&[("STATE_DIR", dir.to_str().unwrap())]);
    let _ = put();
    service.signal("TERM");
    let (status, took) = service.end();
    assert!(status.success() && took < Duration::from_secs(5), "{status} {took:?}");
}

/// CPU time of the process; `None` after its end.
fn cpu_time(id: u32) -> Option<Duration> {
    let text = fs::read_to_string(format!("/proc/{id}/schedstat")).ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

#[test]
fn kills_during_startup_lose_no_state_and_no_start_older_than_milliseconds() {
    /// By this time, a start must be counted; a debug build needs a third of it.
    const BOUND: Duration = Duration::from_millis(30);
    let dir = directory("kills");
    let rule = |number| json!({"name": format!("rule-{number}"), "target": "dependency", "mode": "status"});
    let plan = json!({"faults": (0..1000).map(rule).collect::<Vec<_>>()});
    let file = dir.join("plan.json");
    fs::write(&file, plan.to_string()).unwrap();
    let state = dir.join("state");
    let vars = [("STATE_DIR", state.to_str().unwrap()), ("FAULTS_FILE", file.to_str().unwrap())];
    let starts = || -> u64 {
        let text = fs::read_to_string(state.join("state.json")).expect("the current state is always there");
        let state: Value = serde_json::from_str(&text).unwrap();
        state["state"]["starts"].as_u64().unwrap()
    };
    drop(Process::start(&vars));
    let mut before = starts();
    let mut counted = 0;
    for round in 0..100 {
        let mut child = command(&vars).stdout(Stdio::null()).spawn().unwrap();
        let time = BOUND * (round % 11) / 10;
        while cpu_time(child.id()).is_some_and(|had| had < time) {}
        child.kill().unwrap();
        child.wait().unwrap();
        let now = starts();
        let least = if time < BOUND { before } else { before + 1 };
        assert!((least..=before + 1).contains(&now), "{before} starts, then {now} after {time:?} of work");
        counted += now - before;
        before = now;
    }
    let service = Process::start(&vars);
    let metrics = service.get(service.admin, "/metrics").unwrap();
    assert!(metrics.contains(&format!("probesim_container_starts {}\n", before + 1)), "{before}");
    println!("{counted} of 100 starts were counted before the kill");
}
