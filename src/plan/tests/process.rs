//! Rules of target process.

use super::*;
use crate::fault::{ProcessMode, Size};

fn process(fields: &str) -> Rule {
    one(&format!("target: process, {fields}"))
}

fn errors_of_process(fields: &str) -> Vec<String> {
    errors(&format!("faults: [{{name: a, target: process, {fields}}}]"))
        .iter()
        .map(|line| line.strip_prefix("faults[0] (a): ").unwrap().to_owned())
        .collect()
}

#[test]
fn every_mode_of_the_process_has_its_fields_and_is_written_as_it_reads() {
    let disk = ProcessMode::Disk { path: "/scratch".into(), size: 64 << 20 };
    for (fields, mode) in [
        ("mode: exit", ProcessMode::Exit(1)),
        ("mode: exit, code: 0", ProcessMode::Exit(0)),
        ("mode: EXIT, code: '255', when: {after: 10s, starts: {for: 2}}, rate: 20%", ProcessMode::Exit(255)),
        ("mode: abort, pods: 30%, start: '2026-11-27T12:00:00Z'", ProcessMode::Abort),
        ("mode: memory, size: 80%, ramp: 30s", ProcessMode::Memory(Size::Percent(80.0))),
        ("mode: memory, size: 200MiB", ProcessMode::Memory(Size::Bytes(200 << 20))),
        ("mode: cpu, cores: 0.5, when: {for: 10s, every: 1m}", ProcessMode::Cpu(0.5)),
        ("mode: cpu, cores: 1500m, allow_node_pressure: true", ProcessMode::Cpu(1.5)),
        ("mode: ignore-term", ProcessMode::IgnoreTerm),
        ("mode: slow-term, delay: 90", ProcessMode::SlowTerm(Duration::from_secs(90))),
        ("mode: fds", ProcessMode::Fds),
        ("mode: disk, path: /scratch, size: 64MiB", disk),
    ] {
        let rule = process(fields);
        assert_eq!(rule.process(), Some(&mode), "{fields}");
        assert_eq!((rule.effect(), rule.targets().is_empty()), (mode.name(), true));
        assert_eq!(read_rule(&write_rule(&rule), ""), Ok(rule), "{fields}");
    }
    let written = write_rule(&process("mode: memory, size: 150%, allow_node_pressure: true"));
    assert_eq!(
        written,
        json!({"name": "a", "target": ["process"], "mode": "memory", "size": "150%", "allow_node_pressure": true})
    );
}

#[test]
fn wrong_process_faults_say_what_would_be_right() {
    for (fields, error) in [
        ("code: 3", "`mode` is missing"),
        (
            "mode: crash",
            r#"mode="crash": is not one of exit, abort, memory, cpu, ignore-term, slow-term, fds, disk"#,
        ),
        ("mode: exit, code: 256", r#"code="256": is not a whole number from 0 to 255"#),
        ("mode: exit, code: -1", r#"code="-1": is not a whole number from 0 to 255"#),
        ("mode: abort, code: 3", "code: does not go with mode abort"),
        ("mode: memory", "`size` is missing"),
        (
            "mode: memory, size: lots",
            r#"size="lots": is not a size such as 200MiB, or a share of the container's memory limit such as 80%"#,
        ),
        (
            "mode: memory, size: 201%",
            r#"size="201%": a size of 201% is not above 0% and at most 200% of the container's memory limit"#,
        ),
        ("mode: memory, size: 0", "size: a size of 0 has no effect"),
        ("mode: cpu", "`cores` is missing"),
        ("mode: cpu, cores: x", r#"cores="x": is not a number of cores such as 0.5 or 500m"#),
        ("mode: cpu, cores: 0", "cores: 0 is not a number of cores from 0.01 to 1024, such as 0.5"),
        ("mode: cpu, cores: 1, ramp: 5s", "ramp: does not go with mode cpu"),
        ("mode: slow-term", "`delay` is missing"),
        ("mode: slow-term, delay: 0", "delay: `delay` (0ns) must be more than 0 and at most 31536000s"),
        ("mode: disk, size: 1MiB", "`path` is missing"),
        (
            "mode: disk, path: /scratch, size: 50%",
            r#"size="50%": is not a size such as 16, 512B or 11KiB (units: B, KB, KiB, MB, MiB, GB, GiB)"#,
        ),
        (
            "mode: disk, path: scratch, size: 1MiB",
            r#"path: "scratch" is not an absolute path without . and .. such as /scratch"#,
        ),
        (
            "mode: disk, path: /scratch/../etc, size: 1MiB",
            r#"path: "/scratch/../etc" is not an absolute path without . and .. such as /scratch"#,
        ),
        (
            "mode: exit, client: kubelet",
            "client: `client` does not go with target process, which has no clients",
        ),
        (
            "mode: exit, when: {requests: {for: 3}}",
            "requests: `requests` does not go with target process, which has no requests",
        ),
        (
            "mode: exit, rate: 20%, burst: 2",
            "burst: `burst` does not go with target process, which has no requests",
        ),
        ("mode: exit, from: 10.0.0.0/8", "from: does not go with target process"),
        ("mode: exit, status: 500", "status: does not go with target process"),
        ("mode: exit, at: 5s", r#"unknown field "at""#),
        ("mode: exit, cod: 3", r#"unknown field "cod"; did you mean "code"?"#),
        ("mode: exit, allow_node_pressure: true", "allow_node_pressure: does not go with mode exit"),
        (
            "mode: cpu, cores: 2, allow_node_pressure: maybe",
            r#"allow_node_pressure="maybe": is not true or false"#,
        ),
    ] {
        assert_eq!(errors_of_process(fields), [error], "{fields}");
    }
    assert_eq!(
        errors("faults: [{name: a, target: [process, liveness], mode: exit}]"),
        [
            "faults[0] (a): target: process cannot be combined with other targets: it has its own modes; write a rule for each"
        ]
    );
    assert_eq!(
        errors_of("mode: hang, code: 3"),
        [r#"code="3": does not go with this target; it is for target process"#]
    );
}
