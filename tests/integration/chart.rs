//! The Helm chart, as far as it follows from the program. `tests/e2e/chart.py` renders it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use kube_probesim::env::{VARIABLES, Variable};
use serde_json::{Value, json};

use crate::support::repository;

/// Variables that the chart sets by values of their own.
const OF_VALUES: [&str; 4] = ["PORT", "ADMIN_ADDRESS", "FAULTS_FILE", "STATE_DIR"];

/// `UPDATE_DOCS=1 cargo test --test integration chart::` rewrites the schema.
#[test]
fn the_schema_of_the_chart_has_every_variable_of_the_program() {
    let path = repository("manifests/helm/kube-probesim/values.schema.json");
    let mut schema: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let mut names: Vec<String> = VARIABLES
        .iter()
        .flat_map(Variable::names)
        .filter(|name| !OF_VALUES.contains(&name.as_str()))
        .collect();
    names.sort();
    assert!(names.len() > 50);
    let listed = &mut schema["properties"]["variables"]["propertyNames"]["enum"];
    if std::env::var_os("UPDATE_DOCS").is_some() {
        *listed = json!(names);
        fs::write(&path, serde_json::to_string_pretty(&schema).unwrap() + "\n").unwrap();
    } else {
        assert_eq!(*listed, json!(names), "UPDATE_DOCS=1 rewrites it");
    }
}
