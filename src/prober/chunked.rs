//! Reads a chunked body as Go's `net/http/internal` does.

use super::connection::{Connection, ReadError, SliceEnd};

/// Limit of the line with the size of a chunk and its extension, in bytes.
const MAX_LINE: usize = 4096;

/// Limit of the total overhead of a chunked body, beyond the allowance of each chunk, in bytes.
const MAX_EXCESS: i64 = 16 << 10;

/// The state of a chunked body.
#[derive(Debug, Default)]
pub(super) struct Chunked {
    /// The number of remaining bytes of the chunk.
    left: u64,
    /// Whether the CRLF after the chunk's bytes comes next.
    at_end: bool,
    /// The overhead so far, in bytes.
    excess: i64,
}

/// Why reading a body stopped.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The body is complete.
    End,
    /// It failed, with Go's message.
    Failed(String),
}

impl Stop {
    fn failed(message: &str) -> Self {
        Self::Failed(message.to_owned())
    }

    fn unexpected(error: ReadError) -> Self {
        Self::Failed(error.unexpected())
    }
}

impl Chunked {
    /// Reads at least one byte into `into`, and the ends and beginnings of chunks that are in the buffer. Returns the number
    /// of bytes, and the reason if the body stopped after them.
    pub(super) async fn read(
        &mut self,
        connection: &mut Connection,
        into: &mut [u8],
    ) -> (usize, Option<Stop>) {
        let mut count = 0;
        let stop = self.fill(connection, into, &mut count).await.err();
        (count, stop)
    }

    async fn fill(
        &mut self,
        connection: &mut Connection,
        into: &mut [u8],
        count: &mut usize,
    ) -> Result<(), Stop> {
        loop {
            if self.at_end {
                // Do not wait for more if there are bytes to return.
                if *count > 0 && connection.buffered().len() < 2 {
                    return Ok(());
                }
                let mut end = [0; 2];
                connection.read_exact(&mut end).await.map_err(Stop::unexpected)?;
                if end != *b"\r\n" {
                    return Err(Stop::failed("malformed chunked encoding"));
                }
                self.at_end = false;
            }
            if self.left == 0 {
                if *count > 0 && !connection.buffered().contains(&b'\n') {
                    return Ok(());
                }
                self.begin(connection).await?;
                continue;
            }
            if *count == into.len() {
                return Ok(());
            }
            let free = &mut into[*count..];
            let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(free.len());
            let read = connection.read(&mut free[..most]).await.map_err(Stop::unexpected)?;
            *count += read;
            self.left -= read as u64;
            self.at_end = self.left == 0;
        }
    }

    /// Reads the size of a chunk.
    async fn begin(&mut self, connection: &mut Connection) -> Result<(), Stop> {
        let line = line(connection).await?;
        // The overhead is the line, and the CRLF after the chunk's bytes.
        self.excess += (line.len() as u64 + 2).cast_signed();
        let digits = trim_end(&line);
        let digits = digits.split(|c| *c == b';').next().unwrap_or_default();
        self.left = size(digits)?;
        let allowed = 16_i64.wrapping_add(2_i64.wrapping_mul(self.left.cast_signed()));
        self.excess = self.excess.wrapping_sub(allowed).max(0);
        if self.left == 0 {
            return Err(Stop::End);
        }
        if self.excess > MAX_EXCESS {
            return Err(Stop::failed("chunked encoding contains too much non-data"));
        }
        Ok(())
    }
}

/// Reads a line without its CRLF.
async fn line(connection: &mut Connection) -> Result<Vec<u8>, Stop> {
    let (mut line, end) = connection.slice().await;
    match end {
        SliceEnd::Newline => {}
        SliceEnd::Full => return Err(Stop::failed("header line too long")),
        SliceEnd::Stopped(error) => return Err(Stop::unexpected(error)),
    }
    match line.iter().position(|c| *c == b'\r') {
        None => return Err(Stop::failed("chunked line ends with bare LF")),
        Some(at) if at + 2 != line.len() => return Err(Stop::failed("invalid CR in chunked line")),
        Some(at) => line.truncate(at),
    }
    if line.len() >= MAX_LINE { Err(Stop::failed("header line too long")) } else { Ok(line) }
}

fn size(digits: &[u8]) -> Result<u64, Stop> {
    if digits.is_empty() {
        return Err(Stop::failed("empty hex number for chunk length"));
    }
    let mut size = 0;
    for (at, byte) in digits.iter().enumerate() {
        let digit = char::from(*byte).to_digit(16);
        let digit = digit.ok_or_else(|| Stop::failed("invalid byte in chunk length"))?;
        if at == 16 {
            return Err(Stop::failed("http chunk length too large"));
        }
        size = size << 4 | u64::from(digit);
    }
    Ok(size)
}

/// Removes spaces and tabs from the end.
fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}
