use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::fault::{
    Burst, Client, Cut, Delay, MIN_WINDOW, Networks, Partial, Pods, Rate, RequestWindow, TimeWindow,
    Timestamp, Trigger,
};
use crate::plan::document;
use crate::units;

fn plan(text: &str) -> Result<RawPlan, Vec<ConfigError>> {
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
    let partial = |status, body| Partial { status, body };
    for (fields, mode) in [
        ("mode: status", Mode::Status(500)),
        ("mode: redirect", Mode::Redirect("http://probesim.invalid/".into())),
        ("mode: redirect, location: /healthz", Mode::Redirect("/healthz".into())),
        ("mode: hang", Mode::Hang),
        ("mode: close", Mode::Close),
        ("mode: reset", Mode::Reset),
        ("mode: garbage", Mode::Garbage),
        ("mode: truncate", Mode::Truncate(partial(500, 16))),
        ("mode: body-hang, status: 200", Mode::BodyHang(partial(200, 16))),
        ("mode: body-reset, body: 11KiB", Mode::BodyReset(partial(500, 11_264))),
        ("mode: malformed, body: 0", Mode::Malformed(partial(500, 0))),
        ("mode: drip", Mode::Drip { partial: partial(500, 16), over: Duration::from_secs(5) }),
        (
            "mode: drip, drip: 90s, body: 100, status: 200",
            Mode::Drip { partial: partial(200, 100), over: Duration::from_secs(90) },
        ),
    ] {
        assert_eq!(one(&format!("target: traffic, {fields}")).mode(), Some(&mode), "{fields}");
    }
    for cut in Cut::ALL {
        let rule = one(&format!("target: [listener], mode: {}", cut.name()));
        assert_eq!(rule.action(), &Action::Listener { cut, from: Networks::default() });
    }
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
fn an_unknown_field_is_named_with_its_place_and_the_nearest_known_one() {
    let text = "faults:\n- {name: ok, target: liveness, mode: hang}\n- {name: readiness-flaps, target: readiness, mode: hang, when: {fro: 20s}}";
    assert_eq!(
        errors(text),
        [r#"faults[1] (readiness-flaps): when: unknown field "fro"; did you mean "for"?"#]
    );
    assert_eq!(errors_of("mode: hang, stats: 500"), [r#"unknown field "stats"; did you mean "status"?"#]);
    assert_eq!(errors_of("mode: hang, colour: red"), [r#"unknown field "colour""#]);
    assert_eq!(errors("fault: []"), [r#"unknown field "fault"; did you mean "faults"?"#]);
    assert_eq!(
        errors_of("delay: {fixd: 5ms, fixed: 5ms}"),
        [r#"delay: unknown field "fixd"; did you mean "fixed"?"#]
    );
}

#[test]
fn what_does_not_go_together_is_refused_with_the_reason() {
    for (fields, error) in [
        ("mode: status, body: 5", r#"body="5": does not go with mode status"#),
        ("mode: hang, location: /", r#"location="/": does not go with mode hang"#),
        ("mode: hang, drip: 5s", r#"drip="5s": does not go with mode hang"#),
        (
            "mode: hang, from: 10.0.0.0/8",
            r#"from="10.0.0.0/8": does not go with requests; it is for target listener"#,
        ),
        ("status: 503, delay: 5ms", r#"status="503": needs a `mode` that sends it"#),
        (
            "mode: drop",
            r#"mode="drop": is not a mode of requests (only target listener has it), which has status, redirect, hang, close, reset, garbage, truncate, body-hang, body-reset, malformed, drip"#,
        ),
        (
            "mode: truncated",
            r#"mode="truncated": is not one of status, redirect, hang, close, reset, garbage, truncate, body-hang, body-reset, malformed, drip; did you mean "truncate"?"#,
        ),
        ("mode: status, status: 99", r#"status="99": is not a whole number from 200 to 599"#),
        ("mode: status, status: 103", r#"status="103": is not a whole number from 200 to 599"#),
        (
            "mode: truncate, status: 204",
            "status: mode truncate needs a body, which an answer with status 204 cannot have",
        ),
        (
            "mode: truncate, body: 1parsec",
            r#"body="1parsec": is not a size such as 16, 512B or 11KiB (units: B, KB, KiB, MB, MiB)"#,
        ),
        ("client: kublet", r#"client="kublet": is not one of kubelet, other, any; did you mean "kubelet"?"#),
        ("rate: 20, mode: hang", r#"rate="20": is ambiguous; write 20%"#),
        ("rate: 120%, mode: hang", r#"rate="120%": is not between 0% and 100%"#),
        ("rate: [], mode: hang", "rate: is not a percentage such as 20%"),
        ("when: {after: 60}, mode: hang", r#"when.after="60": has no unit; write 60s or 60ms"#),
        ("when: {for: 10s, every: 5s}, mode: hang", "when: `for` (10s) must be shorter than `every` (5s)"),
        ("when: {for: 1ns, every: 2ns}, mode: hang", "when.for: `for` (1ns) must be at least 10ms"),
        ("when: {for: 9999us, every: 20ms}, mode: hang", "when.for: `for` (9.999ms) must be at least 10ms"),
        ("ramp: 9ms, rate: 20%, mode: hang", "ramp: `ramp` (9ms) must be at least 10ms"),
        ("when: {every: 5s}, mode: hang", "when: `every` needs a `for`, the length of each window"),
        (
            "when: {requests: {for: 1.5}}, mode: hang",
            r#"when.requests.for="1.5": is not a whole number from 0 to 2^64-1"#,
        ),
        ("when: 5s, mode: hang", r#"when="5s": is not a mapping with after, for, every, requests, starts"#),
        ("when: , mode: hang", r#"when="null": is not a mapping with after, for, every, requests, starts"#),
        (
            "rate: 50%, burst: 1.5, mode: hang",
            r#"burst="1.5": a burst of 1.5 is too short for a rate of 50%: 2 is the least, where draws are independent"#,
        ),
        ("burst: 5, mode: hang", r#"burst="5": a burst needs a rate of at most 99%, not 100%"#),
        ("ramp: 0s, mode: hang", "ramp: `ramp` must be more than 0; leave it out for none"),
        ("delay: 50", r#"delay="50": has no unit; write 50s or 50ms"#),
        ("delay: 0s", r#"delay="0s": `delay` must be more than 0"#),
        ("delay: {jitter: 5ms}", "delay: `fixed` is missing"),
        ("delay: {fixed: 5ms, distribution: normal}", "delay: `jitter` is missing"),
        ("delay: {fixed: 5ms, p50: 5ms}", "delay.p50: does not go with a delay without `distribution`"),
        ("delay: {p50: 5ms, p40: 6ms}", "delay: `p50` must not be below `p40`"),
        (
            "delay: {fixed: 5ms, distribution: gamma}",
            r#"delay.distribution="gamma": is not one of uniform, normal, lognormal, exponential"#,
        ),
        (
            "mode: redirect, location: \"a b\"",
            r#"location: the location "a b" is not a URL of printable ASCII characters"#,
        ),
    ] {
        let lines = if fields.starts_with("client") {
            errors_of(&format!("mode: hang, {fields}"))
        } else {
            errors_of(fields)
        };
        assert_eq!(lines, [error], "{fields}");
    }
    // Both ways a rule can do nothing.
    assert_eq!(
        errors("faults: [{name: a, target: []}]"),
        ["faults[0] (a): target: `target` names nothing; name at least one"]
    );
    assert_eq!(
        errors("faults: [{name: a, target: liveness}]"),
        ["faults[0] (a): the rule does nothing: give it a `mode`, a `delay` or both"]
    );
}

#[test]
fn a_listener_has_modes_of_its_own_and_no_requests() {
    assert_eq!(
        errors(
            "faults: [{name: a, target: listener, mode: hang, rate: 20%, delay: 5ms, when: {requests: {for: 1}}}]"
        ),
        [
            "faults[0] (a): rate: does not go with target listener, which knows no requests, only time",
            "faults[0] (a): delay: does not go with target listener, which knows no requests, only time",
            "faults[0] (a): when.requests: does not go with target listener, which knows no requests, only time",
            r#"faults[0] (a): mode="hang": is not a mode of target listener, which has drop, refuse, reset"#,
        ]
    );
    assert_eq!(
        errors("faults: [{name: a, target: [listener, liveness], mode: reset}]"),
        [
            "faults[0] (a): target: listener cannot stand beside other targets: a cut takes them all; write a rule for each"
        ]
    );
    assert_eq!(
        errors("faults: [{name: a, target: listener, mode: drop, from: [10.0.0.0/8, ten]}]"),
        [
            r#"faults[0] (a): from="ten": is not a network such as 10.0.0.0/8, an address, or either with ! before it to spare it"#
        ]
    );
    assert_eq!(errors("faults: [{name: a, target: listener}]"), ["faults[0] (a): `mode` is missing"]);
}

#[test]
fn all_rules_are_reported_at_once_and_a_name_taken_twice_names_both_positions() {
    assert_eq!(
        errors(
            "seed: -1\nfaults:\n- {name: a, target: liveness, mode: hang}\n- {target: liveness, mode: hang}\n- {name: a, target: livness, mode: hang}\n- 5\n- {name: A_b, target: liveness, mode: hang}"
        ),
        [
            r#"seed="-1": is not a whole number from 0 to 2^64-1"#,
            "faults[1]: `name` is missing",
            r#"faults[2] (a): target="livness": is not one of liveness, readiness, startup, dependency, traffic, listener; did you mean "liveness"?"#,
            r#"faults[3]="5": is not a mapping with name, disabled, target, client, from, pods, when, start, until, stagger, rate, burst, ramp, delay, mode, status, location, body, drip"#,
            r#"faults[4] (A_b): name: the name "A_b" is not a DNS label: 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit"#,
            "faults[2] (a): the name a is taken by faults[0]; each rule needs a name of its own",
        ]
    );
}

#[test]
fn a_plan_of_a_thousand_rules_is_read_and_one_more_is_too_many() {
    let rules = |count| {
        let rules: Vec<_> = (0..count)
            .map(|i| json!({"name": format!("r{i}"), "target": "traffic", "mode": "hang"}))
            .collect();
        json!({ "faults": rules }).to_string()
    };
    assert_eq!(plan(&rules(1000)).unwrap().rules.len(), 1000);
    assert_eq!(errors(&rules(1001)), ["faults: 1001 rules are more than the 1000 allowed"]);
}

#[test]
fn a_megabyte_of_nonsense_is_refused_with_few_errors() {
    let many = |entry: fn(usize) -> String| (0..60_000).map(entry).collect::<Vec<_>>().join(",");
    let fields = many(|i| format!("f{i}: 1"));
    let errors_of_fields = errors(&format!("faults: [{{name: a, target: liveness, mode: hang, {fields}}}]"));
    assert_eq!(
        (errors_of_fields.len(), errors_of_fields[0].as_str()),
        (20, r#"faults[0] (a): unknown field "f0""#)
    );
    let names = many(|i| format!("t{i}"));
    assert_eq!(
        errors(&format!("faults: [{{name: a, target: [{names}], mode: hang}}]")),
        ["faults[0] (a): target: 60000 entries are more than the 1000 allowed"]
    );
    let table = many(|i| format!("p0.{i}: 1s"));
    assert_eq!(
        errors(&format!("faults: [{{name: a, target: liveness, delay: {{{table}}}}}]")),
        ["faults[0] (a): delay: 60000 entries are more than the 100 allowed"]
    );
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
    let rule = one(
        "target: [traffic, liveness], client: any, rate: 100%, mode: drip, status: 500, body: 16, drip: 5s",
    );
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

fn millis(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

fn delays() -> impl Strategy<Value = Delay> {
    (millis(1..100_000), millis(1..100_000), 0..6).prop_map(|(a, b, kind)| {
        let (low, high) = (a.min(b), a.max(b));
        match kind {
            0 => Delay::fixed(a),
            1 => Delay::uniform(a, b),
            2 => Delay::normal(a, b),
            3 => Delay::log_normal(low, high),
            4 => Delay::exponential(a),
            _ => Delay::percentiles(vec![(12.5, low), (99.9, high)]),
        }
        .unwrap()
    })
}

fn modes() -> impl Strategy<Value = Mode> {
    (0..Mode::NAMES.len(), 200..600_u16, 0..100_000_u64, millis(1..100_000), "[!-~]{1,20}").prop_map(
        |(kind, status, body, drip, location)| {
            let status = if matches!(status, 204 | 304) { 500 } else { status };
            build(Mode::NAMES[kind], ModeParts { status, body, drip, location }).unwrap()
        },
    )
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
        (json!({"pods": 30}), "drill: pods=\"30\": is ambiguous; write 30%"),
        (
            json!({"pods": []}),
            "drill: pods: is not a share such as 30%, or a list of ordinals such as [0, 2]",
        ),
        (
            json!({"pods": ["web-0"]}),
            "drill: pods: is not a share such as 30%, or a list of ordinals such as [0, 2]",
        ),
        (json!({"stagger": "0s"}), "drill: stagger: `stagger` must be more than 0; leave it out for none"),
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

prop_compose! {
    fn windows()(after in 0..1000_u64, length in 1..1000_u64, more in 1..1000_u64, kind in 0..3)
        -> (u64, Option<u64>, Option<u64>) {
        (after, (kind > 0).then_some(length), (kind > 1).then_some(length + more))
    }
}

fn triggers() -> impl Strategy<Value = Trigger> {
    use prop::option::of;
    let plain = (of(windows()), of(windows()), 0..=1000_u32, of(1.0..100.0_f64), of(millis(10..100_000)));
    (plain, fleets()).prop_map(|((time, requests, permille, burst, ramp), fleet)| {
        let ms = Duration::from_millis;
        let rate = Rate::from_percent(f64::from(permille) / 10.0).unwrap();
        Trigger {
            time: time.map(|(after, length, period)| {
                let longer = |value| MIN_WINDOW + ms(value);
                TimeWindow::new(ms(after), length.map(longer), period.map(longer)).unwrap()
            }),
            requests: requests
                .map(|(after, length, period)| RequestWindow::new(after, length, period).unwrap()),
            rate,
            burst: burst.and_then(|mean| Burst::new(mean, rate).ok()),
            ramp,
            ..fleet
        }
    })
}

/// Conditions of replicas, starts and the calendar alone.
fn fleets() -> impl Strategy<Value = Trigger> {
    use prop::option::of;
    let share = (0..=1000_u32)
        .prop_map(|permille| Pods::Share(Rate::from_percent(f64::from(permille) / 10.0).unwrap()));
    let ordinals = prop::collection::vec(any::<u32>(), 1..5).prop_map(Pods::Ordinals);
    let instants = (0..4_000_000_000_000_u64, 1..1_000_000_000_u64);
    (
        of(prop_oneof![share, ordinals]),
        of(windows()),
        of(instants),
        any::<[bool; 2]>(),
        of(millis(1..100_000)),
    )
        .prop_map(|(pods, starts, instants, [from, to], stagger)| {
            let instant = |ms| Timestamp(Duration::from_millis(ms));
            Trigger {
                pods,
                starts: starts
                    .map(|(after, length, period)| RequestWindow::new(after, length, period).unwrap()),
                start: instants.filter(|_| from).map(|(start, _)| instant(start)),
                until: instants.filter(|_| to).map(|(start, length)| instant(start + length)),
                stagger,
                ..Trigger::ALWAYS
            }
        })
}

fn rules() -> impl Strategy<Value = Rule> {
    let clients = prop::sample::select(CLIENTS).prop_map(|name| ClientFilter::from_name(name).unwrap());
    let targets = prop::collection::vec(prop::sample::select(&Target::ALL[..]), 1..5);
    let networks = prop::collection::vec((any::<IpAddr>(), 0..=32_u8, any::<bool>()), 0..4);
    let requests =
        (clients.clone(), triggers(), targets, prop::option::of(delays()), prop::option::of(modes()))
            .prop_filter_map("does nothing", |(client, trigger, targets, delay, mode)| {
                let targets = targets.into_iter().collect();
                let name = RuleName::new("drill").unwrap();
                Rule::new(name, client, trigger, Action::Requests { targets, delay, mode }).ok()
            });
    let listeners = (clients, windows(), fleets(), prop::sample::select(&Cut::ALL[..]), networks).prop_map(
        |(client, (after, length, period), fleet, cut, networks)| {
            let s = Duration::from_secs;
            let time = TimeWindow::new(s(after), length.map(s), period.map(s)).unwrap();
            let mut from = Networks::default();
            for (address, prefix, spared) in networks {
                let network = IpNet::new(address, prefix).unwrap().trunc();
                if spared { &mut from.except } else { &mut from.within }.push(network);
            }
            let trigger = Trigger { time: Some(time), ..fleet };
            Rule::new(RuleName::new("cut").unwrap(), client, trigger, Action::Listener { cut, from }).unwrap()
        },
    );
    prop_oneof![requests, listeners]
}

proptest! {
    #[test]
    fn a_written_rule_reads_back(rule in rules()) {
        let value = write_rule(&rule);
        prop_assert_eq!(read_rule(&value, ""), Ok(rule), "{}", value);
    }
}
