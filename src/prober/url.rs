//! URLs as Go's `net/url` reads, resolves and writes them.

use std::fmt;

use super::quote::quoted;

/// The URL of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) scheme: String,
    /// Host with its port, if there is one, as in the `Host` header.
    pub(super) authority: String,
    /// Path, escaped as it is sent; may be empty.
    path: String,
    query: Option<String>,
}

/// Why a text is no URL, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UrlError {
    /// A control character.
    Control,
    /// A percent sign without two hexadecimal digits.
    Escape(String),
    /// An IPv6 literal without its end.
    Bracket,
    /// A port that is not a number.
    Port(String),
    /// A path that reads like a scheme.
    Colon,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control => f.write_str("net/url: invalid control character in URL"),
            Self::Escape(escape) => write!(f, "invalid URL escape {}", quoted(escape.as_bytes())),
            Self::Bracket => f.write_str("missing ']' in host"),
            Self::Port(port) => write!(f, "invalid port {} after host", quoted(port.as_bytes())),
            Self::Colon => f.write_str("first path segment in URL cannot contain colon"),
        }
    }
}

impl std::error::Error for UrlError {}

/// What a URL, or a reference to one, consists of.
struct Parts<'a> {
    scheme: Option<&'a str>,
    authority: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Result<Self, UrlError> {
        if text.bytes().any(|c| c.is_ascii_control()) {
            return Err(UrlError::Control);
        }
        let rest = text.split('#').next().unwrap_or(text);
        let (scheme, rest) = match rest.split_once(':') {
            Some((scheme, after)) if is_scheme(scheme) => (Some(scheme), after),
            _ => (None, rest),
        };
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                (Some(authority.rsplit('@').next().unwrap_or(authority)), path)
            }
            None => (None, rest),
        };
        if scheme.is_none() && authority.is_none() && path.split('/').next().unwrap_or(path).contains(':') {
            return Err(UrlError::Colon);
        }
        if let Some(authority) = authority {
            check_port(authority)?;
        }
        check_escapes(path)?;
        Ok(Self { scheme, authority, path, query })
    }
}

impl Url {
    /// Reads a URL with a scheme and a host; `None` if one of them is missing.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, UrlError> {
        let parts = Parts::split(text)?;
        Ok(match (parts.scheme, parts.authority) {
            (Some(scheme), Some(authority)) => Some(Self {
                scheme: scheme.to_ascii_lowercase(),
                authority: authority.to_owned(),
                path: escape_path(parts.path),
                query: parts.query.map(str::to_owned),
            }),
            _ => None,
        })
    }

    /// The URL that a `Location` header means, and whether it was one of its own (with a scheme).
    pub(super) fn join(&self, location: &str) -> Result<(Self, bool), UrlError> {
        let parts = Parts::split(location)?;
        let scheme = parts.scheme.map_or_else(|| self.scheme.clone(), str::to_ascii_lowercase);
        let path = escape_path(parts.path);
        let query = parts.query.map(str::to_owned);
        let own = parts.scheme.is_some();
        let url = if own || parts.authority.is_some() {
            let authority = parts.authority.unwrap_or_default().to_owned();
            Self { scheme, authority, path: without_dots("", &path), query }
        } else if path.is_empty() {
            let query = query.filter(|query| !query.is_empty()).or_else(|| self.query.clone());
            Self { scheme, authority: self.authority.clone(), path: self.path.clone(), query }
        } else {
            Self { scheme, authority: self.authority.clone(), path: without_dots(&self.path, &path), query }
        };
        Ok((url, own))
    }

    /// The host without port and brackets.
    pub(super) fn host(&self) -> &str {
        split_authority(&self.authority).0
    }

    /// The port as it is written, if it is.
    pub(super) fn port(&self) -> Option<&str> {
        split_authority(&self.authority).1.filter(|port| !port.is_empty())
    }

    /// Path, escaped.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Whether there is a query.
    pub(super) fn has_query(&self) -> bool {
        self.query.is_some()
    }

    /// What stands in the request line.
    pub(super) fn request_target(&self) -> String {
        let path = if self.path.is_empty() { "/" } else { &self.path };
        match &self.query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)?;
        match &self.query {
            Some(query) => write!(f, "?{query}"),
            None => Ok(()),
        }
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'-' | b'.'))
}

/// Host without brackets, and the port if there is a colon.
fn split_authority(authority: &str) -> (&str, Option<&str>) {
    let end = authority.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match authority[end..].rfind(':') {
        Some(at) => (&authority[..end + at], Some(&authority[end + at + 1..])),
        None => (authority, None),
    };
    (host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host), port)
}

fn check_port(authority: &str) -> Result<(), UrlError> {
    let tail = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or(UrlError::Bracket)?.1,
        None => authority.find(':').map_or("", |at| &authority[at..]),
    };
    match tail.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|c| c.is_ascii_digit()) => Ok(()),
        None if tail.is_empty() => Ok(()),
        _ => Err(UrlError::Port(tail.to_owned())),
    }
}

fn check_escapes(path: &str) -> Result<(), UrlError> {
    for (at, _) in path.match_indices('%') {
        let bytes = path.as_bytes();
        let digits = bytes.get(at + 1..at + 3).unwrap_or_default();
        if digits.len() < 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
            let end = path.len().min(at + 3);
            return Err(UrlError::Escape(String::from_utf8_lossy(&bytes[at..end]).into_owned()));
        }
    }
    Ok(())
}

/// A path as Go sends it: as it is when each byte of it may stand in a path, otherwise escaped anew.
fn escape_path(path: &str) -> String {
    let plain = |c: u8| {
        c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.' | b'~') || b"$&+,/:;=@".contains(&c)
    };
    if path.bytes().all(|c| plain(c) || b"!'()*[]%".contains(&c)) {
        return path.to_owned();
    }
    let mut escaped = String::new();
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' {
            let digit = |c: Option<u8>| c.and_then(|c| (c as char).to_digit(16)).unwrap_or_default() as u8;
            digit(bytes.next()) << 4 | digit(bytes.next())
        } else {
            byte
        };
        if plain(byte) {
            escaped.push(byte as char);
        } else {
            escaped.push('%');
            for half in [byte >> 4, byte & 15] {
                escaped.push(char::from_digit(u32::from(half), 16).unwrap_or('0').to_ascii_uppercase());
            }
        }
    }
    escaped
}

/// The path that `path` means beside `base`, without `.` and `..`.
fn without_dots(base: &str, path: &str) -> String {
    let whole = if path.is_empty() {
        base.to_owned()
    } else if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{}{path}", &base[..base.rfind('/').map_or(0, |at| at + 1)])
    };
    if whole.is_empty() {
        return whole;
    }
    let mut kept: Vec<&str> = Vec::new();
    let segments = whole.strip_prefix('/').unwrap_or(&whole);
    for segment in segments.split('/') {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let directory = segments.rsplit('/').next().is_some_and(|last| matches!(last, "." | ".."));
    if directory {
        kept.push("");
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap().unwrap()
    }

    #[test]
    fn a_reference_is_resolved_as_in_rfc_3986() {
        let base = url("http://a:1/b/c/d?q");
        for (location, expected) in [
            ("g", "http://a:1/b/c/g"),
            ("./g/", "http://a:1/b/c/g/"),
            ("../g?x=1#f", "http://a:1/b/g?x=1"),
            ("../../../g", "http://a:1/g"),
            ("/g", "http://a:1/g"),
            ("?y", "http://a:1/b/c/d?y"),
            ("#f", "http://a:1/b/c/d?q"),
            (".", "http://a:1/b/c/"),
            ("..", "http://a:1/b/"),
            ("//h:2/x", "http://h:2/x"),
            ("HTTPS://h", "https://h"),
            ("http://h/a/../b", "http://h/b"),
        ] {
            assert_eq!(base.join(location).unwrap().0.to_string(), expected, "{location}");
        }
    }

    #[test]
    fn a_path_is_escaped_only_where_it_must_be() {
        assert_eq!(url("http://a/x%2Fy[1]").request_target(), "/x%2Fy[1]");
        assert_eq!(url("http://a/a b?c d#f").request_target(), "/a%20b?c d");
        assert_eq!(
            url("http://a/a|b\"<é[1]{}^`\\?é|\"[]^").request_target(),
            "/a%7Cb%22%3C%C3%A9%5B1%5D%7B%7D%5E%60%5C?é|\"[]^"
        );
        assert_eq!(url("http://a?x").request_target(), "/?x");
    }

    #[test]
    fn host_and_port_come_apart() {
        for (text, host, port) in [
            ("http://[::1]:80/x", "::1", Some("80")),
            ("http://[::1]", "::1", None),
            ("http://h:1", "h", Some("1")),
            ("http://u:p@h:/", "h", None),
        ] {
            let url = url(text);
            assert_eq!((url.host(), url.port()), (host, port), "{text}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_in_gos_words() {
        for (text, message) in [
            ("http://[::1/", "missing ']' in host"),
            ("http://h:9x/", r#"invalid port ":9x" after host"#),
            ("http://h/%zz", r#"invalid URL escape "%zz""#),
            ("http://h/%é", r#"invalid URL escape "%é""#),
            ("http://h/%a", r#"invalid URL escape "%a""#),
            ("http://h/\r\nX: y", "net/url: invalid control character in URL"),
            ("9x:foo", "first path segment in URL cannot contain colon"),
        ] {
            assert_eq!(Url::parse(text).unwrap_err().to_string(), message, "{text}");
        }
        assert_eq!((Url::parse("/x"), Url::parse("mailto:x")), (Ok(None), Ok(None)));
    }

    proptest::proptest! {
        #[test]
        fn no_location_makes_it_panic_and_what_comes_out_can_be_sent(location in "[a:/?#%\\[\\]@.é 0-9]{0,12}|.{0,12}") {
            if let Ok((url, _)) = url("http://a:1/b?q").join(&location) {
                let path = url.request_target();
                let path = path.split('?').next().unwrap();
                proptest::prop_assert!(path.bytes().all(|c| c.is_ascii_graphic()), "{path}");
            }
        }
    }
}
