//! Delays in all their shapes.

use super::*;

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
