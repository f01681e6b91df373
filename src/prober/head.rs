//! Reads the head of a response as Go's `net/http` does.

use super::connection::{Connection, MAX_HEAD, ReadError};
use super::fields::FieldError;
use super::framing::{Fields, Framing};
use super::quote::quoted;

/// The parts of a response head that a probe needs.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    /// The first `Location`, if it is not empty.
    pub(super) location: Option<Vec<u8>>,
    pub(super) framing: Framing,
}

impl Connection {
    /// Reads the head of the response and skips those with status 1xx before it. Errors have Go's messages.
    pub(super) async fn head(&mut self) -> Result<Head, String> {
        match self.peek(1).await {
            (_, None) => {}
            (_, Some(ReadError::End)) => return Err("EOF".to_owned()),
            (_, Some(ReadError::Failed(message))) => return Err(message),
        }
        loop {
            match self.one_head().await {
                Ok(head) if head.status != 101 && (100..200).contains(&head.status) => {}
                Ok(head) => {
                    self.end_limit();
                    return Ok(head);
                }
                Err(message) => {
                    let message = if self.is_exhausted() {
                        format!("net/http: server response headers exceeded {MAX_HEAD} bytes; aborted")
                    } else {
                        message
                    };
                    return Err(format!("net/http: HTTP/1.x transport connection broken: {message}"));
                }
            }
        }
    }

    async fn one_head(&mut self) -> Result<Head, String> {
        let line = self.line(usize::MAX).await.map_err(ReadError::unexpected)?;
        let (status, is_1_1) = status_line(&line.unwrap_or_default())?;
        let mut fields = Fields::default();
        self.fields(|name, value| fields.take(name, value)).await.map_err(|error| match error {
            FieldError::Read(error) => error.unexpected(),
            FieldError::Malformed(message) => message,
        })?;
        let framing = fields.framing(status, is_1_1)?;
        Ok(Head { status, location: fields.location(), framing })
    }
}

/// Returns the status code, and whether the HTTP version supports chunks.
fn status_line(line: &[u8]) -> Result<(u16, bool), String> {
    let Some(space) = line.iter().position(|c| *c == b' ') else {
        return Err(format!("malformed HTTP response {}", quoted(line)));
    };
    let (version, rest) = (&line[..space], &line[space..]);
    let spaces = rest.iter().take_while(|c| **c == b' ').count();
    let code = rest[spaces..].split(|c| *c == b' ').next().unwrap_or_default();
    let status = status_code(code).ok_or_else(|| format!("malformed HTTP status code {}", quoted(code)))?;
    match version {
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            // Go reads version 0.0 as 1.1.
            Ok((status, (*major, *minor) >= (b'1', b'1') || (*major, *minor) == (b'0', b'0')))
        }
        _ => Err(format!("malformed HTTP version {}", quoted(version))),
    }
}

/// Parses three bytes as Go does: a non-negative number, where a sign may be one of the bytes.
fn status_code(code: &[u8]) -> Option<u16> {
    let number = code.iter().all(u8::is_ascii).then(|| std::str::from_utf8(code).ok()).flatten();
    let number = number.filter(|text| text.len() == 3)?.parse::<i16>().ok()?;
    u16::try_from(number).ok()
}
