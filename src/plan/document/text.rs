//! Preprocessing of texts.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::error::{DocumentError, DocumentProblem};

const BYTE_ORDER_MARK: char = '\u{feff}';

/// A part of a text that is parsed separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk<'a> {
    /// The line at which it starts, from 1 on.
    pub(super) line: usize,
    /// The column at which it starts, from 1 on.
    pub(super) column: usize,
    pub(super) text: &'a str,
}

impl Chunk<'_> {
    /// Converts the position of an error in this part to one in the entire text.
    pub(super) fn locate(&self, mut error: DocumentError) -> DocumentError {
        if error.line == 1 {
            error.column += self.column - 1;
        }
        error.line += self.line - 1;
        error
    }
}

/// Removes byte order marks at the start of documents: files with them are often concatenated.
pub(super) fn without_byte_order_marks(text: &str) -> Cow<'_, str> {
    if !text.contains(BYTE_ORDER_MARK) {
        return Cow::Borrowed(text);
    }
    let mut cleaned = String::with_capacity(text.len());
    let mut begins_document = true;
    for line in text.split_inclusive('\n') {
        let stripped = line.strip_prefix(BYTE_ORDER_MARK);
        let content = stripped.unwrap_or(line);
        let is_separator = is_marker(content, "---") || is_marker(content, "...");
        let kept = if begins_document || is_separator { content } else { line };
        cleaned.push_str(kept);
        let trimmed = content.trim();
        // Blank lines, comments and directives come before the content of a document.
        begins_document = is_separator && trimmed.len() == 3
            || begins_document && (trimmed.is_empty() || trimmed.starts_with(['#', '%']));
    }
    Cow::Owned(cleaned)
}

/// Whether a line starts with a marker that delimits documents.
pub(super) fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Rejects characters that are not allowed in documents. The parser would treat some of them as content or as the end.
pub(super) fn check_characters(text: &str) -> Result<(), DocumentError> {
    let (mut line, mut column) = (1, 1);
    for c in text.chars() {
        match c {
            '\n' => (line, column) = (line + 1, 0),
            '\t' | '\r' | '\u{85}' => {}
            '\u{fffe}' | '\u{ffff}' | BYTE_ORDER_MARK => {
                return Err(DocumentError { line, column, problem: DocumentProblem::Character(c) });
            }
            c if c.is_control() => {
                return Err(DocumentError { line, column, problem: DocumentProblem::Character(c) });
            }
            _ => {}
        }
        column += 1;
    }
    Ok(())
}

/// Splits consecutive JSON objects, as `kubectl` reads them. Any other text is not split.
pub(super) fn split_json(text: &str) -> impl Iterator<Item = Chunk<'_>> {
    let mut rest = text;
    while starts_object(rest) {
        rest = &rest[end_of_value(rest)..];
    }
    // If something else follows, it is one YAML text, such as documents in flow style.
    let is_json = starts_object(text) && rest.trim().is_empty();
    let (mut start, mut line, mut column) = (0, 1, 1);
    let mut is_first = true;
    std::iter::from_fn(move || {
        let rest = &text[start..];
        if !is_first && rest.trim_start().is_empty() {
            return None;
        }
        is_first = false;
        let part = if is_json { &rest[..end_of_value(rest)] } else { rest };
        let chunk = Chunk { line, column, text: part };
        let last_line = part.rsplit('\n').next().unwrap_or_default().chars().count();
        let breaks = part.matches('\n').count();
        column = if breaks > 0 { last_line + 1 } else { column + last_line };
        (start, line) = (start + part.len(), line + breaks);
        Some(chunk)
    })
}

fn starts_object(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

/// The length of the JSON value at the start of a text. A text that is not JSON is passed to the YAML parser as
/// a whole, which reports the error.
fn end_of_value(text: &str) -> usize {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    if let Some(Ok(_)) = values.next() { values.byte_offset() } else { text.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_objects_one_after_the_other_are_split() {
        let text = "{\"a\": 1} {\n\"b\": \"}{\"\n}\n{\"c\": 3}\n";
        let chunks: Vec<_> = split_json(text).map(|c| (c.line, c.column, c.text.trim())).collect();
        assert_eq!(chunks, [(1, 1, "{\"a\": 1}"), (1, 9, "{\n\"b\": \"}{\"\n}"), (3, 2, "{\"c\": 3}")]);
    }

    #[test]
    fn what_is_not_json_stays_whole() {
        for text in
            ["a: 1\n", "{a: 1}\n---\n{b: 2}\n", "{\"a\": 1}\n---\n{\"b\": 2}\n", "{\"a\": [1,\n", "{", ""]
        {
            let chunks: Vec<_> = split_json(text).collect();
            assert_eq!(chunks, [Chunk { line: 1, column: 1, text }], "{text}");
        }
    }

    #[test]
    fn only_the_mark_that_begins_a_document_is_removed() {
        let joined = "\u{feff}# first\na: 1\n---\n\u{feff}b: 2\n\u{feff}---\nc: 3\n";
        assert_eq!(without_byte_order_marks(joined), "# first\na: 1\n---\nb: 2\n---\nc: 3\n");
        for text in ["a: \u{feff}1\n", "a: 1\n\u{feff}b: 2\n", "--- a\n\u{feff}b"] {
            assert_eq!(without_byte_order_marks(text), text);
        }
    }
}
