//! Errors in a text.

use std::fmt;

use granit_parser::Marker;

/// Limit of the nesting of lists and mappings.
pub(super) const MAX_DEPTH: usize = 64;

/// An error in a text, with its position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct DocumentError {
    /// The line, from 1 on; 0 for errors of the entire text.
    pub line: usize,
    /// The column, from 1 on.
    pub column: usize,
    /// What is wrong.
    pub problem: DocumentProblem,
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {} column {}: ", self.line, self.column)?;
        }
        self.problem.fmt(f)
    }
}

/// The kind of an error in a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentProblem {
    /// More bytes than allowed.
    #[error("{length} bytes are more than the {limit} allowed")]
    TooLong {
        /// The length.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// A character that is not allowed.
    #[error("the character {} is not allowed", .0.escape_unicode())]
    Character(char),
    /// Not YAML, in the words of its parser.
    #[error("is not YAML or JSON: {0}")]
    Syntax(String),
    /// An unrendered template.
    #[error(
        "is a template that has not been rendered ({{{{ … }}}}); pass the output of `helm template` or of the tool that renders it"
    )]
    Template,
    /// Not JSON, in the words of its parser.
    #[error("is not JSON: {0}")]
    Json(String),
    /// A duplicate key.
    #[error("the key \"{0}\" is given twice")]
    DuplicateKey(String),
    /// A key that is a list, a mapping, an alias or nothing.
    #[error("a key must be plain text")]
    ComplexKey,
    /// `<<` in a plan.
    #[error("merge keys (<<) are not supported; write the fields out")]
    MergeKey,
    /// `<<` with another value than mappings.
    #[error("a merge key (<<) needs a mapping or a list of mappings")]
    MergeValue,
    /// A number that JSON, and so the API server, does not have.
    #[error("{0} is a number that JSON cannot represent")]
    NotJson(String),
    /// A tag outside the core schema, or one that does not fit its value.
    #[error("the tag {0} is not supported here")]
    Tag(String),
    /// Lists and mappings nested too deep.
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// More values than allowed, counting the values of each alias.
    #[error("contains more than {0} values, counting the values of each alias")]
    TooManyValues(usize),
    /// More memory than allowed, counting the values of each alias.
    #[error("needs more than {0} bytes, counting the values of each alias")]
    TooMuchMemory(usize),
    /// An alias inside the value that it refers to.
    #[error("an alias is inside the value that it refers to")]
    RecursiveAlias,
    /// No document, or more than one.
    #[error("{}", count(*.0))]
    Count(usize),
}

fn count(documents: usize) -> String {
    match documents {
        0 => "is empty".to_owned(),
        count => format!("contains {count} documents instead of one"),
    }
}

impl DocumentError {
    pub(super) const fn whole(problem: DocumentProblem) -> Self {
        Self { line: 0, column: 0, problem }
    }

    pub(super) fn at(mark: &Marker, problem: DocumentProblem) -> Self {
        Self { line: mark.line(), column: mark.col() + 1, problem }
    }

    /// Replaces the error if its cause is an unrendered template.
    pub(super) fn or_template(mut self, text: &str) -> Self {
        let is_suspect = matches!(
            self.problem,
            DocumentProblem::Syntax(_)
                | DocumentProblem::ComplexKey
                | DocumentProblem::DuplicateKey(_)
                | DocumentProblem::Tag(_)
        );
        // The parser may notice a template action only on the following line.
        let near = text.lines().enumerate().skip(self.line.saturating_sub(2)).take(2);
        if is_suspect && let Some((number, line)) = { near }.find(|(_, line)| line.contains("{{")) {
            self.line = number + 1;
            self.column = line.find("{{").map_or(1, |at| line[..at].chars().count() + 1);
            self.problem = DocumentProblem::Template;
        }
        self
    }
}

/// A key of a manifest that stands more than once in its mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicateKey {
    /// The line of the later key, from 1 on.
    pub line: usize,
    /// Its column, from 1 on.
    pub column: usize,
    /// The key, shortened and escaped.
    pub key: String,
}

impl fmt::Display for DuplicateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, key } = self;
        write!(
            f,
            "line {line} column {column}: the key \"{key}\" is given twice; like kubectl, this takes the last value"
        )
    }
}

/// A plain scalar that YAML 1.1 parsers read differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AmbiguousScalar {
    /// Its line, from 1 on.
    pub line: usize,
    /// Its column, from 1 on.
    pub column: usize,
    /// The scalar as written, shortened.
    pub text: String,
    /// Its value in YAML 1.1, as JSON.
    pub elsewhere: String,
}

impl fmt::Display for AmbiguousScalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, text, elsewhere } = self;
        write!(
            f,
            "line {line} column {column}: {text} is read as YAML 1.2; YAML 1.1 reads {elsewhere}: write the value that is \
             meant, or put text in quotes"
        )
    }
}
