//! Errors, and what they say.

use super::*;

#[test]
fn bad_values_are_refused_with_what_would_be_right() {
    const PATH: &str = "is not a path such as /x, or /x/* for all below it: it begins with /, of printable ASCII without ?, #, { and }";
    let modes = ModeInfo::all_of_requests().map(|info| info.name).collect::<Vec<_>>().join(", ");
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
        ("LIVENESS_FAIL_FOR", "1ms", r#"LIVENESS_FAIL_FOR="1ms": `for` (1ms) must be at least 10ms"#),
        ("STARTUP_DELAY", "9ms", r#"STARTUP_DELAY="9ms": `for` (9ms) must be at least 10ms"#),
        ("LISTEN_DELAY", "1us", r#"LISTEN_DELAY="1us": `for` (1µs) must be at least 10ms"#),
        ("PARTITION_FOR", "1ns", r#"PARTITION_FOR="1ns": `for` (1ns) must be at least 10ms"#),
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
            r#"PORT="8081": is also the port of the admin listener (ADMIN_ADDRESS); each listener needs its own"#,
        ),
        (
            "ADMIN_ADDRESS",
            "127.0.0.1:8080",
            r#"ADMIN_ADDRESS="127.0.0.1:8080": is also the port of the probe listener (PORT); each listener needs its own"#,
        ),
        ("FAILURE_BURST", "5", r#"FAILURE_BURST="5": needs FAILURE_RATE"#),
        ("FAILURE_BURST", "0.5", r#"FAILURE_BURST="0.5": a burst of 0.5 is not between 1 and 100"#),
        ("FAIL_EVERY", "5m", r#"FAIL_EVERY="5m": needs FAIL_FOR"#),
        ("FAULTS", "{}", "FAULTS: is an empty plan: it has neither `faults` nor a `seed`"),
        ("FAULTS", "faults: []", "FAULTS: is an empty plan: it has neither `faults` nor a `seed`"),
        ("FAULTS", "# nothing", "FAULTS: is empty"),
        ("FAULTS", "[a, b]", "FAULTS: is not a mapping with seed, faults, stop, proxies"),
        (
            "FAULTS",
            "faults: [{name: a, target: readiness, mode: status, when: {fro: 5s}}]",
            r#"FAULTS: faults[0] (a): when: unknown field "fro"; did you mean "for"?"#,
        ),
        (
            "FAULTS",
            "faults: [{name: a, target: readiness, mode: status}, {name: a, target: liveness, mode: status}]",
            "FAULTS: faults[1] (a): the name a is already used by faults[0]; each rule needs its own name",
        ),
        ("FAULTS", "a: &a [*a]", "FAULTS: line 1 column 8: an alias is inside the value that it refers to"),
        ("SEED", "-1", r#"SEED="-1": is not a whole number from 0 to 2^64-1"#),
        ("SEED_SCOPE", "fleets", r#"SEED_SCOPE="fleets": is not one of pod, fleet; did you mean "fleet"?"#),
        ("LOG_LEVEL", "loud", r#"LOG_LEVEL="loud": is not one of error, warn, info, debug, trace"#),
        ("WORKER_THREADS", "65", r#"WORKER_THREADS="65": is not a whole number from 1 to 64"#),
        ("MAX_HEAD_SIZE", "1B", r#"MAX_HEAD_SIZE="1B": is not a size from 1KiB to 1MiB"#),
        (
            "FAILURE_MODE",
            "drop",
            r#"FAILURE_MODE="drop": is not a mode of requests (only PARTITION_MODE has it), which has {modes}"#,
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
        ("LIVENESS_PATHS", "/readyz", r#"LIVENESS_PATHS="/readyz": already belongs to readiness"#),
        ("TRAFFIC_PATHS", "api", &path("api")),
        ("TRAFFIC_PATHS", "/a*", &path("/a*")),
        ("TRAFFIC_PATHS", "/{id}", &path("/{id}")),
        ("TRAFFIC_PATHS", "/a b", &path("/a b")),
        (
            "FAULTS",
            "faults: [{name: a, target: [stock, livness], mode: hang}]\nproxies: [{name: stock, listen: ':1', upstream: 'http://a'}]",
            r#"FAULTS: faults[0] (a): target="livness": is not one of liveness, readiness, startup, dependency, traffic, listener, process, stock; did you mean "liveness"?"#,
        ),
        (
            "PROXIES",
            "db=:1",
            r#"PROXIES="db=:1": db=:1: is not a proxy such as stock=:18090->http://stock:8080 or db=:15432->postgres:5432"#,
        ),
        (
            "PROXIES",
            "db=0.0.0.0:8080->http://a",
            r#"proxy db: listen="0.0.0.0:8080": is also the port of the probe listener; each listener needs its own"#,
        ),
        ("TRAFFIC_PATHS", "/a,", &path("")),
    ] {
        assert_eq!(errors(&[(name, value)]), [error.replace("{modes}", &modes)], "{name}={value}");
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
            r#"FAILURE_BURST="1.5": a burst of 1.5 is too short for a rate of 50%: 2 is the minimum, with independent draws"#,
        ),
        (
            &[("FAIL_COUNT", "5"), ("FAIL_AFTER_REQUESTS", "6"), ("RECOVERY_PERIOD", "2")],
            r#"FAIL_COUNT="5": is another name for FAIL_AFTER_REQUESTS, which is also set; keep one"#,
        ),
        (
            &[("DISCONNECT_AFTER", "5"), ("PARTITION_AFTER", "6")],
            r#"DISCONNECT_AFTER="5": is another name for PARTITION_AFTER, which is also set; keep one"#,
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
            "LIVENESS_LATENCY: the name liveness-latency is already used by FAULTS: faults[0] (liveness-latency); each rule needs its own name",
        ),
        (
            &[("TRAFFIC_PATHS", "/api/*"), ("DEPENDENCY_PATHS", "/api/")],
            r#"TRAFFIC_PATHS="/api/*": already belongs to dependency"#,
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
        r#"FAULTS: faults[1] (b): mode="hang": is not a mode of target listener, which has drop, refuse, reset, tls-hang, tls-close, tls-alert, tls-expired, tls-wrong-name, tls-untrusted"#,
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
