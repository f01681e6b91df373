//! Rules for the process.

use serde_json::{Map, Value};

use super::FaultUsageError;
use crate::fault::ProcessModeInfo;

/// Checks that the mode is a process mode, and moves its delay and path to the fields of process rules.
pub(super) fn complete(rule: &mut Map<String, Value>) -> Result<(), FaultUsageError> {
    let mode = rule.get("mode").and_then(Value::as_str).ok_or(FaultUsageError::ProcessMode)?;
    if ProcessModeInfo::from_name(mode).is_none() {
        return Err(FaultUsageError::NotOfProcess(mode.to_owned()));
    }
    if let Some(Value::Object(delay)) = rule.get("delay")
        && delay.len() == 1
        && let Some(fixed) = delay.get("fixed").cloned()
    {
        rule.insert("delay".to_owned(), fixed);
    }
    // On request rules, `--path` belongs to the match.
    let path = rule.get_mut("match").and_then(Value::as_object_mut).and_then(|of| of.remove("path"));
    if let Some(path) = path {
        rule.insert("path".to_owned(), path);
    }
    if rule.get("match").and_then(Value::as_object).is_some_and(Map::is_empty) {
        rule.remove("match");
    }
    Ok(())
}
