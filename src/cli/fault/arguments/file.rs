//! Rules from a file.

use std::io::Write;
use std::path::Path;

use serde_json::Value;

use super::error::FaultUsageError;
use crate::file;
use crate::plan::document;

/// Reads the rules of a plan, or a single rule; `-` is standard input. Rules without a `ttl` get the one given.
pub(super) fn rules(path: &str, ttl: Option<&Value>) -> Result<Vec<Value>, FaultUsageError> {
    let rules = match document(path)? {
        Value::Object(mut plan) if plan.contains_key("faults") => match plan.remove("faults") {
            Some(Value::Array(rules)) => rules,
            _ => return Err(wrong(path, "`faults` is not a list of rules".to_owned())),
        },
        rule => vec![rule],
    };
    let with_ttl = |mut rule: Value| {
        if let (Some(fields), Some(ttl)) = (rule.as_object_mut(), ttl) {
            fields.entry("ttl").or_insert_with(|| ttl.clone());
        }
        rule
    };
    Ok(rules.into_iter().map(with_ttl).collect())
}

fn wrong(path: &str, reason: String) -> FaultUsageError {
    FaultUsageError::File(path.to_owned(), reason)
}

/// Reads a plan or a rule, an object in either case; `-` is standard input.
pub(in crate::cli) fn document(path: &str) -> Result<Value, FaultUsageError> {
    let wrong = |reason: String| wrong(path, reason);
    let named = Path::new(if path == "-" { "/dev/stdin" } else { path });
    let text = file::read_named(named, document::MAX_PLAN).map_err(|error| wrong(error.to_string()))?;
    let document =
        document::parse_document(&text, document::MAX_PLAN).map_err(|error| wrong(error.to_string()))?;
    for scalar in &document.ambiguous {
        // Ignore write errors: a lost warning must not fail the command.
        let _ = writeln!(std::io::stderr(), "kube-probesim fault: warning: {path}: {scalar}");
    }
    if document.value.is_object() {
        Ok(document.value)
    } else {
        Err(wrong("is neither a rule nor a plan".to_owned()))
    }
}
