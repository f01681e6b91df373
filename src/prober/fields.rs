//! Reads header fields and trailers as Go's `net/textproto` does.

use super::connection::{Connection, ReadError};
use super::header::{canonical, is_token};
use super::quote::quoted;

/// Limit of a line without a name that is quoted in an error, in bytes.
const MAX_QUOTED: usize = 80;

/// Why fields cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FieldError {
    Read(ReadError),
    /// Invalid fields, with Go's message.
    Malformed(String),
}

impl From<ReadError> for FieldError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl Connection {
    /// Reads fields up to the empty line and passes name and value of each to `take`.
    pub(super) async fn fields(&mut self, mut take: impl FnMut(&[u8], &[u8])) -> Result<(), FieldError> {
        // Go peeks first, to estimate the number of fields. It reports an error of the socket only once.
        self.peek(1).await;
        if let ([b' ' | b'\t'], None) = self.peek(1).await {
            return Err(FieldError::Malformed(match self.line(MAX_QUOTED).await? {
                Some(line) => format!("malformed MIME header initial line: {}", quoted(&line)),
                None => "message too large".to_owned(),
            }));
        }
        loop {
            let field = self.continued_line().await?;
            if field.is_empty() {
                return Ok(());
            }
            let (name, value) = split(&field).map_err(FieldError::Malformed)?;
            take(name, value);
        }
    }

    /// Reads a line and its continuation lines, joined by spaces.
    async fn continued_line(&mut self) -> Result<Vec<u8>, FieldError> {
        let line = self.whole_line().await?;
        if line.is_empty() {
            return Ok(line);
        }
        if !line.contains(&b':') {
            let message = format!("malformed MIME header: missing colon: {}", quoted(&line));
            return Err(FieldError::Malformed(message));
        }
        let mut whole = trim(&line).to_vec();
        while self.skip_blanks().await > 0 {
            whole.push(b' ');
            whole.extend_from_slice(trim(&self.whole_line().await?));
        }
        Ok(whole)
    }

    async fn whole_line(&mut self) -> Result<Vec<u8>, ReadError> {
        // No line can be longer, since the head is limited.
        Ok(self.line(usize::MAX).await?.unwrap_or_default())
    }

    /// Skips spaces and tabs. Returns their number.
    async fn skip_blanks(&mut self) -> usize {
        let mut skipped = 0;
        while let ([b' ' | b'\t'], None) = self.peek(1).await {
            self.consume(1);
            skipped += 1;
        }
        skipped
    }
}

/// Splits a field into name and value. Errors have Go's messages.
fn split(field: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let malformed = |field: &[u8]| format!("malformed MIME header line: {}", quoted(field));
    let colon = field.iter().position(|c| *c == b':').ok_or_else(|| malformed(field))?;
    let (name, value) = (&field[..colon], &field[colon + 1..]);
    // Go accepts a space in a name, as part of a different name.
    if name.is_empty() || !name.iter().all(|c| is_token(*c) || *c == b' ') {
        return Err(malformed(field));
    }
    if value.iter().any(|c| c.is_ascii_control() && *c != b'\t') {
        // At this point, Go has canonicalised the name.
        let name = if name.contains(&b' ') { name.to_vec() } else { canonical(name) };
        return Err(malformed(&[name.as_slice(), &field[colon..]].concat()));
    }
    let start = value.iter().take_while(|c| is_blank(**c)).count();
    Ok((name, &value[start..]))
}

/// Removes spaces and tabs from both ends.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_blank(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_blank(*last)
    {
        bytes = rest;
    }
    bytes
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}
