//! Reads YAML and JSON into values.
//!
//! JSON is parsed as YAML. The tree is built from the parser's events with an explicit stack, so that nesting and
//! aliases cannot exceed the budget.
//!
//! Plans follow YAML 1.2. Manifests follow what `kubectl` does (sigs.k8s.io/yaml, which is go-yaml v2): the scalars and
//! merge keys of YAML 1.1, keys turned into text, JSON objects one after the other, and of duplicate keys the last.

mod budget;
mod builder;
mod error;
mod json;
mod scalar;
mod text;

use granit_parser::{Event, Parser, options};
use serde_json::Value;

pub use builder::Document;
pub use error::{AmbiguousScalar, DocumentError, DocumentProblem, DuplicateKey};
pub use json::parse_json;

use builder::Builder;
use scalar::Dialect;
use text::Chunk;

/// The largest plan, in bytes.
pub const MAX_PLAN: usize = 1 << 20;

/// Reads `text`, which must hold one document in at most `limit` bytes, as YAML 1.2.
pub fn parse(text: &str, limit: usize) -> Result<Value, DocumentError> {
    parse_document(text, limit).map(|document| document.value)
}

/// Like [`parse`], and reports scalars that other YAML parsers may read differently.
pub fn parse_document(text: &str, limit: usize) -> Result<Document, DocumentError> {
    // The YAML parser buffers all tokens of a flow collection, a hundred bytes for each byte of text.
    if text.trim_start().starts_with(['{', '[']) && text::check_characters(text).is_ok() {
        match parse_json(text.as_bytes(), limit) {
            Ok(value) => {
                return Ok(Document { line: 1, value, ambiguous: Vec::new(), duplicates: Vec::new() });
            }
            Err(error)
                if matches!(
                    error.problem,
                    DocumentProblem::TooManyValues(_) | DocumentProblem::TooMuchMemory(_)
                ) =>
            {
                return Err(error);
            }
            // Fall back to YAML: for its flow collections, and for its error messages.
            Err(_) => {}
        }
    }
    let mut documents = documents(text, limit, Dialect::Plan)?;
    match (documents.pop(), documents.len()) {
        (Some(document), 0) => Ok(document),
        (None, _) => Err(DocumentError::whole(DocumentProblem::Count(0))),
        (_, others) => Err(DocumentError::whole(DocumentProblem::Count(others + 1))),
    }
}

/// Reads all documents of `text`, which may have `limit` bytes, as `kubectl` does.
pub fn parse_manifests(text: &str, limit: usize) -> Result<Vec<Document>, DocumentError> {
    documents(text, limit, Dialect::Manifest)
}

fn documents(text: &str, limit: usize, dialect: Dialect) -> Result<Vec<Document>, DocumentError> {
    if text.len() > limit {
        return Err(DocumentError::whole(DocumentProblem::TooLong { length: text.len(), limit }));
    }
    let text = text::without_byte_order_marks(text);
    text::check_characters(&text)?;
    let mut builder = Builder::new(limit, dialect);
    let mut read_chunk = |chunk: Chunk| {
        read(&chunk, &mut builder).map_err(|error| chunk.locate(error.or_template(chunk.text)))
    };
    match dialect {
        Dialect::Plan => read_chunk(Chunk { line: 1, column: 1, text: &text })?,
        Dialect::Manifest => text::split_json(&text).try_for_each(read_chunk)?,
    }
    Ok(builder.into_documents())
}

fn read(chunk: &Chunk, builder: &mut Builder) -> Result<(), DocumentError> {
    builder.start_chunk(chunk.line);
    // A block scalar at the end of a text without a final line break gets none, as in libyaml and go-yaml.
    let options = options! { emit_comments: false, block_scalar_eof_without_line_feed: true };
    let mut parser = Parser::new_from_str_with_options(chunk.text, options);
    // Events are pulled one by one: the parser's own `load` recurses for each level of nesting.
    while let Some(event) = parser.next_event() {
        let (event, span) = event
            .map_err(|error| DocumentError::at(error.marker(), DocumentProblem::Syntax(error.info())))?;
        if event == Event::StreamEnd {
            break;
        }
        builder.take(event, &span)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
