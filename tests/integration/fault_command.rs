//! The `fault` verb, as `kubectl exec` runs it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Output, Stdio};

use crate::support::authority::Authority;
use crate::support::process::{Process, program};

fn fault(service: &Process, args: &str) -> Command {
    let mut command = program();
    command.env("ADMIN_ADDRESS", format!(":{}", service.admin.port()));
    command.arg("fault").args(args.split_whitespace());
    command
}

fn text(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn run(service: &Process, args: &str) -> (i32, String, String) {
    text(&fault(service, args).output().unwrap())
}

#[test]
fn a_drill_is_started_watched_and_ended_from_a_shell() {
    let service = Process::start(&[("LIVENESS_FAIL_AFTER_TIME", "1h"), ("ADMIN_ADDRESS", ":0")]);
    assert_eq!(
        run(&service, "add readiness --status 503 --for 2m"),
        (
            0,
            "readiness-status is in force for 2m (generation 2)\nremove it: kube-probesim fault rm readiness-status\n".into(),
            String::new()
        )
    );
    assert_eq!(service.status("/readyz"), Some(503));
    let (code, again, _) = run(&service, "add readiness --mode status --for ever");
    assert_eq!(
        (code, again.lines().next()),
        (0, Some("readiness-status-2 is in force until it is removed (generation 3)"))
    );
    let (_, list, _) = run(&service, "list");
    let rows: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "SOURCE", "TARGET", "EFFECT", "STATE", "INJECTED", "LEFT"]);
    assert_eq!(rows[1][..8], ["readiness-status", "api", "readiness", "status", "503", "active", "1", "of"]);
    assert_eq!(rows[2].last(), Some(&"-"));
    assert_eq!(rows[3][..5], ["liveness-time", "environment", "liveness", "status", "idle"]);
    let (_, json, _) = run(&service, "list --output json");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["generation"], 3);
    assert_eq!(
        run(&service, "rm readiness-status liveness-time"),
        (
            0,
            "readiness-status is no longer in force (generation 4)\nliveness-time is no longer in force (generation 5)\n".into(),
            String::new()
        )
    );
    assert_eq!(
        run(&service, "reset"),
        (0, "all changes are discarded, and all windows restart (generation 6)\n".into(), String::new())
    );
    assert_eq!(service.status("/readyz"), Some(200));
}

#[test]
fn a_failure_after_some_requests_lasts_until_a_reset_and_then_recurs() {
    let service = Process::start(&[("LIVENESS_FAIL_AFTER_REQUESTS", "1"), ("ADMIN_ADDRESS", ":0")]);
    let statuses = || [(); 3].map(|()| service.status("/healthz").unwrap());
    assert_eq!(statuses(), [200, 500, 500]);
    assert_eq!(run(&service, "reset --keep-origins").0, 0);
    assert_eq!(statuses(), [500, 500, 500]);
    assert_eq!(run(&service, "reset").0, 0);
    assert_eq!(statuses(), [200, 500, 500]);
}

#[test]
fn proxies_come_and_go_from_a_shell() {
    let service = Process::start(&[("ADMIN_ADDRESS", ":0")]);
    assert_eq!(run(&service, "proxy list").1, "there is no proxy\n");
    let (code, added, error) = run(&service, "proxy add db --listen 127.0.0.1:0 --upstream 127.0.0.1:9");
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(added.starts_with("db listens on 127.0.0.1:") && added.contains(" for 127.0.0.1:9 "), "{added}");
    let (code, _, error) = run(&service, "add db --delay 30ms --stream upstream");
    assert_eq!((code, error.as_str()), (0, ""));
    let (_, list, _) = run(&service, "proxy list");
    let rows: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "SOURCE", "PROTOCOL", "ADDRESS", "UPSTREAM", "TLS"]);
    assert_eq!((&rows[1][..3], rows[1][5]), (&["db", "api", "tcp"][..], "-"));
    let cache = "proxy add cache --listen 127.0.0.1:0 --upstream tls://127.0.0.1:9 --insecure";
    assert_eq!(run(&service, cache).0, 0);
    let (_, list, _) = run(&service, "proxy list");
    let row = list.lines().find(|line| line.starts_with("cache")).unwrap();
    assert!(row.ends_with("127.0.0.1:9  unverified"), "{row}");
    assert_eq!(run(&service, "proxy rm cache").0, 0);
    let (code, _, error) = run(&service, "proxy rm db");
    assert_eq!(code, 65);
    assert!(error.contains("db-delay"), "{error}");
    assert_eq!(run(&service, "rm db-delay").0, 0);
    assert_eq!(run(&service, "proxy rm db").0, 0);
    assert_eq!(run(&service, "proxy list").1, "there is no proxy\n");
    let (code, _, error) = run(&service, "proxy add db --listen nowhere --upstream 127.0.0.1:9");
    assert_eq!(code, 65);
    assert!(error.contains("listen=\"nowhere\": is not an address to listen on"), "{error}");
    assert_eq!(run(&service, "proxy rm nobody").0, 65);
}

#[test]
fn each_error_has_its_exit_code_and_its_reason() {
    let service = Process::start(&[("ADMIN_ADDRESS", ":0")]);
    for (args, code, told) in [
        ("add", 64, "kube-probesim fault: add needs a target"),
        (
            "add readines --rate 20%",
            65,
            "kube-probesim fault: readines-status: target=\"readines\": is not one of",
        ),
        (
            "add listener --for 1m",
            64,
            "kube-probesim fault: add listener needs --mode: drop (packets are lost), refuse",
        ),
        ("rm nobody", 65, "kube-probesim fault: no rule in force is named \"nobody\"\n"),
        (
            "list --admin 127.0.0.1:1",
            69,
            "kube-probesim fault: the admin listener at 127.0.0.1:1 cannot be reached: Connection refused",
        ),
        ("list --admin nowhere", 64, "kube-probesim fault: \"nowhere\" is not an address with a port"),
    ] {
        let (got, out, err) = run(&service, args);
        assert_eq!((got, out.as_str()), (code, ""), "{args}: {err}");
        assert!(err.starts_with(told), "{args}: {err}");
    }
    let (_, _, err) = run(&service, "add readiness --rate 120% --body 5");
    assert_eq!(err.lines().count(), 2, "one line for each thing: {err}");
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let stranger = std::thread::spawn(move || {
        let (mut stream, _) = other.accept().unwrap();
        let _ = stream.write_all(b"SSH-2.0-x\r\n");
    });
    let (code, _, err) = run(&service, &format!("list --admin {address}"));
    assert_eq!(code, 69, "{err}");
    stranger.join().unwrap();
}

#[test]
fn the_token_is_found_in_the_variables_of_the_service() {
    let service = Process::start(&[("ADMIN_TOKEN", "secret"), ("ADMIN_ADDRESS", ":0")]);
    let (code, _, err) = run(&service, "list");
    assert_eq!(
        (code, err.as_str()),
        (
            77,
            "kube-probesim fault: a token is required: Authorization: Bearer TOKEN, or X-Probesim-Token: TOKEN\n"
        )
    );
    let with = |name: &str, value: &str| text(&fault(&service, "list").env(name, value).output().unwrap());
    assert_eq!(with("ADMIN_TOKEN", "wrong").0, 77);
    assert_eq!(with("ADMIN_TOKEN", "secret"), (0, "no rule is in force\n".into(), String::new()));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "secret\n").unwrap();
    assert_eq!(with("ADMIN_TOKEN_FILE", file.to_str().unwrap()).0, 0);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(with("ADMIN_TOKEN_FILE", file.to_str().unwrap()).0, 78);
}

#[test]
fn a_plan_in_a_file_is_added_rule_by_rule_and_the_list_shows_whether_this_pod_is_selected() {
    let service = Process::start(&[("ADMIN_ADDRESS", ":0"), ("POD_NAME", "web-0")]);
    let mut child =
        fault(&service, "add --file -").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let plan = "faults:\n- {name: a, target: traffic, mode: hang}\n- {name: b, target: liveness, delay: 5ms, ttl: 60}\n";
    child.stdin.take().unwrap().write_all(plan.as_bytes()).unwrap();
    let (code, out, _) = text(&child.wait_with_output().unwrap());
    assert_eq!(code, 0);
    assert!(out.contains("a is in force for 15m") && out.contains("b is in force for 1m"), "{out}");
    let (_, seconds, _) = run(&service, "add traffic --name c --for 90");
    assert!(seconds.contains("c is in force for 1m30s"), "{seconds}");
    let (_, all, _) = run(&service, "add traffic --pods 100%");
    assert!(all.contains("this Pod is selected"), "{all}");
    let (_, none, _) = run(&service, "add traffic --pods 5,6");
    assert!(none.contains("this Pod is not selected"), "{none}");
}

#[test]
fn watch_prints_a_line_for_each_event() {
    let service = Process::start(&[("ADMIN_ADDRESS", ":0")]);
    let mut child = fault(&service, "watch").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The stream begins some time after the process, so changes are repeated until one is seen.
    let done = &std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                run(&service, "add readiness --name down");
                service.status("/readyz");
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        });
        let wanted =
            [" plan: put fault down by api 127.0.0.1:", " down injects status into readiness request "];
        let mut seen: Vec<String> = Vec::new();
        while seen.len() < 200 && !wanted.iter().all(|wanted| seen.iter().any(|line| line.contains(wanted))) {
            seen.push(lines.next().unwrap().unwrap());
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        for wanted in wanted {
            assert!(seen.iter().any(|line| line.contains(wanted)), "{wanted} in {seen:?}");
        }
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_admin_listener_with_tls_is_spoken_with_over_tls() {
    let authority = Authority::new();
    let (chain_file, key_file) = authority.pem_files(&["web.example"]);
    let files = [
        ("ADMIN_TLS_CERT_FILE", chain_file.to_str().unwrap()),
        ("ADMIN_TLS_KEY_FILE", key_file.to_str().unwrap()),
    ];
    let service = Process::start(&files);
    let ca = authority.file();
    // In the Pod, where the variables are those of the service.
    let in_pod = text(&fault(&service, "list").envs(files).output().unwrap());
    assert_eq!((in_pod.0, in_pod.2.as_str()), (0, ""), "{in_pod:?}");
    let port = service.admin.port();
    for (args, code, said) in [
        (format!("list --admin https://127.0.0.1:{port}"), 0, ""),
        (format!("add liveness --status 503 --admin-insecure --admin localhost:{port}"), 0, ""),
        (
            format!("list --admin https://localhost:{port} --admin-ca {}", ca.display()),
            69,
            "certificate is valid for web.example, not localhost; --admin-ca names its authority",
        ),
        (format!("list --admin https://localhost:{port} --admin-ca /nowhere"), 69, "/nowhere is not there"),
        (format!("list --admin http://localhost:{port} --admin-insecure"), 64, "speaks no TLS"),
        (
            format!("list --admin http://localhost:{port}"),
            65,
            "status 400: this port requires TLS; use https://",
        ),
        (
            format!("list --admin https://localhost:{}", service.probe.port()),
            69,
            "cannot be spoken with over TLS",
        ),
    ] {
        let got = run(&service, &args);
        assert!(got.0 == code && got.2.contains(said), "{args}: {got:?}");
    }
    assert_eq!(service.status("/healthz"), Some(503));
}
