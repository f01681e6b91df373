//! Determines the end of a body from the header fields, as Go's `net/http` does.

use super::fields::trim;
use super::quote::quoted;

/// What determines the end of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Its length in bytes; 0: there is no body.
    Length(u64),
    /// The last chunk.
    Chunked,
    /// The end of the connection.
    Close,
}

/// The header fields that a prober needs.
#[derive(Debug, Default)]
pub(super) struct Fields {
    location: Option<Vec<u8>>,
    upgrade: Option<Vec<u8>>,
    connection: Vec<Vec<u8>>,
    lengths: Vec<Vec<u8>>,
    encodings: Vec<Vec<u8>>,
    trailers: Vec<Vec<u8>>,
}

impl Fields {
    /// Keeps a field if the prober needs it.
    pub(super) fn take(&mut self, name: &[u8], value: &[u8]) {
        let value = value.to_owned();
        match name.to_ascii_lowercase().as_slice() {
            b"location" => drop(self.location.get_or_insert(value)),
            b"upgrade" => drop(self.upgrade.get_or_insert(value)),
            b"connection" => self.connection.push(value),
            b"content-length" => self.lengths.push(value),
            b"transfer-encoding" => self.encodings.push(value),
            b"trailer" => self.trailers.push(value),
            _ => {}
        }
    }

    /// The first `Location`, if it is not empty.
    pub(super) fn location(self) -> Option<Vec<u8>> {
        self.location.filter(|location| !location.is_empty())
    }

    /// The framing of a body with these fields. `is_1_1` says whether the HTTP version supports chunks.
    /// Errors have Go's messages.
    pub(super) fn framing(&self, status: u16, is_1_1: bool) -> Result<Framing, String> {
        let chunked = match self.encodings.as_slice() {
            [] => false,
            _ if !is_1_1 => false,
            [one] if one.eq_ignore_ascii_case(b"chunked") => true,
            [one] => return Err(format!("unsupported transfer encoding: {}", quoted(one))),
            more => return Err(format!("too many transfer encodings: {}", list(more))),
        };
        // Go also refuses invalid lengths in a chunked response.
        let length = self.length()?;
        if chunked && let Some(name) = self.forbidden_trailer() {
            return Err(format!("bad trailer key {}", quoted(name)));
        }
        Ok(match length {
            _ if status == 101 && self.is_upgrade() => Framing::Close,
            _ if (100..200).contains(&status) || matches!(status, 204 | 304) => Framing::Length(0),
            _ if chunked => Framing::Chunked,
            Some(length) => Framing::Length(length),
            None => Framing::Close,
        })
    }

    fn length(&self) -> Result<Option<u64>, String> {
        let Some((first, more)) = self.lengths.split_first() else { return Ok(None) };
        let first = trim(first);
        if more.iter().any(|other| trim(other) != first) {
            let lengths = list(&self.lengths);
            return Err(format!(
                "http: message cannot contain multiple Content-Length headers; got {lengths}"
            ));
        }
        if first.is_empty() {
            return Err("invalid empty Content-Length \"\"".to_owned());
        }
        let digits = std::str::from_utf8(first).ok().filter(|text| text.bytes().all(|c| c.is_ascii_digit()));
        let length = digits.and_then(|digits| digits.parse::<i64>().ok());
        length
            .map(|length| Some(length.unsigned_abs()))
            .ok_or_else(|| format!("bad Content-Length {}", quoted(first)))
    }

    /// The first announced trailer with a forbidden name, in Go's spelling.
    fn forbidden_trailer(&self) -> Option<&'static [u8]> {
        const FORBIDDEN: [&[u8]; 3] = [b"Transfer-Encoding", b"Trailer", b"Content-Length"];
        let mut names = self.trailers.iter().flat_map(|value| value.split(|c| *c == b','));
        names.find_map(|name| FORBIDDEN.into_iter().find(|known| trim(name).eq_ignore_ascii_case(known)))
    }

    /// Whether a response with status 101 switches protocols, so that the following bytes are not HTTP.
    fn is_upgrade(&self) -> bool {
        let has = |token: &[u8]| {
            let mut tokens = self.connection.iter().flat_map(|value| value.split(|c| *c == b','));
            tokens.any(|given| trim(given).eq_ignore_ascii_case(token))
        };
        self.upgrade.as_ref().is_some_and(|upgrade| !upgrade.is_empty()) && has(b"upgrade") && !has(b"close")
    }
}

fn list(values: &[Vec<u8>]) -> String {
    let values: Vec<_> = values.iter().map(|value| quoted(value)).collect();
    format!("[{}]", values.join(" "))
}
