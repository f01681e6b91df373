//! What is wrong with a text.

use std::fmt;

use saphyr_parser::Marker;

use super::MAX_DEPTH;

/// Text that is not a document, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentError {
    /// The line, from 1 on; 0 where the text as a whole is wrong.
    pub line: usize,
    /// The column, from 1 on.
    pub column: usize,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// More bytes than allowed.
    TooLong {
        /// The length.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// A character that no document may have.
    Character(char),
    /// Not YAML, in the words of its parser.
    Syntax(String),
    /// Not JSON, in the words of its parser.
    Json(String),
    /// A key that its mapping has already.
    DuplicateKey(String),
    /// A key that is a list, a mapping or an alias.
    ComplexKey,
    /// `<<`.
    MergeKey,
    /// A tag outside the core schema, or one that does not fit its value.
    Tag(String),
    /// Lists and mappings nested too deep.
    TooDeep,
    /// More values than allowed, those of aliases counted each time.
    TooManyNodes(usize),
    /// More memory than allowed, that of aliases counted each time.
    TooMuchMemory(usize),
    /// An alias inside what it stands for.
    RecursiveAlias,
    /// Another number of documents than one.
    Count(usize),
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {} column {}: ", self.line, self.column)?;
        }
        match &self.problem {
            Problem::TooLong { length, limit } => {
                write!(f, "{length} bytes are more than the {limit} allowed")
            }
            Problem::Character(c) => write!(f, "the character {} is not allowed", c.escape_unicode()),
            Problem::Syntax(info) => write!(f, "is not YAML or JSON: {info}"),
            Problem::Json(info) => write!(f, "is not JSON: {info}"),
            Problem::DuplicateKey(key) => write!(f, "the key \"{key}\" is given twice"),
            Problem::ComplexKey => f.write_str("a key must be plain text"),
            Problem::MergeKey => f.write_str("merge keys (<<) are not supported; write the fields out"),
            Problem::Tag(tag) => write!(f, "the tag {tag} is not supported here"),
            Problem::TooDeep => write!(f, "nested deeper than {MAX_DEPTH}"),
            Problem::TooManyNodes(limit) => {
                write!(f, "holds more than {limit} values, those of aliases counted each time")
            }
            Problem::TooMuchMemory(limit) => {
                write!(f, "holds more than fits into {limit} bytes, values of aliases counted each time")
            }
            Problem::RecursiveAlias => f.write_str("an alias stands inside what it stands for"),
            Problem::Count(0) => f.write_str("holds nothing"),
            Problem::Count(count) => write!(f, "holds {count} documents instead of one"),
        }
    }
}

impl std::error::Error for DocumentError {}

impl DocumentError {
    pub(super) const fn whole(problem: Problem) -> Self {
        Self { line: 0, column: 0, problem }
    }

    pub(super) fn at(mark: &Marker, problem: Problem) -> Self {
        Self { line: mark.line(), column: mark.col() + 1, problem }
    }
}
