//! Plans from files while the service runs, and state that outlives the container.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::float_cmp)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::process::{PATIENCE, Process, command, event};

const DOWN: &str = "faults: [{name: down, target: liveness, mode: status, status: 503}]";
const BROKEN: &str = "faults: [{name: down, target: livenes";

/// A directory that is removed at the end of the test.
struct Dir(TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Updates a ConfigMap volume as the kubelet does: a new directory, then a rename of `..data`.
    fn publish(&self, files: &[(&str, &str)]) {
        static VERSION: AtomicU32 = AtomicU32::new(0);
        let stamp = format!("..2026_11_23_12_00_00.{:09}", VERSION.fetch_add(1, Ordering::Relaxed));
        let version = self.0.path().join(&stamp);
        fs::create_dir(&version).unwrap();
        for (name, text) in files {
            fs::write(version.join(name), text).unwrap();
        }
        let (data, temporary) = (self.0.path().join("..data"), self.0.path().join("..data_tmp"));
        let before = fs::read_link(&data).ok();
        symlink(&stamp, &temporary).unwrap();
        fs::rename(&temporary, &data).unwrap();
        for (name, _) in files {
            if !self.0.path().join(name).is_symlink() {
                symlink(Path::new("..data").join(name), self.0.path().join(name)).unwrap();
            }
        }
        if let Some(before) = before {
            fs::remove_dir_all(self.0.path().join(before)).unwrap();
        }
    }
}

impl Process {
    fn is(&self, code: u16) {
        self.until(|| self.status("/healthz") == Some(code));
    }

    fn metric(&self, series: &str) -> Option<f64> {
        let metrics = self.get(self.admin, "/metrics").unwrap();
        let value = metrics.lines().find_map(|line| line.strip_prefix(series));
        value.map(|value| value.trim().parse().unwrap())
    }

    fn reloads(&self, source: &str, result: &str) -> f64 {
        let labels = format!("{{source=\"{source}\",result=\"{result}\"}}");
        self.metric(&format!("probesim_plan_reloads_total{labels}")).unwrap()
    }
}

#[test]
fn a_config_map_volume_steers_the_service_and_a_broken_plan_keeps_the_previous_one() {
    let dir = Dir::new();
    let mut service = Process::start(&[("FAULTS_FILE", &dir.file("plan.yaml"))]);
    service.is(200);
    assert_eq!(service.reloads("file", "error"), 1.0, "it is not there yet");
    dir.publish(&[("plan.yaml", DOWN)]);
    service.is(503);
    assert_eq!(service.metric("probesim_plan_generation"), Some(2.0));
    dir.publish(&[("plan.yaml", BROKEN)]);
    service.until(|| service.reloads("file", "error") == 2.0);
    service.is(503);
    assert_eq!(service.metric("probesim_plan_generation"), Some(2.0));
    dir.publish(&[("plan.yaml", &DOWN.replace("503", "501"))]);
    service.is(501);
    dir.publish(&[("plan.yaml", "")]);
    service.is(200);
    let refused = event_at(&mut service, "WARN", "the previous plan stays in force");
    assert!(refused.contains("plan.yaml: line 1 column 10"), "{refused}");
}

/// The next line of the log of that level that has `text` in its message.
fn event_at(service: &mut Process, level: &str, text: &str) -> String {
    use std::io::BufRead;
    loop {
        let mut line = String::new();
        assert!(service.log.read_line(&mut line).unwrap() > 0, "the log ended without {text:?}");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        let message = value["message"].as_str().unwrap_or_default();
        if value["level"] == level && message.contains(text) {
            return message.to_owned();
        }
    }
}

#[test]
fn an_annotation_overrides_the_file_and_its_instants_are_those_of_the_calendar() {
    let dir = Dir::new();
    let vars = [("FAULTS_FILE", dir.file("plan.yaml")), ("ANNOTATION_FILE", dir.file("faults"))];
    let vars = vars.each_ref().map(|(name, value)| (*name, value.as_str()));
    dir.publish(&[("plan.yaml", DOWN), ("faults", "")]);
    let service = Process::start(&vars);
    service.is(503);
    dir.publish(&[("plan.yaml", DOWN), ("faults", "{faults: [{name: down, disabled: true}]}")]);
    service.is(200);
    let rule = "{name: down, target: liveness, mode: status, status: 501";
    dir.publish(&[
        ("plan.yaml", DOWN),
        ("faults", &format!("{{faults: [{rule}, start: '2020-01-01T00:00:00Z'}}]}}")),
    ]);
    service.is(501);
    let past = "start: '2020-01-01T00:00:00Z', until: '2020-01-01T01:00:00Z'";
    dir.publish(&[("plan.yaml", DOWN), ("faults", &format!("{{faults: [{rule}, {past}}}]}}"))]);
    service.is(200);
    // The plan is in force a moment before it is counted.
    service.until(|| service.reloads("annotation", "ok") == 4.0);
    assert_eq!(service.reloads("annotation", "error"), 0.0);
}

/// The time from the rename to the first answer of the new plan.
#[test]
fn a_file_takes_effect_within_a_tenth_of_a_second_and_nothing_else_fails_meanwhile() {
    let dir = Dir::new();
    dir.publish(&[("plan.yaml", "")]);
    let service = Process::start(&[("FAULTS_FILE", &dir.file("plan.yaml"))]);
    let (ended, probe) = (AtomicBool::new(false), service.probe);
    let mut delays = Vec::new();
    thread::scope(|scope| {
        let ended = &ended;
        let load: Vec<_> = (0..8).map(|_| scope.spawn(move || statuses(probe, ended))).collect();
        for round in 0..20 {
            let (text, code) = if round % 2 == 0 { (DOWN, 503) } else { ("", 200) };
            dir.publish(&[("plan.yaml", text)]);
            let began = Instant::now();
            while service.status("/healthz") != Some(code) {
                assert!(began.elapsed() < PATIENCE);
            }
            delays.push(began.elapsed());
        }
        ended.store(true, Ordering::Relaxed);
        for load in load {
            let statuses = load.join().unwrap();
            assert!(
                !statuses.is_empty() && statuses.iter().all(|status| matches!(status, 200 | 503)),
                "{statuses:?}"
            );
        }
    });
    delays.sort();
    assert!(delays[delays.len() / 2] <= Duration::from_millis(100), "{delays:?}");
}

/// Statuses of consecutive requests, each on its own connection; 0 without an answer.
fn statuses(addr: std::net::SocketAddr, ended: &AtomicBool) -> Vec<u16> {
    use std::io::{Read, Write};
    let ask = || -> Option<u16> {
        let mut stream = std::net::TcpStream::connect(addr).ok()?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.get(9..12)?.parse().ok()
    };
    let mut statuses = Vec::new();
    while !ended.load(Ordering::Relaxed) {
        statuses.push(ask().unwrap_or(0));
        sleep(Duration::from_millis(1));
    }
    statuses
}

#[test]
fn sighup_reads_the_files_again_and_ends_nothing() {
    let dir = Dir::new();
    dir.publish(&[("plan.yaml", DOWN)]);
    let service = Process::start(&[("FAULTS_FILE", &dir.file("plan.yaml"))]);
    service.is(503);
    let before = service.reloads("file", "ok");
    service.signal("HUP");
    service.until(|| service.reloads("file", "ok") > before);
    assert_eq!(service.metric("probesim_plan_generation"), Some(1.0), "nothing has changed");
    service.is(503);
    let without = Process::start(&[]);
    without.signal("HUP");
    sleep(Duration::from_millis(50));
    without.is(200);
}

#[test]
fn a_share_without_a_seed_or_a_name_is_refused_at_the_start_and_in_a_file() {
    const SOME: &str = "{faults: [{name: some, target: liveness, mode: status, pods: 30%}]}";
    for (name, value) in [("SEED", "1"), ("POD_NAME", "web-0")] {
        let mut command = command(&[("FAULTS", SOME)]);
        let output = command.env_remove("SEED").env(name, value).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78));
        assert!(text.starts_with("FAULTS: some: pods: `pods` needs a configured seed"), "{text}");
    }
    let dir = Dir::new();
    dir.publish(&[("plan.yaml", SOME)]);
    let nameless = Process::start(&[("FAULTS_FILE", &dir.file("plan.yaml"))]);
    assert_eq!(nameless.reloads("file", "error"), 1.0);
    let named = Process::start(&[("FAULTS_FILE", &dir.file("plan.yaml")), ("POD_NAME", "web-0")]);
    assert!(named.metric("probesim_fault_selected{fault=\"some\"}").is_some());
}

#[test]
fn ten_starts_with_one_directory_continue_counts_and_origins_even_after_kills() {
    let dir = Dir::new();
    let plan =
        "{faults: [{name: third, target: liveness, mode: status, when: {starts: {after: 2, for: 1}}}]}";
    let state = dir.file("state");
    let vars = [("STATE_DIR", state.as_str()), ("FAULTS", plan), ("FAIL_AFTER_REQUESTS", "25")];
    let mut seeds = Vec::new();
    for start in 1..=10 {
        let mut service = Process::start(&vars);
        assert_eq!(service.metric("probesim_container_starts"), Some(f64::from(start)));
        seeds.push(service.started["seed"].as_u64().unwrap());
        for request in 1..=5 {
            let number = (start - 1) * 5 + request;
            let down = start == 3 || number > 25;
            let code = if down { 500 } else { 200 };
            assert_eq!(service.status("/healthz"), Some(code), "start {start}, request {number}");
        }
        if start % 3 == 0 {
            service.signal("TERM");
        } else {
            // Counts of the last tenth of a second may be lost.
            sleep(Duration::from_millis(400));
            service.child.kill().unwrap();
        }
        service.child.wait().unwrap();
    }
    assert_eq!(seeds[0], 42);
    // The number of a start is mixed into its draws, and not into the seed that replays them.
    assert_eq!(seeds, [42; 10]);
}

#[test]
fn a_window_in_time_continues_after_a_restart() {
    let dir = Dir::new();
    let state = dir.file("state");
    let vars = [("STATE_DIR", state.as_str()), ("LIVENESS_FAIL_AFTER_TIME", "2s")];
    let began = Instant::now();
    let mut service = Process::start(&vars);
    service.is(200);
    sleep(Duration::from_millis(300));
    service.child.kill().unwrap();
    service.child.wait().unwrap();
    let service = Process::start(&vars);
    service.is(500);
    let took = began.elapsed();
    assert!(took < Duration::from_millis(3_500), "{took:?}: it began anew");
    assert!(took >= Duration::from_millis(1_900), "{took:?}: too early");
}

#[test]
fn a_damaged_state_is_reported_and_stops_nothing() {
    let dir = Dir::new();
    let state = dir.0.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::write(state.join("state.json"), "{\"version\":1,\"checks").unwrap();
    let mut command = command(&[("STATE_DIR", state.to_str().unwrap())]);
    command.stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut log = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut told = false;
    loop {
        use std::io::BufRead;
        let mut line = String::new();
        assert!(log.read_line(&mut line).unwrap() > 0);
        told |= line.contains("is damaged") && line.contains("STATE_DIR");
        if line.contains("\"started\"") {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(told);
    let missing = Process::start(&[("STATE_DIR", "/proc/no/such")]);
    missing.is(200);
}

#[test]
fn plan_changes_are_logged() {
    let dir = Dir::new();
    dir.publish(&[("plan.yaml", "")]);
    let mut service = Process::start(&[("FAULTS_FILE", &dir.file("plan.yaml"))]);
    dir.publish(&[("plan.yaml", DOWN)]);
    let changed = event(&mut service.log, "plan changed");
    assert_eq!(
        (&changed["source"], &changed["generation"], &changed["rules"], &changed["faults"]),
        (&"file".into(), &2.into(), &1.into(), &"down status".into())
    );
    assert!(changed["by"].as_str().unwrap().ends_with("plan.yaml"));
}
