use std::time::Duration;

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::env::{Address, LogFormat, SeedChoice, SeedScope, Token};
use crate::plan::document;
use crate::plan::write_rule;

fn load_pairs(pairs: &[(&str, &str)]) -> Result<Loaded, Errors> {
    load(pairs.iter().map(|(name, value)| (name.into(), value.into())))
}

fn loaded(pairs: &[(&str, &str)]) -> Loaded {
    load_pairs(pairs).unwrap_or_else(|errors| panic!("{pairs:?}: {errors}"))
}

fn rules(pairs: &[(&str, &str)]) -> Value {
    loaded(pairs).config.plan.rules().iter().map(write_rule).collect()
}

fn names(pairs: &[(&str, &str)]) -> Vec<String> {
    loaded(pairs).config.plan.rules().iter().map(|rule| rule.name().to_string()).collect()
}

fn warnings(pairs: &[(&str, &str)]) -> Vec<String> {
    loaded(pairs).warnings.iter().map(ToString::to_string).collect()
}

fn errors(pairs: &[(&str, &str)]) -> Vec<String> {
    load_pairs(pairs).unwrap_err().to_string().lines().map(str::to_owned).collect()
}

fn status(name: &str, more: &Value) -> Value {
    let target = name.split('-').next().unwrap();
    let mut rule = json!({"name": name, "target": [target], "mode": "status"});
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rule
}

fn delay(name: &str, delay: &Value) -> Value {
    json!({"name": name, "target": [name.split('-').next().unwrap()], "delay": delay})
}

mod as_the_original_did {
    use super::*;

    #[test]
    fn its_manifest_gives_the_same_faults() {
        assert_eq!(
            rules(&[
                ("FAILURE_RATE", "20"),
                ("LATENCY", "50"),
                ("LIVENESS_FAIL_AFTER_TIME", "60"),
                ("READINESS_FAIL_AFTER_TIME", "120"),
                ("DISCONNECT_AFTER", "30"),
                ("RECONNECT_AFTER", "10"),
            ]),
            json!([
                status("readiness-partition", &json!({"when": {"after": "30m", "for": "10m"}})),
                status("liveness-time", &json!({"when": {"after": "1m"}})),
                status("readiness-time", &json!({"when": {"after": "2m"}})),
                status("liveness-rate", &json!({"rate": "20%"})),
                status("readiness-rate", &json!({"rate": "20%"})),
                status("startup-rate", &json!({"rate": "20%"})),
                status("traffic-rate", &json!({"rate": "20%"})),
                delay("liveness-latency", &json!("50ms")),
                delay("readiness-latency", &json!("50ms")),
                delay("startup-latency", &json!("50ms")),
                delay("dependency-latency", &json!("50ms")),
                delay("traffic-latency", &json!("50ms")),
            ])
        );
    }

    #[test]
    fn nothing_set_or_everything_zero_is_no_fault() {
        assert_eq!(names(&[]), [""; 0]);
        let zeros = [
            "FAILURE_RATE",
            "LATENCY",
            "LIVENESS_FAIL_AFTER_TIME",
            "READINESS_FAIL_AFTER_TIME",
            "DISCONNECT_AFTER",
            "RECONNECT_AFTER",
            "FAIL_DEPENDENCY",
            "FAIL_COUNT",
            "RECOVERY_PERIOD",
        ];
        for value in ["0", ""] {
            let pairs = zeros.map(|name| (name, value));
            assert_eq!(names(&pairs), [""; 0], "{value:?}");
            assert_eq!(warnings(&pairs), [""; 0], "{value:?}");
        }
        assert_eq!(loaded(&[]).config.probe_address, Address { ip: None, port: 8080 });
        assert_eq!(loaded(&[("PORT", "9090")]).config.probe_address.port, 9090);
    }

    #[test]
    fn a_count_and_a_recovery_period_are_a_window_in_requests() {
        let both = |requests: Value| {
            json!([
                status("liveness-requests", &json!({"when": {"requests": requests}})),
                status("readiness-requests", &json!({"when": {"requests": requests}})),
            ])
        };
        assert_eq!(
            rules(&[("FAIL_COUNT", "5"), ("RECOVERY_PERIOD", "3")]),
            both(json!({"after": 5, "for": 3}))
        );
        assert_eq!(rules(&[("RECOVERY_PERIOD", "3")]), both(json!({"for": 3})));
        assert_eq!(rules(&[("FAIL_COUNT", "5")]), json!([]));
        assert_eq!(warnings(&[("FAIL_COUNT", "5")]), ["FAIL_COUNT: has no effect without RECOVERY_PERIOD"]);
        // A new name that is 0 is not there.
        assert_eq!(
            rules(&[
                ("FAIL_COUNT", "5"),
                ("FAIL_AFTER_REQUESTS", "0"),
                ("RECOVERY_PERIOD", "3"),
                ("FAIL_REQUESTS", "0")
            ]),
            both(json!({"after": 5, "for": 3}))
        );
        // The new names stand for themselves.
        assert_eq!(rules(&[("FAIL_AFTER_REQUESTS", "5")]), both(json!({"after": 5})));
        assert_eq!(rules(&[("FAIL_REQUESTS", "3")]), both(json!({"for": 3})));
    }

    #[test]
    fn a_partition_lasts_from_its_beginning_to_its_end() {
        let partition = |when: Value| json!([status("readiness-partition", &json!({"when": when}))]);
        assert_eq!(rules(&[("DISCONNECT_AFTER", "30")]), partition(json!({"after": "30m"})));
        assert_eq!(rules(&[("RECONNECT_AFTER", "10")]), json!([]));
        assert_eq!(
            warnings(&[("RECONNECT_AFTER", "10")]),
            ["RECONNECT_AFTER: has no effect without DISCONNECT_AFTER"]
        );
        assert_eq!(rules(&[("PARTITION_FOR", "10s")]), partition(json!({"for": "10s"})));
        assert_eq!(
            rules(&[("PARTITION_AFTER", "1"), ("RECONNECT_AFTER", "2"), ("FAILURE_STATUS", "503")]),
            json!([status(
                "readiness-partition",
                &json!({"when": {"after": "1m", "for": "2m"}, "status": 503})
            )])
        );
    }

    #[test]
    fn booleans_are_those_of_go() {
        let fails = json!([status("dependency-dependency", &json!({}))]);
        for text in ["1", "t", "T", "TRUE", "true", "True"] {
            assert_eq!(rules(&[("FAIL_DEPENDENCY", text)]), fails, "{text}");
        }
        for text in ["0", "f", "F", "FALSE", "false", "False", ""] {
            assert_eq!(rules(&[("FAIL_DEPENDENCY", text)]), json!([]), "{text}");
        }
        assert_eq!(
            errors(&[("FAIL_DEPENDENCY", "yes")]),
            [
                r#"FAIL_DEPENDENCY="yes": is not one of 1, t, T, true, True, TRUE, 0, f, F, false, False, FALSE"#
            ]
        );
        assert!(!loaded(&[("READINESS_CHECKS_DEPENDENCY", "f")]).config.readiness_checks_dependency);
        assert!(loaded(&[]).config.readiness_checks_dependency);
    }
}

#[test]
fn groups_make_rules_in_their_order_after_those_of_the_plan() {
    assert_eq!(
        names(&[
            ("LATENCY", "50ms"),
            ("FAILURE_RATE", "20%"),
            ("FAIL_AFTER_REQUESTS", "5"),
            ("FAIL_AFTER_TIME", "60"),
            ("FAIL_DEPENDENCY", "true"),
            ("STARTUP_DELAY", "20"),
            ("PARTITION_AFTER", "5m"),
            ("FAULTS", "{faults: [{name: a, target: traffic, mode: status}], seed: 7}"),
        ]),
        [
            "a",
            "readiness-partition",
            "liveness-startup",
            "readiness-startup",
            "startup-startup",
            "dependency-dependency",
            "liveness-time",
            "readiness-time",
            "liveness-requests",
            "readiness-requests",
            "liveness-rate",
            "readiness-rate",
            "startup-rate",
            "traffic-rate",
            "liveness-latency",
            "readiness-latency",
            "startup-latency",
            "dependency-latency",
            "traffic-latency",
        ]
    );
}

#[test]
fn a_prefix_wins_over_the_unprefixed_name() {
    assert_eq!(
        rules(&[
            ("FAILURE_RATE", "20"),
            ("READINESS_FAILURE_RATE", "50"),
            ("STARTUP_FAILURE_RATE", "0"),
            ("TRAFFIC_FAILURE_RATE", ""),
            ("DEPENDENCY_FAILURE_RATE", "5%"),
        ]),
        json!([
            status("liveness-rate", &json!({"rate": "20%"})),
            status("readiness-rate", &json!({"rate": "50%"})),
            status("dependency-rate", &json!({"rate": "5%"})),
            status("traffic-rate", &json!({"rate": "20%"})),
        ])
    );
    // What is left of a group that is turned off is no error.
    assert_eq!(
        names(&[
            ("LIVENESS_LATENCY", "0"),
            ("LATENCY", "50"),
            ("LATENCY_JITTER", "10"),
            ("LATENCY_DISTRIBUTION", "normal")
        ]),
        ["readiness-latency", "startup-latency", "dependency-latency", "traffic-latency"]
    );
    assert_eq!(
        rules(&[
            ("LIVENESS_FAIL_AFTER_TIME", "0"),
            ("FAIL_AFTER_TIME", "60"),
            ("FAIL_FOR", "20"),
            ("FAIL_EVERY", "300")
        ]),
        json!([status("readiness-time", &json!({"when": {"after": "1m", "for": "20s", "every": "5m"}}))])
    );
    // Either half of a pair may come from either.
    assert_eq!(
        rules(&[("FAIL_EVERY", "5m"), ("LIVENESS_FAIL_FOR", "20")]),
        json!([status("liveness-time", &json!({"when": {"for": "20s", "every": "5m"}}))])
    );
    assert_eq!(
        rules(&[("FAILURE_BURST", "5"), ("TRAFFIC_FAILURE_RATE", "20")]),
        json!([status("traffic-rate", &json!({"rate": "20%", "burst": 5}))])
    );
    assert_eq!(
        rules(&[("READINESS_STARTUP_DELAY", "5"), ("LIVENESS_STARTUP_DELAY", "0"), ("STARTUP_DELAY", "9")]),
        json!([
            status("readiness-startup", &json!({"when": {"for": "5s"}})),
            status("startup-startup", &json!({"when": {"for": "9s"}})),
        ])
    );
}

#[test]
fn every_shape_of_latency_has_its_variables() {
    for (pairs, expected) in [
        (&[("LATENCY", "50")][..], json!("50ms")),
        (&[("LATENCY", "50"), ("LATENCY_JITTER", "10")], json!({"fixed": "50ms", "jitter": "10ms"})),
        (
            &[("LATENCY", "50"), ("LATENCY_JITTER", "10"), ("LATENCY_DISTRIBUTION", "normal")],
            json!({"distribution": "normal", "fixed": "50ms", "jitter": "10ms"}),
        ),
        (
            &[("LATENCY", "50"), ("LATENCY_P99", "1s"), ("LATENCY_DISTRIBUTION", "lognormal")],
            json!({"distribution": "lognormal", "median": "50ms", "p99": "1s"}),
        ),
        (
            &[("LATENCY_P50", "50"), ("LATENCY_P99", "1s"), ("LATENCY_DISTRIBUTION", "lognormal")],
            json!({"distribution": "lognormal", "median": "50ms", "p99": "1s"}),
        ),
        (
            &[("LATENCY", "50"), ("LATENCY_DISTRIBUTION", "exponential")],
            json!({"distribution": "exponential", "mean": "50ms"}),
        ),
        (
            &[("LATENCY_P50", "20"), ("LATENCY_P90", "80"), ("LATENCY_P99", "400")],
            json!({"p50": "20ms", "p90": "80ms", "p99": "400ms"}),
        ),
        (&[("LATENCY_P50", "0"), ("LATENCY_P99", "400")], json!({"p50": "0ns", "p99": "400ms"})),
    ] {
        let rules = rules(pairs);
        assert_eq!(rules[0], delay("liveness-latency", &expected), "{pairs:?}");
        assert_eq!(rules.as_array().unwrap().len(), 5, "{pairs:?}");
    }
}

#[test]
fn combinations_of_latency_that_contradict_each_other_are_errors() {
    for (pairs, error) in [
        (&[("LATENCY_JITTER", "10")][..], r#"LATENCY_JITTER="10": needs LATENCY"#),
        (&[("LATENCY_DISTRIBUTION", "normal")], r#"LATENCY_DISTRIBUTION="normal": needs LATENCY"#),
        (
            &[("LATENCY", "5"), ("LATENCY_DISTRIBUTION", "normal")],
            r#"LATENCY_DISTRIBUTION="normal": needs LATENCY_JITTER"#,
        ),
        (&[("LATENCY", "5"), ("LATENCY_P50", "10")], r#"LATENCY_P50="10": does not go with LATENCY"#),
        (&[("LATENCY_P50", "10")], r#"LATENCY_P50="10": needs another percentile, or LATENCY instead"#),
        (
            &[("LATENCY", "5"), ("LATENCY_DISTRIBUTION", "exponential"), ("LATENCY_JITTER", "1")],
            r#"LATENCY_JITTER="1": does not go with LATENCY_DISTRIBUTION=exponential"#,
        ),
        (
            &[("LATENCY", "5"), ("LATENCY_DISTRIBUTION", "lognormal")],
            r#"LATENCY_DISTRIBUTION="lognormal": needs LATENCY_P99"#,
        ),
        (
            &[("LATENCY_P99", "5"), ("LATENCY_DISTRIBUTION", "lognormal")],
            r#"LATENCY_DISTRIBUTION="lognormal": needs LATENCY or LATENCY_P50, the median"#,
        ),
        (
            &[
                ("LATENCY", "5"),
                ("LATENCY_P50", "6"),
                ("LATENCY_P99", "7"),
                ("LATENCY_DISTRIBUTION", "lognormal"),
            ],
            r#"LATENCY_P50="6": does not go with LATENCY"#,
        ),
        (
            &[("LATENCY", "50"), ("LATENCY_P99", "5"), ("LATENCY_DISTRIBUTION", "lognormal")],
            r#"LATENCY_P99="5": `p99` must not be below `median`"#,
        ),
        (
            &[("LATENCY_DISTRIBUTION", "gauss"), ("LATENCY", "5")],
            r#"LATENCY_DISTRIBUTION="gauss": is not one of uniform, normal, lognormal, exponential"#,
        ),
    ] {
        assert_eq!(errors(pairs), [error], "{pairs:?}");
    }
}

#[test]
fn the_mode_of_failures_can_be_chosen() {
    assert_eq!(
        rules(&[
            ("FAILURE_RATE", "20"),
            ("FAILURE_STATUS", "503"),
            ("LIVENESS_FAILURE_MODE", "redirect"),
            ("FAILURE_LOCATION", "/elsewhere"),
            ("TRAFFIC_FAILURE_STATUS", "429"),
        ]),
        json!([
            {"name": "liveness-rate", "target": ["liveness"], "rate": "20%", "mode": "redirect", "location": "/elsewhere"},
            status("readiness-rate", &json!({"rate": "20%", "status": 503})),
            status("startup-rate", &json!({"rate": "20%", "status": 503})),
            status("traffic-rate", &json!({"rate": "20%", "status": 429})),
        ])
    );
}

#[test]
fn a_token_is_told_by_no_message_and_has_one_place() {
    let token = |pairs: &[(&str, &str)]| loaded(pairs).config.admin_token;
    assert_eq!(token(&[("ADMIN_TOKEN", "hunter2\n")]), Some(Token::Text("hunter2".to_owned())));
    assert_eq!(token(&[("ADMIN_TOKEN_FILE", "/token")]), Some(Token::File("/token".into())));
    assert_eq!(token(&[("ADMIN_TOKEN", "")]), None);
    let told = loaded(&[("ADMIN_TOKEN", "hunter2")]).effective;
    assert!(told.iter().all(|setting| !setting.value.contains("hunter2")) && !told.is_empty());
    assert_eq!(
        errors(&[("ADMIN_TOKEN", "hunter2"), ("ADMIN_TOKEN_FILE", "/token")]),
        ["ADMIN_TOKEN: does not go with ADMIN_TOKEN_FILE, which is set, too; keep one"]
    );
}

#[test]
fn bad_values_are_refused_with_what_would_be_right() {
    const PATH: &str = "is not a path such as /x, or /x/* for all below it: it begins with /, of printable ASCII without ?, #, { and }";
    let path = |value: &str| format!("TRAFFIC_PATHS=\"{value}\": {PATH}");
    for (name, value, error) in [
        ("FAILURE_RATE", "120", r#"FAILURE_RATE="120": is not between 0% and 100%"#),
        ("FAILURE_RATE", "-1", r#"FAILURE_RATE="-1": is not between 0% and 100%"#),
        ("FAILURE_RATE", "abc", r#"FAILURE_RATE="abc": is not a percentage such as 20%"#),
        ("FAILURE_RATE", "NaN", r#"FAILURE_RATE="NaN": is not a percentage such as 20%"#),
        ("FAILURE_RATE", "0.2", r#"FAILURE_RATE="0.2": is ambiguous; write 0.2% or 20%"#),
        (
            "LATENCY",
            "5 parsecs",
            r#"LATENCY="5 parsecs": is not a duration such as 250ms, 30s or 1m30s (units: us, ms, s, m, h, d); a bare number is in ms"#,
        ),
        ("LATENCY", "99999999999999999999", r#"LATENCY="99999999999999999999": is above the limit of 365d"#),
        ("FAILURE_STATUS", "99", r#"FAILURE_STATUS="99": is not a whole number from 200 to 599"#),
        ("FAILURE_STATUS", "103", r#"FAILURE_STATUS="103": is not a whole number from 200 to 599"#),
        ("PORT", "70000", r#"PORT="70000": is not a whole number from 0 to 65535"#),
        ("PORT", "tcp://10.0.0.1:80", r#"PORT="tcp://10.0.0.1:80": is not a whole number from 0 to 65535"#),
        (
            "BIND_ADDRESS",
            "localhost",
            r#"BIND_ADDRESS="localhost": is not an IP address such as 127.0.0.1 or ::1"#,
        ),
        (
            "ADMIN_ADDRESS",
            "8081",
            r#"ADMIN_ADDRESS="8081": is not an address with a port, such as 0.0.0.0:8081, [::1]:8081 or :8081"#,
        ),
        (
            "ADMIN_ADDRESS",
            ":70000",
            r#"ADMIN_ADDRESS=":70000": is not an address with a port, such as 0.0.0.0:8081, [::1]:8081 or :8081"#,
        ),
        (
            "PORT",
            "8081",
            r#"PORT="8081": is the port of the admin listener (ADMIN_ADDRESS), too; each listener needs its own"#,
        ),
        (
            "ADMIN_ADDRESS",
            "127.0.0.1:8080",
            r#"ADMIN_ADDRESS="127.0.0.1:8080": is the port of the probe listener (PORT), too; each listener needs its own"#,
        ),
        ("FAILURE_BURST", "5", r#"FAILURE_BURST="5": needs FAILURE_RATE"#),
        ("FAILURE_BURST", "0.5", r#"FAILURE_BURST="0.5": a burst of 0.5 is not between 1 and 100"#),
        ("LIVENESS_FAIL_FOR", "1ms", r#"LIVENESS_FAIL_FOR="1ms": `for` (1ms) must be at least 10ms"#),
        ("STARTUP_DELAY", "9ms", r#"STARTUP_DELAY="9ms": `for` (9ms) must be at least 10ms"#),
        ("LISTEN_DELAY", "1us", r#"LISTEN_DELAY="1us": `for` (1µs) must be at least 10ms"#),
        ("PARTITION_FOR", "1ns", r#"PARTITION_FOR="1ns": `for` (1ns) must be at least 10ms"#),
        ("FAIL_EVERY", "5m", r#"FAIL_EVERY="5m": needs FAIL_FOR"#),
        ("FAULTS", "{}", "FAULTS: is an empty plan: it has neither `faults` nor a `seed`"),
        ("FAULTS", "faults: []", "FAULTS: is an empty plan: it has neither `faults` nor a `seed`"),
        ("FAULTS", "# nothing", "FAULTS: holds nothing"),
        ("FAULTS", "[a, b]", "FAULTS: is not a mapping with seed, faults"),
        (
            "FAULTS",
            "faults: [{name: a, target: readiness, mode: status, when: {fro: 5s}}]",
            r#"FAULTS: faults[0] (a): when: unknown field "fro"; did you mean "for"?"#,
        ),
        (
            "FAULTS",
            "faults: [{name: a, target: readiness, mode: status}, {name: a, target: liveness, mode: status}]",
            "FAULTS: faults[1] (a): the name a is taken by faults[0]; each rule needs a name of its own",
        ),
        ("FAULTS", "a: &a [*a]", "FAULTS: line 1 column 8: an alias stands inside what it stands for"),
        ("SEED", "-1", r#"SEED="-1": is not a whole number from 0 to 2^64-1"#),
        ("SEED_SCOPE", "fleets", r#"SEED_SCOPE="fleets": is not one of pod, fleet; did you mean "fleet"?"#),
        ("LOG_LEVEL", "loud", r#"LOG_LEVEL="loud": is not one of error, warn, info, debug, trace"#),
        ("WORKER_THREADS", "65", r#"WORKER_THREADS="65": is not a whole number from 1 to 64"#),
        ("MAX_HEAD_SIZE", "1B", r#"MAX_HEAD_SIZE="1B": is not a size from 1KiB to 1MiB"#),
        (
            "FAILURE_MODE",
            "drop",
            r#"FAILURE_MODE="drop": is not a mode of requests (only PARTITION_MODE has it), which has status, redirect, hang, close, reset, garbage, truncate, body-hang, body-reset, malformed, drip"#,
        ),
        (
            "FAILURE_BODY",
            "65MiB",
            r#"FAILURE_BODY="65MiB": a body of 68157440 bytes is above the limit of 67108864"#,
        ),
        ("FAILURE_LOCATION", "a b", r#"FAILURE_LOCATION="a b": is not a URL of printable ASCII characters"#),
        (
            "LIVENESS_PATHS",
            "/metrics",
            r#"LIVENESS_PATHS="/metrics": is reserved: / and /metrics are never faulted"#,
        ),
        ("LIVENESS_PATHS", "/readyz", r#"LIVENESS_PATHS="/readyz": belongs to readiness already"#),
        ("TRAFFIC_PATHS", "api", &path("api")),
        ("TRAFFIC_PATHS", "/a*", &path("/a*")),
        ("TRAFFIC_PATHS", "/{id}", &path("/{id}")),
        ("TRAFFIC_PATHS", "/a b", &path("/a b")),
        ("TRAFFIC_PATHS", "/a,", &path("")),
    ] {
        assert_eq!(errors(&[(name, value)]), [error], "{name}={value}");
    }
}

#[test]
fn variables_that_do_not_go_together_are_refused() {
    for (pairs, error) in [
        (
            &[("FAIL_FOR", "10m"), ("FAIL_EVERY", "5m")][..],
            r#"FAIL_FOR="10m": must be shorter than FAIL_EVERY (5m)"#,
        ),
        (
            &[("FAIL_AFTER_TIME", "60"), ("FAIL_EVERY", "5m")],
            r#"FAIL_EVERY="5m": needs FAIL_FOR, the length of each window"#,
        ),
        (
            &[("FAILURE_RATE", "50"), ("FAILURE_BURST", "1.5")],
            r#"FAILURE_BURST="1.5": a burst of 1.5 is too short for a rate of 50%: 2 is the least, where draws are independent"#,
        ),
        (
            &[("FAIL_COUNT", "5"), ("FAIL_AFTER_REQUESTS", "6"), ("RECOVERY_PERIOD", "2")],
            r#"FAIL_COUNT="5": is another name for FAIL_AFTER_REQUESTS, which is set, too; keep one"#,
        ),
        (
            &[("DISCONNECT_AFTER", "5"), ("PARTITION_AFTER", "6")],
            r#"DISCONNECT_AFTER="5": is another name for PARTITION_AFTER, which is set, too; keep one"#,
        ),
        (
            &[("FAILURE_MODE", "truncate"), ("FAILURE_STATUS", "204"), ("FAILURE_RATE", "5")],
            r#"FAILURE_STATUS="204": mode truncate needs a body, which an answer with status 204 cannot have"#,
        ),
        (
            &[
                ("FAULTS", "faults: [{name: liveness-latency, target: traffic, delay: 5ms}]"),
                ("LIVENESS_LATENCY", "5"),
            ],
            "LIVENESS_LATENCY: the name liveness-latency is taken by FAULTS: faults[0] (liveness-latency); each rule needs a name of its own",
        ),
        (
            &[("TRAFFIC_PATHS", "/api/*"), ("DEPENDENCY_PATHS", "/api/")],
            r#"TRAFFIC_PATHS="/api/*": belongs to dependency already"#,
        ),
        // What follows from an error is not another one.
        (
            &[("LATENCY", "abc"), ("LATENCY_JITTER", "5"), ("LATENCY_DISTRIBUTION", "normal")],
            r#"LATENCY="abc": is not a duration such as 250ms, 30s or 1m30s (units: us, ms, s, m, h, d); a bare number is in ms"#,
        ),
    ] {
        assert_eq!(errors(pairs), [error], "{pairs:?}");
    }
}

#[test]
fn everything_that_is_wrong_is_reported_at_once_in_a_stable_order() {
    let mut pairs = [
        ("PORT", "70000"),
        ("FAILURE_RATE", "120"),
        ("LIVENESS_LATENCY", "x\u{1b}[31m\n"),
        ("FAULTS", "faults: [{}, {name: b, target: listener, mode: hang}]"),
    ];
    let expected = [
        r#"FAILURE_RATE="120": is not between 0% and 100%"#,
        "FAULTS: faults[0]: `name` is missing",
        "FAULTS: faults[0]: `target` is missing",
        r#"FAULTS: faults[1] (b): mode="hang": is not a mode of target listener, which has drop, refuse, reset"#,
        r#"LIVENESS_LATENCY="x\u{1b}[31m\n": is not a duration such as 250ms, 30s or 1m30s (units: us, ms, s, m, h, d); a bare number is in ms"#,
        r#"PORT="70000": is not a whole number from 0 to 65535"#,
    ];
    assert_eq!(errors(&pairs), expected);
    pairs.reverse();
    assert_eq!(errors(&pairs), expected);
}

#[cfg(unix)]
#[test]
fn bytes_that_are_not_utf_8_matter_only_in_our_variables() {
    use std::os::unix::ffi::OsStringExt;
    let bytes = || OsString::from_vec(vec![b'a', 0xff]);
    let pair = |name: &str| (OsString::from(name), bytes());
    assert!(load([pair("LS_COLORS"), (bytes(), "1".into())].into_iter()).is_ok());
    let errors = load([pair("LATENCY"), pair("ADMIN_TOKEN")].into_iter()).unwrap_err();
    assert_eq!(errors.to_string(), "ADMIN_TOKEN: is not UTF-8\nLATENCY=\"a\u{fffd}\": is not UTF-8");
}

#[test]
fn of_a_variable_that_is_there_twice_the_first_counts() {
    assert_eq!(loaded(&[("PORT", "9000"), ("PORT", "9001")]).config.probe_address.port, 9000);
}

#[test]
fn no_route_is_there_twice() {
    for list in ["/api/*,/api/", "/api/,/api/*", "/api/*,/api/*"] {
        let paths = loaded(&[("TRAFFIC_PATHS", list)]).config.paths;
        let traffic: Vec<_> = paths.iter().filter(|(_, target)| *target == Target::Traffic).collect();
        assert_eq!(traffic, [&("/api/*".to_owned(), Target::Traffic)], "{list}");
    }
}

#[test]
fn port_and_its_lower_case_do_not_collide() {
    for pairs in [[("PORT", "9000"), ("port", "1")], [("port", "1"), ("PORT", "9000")]] {
        let loaded = loaded(&pairs);
        assert_eq!(loaded.config.probe_address.port, 9000);
        let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings, ["port: unknown variable, ignored; did you mean PORT?"]);
    }
}

#[test]
fn what_kubernetes_injects_for_services_neither_breaks_the_start_nor_warns() {
    let loaded = loaded(&[
        ("DEPENDENCY_PORT", "tcp://10.0.0.1:80"),
        ("DEPENDENCY_SERVICE_HOST", "10.0.0.1"),
        ("READINESS_SERVICE_HOST", "10.0.0.2"),
        ("READINESS_SERVICE_PORT", "80"),
        ("LIVENESS_PORT_80_TCP", "tcp://10.0.0.3:80"),
        ("LIVENESS_PORT_80_TCP_PROTO", "tcp"),
        ("FAILURE_PORT", "tcp://10.0.0.4:80"),
        ("KUBERNETES_SERVICE_PORT_HTTPS", "443"),
        ("PATH", "/usr/bin"),
        ("HOSTNAME", "web-0"),
    ]);
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.effective, []);
    assert_eq!(loaded.config.plan, Plan::default());
}

#[test]
fn slips_of_the_pen_and_variables_in_vain_are_warned_about() {
    assert_eq!(
        warnings(&[("FAILURE_RATES", "20"), ("READYNESS_LATENCY", "5")]),
        [
            "FAILURE_RATES: unknown variable, ignored; did you mean FAILURE_RATE?",
            "READYNESS_LATENCY: unknown variable, ignored; did you mean READINESS_LATENCY?",
        ]
    );
    assert_eq!(
        warnings(&[("FAILURE_BODY", "5"), ("FAILURE_MODE", "status"), ("PARTITION_MODE", "drop")]),
        [
            "FAILURE_BODY: has no effect without FAILURE_MODE=truncate, body-hang, body-reset, malformed or drip",
            "FAILURE_MODE: has no effect without a failure, such as FAILURE_RATE",
            "PARTITION_MODE: has no effect without PARTITION_AFTER or PARTITION_FOR",
        ]
    );
    assert_eq!(warnings(&[("SEED", "1"), ("FAULTS", "seed: 2")]), ["SEED: wins over the seed of FAULTS"]);
}

#[test]
fn the_effective_value_and_unit_of_each_variable_that_is_set_is_told() {
    let loaded = loaded(&[
        ("LATENCY", "50"),
        ("FAILURE_RATE", "20"),
        ("DISCONNECT_AFTER", "30"),
        ("SHUTDOWN_GRACE", "0"),
        ("LIVENESS_LATENCY", "0"),
        ("PORT", "0"),
        ("SEED", "0"),
        ("FAULTS", "faults: [{name: a, target: traffic, mode: status}]"),
        ("TRAFFIC_PATHS", "/a, /b/*"),
        ("FAILURE_BURST", ""),
    ]);
    let lines: Vec<_> = loaded.effective.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "DISCONNECT_AFTER=30m",
            "FAILURE_RATE=20%",
            "FAULTS=1 rule",
            "LATENCY=50ms",
            "LIVENESS_LATENCY=off",
            "PORT=a free one",
            "SEED=0",
            "SHUTDOWN_GRACE=5s (default)",
            "TRAFFIC_PATHS=/a, /b/*",
        ]
    );
    assert_eq!(loaded.config.seed, SeedChoice { seed: Some(0), scope: SeedScope::Pod });
}

#[test]
fn the_service_has_defaults_and_takes_what_is_given() {
    let config = loaded(&[]).config;
    let s = Duration::from_secs;
    assert_eq!(config.admin_address, Address { ip: None, port: 8081 });
    assert_eq!(
        (
            config.limits.connections,
            config.limits.head_time,
            config.limits.idle_time,
            config.limits.head_size
        ),
        (4096, s(10), s(75), 16 << 10)
    );
    assert_eq!((config.process.shutdown_delay, config.process.shutdown_grace), (s(0), s(5)));
    assert_eq!((config.process.worker_threads, config.process.log_format), (1, LogFormat::Json));
    assert_eq!(config.seed, SeedChoice { seed: None, scope: SeedScope::Pod });
    assert_eq!(config.paths.len(), 7);

    let config = loaded(&[
        ("PORT", "8081"),
        ("BIND_ADDRESS", "127.0.0.1"),
        ("ADMIN_ADDRESS", "[::1]:8081"),
        ("LOG_LEVEL", "debug"),
        ("LOG_FORMAT", "text"),
        ("SHUTDOWN_DELAY", "1"),
        ("TRAFFIC_PATHS", "/api/*,/api/"),
        ("LIVENESS_PATHS", "/healthz,/alive"),
        ("POD_NAME", "web-0"),
        ("SEED_SCOPE", "fleet"),
    ])
    .config;
    assert_eq!(config.probe_address, Address { ip: Some([127, 0, 0, 1].into()), port: 8081 });
    assert_eq!(config.admin_address.ip, Some("::1".parse().unwrap()));
    assert_eq!(
        (config.process.log_level, config.process.log_format),
        (tracing::Level::DEBUG, LogFormat::Text)
    );
    let more: Vec<_> = config.paths[7..].iter().map(|(path, target)| (path.as_str(), *target)).collect();
    assert_eq!(more, [("/alive", Target::Liveness), ("/api/*", Target::Traffic)]);
    assert_eq!(config.identity.pod.as_deref(), Some("web-0"));
    assert_eq!(config.seed.scope, SeedScope::Fleet);
    // A free port never collides.
    assert!(load_pairs(&[("PORT", "0"), ("ADMIN_ADDRESS", ":0")]).is_ok());
}

#[test]
fn a_plan_of_a_megabyte_is_read_and_a_longer_one_is_refused() {
    let rule = |i| format!("- name: r{i}\n  target: traffic\n  mode: status\n");
    let mut text: String = (0..1000).map(rule).collect();
    text.insert_str(0, "faults:\n");
    text.push_str(&"#".repeat(document::MAX_PLAN - text.len()));
    assert_eq!(names(&[("FAULTS", &text)]).len(), 1000);
    text.push('#');
    assert_eq!(errors(&[("FAULTS", &text)]), ["FAULTS: 1048577 bytes are more than the 1048576 allowed"]);
    // With the groups there may be too many, too.
    text.truncate(document::MAX_PLAN);
    assert_eq!(
        errors(&[("FAULTS", &text), ("LIVENESS_LATENCY", "5")]),
        ["FAULTS: 1001 rules are more than the 1000 allowed"]
    );
}

#[test]
fn the_table_of_variables_and_the_structs_hold_the_same_names() {
    fn fields(value: impl serde::Serialize) -> BTreeSet<String> {
        let Value::Object(fields) = serde_json::to_value(value).unwrap() else { panic!("not a struct") };
        fields.keys().map(|name| name.to_ascii_uppercase()).collect()
    }
    let of_targets = fields(FaultVariables::default());
    let of_service = fields(ServiceVariables::default());
    let table = |prefixed: bool| -> BTreeSet<String> {
        VARIABLES
            .iter()
            .filter(|variable| variable.prefixes.is_empty() != prefixed)
            .map(|variable| variable.name.to_owned())
            .collect()
    };
    assert_eq!(table(true), of_targets);
    assert_eq!(table(false), of_service);
    let names: Vec<String> = VARIABLES.iter().flat_map(Variable::names).collect();
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "a name stands there twice");
}

#[test]
fn every_variable_is_read_under_each_of_its_names() {
    for name in VARIABLES.iter().flat_map(Variable::names) {
        // Nothing but free text takes this value.
        let text = errors_or_effective(&name, "\u{1}");
        assert!(text.starts_with(&name), "{name}: {text}");
    }
}

fn errors_or_effective(name: &str, value: &str) -> String {
    match load_pairs(&[(name, value)]) {
        Ok(loaded) => loaded.effective.iter().map(ToString::to_string).collect(),
        Err(errors) => errors.to_string(),
    }
}

#[test]
fn every_default_of_the_table_is_the_default() {
    let config = |pairs: &[(&str, &str)]| format!("{:?}", loaded(pairs).config);
    for variable in VARIABLES {
        let default = match variable.name {
            "PORT"
            | "ADMIN_ADDRESS"
            | "MAX_CONNECTIONS"
            | "HEAD_TIMEOUT"
            | "IDLE_TIMEOUT"
            | "MAX_HEAD_SIZE"
            | "SHUTDOWN_DELAY"
            | "SHUTDOWN_GRACE"
            | "WORKER_THREADS"
            | "LOG_FORMAT"
            | "LOG_LEVEL"
            | "SEED_SCOPE"
            | "READINESS_CHECKS_DEPENDENCY" => variable.default,
            _ => continue,
        };
        assert_eq!(config(&[(variable.name, default)]), config(&[]), "{}", variable.name);
    }
    let failing = |name, value| config(&[("FAIL_AFTER_TIME", "5"), ("PARTITION_AFTER", "5"), (name, value)]);
    for variable in VARIABLES.iter().filter(|variable| variable.name.starts_with("FAILURE_")) {
        if !variable.default.is_empty() {
            assert_eq!(failing(variable.name, variable.default), failing("TZ", ""), "{}", variable.name);
        }
    }
}

fn all_names() -> impl Strategy<Value = String> {
    prop::sample::select(VARIABLES.iter().flat_map(Variable::names).collect::<Vec<_>>())
}

#[cfg(unix)]
proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        pairs in prop::collection::vec((all_names(), prop::collection::vec(any::<u8>(), 0..40)), 0..8),
        others in prop::collection::vec(("\\PC{0,20}", "\\PC{0,20}"), 0..4),
        plan in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        use std::os::unix::ffi::OsStringExt;
        let ours = pairs.into_iter().map(|(name, value)| (OsString::from(name), OsString::from_vec(value)));
        let others = others.into_iter().map(|(name, value)| (name.into(), value.into()));
        let plan = (OsString::from("FAULTS"), OsString::from_vec(plan));
        let _ = load(ours.chain(others).chain([plan]));
    }

    #[test]
    fn likely_values_load_or_are_explained(
        pairs in prop::collection::vec((all_names(), "(0|1|5|20%|50ms|2s|1m|true|status|hang|drop|normal|lognormal|503|204|/a|/a/\\*|x)"), 0..12)
    ) {
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if let Err(errors) = load_pairs(&pairs) {
            prop_assert!(!errors.0.is_empty());
            for error in &errors.0 {
                let line = error.to_string();
                prop_assert!(!line.contains('\n') && pairs.iter().any(|(name, _)| line.starts_with(name)), "{line}");
            }
        }
    }
}
