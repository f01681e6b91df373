//! Reads strict JSON, for request bodies.
//!
//! Duplicate keys are errors, and memory is limited as for YAML.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::budget::ParseBudget;
use super::error::{DocumentError, DocumentProblem, MAX_DEPTH};
use crate::plan::error::shown;

/// The JSON value in `bytes`, at most `limit` of them.
///
/// # Errors
///
/// It is not JSON, has a duplicate key, or is too large; with line and column.
pub fn parse_json(bytes: &[u8], limit: usize) -> Result<Value, DocumentError> {
    if bytes.len() > limit {
        return Err(DocumentError::whole(DocumentProblem::TooLong { length: bytes.len(), limit }));
    }
    let state = Building { budget: Cell::new(ParseBudget::new(limit)), problem: RefCell::new(None) };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let read = ValueSeed(&state, 0).deserialize(&mut deserializer).and_then(|value| {
        deserializer.end()?;
        Ok(value)
    });
    read.map_err(|error| {
        // serde_json embeds our message in its own, followed by the position.
        let problem = state.problem.take().unwrap_or_else(|| {
            let text = error.to_string();
            let info = text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]);
            DocumentProblem::Json(shown(info))
        });
        DocumentError { line: error.line(), column: error.column(), problem }
    })
}

struct Building {
    budget: Cell<ParseBudget>,
    problem: RefCell<Option<DocumentProblem>>,
}

impl Building {
    fn fail<E: serde::de::Error>(&self, problem: DocumentProblem) -> E {
        let error = E::custom("");
        self.problem.replace(Some(problem));
        error
    }

    fn spend<E: serde::de::Error>(&self, bytes: usize) -> Result<(), E> {
        let mut budget = self.budget.get();
        let spent = budget.spend(1, bytes);
        self.budget.set(budget);
        spent.map_err(|problem| self.fail(problem))
    }
}

#[derive(Clone, Copy)]
struct ValueSeed<'a>(&'a Building, usize);

impl ValueSeed<'_> {
    /// The seed for the values inside a list or a mapping.
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.1 >= MAX_DEPTH {
            Err(self.0.fail(DocumentProblem::TooDeep))
        } else {
            Ok(Self(self.0, self.1 + 1))
        }
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Value, E> {
        self.0.spend(0)?;
        Ok(value.into())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        self.0.spend(0)?;
        Ok(value.into())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        self.0.spend(0)?;
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        self.0.spend(0)?;
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.0.spend(value.len())?;
        Ok(value.into())
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.0.spend(0)?;
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.0.spend(ParseBudget::LIST)?;
        let (mut list, inner) = (Vec::new(), self.inner()?);
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        list.shrink_to_fit();
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        self.0.spend(ParseBudget::MAPPING)?;
        let (mut map, inner) = (Map::new(), self.inner()?);
        while let Some(key) = fields.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(self.0.fail(DocumentProblem::DuplicateKey(shown(&key))));
            }
            self.0.spend::<A::Error>(ParseBudget::FIELD + key.len())?;
            let value = fields.next_value_seed(inner)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::super::MAX_PLAN;
    use super::*;
    use serde_json::json;

    fn error(text: &str) -> String {
        parse_json(text.as_bytes(), MAX_PLAN).unwrap_err().to_string()
    }

    #[test]
    fn json_is_read_as_serde_json_reads_it() {
        let text =
            r#"{"a": [1, -2, 1.5, 18446744073709551615, true, null, "\u00e9\n"], "b": {}, "c": {"d": []}}"#;
        let value: Value = serde_json::from_str(text).unwrap();
        assert_eq!(parse_json(text.as_bytes(), MAX_PLAN), Ok(value));
        assert_eq!(parse_json(b"5", MAX_PLAN), Ok(json!(5)));
    }

    #[test]
    fn what_is_not_json_is_named_with_its_place() {
        assert_eq!(error("{a: 1}"), "line 1 column 2: is not JSON: key must be a string");
        assert_eq!(error("{\"a\": 1} x"), "line 1 column 10: is not JSON: trailing characters");
        assert!(error("").contains("EOF while parsing a value"), "{}", error(""));
        assert!(error(&"[".repeat(1000)).contains("nested deeper than 64"));
    }

    #[test]
    fn a_key_given_twice_is_refused_and_named() {
        let text = "{\"a\": {\"status\": 500,\n \"status\": 503}}";
        assert_eq!(error(text), "line 2 column 9: the key \"status\" is given twice");
    }

    #[test]
    fn many_small_mappings_are_too_much() {
        // Each takes 0.4 KB.
        let text = format!("[{}{{}}]", "{\"a\":0},".repeat(20_000));
        assert!(error(&text).contains("needs more than"), "{}", error(&text));
    }

    #[test]
    fn a_list_takes_no_more_memory_than_its_values() {
        let value = parse_json(b"[[[0]], [1, 2, 3, 4, 5]]", MAX_PLAN).unwrap();
        for (place, length) in [("", 2), ("/0", 1), ("/0/0", 1), ("/1", 5)] {
            let Some(Value::Array(items)) = value.pointer(place) else { panic!("{place}") };
            assert_eq!((items.len(), items.capacity()), (length, length), "{place}");
        }
        let text = format!("[{}0]", "[[0]],".repeat(30_000));
        assert!(error(&text).contains("more than"), "{}", error(&text));
    }
}
