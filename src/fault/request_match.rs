//! Matching requests of a target.

use super::error::MatchError;
use super::limits::{MAX_MATCH_TEXT, MAX_MATCHES, MAX_QUERY_PARAMETERS};

/// The parts of a request that a match may use.
pub trait RequestView {
    /// The method, such as `GET`.
    fn method(&self) -> &str;
    /// The raw path, without the query.
    fn path(&self) -> &str;
    /// The raw query, without `?`.
    fn query(&self) -> Option<&str>;
    /// The requested host, with the port if present.
    fn host(&self) -> Option<&str>;
    /// The values of a header; the name is in lower case.
    fn header(&self, name: &str) -> impl Iterator<Item = &[u8]>;
}

/// Conditions on the requests of a target; all must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    path: Option<PathPattern>,
    methods: Vec<String>,
    host: Option<String>,
    headers: Vec<(String, ValuePattern)>,
    query: Vec<(String, ValuePattern)>,
}

/// An exact path, or a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
enum PathPattern {
    Exact(String),
    /// Including the trailing slash.
    Below(String),
}

/// An exact value, or any.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ValuePattern {
    Present,
    Exact(String),
}

/// The notation for any value.
const PRESENT: &str = "*";

impl Match {
    /// Sets the path: exact, or with `/*` at the end for everything below it.
    ///
    /// # Errors
    ///
    /// It does not start with `/`, has invalid characters, or is too long.
    pub fn set_path(&mut self, path: &str) -> Result<(), MatchError> {
        check_length(path)?;
        let (fixed, pattern) = match path.strip_suffix('*') {
            Some(below) if below.ends_with('/') => (below, PathPattern::Below(below.to_owned())),
            _ => (path, PathPattern::Exact(path.to_owned())),
        };
        let is_path_byte = |c: u8| c.is_ascii_graphic() && !matches!(c, b'?' | b'#' | b'*');
        if !fixed.starts_with('/') || !fixed.bytes().all(is_path_byte) {
            return Err(MatchError::Path);
        }
        self.path = Some(pattern);
        Ok(())
    }

    /// Adds one of several methods.
    ///
    /// # Errors
    ///
    /// It is not a method, or there are too many.
    pub fn add_method(&mut self, method: &str) -> Result<(), MatchError> {
        check_length(method)?;
        if !is_token(method) {
            return Err(MatchError::Method);
        }
        let method = method.to_ascii_uppercase();
        if !self.methods.contains(&method) {
            check_number(self.methods.len())?;
            self.methods.push(method);
        }
        Ok(())
    }

    /// Sets the host. Without a port, any port matches.
    ///
    /// # Errors
    ///
    /// It is empty, too long, or has invalid characters.
    pub fn set_host(&mut self, host: &str) -> Result<(), MatchError> {
        check_length(host)?;
        let is_host_byte = |c: u8| c.is_ascii_alphanumeric() || b"-._:[]~%".contains(&c);
        if host.is_empty() || !host.bytes().all(is_host_byte) {
            return Err(MatchError::Host);
        }
        self.host = Some(host.to_ascii_lowercase());
        Ok(())
    }

    /// Adds a header with an exact value; `*` matches any value.
    ///
    /// # Errors
    ///
    /// The name is invalid or a duplicate, the value is invalid, or there are too many.
    pub fn add_header(&mut self, name: &str, value: &str) -> Result<(), MatchError> {
        check_length(name)?;
        check_length(value)?;
        if !is_token(name) {
            return Err(MatchError::HeaderName);
        }
        let is_value_char = |c: char| c == '\t' || !c.is_control();
        // Header values have no surrounding whitespace, so such a value would never match.
        if value.trim_matches([' ', '\t']) != value || !value.chars().all(is_value_char) {
            return Err(MatchError::HeaderValue);
        }
        add(&mut self.headers, name.to_ascii_lowercase(), value)
    }

    /// Adds a query parameter with an exact value; `*` matches any value. Both are compared after decoding (`%20` and
    /// `+` are spaces).
    ///
    /// # Errors
    ///
    /// The name is empty or a duplicate, or there are too many.
    pub fn add_query(&mut self, name: &str, value: &str) -> Result<(), MatchError> {
        check_length(name)?;
        check_length(value)?;
        if name.is_empty() {
            return Err(MatchError::ParameterName);
        }
        add(&mut self.query, name.to_owned(), value)
    }

    /// Whether it has no conditions.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The path, in the form of [`set_path`](Self::set_path).
    pub fn path(&self) -> Option<String> {
        self.path.as_ref().map(|path| match path {
            PathPattern::Exact(path) => path.clone(),
            PathPattern::Below(path) => format!("{path}*"),
        })
    }

    /// The methods in upper case; empty for any.
    pub fn methods(&self) -> &[String] {
        &self.methods
    }

    /// The host, in lower case.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// Headers, their names in lower case, with the value or `*`.
    pub fn headers(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        written(&self.headers)
    }

    /// Parameters with the value or `*`.
    pub fn query(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        written(&self.query)
    }

    /// Whether a request matches.
    pub fn admits(&self, request: &impl RequestView) -> bool {
        self.admits_path(request.path())
            && (self.methods.is_empty() || self.methods.iter().any(|method| method == request.method()))
            && self.host.as_deref().is_none_or(|host| is_host(request.host(), host))
            && self
                .headers
                .iter()
                .all(|(name, value)| request.header(name).any(|given| value.admits(given.iter().copied())))
            && self.query.iter().all(|(name, value)| has_parameter(request.query(), name, value))
    }

    fn admits_path(&self, path: &str) -> bool {
        match &self.path {
            None => true,
            Some(PathPattern::Exact(exact)) => path == exact,
            Some(PathPattern::Below(below)) => path.starts_with(below.as_str()),
        }
    }
}

impl ValuePattern {
    fn admits(&self, given: impl Iterator<Item = u8>) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(value) => given.eq(value.bytes()),
        }
    }
}

fn add(list: &mut Vec<(String, ValuePattern)>, name: String, value: &str) -> Result<(), MatchError> {
    if list.iter().any(|(known, _)| *known == name) {
        return Err(MatchError::Twice(name));
    }
    check_number(list.len())?;
    let value = if value == PRESENT { ValuePattern::Present } else { ValuePattern::Exact(value.to_owned()) };
    list.push((name, value));
    Ok(())
}

fn written(list: &[(String, ValuePattern)]) -> impl ExactSizeIterator<Item = (&str, &str)> {
    list.iter().map(|(name, value)| match value {
        ValuePattern::Present => (name.as_str(), PRESENT),
        ValuePattern::Exact(value) => (name.as_str(), value.as_str()),
    })
}

const fn check_length(text: &str) -> Result<(), MatchError> {
    if text.len() > MAX_MATCH_TEXT { Err(MatchError::TooLong(text.len())) } else { Ok(()) }
}

const fn check_number(known: usize) -> Result<(), MatchError> {
    if known >= MAX_MATCHES { Err(MatchError::TooMany) } else { Ok(()) }
}

/// Whether a text is a token (RFC 9110): a header name or a method.
fn is_token(text: &str) -> bool {
    let is_token_byte = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// Whether a host matches. Without a port in the pattern, the port of the request is ignored.
fn is_host(given: Option<&str>, pattern: &str) -> bool {
    let Some(given) = given else { return false };
    let has_port = |host: &str| host.rfind(':').is_some_and(|colon| !host[colon..].contains(']'));
    let given = match given.rfind(':') {
        Some(colon) if has_port(given) && !has_port(pattern) => &given[..colon],
        _ => given,
    };
    given.eq_ignore_ascii_case(pattern)
}

/// Whether a query has the parameter among its first ones; any of its repeated values may match.
fn has_parameter(query: Option<&str>, name: &str, value: &ValuePattern) -> bool {
    query.is_some_and(|query| {
        query.split('&').take(MAX_QUERY_PARAMETERS).any(|pair| {
            let (given, of_it) = pair.split_once('=').unwrap_or((pair, ""));
            decoded(given).eq(name.bytes()) && value.admits(decoded(of_it))
        })
    })
}

/// The decoded bytes of a name or value in a query. A `%` that starts no escape is kept.
fn decoded(text: &str) -> impl Iterator<Item = u8> {
    let mut rest = text.bytes();
    std::iter::from_fn(move || {
        let byte = rest.next()?;
        let hex = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        match byte {
            b'+' => Some(b' '),
            b'%' => {
                let mut ahead = rest.clone();
                let Some((high, low)) = hex(ahead.next()).zip(hex(ahead.next())) else { return Some(b'%') };
                rest = ahead;
                Some((high << 4 | low) as u8)
            }
            _ => Some(byte),
        }
    })
}

#[cfg(test)]
mod tests;
