//! Objects of the API, without unused parts.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::text::prefix;

/// Size limit of a text of an object in a message, in bytes.
const MAX_TEXT: usize = 200;

/// An object. Unless it is `WHOLE`, data, templates, managed fields and annotations are skipped: they take most of the
/// memory.
#[derive(Debug)]
pub(super) struct Object<const WHOLE: bool>(pub(super) Value);

/// Whether a part is skipped.
fn is_skipped<const WHOLE: bool>(parent: &str, key: &str) -> bool {
    let keys: &[&str] = match (parent, WHOLE) {
        ("metadata", true) => &["managedFields"],
        (_, true) => &[],
        ("", false) => &["data", "binaryData", "stringData"],
        ("metadata", false) => &["managedFields", "annotations"],
        (_, false) => &["template", "jobTemplate", "containers", "initContainers", "volumes"],
    };
    keys.contains(&key)
}

impl<'de, const WHOLE: bool> Deserialize<'de> for Object<WHOLE> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Part::<WHOLE>("").deserialize(deserializer).map(Self)
    }
}

/// The part of an object with this key of its root; the root has an empty key.
struct Part<const WHOLE: bool>(&'static str);

impl<'de, const WHOLE: bool> DeserializeSeed<'de> for Part<WHOLE> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, const WHOLE: bool> Visitor<'de> for Part<WHOLE> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of the Kubernetes API")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if is_skipped::<WHOLE>(self.0, &key) {
                entries.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = match (self.0, key.as_str()) {
                ("", "metadata") => entries.next_value_seed(Part::<WHOLE>("metadata"))?,
                ("", "spec") => entries.next_value_seed(Part::<WHOLE>("spec"))?,
                _ => entries.next_value()?,
            };
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }

    // Custom kinds may have any type of value under `spec`.
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}

/// Returns the string at a pointer such as `/metadata/name`; empty if there is none.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Returns the number at a pointer.
pub(super) fn number(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

/// Returns the entry of `status.conditions` with this type, case-insensitive.
pub(super) fn condition<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|condition| text(condition, "/type").eq_ignore_ascii_case(name))
}

/// Shortens a text of the server, and removes control characters.
pub(super) fn one_line(text: &str) -> String {
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() > MAX_TEXT {
        line.truncate(prefix(&line, MAX_TEXT).len());
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"metadata":{"name":"a","managedFields":[{"f":{}}],"annotations":{"x":"y"}},
        "spec":{"replicas":2,"template":{"spec":{}}},"data":{"k":"v"},"status":{"n":1.5}}"#;

    #[test]
    fn unused_parts_are_not_kept() {
        let object: Object<false> = serde_json::from_str(TEXT).unwrap();
        let expected = r#"{"metadata":{"name":"a"},"spec":{"replicas":2},"status":{"n":1.5}}"#;
        assert_eq!(object.0.to_string(), expected);
        let object: Object<true> = serde_json::from_str(TEXT).unwrap();
        assert_eq!(text(&object.0, "/data/k"), "v");
        assert_eq!(object.0.pointer("/metadata/managedFields"), None);
    }

    #[test]
    fn a_spec_of_any_type_is_read() {
        for spec in ["\"x\"", "[1,{}]", "null", "true", "-1", "1", "0.5"] {
            let object: Object<false> = serde_json::from_str(&format!("{{\"spec\":{spec}}}")).unwrap();
            assert_eq!(object.0.pointer("/spec").unwrap().to_string(), spec.replace(' ', ""));
        }
        assert!(serde_json::from_str::<Object<false>>("{\"spec\":").is_err());
    }

    #[test]
    fn texts_of_a_server_stay_short_and_on_one_line() {
        assert_eq!(one_line("a\nb\x1b[1m"), "a b [1m");
        assert!(one_line(&"ä".repeat(1000)).len() < 210);
    }
}
