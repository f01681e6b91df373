//! The table of variables against what reads them.

use std::collections::BTreeSet;

use super::*;

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
    let config = |pairs: &[(&str, &str)]| {
        // Which variables are set differs, and makes no difference.
        let config = Config { rule_variables: Vec::new(), ..loaded(pairs).config };
        format!("{config:?}")
    };
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
