//! Variables of process faults.

use super::*;

#[test]
fn each_group_makes_a_rule_for_the_process() {
    let rule = |name: &str, mode: &str, more: &Value| {
        let mut rule = json!({"name": name, "target": ["process"], "mode": mode});
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([rule])
    };
    for (pairs, expected) in [
        (
            &[("EXIT_AFTER", "5"), ("EXIT_CODE", "0")][..],
            rule("process-exit", "exit", &json!({"when": {"after": "5s"}, "code": 0})),
        ),
        (
            &[("EXIT_STARTS", "2"), ("STATE_DIR", "/state")],
            rule("process-exit", "exit", &json!({"when": {"starts": {"for": 2}}})),
        ),
        (
            &[("EXIT_RATE", "20"), ("EXIT_CODE", "3")],
            rule("process-exit", "exit", &json!({"rate": "20%", "code": 3})),
        ),
        (
            &[("MEMORY_SIZE", "80%"), ("MEMORY_AFTER", "10"), ("MEMORY_FOR", "1m"), ("MEMORY_EVERY", "5m")],
            rule(
                "process-memory",
                "memory",
                &json!({"when": {"after": "10s", "for": "1m", "every": "5m"}, "size": "80%"}),
            ),
        ),
        (
            &[("MEMORY_SIZE", "64MiB"), ("MEMORY_RAMP", "30")],
            rule("process-memory", "memory", &json!({"ramp": "30s", "size": 67_108_864})),
        ),
        (
            &[("CPU_CORES", "500m"), ("CPU_FOR", "10")],
            rule("process-cpu", "cpu", &json!({"when": {"for": "10s"}, "cores": 0.5})),
        ),
        (&[("IGNORE_TERM", "true")], rule("process-ignore-term", "ignore-term", &json!({}))),
        (&[("SLOW_TERM", "90")], rule("process-slow-term", "slow-term", &json!({"delay": "1m30s"}))),
    ] {
        assert_eq!(rules(pairs), expected, "{pairs:?}");
    }
    for off in [
        &[("EXIT_AFTER", "0")][..],
        &[("EXIT_RATE", "0"), ("EXIT_STARTS", "0")],
        &[("MEMORY_SIZE", "0"), ("CPU_CORES", "0")],
        &[("IGNORE_TERM", "false"), ("SLOW_TERM", "0")],
    ] {
        assert_eq!(rules(off), json!([]), "{off:?}");
    }
}

#[test]
fn wrong_process_variables_say_what_would_be_right() {
    for (pairs, expected) in [
        (
            &[("EXIT_CODE", "256"), ("EXIT_AFTER", "5")][..],
            r#"EXIT_CODE="256": is not a whole number from 0 to 255"#,
        ),
        (
            &[("EXIT_CODE", "3")],
            r#"EXIT_CODE="3": needs EXIT_AFTER, EXIT_STARTS or EXIT_RATE (100% is at once)"#,
        ),
        (
            &[("EXIT_STARTS", "2")],
            r#"EXIT_STARTS="2": needs STATE_DIR: without it, every start counts as the first"#,
        ),
        (
            &[("EXIT_RATE", "20"), ("SEED", "42")],
            r#"EXIT_RATE="20": a rate below 100% with a seed needs STATE_DIR: without it, every start draws the same"#,
        ),
        (
            &[("FAULTS", "faults: [{name: a, target: process, mode: exit, when: {starts: {for: 1}}}]")],
            "FAULTS: a: when.starts: needs STATE_DIR: without it, every start counts as the first",
        ),
        (&[("MEMORY_AFTER", "5")], r#"MEMORY_AFTER="5": needs MEMORY_SIZE"#),
        (&[("CPU_FOR", "5")], r#"CPU_FOR="5": needs CPU_CORES"#),
        (
            &[("MEMORY_SIZE", "300%")],
            r#"MEMORY_SIZE="300%": a size of 300% is not above 0% and at most 200% of the container's memory limit"#,
        ),
        (
            &[("MEMORY_SIZE", "1MiB"), ("MEMORY_EVERY", "5")],
            r#"MEMORY_EVERY="5": `every` needs a `for`, the length of each window"#,
        ),
        (
            &[("CPU_CORES", "1"), ("CPU_FOR", "9"), ("CPU_EVERY", "5")],
            r#"CPU_FOR="9": `for` (9s) must be shorter than `every` (5s)"#,
        ),
        (
            &[("CPU_CORES", "-1")],
            r#"CPU_CORES="-1": -1 is not a number of cores from 0.01 to 1024, such as 0.5"#,
        ),
        (
            &[("MEMORY_SIZE", "1MiB"), ("MEMORY_RAMP", "1ms")],
            "MEMORY_SIZE: `ramp` (1ms) must be at least 10ms",
        ),
    ] {
        assert_eq!(errors(pairs), [expected], "{pairs:?}");
    }
}
