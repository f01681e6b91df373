//! Results of attempts.

use std::time::Duration;

use kube_probesim::fault::{
    Cut, FaultAnswer, GrpcStatus, Mode, Partial, Rate, Rule, Target, Targets, Trigger,
};
use kube_probesim::kubelet::{
    ContainerSpec, PodEventKind, ProbeEndpoint, ProbeHandler, ProbeKind, ProbeSpec, ProbeStats, Program,
    Transport,
};

use super::*;

/// The table's probes: liveness with period 3, timeout 1, threshold 3, and readiness.
fn table(rules: Vec<Rule>) -> (u64, bool, Vec<String>) {
    let (pod, events) =
        run(ContainerSpec { liveness: liveness(3, 3), readiness: readiness(3, 3), ..probesim(rules) }, s(30));
    let mut texts: Vec<String> = events
        .iter()
        .filter(|event| matches!(event.kind, PodEventKind::Unhealthy { .. } | PodEventKind::Warning { .. }))
        .map(|event| event.message(&probed()).split_once(' ').unwrap().1.replace("/readyz", "/healthz"))
        .collect();
    texts.dedup();
    texts.sort();
    texts.dedup();
    (pod.stats().containers[0].restarts, pod.stats().first_ready.is_some(), texts)
}

fn partial(status: u16, body: u64) -> Partial {
    Partial { status: Some(status), body }
}

#[test]
fn each_attempt_has_the_result_of_the_table() {
    let rows: Vec<(&str, Mode, bool, bool, &str)> = vec![
        ("2xx", Mode::Status(204), false, true, ""),
        ("4xx", Mode::Status(404), true, false, "probe failed: HTTP probe failed with statuscode: 404"),
        ("5xx", Mode::Status(503), true, false, "probe failed: HTTP probe failed with statuscode: 503"),
        (
            "nothing before the timeout",
            Mode::Hang,
            true,
            false,
            "probe failed: Get \"http://10.0.0.5:8080/healthz\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
        ),
        (
            "FIN before the head",
            Mode::Close,
            true,
            false,
            "probe failed: Get \"http://10.0.0.5:8080/healthz\": EOF",
        ),
        (
            "RST before the head",
            Mode::Reset,
            true,
            false,
            "probe failed: Get \"http://10.0.0.5:8080/healthz\": read tcp 10.0.0.1:40000->10.0.0.5:8080: read: connection reset by peer",
        ),
        (
            "not HTTP",
            Mode::Garbage,
            true,
            false,
            "probe failed: Get \"http://10.0.0.5:8080/healthz\": net/http: HTTP/1.x transport connection broken: malformed HTTP status code \"this\"",
        ),
        (
            "200, then cut short",
            Mode::Truncate(partial(200, 16)),
            false,
            false,
            "probe errored and resulted in failure state: unexpected EOF",
        ),
        (
            "200, then silence",
            Mode::BodyHang(partial(200, 16)),
            false,
            false,
            "probe errored and resulted in failure state: context deadline exceeded (Client.Timeout or context cancellation while reading body)",
        ),
        (
            "200, then RST",
            Mode::BodyReset(partial(200, 16)),
            false,
            false,
            "probe errored and resulted in failure state: read tcp 10.0.0.1:40000->10.0.0.5:8080: read: connection reset by peer",
        ),
        (
            "500, then cut short",
            Mode::Truncate(partial(500, 16)),
            false,
            false,
            "probe errored and resulted in failure state: unexpected EOF",
        ),
        (
            "500, then an invalid chunk",
            Mode::Malformed(partial(500, 16)),
            false,
            false,
            "probe errored and resulted in failure state: invalid byte in chunk length",
        ),
        (
            "302 to another host",
            Mode::Redirect("http://elsewhere/".into()),
            false,
            true,
            "probe warning: Probe terminated redirects, Response body: ",
        ),
        ("304", Mode::Status(304), false, true, "probe warning: Probe terminated redirects, Response body: "),
    ];
    for (what, mode, restarted, ready, text) in rows {
        let (restarts, was_ready, texts) = table(vec![always(mode)]);
        assert_eq!((restarts > 0, was_ready), (restarted, ready), "{what}");
        let expected: Vec<&str> = if text.is_empty() { vec![] } else { vec![text] };
        assert_eq!(texts, expected, "{what}");
    }
}

#[test]
fn reaching_the_10_kib_limit_of_the_body_is_not_an_error() {
    for (body, error) in [((10 << 10) - 1, true), (10 << 10, false), (11 << 10, false)] {
        for mode in [
            Mode::Truncate(partial(200, body)),
            Mode::BodyHang(partial(200, body)),
            Mode::BodyReset(partial(200, body)),
        ] {
            let name = mode.name();
            let (_, ready, texts) = table(vec![always(mode)]);
            assert_eq!((ready, texts.is_empty()), (!error, !error), "{name} after {body} bytes");
        }
    }
    // The client reads a chunk's header ahead of the limit.
    for (body, error) in [(10 << 10, true), ((10 << 10) + 1, false)] {
        let (_, ready, texts) = table(vec![always(Mode::Malformed(partial(200, body)))]);
        assert_eq!((ready, texts.is_empty()), (!error, !error), "malformed after {body} bytes");
    }
    let (restarts, _, _) = table(vec![always(Mode::Truncate(partial(500, 11 << 10)))]);
    assert!(restarts > 0, "beyond the limit the status decides");
}

#[test]
fn one_timeout_covers_head_and_body() {
    let drip = |over, body| always(Mode::Drip { partial: partial(200, body), over: ms(over) });
    let slow = |delay, mode| vec![rule("slow", Trigger::ALWAYS, Some(ms(delay)), mode)];
    for (what, rules, ready, text) in [
        ("a delay below the timeout", slow(999, None), true, None),
        ("a delay of the timeout", slow(1000, None), false, Some("awaiting headers")),
        ("a drip below it", vec![drip(999, 16)], true, None),
        ("a drip of it", vec![drip(1000, 16)], false, Some("reading body")),
        ("a long drip of which 10 KiB come in time", vec![drip(2000, 40 << 10)], true, None),
        (
            "a delay and a drip that are too slow together",
            slow(500, Some(Mode::Drip { partial: partial(200, 16), over: ms(600) })),
            false,
            Some("reading body"),
        ),
    ] {
        let (_, was_ready, texts) = table(rules);
        assert_eq!(was_ready, ready, "{what}");
        assert_eq!(texts.len(), usize::from(text.is_some()), "{what}: {texts:?}");
        assert!(text.is_none_or(|text| texts[0].contains(text)), "{what}: {texts:?}");
    }
}

#[test]
fn a_throttled_body_is_an_error_where_it_outlasts_the_timeout() {
    let throttled = |text: Option<usize>, status, speed| {
        let rule = always(Mode::Throttle { status, speed });
        let body_text = text.map(|size| "x".repeat(size));
        vec![rule.with_answer(FaultAnswer { body_text, ..FaultAnswer::default() }).unwrap()]
    };
    for (what, rules, ready, error) in [
        ("our own answer of two bytes", throttled(None, None, 3), true, false),
        ("at two bytes per second", throttled(None, None, 2), false, true),
        ("a text that comes in time", throttled(Some(999), None, 1_000), true, false),
        ("a text that does not", throttled(Some(1_000), None, 1_000), false, true),
        ("10 KiB of a long one in time", throttled(Some(60_000), None, 10_300), true, false),
        ("a status that fails", throttled(None, Some(500), 1_000), false, false),
    ] {
        let (_, was_ready, texts) = table(rules);
        assert_eq!(was_ready, ready, "{what}: {texts:?}");
        assert_eq!(texts.iter().any(|text| text.contains("reading body")), error, "{what}: {texts:?}");
    }
}

#[test]
fn the_status_decides_on_a_corrupt_body_and_on_a_grpc_answer() {
    let share = Rate::from_percent(1.0).unwrap();
    for (mode, ready) in [
        (Mode::Corrupt { status: None, share }, true),
        (Mode::Corrupt { status: Some(503), share }, false),
        (Mode::Grpc { status: GrpcStatus::UNAVAILABLE, message: String::new() }, true),
    ] {
        let (_, was_ready, texts) = table(vec![always(mode.clone())]);
        assert_eq!(was_ready, ready, "{}: {texts:?}", mode.name());
    }
}

#[test]
fn a_body_text_is_broken_off_before_its_last_byte_so_a_short_one_is_an_error() {
    for (size, ready) in [(100, false), (10_241, true)] {
        let body_text = Some("x".repeat(size));
        let rule = always(Mode::Truncate(partial(200, 60_000)));
        let (_, was_ready, texts) =
            table(vec![rule.with_answer(FaultAnswer { body_text, ..FaultAnswer::default() }).unwrap()]);
        assert_eq!(was_ready, ready, "{size}: {texts:?}");
    }
}

fn redirected(aim: Option<ProbeEndpoint>, trigger: Trigger) -> (bool, Vec<String>, u64) {
    let targets = Targets::NONE.with(Target::Readiness);
    let rules = vec![rule_of("away", targets, trigger, None, Some(Mode::Redirect("/x".into())))];
    let program = Program { followed: aim.map(|aim| (0, aim)).into_iter().collect(), ..program(rules) };
    let container = ContainerSpec { readiness: readiness(10, 3), ..ContainerSpec::probesim("app", program) };
    let (pod, events) = run(container, s(9));
    let texts = events
        .iter()
        .filter(|event| event.kind.reason().is_some_and(|reason| reason != "Started"))
        .map(|event| event.message(&probed()))
        .collect();
    (pod.is_ready(), texts, pod.stats().containers[0].probe(ProbeKind::Readiness).warnings)
}

#[test]
fn nine_redirects_on_the_same_host_are_followed_and_the_tenth_is_a_failure() {
    let to_itself = Some(ProbeEndpoint::Target(Target::Readiness));
    let (ready, texts, _) = redirected(to_itself, requests(0, Some(9), None));
    assert!(ready && texts.is_empty(), "nine redirects, then 200: {texts:?}");
    let (ready, texts, _) = redirected(to_itself, requests(0, Some(30), None));
    assert!(!ready);
    assert_eq!(texts[0], "Readiness probe failed: Get \"/readyz\": stopped after 10 redirects");
}

#[test]
fn a_redirect_leads_to_the_answer_of_the_other_path_unless_it_leaves_the_host() {
    let always = || Trigger::ALWAYS;
    assert_eq!(redirected(Some(ProbeEndpoint::Status(200)), always()), (true, vec![], 0));
    assert_eq!(redirected(Some(ProbeEndpoint::Target(Target::Startup)), always()), (true, vec![], 0));
    let (ready, texts, _) = redirected(Some(ProbeEndpoint::Status(404)), always());
    assert_eq!(
        (ready, texts[0].as_str()),
        (false, "Readiness probe failed: HTTP probe failed with statuscode: 404")
    );
    let (ready, texts, warnings) = redirected(None, always());
    assert!(ready && warnings > 0);
    assert_eq!(texts[0], "Readiness probe warning: Probe terminated redirects, Response body: ");
}

/// Statistics of a readiness probe, a second apart, for which the first `count` requests get `mode`.
fn first_requests(count: u64, mode: Mode) -> ProbeStats {
    let rules = vec![rule("first", requests(0, Some(count), None), None, Some(mode))];
    let (pod, _) = run(ContainerSpec { liveness: liveness(1, 3), ..probesim(rules) }, s(10));
    *pod.stats().containers[0].probe(ProbeKind::Liveness)
}

#[test]
fn an_error_is_retried_at_once_up_to_three_times_and_then_discarded() {
    let truncate = || Mode::Truncate(partial(200, 16));
    let healthy = first_requests(1, Mode::Status(200));
    assert_eq!(first_requests(2, truncate()), healthy, "two errors are mended by the third attempt");
    let one = ProbeStats { errors: 1, successful: healthy.successful - 1, ..healthy };
    assert_eq!(first_requests(3, truncate()), one, "three are one error, and take three requests");
    assert_eq!(first_requests(5, truncate()), one);
    assert_eq!(first_requests(6, truncate()).errors, 2);
}

#[test]
fn an_error_does_not_reset_consecutive_results() {
    // Two failures, an error of three requests, one failure: the third in the run.
    let rules = vec![
        rule("errors", requests(2, Some(3), None), None, Some(Mode::Truncate(partial(200, 16)))),
        always(Mode::Status(500)),
    ];
    let (_, events) = run(ContainerSpec { liveness: liveness(2, 3), ..probesim(rules) }, s(12));
    assert_eq!(kills(&events)[..1], [8.0]);
}

#[test]
fn a_pod_that_is_ready_and_then_errors_stays_ready() {
    let rules = vec![rule("later", window(s(20), None), None, Some(Mode::BodyHang(partial(200, 16))))];
    let (pod, _) = run(ContainerSpec { readiness: readiness(5, 1), ..probesim(rules) }, s(300));
    let stats = pod.stats();
    assert!(pod.is_ready() && stats.outages == 0);
    assert!(stats.containers[0].probe(ProbeKind::Readiness).errors > 10);
}

#[test]
fn a_hanging_body_takes_the_timeout_three_times() {
    let rules = vec![always(Mode::BodyHang(partial(200, 16)))];
    let (_, events) = run(ContainerSpec { liveness: liveness(10, 3), ..probesim(rules) }, s(14));
    let errors = times(&events, |what| matches!(what, PodEventKind::Unhealthy { error: true, .. }));
    assert_eq!(errors, [13.0]);
}

#[test]
fn an_exec_probe_of_this_program_fails_where_an_http_probe_errs() {
    let handler = ProbeHandler::Exec { server: 0, endpoint: ProbeEndpoint::Target(Target::Liveness) };
    let probe = ProbeSpec { period: 2, ..ProbeSpec::new(handler) };
    let rules = vec![always(Mode::Truncate(partial(200, 16)))];
    let (_, events) = run(ContainerSpec { liveness: Some(probe), ..probesim(rules) }, s(7));
    assert_eq!(kills(&events), [6.0]);
}

#[test]
fn a_call_of_the_health_service_fails_unless_it_gets_serving_in_time() {
    let handler = ProbeHandler::Assumed { server: 0, target: Target::Liveness, transport: Transport::Grpc };
    let none = Partial { status: None, body: 16 };
    let drip = |over| Mode::Drip { partial: none, over: Duration::from_millis(over) };
    let rpc = "error: health rpc probe failed: rpc error: code = ";
    for (mode, fails) in [
        (Mode::Status(302), None),
        (Mode::Status(500), Some("service unhealthy (responded with \"NOT_SERVING\")".to_owned())),
        (
            Mode::Redirect("http://other.test/".to_owned()),
            Some(format!("{rpc}Unknown desc = unexpected HTTP status code")),
        ),
        (Mode::Hang, Some("timeout: health rpc did not complete within".to_owned())),
        (Mode::Close, Some(format!("{rpc}Canceled"))),
        (Mode::Reset, Some(format!("{rpc}Internal"))),
        (Mode::Garbage, Some(format!("{rpc}Unavailable"))),
        (Mode::Truncate(none), Some(format!("{rpc}Internal desc = unexpected EOF"))),
        (Mode::Truncate(partial(200, 20 << 10)), Some(format!("{rpc}Internal desc = unexpected EOF"))),
        (Mode::BodyHang(none), Some("timeout: health rpc did not complete within".to_owned())),
        (Mode::Malformed(none), Some(format!("{rpc}Unavailable"))),
        (drip(500), None),
        (drip(5000), Some("timeout: health rpc did not complete within".to_owned())),
        (Mode::Throttle { status: None, speed: 100 }, None),
        (Mode::Throttle { status: None, speed: 1 }, Some("timeout:".to_owned())),
        (
            Mode::Corrupt { status: None, share: Rate::from_percent(1.0).unwrap() },
            Some(format!("{rpc}Internal")),
        ),
        (
            Mode::Grpc { status: GrpcStatus::UNAVAILABLE, message: String::new() },
            Some(format!("{rpc}UNAVAILABLE")),
        ),
    ] {
        let probe = ProbeSpec { period: 2, ..ProbeSpec::new(handler) };
        let container = ContainerSpec { liveness: Some(probe), ..probesim(vec![always(mode.clone())]) };
        let (_, events) = run(container.clone(), s(7));
        let first = events.iter().find(|event| matches!(event.kind, PodEventKind::Unhealthy { .. }));
        let text = first.map(|event| event.message(&container));
        assert_eq!(text.is_some(), fails.is_some(), "{mode:?}: {text:?}");
        if let (Some(text), Some(expected)) = (text, fails) {
            assert!(text.contains(&expected), "{mode:?}: {text}");
            let at = if expected.starts_with("timeout") { 7.0 } else { 6.0 };
            assert_eq!(kills(&events), [at], "{mode:?}");
        }
    }
}

#[test]
fn readiness_fails_with_its_dependency_at_once() {
    let targets = Targets::NONE.with(Target::Dependency);
    let rules = vec![rule_of("db", targets, Trigger::ALWAYS, None, Some(Mode::Hang))];
    let (pod, events) = run(ContainerSpec { readiness: readiness(5, 1), ..probesim(rules) }, s(9));
    assert!(!pod.is_ready());
    assert_eq!(
        events[1].message(&probed()),
        "Readiness probe failed: HTTP probe failed with statuscode: 500"
    );
}

#[test]
fn nothing_listens_before_the_listen_delay() {
    // LISTEN_DELAY becomes a partition from the start.
    let rules = vec![cut(Cut::Refuse, window(s(0), Some(s(4))))];
    let container = ContainerSpec { liveness: liveness(2, 9), ..probesim(rules) };
    let (_, events) = run(container, s(12));
    assert_eq!(failures(&events, ProbeKind::Liveness), [2.0, 4.0]);
    let first = events.iter().find(|event| event.kind.reason() == Some("Unhealthy")).unwrap();
    assert!(first.message(&probed()).ends_with("connect: connection refused"));
}
