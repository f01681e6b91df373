//! Reads the body of a response as Go's `net/http` does.

use super::chunked::{Chunked, Stop};
use super::connection::{Connection, ReadError};
use super::fields::FieldError;
use super::framing::Framing;

/// Sizes of the reads of Go's `io.ReadAll`, in bytes. They matter: a read that ends inside the buffered bytes decides
/// whether the end of a chunk is checked.
const PIECES: [usize; 9] = [512, 256, 384, 576, 896, 1408, 2048, 3072, 4864];

/// A body being read.
#[derive(Debug)]
enum Body {
    /// The number of remaining bytes.
    Length(u64),
    Chunked(Chunked),
    Close,
}

impl Connection {
    /// Reads at most `limit` bytes of a body, as `io.ReadAll` of a limited reader does. Beyond the limit, an error counts
    /// if it is already in the buffer. Errors have Go's messages.
    pub(super) async fn body(&mut self, framing: Framing, limit: usize) -> Result<Vec<u8>, String> {
        let mut reader = Body::of(framing);
        let mut body = Vec::new();
        let (mut pieces, mut free) = (PIECES.into_iter().cycle(), 0);
        let mut piece = 0;
        while body.len() < limit {
            if free < piece / 16 || piece == 0 {
                piece = pieces.next().unwrap_or(limit);
                free = piece;
            }
            let start = body.len();
            body.resize(start + free.min(limit - start), 0);
            let (count, stop) = reader.read(self, &mut body[start..]).await;
            body.truncate(start + count);
            free -= count;
            match stop {
                None => {}
                Some(Stop::End) => break,
                Some(Stop::Failed(message)) => return Err(message),
            }
        }
        Ok(body)
    }

    /// Reads and discards at most `limit` bytes of a body. Errors are ignored.
    pub(super) async fn discard_body(&mut self, framing: Framing, limit: usize) {
        let mut reader = Body::of(framing);
        let mut buffer = vec![0; limit];
        let mut left = limit;
        while left > 0 {
            let (count, stop) = reader.read(self, &mut buffer[..left]).await;
            left -= count;
            if stop.is_some() {
                return;
            }
        }
    }

    /// Reads the trailer of a chunked body, up to its empty line.
    async fn trailer(&mut self) -> Stop {
        const END: &str = "http: unexpected EOF reading trailer";
        match self.peek(2).await {
            (b"\r\n", _) => {
                self.consume(2);
                return Stop::End;
            }
            ([_, _], None) => {}
            _ => return Stop::Failed(END.to_owned()),
        }
        // Go does not accept a trailer that is longer than its buffer.
        let mut count = 4;
        loop {
            let (peeked, stopped) = self.peek(count).await;
            if peeked.ends_with(b"\r\n\r\n") {
                break;
            }
            if stopped.is_some() || peeked.len() < count {
                return Stop::Failed("http: suspiciously long trailer after chunked body".to_owned());
            }
            count += 1;
        }
        match self.fields(|_, _| {}).await {
            Ok(()) => Stop::End,
            Err(FieldError::Read(ReadError::End)) => Stop::Failed(END.to_owned()),
            Err(FieldError::Read(ReadError::Failed(message)) | FieldError::Malformed(message)) => {
                Stop::Failed(message)
            }
        }
    }
}

impl Body {
    fn of(framing: Framing) -> Self {
        match framing {
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunked::default()),
            Framing::Close => Self::Close,
        }
    }

    /// Reads at least one byte, unless the body stops.
    async fn read(&mut self, connection: &mut Connection, into: &mut [u8]) -> (usize, Option<Stop>) {
        match self {
            Self::Length(0) => (0, Some(Stop::End)),
            Self::Length(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX).min(into.len());
                match connection.read(&mut into[..most]).await {
                    Ok(count) => {
                        *left -= count as u64;
                        (count, (*left == 0).then_some(Stop::End))
                    }
                    Err(error) => (0, Some(Stop::Failed(error.unexpected()))),
                }
            }
            Self::Close => match connection.read(into).await {
                Ok(count) => (count, None),
                Err(ReadError::End) => (0, Some(Stop::End)),
                Err(ReadError::Failed(message)) => (0, Some(Stop::Failed(message))),
            },
            Self::Chunked(chunked) => match chunked.read(connection, into).await {
                (count, Some(Stop::End)) => (count, Some(connection.trailer().await)),
                read => read,
            },
        }
    }
}
