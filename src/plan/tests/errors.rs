//! Errors, and what they say.

use super::*;

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
            r#"from="10.0.0.0/8": does not go with requests; it is for target listener, and for refuse, drop and reset of a proxy"#,
        ),
        ("status: 503, delay: 5ms", r#"status="503": needs a `mode` that has this field"#),
        (
            "mode: drop",
            r#"mode="drop": is not a mode of requests (only target listener has it), which has {modes}"#,
        ),
        ("mode: truncated", r#"mode="truncated": is not one of {modes}; did you mean "truncate"?"#),
        ("mode: status, status: 99", r#"status="99": is not a whole number from 200 to 599"#),
        ("mode: status, status: 103", r#"status="103": is not a whole number from 200 to 599"#),
        (
            "mode: truncate, status: 204",
            "status: mode truncate needs a body, which an answer with status 204 cannot have",
        ),
        (
            "mode: truncate, body: 1parsec",
            r#"body="1parsec": is not a size such as 16, 512B or 11KiB (units: B, KB, KiB, MB, MiB, GB, GiB)"#,
        ),
        ("client: kublet", r#"client="kublet": is not one of kubelet, other, any; did you mean "kubelet"?"#),
        ("rate: 0.2, mode: hang", r#"rate="0.2": is ambiguous; write 0.2% or 20%"#),
        ("rate: 120%, mode: hang", r#"rate="120%": is not between 0% and 100%"#),
        ("rate: [], mode: hang", "rate: is not a percentage such as 20%"),
        (
            "when: {after: 60x}, mode: hang",
            r#"when.after="60x": is not a duration such as 250ms, 30s or 1m30s (units: us, ms, s, m, h, d); a bare number is in s"#,
        ),
        ("when: {for: 1ns, every: 2ns}, mode: hang", "when.for: `for` (1ns) must be at least 10ms"),
        ("when: {for: 9999us, every: 20ms}, mode: hang", "when.for: `for` (9.999ms) must be at least 10ms"),
        ("ramp: 9ms, rate: 20%, mode: hang", "ramp: `ramp` (9ms) must be at least 10ms"),
        ("when: {for: 10s, every: 5s}, mode: hang", "when: `for` (10s) must be shorter than `every` (5s)"),
        ("when: {every: 5s}, mode: hang", "when: `every` needs a `for`, the length of each window"),
        (
            "when: {requests: {for: 1.5}}, mode: hang",
            r#"when.requests.for="1.5": is not a whole number from 0 to 2^64-1"#,
        ),
        ("when: 5s, mode: hang", r#"when="5s": is not a mapping with after, for, every, requests, starts"#),
        ("when: , mode: hang", r#"when="null": is not a mapping with after, for, every, requests, starts"#),
        (
            "rate: 50%, burst: 1.5, mode: hang",
            r#"burst="1.5": a burst of 1.5 is too short for a rate of 50%: 2 is the minimum, with independent draws"#,
        ),
        ("burst: 5, mode: hang", r#"burst="5": a burst needs a rate of at most 99%, not 100%"#),
        ("ramp: 0s, mode: hang", "ramp: `ramp` must be more than 0; omit it to disable it"),
        (
            "delay: 50x",
            r#"delay="50x": is not a duration such as 250ms, 30s or 1m30s (units: us, ms, s, m, h, d); a bare number is in ms"#,
        ),
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
            "match: {}, mode: hang",
            "match: `match` is empty: set a `path`, `method`, `host`, `headers` or `query`, or omit it",
        ),
        ("match: /x, mode: hang", r#"match="/x": is not a mapping with path, method, host, headers, query"#),
        ("match: {paths: /x}, mode: hang", r#"match: unknown field "paths"; did you mean "path"?"#),
        (
            "match: {path: x}, mode: hang",
            r#"match.path="x": is not a path such as /orders, or /orders/* for everything below it, in printable ASCII without ?, # and spaces"#,
        ),
        ("match: {path: [/x]}, mode: hang", "match.path: is not text"),
        ("match: {method: [GET, G T]}, mode: hang", r#"match.method="G T": is not a method such as GET"#),
        (
            "match: {host: \"http://a\"}, mode: hang",
            r#"match.host="http://a": is not a host such as shop.example or shop.example:8080"#,
        ),
        ("match: {headers: [a]}, mode: hang", "match.headers: is not a mapping from names to values"),
        (
            "match: {headers: {a b: 1}}, mode: hang",
            r#"match.headers.a b="1": is not a header name such as X-Tenant"#,
        ),
        ("match: {headers: {A: b, a: c}}, mode: hang", r#"match.headers.a="c": a is given twice"#),
        (
            "match: {query: {a: [1]}}, mode: hang",
            "match.query.a: is not text; * requires only that it is present",
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
        assert_eq!(lines, [error.replace("{modes}", &request_modes().join(", "))], "{fields}");
    }
    for (target, mode, error) in [
        ("listener", "drop", "`match` does not go with target listener, which has no requests"),
        ("process", "exit", "does not go with target process"),
    ] {
        let plan = format!("faults: [{{name: a, target: {target}, mode: {mode}, match: {{path: /}}}}]");
        assert_eq!(errors(&plan), [format!("faults[0] (a): match: {error}")]);
    }
    // Both ways a rule can do nothing.
    assert_eq!(
        errors("faults: [{name: a, target: []}]"),
        ["faults[0] (a): target: `target` is empty; name at least one"]
    );
    assert_eq!(
        errors("faults: [{name: a, target: liveness}]"),
        ["faults[0] (a): the rule has no effect: set a `mode`, a `delay` or both"]
    );
}

#[test]
fn fields_of_modes_and_answers_are_refused_with_what_would_be_right() {
    for (fields, error) in [
        ("mode: hang, speed: 5", r#"speed="5": does not go with mode hang"#),
        (
            "mode: throttle, speed: 5 furlongs",
            r#"speed="5 furlongs": is not a size such as 16, 512B or 11KiB (units: B, KB, KiB, MB, MiB, GB, GiB)"#,
        ),
        ("mode: throttle, speed: 0", "speed: a speed of 0 bytes per second is not between 1 and 1073741824"),
        (
            "mode: throttle, speed: 2GiB/s",
            "speed: a speed of 2147483648 bytes per second is not between 1 and 1073741824",
        ),
        (
            "mode: throttle, status: 304",
            "status: mode throttle needs a body, which an answer with status 304 cannot have",
        ),
        ("mode: corrupt, share: 0%", "share: `share` must be more than 0%"),
        ("mode: corrupt, share: 0.1", r#"share="0.1": is ambiguous; write 0.1% or 10%"#),
        ("mode: corrupt, share: 101%", r#"share="101%": is not between 0% and 100%"#),
        ("mode: grpc, status: 500", r#"status="500": does not go with mode grpc"#),
        (
            "mode: grpc, grpc_status: UNAVAILABEL",
            r#"grpc_status="UNAVAILABEL": is not one of OK, CANCELLED, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED, RESOURCE_EXHAUSTED, FAILED_PRECONDITION, ABORTED, OUT_OF_RANGE, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS, UNAUTHENTICATED; did you mean "UNAVAILABLE"?"#,
        ),
        ("mode: hang, headers: {a: b}", "headers: does not go with mode hang"),
        ("delay: 5ms, forward: true", r#"forward="true": needs a `mode` that has this field"#),
        ("mode: truncate, forward: true", r#"forward="true": does not go with mode truncate"#),
        ("mode: close, forward: 1", r#"forward="1": is not true or false"#),
        ("mode: status, body_text: 5", r#"body_text="5": is not text; quote it"#),
        (
            "mode: status, status: 204, body_text: x",
            "body_text: `body_text` does not go with status 204, which has no body",
        ),
        ("mode: truncate, body_text: ''", "body_text: mode truncate needs a body: `body_text` is empty"),
        (
            "mode: status, headers: [a]",
            "headers: is not a mapping of names to values, such as {Retry-After: 5}",
        ),
        ("mode: status, headers: {a: true}", r#"headers="true": is not text, a number, or a list of these"#),
        (
            "mode: status, headers: {Content-Length: 5}",
            r#"headers: the header "content-length" frames the body; see `body_text`, and mode truncate"#,
        ),
    ] {
        assert_eq!(errors_of(fields), [error], "{fields}");
    }
}

#[test]
fn all_rules_are_reported_at_once_and_a_name_taken_twice_names_both_positions() {
    assert_eq!(
        errors(
            "seed: -1\nfaults:\n- {name: a, target: liveness, mode: hang}\n- {target: liveness, mode: hang}\n- {name: a, target: liv_ness, mode: hang}\n- 5\n- {name: A_b, target: liveness, mode: hang}"
        ),
        [
            r#"seed="-1": is not a whole number from 0 to 2^64-1"#,
            "faults[1]: `name` is missing",
            r#"faults[2] (a): target="liv_ness": is not one of liveness, readiness, startup, dependency, traffic, listener, process; did you mean "liveness"?"#,
            r#"faults[3]="5": is not a mapping with name, disabled, target, match, client, from, pods, when, start, until, stagger, rate, burst, ramp, delay, mode, status, location, body, drip, speed, share, grpc_status, grpc_message, alert, headers, body_text, forward, connection, stream, after, close_after, piece, piece_jitter, pause, code, size, cores, path, allow_node_pressure"#,
            r#"faults[4] (A_b): name: the name "A_b" is not a DNS label: 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit"#,
            "faults[2] (a): the name a is already used by faults[0]; each rule needs its own name",
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
    let many = |entry: fn(usize) -> String| (0..40_000).map(entry).collect::<Vec<_>>().join(",");
    let fields = many(|i| format!("f{i}: 1"));
    let errors_of_fields = errors(&format!("faults: [{{name: a, target: liveness, mode: hang, {fields}}}]"));
    assert_eq!(
        (errors_of_fields.len(), errors_of_fields[0].as_str()),
        (20, r#"faults[0] (a): unknown field "f0""#)
    );
    let names = many(|i| format!("t{i}"));
    assert_eq!(
        errors(&format!("faults: [{{name: a, target: [{names}], mode: hang}}]")),
        ["faults[0] (a): target: 40000 entries are more than the 1000 allowed"]
    );
    let table = many(|i| format!("p0.{i}: 1s"));
    assert_eq!(
        errors(&format!("faults: [{{name: a, target: liveness, delay: {{{table}}}}}]")),
        ["faults[0] (a): delay: 40000 entries are more than the 100 allowed"]
    );
}
