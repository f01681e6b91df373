//! YAML or JSON text to a tree, within a budget.

use std::collections::HashMap;
use std::fmt;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Number, Value};

/// The deepest nesting of a document.
const MAX_DEPTH: usize = 64;

/// The most values of a document, those that aliases repeat included.
const MAX_VALUES: usize = 200_000;

/// How many bytes of text weigh as much as one more value, where an alias repeats them.
const BYTES_PER_VALUE: usize = 16;

/// The longest text of a plan, in bytes.
pub const MAX_PLAN: usize = 1 << 20;

/// One document of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The line it starts at, from 1 on.
    pub line: usize,
    /// What it says.
    pub value: Value,
}

/// Why a text is no document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentError {
    /// Line and column, from 1 on; absent where it is about the whole.
    pub at: Option<(usize, usize)>,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It breaks the grammar.
    Syntax(String),
    /// It has more bytes than allowed.
    TooLong {
        /// Its bytes.
        bytes: usize,
        /// The bytes allowed.
        most: usize,
    },
    /// It nests deeper than allowed.
    TooDeep,
    /// It has more values than allowed; aliases repeat what they stand for.
    TooMany,
    /// An alias of a value that contains it, or that is not there.
    Alias,
    /// A key that is not a string, number or boolean.
    Key,
    /// A key that is there already.
    KeyTwice(String),
    /// A merge key.
    Merge,
    /// A tag of an application.
    Tag(String),
    /// A scalar that is not what its tag says.
    TagValue,
    /// Several documents where one is wanted.
    Several,
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.at {
            write!(f, "line {line}, column {column}: ")?;
        }
        match &self.problem {
            Problem::Syntax(text) => write!(f, "not YAML or JSON: {text}"),
            Problem::TooLong { bytes, most } => write!(f, "{bytes} bytes are more than the {most} allowed"),
            Problem::TooDeep => write!(f, "nested deeper than {MAX_DEPTH} levels"),
            Problem::TooMany => write!(f, "more than {MAX_VALUES} values, aliases written out"),
            Problem::Alias => f.write_str("an alias of a value that is not complete"),
            Problem::Key => f.write_str("a key must be a string"),
            Problem::KeyTwice(key) => write!(f, "the key {key:?} is there twice"),
            Problem::Merge => f.write_str("merge keys (<<) are not supported; write the fields out"),
            Problem::Tag(tag) => write!(f, "the tag {tag} is not supported"),
            Problem::TagValue => f.write_str("the value is not what its tag says"),
            Problem::Several => f.write_str("a second document; one is wanted"),
        }
    }
}

impl std::error::Error for DocumentError {}

/// The one document of a text; null where there is none.
pub fn parse(text: &str, most_bytes: usize) -> Result<Value, DocumentError> {
    let mut documents = parse_all(text, most_bytes)?;
    if let Some(second) = documents.get(1) {
        return Err(DocumentError { at: Some((second.line, 1)), problem: Problem::Several });
    }
    Ok(documents.pop().map_or(Value::Null, |document| document.value))
}

/// All documents of a text, without those that are empty.
pub fn parse_all(text: &str, most_bytes: usize) -> Result<Vec<Document>, DocumentError> {
    if text.len() > most_bytes {
        let problem = Problem::TooLong { bytes: text.len(), most: most_bytes };
        return Err(DocumentError { at: None, problem });
    }
    let mut documents = Vec::new();
    let mut builder = Builder::default();
    // Event by event, on a stack of our own: the parser's loader recurses as deep as the text says.
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let marker = error.marker();
            DocumentError {
                at: Some((marker.line(), marker.col() + 1)),
                problem: Problem::Syntax(error.info().to_owned()),
            }
        })?;
        match event {
            Event::DocumentStart(_) => builder = Builder::default(),
            Event::DocumentEnd => {
                if let Some(value) = builder.root.take().filter(|value| !value.is_null()) {
                    documents.push(Document { line: builder.line, value });
                }
            }
            event => builder
                .take(event, &span)
                .map_err(|problem| DocumentError { at: Some(position(&span)), problem })?,
        }
    }
    Ok(documents)
}

fn position(span: &Span) -> (usize, usize) {
    (span.start.line(), span.start.col() + 1)
}

#[derive(Default)]
struct Builder {
    line: usize,
    root: Option<Value>,
    open: Vec<Open>,
    anchors: HashMap<usize, (Value, usize)>,
    values: usize,
    weight: usize,
    repeated: usize,
}

/// A sequence or mapping that has not ended.
struct Open {
    anchor: usize,
    /// Weight before it, so that its own can be told.
    before: usize,
    kind: Kind,
}

enum Kind {
    Sequence(Vec<Value>),
    Mapping(Map<String, Value>, Option<String>),
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Problem> {
        if self.line == 0 {
            self.line = span.start.line();
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref())?;
                let weight = 1 + text.len() / BYTES_PER_VALUE;
                self.count(weight)?;
                self.anchor(anchor, &value, weight);
                self.put(value)
            }
            Event::Alias(anchor) => {
                let weight = self.anchors.get(&anchor).ok_or(Problem::Alias)?.1;
                self.repeated += weight;
                if self.repeated > MAX_VALUES {
                    return Err(Problem::TooMany);
                }
                self.count(weight)?;
                let value = self.anchors.get(&anchor).map_or(Value::Null, |(value, _)| value.clone());
                self.put(value)
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(anchor, tag.as_deref(), Kind::Sequence(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.open(anchor, tag.as_deref(), Kind::Mapping(Map::new(), None))
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { anchor, before, kind }) = self.open.pop() else { return Ok(()) };
                let value = match kind {
                    Kind::Sequence(values) => Value::Array(values),
                    Kind::Mapping(map, _) => Value::Object(map),
                };
                let weight = self.weight - before;
                self.anchor(anchor, &value, weight);
                self.put(value)
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, anchor: usize, tag: Option<&Tag>, kind: Kind) -> Result<(), Problem> {
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            return Err(Problem::Tag(tag.to_string()));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(Problem::TooDeep);
        }
        self.open.push(Open { anchor, before: self.weight, kind });
        self.count(1)
    }

    fn count(&mut self, weight: usize) -> Result<(), Problem> {
        self.values += 1;
        self.weight += weight;
        if self.values > MAX_VALUES { Err(Problem::TooMany) } else { Ok(()) }
    }

    fn anchor(&mut self, anchor: usize, value: &Value, size: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, (value.clone(), size));
        }
    }

    fn put(&mut self, value: Value) -> Result<(), Problem> {
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => self.root = Some(value),
            Some(Kind::Sequence(values)) => values.push(value),
            Some(Kind::Mapping(map, key)) => {
                if let Some(name) = key.take() {
                    map.insert(name, value);
                } else {
                    let name = match value {
                        Value::String(name) => name,
                        Value::Number(number) => number.to_string(),
                        Value::Bool(flag) => flag.to_string(),
                        _ => return Err(Problem::Key),
                    };
                    if name == "<<" {
                        return Err(Problem::Merge);
                    }
                    if map.contains_key(&name) {
                        return Err(Problem::KeyTwice(name));
                    }
                    *key = Some(name);
                }
            }
        }
        Ok(())
    }
}

/// A scalar by the core schema of YAML 1.2 (section 10.3.2).
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, Problem> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => Err(Problem::Tag(tag.to_string())),
        Some(tag) if tag.suffix == "str" => Ok(Value::from(text)),
        Some(tag) => {
            let value = plain(text);
            let fits = match tag.suffix.as_str() {
                "null" => value.is_null(),
                "bool" => value.is_boolean(),
                "int" => value.is_i64() || value.is_u64(),
                "float" => value.is_number(),
                _ => return Err(Problem::Tag(tag.to_string())),
            };
            if fits { Ok(value) } else { Err(Problem::TagValue) }
        }
        None if style == ScalarStyle::Plain => Ok(plain(text)),
        None => Ok(Value::from(text)),
    }
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::from(text), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok().map(Number::from);
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return u64::from_str_radix(octal, 8).ok().map(Number::from);
    }
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if digits.bytes().all(|c| c.is_ascii_digit()) {
        let positive = text.strip_prefix('+').unwrap_or(text);
        return positive
            .parse::<u64>()
            .map(Number::from)
            .or_else(|_| positive.parse::<i64>().map(Number::from))
            .ok();
    }
    let is_float = digits.bytes().all(|c| matches!(c, b'0'..=b'9' | b'.' | b'e' | b'E' | b'-' | b'+'));
    is_float.then(|| text.parse().ok().and_then(Number::from_f64)).flatten()
}
