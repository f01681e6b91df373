//! The body of an answer, read as Go's `net/http` reads it.

use tokio::io::AsyncBufReadExt;

use super::head::{Connection, ReadError};

/// Longest line of a chunk's size, with its extension.
const MAX_CHUNK_LINE: usize = 4096;

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// By its length in bytes.
    Length(u64),
    /// By a chunk without content.
    Chunked,
    /// By the end of the connection.
    Close,
}

impl Connection {
    /// Reads at most `limit` bytes of a body. Whether more would come is left open then; an end before the limit
    /// has to be a proper one. An error is in Go's words.
    pub(super) async fn body(&mut self, framing: Framing, limit: usize) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        match framing {
            Framing::Length(length) => {
                let wanted = usize::try_from(length).unwrap_or(limit).min(limit);
                self.exactly(wanted, &mut body).await?;
            }
            Framing::Close => loop {
                match self.some(limit - body.len(), &mut body).await {
                    Ok(()) if body.len() < limit => {}
                    Ok(()) | Err(ReadError::End) => break,
                    Err(ReadError::Failed(message)) => return Err(message),
                }
            },
            Framing::Chunked => self.chunks(limit, &mut body).await?,
        }
        Ok(body)
    }

    async fn chunks(&mut self, limit: usize, body: &mut Vec<u8>) -> Result<(), String> {
        loop {
            let size = chunk_size(&self.chunk_line().await?)?;
            if size == 0 {
                return self.trailer().await;
            }
            let wanted = usize::try_from(size).unwrap_or(limit).min(limit - body.len());
            self.exactly(wanted, body).await?;
            if body.len() == limit {
                return Ok(());
            }
            let mut end = Vec::new();
            self.exactly(2, &mut end).await?;
            if end != b"\r\n" {
                return Err("malformed chunked encoding".to_owned());
            }
        }
    }

    async fn chunk_line(&mut self) -> Result<Vec<u8>, String> {
        let mut line = Vec::new();
        loop {
            self.some_until_newline(&mut line).await.map_err(ReadError::unexpected)?;
            if line.ends_with(b"\n") {
                break;
            }
            if line.len() >= MAX_CHUNK_LINE {
                return Err("header line too long".to_owned());
            }
        }
        if line.ends_with(b"\r\n") { Ok(line) } else { Err("chunked line ends with bare LF".to_owned()) }
    }

    async fn trailer(&mut self) -> Result<(), String> {
        match self.fill().await {
            Ok(_) => {}
            Err(ReadError::End) => return Err("http: unexpected EOF reading trailer".to_owned()),
            Err(ReadError::Failed(message)) => return Err(message),
        }
        self.fields(|_, _| {}).await
    }

    async fn exactly(&mut self, count: usize, into: &mut Vec<u8>) -> Result<(), String> {
        let end = into.len() + count;
        while into.len() < end {
            self.some(end - into.len(), into).await.map_err(ReadError::unexpected)?;
        }
        Ok(())
    }

    async fn some(&mut self, most: usize, into: &mut Vec<u8>) -> Result<(), ReadError> {
        let bytes = self.fill().await?;
        let taken = bytes.len().min(most);
        into.extend_from_slice(&bytes[..taken]);
        self.stream.consume(taken);
        Ok(())
    }

    async fn some_until_newline(&mut self, into: &mut Vec<u8>) -> Result<(), ReadError> {
        let bytes = self.fill().await?;
        let most = bytes.len().min(MAX_CHUNK_LINE);
        let taken = bytes[..most].iter().position(|c| *c == b'\n').map_or(most, |at| at + 1);
        into.extend_from_slice(&bytes[..taken]);
        self.stream.consume(taken);
        Ok(())
    }
}

fn chunk_size(line: &[u8]) -> Result<u64, String> {
    let digits = line.split(|c| *c == b';').next().unwrap_or_default().trim_ascii_end();
    if digits.is_empty() {
        return Err("empty hex number for chunk length".to_owned());
    }
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err("invalid byte in chunk length".to_owned());
    }
    if digits.len() > 16 {
        return Err("http chunk length too large".to_owned());
    }
    Ok(digits.iter().fold(0, |sum, c| sum << 4 | u64::from((*c as char).to_digit(16).unwrap_or_default())))
}
