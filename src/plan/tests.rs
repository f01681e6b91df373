//! How plans are read and written.

mod errors;
mod process;
mod properties;

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::json;

use super::mode::request_modes;
use super::*;
use crate::fault::{
    Burst, Client, Cut, Delay, GrpcStatus, ListenerName, Mode, ModeInfo, ModeParts, Networks, Partial, Pods,
    Rate, RequestWindow, Targets, TimeWindow, Timestamp, Trigger,
};
use crate::plan::document;

fn plan(text: &str) -> Result<RawPlan, Errors> {
    read_plan(&document::parse(text, document::MAX_PLAN).unwrap(), "")
}

fn errors(text: &str) -> Vec<String> {
    plan(text).unwrap_err().iter().map(ToString::to_string).collect()
}

/// The errors of one rule named `a` for liveness, with more fields.
fn errors_of(fields: &str) -> Vec<String> {
    errors(&format!("faults: [{{name: a, target: liveness, {fields}}}]"))
        .iter()
        .map(|line| line.strip_prefix("faults[0] (a): ").unwrap().to_owned())
        .collect()
}

fn one(fields: &str) -> Rule {
    plan(&format!("faults: [{{name: a, {fields}}}]")).unwrap().rules.remove(0)
}

#[test]
fn the_plan_of_the_reference_is_read() {
    let plan = plan(
        r#"
seed: 42
faults:
  - name: readiness-flaps
    target: [readiness]
    client: any
    when:
      after: 60s
      for: 20s
      every: 5m
      requests: {after: 10, for: 3, every: 20}
    rate: 20%
    burst: 5
    ramp: 2m
    delay: {fixed: 50ms, jitter: 10ms, distribution: normal}
    mode: status
    status: 503
  - name: cut
    target: listener
    client: other
    from: [10.0.0.0/8, "!10.1.2.3"]
    mode: drop
"#,
    )
    .unwrap();
    let (s, ms) = (Duration::from_secs, Duration::from_millis);
    assert_eq!(plan.seed, Some(42));
    let rate = Rate::from_percent(20.0).unwrap();
    let flaps = Rule::new(
        RuleName::new("readiness-flaps").unwrap(),
        ClientFilter::Any,
        Trigger {
            time: Some(TimeWindow::new(s(60), Some(s(20)), Some(s(300))).unwrap()),
            requests: Some(RequestWindow::new(10, Some(3), Some(20)).unwrap()),
            rate,
            burst: Some(Burst::new(5.0, rate).unwrap()),
            ramp: Some(s(120)),
            ..Trigger::ALWAYS
        },
        Action::Requests {
            targets: Targets::NONE.with(Target::Readiness),
            delay: Some(Delay::normal(ms(50), ms(10)).unwrap()),
            mode: Some(Mode::Status(503)),
        },
    );
    let cut = Rule::new(
        RuleName::new("cut").unwrap(),
        ClientFilter::Only(Client::Other),
        Trigger::ALWAYS,
        Action::Listener {
            listener: ListenerName::Probe,
            cut: Cut::Drop,
            from: Networks {
                within: vec!["10.0.0.0/8".parse().unwrap()],
                except: vec!["10.1.2.3/32".parse().unwrap()],
            },
        },
    );
    assert_eq!(plan.rules, [flaps.unwrap(), cut.unwrap()]);
}

#[test]
fn every_mode_has_its_defaults_and_its_fields() {
    let partial = |status: Option<u16>, body| Partial { status, body };
    for (fields, mode) in [
        ("mode: status", Mode::Status(500)),
        ("mode: redirect", Mode::Redirect("http://probesim.invalid/".into())),
        ("mode: redirect, location: /healthz", Mode::Redirect("/healthz".into())),
        ("mode: hang", Mode::Hang),
        ("mode: close", Mode::Close),
        ("mode: reset", Mode::Reset),
        ("mode: garbage", Mode::Garbage),
        ("mode: truncate", Mode::Truncate(partial(None, 16))),
        ("mode: body-hang, status: 200", Mode::BodyHang(partial(Some(200), 16))),
        ("mode: body-reset, body: 11KiB", Mode::BodyReset(partial(None, 11_264))),
        ("mode: malformed, body: 0", Mode::Malformed(partial(None, 0))),
        ("mode: drip", Mode::Drip { partial: partial(None, 16), over: Duration::from_secs(5) }),
        (
            "mode: drip, drip: 90s, body: 100, status: 200",
            Mode::Drip { partial: partial(Some(200), 100), over: Duration::from_secs(90) },
        ),
        ("mode: truncate, status: 500", Mode::Truncate(partial(Some(500), 16))),
        ("mode: throttle", Mode::Throttle { status: None, speed: 1024 }),
        ("mode: throttle, speed: 64KiB/s, status: 200", Mode::Throttle { status: Some(200), speed: 65_536 }),
        ("mode: corrupt", Mode::Corrupt { status: None, share: Rate::from_percent(1.0).unwrap() }),
        (
            "mode: corrupt, share: 0.5%",
            Mode::Corrupt { status: None, share: Rate::from_percent(0.5).unwrap() },
        ),
        ("mode: grpc", Mode::Grpc { status: GrpcStatus::UNAVAILABLE, message: String::new() }),
        (
            "mode: grpc, grpc_status: 10, grpc_message: a b",
            Mode::Grpc { status: GrpcStatus::parse("aborted").unwrap(), message: "a b".into() },
        ),
    ] {
        assert_eq!(one(&format!("target: traffic, {fields}")).mode(), Some(&mode), "{fields}");
    }
    for cut in Cut::ALL {
        let rule = one(&format!("target: [listener], mode: {}", cut.name()));
        assert_eq!(
            rule.action(),
            &Action::Listener { listener: ListenerName::Probe, cut, from: Networks::default() }
        );
    }
}

#[test]
fn an_answer_has_headers_a_text_and_a_way_on() {
    let rule = one(
        "target: traffic, mode: status, headers: {Retry-After: 5, set-cookie: [a, b]}, body_text: '{}', forward: true",
    );
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let headers = vec![header("retry-after", "5"), header("set-cookie", "a"), header("set-cookie", "b")];
    let expected =
        FaultAnswer { headers, body_text: Some("{}".to_owned()), forward: true, ends_connection: false };
    assert_eq!(rule.answer(), &expected);
    assert_eq!(read_rule(&write_rule(&rule), "").unwrap(), rule);
}

#[test]
fn every_form_of_delay_is_read() {
    let ms = Duration::from_millis;
    for (text, delay) in [
        ("50ms", Delay::fixed(ms(50))),
        ("{fixed: 50ms}", Delay::fixed(ms(50))),
        ("{fixed: 50ms, jitter: 10ms}", Delay::uniform(ms(50), ms(10))),
        ("{fixed: 50ms, jitter: 10ms, distribution: uniform}", Delay::uniform(ms(50), ms(10))),
        ("{fixed: 50ms, jitter: 10ms, distribution: normal}", Delay::normal(ms(50), ms(10))),
        ("{distribution: lognormal, median: 20ms, p99: 1s}", Delay::log_normal(ms(20), ms(1000))),
        ("{distribution: exponential, mean: 20ms}", Delay::exponential(ms(20))),
        (
            "{p50: 20ms, p99.9: 1s, p0: 0s}",
            Delay::percentiles(vec![(0.0, ms(0)), (50.0, ms(20)), (99.9, ms(1000))]),
        ),
    ] {
        let rule = one(&format!("target: liveness, delay: {text}"));
        assert!(
            matches!(rule.action(), Action::Requests { delay: Some(read), .. } if *read == delay.unwrap()),
            "{text}: {rule:?}"
        );
    }
}

#[test]
fn a_listener_has_modes_of_its_own_and_no_requests() {
    assert_eq!(
        errors(
            "faults: [{name: a, target: listener, mode: hang, rate: 20%, delay: 5ms, when: {requests: {for: 1}}}]"
        ),
        [
            "faults[0] (a): rate: does not go with target listener, which has no requests, only time",
            "faults[0] (a): delay: does not go with target listener, which has no requests, only time",
            "faults[0] (a): when.requests: does not go with target listener, which has no requests, only time",
            r#"faults[0] (a): mode="hang": is not a mode of target listener, which has drop, refuse, reset, tls-hang, tls-close, tls-alert, tls-expired, tls-wrong-name, tls-untrusted"#,
        ]
    );
    assert_eq!(
        errors("faults: [{name: a, target: [listener, liveness], mode: reset}]"),
        [
            "faults[0] (a): target: listener cannot be combined with other targets: a cut affects all of them; write a rule for each"
        ]
    );
    assert_eq!(
        errors("faults: [{name: a, target: listener, mode: drop, from: [10.0.0.0/8, ten]}]"),
        [
            r#"faults[0] (a): from="ten": is not a network such as 10.0.0.0/8 or an address, optionally preceded by ! to exclude it"#
        ]
    );
    assert_eq!(errors("faults: [{name: a, target: listener}]"), ["faults[0] (a): `mode` is missing"]);
}

#[test]
fn a_seed_keeps_all_its_bits() {
    assert_eq!(plan("seed: 18446744073709551615").unwrap().seed, Some(u64::MAX));
    assert_eq!(plan(r#"{"seed": "18446744073709551615"}"#).unwrap().seed, Some(u64::MAX));
    assert_eq!(
        errors("seed: 18446744073709551616"),
        [r#"seed="1.8446744073709552e+19": is not a whole number from 0 to 2^64-1"#]
    );
}

#[test]
fn a_written_rule_leaves_out_what_is_at_its_default() {
    let rule = one("target: [traffic, liveness], rate: 100%, mode: drip, body: 16, drip: 5s");
    assert_eq!(write_rule(&rule), json!({"name": "a", "target": ["liveness", "traffic"], "mode": "drip"}));
    let rule =
        one("target: liveness, rate: 29%, burst: 2.5, when: {after: 1m30s}, delay: {p50: 20ms, p99.9: 1s}");
    assert_eq!(
        write_rule(&rule),
        json!({
            "name": "a", "target": ["liveness"], "when": {"after": "1m30s"}, "rate": "29%", "burst": 2.5,
            "delay": {"p50": "20ms", "p99.9": "1s"}
        })
    );
}

#[test]
fn conditions_of_replicas_starts_and_the_calendar_are_read() {
    let rule = |fields: Value| {
        let mut rule = json!({"name": "drill", "target": "readiness", "mode": "status"});
        rule.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        read_rule(&rule, "")
            .map(|rule| rule.trigger().clone())
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    };
    let share = Pods::Share(Rate::from_percent(30.0).unwrap());
    let trigger = rule(json!({
        "pods": "30%", "stagger": "60s", "when": {"starts": {"after": 2, "for": 1}},
        "start": "2026-11-23T12:00:00Z", "until": "2026-11-23T13:00:00+00:30"
    }));
    let start = units::timestamp("2026-11-23T12:00:00Z").unwrap();
    let until = units::timestamp("2026-11-23T12:30:00Z").unwrap();
    assert_eq!(
        trigger,
        Ok(Trigger {
            pods: Some(share),
            stagger: Some(Duration::from_secs(60)),
            starts: Some(RequestWindow::new(2, Some(1), None).unwrap()),
            start: Some(start),
            until: Some(until),
            ..Trigger::ALWAYS
        })
    );
    assert_eq!(
        rule(json!({"pods": [0, 2]})).map(|trigger| trigger.pods),
        Ok(Some(Pods::Ordinals(vec![0, 2])))
    );
    for (fields, error) in [
        (
            json!({"pods": 30}),
            "drill: pods=\"30\": is not a share such as 30%, or a list of ordinals such as [0, 2]",
        ),
        (
            json!({"pods": []}),
            "drill: pods: is not a share such as 30%, or a list of ordinals such as [0, 2]",
        ),
        (
            json!({"pods": ["web-0"]}),
            "drill: pods: is not a share such as 30%, or a list of ordinals such as [0, 2]",
        ),
        (json!({"stagger": "0s"}), "drill: stagger: `stagger` must be more than 0; omit it to disable it"),
        (
            json!({"until": "tomorrow"}),
            "drill: until=\"tomorrow\": is not a time such as 2026-11-23T12:00:00Z or 2026-11-23T13:00:00+01:00 (RFC 3339)",
        ),
        (
            json!({"start": "2026-11-23T12:00:00Z", "until": "2026-11-23T12:00:00Z"}),
            "drill: until: `until` must be after `start`",
        ),
        (
            json!({"when": {"starts": {"every": 3}}}),
            "drill: when.starts: `every` needs a `for`, the length of each window",
        ),
    ] {
        assert_eq!(rule(fields), Err(error.to_owned()));
    }
}

#[test]
fn a_disabled_rule_needs_no_more_than_its_name_and_what_else_it_has_is_checked() {
    let read = |text: &str| {
        read_plan(&document::parse(text, 1000).unwrap(), "")
            .map(|plan| (plan.rules.len(), plan.disabled))
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    };
    let name = |name| RuleName::new(name).unwrap();
    assert_eq!(read("faults: [{name: a, disabled: true}]"), Ok((0, vec![name("a")])));
    assert_eq!(
        read("faults: [{name: a, disabled: true, target: liveness, mode: hang}]"),
        Ok((0, vec![name("a")]))
    );
    assert_eq!(read("faults: [{name: a, disabled: false, target: liveness, mode: hang}]"), Ok((1, vec![])));
    assert_eq!(
        read("faults: [{name: a, disabled: true, mod: hang}]"),
        Err("faults[0] (a): unknown field \"mod\"; did you mean \"mode\"?; faults[0] (a): `target` is missing".into())
    );
    assert_eq!(
        read("faults: [{name: a, disabled: yes-please, target: liveness, mode: hang}]"),
        Err("faults[0] (a): disabled=\"yes-please\": is not true or false".into())
    );
    assert_eq!(
        read("faults: [{name: A, disabled: true}]").unwrap_err().split(':').next(),
        Some("faults[0] (A)")
    );
}

#[test]
fn a_bare_number_and_a_word_in_any_case_read_as_in_a_variable() {
    let written = |fields: &str| {
        let text = format!("faults: [{{name: a, {fields}}}]");
        plan(&text)
            .unwrap_or_else(|errors| panic!("{text}: {errors:?}"))
            .rules
            .iter()
            .map(write_rule)
            .collect::<Vec<_>>()
    };
    for (bare, full) in [
        ("target: traffic, rate: 20, mode: hang", "target: traffic, rate: 20%, mode: hang"),
        ("target: traffic, rate: '20', mode: hang", "target: traffic, rate: 20%, mode: hang"),
        ("target: traffic, delay: 50", "target: traffic, delay: 50ms"),
        (
            "target: traffic, delay: {fixed: 50, jitter: 5}",
            "target: traffic, delay: {fixed: 50ms, jitter: 5ms}",
        ),
        ("target: traffic, delay: {p50: 5, p99: 50}", "target: traffic, delay: {p50: 5ms, p99: 50ms}"),
        ("target: traffic, mode: drip, drip: 9", "target: traffic, mode: drip, drip: 9s"),
        (
            "target: traffic, mode: hang, when: {after: 60, for: 20, every: 300}, ramp: 10, stagger: 5",
            "target: traffic, mode: hang, when: {after: 60s, for: 20s, every: 300s}, ramp: 10s, stagger: 5s",
        ),
        ("target: Traffic, mode: HANG, client: Kubelet", "target: traffic, mode: hang, client: kubelet"),
        ("target: LISTENER, mode: Drop", "target: listener, mode: drop"),
        (
            "target: traffic, delay: {fixed: 9ms, jitter: 5ms, distribution: Normal}",
            "target: traffic, delay: {fixed: 9ms, jitter: 5ms, distribution: normal}",
        ),
    ] {
        assert_eq!(written(bare), written(full), "{bare}");
    }
}
