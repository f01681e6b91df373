//! YAML or JSON text to values.
//!
//! JSON is read as the YAML it is. The tree is built from the parser's events with a stack of our own, so that neither
//! depth nor aliases cost more than the budget allows.

mod budget;
mod error;
mod json;
mod scalar;

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Value};

use budget::Budget;
pub use error::{DocumentError, Problem};
pub use json::parse_json;

/// The largest plan, in bytes.
pub const MAX_PLAN: usize = 1 << 20;

/// How deep lists and mappings may be nested.
const MAX_DEPTH: usize = 64;

/// One document of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The line on which its content starts, from 1 on.
    pub line: usize,
    /// Its content; null where it is empty.
    pub value: Value,
}

/// The one document of `text`, which may have `limit` bytes.
pub fn parse(text: &str, limit: usize) -> Result<Value, DocumentError> {
    // The YAML parser holds all tokens of a flow collection at once, a hundred bytes for each of the text.
    if text.trim_start().starts_with(['{', '[']) && check_characters(text).is_ok() {
        match parse_json(text.as_bytes(), limit) {
            Ok(value) => return Ok(value),
            Err(error) if matches!(error.problem, Problem::TooManyNodes(_) | Problem::TooMuchMemory(_)) => {
                return Err(error);
            }
            // Flow collections of YAML, and errors in its parser's words.
            Err(_) => {}
        }
    }
    let mut documents = parse_all(text, limit)?;
    match (documents.pop(), documents.len()) {
        (Some(document), 0) => Ok(document.value),
        (None, _) => Err(DocumentError::whole(Problem::Count(0))),
        (_, others) => Err(DocumentError::whole(Problem::Count(others + 1))),
    }
}

/// All documents of `text`, which may have `limit` bytes.
pub fn parse_all(text: &str, limit: usize) -> Result<Vec<Document>, DocumentError> {
    if text.len() > limit {
        return Err(DocumentError::whole(Problem::TooLong { length: text.len(), limit }));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    check_characters(text)?;
    let mut builder = Builder::new(limit);
    let mut parser = Parser::new_from_str(text);
    // Events are pulled: the parser's own `load` calls itself for each level of nesting.
    while let Some(event) = parser.next_event() {
        let (event, span) = event
            .map_err(|error| DocumentError::at(error.marker(), Problem::Syntax(error.info().to_owned())))?;
        if event == Event::StreamEnd {
            break;
        }
        builder.take(event, &span)?;
    }
    Ok(builder.documents)
}

/// The parser takes a NUL for the end of the text and lets other characters through.
fn check_characters(text: &str) -> Result<(), DocumentError> {
    let (mut line, mut column) = (1, 1);
    for c in text.chars() {
        match c {
            '\n' => (line, column) = (line + 1, 0),
            '\t' | '\r' | '\u{85}' => {}
            '\u{fffe}' | '\u{ffff}' | '\u{feff}' => {
                return Err(DocumentError { line, column, problem: Problem::Character(c) });
            }
            c if c.is_control() => {
                return Err(DocumentError { line, column, problem: Problem::Character(c) });
            }
            _ => {}
        }
        column += 1;
    }
    Ok(())
}

/// What a value costs once it is copied.
#[derive(Clone, Copy, Default)]
struct Cost {
    nodes: usize,
    bytes: usize,
    depth: usize,
}

impl Cost {
    fn add(&mut self, part: Self) {
        self.nodes += part.nodes;
        self.bytes += part.bytes;
        self.depth = self.depth.max(part.depth + 1);
    }
}

/// A list or mapping that is not complete.
struct Frame {
    content: Content,
    anchor: usize,
    cost: Cost,
}

enum Content {
    List(Vec<Value>),
    Mapping { fields: Map<String, Value>, key: Option<String> },
}

struct Builder {
    budget: Budget,
    /// Bytes of copies that aliases made.
    copied: usize,
    limit: usize,
    stack: Vec<Frame>,
    anchors: HashMap<usize, (Value, Cost)>,
    open: HashSet<usize>,
    line: Option<usize>,
    root: Value,
    documents: Vec<Document>,
}

impl Builder {
    fn new(limit: usize) -> Self {
        Self {
            budget: Budget::new(limit),
            copied: 0,
            limit,
            stack: Vec::new(),
            anchors: HashMap::new(),
            open: HashSet::new(),
            line: None,
            root: Value::Null,
            documents: Vec::new(),
        }
    }

    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), DocumentError> {
        let mark = &span.start;
        if !matches!(event, Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd) {
            self.line.get_or_insert(mark.line());
        }
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.anchors.clear();
                self.line = None;
                Ok(())
            }
            Event::DocumentEnd => {
                let line = self.line.take().unwrap_or(mark.line());
                self.documents.push(Document { line, value: self.root.take() });
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.scalar(&text, style, anchor, tag.as_deref(), mark)
            }
            Event::Alias(id) => self.alias(id, mark),
            Event::SequenceStart(anchor, tag) => {
                self.start(Content::List(Vec::new()), anchor, tag.as_deref(), "seq", mark)
            }
            Event::MappingStart(anchor, tag) => {
                let content = Content::Mapping { fields: Map::new(), key: None };
                self.start(content, anchor, tag.as_deref(), "map", mark)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(mark),
        }
    }

    fn start(
        &mut self,
        content: Content,
        anchor: usize,
        tag: Option<&Tag>,
        kind: &str,
        mark: &Marker,
    ) -> Result<(), DocumentError> {
        if let Some(tag) = tag
            && !(tag.is_yaml_core_schema() && tag.suffix == kind)
        {
            return Err(DocumentError::at(mark, Problem::Tag(crate::plan::error::shown(&tag.to_string()))));
        }
        if self.expects_key() {
            return Err(DocumentError::at(mark, Problem::ComplexKey));
        }
        if self.stack.len() >= MAX_DEPTH {
            return Err(DocumentError::at(mark, Problem::TooDeep));
        }
        if anchor > 0 {
            self.open.insert(anchor);
        }
        self.stack.push(Frame { content, anchor, cost: Cost { nodes: 1, bytes: 0, depth: 1 } });
        Ok(())
    }

    fn end(&mut self, mark: &Marker) -> Result<(), DocumentError> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let value = match frame.content {
            Content::List(items) => Value::Array(items),
            Content::Mapping { fields, .. } => {
                self.allocate(Budget::MAPPING, mark)?;
                Value::Object(fields)
            }
        };
        self.open.remove(&frame.anchor);
        self.spend(Cost { nodes: 1, ..Cost::default() }, mark)?;
        self.complete(value, frame.anchor, frame.cost, mark)
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        mark: &Marker,
    ) -> Result<(), DocumentError> {
        let cost = Cost { nodes: 1, bytes: text.len(), depth: 0 };
        if let Some(Frame {
            content: Content::Mapping { fields, key: key @ None }, cost: of_mapping, ..
        }) = self.stack.last_mut()
        {
            if text == "<<" && style == ScalarStyle::Plain {
                return Err(DocumentError::at(mark, Problem::MergeKey));
            }
            if fields.contains_key(text) {
                return Err(DocumentError::at(mark, Problem::DuplicateKey(crate::plan::error::shown(text))));
            }
            of_mapping.bytes += text.len();
            *key = Some(text.to_owned());
            self.allocate(Budget::FIELD + text.len(), mark)?;
            return if anchor > 0 { self.remember(Value::from(text), anchor, cost, mark) } else { Ok(()) };
        }
        let value = scalar::resolve(text, style, tag).ok_or_else(|| {
            DocumentError::at(
                mark,
                Problem::Tag(tag.map_or_else(String::new, |tag| crate::plan::error::shown(&tag.to_string()))),
            )
        })?;
        self.spend(Cost { nodes: 1, ..Cost::default() }, mark)?;
        self.allocate(text.len(), mark)?;
        self.complete(value, anchor, cost, mark)
    }

    fn alias(&mut self, id: usize, mark: &Marker) -> Result<(), DocumentError> {
        if self.open.contains(&id) {
            return Err(DocumentError::at(mark, Problem::RecursiveAlias));
        }
        if self.expects_key() {
            return Err(DocumentError::at(mark, Problem::ComplexKey));
        }
        // An anchor of an earlier document: the parser knows it still, we do not.
        let unknown = || DocumentError::at(mark, Problem::Syntax("the alias stands for nothing".to_owned()));
        let cost = self.anchors.get(&id).ok_or_else(unknown)?.1;
        if self.stack.len() + cost.depth > MAX_DEPTH {
            return Err(DocumentError::at(mark, Problem::TooDeep));
        }
        self.spend(cost, mark)?;
        let value = self.anchors.get(&id).ok_or_else(unknown)?.0.clone();
        self.complete(value, 0, cost, mark)
    }

    /// Puts a complete value where it belongs.
    fn complete(
        &mut self,
        value: Value,
        anchor: usize,
        cost: Cost,
        mark: &Marker,
    ) -> Result<(), DocumentError> {
        if anchor > 0 {
            self.remember(value.clone(), anchor, cost, mark)?;
        }
        let Some(frame) = self.stack.last_mut() else {
            self.root = value;
            return Ok(());
        };
        frame.cost.add(cost);
        match &mut frame.content {
            Content::List(items) => items.push(value),
            Content::Mapping { fields, key } => {
                if let Some(key) = key.take() {
                    fields.insert(key, value);
                }
            }
        }
        Ok(())
    }

    /// Keeps a copy for aliases, which costs as much as using it.
    fn remember(
        &mut self,
        value: Value,
        anchor: usize,
        cost: Cost,
        mark: &Marker,
    ) -> Result<(), DocumentError> {
        self.spend(cost, mark)?;
        self.anchors.insert(anchor, (value, cost));
        Ok(())
    }

    /// Counts memory of values that stand in the text.
    fn allocate(&mut self, bytes: usize, mark: &Marker) -> Result<(), DocumentError> {
        self.budget.spend(0, bytes).map_err(|problem| DocumentError::at(mark, problem))
    }

    /// Counts values, and the bytes of copies.
    fn spend(&mut self, cost: Cost, mark: &Marker) -> Result<(), DocumentError> {
        self.copied += cost.bytes;
        if self.copied > self.limit {
            return Err(DocumentError::at(mark, Problem::TooManyNodes(self.limit / 8)));
        }
        self.budget.spend(cost.nodes, cost.bytes).map_err(|problem| DocumentError::at(mark, problem))
    }

    fn expects_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { content: Content::Mapping { key: None, .. }, .. }))
    }
}

#[cfg(test)]
mod tests;
