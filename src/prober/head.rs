//! The head of an answer, read as Go's `net/http` and `net/textproto` read it.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::address::is_token;
use super::body::Framing;
use super::quote::{os_error, quoted};

/// Bytes of all heads of one connection, as in Go.
const MAX_HEAD: usize = 10 << 20;

/// One connection: a request out, an answer in.
pub(super) struct Connection {
    pub(super) stream: BufReader<TcpStream>,
    /// `local->peer`, as Go names a connection.
    name: String,
    left: usize,
}

/// Why nothing more can be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The other side has sent its FIN.
    End,
    /// In Go's words.
    Failed(String),
}

impl ReadError {
    /// The text where more was needed.
    pub(super) fn unexpected(self) -> String {
        match self {
            Self::End => "unexpected EOF".to_owned(),
            Self::Failed(message) => message,
        }
    }
}

/// The head of an answer, as far as a probe needs it.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    /// First `Location`, if it is not empty.
    pub(super) location: Option<String>,
    pub(super) framing: Framing,
}

/// Headers that say how the body ends, and the one that says where to go on.
#[derive(Debug, Default)]
struct Fields {
    location: Option<Vec<u8>>,
    lengths: Vec<Vec<u8>>,
    encodings: Vec<Vec<u8>>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        let show =
            |address: io::Result<SocketAddr>| address.map_or_else(|_| "?".to_owned(), |a| a.to_string());
        let name = format!("{}->{}", show(stream.local_addr()), show(stream.peer_addr()));
        Self { stream: BufReader::new(stream), name, left: MAX_HEAD }
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream
            .write_all(bytes)
            .await
            .map_err(|error| format!("write tcp {}: write: {}", self.name, os_error(&error)))
    }

    /// What is there to read, at least one byte.
    pub(super) async fn fill(&mut self) -> Result<&[u8], ReadError> {
        match self.stream.fill_buf().await {
            Ok([]) => Err(ReadError::End),
            Ok(bytes) => Ok(bytes),
            Err(error) => {
                Err(ReadError::Failed(format!("read tcp {}: read: {}", self.name, os_error(&error))))
            }
        }
    }

    /// A line without its end. Bytes that nothing follows are a line, too.
    async fn line(&mut self) -> Result<Vec<u8>, ReadError> {
        let mut line = Vec::new();
        loop {
            let left = self.left;
            let bytes = match self.fill().await {
                Ok(bytes) => bytes,
                Err(_) if !line.is_empty() => break,
                Err(error) => return Err(error),
            };
            let end = bytes.iter().position(|c| *c == b'\n');
            let taken = end.map_or(bytes.len(), |at| at + 1);
            if taken > left {
                let message = format!("net/http: server response headers exceeded {MAX_HEAD} bytes; aborted");
                return Err(ReadError::Failed(message));
            }
            line.extend_from_slice(&bytes[..taken]);
            self.stream.consume(taken);
            self.left -= taken;
            if end.is_some() {
                line.pop();
                line.pop_if(|last| *last == b'\r');
                break;
            }
        }
        Ok(line)
    }

    /// The head of the answer; those with 1xx before it are passed over. An error is in Go's words.
    pub(super) async fn head(&mut self) -> Result<Head, String> {
        match self.fill().await {
            Ok(_) => {}
            Err(ReadError::End) => return Err("EOF".to_owned()),
            Err(ReadError::Failed(message)) => return Err(message),
        }
        let broken = |message| format!("net/http: HTTP/1.x transport connection broken: {message}");
        loop {
            let head = self.one_head().await.map_err(broken)?;
            if head.status == 101 || !(100..200).contains(&head.status) {
                return Ok(head);
            }
        }
    }

    async fn one_head(&mut self) -> Result<Head, String> {
        let line = self.line().await.map_err(ReadError::unexpected)?;
        let (status, http11) = status_line(&line)?;
        let mut fields = Fields::default();
        self.fields(|name, value| fields.take(name, value)).await?;
        let framing = fields.framing(status, http11)?;
        let location = fields.location.filter(|location| !location.is_empty());
        let location = location.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok(Head { status, location, framing })
    }

    /// Reads fields up to the empty line.
    pub(super) async fn fields(&mut self, mut take: impl FnMut(&[u8], &[u8])) -> Result<(), String> {
        let mut field: Option<Vec<u8>> = None;
        loop {
            let line = match (self.line().await, &field) {
                (Ok(line), _) => line,
                // Go looks at a field before it looks at what follows.
                (Err(error), Some(last)) => {
                    split_field(last)?;
                    return Err(error.unexpected());
                }
                (Err(error), None) => return Err(error.unexpected()),
            };
            let continued = line.starts_with(b" ") || line.starts_with(b"\t");
            match (&mut field, continued) {
                (Some(field), true) => {
                    field.push(b' ');
                    field.extend_from_slice(line.trim_ascii());
                    continue;
                }
                (None, true) => {
                    return Err(format!("malformed MIME header initial line: {}", quoted(&line)));
                }
                _ => {}
            }
            if let Some(whole) = field.take() {
                let (name, value) = split_field(&whole)?;
                take(name, value);
            }
            if line.is_empty() {
                return Ok(());
            }
            if !line.contains(&b':') {
                return Err(format!("malformed MIME header: missing colon: {}", quoted(&line)));
            }
            field = Some(line.trim_ascii_end().to_owned());
        }
    }
}

/// The status code, and whether the version is 1.1 or above.
fn status_line(line: &[u8]) -> Result<(u16, bool), String> {
    let Some(space) = line.iter().position(|c| *c == b' ') else {
        return Err(format!("malformed HTTP response {}", quoted(line)));
    };
    let (version, rest) = (&line[..space], line[space..].trim_ascii_start());
    let code = rest.split(|c| *c == b' ').next().unwrap_or_default();
    let status = match code {
        [a, b, c] if code.iter().all(u8::is_ascii_digit) => {
            [a, b, c].iter().fold(0, |sum, digit| sum * 10 + u16::from(**digit - b'0'))
        }
        _ => return Err(format!("malformed HTTP status code {}", quoted(code))),
    };
    match version {
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Ok((status, (*major, *minor) >= (b'1', b'1')))
        }
        _ => Err(format!("malformed HTTP version {}", quoted(version))),
    }
}

fn split_field(field: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let colon = field.iter().position(|c| *c == b':').unwrap_or(field.len());
    let (name, value) = (&field[..colon], field.get(colon + 1..).unwrap_or_default().trim_ascii_start());
    // Go lets a blank in a name pass.
    let valid_name = !name.is_empty() && name.iter().all(|c| is_token(*c) || *c == b' ');
    let valid_value = value.iter().all(|c| !c.is_ascii_control() || *c == b'\t');
    if valid_name && valid_value {
        Ok((name, value))
    } else {
        Err(format!("malformed MIME header line: {}", quoted(field)))
    }
}

impl Fields {
    fn take(&mut self, name: &[u8], value: &[u8]) {
        if name.eq_ignore_ascii_case(b"location") {
            self.location.get_or_insert_with(|| value.to_owned());
        } else if name.eq_ignore_ascii_case(b"content-length") {
            self.lengths.push(value.to_owned());
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.encodings.push(value.to_owned());
        }
    }

    fn framing(&self, status: u16, http11: bool) -> Result<Framing, String> {
        let chunked = match self.encodings.as_slice() {
            _ if !http11 => false,
            [] => false,
            [one] if one.eq_ignore_ascii_case(b"chunked") => true,
            [one] => return Err(format!("unsupported transfer encoding: {}", quoted(one))),
            more => return Err(format!("too many transfer encodings: {}", list(more))),
        };
        let length = match self.lengths.split_first() {
            _ if chunked => None,
            None => None,
            Some((first, more)) if more.iter().any(|other| other != first) => {
                return Err(format!(
                    "http: message cannot contain multiple Content-Length headers; got {}",
                    list(&self.lengths)
                ));
            }
            Some((first, _)) => Some(content_length(first)?),
        };
        Ok(match length {
            _ if status < 200 || matches!(status, 204 | 304) => Framing::Length(0),
            _ if chunked => Framing::Chunked,
            Some(length) => Framing::Length(length),
            None => Framing::Close,
        })
    }
}

fn content_length(value: &[u8]) -> Result<u64, String> {
    if value.is_empty() {
        return Err("invalid empty Content-Length \"\"".to_owned());
    }
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|c| c.is_ascii_digit()));
    digits
        .and_then(|digits| digits.parse::<i64>().ok())
        .map(i64::unsigned_abs)
        .ok_or_else(|| format!("bad Content-Length {}", quoted(value)))
}

fn list(values: &[Vec<u8>]) -> String {
    let values: Vec<_> = values.iter().map(|value| quoted(value)).collect();
    format!("[{}]", values.join(" "))
}
