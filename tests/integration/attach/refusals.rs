//! What `attach` refuses, and what it only checks.

use std::net::TcpListener;

use super::{Attached, application, attach, fault, run, status};
use crate::support::tools;

#[test]
fn what_cannot_be_taken_is_refused_with_the_reason_and_what_helps() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (code, line) = run(port, "--dry-run");
    let reason = line["refused"]["reason"].as_str().unwrap();
    assert_eq!(code, 78);
    assert!(reason.ends_with("which nobody outside the Pod can reach"), "{reason}");
    assert!(line["refused"]["remedy"].as_str().unwrap().contains("0.0.0.0"));
    drop(listener);
    assert_eq!(
        run(port, "").1["refused"]["reason"],
        format!("nobody listens on port {port} in this network namespace")
    );

    let application = application(0);
    let port = application.probe.port();
    let Some(attached) = Attached::start(port, "") else { return };
    let (code, line) = run(port, "");
    let reason = format!("process {} is attached to port {port} already", attached.child.id());
    assert_eq!((code, &line["refused"]["reason"]), (78, &reason.into()));
}

#[test]
fn a_dry_run_says_what_would_be_taken() {
    let application = application(0);
    let (code, line) = run(application.probe.port(), "--status 503 --dry-run");
    if line.get("refused").is_some() {
        return tools::skip(&format!("attach is refused: {line}"));
    }
    let checked = &line["checked"];
    assert_eq!((code, &checked["pid"]), (0, &application.child.id().into()));
    assert_eq!(checked["comm"], "kube-probesim");
    assert_eq!(application.status("/"), Some(200));
}

#[test]
fn wrong_rules_and_options_end_before_anything_is_taken() {
    for (options, error) in [
        ("--rate 101%", "the options of the rule: faults[0]"),
        ("--mode nonsense", "the options of the rule: faults[0]"),
        ("--admin nowhere", "--admin"),
        ("--file /no/such", "--file \"/no/such\" is not there"),
        ("--colour", "--colour is not an option of attach"),
        ("--protocol udp", "--protocol \"udp\" is not http or tcp"),
        ("--protocol tcp --status 503", "application-status"),
        ("--protocol tcp --path /orders", "match: applies to HTTP requests"),
        ("--stream upstream --delay 1s", "stream: applies to TCP proxies"),
    ] {
        let output = attach(1, options).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(64), 0), "{options}: {errors}");
        assert!(errors.contains(error), "{options}: {errors}");
    }
}

#[test]
fn rules_that_cannot_act_on_the_application_are_refused_by_the_file_and_by_the_api() {
    let application = application(0);
    let port = application.probe.port();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.yaml");
    let options = format!("--dry-run --file {}", file.display());
    for (target, reason) in [
        ("liveness", "in attach, where every request is traffic"),
        ("[readiness, startup]", "in attach, where every request is traffic"),
        ("process", "would act on attach itself"),
    ] {
        let mode = if target == "process" { "exit" } else { "hang" };
        std::fs::write(&file, format!("{{name: down, target: {target}, mode: {mode}}}")).unwrap();
        let output = attach(port, &options).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{errors}");
        let place = format!("--file {}: down: target=", file.display());
        assert!(errors.contains(&place) && errors.contains(reason), "{errors}");
    }
    let Some(attached) = Attached::start(port, "") else { return };
    let add = |rule: &str| fault(&attached, &format!("add {rule}"));
    for (rule, reason) in [
        ("liveness --status 503", "target=\"liveness\": has no effect in attach"),
        ("process --mode exit", "target=\"process\": would act on attach itself"),
    ] {
        let errors = add(rule).unwrap_err();
        assert!(errors.contains(reason), "{rule}: {errors}");
    }
    assert_eq!(status(attached.address), 200);
    add("traffic --status 503").unwrap();
    assert_eq!(status(attached.address), 503);
}
