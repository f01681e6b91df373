//! Builds values from the parser's events, within a budget.

use std::collections::{HashMap, HashSet};

use granit_parser::{Event, Marker, ScalarStyle, Span, Tag};
use serde_json::{Map, Value};

use super::budget::ParseBudget;
use super::error::{AmbiguousScalar, DocumentError, DocumentProblem, DuplicateKey, MAX_DEPTH};
use super::scalar::{self, Dialect};
use crate::plan::error::shown;

/// Limit of ambiguous scalars that are reported per document.
const MAX_AMBIGUOUS: usize = 20;

/// Limit of duplicate keys that are reported per document.
const MAX_DUPLICATES: usize = 20;

/// One document of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The line on which its content starts, from 1 on.
    pub line: usize,
    /// Its content; null where it is empty.
    pub value: Value,
    /// The first 20 scalars of a plan that YAML 1.1 reads differently.
    pub ambiguous: Vec<AmbiguousScalar>,
    /// The first 20 duplicate keys of a manifest. The last value of each is taken.
    pub duplicates: Vec<DuplicateKey>,
}

/// The cost of copying a value.
#[derive(Clone, Copy, Default)]
struct Cost {
    values: usize,
    bytes: usize,
    depth: usize,
}

impl Cost {
    const ONE: Self = Self { values: 1, bytes: 0, depth: 0 };

    fn add(&mut self, part: Self) {
        self.values += part.values;
        self.bytes += part.bytes;
        self.depth = self.depth.max(part.depth + 1);
    }
}

/// A list or mapping that is not complete.
struct Frame {
    content: NodeContent,
    anchor: usize,
    cost: Cost,
}

enum NodeContent {
    List(Vec<Value>),
    Mapping(Mapping),
}

#[derive(Default)]
struct Mapping {
    fields: Map<String, Value>,
    /// The key of the next value.
    key: Option<Key>,
    /// Keys that were set only by a merge; the mapping's own keys may override them.
    merged: HashSet<String>,
}

enum Key {
    Name(String),
    /// `<<`.
    Merge,
}

impl Mapping {
    /// Merges a mapping, or a list of mappings of which the first wins. As in go-yaml, merged keys override
    /// keys before the `<<`.
    fn merge(&mut self, value: Value) -> Result<(), DocumentProblem> {
        let sources = match value {
            Value::Object(fields) => vec![fields],
            Value::Array(items) => items
                .into_iter()
                .rev()
                .map(|item| if let Value::Object(fields) = item { Some(fields) } else { None })
                .collect::<Option<Vec<_>>>()
                .ok_or(DocumentProblem::MergeValue)?,
            _ => return Err(DocumentProblem::MergeValue),
        };
        for (key, value) in sources.into_iter().flatten() {
            if !self.fields.contains_key(&key) {
                self.merged.insert(key.clone());
            }
            self.fields.insert(key, value);
        }
        Ok(())
    }
}

pub(super) struct Builder {
    limit: usize,
    dialect: Dialect,
    budget: ParseBudget,
    /// Bytes of copies that aliases and anchors made.
    copied: usize,
    stack: Vec<Frame>,
    anchors: HashMap<usize, (Value, Cost)>,
    open: HashSet<usize>,
    /// The line of the text at which the parser started.
    first_line: usize,
    line: Option<usize>,
    root: Value,
    ambiguous: Vec<AmbiguousScalar>,
    duplicates: Vec<DuplicateKey>,
    documents: Vec<Document>,
}

impl Builder {
    pub(super) fn new(limit: usize, dialect: Dialect) -> Self {
        Self {
            limit,
            dialect,
            budget: ParseBudget::new(limit),
            copied: 0,
            stack: Vec::new(),
            anchors: HashMap::new(),
            open: HashSet::new(),
            first_line: 1,
            line: None,
            root: Value::Null,
            ambiguous: Vec::new(),
            duplicates: Vec::new(),
            documents: Vec::new(),
        }
    }

    /// Starts another chunk at this line of the text.
    pub(super) fn start_chunk(&mut self, line: usize) {
        self.first_line = line;
    }

    pub(super) fn into_documents(self) -> Vec<Document> {
        self.documents
    }

    pub(super) fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), DocumentError> {
        let mark = &span.start;
        if event.is_node() {
            self.line.get_or_insert(self.first_line + mark.line() - 1);
        }
        match event {
            Event::DocumentStart(..) => {
                self.anchors.clear();
                self.line = None;
                Ok(())
            }
            Event::DocumentEnd => {
                let line = self.line.take().unwrap_or(self.first_line + mark.line() - 1);
                let ambiguous = std::mem::take(&mut self.ambiguous);
                let duplicates = std::mem::take(&mut self.duplicates);
                self.documents.push(Document { line, value: self.root.take(), ambiguous, duplicates });
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.scalar(&text, style, anchor, tag.as_deref(), mark)
            }
            Event::Alias(id) => self.alias(id, mark),
            Event::SequenceStart(_, anchor, tag) => {
                self.start(NodeContent::List(Vec::new()), anchor, tag.as_deref(), "seq", mark)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.start(NodeContent::Mapping(Mapping::default()), anchor, tag.as_deref(), "map", mark)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(mark),
            // Other events, such as comments, have no values.
            _ => Ok(()),
        }
    }

    fn start(
        &mut self,
        content: NodeContent,
        anchor: usize,
        tag: Option<&Tag>,
        kind: &str,
        mark: &Marker,
    ) -> Result<(), DocumentError> {
        if let Some(tag) = tag
            && !tag.is_yaml_core_schema_tag(kind)
        {
            return Err(DocumentError::at(mark, DocumentProblem::Tag(shown(&tag.original()))));
        }
        if self.expects_key() {
            return Err(DocumentError::at(mark, DocumentProblem::ComplexKey));
        }
        if self.stack.len() >= MAX_DEPTH {
            return Err(DocumentError::at(mark, DocumentProblem::TooDeep));
        }
        if anchor > 0 {
            self.open.insert(anchor);
        }
        self.stack.push(Frame { content, anchor, cost: Cost { values: 1, bytes: 0, depth: 1 } });
        Ok(())
    }

    fn end(&mut self, mark: &Marker) -> Result<(), DocumentError> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let value = match frame.content {
            NodeContent::List(mut items) => {
                self.allocate(ParseBudget::LIST, mark)?;
                items.shrink_to_fit();
                Value::Array(items)
            }
            NodeContent::Mapping(mapping) => {
                self.allocate(ParseBudget::MAPPING, mark)?;
                Value::Object(mapping.fields)
            }
        };
        self.open.remove(&frame.anchor);
        self.spend(Cost::ONE, mark)?;
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
        let cost = Cost { values: 1, bytes: text.len(), depth: 0 };
        let resolved = scalar::resolve(text, style, tag, self.dialect)
            .map_err(|problem| DocumentError::at(mark, problem))?;
        if self.expects_key() {
            if anchor > 0 {
                self.remember(Value::from(text), anchor, cost, mark)?;
            }
            let key = scalar::key(text, style, resolved, self.dialect);
            return self.key(key.map_err(|problem| DocumentError::at(mark, problem))?, mark);
        }
        if self.dialect == Dialect::Plan
            && style == ScalarStyle::Plain
            && tag.is_none()
            && self.ambiguous.len() < MAX_AMBIGUOUS
            && let Some(elsewhere) = scalar::other_meaning(text, &resolved)
        {
            let (line, column) = (mark.line(), mark.col() + 1);
            self.ambiguous.push(AmbiguousScalar { line, column, text: shown(text), elsewhere });
        }
        self.allocate(text.len(), mark)?;
        self.spend(Cost::ONE, mark)?;
        self.complete(resolved.into_value(), anchor, cost, mark)
    }

    /// Handles a key; `None` is a merge key.
    fn key(&mut self, name: Option<String>, mark: &Marker) -> Result<(), DocumentError> {
        self.allocate(ParseBudget::FIELD + name.as_ref().map_or(0, String::len), mark)?;
        let Some(Frame { content: NodeContent::Mapping(mapping), cost, .. }) = self.stack.last_mut() else {
            return Ok(());
        };
        let Some(name) = name else {
            mapping.key = Some(Key::Merge);
            return Ok(());
        };
        if mapping.fields.contains_key(&name) && !mapping.merged.remove(&name) {
            if self.dialect == Dialect::Plan {
                return Err(DocumentError::at(mark, DocumentProblem::DuplicateKey(shown(&name))));
            }
            if self.duplicates.len() < MAX_DUPLICATES {
                let line = self.first_line + mark.line() - 1;
                self.duplicates.push(DuplicateKey { line, column: mark.col() + 1, key: shown(&name) });
            }
        }
        cost.bytes += name.len();
        mapping.key = Some(Key::Name(name));
        Ok(())
    }

    fn alias(&mut self, id: usize, mark: &Marker) -> Result<(), DocumentError> {
        if self.open.contains(&id) {
            return Err(DocumentError::at(mark, DocumentProblem::RecursiveAlias));
        }
        if self.expects_key() {
            return Err(DocumentError::at(mark, DocumentProblem::ComplexKey));
        }
        let unknown =
            || DocumentError::at(mark, DocumentProblem::Syntax("this alias has no anchor".to_owned()));
        let cost = self.anchors.get(&id).ok_or_else(unknown)?.1;
        if self.stack.len() + cost.depth > MAX_DEPTH {
            return Err(DocumentError::at(mark, DocumentProblem::TooDeep));
        }
        self.spend(cost, mark)?;
        let value = self.anchors.get(&id).ok_or_else(unknown)?.0.clone();
        self.complete(value, 0, cost, mark)
    }

    /// Adds a complete value to its parent.
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
            NodeContent::List(items) => items.push(value),
            NodeContent::Mapping(mapping) => match mapping.key.take() {
                Some(Key::Name(name)) => drop(mapping.fields.insert(name, value)),
                Some(Key::Merge) => {
                    mapping.merge(value).map_err(|problem| DocumentError::at(mark, problem))?;
                }
                None => {}
            },
        }
        Ok(())
    }

    /// Keeps a copy for aliases; it costs as much as an alias.
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

    /// Counts values, and the bytes of copies.
    fn spend(&mut self, cost: Cost, mark: &Marker) -> Result<(), DocumentError> {
        self.copied += cost.bytes;
        if self.copied > self.limit {
            return Err(DocumentError::at(mark, DocumentProblem::TooMuchMemory(self.limit)));
        }
        self.budget.spend(cost.values, cost.bytes).map_err(|problem| DocumentError::at(mark, problem))
    }

    /// Counts the memory of a text or a mapping.
    fn allocate(&mut self, bytes: usize, mark: &Marker) -> Result<(), DocumentError> {
        self.budget.spend(0, bytes).map_err(|problem| DocumentError::at(mark, problem))
    }

    fn expects_key(&self) -> bool {
        matches!(
            self.stack.last(),
            Some(Frame { content: NodeContent::Mapping(Mapping { key: None, .. }), .. })
        )
    }
}
