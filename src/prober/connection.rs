//! A connection with a read buffer like Go's `bufio.Reader`.
//!
//! Whether a prober notices errors beyond its limits depends on the buffered bytes, so the buffer is as large as
//! that of `net/http` and is filled in the same steps.

use std::io;

use super::handshake;
use super::quote::os_error;
use super::stream::{Stream, name_of};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Size of the buffer in bytes, as of `net/http`'s transport.
const BUFFER: usize = 4096;

/// Limit of the bytes that are read from the socket before the head is complete, as in `net/http`.
pub(super) const MAX_HEAD: usize = 10 << 20;

/// One connection, for one request and its response.
pub(super) struct Connection {
    stream: Stream,
    /// `local->peer`, as Go names a connection.
    name: String,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Why reading stopped, until it is reported.
    stopped: Option<ReadError>,
    /// The number of bytes that may still be read from the socket.
    limit: usize,
}

/// Why no more bytes can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReadError {
    /// The peer has sent its FIN.
    End,
    /// It failed, with Go's message.
    Failed(String),
}

impl ReadError {
    /// The message if more bytes were needed.
    pub(super) fn unexpected(self) -> String {
        match self {
            Self::End => "unexpected EOF".to_owned(),
            Self::Failed(message) => message,
        }
    }
}

/// The end of a slice that [`Connection::slice`] reads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SliceEnd {
    /// The newline.
    Newline,
    /// The buffer is full, without a newline.
    Full,
    /// The connection ended or failed.
    Stopped(ReadError),
}

impl Connection {
    pub(super) fn new(stream: Stream) -> Self {
        let name = name_of(stream.socket());
        let buffer = vec![0; BUFFER].into_boxed_slice();
        Self { stream, name, buffer, start: 0, end: 0, stopped: None, limit: MAX_HEAD }
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream
            .write_all(bytes)
            .await
            .map_err(|error| format!("write tcp {}: write: {}", self.name, os_error(&error)))
    }

    /// Sends the close notification of a TLS connection.
    pub(super) async fn close(&mut self) {
        if let Stream::Tls(stream) = &mut self.stream {
            // The result does not matter: the attempt is over.
            let _ = stream.shutdown().await;
        }
    }

    /// Removes the byte limit, which applies to heads only.
    pub(super) fn end_limit(&mut self) {
        self.limit = usize::MAX;
    }

    /// Whether the byte limit has been reached.
    pub(super) const fn is_exhausted(&self) -> bool {
        self.limit == 0
    }

    /// The bytes in the buffer.
    pub(super) fn buffered(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Reads until `count` bytes are in the buffer, and returns at most that many without consuming them. There are
    /// fewer if the connection or the buffer ends before.
    pub(super) async fn peek(&mut self, count: usize) -> (&[u8], Option<ReadError>) {
        while self.buffered().len() < count.min(BUFFER) && self.stopped.is_none() {
            self.fill().await;
        }
        let available = self.buffered().len();
        let stopped = if available < count { self.stopped.take() } else { None };
        (&self.buffer[self.start..self.start + available.min(count)], stopped)
    }

    /// Consumes bytes that are in the buffer.
    pub(super) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }

    /// Reads the available bytes, at least one, with at most one system call.
    pub(super) async fn read(&mut self, into: &mut [u8]) -> Result<usize, ReadError> {
        if self.buffered().is_empty() {
            if let Some(stopped) = self.stopped.take() {
                return Err(stopped);
            }
            if into.len() >= BUFFER {
                return receive(&mut self.stream, &self.name, &mut self.limit, into).await;
            }
            (self.start, self.end) = (0, 0);
            self.end = receive(&mut self.stream, &self.name, &mut self.limit, &mut self.buffer).await?;
        }
        let count = self.buffered().len().min(into.len());
        into[..count].copy_from_slice(&self.buffer[self.start..self.start + count]);
        self.start += count;
        Ok(count)
    }

    /// Fills `into` completely.
    pub(super) async fn read_exact(&mut self, into: &mut [u8]) -> Result<(), ReadError> {
        let mut filled = 0;
        while filled < into.len() {
            filled += self.read(&mut into[filled..]).await?;
        }
        Ok(())
    }

    /// Reads up to and including a newline, or until the buffer is full or the connection ends.
    pub(super) async fn slice(&mut self) -> (Vec<u8>, SliceEnd) {
        let mut searched = 0;
        loop {
            if let Some(at) = self.buffered()[searched..].iter().position(|c| *c == b'\n') {
                return (self.take(searched + at + 1), SliceEnd::Newline);
            }
            let available = self.buffered().len();
            if let Some(stopped) = self.stopped.take() {
                return (self.take(available), SliceEnd::Stopped(stopped));
            }
            if available == BUFFER {
                return (self.take(available), SliceEnd::Full);
            }
            searched = available;
            self.fill().await;
        }
    }

    /// Reads a line without its line break. The bytes before the end of the connection also count as a line. `None`: the line
    /// has more than `limit` bytes.
    pub(super) async fn line(&mut self, limit: usize) -> Result<Option<Vec<u8>>, ReadError> {
        let mut line = Vec::new();
        loop {
            let (mut slice, end) = self.slice().await;
            match end {
                SliceEnd::Newline => {
                    slice.pop();
                    slice.pop_if(|last| *last == b'\r');
                }
                SliceEnd::Full => {
                    // The newline may follow.
                    if slice.pop_if(|last| *last == b'\r').is_some() {
                        self.start -= 1;
                    }
                }
                SliceEnd::Stopped(stopped) if slice.is_empty() => return Err(stopped),
                SliceEnd::Stopped(_) => {}
            }
            line.extend_from_slice(&slice);
            if line.len() > limit {
                return Ok(None);
            }
            if end != SliceEnd::Full {
                return Ok(Some(line));
            }
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let taken = self.buffer[self.start..self.start + count].to_vec();
        self.start += count;
        taken
    }

    /// Reads once into a buffer that is not full.
    async fn fill(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let free = &mut self.buffer[self.end..];
        match receive(&mut self.stream, &self.name, &mut self.limit, free).await {
            Ok(count) => self.end += count,
            Err(error) => self.stopped = Some(error),
        }
    }
}

/// Reads once from the socket.
async fn receive(
    stream: &mut Stream,
    name: &str,
    limit: &mut usize,
    into: &mut [u8],
) -> Result<usize, ReadError> {
    if *limit == 0 {
        return Err(ReadError::Failed(format!("read limit of {MAX_HEAD} bytes exhausted")));
    }
    let most = into.len().min(*limit);
    match stream.read(&mut into[..most]).await {
        Ok(0) => Err(ReadError::End),
        Ok(count) => {
            *limit -= count;
            Ok(count)
        }
        // Go treats the end of a TLS connection without a close notification as a normal end.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(ReadError::End),
        Err(error) => Err(ReadError::Failed(handshake::message(&error, name, ""))),
    }
}
