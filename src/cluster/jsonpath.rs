//! The subset of kubectl's `JSONPath` that conditions use.

use serde_json::Value;
use thiserror::Error;

/// Why a text is not a path. The message says what is expected.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum JsonPathError {
    /// An invalid step.
    #[error("contains {0:?} where .name, ['name'], [0], [*] or [?(@.name==\"value\")] is expected")]
    Step(String),
    /// An empty path.
    #[error("is empty; write {{.status.phase}}")]
    Empty,
}

/// A path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    /// From the end if negative.
    Index(i64),
    All,
    /// Elements with (or without) this value at the path.
    Where {
        path: JsonPath,
        equal: bool,
        value: String,
    },
}

impl JsonPath {
    /// Parses a path, with or without braces.
    pub(super) fn parse(text: &str) -> Result<Self, JsonPathError> {
        let text = text.trim();
        let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
        let inner = inner.trim();
        let inner = inner.strip_prefix('$').unwrap_or(inner);
        let mut steps = Vec::new();
        let mut rest = inner;
        while !rest.is_empty() {
            let (step, after) = step(rest).ok_or_else(|| JsonPathError::Step(rest.to_owned()))?;
            steps.push(step);
            rest = after;
        }
        if steps.is_empty() { Err(JsonPathError::Empty) } else { Ok(Self(steps)) }
    }

    /// Returns the values at the path.
    pub(super) fn find<'a>(&self, root: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![root];
        for step in &self.0 {
            found = found.into_iter().flat_map(|value| step.from(value)).collect();
        }
        found
    }
}

impl Step {
    fn from<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match self {
            Self::Field(name) => value.get(name).into_iter().collect(),
            Self::Index(index) => {
                let Some(list) = value.as_array() else { return Vec::new() };
                let index =
                    if *index < 0 { *index + i64::try_from(list.len()).unwrap_or(i64::MAX) } else { *index };
                usize::try_from(index).ok().and_then(|index| list.get(index)).into_iter().collect()
            }
            Self::All => children(value),
            Self::Where { path, equal, value: wanted } => {
                let holds =
                    |child: &&Value| path.find(child).into_iter().any(|found| comparable(found) == *wanted);
                children(value).into_iter().filter(|child| holds(child) == *equal).collect()
            }
        }
    }
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(list) => list.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    }
}

/// Converts a value for comparison: strings without quotes, other values as JSON.
pub(super) fn comparable(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// Parses the first step; returns it and the rest.
fn step(text: &str) -> Option<(Step, &str)> {
    if let Some(rest) = text.strip_prefix('[') {
        let end = end_of_bracket(rest)?;
        return Some((bracket(rest[..end].trim())?, &rest[end + 1..]));
    }
    let rest = text.strip_prefix('.')?;
    if rest.starts_with('[') {
        return step(rest);
    }
    let mut name = String::new();
    let mut characters = rest.char_indices();
    let mut end = rest.len();
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => name.push(characters.next()?.1),
            '.' | '[' => {
                end = at;
                break;
            }
            c if c.is_alphanumeric() || "_-/*".contains(c) => name.push(c),
            _ => return None,
        }
    }
    let step = if name == "*" { Step::All } else { Step::Field(name) };
    (end > 0).then_some((step, &rest[end..]))
}

/// Returns the position of the closing bracket, ignoring quotes and inner brackets.
fn end_of_bracket(text: &str) -> Option<usize> {
    let (mut quote, mut depth) = (None, 0);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(at),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn bracket(text: &str) -> Option<Step> {
    if text == "*" {
        return Some(Step::All);
    }
    if let Some(name) = quoted(text) {
        return Some(Step::Field(name.to_owned()));
    }
    if let Some(filter) = text.strip_prefix("?(").and_then(|text| text.strip_suffix(')')) {
        let (path, equal, value) = match (filter.split_once("=="), filter.split_once("!=")) {
            (Some((path, value)), _) => (path, true, value),
            (None, Some((path, value))) => (path, false, value),
            (None, None) => return None,
        };
        let path = JsonPath::parse(path.trim().strip_prefix('@')?).ok()?;
        let value = value.trim();
        let value = quoted(value).unwrap_or(value).to_owned();
        return Some(Step::Where { path, equal, value });
    }
    text.parse().ok().map(Step::Index)
}

fn quoted(text: &str) -> Option<&str> {
    let inner = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('\'').or_else(|| inner('"'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(path: &str, value: &Value) -> Vec<String> {
        JsonPath::parse(path).unwrap().find(value).into_iter().map(comparable).collect()
    }

    #[test]
    fn paths_lead_where_kubectl_s_lead() {
        let object = json!({
            "metadata": {"labels": {"a.b/c": "x"}},
            "status": {
                "phase": "Running",
                "n": 3,
                "conditions": [{"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "False"}],
            },
        });
        for (path, values) in [
            ("{.status.phase}", vec!["Running"]),
            (".status.phase", vec!["Running"]),
            ("{$.status['phase']}", vec!["Running"]),
            ("{.status.n}", vec!["3"]),
            ("{.metadata.labels.a\\.b/c}", vec!["x"]),
            ("{.metadata.labels['a.b/c']}", vec!["x"]),
            ("{.status.conditions[0].type}", vec!["Ready"]),
            ("{.status.conditions[-1].type}", vec!["Initialized"]),
            ("{.status.conditions[*].status}", vec!["True", "False"]),
            ("{.status.conditions[?(@.type==\"Ready\")].status}", vec!["True"]),
            ("{.status.conditions[?(@.type != 'Ready')].status}", vec!["False"]),
            ("{.metadata.labels.*}", vec!["x"]),
            ("{.status.none}", vec![]),
            ("{.status.conditions[7]}", vec![]),
            ("{.status.phase[0]}", vec![]),
        ] {
            assert_eq!(found(path, &object), values, "{path}");
        }
    }

    #[test]
    fn invalid_paths_are_rejected() {
        for path in [
            "",
            "{}",
            "status",
            "{.}",
            "{..a}",
            "{.a[}",
            "{.a[?(x==1)]}",
            "{.a[?(@.b)]}",
            "{.a[x]}",
            "{.a b}",
            "{.a}{.b}",
        ] {
            assert!(JsonPath::parse(path).is_err(), "{path}");
        }
    }
}
