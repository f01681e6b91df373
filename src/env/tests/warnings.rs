//! Variables that are misspelt, misplaced or without effect.

use super::*;

#[test]
fn misspelt_variables_are_warned_about() {
    assert_eq!(
        warnings(&[("FAILURE_RATES", "20"), ("READYNESS_LATENCY", "5"), ("READINESS_FAIL_AFTER", "5")]),
        [
            "FAILURE_RATES: unknown variable, ignored; did you mean FAILURE_RATE?",
            "READINESS_FAIL_AFTER: unknown variable, ignored; did you mean READINESS_FAIL_AFTER_TIME?",
            "READYNESS_LATENCY: unknown variable, ignored; did you mean READINESS_LATENCY?",
        ]
    );
}

#[test]
fn a_prefix_that_has_no_meaning_is_warned_about() {
    assert_eq!(
        warnings(&[("LIVENESS_PARTITION_AFTER", "5"), ("STARTUP_STARTUP_DELAY", "5")]),
        [
            "LIVENESS_PARTITION_AFTER: ignored: PARTITION_AFTER does not support the prefix LIVENESS_; did you mean PARTITION_AFTER?",
            "STARTUP_STARTUP_DELAY: ignored: STARTUP_DELAY does not support the prefix STARTUP_; did you mean STARTUP_DELAY?",
        ]
    );
}

#[test]
fn variables_without_effect_are_warned_about() {
    for (pairs, expected) in [
        (
            &[("FAILURE_BODY", "5"), ("FAILURE_MODE", "status"), ("PARTITION_MODE", "drop")][..],
            &[
                "FAILURE_BODY: has no effect without FAILURE_MODE=truncate, body-hang, ",
                "FAILURE_MODE: has no effect without a failure, such as FAILURE_RATE",
                "PARTITION_MODE: has no effect without PARTITION_AFTER or PARTITION_FOR",
            ][..],
        ),
        (&[("SEED", "1"), ("FAULTS", "seed: 2")], &["SEED: overrides the seed of FAULTS"]),
        (
            &[("FAILURE_STATUS", "503")],
            &["FAILURE_STATUS: has no effect without a failure, such as FAILURE_RATE"],
        ),
        (
            &[("LIVENESS_FAILURE_STATUS", "503"), ("READINESS_FAILURE_RATE", "5")],
            &["LIVENESS_FAILURE_STATUS: has no effect without a failure, such as FAILURE_RATE"],
        ),
        (
            &[("FAILURE_STATUS", "503"), ("FAILURE_MODE", "hang"), ("FAILURE_RATE", "5")],
            &["FAILURE_STATUS: has no effect without FAILURE_MODE=status, truncate, "],
        ),
        // The status of a partition is that of readiness.
        (
            &[("FAILURE_STATUS", "503"), ("FAILURE_MODE", "hang"), ("PARTITION_FOR", "5")],
            &["FAILURE_MODE: has no effect without a failure, such as FAILURE_RATE"],
        ),
    ] {
        let warnings = warnings(pairs);
        assert_eq!(warnings.len(), expected.len(), "{pairs:?}: {warnings:?}");
        for (warning, expected) in warnings.iter().zip(expected) {
            assert!(warning.starts_with(expected), "{pairs:?}: {warning}");
        }
    }
}

#[test]
fn what_acts_on_traffic_needs_paths_that_are_traffic() {
    for (pairs, expected) in [
        (
            &[("TRAFFIC_FAILURE_RATE", "20")][..],
            &["TRAFFIC_FAILURE_RATE: has no effect without TRAFFIC_PATHS"][..],
        ),
        (
            &[(
                "FAULTS",
                "faults: [{name: a, target: traffic, mode: status}, {name: b, target: [traffic, liveness], mode: status}]",
            )],
            &["FAULTS: faults[0] (a): has no effect without TRAFFIC_PATHS"],
        ),
        (&[("TRAFFIC_FAILURE_RATE", "20"), ("TRAFFIC_PATHS", "/api/*")], &[]),
        (&[("TRAFFIC_FAILURE_RATE", "0")], &[]),
        (&[("FAILURE_RATE", "20")], &[]),
    ] {
        assert_eq!(warnings(pairs), expected, "{pairs:?}");
    }
}

#[test]
fn strict_makes_every_warning_an_error() {
    let error = |warning: &str| format!("{warning} (an error, since STRICT=true)");
    assert_eq!(
        errors(&[
            ("STRICT", "true"),
            ("LATENCE", "5"),
            ("LIVENESS_SEED", "5"),
            ("FAIL_COUNT", "5"),
            ("PORT", "70000"),
        ]),
        [
            error("FAIL_COUNT: has no effect without RECOVERY_PERIOD"),
            error("LATENCE: unknown variable, ignored; did you mean LATENCY?"),
            error("LIVENESS_SEED: ignored: SEED does not support the prefix LIVENESS_; did you mean SEED?"),
            r#"PORT="70000": is not a whole number from 0 to 65535"#.to_owned(),
        ]
    );
    for harmless in [[("STRICT", "true"), ("TZ", "")], [("STRICT", "0"), ("LATENCE", "5")]] {
        assert!(load_pairs(&harmless).is_ok(), "{harmless:?}");
    }
}

#[test]
fn variables_of_services_neither_count_as_ours_nor_warn() {
    let loaded = loaded(&[
        ("STRICT", "true"),
        ("DEPENDENCY_PORT", "tcp://10.0.0.1:80"),
        ("DEPENDENCY_SERVICE_HOST", "10.0.0.1"),
        ("READINESS_SERVICE_HOST", "10.0.0.2"),
        ("READINESS_SERVICE_PORT", "80"),
        ("LIVENESS_PORT", "tcp://10.0.0.3:80"),
        ("LIVENESS_PORT_80_TCP", "tcp://10.0.0.3:80"),
        ("LIVENESS_PORT_80_TCP_PROTO", "tcp"),
        ("PROBESIM_PORT", "tcp://10.0.0.4:80"),
        ("FAILURE_PORT", "tcp://10.0.0.4:80"),
        ("KUBERNETES_SERVICE_PORT_HTTPS", "443"),
        ("PATH", "/usr/bin"),
        ("HOSTNAME", "web-0"),
    ]);
    assert_eq!(loaded.warnings, []);
    let effective: Vec<String> = loaded.effective.iter().map(ToString::to_string).collect();
    assert_eq!(effective, ["STRICT=true"]);
    assert_eq!(loaded.config.plan, Plan::default());
    // A value of another form was written by a person.
    assert_eq!(
        warnings(&[("LIVENESS_PORT", "9000")]),
        ["LIVENESS_PORT: ignored: PORT does not support the prefix LIVENESS_; did you mean PORT?"]
    );
}

#[test]
fn a_service_may_have_any_name_of_ours() {
    let services = [
        "UPSTREAM",
        "UPSTREAM_PORT",
        "LIVENESS",
        "PROXY",
        "PROXIES",
        "PORT",
        "ADMIN",
        "TLS",
        "GRPC",
        "FAILURE",
    ];
    for service in services {
        let link = |(end, value): (&str, &str)| (format!("{service}_{end}"), value.to_owned());
        let links = [
            ("SERVICE_HOST", "10.0.0.1"),
            ("SERVICE_PORT", "8080"),
            ("SERVICE_PORT_HTTP_ADMIN", "8080"),
            ("PORT", "tcp://10.0.0.1:8080"),
            ("PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("PORT_8080_TCP_PROTO", "tcp"),
            ("PORT_8080_TCP_PORT", "8080"),
            ("PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("PORT_53_UDP_ADDR", "fd00::1"),
        ];
        let links: Vec<_> =
            links.map(link).into_iter().chain([("STRICT".to_owned(), "1".to_owned())]).collect();
        let pairs: Vec<(&str, &str)> =
            links.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let loaded = loaded(&pairs);
        assert_eq!((loaded.warnings, loaded.config.upstream), (Vec::new(), None), "{service}");
    }
}

#[test]
fn a_scalar_of_the_plan_that_yaml_1_1_reads_differently_is_a_warning() {
    assert_eq!(loaded(&[("FAULTS", "seed: 010")]).config.seed.seed, Some(10));
    assert_eq!(
        warnings(&[("FAULTS", "seed: 010")]),
        [
            "FAULTS: line 1 column 7: 010 is read as YAML 1.2; YAML 1.1 reads 8: write the value that is meant, or put text \
             in quotes"
        ]
    );
}
