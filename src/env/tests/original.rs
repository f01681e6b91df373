//! Variables of the original, with the meaning that they have there.

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
    assert_eq!(loaded(&[]).config.probe_address, BindAddress { ip: None, port: 8080 });
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
    assert_eq!(rules(&[("FAIL_COUNT", "5"), ("RECOVERY_PERIOD", "3")]), both(json!({"after": 5, "for": 3})));
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
    assert_eq!(
        rules(&[("DISCONNECT_AFTER", "30"), ("RECONNECT_AFTER", "10")]),
        partition(json!({"after": "30m", "for": "10m"}))
    );
    assert_eq!(rules(&[("PARTITION_AFTER", "30")]), partition(json!({"after": "30m"})));
    for pairs in [&[("DISCONNECT_AFTER", "30")][..], &[("DISCONNECT_AFTER", "30"), ("RECONNECT_AFTER", "0")]]
    {
        assert_eq!(rules(pairs), json!([]), "{pairs:?}");
        assert_eq!(
            warnings(pairs),
            [
                "DISCONNECT_AFTER: has no effect without RECONNECT_AFTER, as in the original; PARTITION_AFTER by itself lasts forever"
            ]
        );
    }
    assert_eq!(rules(&[("RECONNECT_AFTER", "10")]), json!([]));
    assert_eq!(
        warnings(&[("RECONNECT_AFTER", "10")]),
        ["RECONNECT_AFTER: has no effect without DISCONNECT_AFTER"]
    );
    assert_eq!(rules(&[("PARTITION_FOR", "10s")]), partition(json!({"for": "10s"})));
    assert_eq!(
        rules(&[("PARTITION_AFTER", "1"), ("RECONNECT_AFTER", "2"), ("FAILURE_STATUS", "503")]),
        json!([status("readiness-partition", &json!({"when": {"after": "1m", "for": "2m"}, "status": 503}))])
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
        [r#"FAIL_DEPENDENCY="yes": is not one of 1, t, T, true, True, TRUE, 0, f, F, false, False, FALSE"#]
    );
    assert!(!loaded(&[("READINESS_CHECKS_DEPENDENCY", "f")]).config.readiness_checks_dependency);
    assert!(loaded(&[]).config.readiness_checks_dependency);
}

#[test]
fn go_s_way_to_write_a_number_is_taken_with_a_sign() {
    // `Atoi` takes a plus sign.
    assert_eq!(rules(&[("LATENCY", "+50")])[0], delay("liveness-latency", &json!("50ms")));
    assert_eq!(rules(&[("FAILURE_RATE", "+20")])[0], status("liveness-rate", &json!({"rate": "20%"})));
    assert_eq!(rules(&[("RECOVERY_PERIOD", "+3")])[0]["when"], json!({"requests": {"for": 3}}));
}

#[test]
fn a_negative_or_unparsable_value_is_an_error_where_the_original_took_it_for_nothing() {
    for name in [
        "FAILURE_RATE",
        "LATENCY",
        "LIVENESS_FAIL_AFTER_TIME",
        "READINESS_FAIL_AFTER_TIME",
        "DISCONNECT_AFTER",
        "RECONNECT_AFTER",
        "FAIL_COUNT",
        "RECOVERY_PERIOD",
        "FAIL_DEPENDENCY",
        "PORT",
    ] {
        for value in ["-1", "some", "1,5", "0x10"] {
            let errors = errors(&[(name, value)]);
            assert!(
                errors.len() == 1 && errors[0].starts_with(&format!("{name}=\"{value}\": ")),
                "{errors:?}"
            );
        }
    }
}

#[test]
fn a_value_with_a_unit_is_taken_where_the_original_took_it_for_nothing() {
    assert_eq!(rules(&[("LATENCY", "1s")])[0], delay("liveness-latency", &json!("1s")));
    assert_eq!(rules(&[("FAILURE_RATE", "12.5%")])[0], status("liveness-rate", &json!({"rate": "12.5%"})));
    assert_eq!(
        rules(&[("DISCONNECT_AFTER", "90s"), ("RECONNECT_AFTER", "1m")])[0]["when"],
        json!({"after": "1m30s", "for": "1m"})
    );
}
